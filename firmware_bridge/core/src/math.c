/* Roots, reciprocals, powers and logarithms of two, unit vectors, random bits by counter, CRC-32. */
#include "math.h"

uint32_t ehff_abi_version(void) { return EHFF_ABI_VERSION; }

const char *ehff_status_text(int status)
{
#define EHFF_STATUS_CASE(name, value, text) \
    case value:                             \
        return text;
    switch (status) {
        EHFF_STATUS_LIST(EHFF_STATUS_CASE)
    default:
        return "no such status";
    }
#undef EHFF_STATUS_CASE
}

/* floor(sqrt(v)) digit by digit, two bits of v a turn, in 32 bits: no division, so equal and cheap on cores without
 * one. The remainder never exceeds 2 * root; 4 * rest + pair >= 4 * root + 1 is asked without the factor 4, which
 * overflows in the last turns. The last turn's remainder may lose a bit and is not used. */
uint32_t ehff_isqrt64(uint64_t v)
{
    uint32_t root = 0, rest = 0, half;
    for (half = 0; half < 2; half++) {
        uint32_t word = half == 0 ? (uint32_t)(v >> 32) : (uint32_t)v, turns = 16;
        if (root == 0)
            for (; turns != 0 && word >> 30 == 0; turns--) word <<= 2;
        while (turns-- != 0) {
            const uint32_t pair = word >> 30;
            word <<= 2;
            if (rest > root || (rest == root && pair != 0)) {
                rest = (rest - root) * 4 + pair - 1;
                root = root * 2 + 1;
            } else {
                rest = rest * 4 + pair;
                root *= 2;
            }
        }
    }
    return root;
}

uint32_t ehff_mantissa(uint32_t v, int32_t *shift)
{
    int32_t s = 0;
    for (; v >> 20; s += 4) v >>= 4;
    for (; v >> 16; s++) v >>= 1;
    for (; v < 32768; s--) v <<= 1;
    *shift = s;
    return v;
}

uint32_t ehff_reciprocal(uint32_t v, int32_t *shift)
{
    const uint32_t m = ehff_mantissa(v, shift);
#if EHFF_DIVIDES
    return ((uint32_t)1 << 31) / m;
#else
    uint32_t rest = (uint32_t)1 << 15, quotient = 0, turns = 17; /* the quotient's bits, from that of 2^16 on */
    if (rest < m) rest *= 2, turns = 16;
    do {
        quotient *= 2;
        if (rest >= m) {
            rest -= m;
            quotient++;
        }
        rest *= 2;
    } while (--turns != 0);
    return quotient;
#endif
}

/* Up to a shift of 16 the product's lower part alone counts, or the limit does. */
int32_t ehff_scaled(int32_t upper, uint32_t lower, uint32_t factor, int32_t shift)
{
    int32_t v = upper * (int32_t)factor + (int32_t)((lower * factor) >> 16);
    if (shift > 16)
        shift -= 16;
    else if (v >= -32768 && v <= 32767)
        v = (int32_t)((((uint32_t)upper << 16) + lower) * factor);
    else
        shift = 0;
    if (shift > 0) v = ((v >> (shift - 1)) + 1) >> 1;
    return ehff_clamp(v, 32767);
}

/* 2^-(i/32), Q15 */
static const EHFF_FLASH uint16_t exp2_table[33] = {
    32768, 32066, 31379, 30706, 30048, 29405, 28774, 28158, 27554, 26964, 26386,
    25821, 25268, 24726, 24196, 23678, 23170, 22674, 22188, 21713, 21247, 20792,
    20347, 19911, 19484, 19066, 18658, 18258, 17867, 17484, 17109, 16743, 16384,
};

/* log2(1 + i/32), Q16, modulo 2^16: the last one is 65536 */
static const EHFF_FLASH uint16_t log2_table[33] = {
    0,     2909,  5732,  8473,  11136, 13727, 16248, 18704, 21098, 23433, 25711,
    27936, 30109, 32234, 34312, 36346, 38336, 40286, 42196, 44068, 45904, 47705,
    49472, 51207, 52911, 54584, 56229, 57845, 59434, 60997, 62534, 64047, 0,
};

uint32_t ehff_exp2_neg(uint32_t z)
{
    uint32_t whole = z >> 16, at = (z >> 11) & 31, rest = z & 2047, v;
    if (whole > 15) return 0;
    v = ((uint32_t)exp2_table[at] << 11) - (uint32_t)(exp2_table[at] - exp2_table[at + 1]) * rest; /* Q26 */
    return (uint32_t)ehff_round_shift((int32_t)v, 11 + (int32_t)whole);
}

uint32_t ehff_log2(uint32_t v)
{
    uint32_t whole = 31, at, rest, rise;
    if (v == 0) return 0;
    while (v < (uint32_t)1 << 31) {
        v <<= 1;
        whole--;
    }
    at = (v >> 26) & 31;
    rest = (v >> 10) & 65535;
    rise = (uint16_t)(log2_table[at + 1] - log2_table[at]);
    return (whole << 16) + log2_table[at] + ((rise * rest + 32768) >> 16);
}

/* What divides every element of a vector by its length. */
typedef struct {
    uint32_t root, inverse, half;
    int32_t down;
} ehff_divisor;

/* sum: of squares, at least 2^28 after 2 * up more bits, which makes mantissas of 15 bits of elements that have fewer:
 * |a| * (inverse << up) is |m| * inverse. The root carries 8 fraction bits. */
static ehff_divisor divisor_of(uint64_t sum, int32_t up)
{
    ehff_divisor d;
    int32_t inverse_shift, i;
    for (i = 0; i < up; i++) sum <<= 2;
    d.root = ehff_isqrt64(sum << 16);
    d.inverse = ehff_reciprocal(d.root, &inverse_shift) << up;
    d.down = 9 + inverse_shift; /* root >= 2^22, so inverse_shift >= 7 and down >= 16 */
    d.half = (uint32_t)1 << (d.down - 1);
    return d;
}

/* Mantissas of 15 bits with one shared shift, so that the squares of 65,536 of them fit 46 bits, which are summed in
 * two words of 31 and 15 bits. sign * ((|m| * inverse + half) >> k) rounds half away from zero: u(-a) = -u(a) where no bit is shifted out
 * of a. u keeps the |m| <= 2^15 from the first loop to the second.
 * |m| * inverse <= 2^15 * 2^16, half <= 2^24: within uint32. u <= 1.0: a lone element gives that or less for each
 * of the 2^14 mantissas, and others only make the root larger.
 * An element errs by at most 1.5 steps of Q14, and sqrt(n) / 2^15 of itself where the mantissas all round one
 * way; |u| errs by at most sqrt(n) / 2 + 1 steps (docs/explanation/arithmetic.md). */
void ehff_unit_of(const int32_t *a, uint32_t n, uint32_t bits, int16_t *u, uint32_t *root, int32_t *shift)
{
    const int32_t *const end = a + n, *at = a;
    uint16_t *m = (uint16_t *)u;
    int32_t s = 0, half = 0;
    uint32_t low = 0, high = 0;
    ehff_divisor d;
    *root = 0;
    *shift = 0;
    if (bits == 0) {
        for (; a < end; a++) *u++ = 0;
        return;
    }
    for (; bits >> 15; bits >>= 1) s++; /* bits < 2^31 */
    if (s > 0) half = (int32_t)1 << (s - 1);
    do {
        uint32_t v = ehff_magnitude((*at++ + half) >> s);
        *m++ = (uint16_t)v;
        v *= v;
        low += v;
        if (low >> 31) {
            low -= (uint32_t)1 << 31;
            high++;
        }
    } while (at < end);
    for (; bits >> 14 == 0; bits <<= 1) s--;
    d = divisor_of((uint64_t)high << 31 | low, s < 0 ? -s : 0);
    m = (uint16_t *)u;
    do {
        int32_t v = (int32_t)((*m * d.inverse + d.half) >> d.down);
        if (*a++ < 0) v = -v;
        *m++ = (uint16_t)v;
    } while (a < end);
    *root = d.root;
    *shift = s - 8;
}

int ehff_unit(const int32_t *a, uint32_t n, int16_t *u, uint32_t *root, int32_t *shift)
{
    uint32_t i, bits = 0;
    if (a == NULL || u == NULL || root == NULL || shift == NULL) return EHFF_ERR_NULL;
    if (n == 0 || n > EHFF_MAX_DIM) return EHFF_ERR_SHAPE;
    for (i = 0; i < n; i++) bits |= ehff_magnitude(a[i]);
    ehff_unit_of(a, n, bits, u, root, shift);
    return EHFF_OK;
}

uint64_t ehff_squares(const int16_t *x, uint32_t n)
{
    const int16_t *const end = x + n;
    uint32_t low = 0, high = 0;
    do {
        const uint32_t square = (uint32_t)(*x * (int32_t)*x);
        x++;
        low += square;
        if (low >> 31) {
            low -= (uint32_t)1 << 31;
            high++;
        }
    } while (x < end);
    return (uint64_t)high << 31 | low;
}

/* Values of 16 bits are their own mantissas but for the shift, in any way that keeps 16 leading bits of the root. Only
 * -32768 has a bit too many, and where it stands all are rounded to 15 bits first. */
void ehff_unit_int16(int16_t *x, uint32_t n)
{
    int16_t *const end = x + n;
    int16_t *at;
    uint64_t sum = ehff_squares(x, n), top;
    ehff_divisor d;
    int32_t up = 0;
    if (sum == 0) return;
    for (at = sum >> 30 ? x : end; at < end && *at != -32768;) at++;
    if (at < end) {
        for (at = x; at < end; at++) *at = (int16_t)(((int32_t)*at + 1) >> 1);
        sum = ehff_squares(x, n);
    }
    for (top = sum; top >> 28 == 0; top <<= 2) up++; /* |x| * 2^up stays below 2^15 */
    d = divisor_of(sum, up);
    do {
        int32_t v = *x;
        if (v != 0) {
            v = (int32_t)((ehff_magnitude(v) * d.inverse + d.half) >> d.down);
            if (*x < 0) v = -v;
            *x = (int16_t)v;
        }
    } while (++x < end);
}

const EHFF_FLASH uint32_t ehff_pair_step = 0x9E3779B9u, ehff_pair_factor = 0x85EBCA6Bu;

/* The finalizer of MurmurHash3 (Austin Appleby, public domain): every input bit reaches every output bit. */
static uint32_t mix(uint32_t h)
{
    h = ehff_hash(h);
    h *= 0xC2B2AE35u;
    return h ^ (h >> 16);
}

/* The seed is offset before mixing, so that no seed is special and 0 differs from 1. */
uint32_t ehff_layer_key(uint32_t seed, uint32_t step, uint32_t layer)
{
    return mix(mix(mix(seed + 0x9E3779B9u) + step) + layer * 0x85EBCA77u);
}

uint32_t ehff_row_key(uint32_t layer_key, uint32_t row) { return mix(layer_key + row * 0xC2B2AE3Du); }

uint32_t ehff_random(uint32_t seed, uint32_t step, uint32_t layer, uint32_t row, uint32_t column)
{
    uint32_t h = ehff_pair_bits(ehff_row_key(ehff_layer_key(seed, step, layer), row), column >> 1);
    return column & 1 ? h >> 16 : h & 0xFFFFu;
}

/* zlib's CRC-32, four bits at a time. */
uint32_t ehff_crc32(uint32_t crc, const uint8_t *bytes, uint32_t n)
{
    static const EHFF_FLASH uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    uint32_t i;
    if (bytes == NULL) return crc;
    crc = ~crc;
    for (i = 0; i < n; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return ~crc;
}
