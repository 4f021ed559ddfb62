/* Numbers of the caller's arrays that become indices. They were checked, but a callback, another thread or the owner of
 * a memmap may write to the array since: so each is read exactly once, and is clamped to the range where it is used.
 */
#ifndef LDL_INDEX_H
#define LDL_INDEX_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define LDL_UNLIKELY(x) __builtin_expect(x, 0)
#else
#define LDL_UNLIKELY(x) (x)
#endif

/* The class code *t, in 0 .. k - 1; NaN gives 0. The cast of what no integer holds is undefined. Branches,
   not a maximum and a minimum: they are predicted, so that the reads at the code need not wait for the comparisons. */
#define LDL_CODE(T, name)                                                                         \
    static inline ptrdiff_t name(const T *t, ptrdiff_t k)                                         \
    {                                                                                             \
        const T read = *(const volatile T *)t;                                                    \
        if (LDL_UNLIKELY(!(read >= 0 && read < (T)PTRDIFF_MAX)))                                  \
            return read > 0 ? k - 1 : 0;                                                          \
        const ptrdiff_t code = (ptrdiff_t)read;                                                   \
        return LDL_UNLIKELY(code >= k) ? k - 1 : code;                                            \
    }
LDL_CODE(float, ldl_code_f32)
LDL_CODE(double, ldl_code_f64)
#undef LDL_CODE

/* Column i of a sparse matrix, int64 where wide, else int32; a negative one is returned as a very large one. */
static inline size_t ldl_column(const char *columns, int wide, ptrdiff_t i)
{
    return wide ? (size_t)((const volatile long long *)columns)[i] : (size_t)((const volatile int *)columns)[i];
}

#endif
