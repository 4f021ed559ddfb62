/* The activations and the update rules: one line each, from which their numbers, their names in Python and the
 * functions that are called are made. A new one is a line at the end and its formula in activations.inc or rules.inc.
 */
#ifndef LDL_TABLES_H
#define LDL_TABLES_H

/* (constant, name, keeps z, slope). LOOP: a loop over elements, MAP(name) and MAP_GRAD(name) of activations.inc;
   OTHER: not elementwise, or nothing to do.
   keeps z: the gradient is computed from z, not from f(z). slope: the number that the formula gets as c. */
#define LDL_ACTIVATIONS(LOOP, OTHER)                                                              \
    OTHER(IDENTITY, identity, 0, 1.0)                                                             \
    LOOP(RELU, relu, 0, 1.0)                                                                      \
    LOOP(LEAKY_RELU, leaky_relu, 0, 0.01)                                                         \
    LOOP(ELU, elu, 0, 1.0)                                                                        \
    LOOP(SELU, selu, 0, 1.0)                                                                      \
    LOOP(GELU, gelu, 1, 1.0)                                                                      \
    LOOP(SILU, silu, 1, 1.0)                                                                      \
    LOOP(SOFTPLUS, softplus, 0, 1.0)                                                              \
    LOOP(TANH, tanh, 0, 1.0)                                                                      \
    LOOP(LOGISTIC, logistic, 0, 1.0)                                                              \
    OTHER(SOFTMAX, softmax, 0, 1.0)                                                               \
    LOOP(MISH, mish, 1, 1.0)                                                                      \
    LOOP(HARD_SIGMOID, hard_sigmoid, 0, 1.0)                                                      \
    LOOP(HARD_SILU, hard_silu, 1, 1.0)                                                            \
    LOOP(RELU6, relu6, 0, 1.0)                                                                    \
    LOOP(GELU_TANH, gelu_tanh, 1, 1.0)

/* (constant, name, slots, coefficients): rule_<name> of rules.inc; how many vectors of state it reads and writes in any
   case; and a digit for each number of its row of coefficients: how many it does if that number is not 0. rmsprop has
   its mean square, with momentum (its fourth coefficient) a velocity, and if centered (its fifth) a mean.
   It may be given as many as the largest digit; vec.check_rule refuses fewer than it reads, and more. */
#define LDL_RULES(RULE)                                                                           \
    RULE(SGD, sgd, 0, "010")                                                                      \
    RULE(ADAM, adam, 2, "22222")                                                                  \
    RULE(RMSPROP, rmsprop, 1, "11123")                                                            \
    RULE(ADAGRAD, adagrad, 1, "111")                                                              \
    RULE(ADADELTA, adadelta, 2, "222")                                                            \
    RULE(NADAM, nadam, 2, "222222")                                                               \
    RULE(LION, lion, 1, "111")

#define LDL_ACTIVATION_NUMBER(constant, name, keeps_z, slope) LDL_##constant,
enum ldl_activation {
    LDL_ACTIVATIONS(LDL_ACTIVATION_NUMBER, LDL_ACTIVATION_NUMBER)
    LDL_N_ACTIVATIONS
};

#define LDL_RULE_NUMBER(constant, name, slots, coefficients) LDL_##constant,
enum ldl_rule {
    LDL_RULES(LDL_RULE_NUMBER)
    LDL_N_RULES
};

#define LDL_KEEPS_Z(constant, name, keeps_z, slope) keeps_z,
static inline int ldl_keeps_z(int kind)
{
    static const unsigned char keeps[] = {LDL_ACTIVATIONS(LDL_KEEPS_Z, LDL_KEEPS_Z)};
    return keeps[kind];
}

#endif
