"""The parent's side: which measurements, in which order, each contender in a process of its own."""
from __future__ import annotations

import datetime
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

from benchmarks import rows as table
from benchmarks import settings
from benchmarks.isa import held_to
from benchmarks.row import flops

OURS = "ldl_cy"
PEERS = {"torch": ("torch",), "jax": ("jax",), "scikit-learn": ("sklearn",), "onnxruntime": ("onnxruntime", "onnx")}
# a dense and a convolutional network
SHORT_OF_JAX = ("mlp20", "lenet")
DISTRIBUTIONS = {"sklearn": "scikit-learn"}


@dataclass
class Options:
    """What to run."""

    rows: list
    parts: list[str]
    dtypes: list[str]
    threads: list[int]
    peers: list[str]
    turns: int = 5
    seconds: float = 0.3
    repeats: int = 3
    short: bool = False
    isa: str | None = None              # to which everybody is held
    data: Path = Path("data")           # the folder of the part "fit"
    script: str = ""                    # ci/bench.py, which starts again as a worker
    programs: str = ""                  # the folder of what JAX has compiled: once for all its processes


def missing(peer):
    """The package that a contender lacks, or ""."""
    return next((name for name in PEERS[peer] if importlib.util.find_spec(name) is None), "")


def applies(peer, row, part, short):
    """Can the contender run this at all? The rest is found out by trying. XLA compiles too long for a short run."""
    if short and peer == "jax" and row.key not in SHORT_OF_JAX:
        return False
    if peer == "scikit-learn":
        return row.dense
    return peer != "onnxruntime" or part != "train"


def environment(threads, isa=None, programs=""):
    """Variables of a worker: OpenBLAS chooses its kernels or is told which, thread pools have one size."""
    cleaned = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    for name in ("OPENBLAS", "OMP", "MKL"):
        cleaned[f"{name}_NUM_THREADS"] = str(threads)
    held = held_to(isa)
    xla = [held.pop("XLA_FLAGS")] if isa else []
    if threads == 1:                    # with more, XLA counts the cores to which its process is bound
        xla.append("--xla_cpu_multi_thread_eigen=false")
    cache = {"JAX_COMPILATION_CACHE_DIR": programs, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
             "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"} if programs else {}
    return {**cleaned, **held, **cache, "XLA_FLAGS": " ".join(xla), "JAX_PLATFORMS": "cpu"}


def ask(options, jobs, threads):
    """A worker's answers; one that fails answers each job with its error."""
    done = subprocess.run(
        [sys.executable, options.script, "--worker"],
        input=json.dumps(jobs),
        env=environment(threads, options.isa, options.programs),
        text=True,
        capture_output=True,
    )
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return [{"error": last, "details": done.stderr[-4000:]} for _ in jobs]


def job(options, peer, row, part, dtype, threads, setting=None, explore=False):
    return {"kind": "measure", "peer": peer, "row": row.key, "part": part, "dtype": dtype, "threads": threads,
            "setting": setting, "explore": explore, "seconds": options.seconds, "repeats": options.repeats,
            "isa": options.isa}


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(options):
    """All measurements: a dict that json can write (see report.py for what is made of it)."""
    peers = [peer for peer in options.peers if not missing(peer)]
    absent = {peer: f"{missing(peer)} is not installed" for peer in options.peers if missing(peer)}
    for peer, why in absent.items():
        say(f"{peer} is absent: {why}")
    if options.isa and "onnxruntime" in peers:
        peers.remove("onnxruntime")
        absent["onnxruntime"] = f"it cannot be held to {options.isa}"
    machine, = ask(options, [{"kind": "machine", "isa": options.isa}], 1)
    if "error" in machine:
        raise SystemExit(f"bench: {machine['error']}\n{machine['details']}")
    for peer in peers:
        for package in PEERS[peer]:
            name = DISTRIBUTIONS.get(package, package)
            machine["versions"][name] = version(name)
    found = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "machine": machine,
        "options": {"turns": options.turns, "seconds": options.seconds, "repeats": options.repeats,
                    "short": options.short, "isa": options.isa},
        "absent": absent, "gemm": {dtype: [] for dtype in options.dtypes}, "results": [],
    }
    parts = [part for part in options.parts if part in table.PARTS_OF_ROWS]
    for row, part, dtype, threads in product(options.rows, parts, options.dtypes, options.threads):
        found["results"].append({
            "row": row.key, "part": part, "dtype": dtype, "threads": threads, "flops": flops(row, part),
            "contenders": {peer: {"turns": []} for peer in [OURS, *peers] if peer == OURS
                           or applies(peer, row, part, options.short)}})
    measure_peak(options, found)
    if options.short:
        run_short(options, found)
    else:
        chosen, together = {}, groups(found["results"])
        for i, members in enumerate(together):
            run_turns(options, members, chosen)
            for result in members:
                say(f"{i + 1}/{len(together)} {describe(result)}")
            if i % 5 == 4:
                measure_peak(options, found)
    measure_peak(options, found)
    if "ranks" in options.parts:
        add_ranks(options, found)
    if "fit" in options.parts:
        from benchmarks import fits

        found["fits"], left_out = fits.run(options)
        found["absent"].update(left_out)
    if "growth" in options.parts:
        from benchmarks import growth

        found["growth"] = growth.run(options)
    return found


def add_ranks(options, found):
    """The part on several processes, where they can be started."""
    from benchmarks import ranks

    why = ranks.missing()
    if why:
        found["absent"]["the part of ranks"] = why
        say(f"the part of ranks is absent: {why}")
    else:
        found["ranks"] = ranks.run(options)


def describe(result):
    """One line on standard error while the rest is being measured."""
    times = {peer: min((min(turn["times"]) for turn in c["turns"]), default=None)
             for peer, c in result["contenders"].items()}
    known = "  ".join(f"{peer} {1e6 * t:.1f} us" if t else f"{peer} -" for peer, t in times.items())
    return f"{result['row']} {result['part']} {result['dtype']} {result['threads']} thread(s): {known}"


def measure_peak(options, found):
    """The GEMM peak on one thread, at the beginning, now and then, and at the end."""
    for dtype, peaks in found["gemm"].items():
        answer, = ask(options, [{"kind": "gemm", "dtype": dtype, "seconds": options.seconds}], 1)
        if "flops" in answer:
            peaks.append(answer["flops"])


def take(contender, answer):
    """File a worker's answer; False where there will be no more."""
    for key in ("error", "details", "not_supported"):
        if key in answer:
            contender[key] = answer[key]
    if "times" in answer:
        contender["setting"] = answer.pop("setting")
        contender["turns"].append(answer)
    return "times" in answer


def groups(results):
    """Lists of results that share processes: a row's predictions on as many threads.

    A training step has processes of its own, whose memory is measured.
    """
    found = {}
    for result in results:
        own = (result["dtype"],) if result["part"] == "train" else ()
        found.setdefault((result["row"], result["threads"], *own), []).append(result)
    return list(found.values())


def what(result):
    """A result's arguments of ``job``."""
    return table.BY_KEY[result["row"]], result["part"], result["dtype"], result["threads"]


def choose(options, result, chosen):
    """{contender: its setting}. The best of a peer is looked for once for a row and part.

    ``chosen``, by row, part and peer, holds it for other dtypes and numbers of threads. A process of its own looks for
    it, so that the memory and the warm caches of settings that lost are in no figure.
    """
    found = {}
    for peer, contender in result["contenders"].items():
        key = (result["row"], result["part"], peer)
        if key not in chosen and not settings.axes(peer, *what(result)[:2]):
            chosen[key] = {}
        if key not in chosen:
            answer, = ask(options, [job(options, peer, *what(result), explore=True)], result["threads"])
            take(contender, answer)
            if "setting" not in answer:
                continue
            chosen[key], contender["tried"] = answer["setting"], answer["tried"]
        found[peer] = chosen[key]
    return found


def run_turns(options, members, chosen):
    """A B A B: in each turn every contender once, each time in a new process."""
    going = {}
    for result in members:
        for peer, setting in choose(options, result, chosen).items():
            going.setdefault(peer, []).append((result, setting))
    for _, peer in product(range(options.turns), list(going)):
        if going[peer]:
            going[peer] = measure(options, peer, going[peer])


def measure(options, peer, asked):
    """One contender in one process: files times of each (result, setting), and returns those of which there are any."""
    jobs = [job(options, peer, *what(result), setting=setting) for result, setting in asked]
    answers = ask(options, jobs, asked[0][0]["threads"])
    if len(jobs) > 1:
        forget_memory(answers)
    return [one for one, answer in zip(asked, answers) if take(one[0]["contenders"][peer], answer)]


def forget_memory(answers):
    """Of several measurements in one process, a peak is that of all."""
    for answer in answers:
        for key in ("memory_before", "memory_peak"):
            answer.pop(key, None)


def run_short(options, found):
    """One process for each contender and number of threads, every measurement once, first settings only."""
    for threads in options.threads:
        for peer in [OURS, *(p for p in options.peers if p not in found["absent"])]:
            asked = [r for r in found["results"] if r["threads"] == threads and peer in r["contenders"]]
            jobs = [job(options, peer, table.BY_KEY[r["row"]], r["part"], r["dtype"], threads) for r in asked]
            answers = ask(options, jobs, threads)
            forget_memory(answers)
            for result, answer in zip(asked, answers):
                take(result["contenders"][peer], answer)
            say(f"{peer}, {threads} thread(s): {len(jobs)} measurements")


def faults(found):
    """What went wrong: contenders that raised, other than by not supporting something."""
    results = [(f"{result['row']} {result['part']} {result['dtype']}", result) for result in found["results"]]
    results += [(f"{result['row']} ranks {result['dtype']}", result) for result in found.get("ranks", [])]
    results += [(f"fit {result['fit']}", result) for result in found.get("fits", [])]
    results += [(f"growth {result['axis']} {result['size']}", result) for result in found.get("growth", [])]
    return [(f"{peer}: {name}", contender)
            for name, result in results for peer, contender in result["contenders"].items()
            if "error" in contender]
