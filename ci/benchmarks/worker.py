"""The worker's side: measures what a list of jobs asks for, in a process that imports one contender alone."""
from __future__ import annotations

import importlib
import platform
import time
import traceback
from functools import partial

from benchmarks import common, fit_tasks, growth, settings
from benchmarks import rows as table

MODULES = {
    "ldl_cy": "ours",
    "torch": "torch_peer",
    "jax": "jax_peer",
    "scikit-learn": "sklearn_peer",
    "onnxruntime": "onnx_peer",
}
GEMM_SIZE = 1024


def work(jobs):
    """The answers to a list of jobs."""
    return [{"machine": machine, "gemm": gemm, "measure": contender, "fit": fit}[job["kind"]](job) for job in jobs]


def work_on_ranks(jobs):
    """The answers of all processes of a job, each of which does the same; None on all but the first."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    answers = [contender(job, comm) for job in jobs]
    return answers if comm.Get_rank() == 0 else None


def contender(job, comm=None):
    """Times of one contender at one row, with the setting given or the best that is found.

    With a communicator on several processes, each of which takes its part of every batch.
    """
    of_first = (lambda value: value) if comm is None else comm.bcast
    row = growth.row(*job["growth"]) if "growth" in job else table.BY_KEY[job["row"]]
    if job["peer"] == "jax":
        bind(job["threads"])
    peer = importlib.import_module("benchmarks." + MODULES[job["peer"]])
    if job["isa"] and job["peer"] == "ldl_cy":
        use(job["isa"])
    arguments = (row, job["part"], job["dtype"], job["threads"])
    prepare = peer.prepare if comm is None else partial(peer.prepare, comm=comm, shards=job["shards"])
    answer = {}
    try:
        if job["setting"] is None and job["explore"]:
            answer["setting"], answer["tried"] = settings.explore(
                prepare, arguments, settings.axes(job["peer"], row, job["part"]), of_first)
            return answer
        setting = job["setting"] or settings.first(job["peer"], row, job["part"])
        run = prepare(*arguments, setting)
        before = common.memory()
        answer["times"] = common.measure(run, job["seconds"], job["repeats"], of_first)
        answer.update(setting=setting, memory_before=before, memory_peak=common.peak_memory())
    except common.NotSupported as error:
        answer["not_supported"] = str(error)
    except Exception as error:  # filed with the row; the jobs after this one still run
        answer.update(failure(error))
    return answer


def fit(job):
    """One contender's whole fit."""
    try:
        if job["isa"] and job["peer"] == "ldl_cy":
            use(job["isa"])
        return fit_tasks.fit(job)
    except Exception as error:
        return failure(error)


def failure(error):
    """What is filed of an exception; called where it is handled."""
    return {"error": f"{type(error).__name__}: {error}".splitlines()[0], "details": traceback.format_exc()}


def gemm(job):
    """Flops a second of a square product by SciPy's BLAS on one thread: the best of many."""
    import numpy as np
    from scipy.linalg import blas

    n = GEMM_SIZE
    rng = np.random.default_rng(0)
    a, b, c = (np.asfortranarray(rng.standard_normal((n, n), dtype=job["dtype"])) for _ in range(3))
    product = blas.sgemm if job["dtype"] == "float32" else blas.dgemm
    product(1.0, a, b, 0.0, c, overwrite_c=True)
    best, end = float("inf"), time.perf_counter() + job["seconds"]
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        product(1.0, a, b, 0.0, c, overwrite_c=True)
        best = min(best, time.perf_counter() - start)
    return {"flops": 2 * n**3 / best}


def machine(job):
    """What the figures were measured on."""
    from ldl_cy.info import blas, information

    if job["isa"]:
        use(job["isa"])
    found = information()
    return {
        "processor": processor(), "system": f"{platform.system()} {platform.machine()}",
        "blas": blas(), "instruction set": found["instruction set"], "processors available": cpus(),
        "versions": {name: found[name] for name in ("ldl_cy", "Python", "NumPy", "SciPy", "scikit-learn")},
    }


def use(isa):
    """ldl_cy's kernels of one instruction set."""
    from ldl_cy._engine.vec import use_instruction_set

    use_instruction_set(isa)


def bind(threads):
    """Hold the process to as many cores as it shall have threads, where the system can."""
    import os

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def processor():
    """The processor's name, as the system knows it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or "unknown"


def cpus():
    """How many processors this process may use, whatever the variables of thread pools say."""
    import os

    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count()
