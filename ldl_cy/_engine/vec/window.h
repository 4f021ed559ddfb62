/* Windows on channels-last images, of convolutions and pooling. */
#ifndef LDL_WINDOW_H
#define LDL_WINDOW_H

#include <stddef.h>

/* The cell (ky, kx) of the window of output pixel (oy, ox) is the input pixel
   (oy sh + ky dh - top, ox sw + kx dw - left); outside of the image it is 0. */
typedef struct {
    ptrdiff_t h, w, c;              /* input */
    ptrdiff_t kh, kw;               /* window */
    ptrdiff_t sh, sw;               /* strides */
    ptrdiff_t dh, dw;               /* dilation */
    ptrdiff_t top, left;            /* padding; below 0 it crops */
    ptrdiff_t oh, ow;               /* output */
} ldl_window;

#endif
