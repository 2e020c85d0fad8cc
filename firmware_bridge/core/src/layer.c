/* One dense layer: y = W x, and the update of W from the layer's own gradient. */
#include "step.h"

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

/* dW = rate / max(|y|, mean |y|) * t x^T.
 * A row's factor m is a 47-bit product rounded to Q8 and saturated; a row with m = 0 is skipped, which no
 * kernel can change: so is every row where shift > 47. t: n_out, Q29, |t| < 2^31.  norm: |y|, Q8. */
void ehff_layer_learn(const ehff_net *net, const ehff_layer *layer, uint32_t index, const int16_t *x, const int16_t *u,
                      const int32_t *t, uint32_t norm)
{
    uint32_t i, factor, tenth, key;
    int32_t shift;
    if (!step_factor(net, layer, norm, &factor, &shift) || shift > 47) return;
    if (shift < 0) shift = 0;
    tenth = step_tenth(factor);
    key = ehff_layer_key(net->seed, net->step, index);
    for (i = 0; i < layer->n_out; i++) {
        uint32_t f = factor;
        int32_t m;
        if (u[i] == 0) {
            if (!(net->flags & EHFF_REVIVE) || t[i] >= 0) continue;
            f = tenth;
        }
        m = ehff_scaled(t[i] >> 16, (uint32_t)t[i] & 0xFFFFu, f, shift);
        if (m != 0) step_row(net, layer, i, x, m, key);
    }
}
