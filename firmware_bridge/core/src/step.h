/* The step of a row of weights, shared by dense layers and convolutions. */
#ifndef EHFF_STEP_H
#define EHFF_STEP_H

#include "math.h"
#include "net.h"

/* w - (m * x + 64 * bits + 32) / 2^22: stochastic rounding with 16 random bits; the shift in two parts spares that by 64.
 * m: Q8 int8 steps; |m * x| <= 2^29: within int32. A macro, because compilers that save bytes would call it. */
#define MOVE_INT8(w, mx, bits)                                            \
    do {                                                                  \
        const int32_t d_ = ((((mx) + 32) >> 6) + (int32_t)(bits)) >> 16;  \
        if (d_ != 0) *(w) = (int8_t)ehff_clamp(*(w) - d_, EHFF_W8_LIMIT); \
    } while (0)

/* Where x is 0, 64 * bits + 32 < 2^22 moves nothing: a pair of zeros is skipped before its bits are drawn. */
static inline void step_pairs(int8_t *w, const int16_t *x, const int16_t *end, int32_t m, uint32_t key)
{
    do {
        const int32_t left = x[0], right = x[1];
        if ((left | right) != 0) {
            const uint32_t h = ehff_hash(key);
            MOVE_INT8(w, m * left, h & 0xFFFFu);
            MOVE_INT8(w + 1, m * right, h >> 16);
        }
        key += ehff_pair_step;
        w += 2;
        x += 2;
    } while (x < end);
}

/* A last odd column is a pair with 0, which leaves alone what lies behind the row. */
static inline void step_int8(int8_t *w, const int16_t *x, uint32_t n, int32_t m, uint32_t row_key)
{
    if (n > 1) step_pairs(w, x, x + (n & ~(uint32_t)1), m, row_key);
    if (n & 1) {
        const int16_t last[2] = {x[n - 1], 0};
        step_pairs(w + n - 1, last, last + 2, m, row_key + (n >> 1) * ehff_pair_step);
    }
}

/* w -= round_half_up(m * x), in int16 steps (int8 steps / 256). */
static inline void step_int16(int16_t *w, const int16_t *x, uint32_t n, int32_t m)
{
    const int16_t *const end = x + n;
    do {
        const int32_t d = (m * *x++ + 8192) >> 14;
        *w = (int16_t)ehff_clamp(*w - d, EHFF_W16_LIMIT);
        w++;
    } while (x < end);
}

/* factor and shift of rate / max(|y|, mean |y|), where rate = lr_w * n_in * R^2: lr_w times the squared length of a
 * fresh row, so that the rate is relative. Of lr_w * n_in <= 2^36 the upper part is enough where it has 16 bits.
 * Returns 0 where no step is to be taken. norm: |y|, Q8. */
static inline int step_factor(const ehff_net *net, const ehff_layer *layer, uint32_t norm, uint32_t *factor,
                              int32_t *shift)
{
    const uint32_t n_in = layer->n_in, mean = layer->norm_sum >> 10;
    int32_t norm_shift, rate_shift, down = 8;
    uint32_t rate = (net->lr_w >> 16) * n_in + (((net->lr_w & 0xFFFFu) * n_in) >> 16); /* R^2 is the 8 in down */
    if (rate >> 16)
        down += 16;
    else
        rate = net->lr_w * n_in;
    if ((net->flags & EHFF_CAP) && norm < mean) norm = mean;
    if (norm == 0 || rate == 0) return 0;
    *factor = ehff_reciprocal(norm, &norm_shift);
    *factor = (ehff_mantissa(rate, &rate_shift) * *factor) >> 16; /* 2^16 * 2^16 at most when both are largest */
    *shift = 44 + norm_shift - rate_shift - down;
    return 1;
}

static inline uint32_t step_tenth(uint32_t factor) { return factor * 52429 >> 19; } /* factor / 10 up to 2^16 */

/* Row i of a layer by m * x. */
static inline void step_row(const ehff_net *net, const ehff_layer *layer, uint32_t i, const int16_t *x, int32_t m,
                            uint32_t key)
{
    const uint32_t n_in = layer->n_in;
    if (ehff_is_int8(net))
        step_int8((int8_t *)ehff_at(net, layer->weights) + i * n_in, x, n_in, m, ehff_row_key(key, i));
    else
        step_int16((int16_t *)ehff_at(net, layer->weights) + i * n_in, x, n_in, m);
}

#endif
