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

typedef struct {
    ptrdiff_t h, w, c;              /* images */
    ptrdiff_t kh, kw;               /* window */
    ptrdiff_t top, left;            /* padding; below 0 it crops */
    ptrdiff_t oh, ow, f;            /* output, before pooling */
    ptrdiff_t relu;                 /* z or max(z, 0) */
    ptrdiff_t pool;                 /* 1: then the maxima of 2x2 pixels, (oh / 2, ow / 2) */
} ldl_conv_batch_inner;

/* Numbers of scratch, for any number of rows. */
static inline ptrdiff_t ldl_conv_batch_inner_scratch(const ldl_conv_batch_inner *s)
{
    const ptrdiff_t tile = (s->oh + s->kh - 1) * (s->ow + s->kw - 1) * s->c;
    const ptrdiff_t row = s->ow * s->f > s->w * s->c ? s->ow * s->f : s->w * s->c;
    const ptrdiff_t dz = s->oh * (s->ow + 6) * s->f;
    return 16 * (tile + row + dz + s->kh * s->kw * s->c * s->f + s->f) + 64;
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
