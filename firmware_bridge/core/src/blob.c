/* A network and its encoder as one flat little-endian blob, read from any offset. MODEL_FORMAT.md is its byte table. */
#include "blob.h"

static uint8_t *put16(uint8_t *b, uint32_t v)
{
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
    return b + 2;
}

static uint8_t *put32(uint8_t *b, uint32_t v) { return put16(put16(b, v & 0xFFFFu), v >> 16); }

uint32_t ehff_table_entries(const ehff_encoder *e)
{
    uint32_t n;
    if (e->offset == NULL || ehff_encoder_sizes(e, NULL, &n, NULL) != EHFF_OK) return 0;
    return n - (e->bias != 0);
}

uint32_t ehff_net_blob_bytes(const ehff_net *net, const ehff_encoder *encoder)
{
    const uint32_t n_protos = ehff_net_valid(net) ? (uint32_t)net->n_classes * net->n_per_class : 0;
    uint64_t n = EHFF_BLOB_FIXED;
    uint32_t l;
    if (n_protos == 0) return 0;
    if (encoder != NULL) {
        if (ehff_encoder_sizes(encoder, NULL, NULL, NULL) != EHFF_OK) return 0;
        n += EHFF_BLOB_ENCODER + (uint64_t)ehff_table_entries(encoder) * EHFF_BLOB_ENTRY;
    }
    for (l = 0; l < net->n_layers; l++) {
        const ehff_layer *layer = ehff_layers(net) + l;
        n += EHFF_BLOB_LAYER + (uint64_t)layer->n_in * layer->n_out * (net->recipe == EHFF_INT8 ? 1 : 2);
        n += (uint64_t)n_protos * layer->n_out * (net->proto_bits / 8) + (net->proto_bits == 8 ? n_protos * 2 : 0);
    }
    return n > UINT32_MAX ? 0 : (uint32_t)n;
}

ehff_blob_part ehff_blob_part_at(const ehff_net *net, const ehff_encoder *encoder, uint32_t offset)
{
    const uint32_t n_protos = (uint32_t)net->n_classes * net->n_per_class;
    uint32_t l, k;
    ehff_blob_part part = {NULL, 0, EHFF_BLOB_HEAD, 1};
    for (l = 0; offset >= part.start + part.bytes && l < net->n_layers; l++) {
        part.start += part.bytes;
        part.bytes = EHFF_BLOB_LAYER;
    }
    for (l = 0; l < net->n_layers; l++) {
        const ehff_layer *layer = ehff_layers(net) + l;
        for (k = 0; k < 3 && offset >= part.start + part.bytes; k++) {
            part.start += part.bytes;
            part.each = k == 0 ? (net->recipe == EHFF_INT8 ? 1 : 2) : k == 1 ? net->proto_bits / 8u : 2;
            part.bytes = (k == 0   ? layer->n_in * layer->n_out
                          : k == 1 ? n_protos * layer->n_out
                                   : n_protos) *
                         part.each;
            part.memory = (uint8_t *)ehff_at(net, k == 0 ? layer->weights : k == 1 ? layer->protos : layer->scales);
            if (k == 2 && net->proto_bits != 8) part.bytes = 0;
        }
    }
    if (offset >= part.start + part.bytes) {
        const uint32_t entries = encoder == NULL ? 0 : ehff_table_entries(encoder);
        part.memory = NULL;
        part.start += part.bytes;
        part.bytes = encoder == NULL ? 0 : EHFF_BLOB_ENCODER;
        for (k = 0; k < 2 && entries != 0 && offset >= part.start + part.bytes; k++) {
            part.memory = (uint8_t *)(uintptr_t)(k == 0 ? (const void *)encoder->offset : (const void *)encoder->gain);
            part.start += part.bytes;
            part.each = k == 0 ? 4 : 2;
            part.bytes = entries * part.each;
        }
        if (offset >= part.start + part.bytes) {
            part.memory = NULL;
            part.start += part.bytes;
            part.bytes = 4;
        }
    }
    return part;
}

static void put_head(const ehff_net *net, const ehff_encoder *encoder, uint8_t *b)
{
    uint32_t i;
    b = put16(put32(b, EHFF_MAGIC), EHFF_BLOB_VERSION);
    *b++ = net->n_layers;
    *b++ = net->recipe;
    *b++ = net->join;
    *b++ = net->flags;
    *b++ = net->proto_bits;
    *b++ = net->first_layer;
    b = put16(put16(b, net->n_classes), net->n_per_class);
    b = put16(put16(put32(b, net->kappa), net->margin), net->gate);
    b = put16(put16(put32(b, net->lr_w), net->lr_p), encoder != NULL);
    b = put32(put32(b, net->seed), net->step);
    b = put32(put32(b, ehff_net_blob_bytes(net, encoder)), ehff_layers(net)->n_in);
    for (i = 0; i < 3; i++) b = put32(b, 0);
}

static void put_encoder(const ehff_encoder *e, uint8_t *b)
{
    b[0] = e->raw;
    b[1] = e->kind;
    b[2] = e->features;
    b[3] = e->log;
    b[4] = e->gain_shift;
    b[5] = e->offset != NULL;
    b = put16(put16(b + 6, (uint16_t)e->bias), e->n_time);
    (void)put16(put16(put16(b, e->n_channels), e->n_segments), 0);
}

/* The bytes of a part that are fields. The CRC's costs a pass over all bytes before it. */
static void put_fields(const ehff_net *net, const ehff_encoder *encoder, uint32_t start, uint8_t *b)
{
    const uint32_t end = ehff_net_blob_bytes(net, encoder) - 4;
    if (start == 0) {
        put_head(net, encoder, b);
    } else if (start < EHFF_BLOB_HEAD + (uint32_t)net->n_layers * EHFF_BLOB_LAYER) {
        const ehff_layer *layer = ehff_layers(net) + (start - EHFF_BLOB_HEAD) / EHFF_BLOB_LAYER;
        put32(put32(put32(put32(b, layer->n_out), layer->norm_sum), layer->updates), layer->join_weight);
    } else if (start == end) {
        uint32_t at, n, crc = 0;
        uint8_t chunk[16];
        for (at = 0; at < end; at += n) {
            n = end - at < sizeof chunk ? end - at : (uint32_t)sizeof chunk;
            (void)ehff_blob_read(net, encoder, at, chunk, n);
            crc = ehff_crc32(crc, chunk, n);
        }
        (void)put32(b, crc);
    } else {
        put_encoder(encoder, b);
    }
}

int ehff_blob_read(const ehff_net *net, const ehff_encoder *encoder, uint32_t offset, uint8_t *out, uint32_t n)
{
    const uint32_t whole = ehff_net_blob_bytes(net, encoder);
    uint32_t i;
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    if (out == NULL) return EHFF_ERR_NULL;
    if (whole == 0 || offset > whole || n > whole - offset) return EHFF_ERR_SHAPE;
    while (n > 0) {
        const ehff_blob_part part = ehff_blob_part_at(net, encoder, offset);
        const uint32_t skip = offset - part.start;
        const uint32_t take = part.bytes - skip < n ? part.bytes - skip : n;
        if (part.memory == NULL) {
            uint8_t fields[EHFF_BLOB_HEAD];
            put_fields(net, encoder, part.start, fields);
            for (i = 0; i < take; i++) out[i] = fields[skip + i];
        } else {
            for (i = 0; i < take; i++) out[i] = part.memory[ehff_byte_of(skip + i, part.each)];
        }
        out += take;
        offset += take;
        n -= take;
    }
    return EHFF_OK;
}

int ehff_net_save(const ehff_net *net, const ehff_encoder *encoder, uint8_t *blob, uint32_t blob_bytes)
{
    const uint32_t needed = ehff_net_blob_bytes(net, encoder);
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    if (blob == NULL) return EHFF_ERR_NULL;
    if (needed == 0) return EHFF_ERR_SHAPE;
    if (blob_bytes < needed) return EHFF_ERR_ARENA;
    return ehff_blob_read(net, encoder, 0, blob, needed);
}
