#!/usr/bin/env python
"""Fits on several processes: the same bits, a process that is killed, memory, and what a step would cost on machines.

    python ci/measure_ranks.py [bits kill memory cost] [--gigabytes 8] [--folder FOLDER]

bits      checksums of the weights on 1 to 4 ranks with 1 and 2 threads each
kill      kill -9 of one of two ranks in the middle of a fit, which is resumed on one rank
memory    an epoch over a memmap by two ranks: the most memory that each of them has had
cost      a model of the time of a step on 1 to 64 machines, from times that are measured here on one thread

Without names all are done. Fails where checksums differ or a rank has a copy of its rows. mpi4py and an mpiexec are
needed (``pip install ".[test]"``); the cost is only meaningful on a machine that does nothing else.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rank_costs
from benchmarks import ranks, runner, tables

TASKS = Path(__file__).with_name("rank_tasks.py")
SIZES, THREADS = (1, 2, 3, 4), (1, 2)
EPOCHS = 100
FEATURES = 1024                 # a row of the memmap is a page
ALLOWED = 200e6, 0.05           # bytes that a fit may add to a rank's own memory, and a share of the file


def start(size, task, **given):
    """A job of some ranks, whose standard output is to be read."""
    command = [ranks.find_mpiexec(), "-n", str(size), sys.executable, str(TASKS), task, json.dumps(given)]
    return subprocess.Popen(command, env=cleaned(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def cleaned():
    """The variables without numbers of threads: each fit is given its own."""
    return {name: value for name, value in runner.environment(1).items() if not name.endswith("_NUM_THREADS")}


def run(size, task, **given):
    """What the ranks of a job have found."""
    with start(size, task, **given) as process:
        text, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{task} on {size} ranks failed with exit code {process.returncode}")
    return json.loads(text.splitlines()[-1])


def table(header, cells):
    print("\n".join(tables.plain(header, cells)), flush=True)


def bits(chosen):
    found = {size: run(size, "bits", threads=THREADS) for size in SIZES}
    names = list(found[1][0])
    cells = [[f"{size} rank{'s' * (size > 1)}, {n} thread{'s' * (n > 1)}",
              *(" ".join(sorted({str(rank[name][i]) for rank in found[size]})) for name in names)]
             for size in SIZES for i, n in enumerate(THREADS)]
    table(["checksums", *names], cells)
    same = all(len({row[column] for row in cells}) == 1 and " " not in cells[0][column]
               for column in range(1, len(names) + 1))
    print("all equal" if same else "THEY DIFFER")
    return same


def kill(chosen):
    with tempfile.TemporaryDirectory() as folder:
        whole, = run(1, "train", path=str(Path(folder) / "whole.ldl"), epochs=EPOCHS)
        path, delays = Path(folder) / "model.ldl", random.Random(0)
        with start(2, "train", path=str(path), epochs=EPOCHS) as process:
            while not path.exists() and process.poll() is None:
                time.sleep(0.001)
            time.sleep(delays.uniform(0.3, 0.8))
            os.kill(int((Path(folder) / "1.pid").read_text()), 9)
            begun = time.perf_counter()
            process.communicate()
        ended = time.perf_counter() - begun
        resumed, = run(1, "train", path=str(path), epochs=EPOCHS)
    same = resumed["crc"] == whole["crc"] and 0 < resumed["first"] < EPOCHS and process.returncode != 0
    print(f"kill -9 of rank 1 of 2: the job ended {ended:.2f} s later with exit code {process.returncode}")
    print(f"resumed on one rank from epoch {resumed['first']} of {EPOCHS}: {resumed['crc']}; a fit without a fault: "
          f"{whole['crc']}: {'equal' if same else 'THEY DIFFER'}")
    return same


def memory(chosen):
    rows = max(2048, round(chosen.gigabytes * 1e9 / (4 * FEATURES)))
    size = 4 * FEATURES * rows
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        path = Path(folder) / "rows"
        with path.open("wb") as file:
            file.truncate(size)             # zeros that take no room on the disk, but pages once they are read
        found = run(2, "memory", path=str(path), rows=rows, features=FEATURES, batch=1024)
    header = [f"MB, a file of {size / 1e6:,.0f}", "own, before", "own, most", "of the file, most", "total, most", "s"]
    table(header, [[
        f"rank {r} of 2", *(f"{rank[key] / 1e6:,.0f}" for key in ("before", "anonymous", "file", "total")),
        f"{rank['seconds']:.1f}"] for r, rank in enumerate(found)])
    most = max(rank["anonymous"] - rank["before"] for rank in found)
    bound = ALLOWED[0] + ALLOWED[1] * size
    print(f"own memory has grown by at most {most / 1e6:,.0f} MB; {bound / 1e6:,.0f} MB are allowed")
    return most <= bound and found[0]["crc"] == found[1]["crc"]


def cost(chosen):
    print(rank_costs.text(0.02 if chosen.short else 0.3))
    return True


PARTS = {part.__name__: part for part in (bits, kill, memory, cost)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default all")
    parser.add_argument("--gigabytes", type=float, default=8.0, help="of the file of memory, default 8")
    parser.add_argument("--folder", help="where that file is made, by default with temporary files")
    parser.add_argument("--short", action="store_true", help="times of the cost mean nothing")
    chosen = parser.parse_args()
    unknown = set(chosen.parts) - set(PARTS)
    if unknown or ranks.missing():
        parser.error(f"there is no part {', '.join(sorted(unknown))}" if unknown else ranks.missing())
    good = True
    for name in chosen.parts or PARTS:
        print(f"\n== {name}", flush=True)
        good &= PARTS[name](chosen)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
