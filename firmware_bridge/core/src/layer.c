/* One dense layer: y = W x, and the update of W from the layer's own gradient. */
#include "math.h"
#include "net.h"

/* |sum| <= |w| |x| <= 127 * sqrt(65536) * 16384 * 1.01 < 2^29.1, and so is every partial sum's bound. */
static int32_t dot_int8(const int8_t *w, const int16_t *x, uint32_t n)
{
    int32_t sum = 0;
    uint32_t j;
    for (j = 0; j < n; j++) sum += (int32_t)w[j] * x[j];
    return sum;
}

/* The view (w + 128) >> 8 lies in -127..127 because |w| <= 32512; bound as above. */
static int32_t dot_int16(const int16_t *w, const int16_t *x, uint32_t n)
{
    int32_t sum = 0;
    uint32_t j;
    for (j = 0; j < n; j++) sum += (int32_t)(int16_t)((int16_t)(w[j] + 128) >> 8) * x[j];
    return sum;
}

void ehff_layer_forward(const ehff_net *net, const ehff_layer *layer, const int16_t *x, int32_t *acc)
{
    const uint32_t n_in = layer->n_in;
    uint32_t i;
    for (i = 0; i < layer->n_out; i++) {
        int32_t y = net->recipe == EHFF_INT8
                        ? dot_int8((const int8_t *)ehff_at(net, layer->weights) + i * n_in, x, n_in)
                        : dot_int16((const int16_t *)ehff_at(net, layer->weights) + i * n_in, x, n_in);
        acc[i] = y > 0 ? y : 0;
    }
}

/* w - m * x with stochastic rounding by 16 random bits. m: Q8 int8 steps; |m * x| <= 2^29, plus 2^22: within int32. */
static inline int8_t moved_int8(int8_t w, int16_t x, int16_t m, uint32_t bits)
{
    return (int8_t)ehff_clamp(w - (((int32_t)m * x + (int32_t)(bits * 64) + 32) >> 22), EHFF_W8_LIMIT);
}

static void step_int8(int8_t *w, const int16_t *x, uint32_t n, int16_t m, uint32_t row_key)
{
    uint32_t j;
    for (j = 0; j + 1 < n; j += 2) {
        const uint32_t h = ehff_pair_bits(row_key, j >> 1);
        w[j] = moved_int8(w[j], x[j], m, h & 0xFFFFu);
        w[j + 1] = moved_int8(w[j + 1], x[j + 1], m, h >> 16);
    }
    if (j < n) w[j] = moved_int8(w[j], x[j], m, ehff_pair_bits(row_key, j >> 1) & 0xFFFFu);
}

/* w -= round_half_up(m * x), in int16 steps (int8 steps / 256). */
static void step_int16(int16_t *w, const int16_t *x, uint32_t n, int16_t m)
{
    uint32_t j;
    for (j = 0; j < n; j++) {
        const int32_t d = ((int32_t)m * x[j] + 8192) >> 14;
        w[j] = (int16_t)ehff_clamp(w[j] - d, EHFF_W16_LIMIT);
    }
}

/* dW = rate / max(|y|, mean |y|) * t x^T, where rate = lr_w * n_in * R^2: lr_w times the squared length of a
 * fresh row, so that the rate is relative.
 * A row's factor m is a 47-bit product rounded to Q8 and saturated; a row with m = 0 is skipped, which no
 * kernel can change. t: n_out, Q29, |t| < 2^31.  norm: |y|, Q8. */
void ehff_layer_learn(const ehff_net *net, const ehff_layer *layer, uint32_t index, const int16_t *x, const int16_t *u,
                      const int32_t *t, uint32_t norm)
{
    const uint32_t n_in = layer->n_in;
    const uint32_t mean = layer->norm_sum >> 10;
    uint32_t i, inverse, factor, key;
    int32_t norm_shift, rate_shift, shift;
    uint64_t rate = (uint64_t)net->lr_w * n_in * (EHFF_W_RMS * EHFF_W_RMS);
    if ((net->flags & EHFF_CAP) && norm < mean) norm = mean;
    if (norm == 0 || rate == 0) return;
    inverse = ehff_reciprocal(norm, &norm_shift);
    factor = (ehff_mantissa(rate, &rate_shift) * inverse) >> 16; /* 2^16 * 2^16 at most when both are largest */
    shift = 44 + norm_shift - rate_shift;
    if (shift > 62) return;
    if (shift < 0) shift = 0;
    key = ehff_layer_key(net->seed, net->step, index);
    for (i = 0; i < layer->n_out; i++) {
        uint32_t f = factor;
        int64_t m;
        if (u[i] == 0) {
            if (!(net->flags & EHFF_REVIVE) || t[i] >= 0) continue;
            f /= 10;
        }
        m = ehff_round_shift64((int64_t)t[i] * (int64_t)f, shift);
        if (m == 0) continue;
        if (m > 32767) m = 32767;
        if (m < -32767) m = -32767;
        if (net->recipe == EHFF_INT8)
            step_int8((int8_t *)ehff_at(net, layer->weights) + i * n_in, x, n_in, (int16_t)m, ehff_row_key(key, i));
        else
            step_int16((int16_t *)ehff_at(net, layer->weights) + i * n_in, x, n_in, (int16_t)m);
    }
}
