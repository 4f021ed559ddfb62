#!/usr/bin/env python
"""How long a fit goes on after Ctrl-C: full batches of 60,000 rows and batches of 32, on one thread and on two.

    python ci/measure_interrupt.py
"""
import signal
import subprocess
import sys
import time

FIT = """
import signal
import time
import numpy as np
from ldl_cy import Sequential, layers
rng = np.random.default_rng(0)
X, y = rng.standard_normal((60000, 64)).astype("float32"), rng.integers(0, 10, 60000)
model = Sequential([layers.Dense(512, "relu"), layers.Dense(512, "relu"), layers.Dense(10)], random_state=0)
model.build(64)
signal.signal(signal.SIGINT, signal.default_int_handler)        # a job in the background begins with it ignored
print("ready", flush=True)
try:
    model.fit(X, y, loss="log_loss", epochs=10000, batch_size={}, n_threads={})
except KeyboardInterrupt:
    print(time.time(), flush=True)
"""


def main():
    for batch_size in ("32", "'full'"):
        for threads in (1, 2):
            found = []
            for turn in range(5):
                process = subprocess.Popen([sys.executable, "-P", "-c", FIT.format(batch_size, threads)], text=True,
                                           stdout=subprocess.PIPE)
                process.stdout.readline()
                time.sleep(0.7 + 0.1 * turn)
                sent = time.time()
                process.send_signal(signal.SIGINT)
                found.append(float(process.communicate()[0]) - sent)
            print(f"batch {batch_size:<7} threads {threads}: longest of 5 {1e3 * max(found):.0f} ms")


if __name__ == "__main__":
    main()
