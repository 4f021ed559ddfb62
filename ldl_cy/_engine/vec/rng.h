/* Counter-based random numbers: u(key, i) needs no state, so any thread can draw any element.
 *
 * SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014):
 * its i-th output is mix(key + (i + 1) gamma), a pure function of key and i. Keys are made by
 * chaining the same mix over (seed, epoch, step, layer).
 */
#ifndef LDL_RNG_H
#define LDL_RNG_H

#include <stdint.h>

#define LDL_GAMMA 0x9E3779B97F4A7C15ULL

static inline uint64_t ldl_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

/* the i-th 64-bit number of the stream `key` */
static inline uint64_t ldl_draw(uint64_t key, uint64_t i)
{
    return ldl_mix(key + (i + 1) * LDL_GAMMA);
}

/* the key of a stream named by one more number */
static inline uint64_t ldl_key(uint64_t key, uint64_t name)
{
    return ldl_mix(ldl_mix(key) ^ ldl_mix(name + LDL_GAMMA));
}

/* uniform on [0, 1) with 53 bits */
static inline double ldl_uniform(uint64_t key, uint64_t i)
{
    return (double)(ldl_draw(key, i) >> 11) * 0x1.0p-53;
}

#endif
