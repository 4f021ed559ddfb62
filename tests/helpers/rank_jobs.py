"""What each rank of a job does: ``mpiexec -n SIZE python rank_jobs.py JOB FOLDER ARGUMENTS``, started by mpi_job.py."""
from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rank_faults
from rank_fits import CASES, N, arguments, checksums, found, own

from ldl_cy import Sequential
from ldl_cy.callbacks import Checkpoint
from ldl_cy.distributed.shards import first_leaves

RESUMED = ("mlp", "cnn", "lstm", "sgd", "lm")
LOCAL = ("mlp", "cnn", "lstm", "penalty", "weights", "full batch", "lm", "lbfgs")


class Files:
    """What a rank files is a line in a file of its own, written at once."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.path = folder / f"{rank}.jsonl"
        self.path.write_text("")
        (folder / f"{rank}.pid").write_text(str(os.getpid()))

    def add(self, name: str, value: Any) -> None:
        """File a value that JSON can write."""
        with self.path.open("a") as file:
            file.write(json.dumps([name, value]) + "\n")

    def try_to(self, name: str, case: str, comm: Any, **options: Any) -> None:
        """File what is found of a fit, or its error."""
        try:
            self.add(name, found(case, comm, **options))
        except Exception as error:
            self.add(name, f"{type(error).__name__}: {error}")


def fits(comm: Any, files: Files, threads: list[int], names: list[str]) -> None:
    """Cases on all rows; some on the ranks' own rows, in parts that are whole shards, and in parts that are not."""
    size = comm.Get_size()
    edges = [leaf * N // 8 for leaf in first_leaves(8, size)]
    whole = [edges[rank + 1] - edges[rank] for rank in range(size)]
    unequal = [N - 37 * (size - 1)] + [37] * (size - 1)
    for n in threads:
        for name in names:
            files.try_to(f"all {name} {n}", name, comm, n_threads=n)
        files.try_to(f"all shards {n}", "mlp", comm, shards=16, n_threads=n)
        for kind, counts in (("whole", whole), ("unequal", unequal)):
            for name in (name for name in LOCAL if name in names):
                files.try_to(f"{kind} {name} {n}", name, comm, of=own(comm, counts), rows="local", n_threads=n)


def communicators(comm: Any, files: Files) -> None:
    """The first rank by itself, and the others as a group, each with its own fit at the same time."""
    alone = comm.Get_rank() == 0
    part = comm.Split(int(alone), comm.Get_rank())
    files.try_to("part", "mlp", part, n_threads=1)
    part.Free()


def save(comm: Any, files: Files, epochs: int) -> None:
    """Fits with checkpoints, of which rank 0 alone is to write any."""
    for name in RESUMED:
        folder = files.path.parent / name
        # each rank has a folder, so that a file of another rank than the first would be seen
        mine = folder / str(comm.Get_rank())
        mine.mkdir(parents=True)
        model = Sequential(CASES[name].layers(), random_state=3)
        model.fit(**{**arguments(name), "epochs": epochs}, comm=comm, n_threads=1,
                  callbacks=[Checkpoint(mine / "model.ldl")])
        files.add(name, checksums(model))


def resume(comm: Any, files: Files, saved: str, epochs: int) -> None:
    """Fits from the checkpoints of ``save`` for some epochs."""
    for name in RESUMED:
        model = Sequential.load(Path(saved) / name / "0" / "model.ldl")
        model.fit(**{**arguments(name), "epochs": epochs}, comm=comm, n_threads=1)
        files.add(name, checksums(model))


def kill(comm: Any, files: Files, rank: int, how: str) -> None:
    """A fit with checkpoints, in the middle of the fifth epoch of which a rank ends without a word."""
    def end() -> None:
        if how == "exit":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL)

    rank_faults.fit_with_python(comm, end if comm.Get_rank() == rank else None, at=4,
                                callbacks=[Checkpoint(files.path.parent / "model.ldl")])


JOBS: dict[str, Callable[..., None]] = {
    job.__name__: job for job in (fits, communicators, save, resume, kill, rank_faults.faults)}


def main(job: str, folder: Path, given: dict[str, Any]) -> None:
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    files = Files(folder, comm.Get_rank())
    files.add("size", comm.Get_size())
    JOBS[job](comm, files, **given)
    files.add("ended", True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))
