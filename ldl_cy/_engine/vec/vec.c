/* One table of kernels, for the instruction set this file is compiled for (LDL_ISA).
 *
 * Each .inc file is included twice: T is the dtype, F(name) a name for it.
 */
#include "vec.h"
#include "index.h"
#include "rng.h"
#include "lanes.h"
#include "transpose_block.h"

#include <math.h>

#define T float
#define F(name) LDL_CAT(name, _f32)
#include "numbers_f32.inc"
INLINE float sqrt_f32(float x) { return sqrtf(x); }
#include "kernels.inc"

#define T double
#define F(name) LDL_CAT(name, _f64)
#include "numbers_f64.inc"
INLINE double sqrt_f64(double x) { return sqrt(x); }
#include "kernels.inc"

#define TABLE(F) {                                                                                \
    .activate = F(activate), .activate_grad = F(activate_grad), .activate_both = F(activate_both), \
    .exp = F(v_exp), .log = F(v_log),                                                             \
    .fill_rows = F(fill_rows), .add_column_sums = F(add_column_sums), .transpose = F(transpose),  \
    .add = F(add), .scale = F(scale), .axpy = F(axpy), .sum_squares = F(sum_squares),             \
    .max_abs = F(max_abs), .dropout = F(dropout), .squared_error = F(squared_error),              \
    .log_loss_codes = F(log_loss_codes), .log_loss_probs = F(log_loss_probs),                     \
    .binary_log_loss = F(binary_log_loss), .lstm_forward = F(lstm_forward),                       \
    .lstm_backward = F(lstm_backward), .gru_forward = F(gru_forward),                             \
    .gru_backward = F(gru_backward), .rules = {LDL_RULES(F##_RULE)} }
#define F32_RULE(constant, name, slots, coefficients) LDL_CAT(rule_##name, _f32),
#define F64_RULE(constant, name, slots, coefficients) LDL_CAT(rule_##name, _f64),
#define CONV_BATCH_INNER(F) {.forward = F(conv_batch_inner_forward), .backward = F(conv_batch_inner_backward)}
#define WINOGRAD(F) {                                                                             \
    .input = F(winograd_input), .output = F(winograd_output), .gradient = F(winograd_gradient),   \
    .weights = F(winograd_weights), .weights_gradient = F(winograd_weights_gradient) }
#define POOL_2X2(F) {                                                                             \
    .max_forward = F(max_pool_2x2), .max_backward = F(max_pool_2x2_backward),                     \
    .mean_forward = F(mean_pool_2x2), .mean_backward = F(mean_pool_2x2_backward) }
#define BATCH_NORM(F) {                                                                           \
    .moments = F(norm_moments), .forward = F(norm_forward), .sums = F(norm_sums),                 \
    .backward = F(norm_backward), .pool_forward = F(norm_pool_forward),                           \
    .pool_backward = F(norm_pool_backward) }
#define LAYER_NORM(F) {                                                                           \
    .describe = F(layer_norm_describe), .forward = F(layer_norm_forward),                         \
    .backward = F(layer_norm_backward), .sums = F(layer_norm_sums) }
#define BASIS(F) {                                                                                \
    .values = F(basis_values), .from_values = F(basis_from_values), .dft = F(basis_dft),          \
    .from_dft = F(basis_from_dft) }
#define F32(name) LDL_CAT(name, _f32)
#define F64(name) LDL_CAT(name, _f64)

extern const ldl_vec LDL_CAT(ldl_vec_, LDL_ISA);
const ldl_vec LDL_CAT(ldl_vec_, LDL_ISA) = {
    LDL_STR(LDL_ISA), TABLE(F32), TABLE(F64), CONV_BATCH_INNER(F32), CONV_BATCH_INNER(F64),
    WINOGRAD(F32), WINOGRAD(F64), POOL_2X2(F32), POOL_2X2(F64), BATCH_NORM(F32), BATCH_NORM(F64),
    LAYER_NORM(F32), LAYER_NORM(F64),
    GEMM_PACKED(F32, float), GEMM_PACKED(F64, double), BASIS(F32), BASIS(F64), DEPTHWISE(F32), DEPTHWISE(F64),
    CONV_IMAGE(F32), CONV_IMAGE(F64)};
