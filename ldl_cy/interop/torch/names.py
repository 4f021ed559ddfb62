"""Which entries of a state dict belong to which layer: by name or, where names differ, by kind, shape and order."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from ldl_cy.interop.torch.steps import Step
from ldl_cy.interop.torch.weights import COUNTER
from ldl_cy.layers.base import Shape
from ldl_cy.messages import cut, listed

OWNER = "load_torch"
RECURRENT = re.compile(r"((?:weight|bias)_(?:ih|hh))_l(\d+)(_reverse)?")
Keys = dict[str, str]               # the key in a step, "weight", and the full name of its entry
Signature = frozenset[tuple[str, Shape]]


def assign(steps: Sequence[tuple[str, Step]], shapes: Mapping[str, Shape], is_ordered: bool) -> list[Keys]:
    """For each step the entries of its arrays.

    Parameters
    ----------
    steps : (full name, Step), those that have arrays, in order
    shapes : mapping of the entries' names to their shapes
    is_ordered : bool
        Whether the entries are in the order of the modules.

    Returns
    -------
    list of dicts, keys of each step to names of entries

    Raises
    ------
    ValueError
        There is no assignment that fits, or more than one; both sides are listed.
    """
    wanted = [{key: array.shape for key, array in step.arrays.items() if key != COUNTER} for _, step in steps]
    given = {name for name in shapes if name.rpartition(".")[2] != COUNTER}
    by_name = [{key: f"{name}.{key}" for key in keys} for (name, _), keys in zip(steps, wanted)]
    if given == {full for keys in by_name for full in keys.values()}:
        wrong = [f"{keys[key]} {shape}, got {shapes[keys[key]]}" for keys, want in zip(by_name, wanted)
                 for key, shape in want.items() if shapes[keys[key]] != shape]
        if wrong:
            raise ValueError(f"{OWNER}: the shapes must be those of the model: {listed(wrong, '; ')}.")
        return by_name
    groups = grouped([name for name in shapes if name in given])
    names = list(groups)
    found = [frozenset((key, shapes[full]) for key, full in groups[name].items()) for name in names]
    signatures = [frozenset(keys.items()) for keys in wanted]
    if is_ordered and found == signatures:
        return list(groups.values())
    chosen = _by_kind(signatures, dict(zip(names, found)))
    if chosen is None:
        theirs, ours = Counter(found), Counter(signatures)
        several = {s for s in ours if ours[s] > 1} if theirs == ours else ours.keys() ^ theirs.keys() | {
            s for s in ours if ours[s] != theirs[s]}
        left = [_shown(name, keys) for (name, _), keys, s in zip(steps, wanted, signatures) if s in several]
        right = [_shown(name, dict(s)) for name, s in zip(names, found) if s in several]
        ours_left, theirs_left = (listed(each, "; ") or "nothing more" for each in (left, right))
        raise ValueError(f"{OWNER}: the entries must match the model's layers unambiguously, by the names of "
                         "torch_state_dict(model), in order, or by kind and shape. Of the model: "
                         f"{ours_left}. Of the state dict: {theirs_left}.")
    return [groups[name] for name in chosen]


def grouped(names: Sequence[str]) -> dict[str, Keys]:
    """The entries of each module; a recurrent module of several layers is split into modules of one."""
    groups: dict[str, Keys] = {}
    for full in names:
        name, _, key = full.rpartition(".")
        match = RECURRENT.fullmatch(key)
        if match:
            name, key = f"{name}.{match[2]}", f"{match[1]}_l0{match[3] or ''}"
        groups.setdefault(name, {})[key] = full
    return groups


def _by_kind(signatures: Sequence[Signature], found: Mapping[str, Signature]) -> list[str] | None:
    """For each signature the name of the one that has it; of several those whose names differ in their numbers only."""
    chosen: dict[Signature, list[str]] = {}
    for signature, count in Counter(signatures).items():
        names = [name for name, one in found.items() if one == signature]
        if len(names) != count or len({re.sub(r"\d+", "0", name) for name in names}) > 1:
            return None
        chosen[signature] = sorted(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    if sum(map(len, chosen.values())) != len(found):
        return None
    return [chosen[signature].pop(0) for signature in signatures]


def _shown(name: str, keys: Mapping[str, Shape]) -> str:
    return f"{cut(name)} ({', '.join(f'{key} {shape}' for key, shape in sorted(keys.items()))})"
