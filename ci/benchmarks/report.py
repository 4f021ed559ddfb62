"""From raw results to tables: ratios, shares of the peak, means, as text or as Markdown."""
from __future__ import annotations

import math
import statistics

from benchmarks import aims, fits, growth
from benchmarks import rows as table
from benchmarks.networks import NETWORKS
from benchmarks.tables import duration, markdown, number, plain

OURS = "ldl_cy"
TITLES = {"train": "one training step", "one_row": "predict of one row",
          "inference": "predict of 64 rows, of networks of a batch"}


def best(turn):
    """Seconds a step of one turn: the best repetition, since other programs only ever make one slower."""
    return min(turn["times"])


def median_ratio(ours, theirs):
    """Median over the turns of theirs / ours."""
    return statistics.median(best(b) / best(a) for a, b in zip(ours, theirs))


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values)) if values else None


def setting_text(setting):
    """'fused, channels_last' from a dict of settings."""
    words = []
    for name, value in (setting or {}).items():
        if isinstance(value, bool):
            words += [name] if value else []
        else:
            words.append(f"{name} {value}" if name in ("batch", "last") else str(value))
    return ", ".join(words)


def verdict(ratio, aim):
    """stretch, floor or short: what of an aim is met. Empty where there is none."""
    if ratio is None or aim is None:
        return ""
    if aim.stretch is not None and ratio >= aim.stretch:
        return "stretch"
    return "floor" if ratio >= aim.floor else "SHORT"


def summarise(found):
    """One dict for each measurement, with what the tables print."""
    peaks = {dtype: max(values) for dtype, values in found["gemm"].items() if values}
    lines = []
    for result in found["results"]:
        row, contenders = table.BY_KEY[result["row"]], result["contenders"]
        ours = contenders[OURS]["turns"]
        line = {"row": row, "part": result["part"], "dtype": result["dtype"], "threads": result["threads"],
                "ours": statistics.median(map(best, ours)) if ours else None, "peers": {}, "best": None,
                "ratio": None, "share": None, "notes": {}, "memory": memory(contenders)}
        for peer, contender in contenders.items():
            if "not_supported" in contender or "error" in contender:
                line["notes"][peer] = contender.get("error") or contender["not_supported"]
            if peer == OURS or not ours or not contender["turns"]:
                continue
            line["peers"][peer] = {
                "seconds": statistics.median(map(best, contender["turns"])),
                "ratio": median_ratio(ours, contender["turns"]),
                "setting": setting_text(contender.get("setting"))}
        if line["peers"]:
            line["best"] = min(line["peers"], key=lambda peer: line["peers"][peer]["ratio"])
            line["ratio"] = line["peers"][line["best"]]["ratio"]
        if ours and result["dtype"] in peaks:
            line["share"] = result["flops"] / line["ours"] / (peaks[result["dtype"]] * result["threads"])
        aim = aims.aim(row.key, result["part"], result["dtype"], found["options"].get("isa"), line["peers"])
        beside = line["best"] if aim is None or aim.of == aims.BEST else aim.of
        line["aim"] = aim
        line["verdict"] = verdict(line["peers"][beside]["ratio"] if beside in line["peers"] else None, aim)
        lines.append(line)
    return lines


def memory(contenders):
    """{contender: (peak, growth)} in MB, medians over the turns: growth is over imports, model and data."""
    found = {}
    for peer, contender in contenders.items():
        turns = [t for t in contender["turns"] if t.get("memory_peak") and t.get("memory_before")]
        if turns:
            found[peer] = tuple(statistics.median(values) / 1e6 for values in (
                [t["memory_peak"] for t in turns], [t["memory_peak"] - t["memory_before"] for t in turns]))
    return found


def main_table(lines):
    """Header and cells of the measurements of one part, dtype and number of threads."""
    header = ["row", "ldl_cy", "best peer", "its time", "times faster", "floor", "stretch", "met",
              "share of peak"]
    cells = []
    for line in lines:
        peer = line["best"]
        name = "-" if peer is None else peer + (f" ({line['peers'][peer]['setting']})"
                                                if line["peers"][peer]["setting"] else "")
        aim = line["aim"]
        floor, stretch = (aim.floor, aim.stretch) if aim else (None, None)
        of = f" of {aim.of}" if aim and aim.of != aims.BEST else ""
        cells.append([
            line["row"].title, duration(line["ours"]), name,
            duration(line["peers"][peer]["seconds"] if peer else None),
            number(line["ratio"]), number(floor) + of, number(stretch), line["verdict"],
            "-" if line["share"] is None else f"{100 * line['share']:.0f} %"])
    return header, cells


def peers_table(lines):
    """How many times faster than each contender, not only the best."""
    names = list(dict.fromkeys(peer for line in lines for peer in line["peers"]))
    cells = []
    for line in lines:
        known = [line["peers"].get(name) for name in names]
        cells.append([line["row"].title] + [
            f"{duration(peer['seconds'])} ({number(peer['ratio'])})" if peer else "-" for peer in known])
    return ["row", *(f"{name} (times)" for name in names)], cells


def memory_table(lines):
    names = list(dict.fromkeys(peer for line in lines for peer in line["memory"]))
    cells = [[line["row"].title] + [
        "{:.0f} / {:.0f}".format(*line["memory"][n]) if n in line["memory"] else "-" for n in names]
        for line in lines]
    return ["row, MB: peak / growth while training", *names], cells


def threads_table(lines):
    """Two threads against one, of ldl_cy, where both were measured."""
    times = {(x["row"].key, x["part"], x["dtype"], x["threads"]): x["ours"] for x in lines}
    cells = []
    for line in lines:
        one = times.get((line["row"].key, line["part"], line["dtype"], 1))
        if line["threads"] != 2 or not one or not line["ours"]:
            continue
        ratio, aim = one / line["ours"], aims.THREADS if one > 2e-3 else 1.0
        cells.append([line["row"].title, TITLES[line["part"]], line["dtype"], duration(one),
                      duration(line["ours"]), number(ratio), number(aim), "met" if ratio >= aim else "SHORT"])
    return ["row", "what", "dtype", "1 thread", "2 threads", "times", "aim", "met"], cells


def ranks_tables(results):
    """Two tables of the part on several processes: seconds a step, and how many times faster two ranks are."""
    names = list(dict.fromkeys(name for result in results for name in result["contenders"]))
    ours = ("2 ranks, 2 shards", "2 ranks, 8 shards")
    against = ("1 thread", "2 threads", *(name for name in names if name.startswith("torch")))
    times, ratios = [], []
    for result in results:
        turns = {name: contender["turns"] for name, contender in result["contenders"].items()}
        title = f"{table.BY_KEY[result['row']].title}, {result['dtype']}"
        if all(turns[name] for name in ours):
            times.append([title, *(duration(statistics.median(map(best, turns[name])) if turns[name] else None)
                                   for name in names)])
            ratios.append([title, *(number(median_ratio(turns[mine], turns[name]) if turns[name] else None)
                                    for mine in ours for name in against)])
    return [(["row", *names], times),
            (["row", *(f"{mine.removeprefix('2 ranks, ')}: {name}" for mine in ours for name in against)], ratios)]


def ranks_text(results, draw, title, blank):
    """The part on several processes, as lines."""
    (header, times), (compared, ratios) = ranks_tables(results)
    text = ["", title.format("one training step on two processes, 1 thread each"), *blank, *draw(header, times), "",
            title.format("two ranks: times faster than"), *blank, *draw(compared, ratios)]
    short = [table.BY_KEY[result["row"]].title for result in results if not result["contenders"]["2 threads"]["turns"]]
    notes = [f"{name}: {result['row']}: {contender['error']}" for result in results
             for name, contender in result["contenders"].items() if "error" in contender]
    settings = {f"{result['row']} {setting_text(contender['setting'])}" for result in results
                for contender in result["contenders"].values() if contender.get("setting")}
    notes += [f"less than 1 ms on one thread, not measured: {'; '.join(short)}"] if short else []
    notes += [f"settings of torch DDP: {'; '.join(sorted(settings))}"] if settings else []
    return [*text, "", *(f"- {note}" for note in notes)] if notes else text


def means(lines):
    """Lines of text: the geometric mean of each part, dtype and number of threads, and its aim."""
    text = []
    for group, members in groups(lines):
        part, dtype, threads = group
        ratios = [line["ratio"] for line in members if line["ratio"] is not None]
        if len(ratios) > 1:
            aim = aims.MEANS.get((part, dtype))
            mean = geometric_mean(ratios)
            wanted = "" if aim is None else f"; aim {number(aim)}: {'met' if mean >= aim else 'SHORT'}"
            text.append(f"{group_title(part, dtype, threads)}: geometric mean over {len(ratios)} rows "
                        f"{number(mean)}{wanted}")
    return text


def group_title(part, dtype, threads):
    return f"{TITLES[part]}, {dtype}, {threads} thread{'s' * (threads > 1)}"


def groups(lines):
    """((part, dtype, threads), lines) in order of appearance."""
    found = {}
    for line in lines:
        found.setdefault((line["part"], line["dtype"], line["threads"]), []).append(line)
    return list(found.items())


def heading(found):
    """Where and how it was measured, as lines."""
    machine, options = found["machine"], found["options"]
    held = "everybody held to AVX2; " if options.get("isa") == "v3" else ""
    peaks = ", ".join(f"{dtype} {max(v) / 1e9:.0f}" for dtype, v in found["gemm"].items() if v)
    text = [
        f"{found['date']}, {machine['processor']}, {machine['processors available']} processor(s), "
        f"{machine['system']}",
        f"{machine['blas']}; {held}instruction set {machine['instruction set']}; "
        f"GEMM peak of one thread, GF/s: {peaks}",
        ", ".join(f"{name} {v}" for name, v in machine["versions"].items()),
        f"{options['turns']} turn(s) of {options['repeats']} x {options['seconds']} s; "
        "ratios are medians over turns"]
    if options["short"]:
        text.append("SHORT RUN: shows that everything runs; its figures mean nothing.")
    return text + [f"{peer} is absent: {why}" for peer, why in found["absent"].items()]


def render(found, style="plain"):
    """Everything as one text; style "plain" or "markdown"."""
    mark = style == "markdown"
    draw, title = (markdown, "## {}") if mark else (plain, "== {}")
    lines = summarise(found)
    text = [f"- {x}" for x in heading(found)] if mark else heading(found)
    for (part, dtype, threads), members in groups(lines):
        name = group_title(part, dtype, threads)
        text += ["", title.format(name), *[""] * mark, *draw(*main_table(members))]
        if len({peer for line in members for peer in line["peers"]}) > 1:
            text += ["", *draw(*peers_table(members))]
        with_memory = [line for line in members if part == "train" and line["memory"]
                       and (line["row"].images or line["row"] in NETWORKS)]
        if with_memory:
            text += ["", *draw(*memory_table(with_memory))]
        notes = [f"{line['row'].title}: {peer}: {why}"
                 for line in members for peer, why in line["notes"].items()]
        text += ["", *(f"- {note}" for note in notes)] if notes else []
    header, cells = threads_table(lines)
    if cells:
        text += ["", title.format("two threads against one"), *[""] * mark, *draw(header, cells)]
    if found.get("ranks"):
        text += ranks_text(found["ranks"], draw, title, [""] * mark)
    if found.get("fits"):
        text += ["", title.format("fits of estimators"), *[""] * mark, *draw(*fits.tables(found["fits"]))]
    for name, header, cells in growth.tables(found.get("growth", [])):
        text += ["", title.format(f"growth with {name}"), *[""] * mark, *draw(header, cells)]
    averages = means(lines)
    if averages:
        text += ["", *(f"- {x}" if mark else x for x in averages)]
    return "\n".join(text)
