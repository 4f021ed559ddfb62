"""Places that one thread at a time may enter, the count of fits, and forks.

A forked child has one thread, the one that forked. Locks and counts of the others, which do not exist there, would be
kept for ever; so each is tied to the number of forks, or is set to what the remaining thread contributes.

The context managers are compiled: between what they do and the ``with`` block, where the interpreter would run a
signal's handler, no exception can come.
"""
import os

cdef extern from "platform.h" nogil:
    long ldl_add(long *p, long v)
    long ldl_load(const long *p)
    void ldl_store(long *p, long v)
    long ldl_swap(long *p, long v)

cdef extern from * nogil:
    """
    static LDL_THREAD_LOCAL long ldl_own_fits;
    """
    long own_fits "ldl_own_fits"            # of this thread

cdef extern from "Python.h":
    ctypedef struct PyInterpreterState
    PyInterpreterState *PyInterpreterState_Get()
    long long PyInterpreterState_GetID(PyInterpreterState *) except -1

# Without the GIL a thread finds its way back to the main interpreter only: in another one it would wait for ever.
if PyInterpreterState_GetID(PyInterpreterState_Get()) != 0:
    raise ImportError("ldl_cy: the interpreter must be the main one of its process, got another one. Cython's modules "
                      "work there alone.")

cdef long forks = 0
cdef long n_fits = 0                        # of all threads


cdef long enter(long *place) noexcept nogil:
    cdef long ticket = forks + 1
    return 0 if ldl_swap(place, ticket) == ticket else ticket


cdef void leave(long *place, long ticket) noexcept nogil:
    if ldl_load(place) == ticket:           # otherwise a child entered it while its parent was inside
        ldl_store(place, 0)


cdef bint abandoned(const long *place) noexcept nogil:
    cdef long ticket = ldl_load(place)
    return ticket != 0 and ticket != forks + 1


cdef class RunningFit:
    """``with RunningFit():`` counts a fit of this process; others use one thread by default meanwhile."""

    def __enter__(self):
        global own_fits
        own_fits += 1
        ldl_add(&n_fits, 1)

    def __exit__(self, *exc):
        global own_fits
        own_fits -= 1
        ldl_add(&n_fits, -1)


# the Exclusive of an object, by the object's id; in a child, where the other threads do not run, by other keys
cdef dict used = {}


cdef class Exclusive:
    """``with Exclusive(objects, "of this model"):`` until its end this fit alone uses the objects.

    No object is changed, so that it can be copied and pickled meanwhile. Nothing waits: a second fit is refused.

    Parameters
    ----------
    objects : iterable
    what : str
        How the fit uses them.

    Raises
    ------
    RuntimeError
        Another fit, in any thread or around this one, uses one of them.
    """
    cdef dict held
    cdef str what

    def __init__(self, objects, str what):
        self.held, self.what = {(forks, id(one)): one for one in objects}, what

    def __enter__(self):
        for key, one in self.held.items():
            # one operation, which no other thread can interrupt
            if used.setdefault(key, self) is not self:
                self.leave()
                raise RuntimeError(f"{type(one).__name__}: another fit {self.what} is running.")

    def __exit__(self, *exc):
        self.leave()

    cdef int leave(self) except -1:
        for key in self.held:
            if used.get(key) is self:
                del used[key]
        return 0


def count_fits():
    """The number of fits that run in this process."""
    return ldl_load(&n_fits)


def count_forks():
    """How often this process was forked from another one, with the forks of that: another number in each child."""
    return forks


def _after_fork():
    global forks
    forks += 1
    ldl_store(&n_fits, own_fits)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
