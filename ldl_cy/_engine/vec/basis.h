/* Convolution of sequences in another basis: the transforms, as a table of their own.
 *
 * A tile is n neighbouring steps of the input, or m = n - r + 1 of the output, for windows of r steps. In a basis it
 * becomes numbers of each channel, one in each of several matrices ("slabs"), `stride` numbers from one to the next,
 * and a convolution becomes one product of matrices for each slab. A function works on one tile, or one pair of tiles,
 * all channels; steps are `step` numbers apart, and those outside of low .. high - 1 are zeros, or not touched.
 *
 * Values at points (Toom and Cook; Winograd, "Arithmetic complexity of computations", SIAM 1980): y = A^T [(G g) o
 * (B^T d)], n slabs. A, G, B have a row for each point: of 0, of pairs p, -p, and, with n even, of infinity. Of a pair
 *
 *     v_p = even + odd,  v_-p = even - odd            even, odd: the sums over columns 0, 2, .. and 1, 3, ..
 *
 * so both together cost what one would. C is such a matrix, in the order in which it is used: for each two columns the
 * first one of 0, of each of four p, of infinity, the second one of each p, of infinity: 11 numbers; fewer p are filled
 * up with zeros.
 *
 * The discrete Fourier transform of a pair of tiles, z = d_1 + i d_2, z_k = sum_j z_j e^(-2 pi i j k / n): what is done
 * with z_k and with conj(z_(n - k)) is the same, so that these are two rows of the same matrices, and nothing has to be
 * separated. A product of complex numbers is three of real ones (Knuth, TAOCP 4.6.4),
 *
 *     (a + i b) (c + i d) = (p - r) + i (p + q),      p = (a + b) c,  q = a (d - c),  r = b (c + d)
 *
 * slabs 3 (k - 1) .. 3 (k - 1) + 2 for k = 1 .. n / 2 - 1; the last two are k = 0 and k = n / 2, where z_k is real and
 * imaginary part, two rows. `turns` has cos and -sin of 2 pi j / n, a pair for each j < n; `place` says where the
 * butterflies leave z_k.
 */
#ifndef LDL_BASIS_H
#define LDL_BASIS_H

#include <stddef.h>

enum ldl_basis_write {
    LDL_BASIS_STORE,
    LDL_BASIS_RELU,             /* store max(0, y) */
    LDL_BASIS_ADD               /* y += */
};

enum ldl_basis_factor {
    LDL_BASIS_LEFT,             /* a + b, a, b */
    LDL_BASIS_RIGHT             /* c, d - c, c + d of c + i d = conj(z): of the right factor */
};

enum ldl_basis_product {
    LDL_BASIS_PRODUCT,
    LDL_BASIS_CONJUGATED_FACTOR,    /* the right factor conjugated: its second and third slab were exchanged, here they
                                       are negated */
    LDL_BASIS_CONJUGATED            /* the product conjugated */
};

#define LDL_BASIS_TABLE(T)                                                                        \
    /* V = C x: n rows of C, k columns; x (k, c); n and k at most 10 */                           \
    void (*values)(int n, ptrdiff_t k, const T *C, ptrdiff_t c, const T *x, ptrdiff_t step,       \
                   ptrdiff_t low, ptrdiff_t high, T *V, ptrdiff_t stride);                        \
    /* y = C^T V + b; y (k, c); b may be NULL */                                                  \
    void (*from_values)(int n, ptrdiff_t k, const T *C, ptrdiff_t c, const T *V, ptrdiff_t stride, \
                        const T *b, int write, T *y, ptrdiff_t step, ptrdiff_t low, ptrdiff_t high); \
    /* V (slabs, 2, c) of two tiles x (n, c), x2: the second row is `row` numbers behind the first. Where row is 0, \
       and x2 zeros, there is one row. work: 7 n numbers for each of LANES */                     \
    void (*dft)(ptrdiff_t n, const T *turns, const int *place, int factor, ptrdiff_t c,           \
                const T *x, ptrdiff_t low, ptrdiff_t high,                                        \
                const T *x2, ptrdiff_t low2, ptrdiff_t high2, ptrdiff_t step,                     \
                T *V, ptrdiff_t stride, ptrdiff_t row, T *work);                                  \
    /* its inverse, times n and scale, of products V (slabs, 2, c) */                             \
    void (*from_dft)(ptrdiff_t n, const T *turns, const int *place, int product, T scale, ptrdiff_t c, \
                     const T *V, ptrdiff_t stride, ptrdiff_t row, const T *b, int write,          \
                     T *y, ptrdiff_t low, ptrdiff_t high,                                         \
                     T *y2, ptrdiff_t low2, ptrdiff_t high2, ptrdiff_t step, T *work);

typedef struct { LDL_BASIS_TABLE(float) } ldl_basis_f32;
typedef struct { LDL_BASIS_TABLE(double) } ldl_basis_f64;

#endif
