/* Layer normalization of rows of k numbers:
 *
 *     y = gamma xhat + beta,  xhat = (x - mean) / sigma
 *     dx = (g - sum g / k - xhat sum (g xhat) / k) / sigma,  g = gamma dy;  dgamma += sum dy xhat,  dbeta += sum dy
 *
 * stats (rows, 3) = mean rounded (high), mean - high (low), 1 / sigma: with the mean in two parts (x - high) - low is
 * accurate where it is far larger than sigma. A row's numbers depend on nothing but the row.
 */
#ifndef LDL_LAYER_NORM_H
#define LDL_LAYER_NORM_H

#include <stddef.h>

#define LDL_LAYER_NORM_TABLE(T)                                                                   \
    void (*describe)(ptrdiff_t rows, ptrdiff_t k, double epsilon, const T *x, T *stats);          \
    void (*forward)(ptrdiff_t rows, ptrdiff_t k, const T *gamma, const T *beta, const T *stats, const T *x, T *y); \
    void (*backward)(ptrdiff_t rows, ptrdiff_t k, const T *gamma, const T *stats, const T *x, const T *dy, T *dx); \
    /* dgamma, dbeta (k,) are added to */                                                         \
    void (*sums)(ptrdiff_t rows, ptrdiff_t k, const T *stats, const T *x, const T *dy, double *dgamma, double *dbeta);

typedef struct { LDL_LAYER_NORM_TABLE(float) } ldl_layer_norm_f32;
typedef struct { LDL_LAYER_NORM_TABLE(double) } ldl_layer_norm_f64;

#endif
