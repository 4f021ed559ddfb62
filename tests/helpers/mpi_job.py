"""Jobs of real processes, ``mpiexec -n SIZE python rank_jobs.py JOB FOLDER ARGUMENTS``, that file what they find.

    job = run_job("fits", 2, folder, {"threads": [1, 2]})
    job.found[rank]["name"]             # what the rank has filed under a name

A job that takes too long is ended with all its processes, and is an AssertionError, as is one that fails.
"""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().with_name("rank_jobs.py")
SECONDS = 180.0                 # for a job; the longest takes ten, and several times that where others run too
GRACE = 10.0                    # for mpiexec to end its processes


@dataclass(frozen=True)
class Job:
    """What became of a job.

    Attributes
    ----------
    found : list of dicts
        For each rank, what it has filed, by name.
    returncode : int, mpiexec's
    output : str
        What all processes have printed.
    seconds : float
    """

    found: list[dict[str, Any]]
    returncode: int
    output: str
    seconds: float


def find_mpiexec() -> str:
    """The environment's mpiexec, or another one; without mpi4py or mpiexec the test is skipped."""
    pytest.importorskip("mpi4py", reason="the extra 'test' brings mpi4py, through which the ranks send messages")
    found = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
    if found is None or os.name != "posix":
        pytest.skip("the extra 'test' brings mpich, whose mpiexec starts the ranks")
    return found


def environment() -> dict[str, str]:
    """This process's variables without those that fix numbers of threads or kernels, or belong to another job."""
    cleared = ("OMP_", "OPENBLAS_", "MKL_", "PMI_", "PMIX_", "HYDRA_", "OMPI_")
    return {name: value for name, value in os.environ.items() if not name.startswith(cleared)}


def run_job(job: str, size: int, folder: Path, arguments: dict[str, Any] | None = None, *, fails: bool = False,
            seconds: float = SECONDS) -> Job:
    """Run a job of ``size`` ranks in a folder, which is made; ``fails``: its processes are not to end by themselves."""
    folder.mkdir(parents=True, exist_ok=True)
    # away from the source folder, which would be imported instead of the installed package
    command = [find_mpiexec(), "-n", str(size), sys.executable, str(SCRIPT), job, str(folder),
               json.dumps(arguments or {})]
    start, log = time.perf_counter(), folder / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            process.wait(seconds)
            late = False
        except subprocess.TimeoutExpired:
            late = True
        finally:
            end(process, folder)
    spent = time.perf_counter() - start
    found = [read(folder, rank) for rank in range(size)]
    result = Job(found, process.returncode, log.read_text(errors="replace"), spent)
    done = [list(filed)[-1:] for filed in found]
    assert not late, f"{job} on {size} ranks had not ended after {seconds} s; last filed: {done}\n{result.output}"
    assert fails or not process.returncode, f"{job} on {size} ranks failed; last filed: {done}\n{result.output}"
    return result


def end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """End a job: mpiexec is asked first, since it knows its processes; then those that are left are killed."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for path in folder.glob("*.pid"):           # mpiexec's processes may be in groups of their own
        pid = int(path.read_text())
        # not a process that has got the number since
        with suppress(OSError):
            if str(SCRIPT).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        path.unlink()
    process.wait()


def read(folder: Path, rank: int) -> dict[str, Any]:
    """What a rank has filed."""
    path = folder / f"{rank}.jsonl"
    return dict(map(json.loads, path.read_text().splitlines())) if path.exists() else {}
