/* Products of matrices, C = A B + S, where B was packed before or is read where it is: a table of its own.
 *
 * BLIS's micro-kernel (Van Zee, van de Geijn, "BLIS: A framework for rapidly instantiating BLAS functionality", ACM
 * TOMS 41, 2015): a tile of C of a few rows by a few vectors stays in registers over the whole depth k; a row of B is
 * loaded once for it, and each number of A is broadcast from where it is. B is packed in panels, as wide as a tile and
 * k deep, each contiguous, so that the loop reads it along memory whatever the stride of B was. The last panel has only
 * as many vectors as it needs, filled up with zeros. A B of few rows, or one that few rows of A use, is not packed.
 *
 * A number of C is S + a_0 b_0 + a_1 b_1 + .. in this order, in one accumulator, wherever its row and its column are;
 * with m = 1 it is the sum of four such sums over every fourth term.
 *
 * NULL where a build has no vectors of 32 bytes (v2), or not enough registers: BLAS is called instead
 * (_engine/gemm_packed.pxd).
 */
#ifndef LDL_GEMM_PACKED_H
#define LDL_GEMM_PACKED_H

#include <stddef.h>

#define LDL_GEMM_PACKED_TABLE(T)                                                                  \
    ptrdiff_t vector;           /* numbers of a vector */                                         \
    ptrdiff_t panel;            /* columns of a panel */                                          \
    /* op(B) (k, n) into panels, k times n rounded up to whole vectors; B is (n, k) if transposed */ \
    void (*pack)(ptrdiff_t k, ptrdiff_t n, int transposed, const T *B, ptrdiff_t ldb, T *packed); \
    /* C (m, n) = A B + S. A[i, p] is at A + i a_row + p a_depth. ldb: stride of the rows of B, or 0: B is packed. \
       S NULL: zeros; lds 0: one row for all; S may be C. */                                      \
    void (*multiply)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const T *A, ptrdiff_t a_row, ptrdiff_t a_depth, \
                     const T *B, ptrdiff_t ldb, const T *S, ptrdiff_t lds, T *C, ptrdiff_t ldc);

typedef struct { LDL_GEMM_PACKED_TABLE(float) } ldl_gemm_packed_f32;
typedef struct { LDL_GEMM_PACKED_TABLE(double) } ldl_gemm_packed_f64;

#endif
