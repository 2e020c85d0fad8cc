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
    return n - ehff_encoder_biases(e);
}

/* Go on to the part of count elements of so many bytes each, where offset lies behind the present one. */
static void next(ehff_blob_part *p, uint32_t offset, const void *memory, uint32_t count, uint32_t each)
{
    if (offset < p->start + p->bytes) return;
    p->start += p->bytes;
    p->bytes = count * each;
    p->each = each;
    p->memory = (uint8_t *)(uintptr_t)memory;
}

ehff_blob_part ehff_blob_part_at(const ehff_net *net, const ehff_encoder *encoder, uint32_t offset)
{
    const uint32_t n_protos = ehff_n_protos(net);
    const ehff_layer *layer = ehff_layers(net);
    ehff_blob_part p = {NULL, 0, 0, 0};
    uint32_t l;
    next(&p, offset, net, EHFF_BLOB_HEAD, 1);
    for (l = 0; l < net->n_layers; l++) next(&p, offset, layer + l, 4, 4);
    if (ehff_has_conv(net)) next(&p, offset, ehff_convs(net), (uint32_t)net->n_layers * (EHFF_BLOB_CONV / 2), 2);
    for (l = 0; l < net->n_layers; l++, layer++) {
        next(&p, offset, ehff_at(net, layer->weights), layer->n_in * layer->n_out, ehff_is_int8(net) ? 1 : 2);
        next(&p, offset, ehff_at(net, layer->protos), n_protos * ehff_head_dim(net, layer), net->proto_bits / 8u);
        if (net->proto_bits == 8) next(&p, offset, ehff_at(net, layer->scales), n_protos, 2);
    }
    if (encoder != NULL) {
        const uint32_t entries = ehff_table_entries(encoder);
        next(&p, offset, NULL, EHFF_BLOB_ENCODER, 1);
        next(&p, offset, encoder->offset, entries, 4);
        next(&p, offset, encoder->gain, entries, 2);
    }
    next(&p, offset, NULL, 4, 1);
    return p;
}

/* On a big-endian machine the bytes of an element go the other way round; the head's have several widths. */
uint32_t ehff_byte_of(const ehff_blob_part *part, uint32_t i)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    static const uint8_t widths[] = {4, 2, 1, 1, 1, 1, 1, 1, 2, 2, 4, 2, 2, 4, 2, 2, 4, 4, 4, 4, 4, 4, 4};
    uint32_t at = 0, k = 0;
    if (part->start != 0) return i ^ (part->each - 1);
    while (i >= at + widths[k]) at += widths[k++];
    return at + (widths[k] - 1u - (i - at));
#else
    (void)part;
    return i;
#endif
}

uint32_t ehff_net_blob_bytes(const ehff_net *net, const ehff_encoder *encoder)
{
    ehff_blob_part last;
    if (!ehff_net_valid(net)) return 0;
    if (encoder != NULL && ehff_encoder_sizes(encoder, NULL, NULL, NULL) != EHFF_OK) return 0;
    last = ehff_blob_part_at(net, encoder, UINT32_MAX);
    return last.start + last.bytes;
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

/* n bytes from offset on. head: the blob's; crc: of everything before it. */
static void read_parts(const ehff_net *net, const ehff_encoder *encoder, const ehff_net *head, uint32_t crc,
                       uint32_t offset, uint8_t *out, uint32_t n)
{
    uint8_t fields[EHFF_BLOB_ENCODER];
    uint32_t i, take;
    for (; n > 0; out += take, offset += take, n -= take) {
        ehff_blob_part part = ehff_blob_part_at(net, encoder, offset);
        const uint32_t skip = offset - part.start;
        take = part.bytes - skip < n ? part.bytes - skip : n;
        if (part.start == 0) {
            part.memory = (uint8_t *)(uintptr_t)head;
        } else if (part.memory == NULL) {
            part.memory = fields;
            if (part.bytes == 4)
                (void)put32(fields, crc);
            else
                put_encoder(encoder, fields);
        }
        for (i = 0; i < take; i++) out[i] = part.memory[ehff_byte_of(&part, skip + i)];
    }
}

int ehff_blob_read(const ehff_net *net, const ehff_encoder *encoder, uint32_t offset, uint8_t *out, uint32_t n)
{
    const uint32_t whole = ehff_net_blob_bytes(net, encoder);
    uint32_t at, some, crc = 0;
    uint8_t chunk[16];
    ehff_net head;
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    if (out == NULL) return EHFF_ERR_NULL;
    if (whole == 0 || offset > whole || n > whole - offset) return EHFF_ERR_SHAPE;
    head = *net;
    head.has_encoder = encoder != NULL;
    head.blob_bytes = whole;
    head.ram_bytes = head.widest = head.scratch = 0;
    for (at = 0; offset + n > whole - 4 && at < whole - 4; at += some) {
        some = whole - 4 - at < sizeof chunk ? whole - 4 - at : (uint32_t)sizeof chunk;
        read_parts(net, encoder, &head, 0, at, chunk, some);
        crc = ehff_crc32(crc, chunk, some);
    }
    read_parts(net, encoder, &head, crc, offset, out, n);
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
