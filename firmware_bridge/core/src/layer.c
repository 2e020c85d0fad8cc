/* One dense layer: y = W x, and the update of W from the layer's own gradient. */
#include "math.h"
#include "net.h"

/* relu(W x), and all its bits or-ed.
 * int8: |sum| <= |w| |x| <= 127 * sqrt(65536) * 16384 * 1.01 < 2^29.1, and so is every partial sum's bound.
 * int16: the view (w + 128) >> 8 lies in -127..127 because |w| <= 32512; bound as above. */
uint32_t ehff_layer_forward(const ehff_net *net, const ehff_layer *layer, const int16_t *x, int32_t *acc)
{
    const int32_t *const end = acc + layer->n_out;
    const void *weights = ehff_at(net, layer->weights);
    uint32_t bits = 0;
    if (ehff_is_int8(net))
        ehff_dot_int8((const int8_t *)weights, x, layer->n_in, layer->n_out, acc);
    else
        ehff_dot_view((const int16_t *)weights, x, layer->n_in, layer->n_out, acc);
    do {
        if (*acc < 0) *acc = 0;
        bits |= (uint32_t)*acc++;
    } while (acc < end);
    return bits;
}

/* w - (m * x + 64 * bits + 32) / 2^22: stochastic rounding with 16 random bits; the shift in two parts spares that by 64.
 * m: Q8 int8 steps; |m * x| <= 2^29: within int32. A macro, because compilers that save bytes would call it. */
#define MOVE_INT8(w, mx, bits)                                            \
    do {                                                                  \
        const int32_t d_ = ((((mx) + 32) >> 6) + (int32_t)(bits)) >> 16;  \
        if (d_ != 0) *(w) = (int8_t)ehff_clamp(*(w) - d_, EHFF_W8_LIMIT); \
    } while (0)

/* Where x is 0, 64 * bits + 32 < 2^22 moves nothing: a pair of zeros is skipped before its bits are drawn. */
static void step_pairs(int8_t *w, const int16_t *x, const int16_t *end, int32_t m, uint32_t key)
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
static void step_int8(int8_t *w, const int16_t *x, uint32_t n, int32_t m, uint32_t row_key)
{
    if (n > 1) step_pairs(w, x, x + (n & ~(uint32_t)1), m, row_key);
    if (n & 1) {
        const int16_t last[2] = {x[n - 1], 0};
        step_pairs(w + n - 1, last, last + 2, m, row_key + (n >> 1) * ehff_pair_step);
    }
}

/* w -= round_half_up(m * x), in int16 steps (int8 steps / 256). */
static void step_int16(int16_t *w, const int16_t *x, uint32_t n, int32_t m)
{
    const int16_t *const end = x + n;
    do {
        const int32_t d = (m * *x++ + 8192) >> 14;
        *w = (int16_t)ehff_clamp(*w - d, EHFF_W16_LIMIT);
        w++;
    } while (x < end);
}

/* dW = rate / max(|y|, mean |y|) * t x^T, where rate = lr_w * n_in * R^2: lr_w times the squared length of a
 * fresh row, so that the rate is relative. Of lr_w * n_in <= 2^36 the upper part is enough where it has 16 bits.
 * A row's factor m is a 47-bit product rounded to Q8 and saturated; a row with m = 0 is skipped, which no
 * kernel can change: so is every row where shift > 47. t: n_out, Q29, |t| < 2^31.  norm: |y|, Q8. */
void ehff_layer_learn(const ehff_net *net, const ehff_layer *layer, uint32_t index, const int16_t *x, const int16_t *u,
                      const int32_t *t, uint32_t norm)
{
    const uint32_t n_in = layer->n_in, mean = layer->norm_sum >> 10;
    uint32_t i, factor, tenth, key;
    int32_t norm_shift, rate_shift, shift = 8;
    uint32_t rate = (net->lr_w >> 16) * n_in + (((net->lr_w & 0xFFFFu) * n_in) >> 16); /* R^2 is the 8 in shift */
    if (rate >> 16)
        shift += 16;
    else
        rate = net->lr_w * n_in;
    if ((net->flags & EHFF_CAP) && norm < mean) norm = mean;
    if (norm == 0 || rate == 0) return;
    factor = ehff_reciprocal(norm, &norm_shift);
    factor = (ehff_mantissa(rate, &rate_shift) * factor) >> 16; /* 2^16 * 2^16 at most when both are largest */
    shift = 44 + norm_shift - rate_shift - shift;
    if (shift > 47) return;
    if (shift < 0) shift = 0;
    tenth = factor * 52429 >> 19; /* factor / 10 up to 2^16 */
    key = ehff_layer_key(net->seed, net->step, index);
    for (i = 0; i < layer->n_out; i++) {
        uint32_t f = factor;
        int32_t m;
        if (u[i] == 0) {
            if (!(net->flags & EHFF_REVIVE) || t[i] >= 0) continue;
            f = tenth;
        }
        m = ehff_scaled(t[i] >> 16, (uint32_t)t[i] & 0xFFFFu, f, shift);
        if (m == 0) continue;
        if (ehff_is_int8(net))
            step_int8((int8_t *)ehff_at(net, layer->weights) + i * n_in, x, n_in, m, ehff_row_key(key, i));
        else
            step_int16((int16_t *)ehff_at(net, layer->weights) + i * n_in, x, n_in, m);
    }
}
