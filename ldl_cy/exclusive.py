"""What one fit at a time may use: a model, an estimator, a callback."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ldl_cy._engine.process import count_forks

# a token of the fit, by the object's id; in a forked child, where the other threads do not run, the keys are others
_used: dict[tuple[int, int], object] = {}


@contextmanager
def exclusive(objects: Iterable[object], what: str) -> Iterator[None]:
    """Context manager: until its end the objects are used by this fit alone.

    No object is changed, so that it can be copied and pickled meanwhile. Nothing waits: a second fit is refused.

    Parameters
    ----------
    objects : iterable
    what : str
        How the fit uses them, as "of this model".

    Raises
    ------
    RuntimeError
        Another fit, in any thread or around this one, uses one of them.
    """
    held, fit = {(count_forks(), id(used)): used for used in objects}, object()
    try:
        for key, used in held.items():
            # one operation, which no other thread can interrupt
            if _used.setdefault(key, fit) is not fit:
                raise RuntimeError(f"{type(used).__name__}: another fit {what} is running.")
        yield
    finally:
        for key in held:
            if _used.get(key) is fit:
                del _used[key]
