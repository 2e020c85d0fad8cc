/* What a network holds: rates, counters, direct access, checks, statistics, checksums. */
#include "math.h"
#include "net.h"

int ehff_net_set_rates(ehff_net *net, uint32_t lr_w, uint16_t lr_p)
{
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    if (lr_w > EHFF_MAX_LR_W || lr_p > EHFF_MAX_LR_P) return EHFF_ERR_RANGE;
    net->lr_w = lr_w;
    net->lr_p = lr_p;
    return EHFF_OK;
}

int ehff_net_set_first_layer(ehff_net *net, uint8_t first_layer)
{
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    if (first_layer > net->n_layers) return EHFF_ERR_RANGE;
    net->first_layer = first_layer;
    return EHFF_OK;
}

int ehff_net_set_gate(ehff_net *net, uint16_t gate)
{
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    if (gate > EHFF_MAX_GATE && gate != EHFF_GATE_OFF) return EHFF_ERR_RANGE;
    net->gate = gate;
    return EHFF_OK;
}

int ehff_net_get_step(const ehff_net *net, uint32_t *step)
{
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    if (step == NULL) return EHFF_ERR_NULL;
    *step = net->step;
    return EHFF_OK;
}

int ehff_net_set_step(ehff_net *net, uint32_t step)
{
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    net->step = step;
    return EHFF_OK;
}

static ehff_layer *layer_at(const ehff_net *net, uint8_t layer)
{
    return ehff_net_valid(net) && layer < net->n_layers ? ehff_layers(net) + layer : NULL;
}

void *ehff_net_weights(ehff_net *net, uint8_t layer)
{
    const ehff_layer *at = layer_at(net, layer);
    return at == NULL ? NULL : ehff_at(net, at->weights);
}

void *ehff_net_protos(ehff_net *net, uint8_t layer)
{
    const ehff_layer *at = layer_at(net, layer);
    return at == NULL ? NULL : ehff_at(net, at->protos);
}

uint16_t *ehff_net_proto_scales(ehff_net *net, uint8_t layer)
{
    const ehff_layer *at = layer_at(net, layer);
    return at == NULL || !EHFF_WITH_INT8_PROTOS || net->proto_bits != 8 ? NULL : (uint16_t *)ehff_at(net, at->scales);
}

int ehff_net_get_norm_sum(const ehff_net *net, uint8_t layer, uint32_t *norm_sum)
{
    const ehff_layer *at = layer_at(net, layer);
    if (at == NULL) return EHFF_ERR_STATE;
    if (norm_sum == NULL) return EHFF_ERR_NULL;
    *norm_sum = at->norm_sum;
    return EHFF_OK;
}

int ehff_net_set_norm_sum(ehff_net *net, uint8_t layer, uint32_t norm_sum)
{
    ehff_layer *at = layer_at(net, layer);
    if (at == NULL) return EHFF_ERR_STATE;
    if (norm_sum >> 10 > EHFF_NORM_MAX) return EHFF_ERR_RANGE;
    at->norm_sum = norm_sum;
    return EHFF_OK;
}

/* |w[i]| in int8 steps, or int16 steps, by recipe. */
static uint32_t weight_magnitude(const ehff_net *net, const ehff_layer *layer, uint32_t i)
{
    const int32_t w = ehff_is_int8(net) ? ((const int8_t *)ehff_at(net, layer->weights))[i]
                                        : ((const int16_t *)ehff_at(net, layer->weights))[i];
    return (uint32_t)(w < 0 ? -w : w);
}

static uint32_t weight_limit(const ehff_net *net) { return ehff_is_int8(net) ? EHFF_W8_LIMIT : EHFF_W16_LIMIT; }

int ehff_net_check(ehff_net *net)
{
    uint32_t l, c, i;
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    for (l = 0; l < ehff_n_layers(net); l++) {
        const ehff_layer *layer = ehff_layers(net) + l;
        for (i = 0; i < layer->n_in * layer->n_out; i++)
            if (weight_magnitude(net, layer, i) > weight_limit(net)) return EHFF_ERR_RANGE;
        for (c = 0; c < ehff_n_protos(net); c++) {
            const uint32_t n = ehff_head_dim(net, layer);
            uint64_t sum = 0, limit = (uint64_t)EHFF_MAX_LENGTH * EHFF_MAX_LENGTH;
            if (!EHFF_WITH_INT8_PROTOS || net->proto_bits == 16) {
                sum = ehff_squares((const int16_t *)ehff_at(net, layer->protos) + c * n, n);
            } else {
                const int8_t *p = (const int8_t *)ehff_at(net, layer->protos) + c * n;
                const uint64_t scale = ((const uint16_t *)ehff_at(net, layer->scales))[c];
                for (i = 0; i < n; i++) {
                    if (p[i] < -127) return EHFF_ERR_RANGE;
                    sum += (uint32_t)((int32_t)p[i] * p[i]);
                }
                /* sum <= 2^30, scale^2 < 2^32. int8 rounding adds up to half a step of scale an element: they may
                 * be sqrt(3/2) times longer. Logits then stay below 2^23, and 32 layers joined at weight 4 below 2^31 */
                sum = (sum * (scale * scale)) >> 16;
                limit += limit / 2;
            }
            if (sum > limit) return EHFF_ERR_RANGE;
        }
    }
    return EHFF_OK;
}

int ehff_net_layer_stats(const ehff_net *net, uint8_t layer, ehff_layer_stats *stats)
{
    const ehff_layer *at = layer_at(net, layer);
    uint32_t i;
    if (at == NULL) return EHFF_ERR_STATE;
    if (stats == NULL) return EHFF_ERR_NULL;
    stats->n_in = at->n_in;
    stats->n_out = at->n_out;
    stats->updates = at->updates;
    stats->norm = at->norm_sum >> 10;
    stats->saturated = 0;
    for (i = 0; i < at->n_in * at->n_out; i++) stats->saturated += weight_magnitude(net, at, i) == weight_limit(net);
    return EHFF_OK;
}

static uint32_t crc16_values(uint32_t crc, const void *values, uint32_t n, uint32_t bytes_each)
{
    uint32_t i;
    if (bytes_each == 1) return ehff_crc32(crc, (const uint8_t *)values, n);
    for (i = 0; i < n; i++) {
        const uint16_t v = (uint16_t)((const int16_t *)values)[i];
        uint8_t b[2];
        b[0] = (uint8_t)v;
        b[1] = (uint8_t)(v >> 8);
        crc = ehff_crc32(crc, b, 2);
    }
    return crc;
}

static uint32_t crc_u32(uint32_t crc, uint32_t v)
{
    uint8_t b[4];
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
    b[2] = (uint8_t)(v >> 16);
    b[3] = (uint8_t)(v >> 24);
    return ehff_crc32(crc, b, 4);
}

uint32_t ehff_net_weights_crc32(const ehff_net *net)
{
    uint32_t l, crc = 0;
    if (!ehff_net_valid(net)) return 0;
    for (l = 0; l < ehff_n_layers(net); l++) {
        const ehff_layer *layer = ehff_layers(net) + l;
        const uint32_t n_protos = ehff_n_protos(net);
        crc = crc16_values(crc, ehff_at(net, layer->weights), layer->n_in * layer->n_out, ehff_is_int8(net) ? 1 : 2);
        crc = crc16_values(crc, ehff_at(net, layer->protos), n_protos * ehff_head_dim(net, layer),
                           EHFF_WITH_INT8_PROTOS ? net->proto_bits / 8u : 2);
        if (EHFF_WITH_INT8_PROTOS && net->proto_bits == 8)
            crc = crc16_values(crc, ehff_at(net, layer->scales), n_protos, 2);
    }
    return crc;
}

uint32_t ehff_net_state_crc32(const ehff_net *net)
{
    uint32_t l, crc;
    if (!ehff_net_valid(net)) return 0;
    crc = ehff_net_weights_crc32(net);
    crc = crc_u32(crc, net->step);
    crc = crc_u32(crc, net->seed);
    crc = crc_u32(crc, net->lr_w);
    crc = crc_u32(crc, net->lr_p);
    crc = crc_u32(crc, net->kappa);
    for (l = 0; l < ehff_n_layers(net); l++) crc = crc_u32(crc, ehff_layers(net)[l].norm_sum);
    return crc;
}
