#!/usr/bin/env python
"""Whether memory grows with use: the resident set after 1,000 and after 10,000 rounds, each kind in its own process.

    python ci/measure_memory.py [ROUNDS]

Fails where it grows by more than BOUND between the two: 120 bytes that each round leaves behind would exceed it.
"""
import subprocess
import sys

ROUNDS = 10_000
BOUND = 1024            # kB
KINDS = {
    "Sequential, new each time": "Sequential(STACK, random_state=0).fit(X, y, loss='squared_error', epochs=1)",
    "Sequential, one": "model.fit(X, y, loss='squared_error', optimizer='adam', epochs=1)",
    "Sequential, one, rows differ": "n = 2 + i % 29; model.fit(X[:n], y[:n], loss='squared_error', epochs=1)",
    "Sequential, three optimizers":
        "model.fit(X, y, loss='squared_error', optimizer=['adam', 'cg', 'lm'][i % 3], epochs=1)",
    "Sequential, refused": "refused(lambda: model.fit(X, X, loss='squared_error'))",
    "Sequential, stopped by NaN": "refused(lambda: model.fit(X, y, loss='squared_error', optimizer=SGD(1e300)))",
    "recurrent, new each time":
        "Sequential([layers.LSTM(3), layers.Dense(1)]).fit(S, y, loss='squared_error', epochs=1)",
    "predict, loss_and_grad, trace":
        "model.predict(X); model.loss_and_grad(X, y, loss='squared_error'); model.trace(X); model.jacobian(X[:2])",
    "predict of a new model": "Sequential(STACK, random_state=0).build(4).predict(X[:1])",
    "save and load": "model.save(PATH); Sequential.load(PATH)",
    "pickle": "pickle.loads(pickle.dumps(model))",
    "MLPRegressor, new each time": "MLPRegressor(hidden_layer_sizes=(4,), max_iter=1).fit(X, y.ravel())",
    "MLPRegressor, partial_fit": "estimator.partial_fit(X, y.ravel())",
    "MLPRegressor, pickle": "pickle.loads(pickle.dumps(estimator)).predict(X)",
}
ROUND = """
import gc, os, pickle, sys, tempfile, warnings
import numpy as np
from ldl_cy import MLPRegressor, Sequential, layers
from ldl_cy.optimizers import SGD

def resident():     # kB
    gc.collect()
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

def refused(call):
    try:
        call()
    except (ValueError, FloatingPointError):
        return
    raise AssertionError("it was not refused")

warnings.simplefilter("ignore")
rounds = int(sys.argv[1])
rng = np.random.default_rng(0)
X, S = rng.standard_normal((32, 4)), rng.standard_normal((32, 3, 4))
y = X[:, :1].copy()
STACK = [layers.Dense(8, "tanh"), layers.Dense(1)]
PATH = os.path.join(tempfile.mkdtemp(), "model")
model = Sequential(STACK, random_state=0).build(4)
estimator = MLPRegressor(hidden_layer_sizes=(4,), max_iter=1).fit(X, y.ravel())
for i in range(rounds):
    if i == rounds // 10:
        before = resident()
    {}
print(before, resident())
if os.path.exists(PATH):
    os.remove(PATH)
os.rmdir(os.path.dirname(PATH))
"""


def main():
    if not sys.platform.startswith("linux"):
        print("skipped: the resident set is read from /proc")
        return 0
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    worst = 0
    print(f"{'':<32}{f'after {rounds // 10}':>14}{f'after {rounds}':>14}{'growth, kB':>12}")
    for kind, code in KINDS.items():
        found = subprocess.run([sys.executable, "-P", "-c", ROUND.format(code), str(rounds)], check=True, text=True,
                               stdout=subprocess.PIPE)
        before, after = map(int, found.stdout.split())
        worst = max(worst, after - before)
        print(f"{kind:<32}{before:>14}{after:>14}{after - before:>12}", flush=True)
    print(f"largest growth {worst} kB, at most {BOUND}")
    return int(worst > BOUND)


if __name__ == "__main__":
    sys.exit(main())
