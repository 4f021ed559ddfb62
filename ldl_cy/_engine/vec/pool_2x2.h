/* Pooling by windows of 2x2 next to each other, a row of `pixels` of the output at a time: a table of its own.
 *
 * Cells of a window are numbered 0 1 in the upper row of the input, 2 3 in the lower one.
 */
#ifndef LDL_POOL_2X2_H
#define LDL_POOL_2X2_H

#include <stddef.h>
#include <stdint.h>

#define LDL_POOL_2X2_TABLE(T)                                                                     \
    /* y (pixels, c) = the largest of four, cell its place, the first of equals, or NULL. NaN is  \
       the largest, the last of them. upper, lower (2 pixels, c) */                               \
    void (*max_forward)(ptrdiff_t pixels, ptrdiff_t c, const T *upper, const T *lower, T *y,      \
                        uint8_t *cell);                                                           \
    /* upper, lower = dy at the cell, 0 elsewhere */                                              \
    void (*max_backward)(ptrdiff_t pixels, ptrdiff_t c, const T *dy, const uint8_t *cell,         \
                         T *upper, T *lower);                                                     \
    /* y (pixels, c) = the mean of four */                                                        \
    void (*mean_forward)(ptrdiff_t pixels, ptrdiff_t c, const T *upper, const T *lower, T *y);    \
    /* upper, lower = dy / 4 */                                                                   \
    void (*mean_backward)(ptrdiff_t pixels, ptrdiff_t c, const T *dy, T *upper, T *lower);

typedef struct { LDL_POOL_2X2_TABLE(float) } ldl_pool_2x2_f32;
typedef struct { LDL_POOL_2X2_TABLE(double) } ldl_pool_2x2_f64;

#endif
