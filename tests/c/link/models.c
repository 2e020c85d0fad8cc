/* Small models of every kind that a board meets. */
#include "sim.h"

static const int32_t offsets[8] = {10, 20, 30, 40, 50, 60, 70, 80};
static const uint16_t gains[8] = {100, 200, 300, 400, 500, 600, 700, 800};
static const ehff_encoder encoders[MODELS] = {
    {0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL},
    {EHFF_RAW_U8, EHFF_ENC_PLAIN, 0, 0, 3, 0, 4, 2, 1, offsets, gains},
    {EHFF_RAW_I16, EHFF_ENC_WINDOW, EHFF_FEAT_MAV | EHFF_FEAT_WL, 1, 4, -100, 6, 2, 3, offsets, gains},
    {EHFF_RAW_I8, EHFF_ENC_PLAIN, 0, 0, 0, 64, 8, 1, 1, NULL, NULL},
    {0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL},
    {0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL},
};

uint32_t model_raw_bytes(uint32_t model)
{
    static const uint32_t bytes[MODELS] = {12, 8, 24, 8, 6, 12};
    return bytes[model];
}

void model_sample(uint32_t model, uint32_t i, uint8_t *raw)
{
    const uint32_t n = model_raw_bytes(model), limit = encoders[model].n_time == 0 ? 20 : 256;
    uint32_t j, s = i * 7919 + model;
    for (j = 0; j < n; j++) {
        raw[j] = (uint8_t)(sim_random(&s) >> 8);
        if (j % 2 == 1) raw[j] = (uint8_t)(raw[j] % limit); /* int16 of at most 20 * 256: shorter than 1.0 together */
    }
}

uint32_t model_blob(uint32_t model, uint32_t seed, uint8_t *blob)
{
    static const uint32_t dims[MODELS][3] = {{6, 5, 4}, {8, 5, 0}, {9, 4, 3}, {9, 4, 0}, {3, 4, 0}, {6, 3, 0}};
    static const ehff_conv conv = {2, 3, 1, EHFF_CONV, 2, 2, 1, 1, 1, 1, EHFF_POOL_MAX, 1, 2, 2, 1, 0, 0, 0};
    static uint32_t memory[512];
    const ehff_encoder *e = encoders[model].n_time == 0 ? NULL : &encoders[model];
    ehff_config c = {NULL, NULL, NULL, 1, EHFF_INT8, 0, EHFF_CAP, 16, 3, 1, 17728, 801, EHFF_GATE_OFF, 70001, 1501, 0};
    ehff_net *net;
    uint8_t raw[24];
    int16_t x[12];
    uint32_t scratch[12], n;
    uint16_t i;
    c.dims = dims[model];
    c.seed = seed;
    if (dims[model][2] != 0) c.n_layers = 2;
    if (model == MODEL_U8) c.recipe = EHFF_INT16;
    if (model == MODEL_WINDOW) c.n_per_class = 2;
    if (model == MODEL_FROZEN) c.proto_bits = 8;
    if (model == MODEL_MANY) c.n_classes = 24;
    if (model == MODEL_CONV) c.conv = &conv;
    if (ehff_net_init(&c, memory, sizeof memory, &net) != EHFF_OK) return 0;
    for (i = 0; i < 12 && model == MODEL_FROZEN; i++) {
        ((int8_t *)ehff_net_protos(net, 0))[i] = (int8_t)((i * 17 + seed) % 200 - 100);
        ehff_net_proto_scales(net, 0)[i / 4] = (uint16_t)(9000 + i);
    }
    for (i = 0; i < 10 && model != MODEL_FROZEN; i++) {
        model_sample(model, seed * 100 + i, raw);
        for (n = 0; n < model_raw_bytes(model) / 2; n++) x[n] = (int16_t)(raw[2 * n] | raw[2 * n + 1] << 8);
        if (e != NULL && ehff_encode(e, e->raw == EHFF_RAW_I16 ? (void *)x : (void *)raw,
                                     (uint32_t)e->n_time * e->n_channels, scratch, sizeof scratch, x) != EHFF_OK)
            return 0;
        if (ehff_net_train(net, x, dims[model][0], i % c.n_classes, NULL) != EHFF_OK) return 0;
    }
    n = ehff_net_blob_bytes(net, e);
    return n <= MODEL_BYTES && ehff_net_save(net, e, blob, n) == EHFF_OK ? n : 0;
}

uint32_t model_first(const uint8_t *blob)
{
    return blob[4] == EHFF_BLOB_CONV_VERSION ? EHFF_LOAD_FIRST_CONV((uint32_t)blob[6])
                                             : EHFF_LOAD_FIRST((uint32_t)blob[6]);
}

uint32_t model_arena(const uint8_t *blob, uint32_t n, uint32_t more)
{
    static uint32_t memory[1024];
    ehff_model model;
    ehff_loader loader;
    if (ehff_load_begin(&loader, &model, blob, n, memory, sizeof memory) != EHFF_OK) return 0;
    if (ehff_load_end(&loader) != EHFF_OK) return 0;
    while (more-- > 0)
        if (ehff_model_add_class(&model) != EHFF_OK) return 0;
    return model.bytes;
}

void model_repair(uint8_t *blob, uint32_t n) { put32(blob + n - 4, ehff_crc32(0, blob, n - 4)); }
