/* The usual pooling, windows of 2x2 side by side, a row of `pixels` of the output at a time: a table of its own.
 *
 * Cells of a window are numbered 0 1 in the upper row of the input, 2 3 in the lower one.
 */
#ifndef LDL_POOLING_H
#define LDL_POOLING_H

#include <stddef.h>
#include <stdint.h>

#define LDL_POOLING_TABLE(T)                                                                      \
    /* y (pixels, c) = the largest of four, cell its place, the first of equals, or NULL. A NaN is \
       the largest, the last of them. upper, lower (2 pixels, c) */                                \
    void (*largest)(ptrdiff_t pixels, ptrdiff_t c, const T *upper, const T *lower, T *y,          \
                    uint8_t *cell);                                                               \
    /* upper, lower = dy at the cell, 0 elsewhere */                                              \
    void (*spread)(ptrdiff_t pixels, ptrdiff_t c, const T *dy, const uint8_t *cell, T *upper,     \
                   T *lower);                                                                     \
    /* y (pixels, c) = the mean of four */                                                        \
    void (*means)(ptrdiff_t pixels, ptrdiff_t c, const T *upper, const T *lower, T *y);           \
    /* upper, lower = dy / 4 */                                                                   \
    void (*share)(ptrdiff_t pixels, ptrdiff_t c, const T *dy, T *upper, T *lower);

typedef struct { LDL_POOLING_TABLE(float) } ldl_pooling_f32;
typedef struct { LDL_POOLING_TABLE(double) } ldl_pooling_f64;

#endif
