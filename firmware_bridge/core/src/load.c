/* From a blob to a network: whole from memory, or in pieces as they come from a line or from flash. */
#include "blob.h"

static uint32_t min(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Copy n bytes of a blob from offset on to where they belong. */
static void take(const ehff_net *net, const ehff_encoder *e, uint32_t offset, const uint8_t *bytes, uint32_t n)
{
    while (n > 0) {
        const ehff_blob_part part = ehff_blob_part_at(net, e, offset);
        const uint32_t skip = offset - part.start, some = min(part.bytes - skip, n);
        uint32_t i;
        for (i = 0; i < some; i++) part.memory[ehff_byte_of(&part, skip + i)] = bytes[i];
        bytes += some;
        offset += some;
        n -= some;
    }
}

static int is_blob(const uint8_t *b)
{
    const uint32_t version = ehff_get16(b + 4);
    return ehff_get32(b) == EHFF_MAGIC &&
           (version == EHFF_BLOB_VERSION || (EHFF_WITH_CONV && version == EHFF_BLOB_CONV_VERSION));
}

/* The head and the layers' entries into the arena, checked, and places found for what follows them. What blob_bytes
 * leaves behind the network is its encoder's. */
static int take_head(const uint8_t *b, uint32_t n, void *arena, uint32_t arena_bytes, ehff_net **out)
{
    ehff_net *net = (ehff_net *)arena;
    uint32_t whole, head;
    int status;
    if (n < EHFF_BLOB_HEAD || !is_blob(b)) return EHFF_ERR_FORMAT;
    head = ehff_blob_first(b);
    if (b[6] > EHFF_MAX_LAYERS || n < head) return EHFF_ERR_FORMAT;
    if (arena == NULL) return EHFF_ERR_NULL;
    if (!ehff_aligned(arena) ||
        arena_bytes < sizeof *net + b[6] * sizeof(ehff_layer) + head - EHFF_LOAD_FIRST((uint32_t)b[6]))
        return EHFF_ERR_ARENA;
    net->n_layers = 0;
    net->version = EHFF_BLOB_VERSION;
    take(net, NULL, 0, b, EHFF_BLOB_HEAD);
    take(net, NULL, EHFF_BLOB_HEAD, b + EHFF_BLOB_HEAD, head - EHFF_BLOB_HEAD);
    whole = net->blob_bytes;
    status = ehff_net_place(net, arena_bytes);
    if (status == EHFF_OK &&
        (net->has_encoder ? net->blob_bytes + EHFF_BLOB_ENCODER > whole : net->blob_bytes != whole))
        status = EHFF_ERR_FORMAT;
    if (status != EHFF_OK) net->magic = 0;
    *out = net;
    return status;
}

int ehff_blob_encoder_parse(const uint8_t *b, ehff_encoder *e, uint32_t *entries)
{
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
    e->offset = b[5] ? (const int32_t *)(const void *)e : NULL; /* some address, until the table has one */
    e->gain = b[5] ? (const uint16_t *)(const void *)e : NULL;
    status = ehff_encoder_sizes(e, NULL, &features, NULL);
    if (status != EHFF_OK) return status;
    *entries = b[5] ? features - ehff_encoder_biases(e) : 0;
    return EHFF_OK;
}

/* Checked in this order: length, magic, version, CRC, shapes, and that the parts fill the blob exactly. entries: of
 * the encoder's table; sizes->blob_bytes is the network's alone. */
static int check_blob(const uint8_t *b, uint32_t bytes, ehff_sizes *sizes, ehff_encoder *e, uint32_t *entries)
{
    uint32_t dims[EHFF_MAX_LAYERS + 1];
    ehff_net h;
    uint32_t l;
    int status;
    if (b == NULL) return EHFF_ERR_NULL;
    if (bytes < EHFF_BLOB_FIXED || !is_blob(b)) return EHFF_ERR_FORMAT;
    if (ehff_get32(b + 40) != bytes) return EHFF_ERR_FORMAT;
    if (ehff_crc32(0, b, bytes - 4) != ehff_get32(b + bytes - 4)) return EHFF_ERR_CRC;
    if (b[6] > EHFF_MAX_LAYERS || bytes < ehff_blob_first(b) + 4) return EHFF_ERR_FORMAT;
    h.n_layers = 0;
    h.version = EHFF_BLOB_VERSION; /* no table of its own */
    take(&h, NULL, 0, b, EHFF_BLOB_HEAD);
    for (l = 0; l < h.n_layers; l++) {
        const uint8_t *at = b + EHFF_LOAD_FIRST(l);
        dims[l] = ehff_get32(at);
        if (ehff_get32(at + 4) >> 10 > EHFF_NORM_MAX || ehff_get32(at + 12) > 1024) return EHFF_ERR_RANGE;
    }
    status = ehff_net_sizes_of(&h, dims, b + EHFF_LOAD_FIRST(h.n_layers), sizes);
    if (status != EHFF_OK) return status;
    if (!h.has_encoder) return sizes->blob_bytes == bytes ? EHFF_OK : EHFF_ERR_FORMAT;
    if (sizes->blob_bytes + EHFF_BLOB_ENCODER > bytes) return EHFF_ERR_FORMAT;
    status = ehff_blob_encoder_parse(b + sizes->blob_bytes - 4, e, entries);
    if (status != EHFF_OK) return status;
    return bytes - sizes->blob_bytes == EHFF_BLOB_ENCODER + *entries * EHFF_BLOB_ENTRY ? EHFF_OK : EHFF_ERR_FORMAT;
}

int ehff_blob_sizes(const uint8_t *blob, uint32_t blob_bytes, ehff_sizes *sizes, uint32_t *encoder_features)
{
    ehff_sizes s;
    ehff_encoder encoder;
    uint32_t entries = 0;
    int status = check_blob(blob, blob_bytes, &s, &encoder, &entries);
    if (status != EHFF_OK) return status;
    if (sizes != NULL) *sizes = s;
    if (encoder_features == NULL) return EHFF_OK;
    *encoder_features = 0;
    return s.blob_bytes == blob_bytes ? EHFF_OK : ehff_encoder_sizes(&encoder, NULL, encoder_features, NULL);
}

static int finished(ehff_net *net)
{
    int status = ehff_net_check(net);
    if (status != EHFF_OK) net->magic = 0;
    return status;
}

int ehff_net_load(const uint8_t *blob, uint32_t blob_bytes, void *arena, uint32_t arena_bytes, ehff_net **out)
{
    ehff_sizes sizes;
    ehff_encoder encoder;
    ehff_net *net;
    uint32_t entries = 0, at;
    int status = check_blob(blob, blob_bytes, &sizes, &encoder, &entries);
    if (status != EHFF_OK) return status;
    if (out == NULL || arena == NULL) return EHFF_ERR_NULL;
    if (arena_bytes < sizes.ram_bytes) return EHFF_ERR_ARENA;
    status = take_head(blob, blob_bytes, arena, arena_bytes, &net);
    if (status != EHFF_OK) return status;
    at = ehff_blob_first(blob);
    take(net, NULL, at, blob + at, net->blob_bytes - 4 - at);
    status = finished(net);
    if (status == EHFF_OK) *out = net;
    return status;
}

int ehff_encoder_load(const uint8_t *blob, uint32_t blob_bytes, void *table, uint32_t table_bytes,
                      ehff_encoder *encoder)
{
    ehff_sizes sizes;
    ehff_encoder e;
    const uint8_t *at;
    uint32_t i, entries = 0;
    int32_t *offset = (int32_t *)table;
    uint16_t *gain;
    int status = check_blob(blob, blob_bytes, &sizes, &e, &entries);
    if (status != EHFF_OK) return status;
    if (encoder == NULL) return EHFF_ERR_NULL;
    if (sizes.blob_bytes == blob_bytes) return EHFF_ERR_FORMAT;
    if (entries == 0) {
        *encoder = e;
        return EHFF_OK;
    }
    if (table == NULL) return EHFF_ERR_NULL;
    if (table_bytes < entries * EHFF_BLOB_ENTRY || !ehff_aligned(table)) return EHFF_ERR_ARENA;
    at = blob + sizes.blob_bytes - 4 + EHFF_BLOB_ENCODER;
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
    uint32_t head;
    int status;
    if (loader == NULL || model == NULL || bytes == NULL) return EHFF_ERR_NULL;
    loader->model = model;
    loader->blob_bytes = 0;
    model->net = NULL;
    status = take_head(bytes, n, arena, arena_bytes, &model->net);
    if (status != EHFF_OK) return fail(loader, status);
    model->arena_bytes = arena_bytes;
    model->has_encoder = model->net->has_encoder != 0;
    model->encoder.offset = NULL;
    loader->blob_bytes = ehff_get32(bytes + 40);
    loader->encoder_at = model->net->blob_bytes - 4;
    loader->at = head = ehff_blob_first(bytes);
    loader->crc = ehff_crc32(0, bytes, head);
    if (!model->has_encoder) status = ehff_model_layout(model);
    return status == EHFF_OK ? ehff_load_bytes(loader, bytes + head, n - head) : fail(loader, status);
}

/* The 16 bytes of the encoder are whole: where its table goes is known now. */
static int start_encoder(ehff_loader *loader)
{
    uint32_t entries = 0;
    int status = ehff_blob_encoder_parse(loader->fields, &loader->model->encoder, &entries);
    if (status != EHFF_OK) return status;
    if (loader->blob_bytes - loader->encoder_at - 4 != EHFF_BLOB_ENCODER + entries * EHFF_BLOB_ENTRY)
        return EHFF_ERR_FORMAT;
    return ehff_model_layout(loader->model);
}

/* Arrays go to their places; the encoder's fields and the CRC gather in the loader. */
int ehff_load_bytes(ehff_loader *loader, const uint8_t *bytes, uint32_t n)
{
    uint32_t end, some;
    if (loader == NULL || bytes == NULL) return EHFF_ERR_NULL;
    if (loader->blob_bytes == 0) return EHFF_ERR_STATE;
    if (n > loader->blob_bytes - loader->at) return fail(loader, EHFF_ERR_FORMAT);
    end = loader->blob_bytes - 4;
    for (; n > 0; n -= some, bytes += some) {
        const uint32_t at = loader->at, table = loader->encoder_at + EHFF_BLOB_ENCODER;
        some = 1;
        if (at < loader->encoder_at) {
            some = min(loader->encoder_at - at, n);
            take(loader->model->net, NULL, at, bytes, some);
        } else if (at >= table && at < end) {
            some = min(end - at, n);
            take(loader->model->net, &loader->model->encoder, at, bytes, some);
        } else {
            loader->fields[at < end ? at - loader->encoder_at : at - end] = *bytes;
        }
        if (at < end) loader->crc = ehff_crc32(loader->crc, bytes, some);
        loader->at += some;
        if (at + 1 == table && at < end) {
            const int status = start_encoder(loader);
            if (status != EHFF_OK) return fail(loader, status);
        }
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
