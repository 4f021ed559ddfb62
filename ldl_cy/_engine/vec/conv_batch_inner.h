/* Convolution of images with few channels, LANES = 16 images at a time: a register holds one pixel and
 * one channel of several images, and a weight is a broadcast. See conv_batch_inner.inc.
 *
 * Callers pass rows of channels-last pixels; the functions transpose groups of 16 rows on input and
 * output. Strides and dilations are 1. Rows that are missing in the last group are zeros. The plain twin is
 * _kernels/conv.pyx, with _kernels/pooling.pyx after it.
 */
#ifndef LDL_CONV_BATCH_INNER_H
#define LDL_CONV_BATCH_INNER_H

#include <stddef.h>

#include "window.h"

typedef struct {
    ldl_window window;              /* of the convolution */
    ptrdiff_t f;                    /* filters */
    ptrdiff_t relu;                 /* z or max(z, 0) */
    ptrdiff_t pool;                 /* 1: then the maxima of 2x2 pixels, (oh / 2, ow / 2) */
} ldl_conv_batch_inner;

/* Numbers of scratch, for any number of rows. */
static inline ptrdiff_t ldl_conv_batch_inner_scratch(const ldl_conv_batch_inner *s)
{
    const ldl_window *win = &s->window;
    const ptrdiff_t tile = (win->oh + win->kh - 1) * (win->ow + win->kw - 1) * win->c;
    const ptrdiff_t row = win->ow * s->f > win->w * win->c ? win->ow * s->f : win->w * win->c;
    const ptrdiff_t dz = win->oh * (win->ow + 6) * s->f;
    return 16 * (tile + row + dz + win->kh * win->kw * win->c * s->f + s->f) + 64;
}

#define LDL_CONV_BATCH_INNER_TABLE(T)                                                             \
    /* y = f(windows of x times W + b); b may be NULL. With pooling, codes (n oh/2 ow/2 f bytes)  \
       say which of four pixels each maximum was, for backward; NULL: not wanted. */              \
    void (*forward)(const ldl_conv_batch_inner *s, ptrdiff_t n, const T *x, const T *W,           \
                    const T *b, T *y, unsigned char *codes, T *scratch);                          \
    /* dW (kh, kw, c, f) and db are added to, dx is overwritten; any may be NULL. dy is that of   \
       the pooled output, else the gradient of z. Wt (kh, kw, f, c): the window rotated by 180    \
       degrees, channels and filters exchanged. db is made with pooling only. */                    \
    void (*backward)(const ldl_conv_batch_inner *s, ptrdiff_t n, const T *x, const T *dy,         \
                     const T *Wt, T *dx, T *dW, T *db, const unsigned char *codes, T *scratch);

typedef struct { LDL_CONV_BATCH_INNER_TABLE(float) } ldl_conv_batch_inner_f32;
typedef struct { LDL_CONV_BATCH_INNER_TABLE(double) } ldl_conv_batch_inner_f64;

#endif
