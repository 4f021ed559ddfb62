"""The command line, and the demo in a short form; ci/demo runs it whole."""
import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

import ldl_cy
from ldl_cy import demo, info
from ldl_cy.__main__ import main
from ldl_cy.demo import presentation, systems
from ldl_cy.demo.systems import Result

HIT = Result("hit", "some rows", 1234, 0.5, 0.98, 0.97, "guessing 10.00%", np.array([2.0, 1.0, 0.5]),
             filters=np.arange(45.0).reshape(3, 3, 5))
MISS = dataclasses.replace(HIT, system="miss", score=0.5, filters=None)


def test_info_prints_every_field(capsys):
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = {line[:17].strip(): line[17:].strip() for line in lines}
    assert list(shown) == [
        "ldl_cy", "Python", "NumPy", "SciPy", "scikit-learn", "BLAS", "instruction set", "threads"]
    assert shown["ldl_cy"] == ldl_cy.__version__
    assert shown["NumPy"] == np.__version__
    assert int(shown["threads"]) >= 1
    assert all(shown.values())


def test_info_names_scipys_blas_and_not_numpys(monkeypatch):
    import threadpoolctl

    def library(path, core):
        return {"user_api": "blas", "internal_api": "openblas", "version": "0.3", "architecture": core,
                "filepath": path}

    numpys = library("/x/site-packages/numpy.libs/libscipy_openblas64_.so", "Haswell")
    scipys = library("/x/site-packages/scipy.libs/libscipy_openblas.so", "SkylakeX")
    shared = library("/usr/lib/libopenblas.so", "Zen")
    for loaded, core in [([numpys, scipys], "SkylakeX"), ([shared], "Zen")]:
        monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda loaded=loaded: loaded)
        assert info.blas() == f"openblas 0.3, {core} kernels"
    monkeypatch.setattr(threadpoolctl, "threadpool_info", list)
    assert info.blas() == "unknown to threadpoolctl"


def test_info_of_what_is_not_installed():
    assert info.installed("no-such-distribution") == "not installed"


def test_module_runs_as_a_program(tmp_path):
    command = [sys.executable, "-m", "ldl_cy", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"ldl_cy {ldl_cy.__version__}"


@pytest.mark.parametrize("arguments", [[], ["dance"], ["demo", "--fast"], ["demo", "--output", "no/such/x.png"]])
def test_wrong_commands_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "usage: ldl-cy" in capsys.readouterr().err


def test_gradient_descent_reaches_the_svd_solution():
    result = systems.linear_regression()
    assert result.reached and result.score < 1e-7
    assert result.n_parameters == 2
    assert result.losses[-1] < result.losses[0]


@pytest.mark.parametrize("train", systems.SYSTEMS[1:], ids=lambda train: train.__name__)
def test_digits_in_two_epochs(train):
    result = train(epochs=2)
    assert len(result.losses) == 2 and result.losses[1] < result.losses[0]
    assert result.score > 0.2, "no better than guessing"
    assert result.baseline.startswith("logistic regression 9")
    assert (result.filters is not None) == (train is systems.cnn)
    if result.filters is not None:
        assert result.filters.shape == (3, 3, 32)


def test_a_score_that_is_not_a_number_reaches_nothing():
    assert HIT.reached and not MISS.reached
    assert not dataclasses.replace(HIT, score=math.nan).reached
    assert not dataclasses.replace(HIT, score=math.nan, target=1e-6, is_distance=True).reached
    assert dataclasses.replace(HIT, score=1e-9, target=1e-6, is_distance=True).reached


def test_table_has_aligned_columns():
    header, rule, first, second = presentation.table([HIT, MISS]).splitlines()
    assert header.split()[:3] == ["system", "data", "parameters"]
    for name, cell in [("score", "98.00%"), ("target", ">= 97.0%"), ("baseline", "guessing")]:
        assert header.index(name) == first.index(cell)
    assert "1,234" in first and "50.00%" in second
    assert set(rule) == {"-", " "}


def test_picture_is_a_png(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'test' brings matplotlib, which draws the picture")
    presentation.draw([HIT, MISS], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("results", "code", "text"), [
    ([HIT], 0, "All 1 targets reached"),
    ([HIT, MISS], 1, "miss: 50.00%, target >= 97.0%"),
])
def test_exit_code_tells_whether_targets_were_reached(results, code, text, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(systems, "SYSTEMS", [lambda epochs, result=r: result for r in results])
    monkeypatch.setattr(presentation, "draw", lambda results, path: None)
    assert main(["demo", "--output", str(tmp_path / "x.png")]) == code
    assert text in capsys.readouterr().out


def test_quick_demo_checks_no_target_and_does_without_matplotlib(monkeypatch, capsys, tmp_path):
    epochs_asked = []
    monkeypatch.setattr(systems, "SYSTEMS", [lambda epochs: epochs_asked.append(epochs) or MISS])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["demo", "--quick", "--output", str(tmp_path / "x.png")]) == 0
    out = capsys.readouterr().out
    assert epochs_asked == [demo.QUICK_EPOCHS]
    assert "matplotlib is not installed" in out and "targets were not checked" in out
    assert not (tmp_path / "x.png").exists()
