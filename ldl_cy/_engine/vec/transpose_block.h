/* Transposition of square blocks in registers: b (n, n) = a (n, n) transposed, rows with strides lda and ldb.
 * Written with intrinsics for x86, where compilers do not find the shuffles; elsewhere plain loops.
 */
#ifndef LDL_TRANSPOSE_BLOCK_H
#define LDL_TRANSPOSE_BLOCK_H

#include "lanes.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>

INLINE void transpose_4x4_f32(const float *a, ptrdiff_t lda, float *b, ptrdiff_t ldb)
{
    const __m128 r0 = _mm_loadu_ps(a), r1 = _mm_loadu_ps(a + lda);
    const __m128 r2 = _mm_loadu_ps(a + 2 * lda), r3 = _mm_loadu_ps(a + 3 * lda);
    const __m128 s0 = _mm_unpacklo_ps(r0, r1), s1 = _mm_unpackhi_ps(r0, r1);
    const __m128 s2 = _mm_unpacklo_ps(r2, r3), s3 = _mm_unpackhi_ps(r2, r3);
    _mm_storeu_ps(b, _mm_movelh_ps(s0, s2));
    _mm_storeu_ps(b + ldb, _mm_movehl_ps(s2, s0));
    _mm_storeu_ps(b + 2 * ldb, _mm_movelh_ps(s1, s3));
    _mm_storeu_ps(b + 3 * ldb, _mm_movehl_ps(s3, s1));
}

INLINE void transpose_2x2_f64(const double *a, ptrdiff_t lda, double *b, ptrdiff_t ldb)
{
    const __m128d r0 = _mm_loadu_pd(a), r1 = _mm_loadu_pd(a + lda);
    _mm_storeu_pd(b, _mm_unpacklo_pd(r0, r1));
    _mm_storeu_pd(b + ldb, _mm_unpackhi_pd(r0, r1));
}

#else

INLINE void transpose_4x4_f32(const float *a, ptrdiff_t lda, float *b, ptrdiff_t ldb)
{
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
            b[j * ldb + i] = a[i * lda + j];
}

INLINE void transpose_2x2_f64(const double *a, ptrdiff_t lda, double *b, ptrdiff_t ldb)
{
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j)
            b[j * ldb + i] = a[i * lda + j];
}

#endif

#if defined(__AVX__)

/* Half of the rows are loaded into the lower, half into the upper part of a register: only shuffles
   within the parts remain */
#define PAIR_F32(r, c)                                                                            \
    _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(a + (r) * lda + (c))),               \
                         _mm_loadu_ps(a + ((r) + 4) * lda + (c)), 1)
#define PAIR_F64(r, c)                                                                            \
    _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(a + (r) * lda + (c))),               \
                         _mm_loadu_pd(a + ((r) + 2) * lda + (c)), 1)

INLINE void transpose_8x8_f32(const float *a, ptrdiff_t lda, float *b, ptrdiff_t ldb)
{
    for (int c = 0; c < 8; c += 4) {
        const __m256 r0 = PAIR_F32(0, c), r1 = PAIR_F32(1, c);
        const __m256 r2 = PAIR_F32(2, c), r3 = PAIR_F32(3, c);
        const __m256 s0 = _mm256_unpacklo_ps(r0, r1), s1 = _mm256_unpackhi_ps(r0, r1);
        const __m256 s2 = _mm256_unpacklo_ps(r2, r3), s3 = _mm256_unpackhi_ps(r2, r3);
        _mm256_storeu_ps(b + (c + 0) * ldb, _mm256_shuffle_ps(s0, s2, 0x44));
        _mm256_storeu_ps(b + (c + 1) * ldb, _mm256_shuffle_ps(s0, s2, 0xEE));
        _mm256_storeu_ps(b + (c + 2) * ldb, _mm256_shuffle_ps(s1, s3, 0x44));
        _mm256_storeu_ps(b + (c + 3) * ldb, _mm256_shuffle_ps(s1, s3, 0xEE));
    }
}

INLINE void transpose_4x4_f64(const double *a, ptrdiff_t lda, double *b, ptrdiff_t ldb)
{
    for (int c = 0; c < 4; c += 2) {
        const __m256d r0 = PAIR_F64(0, c), r1 = PAIR_F64(1, c);
        _mm256_storeu_pd(b + (c + 0) * ldb, _mm256_unpacklo_pd(r0, r1));
        _mm256_storeu_pd(b + (c + 1) * ldb, _mm256_unpackhi_pd(r0, r1));
    }
}

#undef PAIR_F32
#undef PAIR_F64

#else

/* four blocks of half the side */
INLINE void transpose_8x8_f32(const float *a, ptrdiff_t lda, float *b, ptrdiff_t ldb)
{
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 8; j += 4)
            transpose_4x4_f32(a + i * lda + j, lda, b + j * ldb + i, ldb);
}

INLINE void transpose_4x4_f64(const double *a, ptrdiff_t lda, double *b, ptrdiff_t ldb)
{
    for (int i = 0; i < 4; i += 2)
        for (int j = 0; j < 4; j += 2)
            transpose_2x2_f64(a + i * lda + j, lda, b + j * ldb + i, ldb);
}

#endif

#endif
