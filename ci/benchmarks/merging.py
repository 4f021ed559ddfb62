"""Results that were measured in pieces, as one."""
from __future__ import annotations

from copy import deepcopy

LISTS = ("results", "ranks", "fits", "growth")


def merge(pieces):
    """A list in which pieces of one machine with the same options are one, dated as the first of them."""
    merged = []
    for piece in pieces:
        whole = next((one for one in merged if kind(one) == kind(piece)), None)
        if whole is None:
            merged.append(deepcopy(piece))
            continue
        whole["machine"]["versions"].update(piece["machine"]["versions"])
        whole["absent"].update(piece["absent"])
        for dtype, peaks in piece["gemm"].items():
            whole["gemm"].setdefault(dtype, []).extend(peaks)
        for name in LISTS:
            if name in piece:
                whole.setdefault(name, []).extend(piece[name])
    for whole in merged:
        # what was absent from one piece may have been measured in another
        whole["absent"] = {name: why for name, why in whole["absent"].items()
                           if not any(name in result["contenders"] for result in whole["results"])}
    return merged


def kind(piece):
    """What two pieces must have in common."""
    machine = {name: value for name, value in piece["machine"].items() if name != "versions"}
    return machine, piece["options"], piece["machine"]["versions"].get("ldl_cy")
