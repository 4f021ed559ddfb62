"""The part "fit": whole fits of estimators on real data, beside scikit-learn and a loop in torch: the parent's side.

The data are those of ci/datasets.py, of which as many rows are taken as make a fit of seconds. Everything between the
arrays and the fitted model is timed, after a short fit that is not counted; the accuracy on test rows shows that all
contenders have done the same work.
"""
from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import product

from benchmarks import runner
from benchmarks.tables import duration, number


@dataclass(frozen=True)
class Fit:
    """One data set and network; ``read`` is the name of a function in ci/datasets.py."""

    key: str
    title: str
    read: str
    file: str                           # without which it is left out
    rows: int
    epochs: int
    batch: int
    contenders: tuple[str, ...]


LOOPS = ("torch", "torch, channels_last")
FITS = (
    Fit("fashion-mlp", "Fashion-MNIST, MLP 256-128, batch 128", "fashion",
        "fashion_mnist/train-images-idx3-ubyte.gz", 10_000, 5, 128, (runner.OURS, "scikit-learn", "torch")),
    Fit("fashion-cnn", "Fashion-MNIST, CNN 32C3-P2-64C3-P2-128, batch 64", "fashion",
        "fashion_mnist/train-images-idx3-ubyte.gz", 4_000, 1, 64, (runner.OURS, *LOOPS)),
    Fit("vowels-gru", "JapaneseVowels, GRU of 64, batch 32", "japanese_vowels", "sequences/japanesevowels.npz", 270, 20,
        32, (runner.OURS, "torch")),
)
BY_KEY = {fit.key: fit for fit in FITS}


def peer_of(contender):
    return contender.partition(",")[0]


def run(options):
    """(all fits as a list that json can write, {what is left out: why})."""
    left_out = {f"the fit {fit.title}": f"there is no {fit.file} in {options.data}"
                for fit in FITS if not (options.data / fit.file).is_file()}
    peers = [runner.OURS, *(peer for peer in options.peers if not runner.missing(peer))]
    results = [{"fit": fit.key, "threads": threads, "contenders": {
        name: {"turns": []} for name in fit.contenders if peer_of(name) in peers}}
        for fit, threads in product(FITS, options.threads) if (options.data / fit.file).is_file()]
    # a process for each fit, but in a short run one for all of a contender
    for members in ([results] if results else []) if options.short else [[result] for result in results]:
        names = dict.fromkeys(name for result in members for name in result["contenders"])
        for _, name in product(range(options.turns), names):
            own = [result for result in members if name in result["contenders"]]
            jobs = [job(options, result, name) for result in own]
            for result, answer in zip(own, runner.ask(options, jobs, own[0]["threads"])):
                runner.take(result["contenders"][name], answer)
        runner.say("fit: " + ", ".join(result["fit"] for result in members))
    return results, left_out


def job(options, result, name):
    fit = BY_KEY[result["fit"]]
    rows, epochs = (min(fit.rows, 200), 1) if options.short else (fit.rows, fit.epochs)
    return {"kind": "fit", "peer": peer_of(name), "contender": name, "fit": fit.key, "threads": result["threads"],
            "rows": rows, "epochs": epochs, "data": str(options.data), "isa": options.isa,
            "repeats": 1 if options.short else 2}


def tables(results):
    """Header and cells: seconds of each contender, how many times faster ldl_cy is, accuracies."""
    names = list(dict.fromkeys(name for result in results for name in result["contenders"]))
    cells = []
    for result in results:
        turns = {name: contender["turns"] for name, contender in result["contenders"].items()}
        ours = turns[runner.OURS]
        line = [f"{BY_KEY[result['fit']].title}, {result['threads']} thread{'s' * (result['threads'] > 1)}"]
        for name in names:
            theirs = turns.get(name)
            if not theirs:
                line.append("-")
                continue
            text = duration(statistics.median(min(turn["times"]) for turn in theirs))
            if name != runner.OURS and ours:
                ratio = statistics.median(min(b["times"]) / min(a["times"]) for a, b in zip(ours, theirs))
                text += f" ({number(ratio)})"
            line.append(text)
        shown = [f"{turns[name][0]['score']:.3f}" if turns.get(name) else "-" for name in names]
        cells.append([*line, " / ".join(shown)])
    return ["fit", *(name if name == runner.OURS else f"{name} (times)" for name in names), "accuracies"], cells
