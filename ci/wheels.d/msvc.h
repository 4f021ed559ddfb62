/* Read first by ci/wheels.d/targets.sh, so that clang takes the branches that are written for Microsoft's compiler:
 * the system's headers under clang's own name, those of the library under Microsoft's. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <intrin.h>
#if defined(__aarch64__)
#define _M_ARM64 1
#define ARM64_FPCR 0x5A20
__int64 _ReadStatusReg(int);
void _WriteStatusReg(int, __int64);
#else
#define _M_X64 100
#undef _xgetbv
unsigned __int64 _xgetbv(unsigned);
void __cpuidex(int *, int, int);
#endif
#undef __forceinline
#define __forceinline inline
#undef __aarch64__
#undef __x86_64__
#undef __SSE2__
#undef __clang__
#undef __GNUC__
#define _MSC_VER 1940
#define __INTRIN_H                  /* clang's own, which is not for two names in one file */
