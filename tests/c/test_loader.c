/* Blobs in pieces: what arrives byte by byte is what ehff_net_load makes of the whole, or nothing at all. */
#include "test.h"

#define ROOM 512 /* words; an arena stands at the end of it, so that the sanitizers see one byte too many */
#define GUARD 0x5AA5C33Cu

static uint32_t room[ROOM];
static const uint32_t dims[3] = {VARIANT_IN, 4, 3};
static const ehff_conv conv[2] = {{3, 3, 1, EHFF_CONV, 2, 2, 1, 1, 1, 0, EHFF_POOL_MEAN, 1, 2, 3, 1, 0, 0, 0}, {0}};
static const int32_t offsets[8] = {-5, 0, 700, -2147483647, 9, 8, 7, 6};
static const uint16_t gains[8] = {1, 65535, 3, 4, 500, 6, 7, 8};
static const ehff_encoder encoders[2] = {
    {EHFF_RAW_I16, EHFF_ENC_WINDOW, EHFF_FEAT_MAV | EHFF_FEAT_WL, 0, 0, -100, 6, 2, 3, NULL, NULL},
    {EHFF_RAW_I16, EHFF_ENC_WINDOW, EHFF_FEAT_MAV | EHFF_FEAT_WL, 1, 4, 7, 6, 2, 3, offsets, gains},
};

test_variant test_make_variant(uint32_t v)
{
    ehff_config c = {dims, NULL, NULL,  2,    EHFF_INT16, EHFF_JOIN_SUM_LOGP, EHFF_CAP, 16, VARIANT_CLASSES, 2, 17728,
                     801,  4001, 70001, 1501, 99};
    test_variant made = {NULL, NULL, 0, 2 * VARIANT_IN};
    int16_t x[VARIANT_IN] = {0};
    uint16_t i;
    uint8_t l;
    if (v >= 9) c.conv = conv;
    if (v % 3 == 0) c.recipe = EHFF_INT8;
    if (v % 3 == 2) c.proto_bits = 8;
    CHECK(ehff_net_init(&c, test.arena, sizeof test.arena, &made.net) == EHFF_OK);
    for (i = 0; i < VARIANT_IN && c.proto_bits == 16; i++) {
        x[i] = 16384;
        CHECK(ehff_net_train(made.net, x, VARIANT_IN, i % 3, NULL) == EHFF_OK);
        x[i] = 0;
    }
    for (l = 0; l < 2 && c.proto_bits == 8; l++)
        for (i = 0; i < 6; i++) {
            ((int8_t *)ehff_net_protos(made.net, l))[i] = (int8_t)(i * 40 - 120);
            ehff_net_proto_scales(made.net, l)[i] = (uint16_t)(i * 1000 + l);
        }
    CHECK(ehff_net_set_first_layer(made.net, 1) == EHFF_OK);
    if (v % 9 >= 3) {
        made.encoder = &encoders[v % 9 >= 6];
        made.raw_bytes = 24;
    }
    made.blob_bytes = ehff_net_blob_bytes(made.net, made.encoder);
    CHECK(ehff_net_save(made.net, made.encoder, (uint8_t *)test.blob, sizeof test.blob) == EHFF_OK);
    return made;
}

void test_variant_sample(const test_variant *v, uint32_t i, int16_t *raw)
{
    int32_t a[12], shift;
    uint32_t j, root, s = i * 7919 + 1;
    for (j = 0; j < 12; j++) {
        s = s * 1664525u + 1013904223u;
        a[j] = (int32_t)(s >> 16) - 32768;
        raw[j] = (int16_t)a[j];
    }
    if (v->encoder == NULL) CHECK(ehff_unit(a, VARIANT_IN, raw, &root, &shift) == EHFF_OK);
}

/* An arena of so many bytes that ends where room ends; what is before it is guarded. */
static uint8_t *arena_of(uint32_t bytes)
{
    uint32_t i;
    for (i = 0; i < ROOM; i++) room[i] = GUARD;
    for (i = ROOM - (bytes + 3) / 4; i < ROOM; i++) room[i] = 0;
    return (uint8_t *)(room + ROOM - (bytes + 3) / 4);
}

static int guard_holds(uint32_t bytes)
{
    uint32_t i, same = 1;
    for (i = 0; i < ROOM - (bytes + 3) / 4; i++) same &= room[i] == GUARD;
    return (int)same;
}

/* Length of the next piece: size, or for 0 the whole, or for a negative one random up to -size. */
static uint32_t piece(int32_t size, uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return size > 0 ? (uint32_t)size : size == 0 ? 0xFFFFFFFFu : (*s >> 16) % (uint32_t)-size;
}

/* n bytes of a blob to the loader in such pieces, the first long enough; the first status that is not good. */
static int load_pieces(const uint8_t *blob, uint32_t n, int32_t size, uint8_t *arena, uint32_t arena_bytes,
                       ehff_model *model, ehff_loader *loader)
{
    const uint32_t first =
        blob[4] == EHFF_BLOB_CONV_VERSION ? EHFF_LOAD_FIRST_CONV((uint32_t)2) : EHFF_LOAD_FIRST((uint32_t)2);
    uint32_t s = n * 77 + (uint32_t)size, some = piece(size, &s), at;
    int status;
    if (some < first) some = first;
    if (some > n) some = n;
    status = ehff_load_begin(loader, model, blob, some, arena, arena_bytes);
    for (at = some; at < n && status == EHFF_OK; at += some) {
        some = piece(size, &s);
        if (some > n - at) some = n - at;
        status = ehff_load_bytes(loader, blob + at, some);
    }
    return status == EHFF_OK ? ehff_load_end(loader) : status;
}

/* No load is under way, and there is no model. */
static int nothing_left(const ehff_model *model, ehff_loader *loader, uint8_t *arena)
{
    const uint8_t byte = 0;
    return model->net == NULL && ehff_load_bytes(loader, &byte, 1) == EHFF_ERR_STATE &&
           ehff_load_end(loader) == EHFF_ERR_STATE && ehff_net_check((ehff_net *)arena) == EHFF_ERR_STATE;
}

static void check_same_encoder(const ehff_encoder *a, const ehff_encoder *b)
{
    uint32_t i;
    CHECK(a->raw == b->raw && a->kind == b->kind && a->features == b->features && a->log == b->log);
    CHECK(a->gain_shift == b->gain_shift && a->bias == b->bias && a->n_time == b->n_time);
    CHECK(a->n_channels == b->n_channels && a->n_segments == b->n_segments);
    CHECK((a->offset == NULL) == (b->offset == NULL) && (a->gain == NULL) == (b->gain == NULL));
    for (i = 0; a->offset != NULL && i < 8; i++) CHECK(a->offset[i] == b->offset[i] && a->gain[i] == b->gain[i]);
}

/* The model answers and learns from raw samples as the network of ehff_net_load with its own encoder does. */
static void check_same_answers(const test_variant *v, ehff_model *model, ehff_net *net)
{
    int16_t raw[12], x[VARIANT_IN];
    const int16_t *encoded;
    int32_t score[VARIANT_CLASSES], expected[VARIANT_CLASSES];
    uint32_t i, j, scratch[VARIANT_IN];
    uint16_t label, wanted;
    for (i = 0; i < 8; i++) {
        test_variant_sample(v, i, raw);
        for (j = 0; j < VARIANT_IN; j++) x[j] = raw[j];
        if (v->encoder != NULL) CHECK(ehff_encode(v->encoder, raw, 12, scratch, sizeof scratch, x) == EHFF_OK);
        CHECK(ehff_net_predict(net, x, VARIANT_IN, &wanted, expected) == EHFF_OK);
        CHECK(ehff_model_predict(model, raw, v->raw_bytes, &label, score) == EHFF_OK);
        for (j = 0; j < VARIANT_CLASSES; j++) CHECK(score[j] == expected[j]);
        CHECK(label == wanted);
        CHECK(ehff_model_encode(model, raw, v->raw_bytes, &encoded) == EHFF_OK);
        for (j = 0; j < VARIANT_IN; j++) CHECK(encoded[j] == x[j]);
        CHECK(ehff_model_train(model, raw, v->raw_bytes, (uint16_t)(i % 3), &label) ==
              ehff_net_train(net, x, VARIANT_IN, (uint16_t)(i % 3), &wanted));
        CHECK(label == wanted && ehff_net_state_crc32(model->net) == ehff_net_state_crc32(net));
    }
    CHECK(ehff_model_predict(model, raw, v->raw_bytes - 1, &label, NULL) == EHFF_ERR_SHAPE);
    CHECK(ehff_model_train(model, raw, v->raw_bytes + 2, 0, NULL) == EHFF_ERR_SHAPE);
    CHECK(ehff_model_train(model, raw, v->raw_bytes, VARIANT_CLASSES, NULL) == EHFF_ERR_LABEL);
    CHECK(ehff_model_predict(NULL, raw, v->raw_bytes, &label, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_model_predict(model, NULL, v->raw_bytes, &label, NULL) == EHFF_ERR_NULL);
}

static void check_pieces(const test_variant *v, int32_t size)
{
    const uint8_t *blob = (const uint8_t *)test.blob;
    const uint32_t n = v->blob_bytes, bytes = ehff_model_bytes(v->net, v->encoder);
    uint8_t *arena = arena_of(bytes);
    ehff_model model;
    ehff_loader loader;
    ehff_net *net = NULL;
    CHECK(ehff_net_load(blob, n, test.other, sizeof test.other, &net) == EHFF_OK);
    CHECK(load_pieces(blob, n, size, arena, bytes, &model, &loader) == EHFF_OK);
    CHECK(model.net == (ehff_net *)arena && model.bytes == bytes && model.arena_bytes == bytes);
    CHECK(model.raw_bytes == v->raw_bytes && model.n_in == VARIANT_IN && model.n_classes == VARIANT_CLASSES);
    CHECK(model.has_encoder == (v->encoder != NULL));
    CHECK(ehff_net_state_crc32(model.net) == ehff_net_state_crc32(net));
    if (v->encoder != NULL) check_same_encoder(&model.encoder, v->encoder);
    CHECK(ehff_net_save(model.net, v->encoder ? &model.encoder : NULL, (uint8_t *)test.values, n) == EHFF_OK);
    CHECK(ehff_crc32(0, (uint8_t *)test.values, n) == ehff_crc32(0, blob, n));
    check_same_answers(v, &model, net);
    CHECK(guard_holds(bytes));
    CHECK(ehff_load_end(&loader) == EHFF_ERR_STATE);
}

/* A blob that leaves in pieces, from every offset. */
static void check_reading(const test_variant *v)
{
    static const uint32_t sizes[6] = {0, 1, 2, 3, 7, 16};
    const uint8_t *blob = (const uint8_t *)test.blob;
    const uint32_t n = v->blob_bytes;
    uint8_t *out = (uint8_t *)test.values;
    uint32_t at, k, i, some, bad = 0;
    for (at = 0; at <= n; at++)
        for (k = 0; k < 7; k++) {
            some = k == 6 ? n - at : sizes[k];
            out[some] = 0x5A;
            if (some > n - at) {
                bad += ehff_blob_read(v->net, v->encoder, at, out, some) != EHFF_ERR_SHAPE;
                continue;
            }
            bad += ehff_blob_read(v->net, v->encoder, at, out, some) != EHFF_OK;
            for (i = 0; i < some; i++) bad += out[i] != blob[at + i];
            bad += out[some] != 0x5A;
        }
    CHECK(bad == 0);
    CHECK(ehff_blob_read(v->net, v->encoder, n + 1, out, 0) == EHFF_ERR_SHAPE);
    CHECK(ehff_blob_read(v->net, v->encoder, 4, out, 0xFFFFFFFFu) == EHFF_ERR_SHAPE);
    CHECK(ehff_blob_read(v->net, v->encoder, 0, NULL, 1) == EHFF_ERR_NULL);
    CHECK(ehff_blob_read(NULL, v->encoder, 0, out, 1) == EHFF_ERR_STATE);
}

static void check_arena_sizes(const test_variant *v)
{
    const uint8_t *blob = (const uint8_t *)test.blob;
    const uint32_t bytes = ehff_model_bytes(v->net, v->encoder);
    ehff_model model;
    ehff_loader loader;
    uint32_t less;
    CHECK(bytes >= ehff_model_bytes(v->net, NULL) && bytes < sizeof room);
    for (less = 1; less <= bytes; less += less < 20 ? 1 : 13) {
        uint8_t *arena = arena_of(bytes - less);
        CHECK(load_pieces(blob, v->blob_bytes, 7, arena, bytes - less, &model, &loader) == EHFF_ERR_ARENA);
        CHECK(guard_holds(bytes - less));
        if (bytes - less >= 4) CHECK(nothing_left(&model, &loader, arena));
    }
    CHECK(load_pieces(blob, v->blob_bytes, 7, (uint8_t *)room + 2, bytes, &model, &loader) == EHFF_ERR_ARENA);
    CHECK(load_pieces(blob, v->blob_bytes, 7, NULL, bytes, &model, &loader) == EHFF_ERR_NULL);
    CHECK(ehff_load_begin(NULL, &model, blob, 200, room, bytes) == EHFF_ERR_NULL);
    CHECK(ehff_load_begin(&loader, NULL, blob, 200, room, bytes) == EHFF_ERR_NULL);
    CHECK(ehff_load_begin(&loader, &model, NULL, 200, room, bytes) == EHFF_ERR_NULL);
    CHECK(ehff_load_bytes(NULL, blob, 1) == EHFF_ERR_NULL && ehff_load_end(NULL) == EHFF_ERR_NULL);
}

/* Cut off, too long, or with a byte changed: a status, and no model. */
static void check_damage(const test_variant *v)
{
    static const int32_t sizes[3] = {0, 1, 16};
    uint8_t *blob = (uint8_t *)test.blob;
    const uint32_t n = v->blob_bytes, bytes = ehff_model_bytes(v->net, v->encoder);
    ehff_model model;
    ehff_loader loader;
    uint32_t i, bit, k, bad = 0;
    for (k = 0; k < 3; k++) {
        for (i = 0; i <= n + 1; i++) {
            uint8_t *arena = arena_of(bytes);
            const int status = load_pieces(blob, i, sizes[k], arena, bytes, &model, &loader);
            if (i == n)
                bad += status != EHFF_OK;
            else
                bad += status != EHFF_ERR_FORMAT || !nothing_left(&model, &loader, arena);
            bad += !guard_holds(bytes);
        }
        for (i = 0; i < n; i++)
            for (bit = 0; bit < 9; bit++) {
                const uint8_t mask = (uint8_t)(bit < 8 ? 1u << bit : 0xFFu);
                uint8_t *arena = arena_of(bytes);
                blob[i] ^= mask;
                bad += load_pieces(blob, n, sizes[k], arena, bytes, &model, &loader) >= 0;
                bad += !nothing_left(&model, &loader, arena) || !guard_holds(bytes);
                blob[i] ^= mask;
            }
    }
    CHECK(bad == 0);
}

/* With a checksum that holds, the loader takes exactly what ehff_net_load and ehff_encoder_load take. */
static void check_forgeries(const test_variant *v)
{
    uint8_t *blob = (uint8_t *)test.blob, *arena;
    const uint32_t n = v->blob_bytes, bytes = sizeof room - 64;
    ehff_model model;
    ehff_loader loader;
    ehff_encoder encoder;
    ehff_net *net;
    uint32_t i, bit, k, table[12], bad = 0, accepted = 0;
    for (i = 0; i < n - 4; i++)
        for (bit = 0; bit < 9; bit++) {
            const uint8_t mask = (uint8_t)(bit < 8 ? 1u << bit : 0xFFu);
            uint32_t crc, features = 0, has_encoder;
            int whole, pieces;
            blob[i] ^= mask;
            crc = ehff_crc32(0, blob, n - 4);
            for (k = 0; k < 4; k++) blob[n - 4 + k] = (uint8_t)(crc >> (8 * k));
            has_encoder = blob[30] | blob[31];
            net = NULL;
            whole = ehff_net_load(blob, n, test.other, bytes, &net);
            if (whole == EHFF_OK && has_encoder) {
                whole = ehff_encoder_load(blob, n, table, sizeof table, &encoder);
                if (whole == EHFF_OK) (void)ehff_encoder_sizes(&encoder, NULL, &features, NULL);
                if (whole == EHFF_OK && features != VARIANT_IN)
                    whole = EHFF_ERR_SHAPE; /* the net has loaded: n_in holds */
            }
            arena = arena_of(bytes);
            pieces = load_pieces(blob, n, 5, arena, bytes, &model, &loader);
            bad += (whole == EHFF_OK) != (pieces == EHFF_OK) || !guard_holds(bytes);
            if (pieces == EHFF_OK) {
                accepted++;
                bad += ehff_net_state_crc32(model.net) != ehff_net_state_crc32(net) || model.bytes > bytes;
            } else {
                bad += !nothing_left(&model, &loader, arena);
            }
            blob[i] ^= mask;
        }
    CHECK(bad == 0);
    CHECK(accepted > n);
}

void test_loader(void)
{
    static const int32_t sizes[9] = {0, 1, 2, 3, 7, 16, -5, -40, -120};
    uint32_t v, k;
    for (v = 0; v < VARIANTS; v++) {
        test_variant made;
        for (k = 0; k < 9; k++) {
            made = test_make_variant(v);
            check_pieces(&made, sizes[k]);
        }
        made = test_make_variant(v);
        check_reading(&made);
        check_arena_sizes(&made);
        check_damage(&made);
        check_forgeries(&made);
    }
}
