/* From a blob to a network: whole from memory, or in pieces as they come from a line or from flash. */
#include "blob.h"

int ehff_blob_head_parse(const uint8_t *b, uint32_t n, ehff_blob_head *h)
{
    ehff_config *c = &h->config;
    uint32_t l;
    int status;
    if (n < EHFF_BLOB_HEAD || ehff_get32(b) != EHFF_MAGIC || ehff_get16(b + 4) != EHFF_BLOB_VERSION)
        return EHFF_ERR_FORMAT;
    c->n_layers = b[6];
    c->recipe = b[7];
    c->join = b[8];
    c->flags = b[9];
    c->proto_bits = b[10];
    c->n_classes = (uint16_t)ehff_get16(b + 12);
    c->n_per_class = (uint16_t)ehff_get16(b + 14);
    c->kappa = ehff_get32(b + 16);
    c->margin = (uint16_t)ehff_get16(b + 20);
    c->gate = (uint16_t)ehff_get16(b + 22);
    c->lr_w = ehff_get32(b + 24);
    c->lr_p = (uint16_t)ehff_get16(b + 28);
    c->seed = ehff_get32(b + 32);
    c->dims = h->dims;
    c->join_weight = h->join_weight;
    h->blob_bytes = ehff_get32(b + 40);
    if (c->n_layers > EHFF_MAX_LAYERS || n < EHFF_BLOB_HEAD + (uint32_t)c->n_layers * EHFF_BLOB_LAYER)
        return EHFF_ERR_FORMAT;
    h->dims[0] = ehff_get32(b + 44);
    for (l = 0; l < c->n_layers; l++) {
        const uint8_t *at = b + EHFF_BLOB_HEAD + l * EHFF_BLOB_LAYER;
        h->dims[l + 1] = ehff_get32(at);
        if (ehff_get32(at + 4) >> 10 > EHFF_NORM_MAX || ehff_get32(at + 12) > 1024) return EHFF_ERR_RANGE;
        h->join_weight[l] = (uint16_t)ehff_get32(at + 12);
    }
    status = ehff_net_sizes(c, &h->sizes);
    if (status != EHFF_OK) return status;
    if (b[11] > c->n_layers) return EHFF_ERR_RANGE;
    if (ehff_get16(b + 30) == 0) return h->sizes.blob_bytes == h->blob_bytes ? EHFF_OK : EHFF_ERR_FORMAT;
    return h->sizes.blob_bytes + EHFF_BLOB_ENCODER > h->blob_bytes ? EHFF_ERR_FORMAT : EHFF_OK;
}

int ehff_blob_head_apply(const uint8_t *b, const ehff_blob_head *h, void *arena, uint32_t arena_bytes, ehff_net **out)
{
    ehff_net *net;
    uint32_t l;
    int status = ehff_net_layout(&h->config, arena, arena_bytes, &net);
    if (status != EHFF_OK) return status;
    net->first_layer = b[11];
    net->step = ehff_get32(b + 36);
    for (l = 0; l < net->n_layers; l++) {
        const uint8_t *fields = b + EHFF_BLOB_HEAD + l * EHFF_BLOB_LAYER;
        ehff_layers(net)[l].norm_sum = ehff_get32(fields + 4);
        ehff_layers(net)[l].updates = ehff_get32(fields + 8);
    }
    *out = net;
    return EHFF_OK;
}

int ehff_blob_encoder_parse(const uint8_t *b, ehff_encoder *e, uint32_t *entries)
{
    static const int32_t no_offset = 0;
    static const uint16_t no_gain = 0;
    uint32_t features;
    int status;
    e->raw = b[0];
    e->kind = b[1];
    e->features = b[2];
    e->log = b[3];
    e->gain_shift = b[4];
    e->bias = (int16_t)ehff_get16(b + 6);
    e->n_time = (uint16_t)ehff_get16(b + 8);
    e->n_channels = (uint16_t)ehff_get16(b + 10);
    e->n_segments = (uint16_t)ehff_get16(b + 12);
    e->offset = b[5] ? &no_offset : NULL;
    e->gain = b[5] ? &no_gain : NULL;
    status = ehff_encoder_sizes(e, NULL, &features, NULL);
    if (status != EHFF_OK) return status;
    *entries = b[5] ? features - (e->bias != 0) : 0;
    return EHFF_OK;
}

/* Checked in this order: length, magic, version, CRC, shapes, and that the parts fill the blob exactly. */
static int check_blob(const uint8_t *b, uint32_t bytes, ehff_blob_head *h, ehff_encoder *e, uint32_t *entries)
{
    int status;
    if (b == NULL) return EHFF_ERR_NULL;
    if (bytes < EHFF_BLOB_FIXED || ehff_get32(b) != EHFF_MAGIC || ehff_get16(b + 4) != EHFF_BLOB_VERSION)
        return EHFF_ERR_FORMAT;
    if (ehff_get32(b + 40) != bytes) return EHFF_ERR_FORMAT;
    if (ehff_crc32(0, b, bytes - 4) != ehff_get32(b + bytes - 4)) return EHFF_ERR_CRC;
    status = ehff_blob_head_parse(b, bytes, h);
    if (status != EHFF_OK || h->sizes.blob_bytes == bytes) return status;
    status = ehff_blob_encoder_parse(b + h->sizes.blob_bytes - 4, e, entries);
    if (status != EHFF_OK) return status;
    return bytes - h->sizes.blob_bytes == EHFF_BLOB_ENCODER + *entries * EHFF_BLOB_ENTRY ? EHFF_OK : EHFF_ERR_FORMAT;
}

int ehff_blob_sizes(const uint8_t *blob, uint32_t blob_bytes, ehff_sizes *sizes, uint32_t *encoder_features)
{
    ehff_blob_head h;
    ehff_encoder encoder;
    uint32_t entries;
    int status = check_blob(blob, blob_bytes, &h, &encoder, &entries);
    if (status != EHFF_OK) return status;
    if (sizes != NULL) *sizes = h.sizes;
    if (encoder_features == NULL) return EHFF_OK;
    *encoder_features = 0;
    return h.sizes.blob_bytes == blob_bytes ? EHFF_OK : ehff_encoder_sizes(&encoder, NULL, encoder_features, NULL);
}

/* Copy n blob bytes from offset on to where they belong; the parts there are arrays. */
static void take(const ehff_net *net, const ehff_encoder *e, uint32_t offset, const uint8_t *bytes, uint32_t n)
{
    uint32_t i;
    while (n > 0) {
        const ehff_blob_part part = ehff_blob_part_at(net, e, offset);
        const uint32_t skip = offset - part.start;
        const uint32_t some = part.bytes - skip < n ? part.bytes - skip : n;
        for (i = 0; i < some; i++) part.memory[ehff_byte_of(&part, skip + i)] = bytes[i];
        bytes += some;
        offset += some;
        n -= some;
    }
}

static int finished(ehff_net *net)
{
    int status = ehff_net_check(net);
    if (status != EHFF_OK) net->magic = 0;
    return status;
}

int ehff_net_load(const uint8_t *blob, uint32_t blob_bytes, void *arena, uint32_t arena_bytes, ehff_net **out)
{
    ehff_blob_head h;
    ehff_encoder encoder;
    ehff_net *net;
    uint32_t entries, at;
    int status = check_blob(blob, blob_bytes, &h, &encoder, &entries);
    if (status != EHFF_OK) return status;
    if (out == NULL) return EHFF_ERR_NULL;
    status = ehff_blob_head_apply(blob, &h, arena, arena_bytes, &net);
    if (status != EHFF_OK) return status;
    at = EHFF_BLOB_HEAD + (uint32_t)net->n_layers * EHFF_BLOB_LAYER;
    take(net, NULL, at, blob + at, h.sizes.blob_bytes - 4 - at);
    status = finished(net);
    if (status == EHFF_OK) *out = net;
    return status;
}

int ehff_encoder_load(const uint8_t *blob, uint32_t blob_bytes, void *table, uint32_t table_bytes,
                      ehff_encoder *encoder)
{
    ehff_blob_head h;
    ehff_encoder e;
    const uint8_t *at;
    uint32_t i, entries;
    int32_t *offset = (int32_t *)table;
    uint16_t *gain;
    int status = check_blob(blob, blob_bytes, &h, &e, &entries);
    if (status != EHFF_OK) return status;
    if (encoder == NULL) return EHFF_ERR_NULL;
    if (h.sizes.blob_bytes == blob_bytes) return EHFF_ERR_FORMAT;
    if (entries == 0) {
        *encoder = e;
        return EHFF_OK;
    }
    if (table == NULL) return EHFF_ERR_NULL;
    if (table_bytes < entries * EHFF_BLOB_ENTRY || !ehff_aligned(table)) return EHFF_ERR_ARENA;
    at = blob + h.sizes.blob_bytes - 4 + EHFF_BLOB_ENCODER;
    gain = (uint16_t *)(offset + entries);
    for (i = 0; i < entries; i++) offset[i] = (int32_t)ehff_get32(at + i * 4);
    for (i = 0; i < entries; i++) gain[i] = (uint16_t)ehff_get16(at + entries * 4 + i * 2);
    e.offset = offset;
    e.gain = gain;
    *encoder = e;
    return EHFF_OK;
}

static int fail(ehff_loader *loader, int status)
{
    if (loader->model->net != NULL) loader->model->net->magic = 0;
    loader->model->net = NULL;
    loader->blob_bytes = 0;
    return status;
}

int ehff_load_begin(ehff_loader *loader, ehff_model *model, const uint8_t *bytes, uint32_t n, void *arena,
                    uint32_t arena_bytes)
{
    ehff_blob_head h;
    uint32_t head;
    int status;
    if (loader == NULL || model == NULL || bytes == NULL) return EHFF_ERR_NULL;
    loader->model = model;
    loader->blob_bytes = 0;
    model->net = NULL;
    status = ehff_blob_head_parse(bytes, n, &h);
    if (status != EHFF_OK) return status;
    status = ehff_blob_head_apply(bytes, &h, arena, arena_bytes, &model->net);
    if (status != EHFF_OK) return fail(loader, status);
    model->arena_bytes = arena_bytes;
    model->has_encoder = h.sizes.blob_bytes != h.blob_bytes;
    loader->blob_bytes = h.blob_bytes;
    loader->encoder_at = h.sizes.blob_bytes - 4;
    loader->at = head = EHFF_BLOB_HEAD + (uint32_t)h.config.n_layers * EHFF_BLOB_LAYER;
    loader->crc = ehff_crc32(0, bytes, head);
    if (!model->has_encoder) {
        status = ehff_model_layout(model);
        if (status != EHFF_OK) return fail(loader, status);
    }
    return ehff_load_bytes(loader, bytes + head, n - head);
}

/* The 16 bytes of the encoder are whole: where its table goes is known now. */
static int start_encoder(ehff_loader *loader)
{
    uint32_t entries;
    int status = ehff_blob_encoder_parse(loader->fields, &loader->model->encoder, &entries);
    if (status != EHFF_OK) return status;
    if (loader->blob_bytes - loader->encoder_at - 4 != EHFF_BLOB_ENCODER + entries * EHFF_BLOB_ENTRY)
        return EHFF_ERR_FORMAT;
    return ehff_model_layout(loader->model);
}

int ehff_load_bytes(ehff_loader *loader, const uint8_t *bytes, uint32_t n)
{
    uint32_t end, some;
    if (loader == NULL || bytes == NULL) return EHFF_ERR_NULL;
    if (loader->blob_bytes == 0) return EHFF_ERR_STATE;
    if (n > loader->blob_bytes - loader->at) return fail(loader, EHFF_ERR_FORMAT);
    end = loader->blob_bytes - 4;
    for (; n > 0; n -= some, bytes += some, loader->at += some) {
        const uint32_t fields_at = loader->at >= end ? end : loader->encoder_at;
        if (loader->at < loader->encoder_at) {
            some = loader->encoder_at - loader->at < n ? loader->encoder_at - loader->at : n;
            take(loader->model->net, NULL, loader->at, bytes, some);
        } else if (loader->at < end && loader->at >= loader->encoder_at + EHFF_BLOB_ENCODER) {
            some = end - loader->at < n ? end - loader->at : n;
            take(loader->model->net, &loader->model->encoder, loader->at, bytes, some);
        } else {
            some = 1;
            loader->fields[loader->at - fields_at] = *bytes;
            if (loader->at < end) loader->crc = ehff_crc32(loader->crc, bytes, 1);
            if (loader->at + 1 == loader->encoder_at + EHFF_BLOB_ENCODER && loader->model->has_encoder) {
                int status = start_encoder(loader);
                if (status != EHFF_OK) return fail(loader, status);
            }
            continue;
        }
        loader->crc = ehff_crc32(loader->crc, bytes, some);
    }
    return EHFF_OK;
}

int ehff_load_end(ehff_loader *loader)
{
    int status;
    if (loader == NULL) return EHFF_ERR_NULL;
    if (loader->blob_bytes == 0) return EHFF_ERR_STATE;
    if (loader->at != loader->blob_bytes) return fail(loader, EHFF_ERR_FORMAT);
    if (ehff_get32(loader->fields) != loader->crc) return fail(loader, EHFF_ERR_CRC);
    status = finished(loader->model->net);
    loader->blob_bytes = 0;
    if (status != EHFF_OK) loader->model->net = NULL;
    return status;
}
