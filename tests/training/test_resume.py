"""Fits that go on: in one process, through files, in another process, after a kill; always to the same bits."""
import copy
import csv
import hashlib
import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import resuming
from resuming import EPOCHS, Case, cases
from small_estimators import EVERY, REGRESSORS, problem, small
from states import check_same, state_of

from ldl_cy import Sequential
from ldl_cy.callbacks import Callback, CSVLogger

SCRIPT = Path(resuming.__file__)


def in_another_process(task, folder):
    # away from the source folder, which would be imported instead of the installed package
    subprocess.run([sys.executable, str(SCRIPT), task, str(folder)], check=True, cwd=folder)


def joined(parts):
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


@pytest.mark.parametrize("name", cases())
def test_goes_on_to_the_same_bits(name, tmp_path):
    case = Case(name)
    whole, parts, loaded = case.model(), case.model(), case.model()
    history = case.fit(whole, 10)
    assert whole.epoch == 10                                    # nothing converged
    if case.plateau:
        assert whole.training_state.rate_factor < 0.5
    assert joined([case.fit(parts, 5), case.fit(parts, 5)]) == history
    check_same(parts, whole)
    found = []
    for epochs in (1, 3, 6):
        found.append(case.fit(loaded, epochs))
        loaded.save(tmp_path / "model")
        other = pickle.loads(pickle.dumps(loaded))
        loaded = Sequential.load(tmp_path / "model")
        check_same(loaded, other)
    assert joined(found) == history
    check_same(loaded, whole)


def test_watched_or_not_and_on_any_threads(tmp_path):
    for name in ("adam/float32/by step/dropout", "adamw/float64/plateau/weights",
                 "momentum/float32/by epoch/sequences"):
        case = Case(name)
        whole, parts = case.model(), case.model()
        case.fit(whole, 10)
        for i, epochs in enumerate((2, 3, 5)):
            case.options["n_threads"] = 1 + i
            case.fit(parts, epochs, [Callback()] * i)
        check_same(parts, whole)


def test_in_another_process(tmp_path):
    expected = {}
    for name in cases():
        if "float64" in name and "plain" in name:
            continue
        case, path = Case(name), tmp_path / (name.replace("/", "+") + ".ldl")
        model = case.model()
        case.fit(model, 5)
        model.save(path)
        expected[path] = model, case.fit(model, 5)
    in_another_process("fits", tmp_path)
    for path, (model, history) in expected.items():
        check_same(Sequential.load(path), model)
        assert pickle.loads(path.with_suffix(".pkl").read_bytes()) == history


# -- killed -----------------------------------------------------------------------------------------------------


def digest(model):
    found, state = hashlib.sha256(), state_of(model)
    for name in ("theta", "state", "slots"):
        found.update(state.pop(name)[-1])
    return found.hexdigest(), state


class Digests(Callback):
    """What the model is after each epoch."""

    last = True

    def __init__(self):
        self.found = {}

    def on_epoch_end(self, model, epoch, logs):
        self.found[epoch] = digest(model)


def lines(path):
    with path.open(newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


@pytest.mark.parametrize("kind", resuming.KILLED)
@pytest.mark.skipif(sys.platform == "win32", reason="files that are open cannot be replaced there while they are read")
def test_killed_at_any_moment(kind, tmp_path):
    """Kills, each of a process that goes on where the last one was killed, or begins where one came to its end.

    There are 20; LDL_CY_KILLS is another number, of which each kind of network and optimizer gets its share.
    """
    wanted = -(-int(os.environ.get("LDL_CY_KILLS") or 0) // len(resuming.KILLED)) or (20 if kind == "adam" else 0)
    if not wanted:
        pytest.skip("a long test: LDL_CY_KILLS=100 runs it")
    for name in ("whole", "timed", "0"):
        (tmp_path / name).mkdir()
    digests = Digests()
    resuming.train_on(kind, tmp_path / "whole", [CSVLogger(tmp_path / "whole" / "log.csv"), digests])
    expected = lines(tmp_path / "whole" / "log.csv")
    begun = time.monotonic()
    resuming.train_on(kind, tmp_path / "timed", [])
    duration = time.monotonic() - begun
    delays, kills, runs = random.Random(0), 0, 0
    folder = tmp_path / "0"
    while kills < wanted:
        process = subprocess.Popen([sys.executable, str(SCRIPT), f"train {kind}", str(folder)], stdout=subprocess.PIPE,
                                   text=True, cwd=tmp_path)
        with process:
            assert process.stdout.readline() == "ready\n"
            try:
                assert process.wait(delays.uniform(0, duration)) == 0
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
        for path in folder.glob("model*.ldl"):
            model = Sequential.load(path)
            assert digests.found[model.epoch] == digest(model)
        if process.returncode == 0:
            check_finished(folder, digests, expected)
            runs += 1
            folder = tmp_path / str(runs)
            folder.mkdir()
    in_another_process(f"train {kind}", folder)
    check_finished(folder, digests, expected)


def check_finished(folder, digests, expected):
    assert sorted(path.name for path in folder.iterdir()) == [
        "log.csv", f"model-{EPOCHS - 2:06d}.ldl", f"model-{EPOCHS - 1:06d}.ldl", "model.ldl"]
    assert digest(Sequential.load(folder / "model.ldl")) == digests.found[EPOCHS]
    # an epoch whose checkpoint was not written in time was made twice
    assert sorted(set(lines(folder / "log.csv")), key=lambda row: int(row[0])) == expected


# -- estimators ---------------------------------------------------------------------------------------------------

SETTINGS = {
    "sgd": {"solver": "sgd", "batch_size": 17}, "adaptive": {"solver": "sgd", "learning_rate": "adaptive"},
    "adam": {"solver": "adam"}, "stopping": {"early_stopping": True}, "lm": {"solver": "lm"},
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_in_another_process(tmp_path):
    alone = {}
    for name in EVERY:
        for setting, parameters in SETTINGS.items():
            dropout = {"dropout": 0.3} if name.startswith(("MLP", "CNN", "RNN")) and setting != "lm" else {}
            if name not in REGRESSORS and setting == "lm":
                continue
            est = small(name, max_iter=5, warm_start=True, **parameters, **dropout)
            est.fit(*problem(est))
            (tmp_path / f"{name}-{setting}.pkl").write_bytes(pickle.dumps(est))
            alone[f"{name}-{setting}"] = est.fit(*problem(est))
    in_another_process("estimators", tmp_path)
    for name, est in alone.items():
        other = pickle.loads((tmp_path / f"{name}.pkl").read_bytes())
        check_same(other.model_, est.model_)
        assert other.loss_curve_ == est.loss_curve_ and len(est.loss_curve_) > 5
        assert other.validation_scores_ == est.validation_scores_
        np.testing.assert_array_equal(other.predict(problem(est)[0]), est.predict(problem(est)[0]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", EVERY)
def test_estimators_go_on(name):
    """A copy of an estimator goes on as the estimator does, pass by pass too."""
    est = small(name, max_iter=5, warm_start=True)
    X, y = problem(est)
    copies = [copy.deepcopy(est.fit(X, y)), pickle.loads(pickle.dumps(est))]
    for other in (est, *copies):
        for _ in range(3):
            other.partial_fit(X, y)
        other.fit(X, y)
        check_same(other.model_, est.model_)
        assert other.loss_curve_ == est.loss_curve_
