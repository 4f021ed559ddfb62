"""Checkpoints of several processes, resumed on another number of them; processes that are killed."""
import pytest
from mpi_job import run_job
from rank_faults import KILLED_EPOCHS, fit_with_python
from rank_fits import checksums, found
from rank_jobs import RESUMED
from thread_comm import run_ranks

from ldl_cy import Sequential

SAVED, EPOCHS = 2, 4            # epochs before the checkpoint, and of the whole fit


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of checkpoints of two ranks, and what these have found."""
    folder = tmp_path_factory.mktemp("saved")
    return folder, run_job("save", 2, folder, {"epochs": SAVED}).found


def test_rank_0_writes_checkpoints(saved):
    folder, (first, second) = saved
    for name in RESUMED:
        assert first[name] == second[name] and first[name]["epoch"] == SAVED
        assert not list((folder / name / "1").iterdir())
        assert checksums(Sequential.load(folder / name / "0" / "model.ldl")) == first[name]


@pytest.mark.parametrize("size", [1, 3])
def test_resumed_on_other_ranks(saved, tmp_path, size):
    job = run_job("resume", size, tmp_path, {"saved": str(saved[0]), "epochs": EPOCHS - SAVED})
    for name in RESUMED:
        whole = run_ranks(1, lambda comm, name=name: found(name, comm, epochs=EPOCHS, n_threads=1))[0]
        expected = {key: whole[key] for key in ("theta", "statistics", "slots", "epoch", "step")}
        assert [filed[name] for filed in job.found] == [expected] * size


@pytest.mark.parametrize("rank, how", [(0, "kill"), (1, "kill"), (1, "exit")])
def test_a_process_that_is_killed_ends_the_job(tmp_path, rank, how):
    """MPI ends the others; the last checkpoint is that of a complete epoch, and is resumed on one rank."""
    job = run_job("kill", 2, tmp_path, {"rank": rank, "how": how}, fails=True, seconds=30)
    assert job.returncode != 0 and not any("ended" in filed for filed in job.found)
    model = Sequential.load(tmp_path / "model.ldl")
    # rank 0 may have been ended before it wrote the last complete epoch
    assert model.epoch in (3, 4)
    resumed, whole = run_ranks(1, lambda comm: (
        checksums(fit_with_python(comm, None, 0, model)), checksums(fit_with_python(comm, None, 0))))[0]
    assert resumed == whole and resumed["epoch"] == KILLED_EPOCHS


