"""How many threads work, and libraries whose threads are held: machines and libraries that are not those here."""
import ctypes
import os
from types import SimpleNamespace

import numpy as np
import pytest

from ldl_cy import Sequential, layers, threads

UNLIMITED = 1 << 30


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A function that writes the files of a control group."""
    monkeypatch.setattr(threads, "Path", lambda path: tmp_path / str(path).lstrip("/"))

    def write(**contents):
        for name, text in contents.items():
            folder = tmp_path / "sys/fs/cgroup" / ("" if name == "max" else "cpu")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ("cpu.max" if name == "max" else f"cpu.cfs_{name}_us")).write_text(text)

    return write


@pytest.mark.parametrize(("contents", "granted"), [
    ({"max": "150000 100000\n"}, 2),
    ({"max": "50000 100000\n"}, 1),
    ({"max": "max 100000\n"}, UNLIMITED),
    ({"quota": "250000\n", "period": "100000\n"}, 3),
    ({"quota": "-1\n", "period": "100000\n"}, UNLIMITED),
    ({"max": "max\n", "quota": "400000\n", "period": "100000\n"}, 4),      # the first file is not one
    ({}, UNLIMITED),
])
def test_the_control_groups_quota(contents, granted, files):
    files(**contents)
    assert threads._cgroup_quota.__wrapped__() == granted


def test_all_processors_where_there_is_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(threads, "_cgroup_quota", lambda: UNLIMITED)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert threads.available_threads() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)          # unknown
    assert threads.available_threads() == 1


class OtherBLAS:
    """A library that threadpoolctl knows and the compiled hold does not; it counts its calls."""

    def __init__(self, num_threads):
        self.num_threads = num_threads
        self.calls = []

    def set_num_threads(self, count):
        self.num_threads = count
        self.calls.append(count)


@pytest.fixture
def other(monkeypatch):
    library = OtherBLAS(4)
    monkeypatch.setattr(threads, "_others", [library])
    return library


def test_another_library_is_held_by_the_first_and_let_go_by_the_last(other):
    with threads.blas_at_one_thread():
        with threads.blas_at_one_thread():
            assert other.num_threads == 1
        assert other.num_threads == 1
    assert other.calls == [1, 4]
    with pytest.raises(KeyError), threads.blas_at_one_thread():
        assert other.num_threads == 1
        raise KeyError
    assert other.num_threads == 4


def test_a_library_without_a_number_is_not_set_back(other):
    other.num_threads = None
    with threads.blas_at_one_thread():
        assert other.num_threads == 1
    assert other.calls == [1]


def test_another_library_changes_no_result(other, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 30)), rng.standard_normal((40, 1))

    def outputs():
        model = Sequential([layers.Dense(20, "tanh"), layers.Dense(1)], random_state=0)
        model.fit(X, y, loss="squared_error", epochs=2)
        return model.predict(X)

    held = outputs()
    assert other.num_threads == 4 and set(other.calls) == {1, 4}
    monkeypatch.setattr(threads, "_others", [])
    np.testing.assert_array_equal(outputs(), held)


def controller(internal_api, threading_layer, **functions):
    return SimpleNamespace(
        internal_api=internal_api, threading_layer=threading_layer, dynlib=SimpleNamespace(**functions))


def test_libraries_that_need_no_hold_or_know_none():
    assert threads._register(controller("openblas", "disabled"))            # it has no threads
    assert not threads._register(controller("openblas", "openmp"))
    assert not threads._register(controller("mkl", "pthreads"))
    assert not threads._register(controller("openblas", "pthreads"))        # under other names


@pytest.mark.parametrize(("prefix", "suffix"), [("", ""), ("scipy_", "64_"), ("", "_64")])
def test_the_functions_of_an_openblas_are_found_under_its_names(prefix, suffix, monkeypatch):
    get = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 2)
    put = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda count: None)
    found = []
    monkeypatch.setattr(threads, "register", lambda *addresses: found.append(addresses) or True)
    names = [f"{prefix}openblas_{verb}_num_threads{suffix}" for verb in ("get", "set")]
    assert threads._register(controller("openblas", "pthreads", **dict(zip(names, (get, put)))))
    assert found == [tuple(ctypes.cast(function, ctypes.c_void_p).value for function in (get, put))]
