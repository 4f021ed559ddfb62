"""Threads: how many, the pool's life, and BLAS held at one thread."""
import threading

import pytest

from ldl_cy import threads
from ldl_cy._engine.pool import Pool, count_workers
from ldl_cy._engine.process import RunningFit


def test_workers_are_started_once_and_kept():
    before, alive = threading.active_count(), count_workers()[0]
    for _ in range(3):
        with Pool(4) as pool:
            assert pool.n_threads == 4
            n_workers, free = count_workers()
            assert n_workers >= 3
        assert pool.n_threads == 1
        assert count_workers() == (n_workers, free + 3)
    assert n_workers <= max(alive, 3)
    assert threading.active_count() == before           # Python does not know them


def test_pools_at_the_same_time_have_workers_of_their_own():
    with Pool(3) as first:
        alone = count_workers()
        with Pool(4) as second:
            assert (first.n_threads, second.n_threads) == (3, 4)
            assert count_workers()[1] == max(0, alone[1] - 3)
        assert count_workers()[1] == max(3, alone[1])


def test_a_pool_that_is_dropped_leaves_its_workers():
    pool = Pool(3)
    pool.__enter__()
    before = count_workers()
    try:
        del pool
        assert count_workers() == (before[0], before[1] + 2)
    finally:
        Pool(1).__exit__()              # the limit of BLAS that it did not release


def test_a_pool_has_at_most_64_threads():
    with Pool(1000) as pool:
        assert pool.n_threads == 64


def test_a_process_has_at_most_256_workers():
    pools = [Pool(64) for _ in range(6)]
    for pool in pools:
        pool.__enter__()
    try:
        assert sum(pool.n_threads - 1 for pool in pools) == count_workers()[0] == 256
        assert pools[-1].n_threads == 1
    finally:
        for pool in pools:
            pool.__exit__()
    assert count_workers() == (256, 256)


def test_available_threads_follow_the_environment(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    count = threads.available_threads()
    assert count >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.available_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    assert threads.available_threads() == count
    monkeypatch.setenv("OMP_NUM_THREADS", "nonsense")
    assert threads.available_threads() == count


def test_default_is_one_thread_beside_another_fit(monkeypatch):
    monkeypatch.setattr(threads, "available_threads", lambda: 7)
    assert threads.choose_threads("x", None) == 7
    with RunningFit():
        assert threads.choose_threads("x", None) == 1
        assert threads.choose_threads("x", 3) == 3
    assert threads.choose_threads("x", None) == 7
    with pytest.raises(TypeError):
        threads.choose_threads("x", 1.5)


def test_holds_of_blas_nest():
    from threadpoolctl import threadpool_info, threadpool_limits

    def counts():
        return {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}

    with threadpool_limits(2, "blas"):
        with threads.blas_at_one_thread():
            with threads.blas_at_one_thread():
                assert counts() == {1}
            assert counts() == {1}
        assert counts() == {2}


def test_more_libraries_than_there_is_room_for():
    """The same one again and again: it is at one thread already when it is asked, and nothing else changes."""
    from threadpoolctl import ThreadpoolController, threadpool_limits

    known = threads.find_blas()             # those of this process have their places
    libraries = [c for c in ThreadpoolController().lib_controllers
                 if c.internal_api == "openblas" and c.threading_layer == "pthreads"]
    if not known or not libraries:
        pytest.skip("a BLAS that threadpoolctl alone can set")
    found = [threads._register(libraries[0]) for _ in range(17)]
    assert found == sorted(found, reverse=True) and not found[-1]
    with threadpool_limits(2, "blas"):
        with threads.blas_at_one_thread():
            assert {c.num_threads for c in libraries} == {1}
        assert {c.num_threads for c in libraries} == {2}
