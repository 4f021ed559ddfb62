"""Training on two ranks, beside one process and beside PyTorch's DistributedDataParallel on two: the parent's side.

All contenders take batches of the same size in total; each rank has one thread. A row whose step takes less than
``LEAST`` on one thread is left out: there is too little work in it for two. So are the rows of networks.py.
"""
from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from benchmarks import rows as table
from benchmarks import runner

LEAST = 1e-3                    # seconds a step
# (processes, threads in each, shards or None without a communicator)
ONE = "1 thread"
OURS = {ONE: (1, 1, None), "2 threads": (1, 2, None),
        "1 rank, 2 shards": (1, 1, 2), "1 rank, 8 shards": (1, 1, 8),
        "2 ranks, 2 shards": (2, 1, 2), "2 ranks, 8 shards": (2, 1, 8)}
DDP = "torch DDP, 2 processes"
SECONDS = 900                   # after which a job of several processes is ended


def find_mpiexec():
    """The mpiexec of the environment, or another one; None without one."""
    return shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")


def missing():
    """What ranks lack, or ""."""
    if find_spec("mpi4py") is None:
        return "mpi4py is not installed"
    return "" if find_mpiexec() else "there is no mpiexec"


def contenders(options):
    """Their names, PyTorch's if it is there."""
    return [*OURS, *([DDP] if "torch" in options.peers and not runner.missing("torch") else [])]


def ask(options, jobs, size):
    """The answers of rank 0 of ``size`` processes; processes that fail answer each job with their error."""
    with tempfile.TemporaryDirectory() as folder:
        path, log = Path(folder) / "jobs.json", Path(folder) / "log.txt"
        path.write_text(json.dumps(jobs))
        with log.open("w") as errors, subprocess.Popen(
                [find_mpiexec(), "-n", str(size), sys.executable, options.script, "--ranks", str(path)],
                env=runner.environment(1, options.isa), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=errors) as process:
            try:
                answer, _ = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)             # mpiexec ends its processes
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
                answer = ""
        said = log.read_text()
    if process.returncode == 0:
        return json.loads(answer.strip().splitlines()[-1])
    last = (said.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
    return [{"error": last, "details": said[-4000:]} for _ in jobs]


def answers(options, name, jobs):
    """The answers to jobs of one contender: tuples of arguments of ``runner.job``, from the row on."""
    size, threads, shards = OURS.get(name, (2, 1, None))
    peer = runner.OURS if name in OURS else "torch"
    asked = [{**runner.job(options, peer, row, "train", dtype, threads, *how), "shards": shards}
             for row, dtype, *how in jobs]
    return runner.ask(options, asked, threads) if name in OURS and shards is None else ask(options, asked, size)


def run(options):
    """All rows: a list that json can write."""
    names, results = contenders(options), []
    for row, dtype in product([row for row in options.rows if row in table.FIRST], options.dtypes):
        results.append({"row": row.key, "dtype": dtype, "contenders": {name: {"turns": []} for name in names}})
    (run_short if options.short else run_turns)(options, results)
    return results


def run_short(options, results):
    """Each contender once, in one process or one group of processes for all rows, with first settings."""
    left = results
    for name in contenders(options):
        jobs = [(table.BY_KEY[result["row"]], result["dtype"], {} if name in OURS else None) for result in left]
        for result, answer in zip(left, answers(options, name, jobs)):
            runner.take(result["contenders"][name], answer)
        runner.say(f"{name}: {len(left)} measurements")
        if name == ONE:
            left = [result for result in results if is_long(result)]


def run_turns(options, results):
    """A B A B: in each turn every contender once, each time in new processes."""
    for i, result in enumerate(results):
        row, dtype, found = table.BY_KEY[result["row"]], result["dtype"], result["contenders"]
        settings = {name: {} if name in OURS else None for name in found}
        for _ in range(options.turns):
            for name, contender in found.items():
                if "error" in contender or not (name == ONE or is_long(result)):
                    continue
                if settings[name] is None:
                    answer, = answers(options, name, [(row, dtype, None, True)])
                    settings[name], contender["tried"] = answer.get("setting"), answer.get("tried")
                if settings[name] is not None:
                    answer, = answers(options, name, [(row, dtype, settings[name])])
                runner.take(contender, answer)
        runner.say(f"{i + 1}/{len(results)} ranks: {row.key} {dtype}")


def is_long(result):
    """Whether a step on one thread takes long enough."""
    turns = result["contenders"][ONE]["turns"]
    return bool(turns) and min(turns[0]["times"]) >= LEAST
