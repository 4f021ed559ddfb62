/* Convolution of one channels-last image without a copy of its windows: a table of its own.
 *
 *     z[oy, ox, q] = b[q] + sum_(ky, kx, c) x[oy sh + ky, ox sw + kx, c] W[ky, kx, c, q],  y = z or max(z, 0)
 *
 * or the maxima of 2x2 pixels of that. x is the image with the zeros of its padding. A register holds neighbouring
 * filters of one pixel; two rows of a few pixels stay in registers over the whole window, so that a weight is loaded
 * once for all of them and each number of x is a broadcast from where it is. The sum has the order of gemm_packed.h.
 */
#ifndef LDL_CONV_IMAGE_H
#define LDL_CONV_IMAGE_H

#include <stddef.h>

#include "window.h"

enum { LDL_CONV_IMAGE_ROWS = 2, LDL_CONV_IMAGE_COLUMNS = 4 };  /* of the output, at least */

/* rows and columns of x that the windows see */
static inline ptrdiff_t ldl_seen_rows(const ldl_window *s) { return (s->oh - 1) * s->sh + s->kh; }
static inline ptrdiff_t ldl_seen_columns(const ldl_window *s) { return (s->ow - 1) * s->sw + s->kw; }

#define LDL_CONV_IMAGE_TABLE(T)                                                                   \
    /* what the windows see of x (h, w, c): padded (seen rows, seen columns, c) */                \
    void (*pad)(const ldl_window *s, const T *x, T *padded);                                      \
    /* n of f filters: W (kh kw c, n), ldw the stride of its rows, each of which is read to the end of a register; \
       b (n,) or NULL; x_row the stride of the rows of x; y (oh, ow, f), with pool (oh / 2, ow / 2, f), from the first \
       of these filters on. Dilations are 1, oh >= 2, ow >= 4. */                                 \
    void (*forward)(const ldl_window *s, const T *x, ptrdiff_t x_row, ptrdiff_t n, ptrdiff_t f, const T *W, \
                    ptrdiff_t ldw, const T *b, int relu, int pool, T *y);

typedef struct { LDL_CONV_IMAGE_TABLE(float) } ldl_conv_image_f32;
typedef struct { LDL_CONV_IMAGE_TABLE(double) } ldl_conv_image_f64;

#endif
