/* Depthwise convolution of one channels-last image, every channel by a window of its own: a table of its own.
 *
 *     z[oy, ox, c] = b[c] + sum_(ky, kx) x[iy, ix, c] W[ky, kx, c]
 *     iy = oy sh + ky dh - top,  ix = ox sw + kx dw - left;  x is 0 outside of the image
 *
 * A register holds neighbouring channels of one pixel; a few pixels of an output row are done together, so that a
 * weight is loaded once for all of them. The plain twin is _kernels/conv.pyx with as many groups as channels.
 */
#ifndef LDL_DEPTHWISE_H
#define LDL_DEPTHWISE_H

#include <stddef.h>

#include "window.h"

#define LDL_DEPTHWISE_TABLE(T)                                                                    \
    /* z = b + windows of x times W, or the larger of that and 0. W: the window's first cell, `step` numbers from one \
       cell to the next, which may be below 0; b NULL: zeros */                                   \
    void (*forward)(const ldl_window *s, const T *x, const T *W, ptrdiff_t step, const T *b, int relu, T *z); \
    /* dx += dz W, where the windows are */                                                       \
    void (*add_dx)(const ldl_window *s, const T *dz, const T *W, T *dx);                          \
    /* dW += the sum over the pixels of x dz */                                                   \
    void (*add_dW)(const ldl_window *s, const T *x, const T *dz, T *dW);

typedef struct { LDL_DEPTHWISE_TABLE(float) } ldl_depthwise_f32;
typedef struct { LDL_DEPTHWISE_TABLE(double) } ldl_depthwise_f64;

#endif
