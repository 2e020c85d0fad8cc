/* Class prototypes: cosines, logits in base 2, softmax, the gradient at the layer's output, and their update. */
#include "math.h"
#include "net.h"

/* cosine = round_half_up(p . u, 14).  |p|, |u| <= 1.01: partial sums below 2^28.1.
 * int8 prototypes: |p8| <= 127 * sqrt(65536) as for weights, then one product in 64 bits. */
void ehff_proto_cosines(const ehff_net *net, const ehff_layer *layer, const int16_t *u, int32_t *sum, int16_t *cosine)
{
    const uint32_t n = ehff_n_protos(net), n_out = ehff_head_dim(net, layer);
    const void *protos = ehff_at(net, layer->protos);
    uint32_t c;
    if (!EHFF_WITH_INT8_PROTOS || net->proto_bits == 16) {
        ehff_dot_int16((const int16_t *)protos, u, n_out, n, sum);
        for (c = 0; c < n; c++) cosine[c] = (int16_t)ehff_round_shift(sum[c], 14);
    } else {
        const uint16_t *scale = (const uint16_t *)ehff_at(net, layer->scales);
        ehff_dot_int8((const int8_t *)protos, u, n_out, n, sum);
        for (c = 0; c < n; c++) cosine[c] = (int16_t)ehff_round_shift64((int64_t)sum[c] * scale[c], 22);
    }
}

/* kappa * cosine, base 2, Q16.  |cosine| < 20700 and kappa <= 94548: below 2^30.9. */
static int32_t logit_of(const ehff_net *net, int32_t cosine)
{
    return ehff_round_shift(cosine * (int32_t)net->kappa, 8);
}

/* Over the K prototypes of a class: log2(mean of 2^logit), largest first so that nothing overflows. */
void ehff_proto_logits(const ehff_net *net, const int16_t *cosine, int32_t *logit)
{
    const uint32_t k = ehff_per_class(net);
    const int32_t log2_k = k > 1 ? (int32_t)ehff_log2(k) : 0;
    uint32_t c, i;
    for (c = 0; c < net->n_classes; c++, cosine += k) {
        int32_t top = logit_of(net, cosine[0]);
        if (k > 1) {
            uint32_t sum = 0;
            for (i = 1; i < k; i++) {
                int32_t v = logit_of(net, cosine[i]);
                if (v > top) top = v;
            }
            for (i = 0; i < k; i++) sum += ehff_exp2_neg((uint32_t)(top - logit_of(net, cosine[i])));
            top += (int32_t)ehff_log2(sum) - ((int32_t)15 << 16) - log2_k; /* sum is Q15 and at least 1.0 */
        }
        logit[c] = top;
    }
}

/* log2(sum of 2^logit), Q16.  The sum is Q15: at most 1024 * 2^15. */
int32_t ehff_proto_logsumexp(const int32_t *logit, uint32_t n)
{
    int32_t top = logit[0];
    uint32_t i, sum = 0;
    for (i = 1; i < n; i++)
        if (logit[i] > top) top = logit[i];
    for (i = 0; i < n; i++) sum += ehff_exp2_neg((uint32_t)(top - logit[i]));
    return top + (int32_t)ehff_log2(sum) - ((int32_t)15 << 16);
}

/* weight[i] = 2^logit[i] / sum, Q15, in place of the logits.  weight <= 2^15 because the top one counts in the sum. */
static void softmax(int32_t *v, uint32_t n)
{
    int32_t top = v[0], shift;
    uint32_t i, sum = 0, inverse;
    for (i = 1; i < n; i++)
        if (v[i] > top) top = v[i];
    for (i = 0; i < n; i++) {
        v[i] = (int32_t)ehff_exp2_neg((uint32_t)(top - v[i]));
        sum += (uint32_t)v[i];
    }
    inverse = ehff_reciprocal(sum, &shift); /* sum >= 2^15: shift >= 0, e * inverse <= 2^31 */
    for (i = 0; i < n; i++)
        v[i] = (int32_t)(((uint32_t)v[i] * inverse + ((uint32_t)1 << (15 + shift))) >> (16 + shift));
}

/* Softmax cross-entropy with the margin taken off the own class: error = p - onehot, Q15, spread over each
 * class's prototypes by their own softmax. error holds the classes' logits before; the last class is spread first,
 * because its prototypes lie behind all classes that still wait. */
void ehff_proto_error(const ehff_net *net, const int16_t *cosine, uint32_t label, int32_t *error)
{
    const uint32_t k = ehff_per_class(net);
    uint32_t c, i;
    error[label] -= logit_of(net, net->margin);
    softmax(error, net->n_classes);
    error[label] -= 32768;
    for (c = net->n_classes; k > 1 && c-- > 0;) {
        const int32_t of_class = error[c];
        int32_t *const share = error + c * k;
        for (i = 0; i < k; i++) share[i] = logit_of(net, cosine[c * k + i]);
        softmax(share, k);
        for (i = 0; i < k; i++) share[i] = ehff_round_shift(of_class * share[i], 15); /* |product| <= 2^30 */
    }
}

/* t = sum e p - (sum e cosine) u, Q29: the gradient at u without its part along u.
 * sum |e| <= 2 in Q15 with at most 4096 rounding halves, so each sum is below 2^30.1 and the difference,
 * a projection of the first, below 2^31. */
void ehff_proto_gradient(const ehff_net *net, const ehff_layer *layer, const int16_t *u, const int16_t *cosine,
                         const int32_t *error, int32_t *t)
{
    const uint32_t n = ehff_n_protos(net), n_out = ehff_head_dim(net, layer);
    const int16_t *p = (const int16_t *)ehff_at(net, layer->protos);
    int32_t *const end = t + n_out, *at;
    uint32_t c;
    int32_t along = 0;
    for (c = 0; c < n; c++) along += error[c] * cosine[c];
    along = ehff_round_shift(along, 14);
    at = t;
    do *at++ = -along * *u++;
    while (at < end);
    for (c = 0; c < n; c++) {
        const int32_t e = error[c];
        if (e == 0) {
            p += n_out;
            continue;
        }
        at = t;
        do *at++ += e * *p++;
        while (at < end);
    }
}

/* p = unit(p - lr_p * e * u). A step under 2^-11 (8 in Q14) is skipped, which no kernel can change.
 * |16 p| + |k u >> 10| <= 2^18.1 + 2^19: far inside the 2^30 of ehff_unit. */
void ehff_proto_learn(const ehff_net *net, const ehff_layer *layer, const int16_t *u, const int32_t *error,
                      int32_t *work)
{
    const uint32_t n = ehff_n_protos(net), n_out = ehff_head_dim(net, layer);
    int16_t *p = (int16_t *)ehff_at(net, layer->protos);
    uint32_t c, root;
    int32_t shift;
    for (c = 0; c < n; c++, p += n_out) {
        const int32_t k = ehff_round_shift(net->lr_p * error[c], 15);
        const int16_t *from = p, *const end = p + n_out, *at = u;
        int32_t *to = work;
        uint32_t bits = 0;
        if (k > -8 && k < 8) continue;
        do {
            const int32_t v = (int32_t)*from++ * 16 - ehff_round_shift(k * *at++, 10);
            bits |= ehff_magnitude(v);
            *to++ = v;
        } while (from < end);
        ehff_unit_of(work, n_out, bits, p, &root, &shift);
    }
}
