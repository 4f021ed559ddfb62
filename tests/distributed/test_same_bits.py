"""Fits on 1 to 4 processes and 1 and 2 threads in each: one column of checksums, all equal."""
import pytest
from mpi_job import run_job
from rank_fits import CASES, arguments, found
from rank_jobs import LOCAL
from thread_comm import run_ranks

SIZES, THREADS = (1, 2, 3, 4), (1, 2)
FOUR = ["mlp", "cnn", "lstm", "lm"]         # cases of four ranks, which take turns on two cores, with one thread each
# a share of validation rows is held out of each rank's
WHOLE = [name for name in LOCAL if "validation_split" not in arguments(name)]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """What each rank of each number of ranks has found."""
    folder = tmp_path_factory.mktemp("fits")
    jobs = {n: run_job("fits", n, folder / str(n), {
        "threads": THREADS if n < 4 else [1], "names": list(CASES) if n < 4 else FOUR}) for n in SIZES}
    for size, job in jobs.items():
        assert [filed["size"] for filed in job.found] == [size] * size, "mpiexec is of another MPI than mpi4py"
    return jobs


def column(jobs, kind, name, sizes=SIZES):
    """What was found of a case: {(ranks, threads, rank): found}; an error is a failure."""
    found = {(size, threads, rank): filed[f"{kind} {name} {threads}"] for size in sizes
             for rank, filed in enumerate(jobs[size].found) for threads in THREADS
             if f"{kind} {name} {threads}" in filed}
    errors = {key: value for key, value in found.items() if isinstance(value, str)}
    assert not errors, errors
    expected = {(size, threads) for size in sizes for threads in THREADS
                if size < 4 or (threads == 1 and name in [*FOUR, "shards"])}
    assert {(size, threads) for size, threads, _ in found} == expected
    return found


@pytest.mark.parametrize("name", [*CASES, "shards"])
def test_all_rows(jobs, name):
    first, *others = column(jobs, "all", name).values()
    assert [found for found in others if found != first] == []


@pytest.mark.parametrize("name", WHOLE)
def test_own_rows_in_whole_shards(jobs, name):
    first, *others = column(jobs, "whole", name).values()
    assert [found for found in others if found != first] == []


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("size", [2, 3])
def test_own_rows_in_other_parts(jobs, name, size):
    """The ranks of one fit agree, with any number of threads."""
    first, *others = column(jobs, "unequal", name, [size]).values()
    assert [found for found in others if found != first] == []


@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm", "sgd", "lbfgs"])
def test_other_shards_have_other_bits(jobs, name):
    """So that what is compared depends on the order of sums."""
    expected = column(jobs, "all", name, [1])[1, 1, 0]
    for other in run_ranks(2, lambda comm: found(name, comm, n_threads=1, shards=2)):
        assert other["epoch"] == expected["epoch"] and other["theta"] != expected["theta"]


def test_ranks_as_threads_have_the_same_bits(jobs):
    for name in ("cnn", "lm"):
        expected = jobs[1].found[0][f"all {name} 1"]
        assert run_ranks(3, lambda comm, name=name: found(name, comm, n_threads=1)) == [expected] * 3


def test_a_part_of_the_ranks(jobs, tmp_path):
    """Two communicators of one job, whose fits run at the same time."""
    expected = jobs[1].found[0]["all mlp 1"]
    assert [filed["part"] for filed in run_job("communicators", 3, tmp_path).found] == [expected] * 3
