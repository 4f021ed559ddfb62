/* Atomics, variables of a thread, a pause, a clock and a static assertion on gcc, clang and MSVC. */
#ifndef LDL_PLATFORM_H
#define LDL_PLATFORM_H

#include <stdint.h>
#include <time.h>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
static inline long ldl_add(volatile long *p, long v) { return _InterlockedExchangeAdd(p, v); }
static inline long ldl_load(const volatile long *p) { return _InterlockedOr((volatile long *)p, 0); }
static inline void ldl_store(volatile long *p, long v) { _InterlockedExchange(p, v); }
static inline long ldl_swap(volatile long *p, long v) { return _InterlockedExchange(p, v); }
static inline int64_t ldl_add_64(volatile int64_t *p, int64_t v) { return _InterlockedExchangeAdd64(p, v); }
static inline int64_t ldl_load_64(const volatile int64_t *p) { return _InterlockedOr64((volatile int64_t *)p, 0); }
static inline void ldl_store_64(volatile int64_t *p, int64_t v) { _InterlockedExchange64(p, v); }
static inline int ldl_change(volatile long *p, long before, long after)
{
    return _InterlockedCompareExchange(p, after, before) == before;
}
#else
static inline long ldl_add(volatile long *p, long v) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }
static inline long ldl_load(const volatile long *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static inline void ldl_store(volatile long *p, long v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static inline long ldl_swap(volatile long *p, long v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }
static inline int64_t ldl_add_64(volatile int64_t *p, int64_t v) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }
static inline int64_t ldl_load_64(const volatile int64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static inline void ldl_store_64(volatile int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static inline int ldl_change(volatile long *p, long before, long after)
{
    return __atomic_compare_exchange_n(p, &before, after, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
#endif

/* A static variable that each thread has for itself, 0 in the beginning. */
#if defined(_MSC_VER)
#define LDL_THREAD_LOCAL __declspec(thread)
#else
#define LDL_THREAD_LOCAL __thread
#endif

/* Tell the core that this is a waiting loop. */
static inline void ldl_pause(void)
{
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
    _mm_pause();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
    __asm__ volatile("yield");
#endif
}

/* A statement that does not compile where a kernel's struct is larger than the memory it is laid over. */
#define LDL_ASSERT_FITS(own, available)                                                           \
    ((void)sizeof(struct { int struct_is_larger_than_op_sizes : (own) <= (available) ? 1 : -1; }))

/* Seconds on some clock, good enough to look for signals now and then. */
static inline double ldl_seconds(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
