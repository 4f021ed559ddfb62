"""Damage to files: bytes, and the values of a description."""
from __future__ import annotations

import struct

from hypothesis import strategies as st


def damaged(content, data):
    """Cut, flipped, overwritten, repeated."""
    content = bytearray(content)
    places = st.integers(0, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        how = data.draw(st.sampled_from(["flip", "flip", "write", "cut", "insert", "repeat", "number"]))
        at = min(data.draw(places), max(0, len(content) - 1))
        if how == "flip" and content:
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "write":
            part = data.draw(st.binary(max_size=20))
            content[at:at + len(part)] = part
        elif how == "cut":
            del content[at:]
        elif how == "insert":
            content[at:at] = data.draw(st.binary(max_size=20))
        elif how == "number":
            content[at:at + 4] = struct.pack("<I", data.draw(st.sampled_from([0, 1, 2**31, 2**32 - 1])))
        else:
            content[at:] = content[at // 2:]
    return bytes(content)


def spoilt_json(draw, value, values):
    """A description with one value replaced by one of ``values``, somewhere, or left out."""
    if draw(st.integers(0, 3)) == 0 or not isinstance(value, (dict, list)) or not value:
        return draw(st.sampled_from(values))
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], spoilt_json(draw, value[at], values), *value[at + 1:]]
    key = draw(st.sampled_from(sorted(value)))
    if draw(st.integers(0, 9)) == 0:
        return {k: v for k, v in value.items() if k != key}
    return {**value, key: spoilt_json(draw, value[key], values)}
