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

/* v within -limit..limit: one comparison where nothing is to be done. */
static inline int32_t ehff_clamp(int32_t v, int32_t limit)
{
    if ((uint32_t)v + (uint32_t)limit > 2 * (uint32_t)limit) v = v < 0 ? -limit : limit;
    return v;
}

static inline uint32_t ehff_magnitude(int32_t v) { return (uint32_t)(v < 0 ? -v : v); }

/* round_half_up(v * factor / 2^8) without 64 bits.  |v| < 2^25 and factor <= 1024, or |v| < 2^17 and factor < 2^16. */
static inline int32_t ehff_times_q8(int32_t v, int32_t factor)
{
    return (v >> 8) * factor + (((v & 255) * factor + 128) >> 8);
}

/* clamp(round_half_up((upper * 2^16 + lower) * factor / 2^shift), 32767) without 64 bits, in the product's upper part.
 * lower < 2^16, 0 <= shift <= 47, and (upper + 1) * factor within -2^31..2^31: |upper| <= 2^15 and factor <= 2^16. */
int32_t ehff_scaled(int32_t upper, uint32_t lower, uint32_t factor, int32_t shift);

/* 1 / v as a mantissa: 1/v = inverse * 2^-(31 + shift) with 2^15 <= inverse <= 2^16.  v > 0.
 * Two truncations, each under 2^-15 of the value. */
uint32_t ehff_reciprocal(uint32_t v, int32_t *shift);

/* The 16 leading bits of v > 0: v = mantissa * 2^shift, rounded down, 2^15 <= mantissa < 2^16. */
uint32_t ehff_mantissa(uint32_t v, int32_t *shift);

/* ehff_unit for a caller that has gathered the magnitudes' bits: bits is all |a[i]| or-ed. n, pointers unchecked. */
void ehff_unit_of(const int32_t *a, uint32_t n, uint32_t bits, int16_t *u, uint32_t *root, int32_t *shift);

/* Sum of the squares of 16-bit values: <= 65536 * 2^30. */
uint64_t ehff_squares(const int16_t *x, uint32_t n);

/* x = x / |x| in place, the same values as ehff_unit gives. */
void ehff_unit_int16(int16_t *x, uint32_t n);

/* y[i] = sum of w[i * n + j] * x[j], over rows of n; of view, what the forward pass sees of an int16 weight. */
void ehff_dot_int8(const int8_t *w, const int16_t *x, uint32_t n, uint32_t rows, int32_t *y);
void ehff_dot_int16(const int16_t *w, const int16_t *x, uint32_t n, uint32_t rows, int32_t *y);
void ehff_dot_view(const int16_t *w, const int16_t *x, uint32_t n, uint32_t rows, int32_t *y);

/* Random bits by counter: a key for (seed, step, layer), from it one for a row, from it 16 bits a column. */
uint32_t ehff_layer_key(uint32_t seed, uint32_t step, uint32_t layer);
uint32_t ehff_row_key(uint32_t layer_key, uint32_t row);

/* From one pair of columns to the next, and the hash's factor. Kept in memory: of a constant known to the compiler some
 * make a chain of shifts and additions, 17 instructions on a Cortex-M0. */
extern const EHFF_FLASH uint32_t ehff_pair_step, ehff_pair_factor;

/* The random bits of the pair whose counter is h. */
static inline uint32_t ehff_hash(uint32_t h)
{
    h ^= h >> 16;
    h *= ehff_pair_factor;
    return h ^ (h >> 13);
}

/* 32 bits for columns 2 * pair (low half) and 2 * pair + 1 (high half). */
static inline uint32_t ehff_pair_bits(uint32_t row_key, uint32_t pair)
{
    return ehff_hash(row_key + pair * ehff_pair_step);
}

#endif
