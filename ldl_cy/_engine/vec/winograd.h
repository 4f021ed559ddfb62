/* Transforms of Winograd's minimal filtering F(m x m, 3 x 3), m = 4 or 2, as a table of their own.
 *
 * A tile is n x n pixels of the input, n = m + 2, or m x m of the output. It becomes n n numbers of each
 * channel, one in each of n n matrices, `stride` numbers from one to the next; a function works on one tile,
 * all channels. `row` and `pixel` are the strides of rows and of pixels of the image. Of a tile
 * that reaches past the image only rows y0 to y1 - 1 and columns x0 to x1 - 1 are touched: 0 around it.
 *
 *     Y = A^T [ (G g G^T) o (B^T d B) ] A        Lavin, Gray, "Fast algorithms for convolutional neural
 *                                                networks", CVPR 2016, arXiv:1509.09308
 *
 * With interpolation points p_i and infinity: A has the rows (1, p_i, .. p_i^(m-1)), G the rows
 * (1, p_i, p_i^2) / prod_(k != i) (p_i - p_k), B^T the coefficients of prod_(k != i) (x - p_k); for infinity
 * the last unit vectors and prod_k (x - p_k). F(4): 0, +-1/sqrt 2, +-sqrt 2 (the usual +-1, +-2 lose a digit:
 * Barabasz, Anderson, Soodhalter, Gregg, "Error analysis and improving the accuracy of Winograd convolution",
 * ACM TOMS 46, 2020); F(2): 0, +-1.
 */
#ifndef LDL_WINOGRAD_H
#define LDL_WINOGRAD_H

#include <stddef.h>

#define LDL_WINOGRAD_TABLE(T)                                                                     \
    /* V = B^T d B of a tile of the input, c channels */                                          \
    void (*input)(int m, ptrdiff_t c, const T *d, ptrdiff_t row, ptrdiff_t pixel,                 \
                  int y0, int y1, int x0, int x1, T *V, ptrdiff_t stride);                        \
    /* Y = A^T M A + b, or max(0, that), a tile of the output; b may be NULL */                   \
    void (*output)(int m, ptrdiff_t f, const T *M, ptrdiff_t stride, const T *b, int relu,        \
                   T *Y, ptrdiff_t row, ptrdiff_t pixel, int y1, int x1);                         \
    /* D = A dY A^T of a tile of the output's gradient: the transpose of `output` */              \
    void (*gradient)(int m, ptrdiff_t f, const T *dY, ptrdiff_t row, ptrdiff_t pixel,             \
                     int y1, int x1, T *D, ptrdiff_t stride);                                     \
    /* U = G g G^T of `size` weights of each of the window's 9 cells, `step` numbers from one to the next */ \
    void (*weights)(int m, ptrdiff_t size, const T *g, ptrdiff_t step, T *U, ptrdiff_t stride);   \
    /* dg (3, 3, size) += G^T Q G: the transpose of `weights` */                                  \
    void (*weights_gradient)(int m, ptrdiff_t size, const T *Q, ptrdiff_t stride, T *dg);

typedef struct { LDL_WINOGRAD_TABLE(float) } ldl_winograd_f32;
typedef struct { LDL_WINOGRAD_TABLE(double) } ldl_winograd_f64;

#endif
