/* Integer arithmetic shared by the kernels. Bounds stand with each function. */
#ifndef EHFF_MATH_H
#define EHFF_MATH_H

#include "ehff/ehff.h"

/* Arithmetic right shift of negative numbers is what every supported compiler does; this makes it certain. */
typedef char ehff_needs_arithmetic_shift[((int32_t)-5 >> 1) == -3 ? 1 : -1];

/* round_half_up(v / 2^shift).  0 <= shift <= 30, |v| + 2^(shift-1) < 2^31. */
static inline int32_t ehff_round_shift(int32_t v, int32_t shift)
{
    return shift > 0 ? (v + ((int32_t)1 << (shift - 1))) >> shift : v;
}

/* round_half_up(v / 2^shift).  0 <= shift <= 62, |v| < 2^62. */
static inline int64_t ehff_round_shift64(int64_t v, int32_t shift)
{
    return shift > 0 ? (v + ((int64_t)1 << (shift - 1))) >> shift : v;
}

static inline int32_t ehff_clamp(int32_t v, int32_t limit) { return v > limit ? limit : v < -limit ? -limit : v; }

/* 1 / v as a mantissa: 1/v = inverse * 2^-(31 + shift) with 2^15 <= inverse <= 2^16.  v > 0.
 * Two truncations, each under 2^-15 of the value. */
uint32_t ehff_reciprocal(uint32_t v, int32_t *shift);

/* The 16 leading bits of v > 0: v = mantissa * 2^shift, rounded down, 2^15 <= mantissa < 2^16. */
uint32_t ehff_mantissa(uint64_t v, int32_t *shift);

/* Random bits by counter: a key for (seed, step, layer), from it one for a row, from it 16 bits a column. */
uint32_t ehff_layer_key(uint32_t seed, uint32_t step, uint32_t layer);
uint32_t ehff_row_key(uint32_t layer_key, uint32_t row);

/* 32 bits for columns 2 * pair (low half) and 2 * pair + 1 (high half). */
static inline uint32_t ehff_pair_bits(uint32_t row_key, uint32_t pair)
{
    uint32_t h = row_key + pair * 0x9E3779B9u;
    h ^= h >> 16;
    h *= 0x85EBCA6Bu;
    return h ^ (h >> 13);
}

#endif
