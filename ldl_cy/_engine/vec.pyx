"""The table of vectorised kernels for the best instruction set of this processor, chosen at import.

Compiled code calls them through vec.pxd; tests call them from Python through ctypes (tests/helpers/vec_kernels.py).
"""
cdef extern from *:
    """
    #include "vec/vec.h"
    #include "vec/cpu.h"
    #ifdef LDL_X86
    extern const ldl_vec ldl_vec_v2, ldl_vec_v3, ldl_vec_v4;
    static const ldl_vec *const ldl_tables[] = {&ldl_vec_v2, &ldl_vec_v3, &ldl_vec_v4};
    #else
    extern const ldl_vec ldl_vec_base;
    static const ldl_vec *const ldl_tables[] = {&ldl_vec_base};
    #endif
    static int ldl_n_tables(void) {
        /* those this processor can run */
        return ldl_cpu_level(sizeof(ldl_tables) / sizeof(ldl_tables[0]));
    }
    """
    const ldl_vec *ldl_tables[]
    int ldl_n_tables() nogil

ACTIVATIONS = (
    "identity", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "logistic",
    "softmax", "mish", "hard_sigmoid")
RULES = ("sgd", "adam", "rmsprop", "adagrad", "adadelta", "nadam")


def default_slope(name):
    """The slope argument of an activation where nobody set it: leaky_relu's 0.01, elu's alpha of 1."""
    return 0.01 if name == "leaky_relu" else 1.0


table = ldl_tables[ldl_n_tables() - 1]


def instruction_sets():
    """Names of the instruction sets that this build has and this processor runs, best last."""
    return [(<bytes>ldl_tables[i].name).decode() for i in range(ldl_n_tables())]


def instruction_set():
    """Name of the one in use."""
    return (<bytes>table.name).decode()


def use_instruction_set(name):
    """Choose another one, for tests and measurements. Not while a fit runs."""
    global table
    names = instruction_sets()
    if name not in names:
        raise ValueError(f"use_instruction_set: name must be one of {names}, got {name!r}.")
    table = ldl_tables[names.index(name)]
