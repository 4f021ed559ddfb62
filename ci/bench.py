#!/usr/bin/env python
"""ldl_cy beside torch, JAX, scikit-learn and ONNX Runtime: training steps and predictions, row by row.

    python ci/bench.py                                  every row, one training step, float32, one thread
    python ci/bench.py mlp20 lstm --part train one_row inference --dtype float32 float64 --threads 1 2
    python ci/bench.py networks --isa v3                the networks of networks.py, all contenders held to AVX2
    python ci/bench.py --part ranks                     on two processes, beside threads and torch's DDP
    python ci/bench.py --part fit --data FOLDER         estimators on real data, beside scikit-learn and loops in torch
    python ci/bench.py --part growth                    seconds by rows, width, depth and length
    python ci/bench.py --json FILE ; python ci/bench.py --markdown FILE [FILE ...]
    python ci/bench.py --profile cnn28                  where the time of a step goes
    python ci/bench.py --short                          everything once, to see that it still runs

Rows are in ci/benchmarks/rows.py and networks.py, what they should reach in aims.py. Each contender runs in
processes of its own, in turns: A B A B. The ratio of a row is the median over the turns of the contender's time by
ours; a peer's best setting is chosen for each row and part, and printed. The exit code is 1 where a contender
raises, never because of a time.
"""
import argparse
import json
import sys
import tempfile
from pathlib import Path

import datasets
from benchmarks import isa, merging, report, rows, runner
from benchmarks.row import flops


def arguments(argv):
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="See the top of this file for examples.")
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help="keys or beginnings of keys (--list), first or networks; default all"
    )
    parser.add_argument("--part", nargs="+", choices=rows.PARTS, help="default: train")
    parser.add_argument("--dtype", nargs="+", choices=rows.DTYPES, default=["float32"])
    parser.add_argument("--threads", nargs="+", type=int, choices=(1, 2), default=[1])
    parser.add_argument("--isa", choices=isa.NAMES, help="hold all contenders to AVX2 (v3)")
    parser.add_argument("--peers", nargs="*", choices=list(runner.PEERS), default=list(runner.PEERS))
    parser.add_argument("--turns", type=int, default=5, help="processes of each contender, default 5")
    parser.add_argument("--seconds", type=float, default=0.3, help="of one repetition, default 0.3")
    parser.add_argument(
        "--repeats", type=int, default=3, help="repetitions in a process, the best counts; default 3"
    )
    parser.add_argument(
        "--data", type=Path, default=datasets.DEFAULT, metavar="FOLDER", help="of the part fit, see datasets.py"
    )
    parser.add_argument("--short", action="store_true", help="all parts once, a few steps each")
    parser.add_argument("--json", metavar="FILE", help="write everything measured")
    parser.add_argument(
        "--markdown", metavar="FILE", nargs="+",
        help="print the tables of JSON files in Markdown, merged where machine and options are the same, and end"
    )
    parser.add_argument(
        "--profile", metavar="ROW", nargs="+", help="print the time of each op of a step, and end"
    )
    parser.add_argument("--list", action="store_true", help="print the rows, and end")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ranks", metavar="FILE", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def list_rows():
    for row in rows.ROWS:
        print(f"{row.key:<18}{flops(row, 'train') / 1e6:>12,.2f} Mflop a step   {row.title}")


def main(argv=None):
    chosen = arguments(argv)
    if chosen.worker:
        from benchmarks.worker import work

        print(json.dumps(work(json.load(sys.stdin))))
        return 0
    if chosen.ranks:
        from benchmarks.worker import work_on_ranks

        answers = work_on_ranks(json.loads(Path(chosen.ranks).read_text()))
        if answers is not None:
            print(json.dumps(answers))
        return 0
    if chosen.list:
        list_rows()
        return 0
    if chosen.markdown:
        pieces = [json.loads(Path(name).read_text(encoding="utf-8")) for name in chosen.markdown]
        for found in merging.merge(pieces):
            print(report.render(found, "markdown"), end="\n\n")
        return 0
    if chosen.profile:
        from benchmarks.profile import profile

        for dtype in chosen.dtype:
            for row in rows.find(chosen.profile):
                print(profile(row, dtype, 0.01 if chosen.short else chosen.seconds), end="\n\n", flush=True)
        return 0
    options = runner.Options(
        rows.find(chosen.rows),
        chosen.part or (list(rows.PARTS) if chosen.short else ["train"]),
        chosen.dtype,
        chosen.threads,
        chosen.peers,
        chosen.turns,
        chosen.seconds,
        chosen.repeats,
        chosen.short,
        chosen.isa,
        chosen.data,
        __file__,
    )
    if chosen.short:
        options.turns, options.seconds, options.repeats = 1, 0.002, 1
    with tempfile.TemporaryDirectory() as options.programs:
        found = runner.run(options)
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(report.render(found))
    faults = runner.faults(found)
    for where, contender in faults:
        print(f"\n{where}\n{contender['details']}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
