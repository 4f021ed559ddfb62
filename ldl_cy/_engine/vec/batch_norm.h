/* BatchNorm over rows of k channels, with what follows it in the same pass: y = min(max(z, lo), hi), where
 *
 *     z = (x - high) slope + shift + other,   slope = gamma / sigma,  shift = beta - (mean - high) slope
 *
 * and high is the mean rounded to T: z is accurate where the mean is far larger than sigma. lo = 0 is ReLU, hi = 6
 * ReLU6, and a NaN is no bound; `other`, the sum's other number, may be NULL. The gradient of z is g = dy where
 * lo < z < hi, else 0. Ties are as in activations.inc and pool_2x2.inc, one operation after the other.
 *
 * `channel` is (5, k): high, slope, shift, a, c, of which the gradient alone reads the last two:
 *
 *     dx = slope g + (a - c (x - high)),   c = slope sum(g xhat) / (N sigma),  a = c (mean - high) - slope sum(g) / N
 */
#ifndef LDL_BATCH_NORM_H
#define LDL_BATCH_NORM_H

#include <stddef.h>
#include <stdint.h>

#define LDL_BATCH_NORM_TABLE(T)                                                                   \
    /* mean (k,) and m2 (k,) = sum (x - mean)^2 of n rows before, which may be 0: and of these rows. */ \
    void (*moments)(ptrdiff_t n, ptrdiff_t rows, ptrdiff_t k, const T *x, double *mean, double *m2); \
    void (*forward)(ptrdiff_t rows, ptrdiff_t k, const T *channel, T lo, T hi, const T *x, const T *other, T *y); \
    /* sum (2, k) += sum g, sum g (x - high). Where y is given, g is found from it, and takes dy's place. */ \
    void (*sums)(ptrdiff_t rows, ptrdiff_t k, const T *channel, T lo, T hi, const T *x, const T *y, T *dy, \
                 double *sum);                                                                    \
    /* dy NULL: zeros */                                                                          \
    void (*backward)(ptrdiff_t rows, ptrdiff_t k, const T *channel, T lo, T hi, const T *x, const T *dy, T *dx); \
    /* The same with the largest of each 2x2 pixels, k at least 16, a row of `pixels` of the output at a time. Rows of \
       x and dx are (2 pixels, k), upper and lower. chosen (pixels, k) is x at the maximum, for sums and backward; \
       NULL: not wanted. */                                                                       \
    void (*pool_forward)(ptrdiff_t pixels, ptrdiff_t k, const T *channel, T lo, T hi, const T *upper, const T *lower, \
                         T *y, T *chosen);                                                        \
    void (*pool_backward)(ptrdiff_t pixels, ptrdiff_t k, const T *channel, T lo, T hi, const T *upper, const T *lower, \
                          const T *chosen, const T *dy, T *dx_upper, T *dx_lower);

typedef struct { LDL_BATCH_NORM_TABLE(float) } ldl_batch_norm_f32;
typedef struct { LDL_BATCH_NORM_TABLE(double) } ldl_batch_norm_f64;

#endif
