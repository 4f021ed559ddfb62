"""Forks before, after and during fits: in a child everything works as in the parent, to the same bits."""
import hashlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from strangers import run, run_all

from ldl_cy import MLPClassifier, Sequential, layers, threads
from ldl_cy._engine.pool import Pool, count_workers
from ldl_cy._engine.process import count_fits

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

SECONDS = 30                    # for a child; each takes less than one
KINDS = {       # worker threads take part in the second
    "dense": lambda: [layers.Dense(20, "tanh"), layers.BatchNorm(), layers.Dropout(0.2), layers.Dense(3)],
    "wide": lambda: [layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(3)],
}
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((200, 300)).astype("float32"), rng.integers(0, 3, 200)
OPTIONS = {"loss": "log_loss", "optimizer": "adam", "batch_size": 100, "n_threads": 2}


def new(kind):
    return Sequential(KINDS[kind](), random_state=0).build(300)


def digest(*arrays):
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def blas_numbers():
    from threadpoolctl import threadpool_info

    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def everything(model):
    """The bits of whatever a model does, from its beginning; it is the same model in each process."""
    found = {}
    model.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")             # a few iterations do not converge
        found["predict"] = digest(*[model.predict(X[:n]) for n in (1, 7, 200)], model.predict(X, n_threads=2))
        found["fit"] = digest(model.fit(X, Y, epochs=2, **OPTIONS).history["loss"], model.theta)
        found["batches"] = digest(model.fit([(X, Y)], loss="log_loss", epochs=1).history["loss"], model.theta)
        found["evaluate"] = model.evaluate(X, Y, loss="log_loss")
        found["gradient"] = digest(model.loss_and_grad(X, Y, loss="log_loss", n_threads=2)[1])
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder, "model"))
            loaded = Sequential.load(Path(folder, "model"))
        copy = pickle.loads(pickle.dumps(model))
        for other in (loaded, copy):
            other.fit(X, Y, epochs=1, **OPTIONS)
        found["copies"] = [digest(loaded.theta), digest(copy.theta)]
        estimator = MLPClassifier((20,), max_iter=2, random_state=0, n_threads=2).fit(X, Y)
        found["estimator"] = digest(estimator.predict_proba(X))
        found["fits"] = count_fits()
    return found


def in_child(work):
    """What ``work()`` returns in a forked child, or the text of what ended it."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)                       # ends a child that hangs
        try:
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writes, pickle.dumps(answer))
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as file:
        answer = file.read()
    code = os.waitpid(pid, 0)[1]
    return pickle.loads(answer) if code == 0 else f"the child ended with status {code}"


def fork_before(kind, work):
    return in_child(lambda: work(new(kind)))


def fork_after(kind, work):
    model = new(kind)
    model.fit(X, Y, epochs=1, **OPTIONS)
    return in_child(lambda: work(model))


def fork_in_callback(kind, work):
    model, found = new(kind), []
    model.fit(X, Y, epochs=2, callbacks=[lambda m, logs: found.append(in_child(lambda: work(m)))], **OPTIONS)
    assert found[0] == found[1]
    return found[0]


def fork_in_callback_of_batches(kind, work):
    model, found = new(kind), []
    model.fit([(X, Y)] * 2, loss="log_loss", n_threads=2, epochs=1,
              callbacks=[lambda m, logs: found.append(in_child(lambda: work(m)))])
    return found[0]


def fork_in_method(kind, work):
    model, found = Sequential([layers.Dense(64, "tanh"), layers.Dense(3)], random_state=0).build(300), []
    model.fit(X, Y, loss="log_loss", optimizer="cg", epochs=1, n_threads=2,
              callbacks=[lambda m, logs: found.append(in_child(lambda: work(new(kind))))])
    return found[0]


def fork_beside(kind, work):
    """By another thread than that which fits and predicts."""
    model, ended, begun = new(kind), threading.Event(), threading.Event()

    def train():
        begun.set()
        while not ended.is_set():
            model.fit(X, Y, epochs=20, **OPTIONS)
            model.predict(X[:5])

    thread = threading.Thread(target=train)
    thread.start()
    begun.wait()
    try:
        found = []
        for i in range(5):
            time.sleep(0.005 * i)           # each fork at another moment of the fit
            found.append(in_child(lambda: work(model)))
    finally:
        ended.set()
        thread.join()
    assert all(answer == found[0] for answer in found), found
    return found[0]


def fork_twice(kind, work):
    return fork_in_callback(kind, lambda model: in_child(lambda: work(model)))


def fork_in_handler(kind, work):
    """By a signal's handler, in whatever the main thread computes."""
    model, found = new(kind), []

    def handle(signum, frame):
        found.append(in_child(lambda: {**work(model), "fits": 1}))      # whether it came in a fit or in a predict

    signal.signal(signal.SIGALRM, handle)
    for i in range(3):
        signal.setitimer(signal.ITIMER_REAL, 0.005 + 0.004 * i)         # one signal
        while len(found) == i:
            model.fit(X, Y, epochs=20, **OPTIONS)
            model.predict(X, n_threads=2)
    assert all(answer == found[0] for answer in found), found
    return found[0]


WAYS = {f.__name__: f for f in (fork_before, fork_after, fork_in_callback, fork_in_callback_of_batches, fork_in_method,
                                fork_beside, fork_twice, fork_in_handler)}


def forked(way, kind):
    """What a child finds, and the parent before and after it; the numbers of BLAS threads in the same order."""
    before, numbers = everything(new(kind)), blas_numbers()
    child = WAYS[way](kind, everything)
    return [before, child, everything(new(kind)), numbers, blas_numbers()]


def test_the_same_bits_in_a_child():
    cases = [[way, kind] for way in WAYS for kind in KINDS]
    for case, ended in zip(cases, run_all(forked, cases, seconds=2 * SECONDS)):
        before, child, after, numbers, numbers_after = ended.result()
        assert isinstance(child, dict), (case, child)
        # the fit in which a child began is counted there
        assert child.pop("fits") == (0 if case[0] in ("fork_before", "fork_after", "fork_beside") else 1), case
        assert before.pop("fits") == after.pop("fits") == 0
        assert child == before, case
        assert after == before and numbers == numbers_after, case


# -- a child that returns into the fit in which it began --------------------------------------------------------


def returning(way, kind):
    """The child and the parent end the same fit; the digest of each."""
    model, reads, mine = new(kind), [], os.getpid()
    answers = []

    def fork(m=None, logs=None):
        if os.getpid() != mine or len(reads) == 2:
            return
        read, write = os.pipe()
        if os.fork() == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            answers.append(write)
        else:
            os.close(write)
            reads.append(read)
            if way == "handler" and len(reads) == 1:
                signal.setitimer(signal.ITIMER_REAL, 0.02)

    if way == "handler":
        signal.signal(signal.SIGALRM, lambda signum, frame: fork())
        signal.setitimer(signal.ITIMER_REAL, 0.02)
    numbers = blas_numbers()
    try:
        if way == "batches":
            model.fit([(X, Y)] * 2, loss="log_loss", epochs=4, n_threads=2, callbacks=[fork])
        else:
            model.fit(X, Y, epochs={"dense": 1000, "wide": 60}[kind] if way == "handler" else 4,
                      callbacks=[fork] if way == "callback" else (), **OPTIONS)
        answer = digest(model.theta)
    except RuntimeError as error:
        answer = str(error)
    if os.getpid() != mine:
        again = everything(model)
        os.write(answers[0], pickle.dumps([answer, again, blas_numbers() == numbers]))
        os._exit(0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    found = []
    for read in reads:
        with os.fdopen(read, "rb") as file:
            content = file.read()
        found.append(pickle.loads(content) if content else "the child wrote nothing")
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return [answer, everything(model), found]


FORKED = ("Sequential: a child that was forked within a step must not return into it, which needs the threads of its "
          "parent.")


def test_a_child_that_returns_into_the_fit():
    cases = [[way, kind] for way in ("callback", "batches", "handler") for kind in KINDS]
    for case, ended in zip(cases, run_all(returning, cases, seconds=2 * SECONDS)):
        answer, again, found = ended.result()
        assert len(found) == 2, case
        for child in found:
            assert child[0] == answer or (case[0] == "handler" and child[0] == FORKED), (case, child)
            assert child[1:] == [again, True], case


def refitted(kind, change):
    """A child may do with the model what its parent may not meanwhile; then it returns into the fit of its parent."""
    model, mine, read = new(kind), os.getpid(), []

    def fork(m=None, logs=None):
        if os.getpid() != mine or read:
            return
        reads, writes = os.pipe()
        if os.fork():
            os.close(writes)
            read.append(reads)
            return
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        read.append(writes)
        if change == "fit":
            model.fit(X, Y, epochs=1, **OPTIONS)
        elif change == "optimizer":
            model.fit(X, Y, epochs=1, **{**OPTIONS, "optimizer": "lion"})
        elif change == "reset":
            model.reset()
        else:
            model.build(7)

    try:
        model.fit(X, Y, epochs=3, callbacks=[fork], **OPTIONS)
        said = ""
    except RuntimeError as error:
        said = str(error)
    if os.getpid() != mine:
        os.write(read[0], pickle.dumps([said, everything(new(kind)), np.isfinite(model.theta).all(), count_fits()]))
        os._exit(0)
    with os.fdopen(read[0], "rb") as file:
        content = file.read()
    os.wait()
    assert not said and model.epoch == 3
    child = pickle.loads(content)
    return [child[0], child[1] == everything(new(kind)), bool(child[2]), child[3]]


def test_a_child_that_changes_the_model_and_returns():
    cases = [[kind, change] for kind in KINDS for change in ("fit", "optimizer", "reset", "build")]
    said = {"optimizer": "Sequential: the model was built, reset or restored to another state during its fit."}
    for case, ended in zip(cases, run_all(refitted, cases, seconds=2 * SECONDS)):
        assert ended.result() == [said.get(case[1], ""), True, True, 0], case


# -- processes that begin in a callback ---------------------------------------------------------------------------


def other_processes():
    model, found = new("wide"), []
    expected = everything(new("wide"))
    context = multiprocessing.get_context("fork")

    def work(queue):
        queue.put(everything(model))

    def callback(m, logs):
        if found:
            return
        queue = context.SimpleQueue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        found.append({**queue.get(), "fits": 0})
        process.join()
        # a fork of the interpreter, in which Python runs before the program begins
        done = subprocess.run(
            [sys.executable, "-c", "print(5)"], preexec_fn=lambda: new("wide").predict(X, n_threads=2),
            capture_output=True, text=True, timeout=SECONDS)
        found.append(done.stdout)

    model.fit(X, Y, epochs=2, callbacks=[callback], **OPTIONS)
    return [found, expected]


def test_processes_that_begin_in_a_callback():
    found, expected = run(other_processes).result()
    assert found == [expected, "5\n"]


def workers_at_a_fork():
    """Worker threads: before, in the child before and while a pool is used, and in the parent after."""
    def pools():
        with Pool(3) as pool:
            return [pool.n_threads, *count_workers()]

    def work():
        return [*count_workers(), *pools()]

    found = {"idle": [pools(), in_child(work), *count_workers(), pools()]}
    with Pool(3) as pool:
        found["at work"] = [in_child(work), pool.n_threads, *count_workers()]
    return found


def test_workers_at_a_fork():
    """Those that no call has end, so that one thread forks; a child starts its own."""
    found = run(workers_at_a_fork).result()
    assert found == {"idle": [[3, 2, 0], [0, 0, 3, 2, 0], 0, 0, [3, 2, 0]],
                     "at work": [[0, 0, 3, 2, 0], 3, 2, 0]}


def workers_after_forks():
    """At how many of 50 forks the system still counted a worker that has ended; Python 3.12 and later would warn."""
    def listed():
        return set(os.listdir("/proc/self/task"))

    left, own = [], set()
    os.register_at_fork(after_in_parent=lambda: left.append(len(own & listed())))
    for _ in range(50):
        before = listed()
        with Pool(2):
            own = listed() - before
        assert len(own) == 1 and in_child(int) == 0
    return left


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the test reads the list of threads in /proc")
def test_ended_workers_are_gone_at_a_fork():
    assert run(workers_after_forks).result() == [0] * 50


# -- what a child finds -----------------------------------------------------------------------------------------


def counts():
    """BLAS's numbers of threads and the fits that are counted, in children: of a callback, and of another thread."""
    def work(model=None):
        return [blas_numbers(), count_fits(), threads.choose_threads("x", None) == threads.available_threads()]

    found = {"alone": work()}
    found["callback"] = fork_in_callback("wide", work)
    found["beside"] = fork_beside("wide", work)
    return found


def test_counts_in_a_child():
    found = run(counts).result()
    assert found["beside"] == found["alone"]
    assert found["callback"] == [[1] * len(found["alone"][0]), 1, found["callback"][2]]
