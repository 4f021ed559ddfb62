/* The vectorised kernels: one table of functions per instruction set and dtype.
 *
 * vec.c is compiled once per instruction set (LDL_ISA = v2, v3, v4, or base elsewhere); each object
 * exports one `const ldl_vec ldl_vec_<isa>`. _engine/vec.pyx picks one at import.
 *
 * Everything is row-major and contiguous unless a stride is given. `rows, k` is a matrix of rows of
 * k numbers. Input and output may be the same array where a comment says "in place". Results do not
 * depend on an element's place in an array or a row's place among others, and on the instruction set
 * only through fma: polynomials of our own, fixed order of sums.
 */
#ifndef LDL_VEC_H
#define LDL_VEC_H

#include <stddef.h>
#include <stdint.h>

#include "batch_norm.h"
#include "basis.h"
#include "conv_batch_inner.h"
#include "conv_image.h"
#include "depthwise.h"
#include "gemm_packed.h"
#include "layer_norm.h"
#include "pool_2x2.h"
#include "tables.h"
#include "winograd.h"

/* T is float or double. Sums of losses and norms are always double. */
#define LDL_VEC_TABLE(T)                                                                          \
    /* y = f(z), rows of k (softmax works along a row); slope: the formula's number, see tables.h. \
       In place. */                                                                               \
    void (*activate)(int kind, T slope, ptrdiff_t rows, ptrdiff_t k, const T *z, T *y);           \
    /* dz = dy f'(z). `a` is z where ldl_keeps_z(kind), else y = f(z). In place (dz == dy). */    \
    void (*activate_grad)(int kind, T slope, ptrdiff_t rows, ptrdiff_t k, const T *a,             \
                          const T *dy, T *dz);                                                    \
    /* y = f(z) and slope = f'(z) where ldl_keeps_z(kind); z may be y. */                         \
    void (*activate_both)(int kind, ptrdiff_t n, const T *z, T *y, T *slope);                     \
    void (*exp)(ptrdiff_t n, const T *x, T *y);                                                   \
    void (*log)(ptrdiff_t n, const T *x, T *y);                                                   \
    /* y[i] = b; b may be NULL: zeros; ldy: stride of the rows of y */                            \
    void (*fill_rows)(ptrdiff_t rows, ptrdiff_t k, const T *b, T *y, ptrdiff_t ldy);              \
    /* sum[j] += sum_i x[i, j] */                                                                 \
    void (*add_column_sums)(ptrdiff_t rows, ptrdiff_t k, const T *x, T *sum);                     \
    /* b (cols, rows) = a (rows, cols) transposed; lda, ldb: strides of their rows */             \
    void (*transpose)(ptrdiff_t rows, ptrdiff_t cols, const T *a, ptrdiff_t lda,                  \
                      T *b, ptrdiff_t ldb);                                                       \
    void (*add)(ptrdiff_t n, const T *x, T *y);                   /* y += x */                    \
    void (*scale)(ptrdiff_t n, T alpha, T *y);                    /* y *= alpha */                \
    void (*axpy)(ptrdiff_t n, T alpha, const T *x, T *y);         /* y += alpha x */              \
    double (*sum_squares)(ptrdiff_t n, const T *x);                                               \
    double (*max_abs)(ptrdiff_t n, const T *x);                   /* NaN counts as infinity */    \
    /* y = x m / (1 - rate), m_i = [uniform(key, first + i) >= rate]; see rng.h. In place. */     \
    void (*dropout)(ptrdiff_t n, uint64_t key, uint64_t first, double rate, const T *x, T *y);    \
                                                                                                  \
    /* Losses over rows of k raw outputs y: return sum_i w_i l_i; dy (rows, k) = scale w_i dl_i,  \
       or nothing when dy is NULL. w NULL: ones. In place (dy == y). l_i is the sum over the      \
       k outputs, not the mean: callers divide through scale. */                                  \
    double (*squared_error)(ptrdiff_t rows, ptrdiff_t k, const T *y, const T *t, const T *w,      \
                            T scale, T *dy);                     /* l = sum_j (y - t)^2 */        \
    double (*log_loss_codes)(ptrdiff_t rows, ptrdiff_t k, const T *y, const T *t, const T *w,     \
                             T scale, T *dy, T smoothing);       /* t (rows,): class codes */     \
    double (*log_loss_probs)(ptrdiff_t rows, ptrdiff_t k, const T *y, const T *t, const T *w,     \
                             T scale, T *dy, T smoothing);       /* t (rows, k) */                \
    double (*binary_log_loss)(ptrdiff_t rows, ptrdiff_t k, const T *y, const T *t, const T *w,    \
                              T scale, T *dy);                   /* t (rows, k) in [0, 1] */      \
                                                                                                  \
    /* LSTM gates of one step: gates.inc has the equations. a (n, 4u) in the order i, f, g, o     \
       holds the pre-activations and becomes the gates; tc = tanh(c).                             \
       c_prev NULL: zeros; c may be c_prev. All (n, u) contiguous; tc may be NULL. */             \
    void (*lstm_forward)(ptrdiff_t n, ptrdiff_t u, T *a, const T *c_prev, T *c, T *tc, T *h);     \
    /* a: the gates on entry, da on exit. dc (n, u): gradient of c from the step after on entry,  \
       of c_prev on exit. dh: the whole gradient of h. */                                         \
    void (*lstm_backward)(ptrdiff_t n, ptrdiff_t u, T *a, const T *c_prev, const T *tc,           \
                          const T *dh, T *dc);                                                    \
    /* GRU gates r, z, n. a (n, 3u) = x W + b, with h_prev U_r and h_prev U_z added to its first  \
       two parts, becomes the gates; q (n, u) = h_prev U_n + c_n. h may be h_prev, which may be   \
       NULL: zeros. */                                                                            \
    void (*gru_forward)(ptrdiff_t n, ptrdiff_t u, T *a, const T *q, const T *h_prev, T *h);       \
    /* a: the gates on entry, da on exit. q: as in forward on entry, dq on exit. dh: the          \
       gradient of h on entry; on exit the part of dh_prev that does not pass through U, dh z. */ \
    void (*gru_backward)(ptrdiff_t n, ptrdiff_t u, T *a, T *q, const T *h_prev, T *dh);           \
                                                                                                  \
    /* Update rules over a piece of the flat vector, by their numbers. The state's first vector is \
       slots, each next one `stride` numbers further; coef is the step's row. */                  \
    void (*rules[LDL_N_RULES])(ptrdiff_t n, T *theta, const T *g, T *slots, ptrdiff_t stride,     \
                               const double *coef);

typedef struct { LDL_VEC_TABLE(float) } ldl_vec_f32;
typedef struct { LDL_VEC_TABLE(double) } ldl_vec_f64;
typedef struct {
    const char *name;
    ldl_vec_f32 f32;
    ldl_vec_f64 f64;
    ldl_conv_batch_inner_f32 conv_batch_inner_f32;
    ldl_conv_batch_inner_f64 conv_batch_inner_f64;
    ldl_winograd_f32 winograd_f32;
    ldl_winograd_f64 winograd_f64;
    ldl_pool_2x2_f32 pool_2x2_f32;
    ldl_pool_2x2_f64 pool_2x2_f64;
    ldl_batch_norm_f32 batch_norm_f32;
    ldl_batch_norm_f64 batch_norm_f64;
    ldl_layer_norm_f32 layer_norm_f32;
    ldl_layer_norm_f64 layer_norm_f64;
    ldl_gemm_packed_f32 gemm_packed_f32;
    ldl_gemm_packed_f64 gemm_packed_f64;
    ldl_basis_f32 basis_f32;
    ldl_basis_f64 basis_f64;
    ldl_depthwise_f32 depthwise_f32;
    ldl_depthwise_f64 depthwise_f64;
    ldl_conv_image_f32 conv_image_f32;
    ldl_conv_image_f64 conv_image_f64;
} ldl_vec;

#endif
