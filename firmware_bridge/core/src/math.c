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

/* floor(sqrt(v)) digit by digit: no division, so equal and cheap on cores without one. */
uint32_t ehff_isqrt64(uint64_t v)
{
    uint64_t root = 0, bit = (uint64_t)1 << 62;
    while (bit > v) bit >>= 2;
    for (; bit != 0; bit >>= 2) {
        if (v >= root + bit) {
            v -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return (uint32_t)root;
}

uint32_t ehff_mantissa(uint64_t v, int32_t *shift)
{
    int32_t s = 0;
    while (v >> 32) {
        v >>= 8;
        s += 8;
    }
    while (v >> 16) {
        v >>= 1;
        s++;
    }
    while (v < 32768) {
        v <<= 1;
        s--;
    }
    *shift = s;
    return (uint32_t)v;
}

uint32_t ehff_reciprocal(uint32_t v, int32_t *shift) { return ((uint32_t)1 << 31) / ehff_mantissa(v, shift); }

/* 2^-(i/32), Q15 */
static const uint16_t exp2_table[33] = {
    32768, 32066, 31379, 30706, 30048, 29405, 28774, 28158, 27554, 26964, 26386,
    25821, 25268, 24726, 24196, 23678, 23170, 22674, 22188, 21713, 21247, 20792,
    20347, 19911, 19484, 19066, 18658, 18258, 17867, 17484, 17109, 16743, 16384,
};

/* log2(1 + i/32), Q16 */
static const uint32_t log2_table[33] = {
    0,     2909,  5732,  8473,  11136, 13727, 16248, 18704, 21098, 23433, 25711,
    27936, 30109, 32234, 34312, 36346, 38336, 40286, 42196, 44068, 45904, 47705,
    49472, 51207, 52911, 54584, 56229, 57845, 59434, 60997, 62534, 64047, 65536,
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
    uint32_t whole = 31, at, rest;
    if (v == 0) return 0;
    while (v < (uint32_t)1 << 31) {
        v <<= 1;
        whole--;
    }
    at = (v >> 26) & 31;
    rest = (v >> 10) & 65535;
    return (whole << 16) + log2_table[at] + (((log2_table[at + 1] - log2_table[at]) * rest + 32768) >> 16);
}

/* Mantissas of 15 bits with one shared shift, so that the squares of 65,536 of them fit 46 bits; the root
 * carries 8 fraction bits. sign * ((|m| * inverse + half) >> k) rounds half away from zero: u(-a) = -u(a) where
 * no bit is shifted out of a.
 * |m| * inverse <= 2^15 * 2^16, half <= 2^24: within uint32. u <= 1.0: a lone element gives that or less for each
 * of the 2^14 mantissas, and others only make the root larger.
 * An element errs by at most 1.5 steps of Q14, and sqrt(n) / 2^15 of itself where the mantissas all round one
 * way; |u| errs by at most sqrt(n) / 2 + 1 steps (docs/explanation/arithmetic.md). */
int ehff_unit(const int32_t *a, uint32_t n, int16_t *u, uint32_t *root, int32_t *shift)
{
    uint32_t i, bits = 0, r, inverse;
    int32_t s = 0, inv_shift, k;
    uint64_t sum = 0;
    if (a == NULL || u == NULL || root == NULL || shift == NULL) return EHFF_ERR_NULL;
    if (n == 0 || n > EHFF_MAX_DIM) return EHFF_ERR_SHAPE;
    for (i = 0; i < n; i++) bits |= (uint32_t)(a[i] < 0 ? -a[i] : a[i]);
    if (bits == 0) {
        for (i = 0; i < n; i++) u[i] = 0;
        *root = 0;
        *shift = 0;
        return EHFF_OK;
    }
    while (bits >> (15 + s)) s++; /* bits < 2^31 */
    if (s == 0)
        while (!(bits >> (14 + s))) s--;
    /* multiplying by 2^-s keeps the loop the same for left shifts, and free of shifts of negative numbers */
    for (i = 0; i < n; i++) {
        int32_t m = s >= 0 ? ehff_round_shift(a[i], s) : a[i] * ((int32_t)1 << -s);
        sum += (uint64_t)((int64_t)m * m);
    }
    r = ehff_isqrt64(sum << 16);
    inverse = ehff_reciprocal(r, &inv_shift);
    k = 9 + inv_shift; /* r >= 2^22, so inv_shift >= 7 and k >= 16 */
    for (i = 0; i < n; i++) {
        int32_t m = s >= 0 ? ehff_round_shift(a[i], s) : a[i] * ((int32_t)1 << -s);
        uint32_t v = (uint32_t)(m < 0 ? -m : m) * inverse;
        v = (v + ((uint32_t)1 << (k - 1))) >> k;
        u[i] = (int16_t)(m < 0 ? -(int32_t)v : (int32_t)v);
    }
    *root = r;
    *shift = s - 8;
    return EHFF_OK;
}

/* The finalizer of MurmurHash3 (Austin Appleby, public domain): every input bit reaches every output bit. */
static uint32_t mix(uint32_t h)
{
    h ^= h >> 16;
    h *= 0x85EBCA6Bu;
    h ^= h >> 13;
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
    static const uint32_t table[16] = {0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
                                       0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
                                       0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
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
