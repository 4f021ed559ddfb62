/* What all files of the vector kernels use: names per dtype, loops, whole lanes and tails.
 *
 * The kernels are plain loops that compilers vectorise. They run over multiples of LANES elements:
 * a piece that is shorter is copied into a buffer of LANES, so each element goes through the same
 * operations at any place in an array, and no loop needs a scalar twin for its end. Sums are kept in
 * LANES partial sums whatever the width of the registers, and these are added in a fixed tree:
 * so results differ between instruction sets only where one has fma and rounds once.
 */
#ifndef LDL_LANES_H
#define LDL_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES 16
#define CHUNK 128           /* elements of a buffer on the stack; a multiple of LANES */

#define LDL_CAT_(a, b) a##b
#define LDL_CAT(a, b) LDL_CAT_(a, b)
#define LDL_STR_(a) #a
#define LDL_STR(a) LDL_STR_(a)

#if defined(_MSC_VER) && !defined(__clang__)
#define INLINE static __forceinline
#define NOINLINE static __declspec(noinline)
#else
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#endif

/* "no iteration needs another one": arrays are the same or do not overlap. clang complains where
   the target has no vectors at all. */
#if defined(__wasm__) && !defined(__wasm_simd128__)
#define IVDEP
#elif defined(__clang__)
#define IVDEP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define IVDEP _Pragma("GCC ivdep")
#elif defined(_MSC_VER)
#define IVDEP __pragma(loop(ivdep))
#else
#define IVDEP
#endif

/* A loop over what registers hold, of at most 8 steps: written out, so that they are known by name. */
#if defined(__GNUC__)
#define UNROLL _Pragma("GCC unroll 8")
#else
#define UNROLL
#endif

/* Reductions that compilers do not vectorise are written with vectors of the registers' width;
   where the language has none, a vector is one number and the loops are those of plain C, as they
   are with LDL_PLAIN (ci/full tests them so). */
#if defined(__GNUC__) && !defined(LDL_PLAIN)
#define LDL_VECTORS
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#endif

/* n rounded down to whole lanes; the compiler then sees that loops end with them */
#define WHOLE(n) ((n) / LANES * LANES)
#define WHOLE_UP(n) WHOLE((n) + LANES - 1)

#endif
