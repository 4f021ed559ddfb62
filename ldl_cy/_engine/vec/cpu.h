/* What this processor offers: which tables of vec.h it can run, and flushing of denormals.
 *
 * Our own CPUID and XGETBV check: __builtin_cpu_supports needs libgcc, and is always 0 under zig.
 */
#ifndef LDL_CPU_H
#define LDL_CPU_H

#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__) || (defined(_M_X64) && !defined(_M_ARM64EC))
#define LDL_CPU_X86 1
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#include <xmmintrin.h>
#elif defined(_M_ARM64) && !defined(__clang__)
#include <intrin.h>
#endif

#ifdef LDL_CPU_X86

/* eax, ebx, ecx, edx of CPUID; zeros where the leaf does not exist */
static inline void ldl_cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
#if defined(_MSC_VER) && !defined(__clang__)
    int s[4] = {0, 0, 0, 0};
    __cpuid(s, 0);
    if ((uint32_t)s[0] < leaf) {
        r[0] = r[1] = r[2] = r[3] = 0;
        return;
    }
    __cpuidex(s, (int)leaf, (int)sub);
    for (int i = 0; i < 4; ++i)
        r[i] = (uint32_t)s[i];
#else
    r[0] = r[1] = r[2] = r[3] = 0;
    __get_cpuid_count(leaf, sub, &r[0], &r[1], &r[2], &r[3]);
#endif
}

/* the register states that the operating system saves */
static inline uint64_t ldl_xgetbv(void)
{
#if defined(_MSC_VER) && !defined(__clang__)
    return _xgetbv(0);
#else
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
#endif
}

/* How many of the n tables (v2, v3, v4) run here; v2 is assumed.
   macOS turns the ZMM state on at a thread's first use and does not show it before: v3 there. */
static inline int ldl_cpu_level(int n)
{
    const uint32_t osxsave_avx_fma = 1u << 27 | 1u << 28 | 1u << 12;
    const uint32_t bmi1_avx2_bmi2 = 1u << 3 | 1u << 5 | 1u << 8;
    const uint32_t avx512_f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    const uint64_t ymm = 0x6, zmm = 0xE6;
    uint32_t r[4];
    uint64_t saved;
    int level = 1;
    ldl_cpuid(1, 0, r);
    if ((r[2] & osxsave_avx_fma) == osxsave_avx_fma) {
        saved = ldl_xgetbv();
        ldl_cpuid(7, 0, r);
        if ((r[1] & bmi1_avx2_bmi2) == bmi1_avx2_bmi2 && (saved & ymm) == ymm) {
            level = 2;
            if ((r[1] & avx512_f_dq_bw_vl) == avx512_f_dq_bw_vl && (saved & zmm) == zmm)
                level = 3;
        }
    }
    return level < n ? level : n;
}

#else

static inline int ldl_cpu_level(int n)
{
    return n < 1 ? n : 1;
}

#endif

/* Arithmetic on denormals is up to a hundred times slower: workers flush them, and put the
   calling thread's mode back afterwards. Returns the mode before. */
static inline uint64_t ldl_flush_denormals(void)
{
#if defined(LDL_CPU_X86)
    uint32_t old = _mm_getcsr();
    _mm_setcsr(old | 0x8040);           /* FTZ: results; DAZ: operands */
    return old;
#elif defined(__aarch64__)
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old) : : "memory");
    __asm__ volatile("msr fpcr, %0" : : "r"(old | (1ull << 24)) : "memory");   /* FZ: both */
    return old;
#elif defined(_M_ARM64) && !defined(__clang__)
    uint64_t old = (uint64_t)_ReadStatusReg(ARM64_FPCR);
    _WriteStatusReg(ARM64_FPCR, (__int64)(old | (1ull << 24)));
    return old;
#else
    return 0;
#endif
}

static inline void ldl_restore_denormals(uint64_t old)
{
#if defined(LDL_CPU_X86)
    _mm_setcsr((uint32_t)old);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(old) : "memory");
#elif defined(_M_ARM64) && !defined(__clang__)
    _WriteStatusReg(ARM64_FPCR, (__int64)old);
#else
    (void)old;
#endif
}

#endif
