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
    typedef struct { const char *name; int slots; int coefficients; } ldl_rule_entry;
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
        int coefficients
    const ldl_rule_entry ldl_rules[]

# names in the order of their numbers in C: both are made from vec/tables.h
ACTIVATIONS = tuple([(<bytes>ldl_activations[i].name).decode() for i in range(LDL_N_ACTIVATIONS)])
RULES = tuple([(<bytes>ldl_rules[i].name).decode() for i in range(LDL_N_RULES)])


def default_slope(name):
    """The number c of an activation's formula where none is given: leaky_relu's slope 0.01, elu's alpha 1."""
    return ldl_activations[ACTIVATIONS.index(name)].slope


def check_rule(int rule_id, n_slots, n_coefficients):
    """Refuse what a rule would read past the end of: tables.h says how many slots and coefficients it has."""
    if not 0 <= rule_id < LDL_N_RULES:
        raise ValueError(f"Rule: rule_id must be a place in {RULES}, got {rule_id}.")
    slots, coefficients = ldl_rules[rule_id].slots, ldl_rules[rule_id].coefficients
    if n_slots > slots or n_coefficients != coefficients:
        raise ValueError(f"Rule: {RULES[rule_id]} must have at most {slots} slots and {coefficients} coefficients, "
                         f"got {n_slots} and {n_coefficients}.")


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
