/* A model is a network and its encoder in one arena: raw samples in, classes out.
 * The arena holds the network, the encoder's table, the input vector, and the encoder's scratch where the
 * network's own is smaller; the network's scratch is free between steps. */
#include "blob.h"

static uint32_t align4(uint32_t n) { return (n + 3) & ~(uint32_t)3; }

/* Where the parts behind the network lie, and how much all of them take; 0 past the limit of 32 bits. */
static uint32_t model_bytes(const ehff_net *net, const ehff_encoder *e, uint32_t *x_at, uint32_t *scratch_at)
{
    const uint32_t own_scratch = net->ram_bytes - net->scratch;
    uint64_t at = net->ram_bytes;
    uint32_t needed = 0;
    if (e != NULL) {
        (void)ehff_encoder_sizes(e, NULL, NULL, &needed);
        at += align4(ehff_table_entries(e) * EHFF_BLOB_ENTRY);
        *x_at = (uint32_t)at;
        at += align4(net->n_in * 2);
        *scratch_at = needed > own_scratch ? (uint32_t)at : net->scratch;
        at += needed > own_scratch ? needed : 0;
    }
    return at > UINT32_MAX ? 0 : (uint32_t)at;
}

uint32_t ehff_model_bytes(const ehff_net *net, const ehff_encoder *encoder)
{
    uint32_t x_at, scratch_at;
    if (!ehff_net_valid(net)) return 0;
    if (encoder != NULL && ehff_encoder_sizes(encoder, NULL, NULL, NULL) != EHFF_OK) return 0;
    return model_bytes(net, encoder, &x_at, &scratch_at);
}

int ehff_model_layout(ehff_model *m)
{
    uint8_t *arena = (uint8_t *)m->net;
    uint32_t features, x_at = 0, scratch_at = 0;
    const uint32_t n_in = m->net->n_in;
    int status;
    m->n_in = n_in;
    m->n_classes = m->net->n_classes;
    if (!m->has_encoder) {
        m->raw_bytes = n_in * 2;
        m->x = NULL;
        m->bytes = m->net->ram_bytes;
        return EHFF_OK;
    }
    status = ehff_encoder_sizes(&m->encoder, &m->raw_bytes, &features, NULL);
    if (status != EHFF_OK) return status;
    if (features != n_in) return EHFF_ERR_SHAPE;
    m->raw_bytes <<= m->encoder.raw == EHFF_RAW_I16;
    m->bytes = model_bytes(m->net, &m->encoder, &x_at, &scratch_at);
    if (m->bytes == 0 || m->bytes > m->arena_bytes) return EHFF_ERR_ARENA;
    if (m->encoder.offset != NULL) {
        const uint32_t entries = ehff_table_entries(&m->encoder);
        m->encoder.offset = (const int32_t *)(uintptr_t)(arena + m->net->ram_bytes);
        m->encoder.gain = (const uint16_t *)(uintptr_t)(arena + m->net->ram_bytes + entries * 4);
    }
    m->x = (int16_t *)(uintptr_t)(arena + x_at);
    m->scratch = arena + scratch_at;
    return EHFF_OK;
}

int ehff_model_encode(ehff_model *m, const void *raw, uint32_t raw_bytes, const int16_t **x)
{
    uint32_t n_raw;
    if (m == NULL || raw == NULL || x == NULL) return EHFF_ERR_NULL;
    if (!ehff_net_valid(m->net)) return EHFF_ERR_STATE;
    if (raw_bytes != m->raw_bytes) return EHFF_ERR_SHAPE;
    if (!m->has_encoder) {
        *x = (const int16_t *)raw;
        return EHFF_OK;
    }
    *x = m->x;
    n_raw = raw_bytes >> (m->encoder.raw == EHFF_RAW_I16);
    return ehff_encode(&m->encoder, raw, n_raw, m->scratch, m->n_in * 4, m->x);
}

EHFF_NOINLINE int ehff_model_predict(ehff_model *m, const void *raw, uint32_t raw_bytes, uint16_t *label,
                                     int32_t *score)
{
    const int16_t *x;
    int status = ehff_model_encode(m, raw, raw_bytes, &x);
    return status != EHFF_OK ? status : ehff_net_predict(m->net, x, m->n_in, label, score);
}

EHFF_NOINLINE int ehff_model_train(ehff_model *m, const void *raw, uint32_t raw_bytes, uint16_t label,
                                   uint16_t *predicted)
{
    const int16_t *x;
    int status = ehff_model_encode(m, raw, raw_bytes, &x);
    return status != EHFF_OK ? status : ehff_net_train(m->net, x, m->n_in, label, predicted);
}
