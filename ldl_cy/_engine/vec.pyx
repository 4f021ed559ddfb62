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

    #define LDL_ACTIVATION_ENTRY(constant, name, keeps_z, slope) {#name, slope},
    typedef struct { const char *name; double slope; } ldl_activation_entry;
    static const ldl_activation_entry ldl_activations[] = {
        LDL_ACTIVATIONS(LDL_ACTIVATION_ENTRY, LDL_ACTIVATION_ENTRY)};

    #define LDL_RULE_ENTRY(constant, name, slots, coefficients) {#name, slots, coefficients},
    typedef struct { const char *name; int slots; const char *coefficients; } ldl_rule_entry;
    static const ldl_rule_entry ldl_rules[] = {LDL_RULES(LDL_RULE_ENTRY)};
    """
    const ldl_vec *ldl_tables[]
    int ldl_n_tables() nogil

    ctypedef struct ldl_activation_entry:
        const char *name
        double slope
    const ldl_activation_entry ldl_activations[]

    ctypedef struct ldl_rule_entry:
        const char *name
        int slots
        const char *coefficients
    const ldl_rule_entry ldl_rules[]

# names in the order of their numbers in C: both are made from vec/tables.h
ACTIVATIONS = tuple([(<bytes>ldl_activations[i].name).decode() for i in range(LDL_N_ACTIVATIONS)])
RULES = tuple([(<bytes>ldl_rules[i].name).decode() for i in range(LDL_N_RULES)])


def default_slope(name):
    """The number c of an activation's formula where none is given: leaky_relu's slope 0.01, elu's alpha 1."""
    return ldl_activations[ACTIVATIONS.index(name)].slope


def check_rule(str owner, rule_id, Py_ssize_t n_slots, const double[:, :] rows):
    """Refuse a rule that would read past the end of its slots or of its row of coefficients; tables.h has both numbers.

    Parameters
    ----------
    owner : str, the beginning of the error message
    rule_id : int, the rule's place in ``RULES``
    n_slots : int, vectors of state, without that of an average
    rows : (steps, coefficients), all that the rule will be called with
    """
    if not 0 <= rule_id < LDL_N_RULES:
        raise ValueError(f"{owner}: rule_id must be a place in {RULES}, got {rule_id}.")
    cdef ldl_rule_entry entry = ldl_rules[<int>rule_id]
    cdef Py_ssize_t i, j, columns = len(<bytes>entry.coefficients)
    if rows.shape[1] != columns:
        raise ValueError(f"{owner}: the rule {RULES[rule_id]} must have {columns} coefficients, got {rows.shape[1]}.")
    cdef int fewest = entry.slots, most = entry.slots, digit
    for j in range(columns):
        digit = entry.coefficients[j] - c"0"
        most = max(most, digit)
        if digit > fewest:
            for i in range(rows.shape[0]):
                if rows[i, j] != 0:         # NaN is not 0 either
                    fewest = digit
                    break
    if not fewest <= n_slots <= most:
        count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise ValueError(f"{owner}: the rule {RULES[rule_id]} must have {count} slots with these coefficients, "
                         f"got {n_slots}.")


table = ldl_tables[ldl_n_tables() - 1]


def instruction_sets():
    """Names of the instruction sets that this build has and this processor runs, best last."""
    return [(<bytes>ldl_tables[i].name).decode() for i in range(ldl_n_tables())]


def instruction_set():
    """Name of the one in use."""
    return (<bytes>table.name).decode()


def use_instruction_set(name):
    """Choose another one, for tests and measurements, while no fit and no prediction runs in any thread."""
    global table
    names = instruction_sets()
    if name not in names:
        raise ValueError(f"use_instruction_set: name must be one of {names}, got {name!r}.")
    table = ldl_tables[names.index(name)]
