"""Threads that use one model, or several, all at once, and systems that give no more of them."""
import pickle
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from strangers import LIMITS_MEMORY, ROUNDS, run, run_all

from ldl_cy import MLPClassifier, Sequential, layers
from ldl_cy._engine.pool import count_workers

SECONDS = 60
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((200, 300)).astype("float32"), rng.integers(0, 3, 200)
FIT = {"loss": "log_loss", "optimizer": "adam", "batch_size": 100}


def wide():
    """Worker threads take part."""
    return Sequential([layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(3)], random_state=0)


def narrow():
    return Sequential([layers.Dense(20, "tanh"), layers.BatchNorm(), layers.Dropout(0.2), layers.Dense(3)],
                      random_state=0)


# -- one model ---------------------------------------------------------------------------------------------------


def sentence(error):
    """Whether an error says who refuses what."""
    owner, _, rest = str(error).partition(": ")
    return owner.isidentifier() and len(rest) > 20


def everything_at_once(which, rounds):
    """Eight threads, each with calls of its own, on one model; the errors that are no sentences."""
    model, stop, errors, done = {"wide": wide, "narrow": narrow}[which]().build(300), threading.Event(), [], {}
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name, "model")

    def save_and_load():
        model.save(path)
        other = Sequential.load(path)
        assert other.predict(X[:3]).shape == (3, 3)

    calls = {
        "fit": lambda: model.fit(X, Y, epochs=2, n_threads=2, **FIT),
        "fit batches": lambda: model.fit([(X[:50], Y[:50]), (X[50:], Y[50:])], loss="log_loss", epochs=1),
        "predict": lambda: [model.predict(X[:n]) for n in (1, 9, 200)],
        "evaluate": lambda: model.evaluate(X, Y, loss="log_loss", n_threads=2),
        "keep": save_and_load,
        "reset": lambda: model.reset(),
        "build": lambda: model.build(300),
        "copy": lambda: pickle.loads(pickle.dumps(model)).predict(X[:5]),
    }

    def work(name):
        while not stop.is_set() and done.get(name, 0) < rounds:
            try:
                calls[name]()
            except Exception as error:
                if not (isinstance(error, (ValueError, RuntimeError, FloatingPointError)) and sentence(error)):
                    errors.append(f"{name}: {type(error).__name__}: {error}")
                    stop.set()
            done[name] = done.get(name, 0) + 1

    threads = [threading.Thread(target=work, args=(name,)) for name in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder.cleanup()
    # and then it is a model like any other
    model.reset().fit(X, Y, epochs=2, **FIT)
    alone = {"wide": wide, "narrow": narrow}[which]()
    alone.fit(X, Y, epochs=2, **FIT)
    assert np.array_equal(model.theta, alone.theta)
    return errors


def test_everything_at_once_with_one_model():
    for ended in run_all(everything_at_once, [["narrow", 15 * ROUNDS], ["wide", 6 * ROUNDS]]):
        assert ended.result() == []


def built_for_other_shapes(rounds):
    """A model that threads build for other shapes while others fit and predict."""
    model, errors = narrow(), []

    def work(width):
        part = np.ascontiguousarray(X[:, :width])
        for _ in range(rounds):
            for call in (lambda: model.build(width), lambda: model.fit(part, Y, epochs=1, **FIT),
                         lambda: model.predict(part)):
                try:
                    call()
                except (ValueError, RuntimeError) as error:
                    if not sentence(error):
                        errors.append(str(error))

    threads = [threading.Thread(target=work, args=(width,)) for width in (300, 200, 100, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    model.build(11).fit(X[:, :11], Y, epochs=1, **FIT)
    return errors


def test_built_for_other_shapes_in_several_threads():
    assert run(built_for_other_shapes, 10 * ROUNDS).result() == []


# -- many threads, and none ------------------------------------------------------------------------------------------


def in_threads(work, count):
    """Run ``work(i)`` in as many threads, and wait for them."""
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def digests_in_threads(count):
    """As many models as threads, each of which fits and ends while others do; the weights are those of one thread."""
    expected = wide()
    expected.fit(X, Y, epochs=2, n_threads=1, **FIT)
    found = []

    def work(i):
        model = wide()
        model.fit(X, Y, epochs=2, n_threads=1 + i % 4, **FIT)
        found.append(np.array_equal(model.theta, expected.theta))

    in_threads(work, count)
    return [sum(found), threading.active_count()]


def test_many_models_in_as_many_threads():
    assert run(digests_in_threads, 24).result() == [24, 1]


def limited_address_space(allowed):
    """The weights if memory is left for the stacks of ``allowed`` more threads; the bits are those of one thread."""
    import resource

    stack = 1 << 30
    expected = wide()
    expected.fit(X, Y, epochs=2, n_threads=1, **FIT)
    model = wide().build(300)
    model.fit(X, Y, epochs=1, n_threads=1, **FIT)
    threading.stack_size(stack)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + allowed * stack + stack // 2,) * 2)
    model.reset().fit(X, Y, epochs=2, n_threads=4, **FIT)
    predicted = model.predict(X, n_threads=4)
    assert np.array_equal(predicted, expected.predict(X))
    return [np.array_equal(model.theta, expected.theta), count_workers()[0], threading.active_count()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the address space can be limited on Linux only")
@pytest.mark.skipif(not LIMITS_MEMORY, reason="the address sanitizer reserves more address space than the limit")
def test_a_system_that_gives_no_more_threads():
    found = [run(limited_address_space, allowed).result() for allowed in range(3)]
    assert found == [[True, 0, 1], [True, 1, 1], [True, 2, 1]]


def limited():
    """The same with the system's own limit."""
    import os
    import resource

    expected = wide()
    expected.fit(X, Y, epochs=2, n_threads=1, **FIT)
    if os.getuid() == 0:
        os.setuid(65534)                # the limit does not hold for root
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        model = wide()
        model.fit(X, Y, epochs=2, n_threads=4, **FIT)
        return np.array_equal(model.theta, expected.theta)
    return "there is no such limit"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_a_limit_of_threads():
    found = run(limited).result()
    if found == "there is no such limit":
        pytest.skip("this system starts threads beyond its limit")
    assert found is True


# -- the end of the process ------------------------------------------------------------------------------------------

PROGRAM = """
import threading, time, numpy as np
from ldl_cy import Sequential, layers
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((2000, 300)).astype("float32"), rng.integers(0, 3, 2000)
model = Sequential([layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(3)], random_state=0).build(300)
def work():
    {work}
threading.Thread(target=work, daemon={daemon}).start()
time.sleep({seconds})
{end}
print("end")
"""
FITS = 'model.fit(X, Y, loss="log_loss", epochs=100000, n_threads=2, batch_size=500{more})'


@pytest.mark.parametrize("more", ["", ", callbacks=[lambda m, logs: None]"], ids=["compiled", "callbacks"])
def test_the_end_of_a_process_in_which_a_thread_fits(more, tmp_path):
    """A daemon's fit ends with the process, whatever it does at the moment."""
    for seconds in (0.05, 0.3):
        program = PROGRAM.format(work=FITS.format(more=more), daemon=True, seconds=seconds, end="")
        done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", program], cwd=tmp_path, timeout=SECONDS,
                              capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


def test_a_fit_when_the_interpreter_ends(tmp_path):
    """Workers are still started, if none is there."""
    program = PROGRAM.format(
        work="pass", daemon=False, seconds=0,
        end='import atexit; atexit.register(lambda: print(len(model.fit(X, Y, loss="log_loss", n_threads=2, epochs=1,'
            ' batch_size=500).history["loss"]), flush=True))')
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", program], cwd=tmp_path, timeout=SECONDS,
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "end\n1\n"), done.stderr


def failing(n_threads):
    """An exception in a thread's fit comes out of that, and others go on."""
    found = []

    def work(i):
        def fail(model, logs):
            raise KeyError("mine")
        model = wide()
        try:
            model.fit(X, Y, epochs=3, n_threads=n_threads, callbacks=[fail] if i % 2 else (), **FIT)
            found.append("done")
        except KeyError:
            model.fit(X, Y, epochs=2, n_threads=n_threads, **FIT)
            found.append("failed")

    in_threads(work, 8)
    return [sorted(found), threading.active_count()]


def test_exceptions_in_threads():
    for ended in run_all(failing, [[1], [3]]):
        assert ended.result() == [["done"] * 4 + ["failed"] * 4, 1]


# -- sub-interpreters ----------------------------------------------------------------------------------------------

INTERPRETERS = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import ldl_cy
{first}
new = interpreters.create({kind})
try:
    problem = interpreters.{run}(new, "import ldl_cy; ldl_cy.Sequential")
    print(getattr(problem, "formatted", problem))
except Exception as error:
    print(error)
try:
    print(len(ldl_cy.Sequential([ldl_cy.layers.Dense(1)]).build(2).theta))
except ImportError as error:
    print("refused", error)
"""


@pytest.mark.parametrize("first", ["import ldl_cy.models", ""], ids=["second", "first"])
def test_another_interpreter_is_refused(first, tmp_path):
    """A second interpreter of the process: an ImportError. The main one continues, unless it comes after the other."""
    new = sys.version_info >= (3, 13)
    program = INTERPRETERS.format(
        kind="" if new else "isolated=False", run="exec" if new else "run_string", first=first)
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", program], cwd=tmp_path, timeout=SECONDS,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    assert "ImportError" in "".join(said), done.stdout
    assert last == "3" or (not first and last.startswith("refused")), done.stdout


def test_estimators_share_nothing():
    """One estimator that threads fit at once: each fit is one of the outcomes, never a mixture."""
    ended = run(estimators_at_once)
    assert ended.result() == []


def estimators_at_once():
    import warnings

    warnings.simplefilter("ignore")
    estimator, errors = MLPClassifier((20,), max_iter=3, random_state=0), []

    def work(i):
        for _ in range(15):
            try:
                estimator.fit(X, Y) if i < 2 else estimator.predict(X[:3]) if i == 2 else pickle.dumps(estimator)
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")

    estimator.fit(X, Y)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = MLPClassifier((20,), max_iter=3, random_state=0).fit(X, Y)
    assert np.array_equal(estimator.fit(X, Y).predict_proba(X), alone.predict_proba(X))
    return sorted({error for error in errors if ": another fit of this " not in error})
