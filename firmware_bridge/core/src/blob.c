/* Save and load: one flat little-endian blob, closed by a CRC-32. MODEL_FORMAT.md is its byte table. */
#include "net.h"

#define ENCODER_FIXED 16
#define TABLE_ENTRY 6

typedef struct {
    uint8_t *at;
    uint32_t crc;
} writer;

static void put8(writer *w, uint32_t v)
{
    *w->at = (uint8_t)v;
    w->crc = ehff_crc32(w->crc, w->at, 1);
    w->at++;
}

static void put16(writer *w, uint32_t v)
{
    put8(w, v & 255);
    put8(w, (v >> 8) & 255);
}

static void put32(writer *w, uint32_t v)
{
    put16(w, v & 0xFFFFu);
    put16(w, v >> 16);
}

static uint32_t get16(const uint8_t *b) { return (uint32_t)b[0] | (uint32_t)b[1] << 8; }

static uint32_t get32(const uint8_t *b) { return get16(b) | get16(b + 2) << 16; }

/* Features that the encoder's table covers. */
static uint32_t table_entries(const ehff_encoder *e)
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
        n += ENCODER_FIXED + (uint64_t)table_entries(encoder) * TABLE_ENTRY;
    }
    for (l = 0; l < net->n_layers; l++) {
        const ehff_layer *layer = ehff_layers(net) + l;
        n += EHFF_BLOB_LAYER + (uint64_t)layer->n_in * layer->n_out * (net->recipe == EHFF_INT8 ? 1 : 2);
        n += (uint64_t)n_protos * layer->n_out * (net->proto_bits / 8) + (net->proto_bits == 8 ? n_protos * 2 : 0);
    }
    return n > UINT32_MAX ? 0 : (uint32_t)n;
}

static void put_values(writer *w, const void *values, uint32_t n, uint32_t bytes_each)
{
    uint32_t i;
    for (i = 0; i < n; i++) {
        if (bytes_each == 1)
            put8(w, ((const uint8_t *)values)[i]);
        else
            put16(w, ((const uint16_t *)values)[i]);
    }
}

int ehff_net_save(const ehff_net *net, const ehff_encoder *encoder, uint8_t *blob, uint32_t blob_bytes)
{
    const uint32_t needed = ehff_net_blob_bytes(net, encoder);
    uint32_t l, i, n_protos;
    writer w;
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    if (blob == NULL) return EHFF_ERR_NULL;
    if (needed == 0) return EHFF_ERR_SHAPE;
    if (blob_bytes < needed) return EHFF_ERR_ARENA;
    w.at = blob;
    w.crc = 0;
    n_protos = (uint32_t)net->n_classes * net->n_per_class;
    put32(&w, EHFF_MAGIC);
    put16(&w, EHFF_BLOB_VERSION);
    put8(&w, net->n_layers);
    put8(&w, net->recipe);
    put8(&w, net->join);
    put8(&w, net->flags);
    put8(&w, net->proto_bits);
    put8(&w, net->first_layer);
    put16(&w, net->n_classes);
    put16(&w, net->n_per_class);
    put32(&w, net->kappa);
    put16(&w, net->margin);
    put16(&w, net->gate);
    put32(&w, net->lr_w);
    put16(&w, net->lr_p);
    put16(&w, encoder != NULL);
    put32(&w, net->seed);
    put32(&w, net->step);
    put32(&w, needed);
    put32(&w, ehff_layers(net)->n_in);
    for (i = 0; i < 3; i++) put32(&w, 0);
    for (l = 0; l < net->n_layers; l++) {
        const ehff_layer *layer = ehff_layers(net) + l;
        put32(&w, layer->n_out);
        put32(&w, layer->norm_sum);
        put32(&w, layer->updates);
        put32(&w, layer->join_weight);
    }
    for (l = 0; l < net->n_layers; l++) {
        const ehff_layer *layer = ehff_layers(net) + l;
        put_values(&w, ehff_at(net, layer->weights), layer->n_in * layer->n_out, net->recipe == EHFF_INT8 ? 1 : 2);
        put_values(&w, ehff_at(net, layer->protos), n_protos * layer->n_out, net->proto_bits / 8u);
        if (net->proto_bits == 8) put_values(&w, ehff_at(net, layer->scales), n_protos, 2);
    }
    if (encoder != NULL) {
        put8(&w, encoder->raw);
        put8(&w, encoder->kind);
        put8(&w, encoder->features);
        put8(&w, encoder->log);
        put8(&w, encoder->gain_shift);
        put8(&w, encoder->offset != NULL);
        put16(&w, (uint16_t)encoder->bias);
        put16(&w, encoder->n_time);
        put16(&w, encoder->n_channels);
        put16(&w, encoder->n_segments);
        put16(&w, 0);
        for (i = 0; i < table_entries(encoder); i++) put32(&w, (uint32_t)encoder->offset[i]);
        for (i = 0; i < table_entries(encoder); i++) put16(&w, encoder->gain[i]);
    }
    put32(&w, w.crc);
    return EHFF_OK;
}

/* A blob's header as a configuration; dims and weights point to the caller's arrays. */
typedef struct {
    ehff_config config;
    ehff_sizes sizes;
    uint32_t dims[EHFF_MAX_LAYERS + 1];
    uint16_t join_weight[EHFF_MAX_LAYERS];
    uint32_t encoder_at; /* 0: none */
} header;

static int get_encoder(const uint8_t *b, uint32_t bytes, ehff_encoder *e, uint32_t *entries)
{
    static const int32_t no_offset = 0;
    static const uint16_t no_gain = 0;
    uint32_t features;
    int status;
    if (bytes < ENCODER_FIXED) return EHFF_ERR_FORMAT;
    e->raw = b[0];
    e->kind = b[1];
    e->features = b[2];
    e->log = b[3];
    e->gain_shift = b[4];
    e->bias = (int16_t)get16(b + 6);
    e->n_time = (uint16_t)get16(b + 8);
    e->n_channels = (uint16_t)get16(b + 10);
    e->n_segments = (uint16_t)get16(b + 12);
    e->offset = b[5] ? &no_offset : NULL;
    e->gain = b[5] ? &no_gain : NULL;
    status = ehff_encoder_sizes(e, NULL, &features, NULL);
    if (status != EHFF_OK) return status;
    *entries = b[5] ? features - (e->bias != 0) : 0;
    return bytes == ENCODER_FIXED + *entries * TABLE_ENTRY ? EHFF_OK : EHFF_ERR_FORMAT;
}

/* Checked in this order: length, magic, version, CRC, shapes, and that the parts fill the blob exactly. */
static int get_header(const uint8_t *b, uint32_t bytes, header *h)
{
    ehff_config *c = &h->config;
    ehff_encoder encoder;
    uint32_t l, entries;
    int status;
    if (b == NULL) return EHFF_ERR_NULL;
    if (bytes < EHFF_BLOB_FIXED || get32(b) != EHFF_MAGIC || get16(b + 4) != EHFF_BLOB_VERSION) return EHFF_ERR_FORMAT;
    if (get32(b + 40) != bytes) return EHFF_ERR_FORMAT;
    if (ehff_crc32(0, b, bytes - 4) != get32(b + bytes - 4)) return EHFF_ERR_CRC;
    c->n_layers = b[6];
    c->recipe = b[7];
    c->join = b[8];
    c->flags = b[9];
    c->proto_bits = b[10];
    c->n_classes = (uint16_t)get16(b + 12);
    c->n_per_class = (uint16_t)get16(b + 14);
    c->kappa = get32(b + 16);
    c->margin = (uint16_t)get16(b + 20);
    c->gate = (uint16_t)get16(b + 22);
    c->lr_w = get32(b + 24);
    c->lr_p = (uint16_t)get16(b + 28);
    c->seed = get32(b + 32);
    c->dims = h->dims;
    c->join_weight = h->join_weight;
    if (c->n_layers > EHFF_MAX_LAYERS || bytes < EHFF_BLOB_FIXED + (uint32_t)c->n_layers * EHFF_BLOB_LAYER)
        return EHFF_ERR_FORMAT;
    h->dims[0] = get32(b + 44);
    for (l = 0; l < c->n_layers; l++) {
        const uint8_t *at = b + EHFF_BLOB_FIXED - 4 + l * EHFF_BLOB_LAYER;
        h->dims[l + 1] = get32(at);
        if (get32(at + 4) >> 10 > EHFF_NORM_MAX || get32(at + 12) > 1024) return EHFF_ERR_RANGE;
        h->join_weight[l] = (uint16_t)get32(at + 12);
    }
    status = ehff_net_sizes(c, &h->sizes);
    if (status != EHFF_OK) return status;
    if (b[11] > c->n_layers) return EHFF_ERR_RANGE;
    h->encoder_at = 0;
    if (get16(b + 30) == 0) return h->sizes.blob_bytes == bytes ? EHFF_OK : EHFF_ERR_FORMAT;
    if (h->sizes.blob_bytes > bytes) return EHFF_ERR_FORMAT;
    h->encoder_at = h->sizes.blob_bytes - 4;
    status = get_encoder(b + h->encoder_at, bytes - h->sizes.blob_bytes, &encoder, &entries);
    return status;
}

int ehff_blob_sizes(const uint8_t *blob, uint32_t blob_bytes, ehff_sizes *sizes, uint32_t *encoder_features)
{
    header h;
    ehff_encoder encoder;
    uint32_t entries;
    int status = get_header(blob, blob_bytes, &h);
    if (status != EHFF_OK) return status;
    if (sizes != NULL) *sizes = h.sizes;
    if (encoder_features == NULL) return EHFF_OK;
    *encoder_features = 0;
    if (h.encoder_at == 0) return EHFF_OK;
    status = get_encoder(blob + h.encoder_at, blob_bytes - h.sizes.blob_bytes, &encoder, &entries);
    return status == EHFF_OK ? ehff_encoder_sizes(&encoder, NULL, encoder_features, NULL) : status;
}

static const uint8_t *get_values(const uint8_t *b, void *values, uint32_t n, uint32_t bytes_each)
{
    uint32_t i;
    for (i = 0; i < n; i++, b += bytes_each) {
        if (bytes_each == 1)
            ((uint8_t *)values)[i] = b[0];
        else
            ((uint16_t *)values)[i] = (uint16_t)get16(b);
    }
    return b;
}

int ehff_net_load(const uint8_t *blob, uint32_t blob_bytes, void *arena, uint32_t arena_bytes, ehff_net **out)
{
    header h;
    ehff_net *net;
    const uint8_t *at;
    uint32_t l, n_protos;
    int status = get_header(blob, blob_bytes, &h);
    if (status != EHFF_OK) return status;
    if (out == NULL) return EHFF_ERR_NULL;
    status = ehff_net_layout(&h.config, arena, arena_bytes, &net);
    if (status != EHFF_OK) return status;
    net->first_layer = blob[11];
    net->step = get32(blob + 36);
    n_protos = (uint32_t)net->n_classes * net->n_per_class;
    at = blob + EHFF_BLOB_FIXED - 4 + (uint32_t)net->n_layers * EHFF_BLOB_LAYER;
    for (l = 0; l < net->n_layers; l++) {
        ehff_layer *layer = ehff_layers(net) + l;
        const uint8_t *fields = blob + EHFF_BLOB_FIXED - 4 + l * EHFF_BLOB_LAYER;
        layer->norm_sum = get32(fields + 4);
        layer->updates = get32(fields + 8);
        at = get_values(at, ehff_at(net, layer->weights), layer->n_in * layer->n_out, net->recipe == EHFF_INT8 ? 1 : 2);
        at = get_values(at, ehff_at(net, layer->protos), n_protos * layer->n_out, net->proto_bits / 8u);
        if (net->proto_bits == 8) at = get_values(at, ehff_at(net, layer->scales), n_protos, 2);
    }
    status = ehff_net_check(net);
    if (status != EHFF_OK) {
        net->magic = 0;
        return status;
    }
    *out = net;
    return EHFF_OK;
}

int ehff_encoder_load(const uint8_t *blob, uint32_t blob_bytes, void *table, uint32_t table_bytes,
                      ehff_encoder *encoder)
{
    header h;
    ehff_encoder e;
    const uint8_t *at;
    uint32_t i, entries;
    int32_t *offset = (int32_t *)table;
    uint16_t *gain;
    int status = get_header(blob, blob_bytes, &h);
    if (status != EHFF_OK) return status;
    if (encoder == NULL) return EHFF_ERR_NULL;
    if (h.encoder_at == 0) return EHFF_ERR_FORMAT;
    status = get_encoder(blob + h.encoder_at, blob_bytes - h.sizes.blob_bytes, &e, &entries);
    if (status != EHFF_OK) return status;
    if (entries == 0) {
        *encoder = e;
        return EHFF_OK;
    }
    if (table == NULL) return EHFF_ERR_NULL;
    if (table_bytes < entries * TABLE_ENTRY || !ehff_aligned(table)) return EHFF_ERR_ARENA;
    at = blob + h.encoder_at + ENCODER_FIXED;
    gain = (uint16_t *)(offset + entries);
    for (i = 0; i < entries; i++) offset[i] = (int32_t)get32(at + i * 4);
    for (i = 0; i < entries; i++) gain[i] = (uint16_t)get16(at + entries * 4 + i * 2);
    e.offset = offset;
    e.gain = gain;
    *encoder = e;
    return EHFF_OK;
}
