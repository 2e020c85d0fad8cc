/* One class more, and starting again: what is new is drawn as a fresh network draws it, the rest keeps its bits. */
#include "test.h"

#define ROOM 1024 /* words; an arena stands at its end */

static uint32_t room[ROOM], before[ROOM];

typedef struct {
    uint32_t dims[3];
    uint16_t n_per_class;
    uint8_t recipe, flags;
    const ehff_encoder *encoder;
    const ehff_conv *conv;
} shape;

static const int32_t offsets[24] = {3, -4, 5, 70000};
static const uint16_t gains[24] = {1000, 2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                                   13,   14, 15, 16, 17, 18, 19, 20, 21, 22, 23};
static const ehff_encoder plain = {EHFF_RAW_U8, EHFF_ENC_PLAIN, 0, 1, 0, 0, 24, 1, 1, NULL, NULL};
static const ehff_encoder table = {EHFF_RAW_I8, EHFF_ENC_PLAIN, 0, 0, 2, 50, 23, 1, 1, offsets, gains};
static const ehff_conv conv[2] = {{4, 6, 1, EHFF_CONV, 3, 3, 1, 1, 1, 1, EHFF_POOL_MAX, 2, 2, 1, 3, 0, 0, 0}, {0}};
static const ehff_conv convs[2] = {{2, 4, 3, EHFF_CONV, 1, 2, 1, 1, 0, 1, EHFF_POOL_NONE, 1, 1, 2, 2, 0, 0, 0},
                                   {0, 0, 0, EHFF_DEPTHWISE, 2, 2, 1, 2, 0, 0, EHFF_POOL_NONE, 1, 1, 1, 2, 0, 0, 0}};
static const shape shapes[] = {
    {{24, 5, 4}, 1, EHFF_INT8, EHFF_CAP, NULL, NULL},      {{24, 5, 3}, 3, EHFF_INT16, EHFF_REVIVE, NULL, NULL},
    {{24, 5, 4}, 1, EHFF_INT8, 0, &plain, NULL},           {{24, 3, 7}, 2, EHFF_INT16, EHFF_CAP, &table, NULL},
    {{24, 2, 1}, 1, EHFF_INT8, EHFF_CAP, &plain, NULL},    {{24, 2, 1}, 1, EHFF_INT16, EHFF_CAP, &table, NULL},
    {{24, 1, 1}, 64, EHFF_INT8, EHFF_CAP, &table, NULL},   {{24, 3, 4}, 2, EHFF_INT8, EHFF_CAP, &table, conv},
    {{24, 2, 2}, 3, EHFF_INT16, EHFF_REVIVE, NULL, convs}, {{24, 2, 2}, 1, EHFF_INT8, EHFF_CAP, &plain, convs},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

static ehff_config config_of(const shape *s, uint16_t n_classes)
{
    ehff_config c = {s->dims, s->conv, NULL, 2, 0, EHFF_JOIN_LAST, 0, 16, 3, 1, 17728, 801, 4001, 7001, 1501, 1234};
    c.recipe = s->recipe;
    c.flags = s->flags;
    c.n_classes = n_classes;
    c.n_per_class = s->n_per_class;
    return c;
}

static uint8_t *arena_of(uint32_t bytes) { return (uint8_t *)(room + ROOM - (bytes + 3) / 4); }

static void sample(uint32_t i, uint8_t *raw, uint32_t n)
{
    uint32_t j, s = i * 7919 + 5;
    for (j = 0; j < n; j++) {
        s = s * 1664525u + 1013904223u;
        raw[j] = (uint8_t)(s >> 24);
    }
}

static void train_some(ehff_model *m, uint32_t n_classes)
{
    int16_t raw[24];
    int32_t a[24], shift;
    uint32_t i, j, root;
    for (i = 0; i < 9; i++) {
        sample(i, (uint8_t *)raw, m->raw_bytes < 48 ? m->raw_bytes : 48);
        if (!m->has_encoder) {
            for (j = 0; j < 24; j++) a[j] = ((const uint8_t *)raw)[j];
            CHECK(ehff_unit(a, 24, raw, &root, &shift) == EHFF_OK);
        }
        CHECK(ehff_model_train(m, raw, m->raw_bytes, (uint16_t)(i % n_classes), NULL) == EHFF_OK);
    }
}

/* A model of the shape with three classes that took some steps, in so many bytes at the end of room; its blob. */
static uint32_t make_model(const shape *s, uint32_t bytes, ehff_model *m)
{
    ehff_config c = config_of(s, 3);
    ehff_net *net = NULL;
    ehff_loader loader;
    uint32_t n, i;
    for (i = 0; i < ROOM; i++) room[i] = 0xA5A5A5A5u;
    CHECK(ehff_net_init(&c, test.arena, sizeof test.arena, &net) == EHFF_OK);
    n = ehff_net_blob_bytes(net, s->encoder);
    CHECK(n <= sizeof test.blob && ehff_net_save(net, s->encoder, (uint8_t *)test.blob, n) == EHFF_OK);
    CHECK(ehff_load_begin(&loader, m, (uint8_t *)test.blob, n, arena_of(bytes), bytes) == EHFF_OK);
    CHECK(ehff_load_end(&loader) == EHFF_OK);
    train_some(m, 3);
    CHECK(ehff_net_save(m->net, m->has_encoder ? &m->encoder : NULL, (uint8_t *)test.blob, n) == EHFF_OK);
    return n;
}

/* Elements of a layer's prototypes. */
static uint32_t head_of(const shape *s, uint32_t l)
{
    const ehff_conv *c = s->conv == NULL || s->conv[l].kind == EHFF_DENSE ? NULL : s->conv + l;
    return s->dims[l + 1] * (c == NULL ? 1 : (uint32_t)c->grid_h * c->grid_w);
}

/* What the blob in test.blob becomes with a class more: into test.other. A fresh network gives its prototypes. */
static uint32_t spliced(const shape *s)
{
    const uint8_t *from = (const uint8_t *)test.blob;
    uint8_t *to = (uint8_t *)test.other;
    ehff_config c = config_of(s, 4);
    ehff_net *fresh = NULL;
    uint32_t l, i, at, n = 0, old, new;
    CHECK(ehff_net_init(&c, test.arena, sizeof test.arena, &fresh) == EHFF_OK);
    at = s->conv == NULL ? EHFF_LOAD_FIRST(2) : EHFF_LOAD_FIRST_CONV(2);
    for (i = 0; i < at; i++) to[n++] = from[i];
    for (l = 0; l < 2; l++) {
        const int16_t *p = (const int16_t *)ehff_net_protos(fresh, (uint8_t)l);
        const uint32_t head = head_of(s, l);
        ehff_layer_stats stats;
        CHECK(ehff_net_layer_stats(fresh, (uint8_t)l, &stats) == EHFF_OK);
        old = 3u * s->n_per_class * head;
        new = 4u * s->n_per_class * head;
        for (i = 0; i < stats.n_in * stats.n_out * (s->recipe == EHFF_INT8 ? 1 : 2) + old * 2; i++)
            to[n++] = from[at++];
        for (i = old; i < new; i++) {
            to[n++] = (uint8_t)p[i];
            to[n++] = (uint8_t)((uint16_t)p[i] >> 8);
        }
    }
    if (s->encoder != NULL)
        for (i = 0; i < 16 + (s->encoder->offset != NULL ? 6u * 23 : 0); i++) to[n++] = from[at++];
    to[12] = 4;
    n += 4;
    for (i = 0; i < 4; i++) to[40 + i] = (uint8_t)(n >> (8 * i));
    at = ehff_crc32(0, to, n - 4);
    for (i = 0; i < 4; i++) to[n - 4 + i] = (uint8_t)(at >> (8 * i));
    return n;
}

/* Bytes that the model takes with so many classes. */
static uint32_t bytes_with(const shape *s, uint16_t n_classes)
{
    ehff_config c = config_of(s, n_classes);
    ehff_net *net = NULL;
    CHECK(ehff_net_init(&c, test.arena, sizeof test.arena, &net) == EHFF_OK);
    return ehff_model_bytes(net, s->encoder);
}

/* What adding a class needs: the model before it and after it. */
static uint32_t bytes_to_add(const shape *s)
{
    const uint32_t now = bytes_with(s, 3), then = bytes_with(s, 4);
    return then > now ? then : now;
}

static void check_added(const shape *s)
{
    const uint32_t bytes = bytes_to_add(s);
    ehff_model m, expected;
    ehff_loader loader;
    uint32_t n, i, same = 1;
    uint8_t *blob = (uint8_t *)test.arena;
    make_model(s, bytes, &m);
    n = spliced(s);
    CHECK(ehff_model_add_class(&m) == EHFF_OK);
    CHECK(m.n_classes == 4 && m.bytes <= bytes && m.bytes == bytes_with(s, 4) &&
          m.raw_bytes == (s->encoder == NULL ? 48u : s->encoder->n_time));
    CHECK(ehff_net_check(m.net) == EHFF_OK);
    CHECK(ehff_net_blob_bytes(m.net, m.has_encoder ? &m.encoder : NULL) == n);
    CHECK(ehff_net_save(m.net, m.has_encoder ? &m.encoder : NULL, blob, n) == EHFF_OK);
    for (i = 0; i < n; i++) same &= blob[i] == ((uint8_t *)test.other)[i];
    CHECK(same);
    for (i = 0; i < ROOM - (bytes + 3) / 4; i++) same &= room[i] == 0xA5A5A5A5u;
    CHECK(same);
    /* it learns on as the spliced one does, the new class too */
    CHECK(ehff_load_begin(&loader, &expected, (uint8_t *)test.other, n, test.arena, sizeof test.arena) == EHFF_OK);
    CHECK(ehff_load_end(&loader) == EHFF_OK);
    train_some(&expected, 4);
    train_some(&m, 4);
    CHECK(ehff_net_state_crc32(m.net) == ehff_net_state_crc32(expected.net));
}

static void check_no_room(const shape *s)
{
    const uint32_t now = bytes_with(s, 3), needed = bytes_to_add(s);
    uint32_t bytes, i, same;
    for (bytes = now; bytes < needed; bytes += bytes + 5 < needed ? 4 : 1) {
        ehff_model m, copy;
        make_model(s, bytes, &m);
        copy = m;
        for (i = 0; i < ROOM; i++) before[i] = room[i];
        CHECK(ehff_model_add_class(&m) == EHFF_ERR_ARENA);
        for (i = 0, same = 1; i < ROOM; i++) same &= before[i] == room[i];
        CHECK(same);
        CHECK(m.net == copy.net && m.bytes == copy.bytes && m.n_classes == 3 && m.x == copy.x &&
              m.scratch == copy.scratch && m.encoder.offset == copy.encoder.offset);
    }
}

/* Inputs where the encoder needs more scratch than three classes have, but no more than four: the arena of the
 * model with three is enough then. */
static void check_scratch_overtaken(void)
{
    ehff_encoder e = plain;
    shape s = shapes[2];
    uint32_t overtaken = 0;
    s.encoder = &e;
    for (e.n_time = 4; e.n_time <= 40; e.n_time++) {
        s.dims[0] = e.n_time;
        if (bytes_with(&s, 4) > bytes_with(&s, 3)) continue;
        overtaken++;
        check_added(&s);
    }
    CHECK(overtaken > 0);
}

/* The same of a network alone: exactly its bytes, or nothing happens. */
static void check_network_alone(const shape *s)
{
    ehff_config c = config_of(s, 3), more = config_of(s, 4);
    const uint32_t now = ehff_net_ram_bytes(&c), bytes = ehff_net_ram_bytes(&more);
    ehff_net *net = NULL, *fresh = NULL;
    uint32_t state;
    CHECK(now < bytes && ehff_net_init(&c, arena_of(bytes), now, &net) == EHFF_OK);
    state = ehff_net_state_crc32(net);
    CHECK(ehff_net_add_class(net, bytes - 1) == EHFF_ERR_ARENA);
    CHECK(ehff_net_add_class(net, 0) == EHFF_ERR_ARENA);
    CHECK(ehff_net_state_crc32(net) == state);
    CHECK(ehff_net_add_class(net, bytes) == EHFF_OK);
    /* no step was taken: the whole is a fresh network with four classes */
    CHECK(ehff_net_init(&more, test.arena, sizeof test.arena, &fresh) == EHFF_OK);
    CHECK(ehff_net_state_crc32(net) == ehff_net_state_crc32(fresh));
}

static void check_limits(void)
{
    static const uint32_t dims[2] = {2, 1};
    shape s = shapes[0];
    ehff_config c = config_of(&s, 3);
    ehff_net *net = NULL;
    ehff_model none;
    test_variant frozen = test_make_variant(2);
    CHECK(ehff_net_add_class(frozen.net, sizeof test.arena) == EHFF_ERR_FROZEN);
    none.net = frozen.net;
    CHECK(ehff_model_add_class(&none) == EHFF_ERR_FROZEN);
    none.net = NULL;
    CHECK(ehff_model_add_class(&none) == EHFF_ERR_STATE && ehff_model_add_class(NULL) == EHFF_ERR_NULL);
    CHECK(ehff_net_add_class(NULL, 100) == EHFF_ERR_STATE);
    c.dims = dims;
    c.n_layers = 1;
    c.n_per_class = 64;
    c.n_classes = EHFF_MAX_PROTOTYPES / 64 - 1; /* one more is the last that the limits allow */
    if (ehff_net_ram_bytes(&c) + 2000 > sizeof test.arena) return; /* a board's buffers */
    CHECK(ehff_net_init(&c, test.arena, sizeof test.arena, &net) == EHFF_OK);
    CHECK(ehff_net_add_class(net, sizeof test.arena) == EHFF_OK);
    CHECK(ehff_net_add_class(net, sizeof test.arena) == EHFF_ERR_SHAPE);
    CHECK(ehff_net_check(net) == EHFF_OK);
}

/* A reset network is a fresh one of that seed, byte by byte of its blob. */
static void check_reset(uint32_t v)
{
    test_variant made = test_make_variant(v);
    const uint32_t n = ehff_net_blob_bytes(made.net, NULL);
    ehff_config c = config_of(&shapes[0], VARIANT_CLASSES);
    static const uint32_t dims[3] = {VARIANT_IN, 4, 3};
    ehff_net *fresh = NULL;
    uint32_t i, same = 1;
    c.dims = dims;
    c.n_per_class = 2;
    c.join = EHFF_JOIN_SUM_LOGP;
    c.recipe = v % 3 == 0 ? EHFF_INT8 : EHFF_INT16;
    c.flags = EHFF_CAP;
    c.proto_bits = v % 3 == 2 ? 8 : 16;
    c.lr_w = 70001;
    c.seed = 77;
    CHECK(ehff_net_reset(made.net, 77) == EHFF_OK);
    CHECK(ehff_net_init(&c, test.other, sizeof test.other, &fresh) == EHFF_OK);
    CHECK(ehff_net_state_crc32(made.net) == ehff_net_state_crc32(fresh));
    CHECK(ehff_net_save(made.net, NULL, (uint8_t *)test.blob, n) == EHFF_OK);
    CHECK(ehff_net_save(fresh, NULL, (uint8_t *)test.values, n) == EHFF_OK);
    for (i = 0; i < n; i++) same &= ((uint8_t *)test.blob)[i] == ((uint8_t *)test.values)[i];
    CHECK(same);
    CHECK(ehff_net_reset(NULL, 1) == EHFF_ERR_STATE);
}

void test_classes(void)
{
    uint32_t i;
    for (i = 0; i < SHAPES; i++) {
        check_added(&shapes[i]);
        check_no_room(&shapes[i]);
        check_network_alone(&shapes[i]);
    }
    check_scratch_overtaken();
    check_limits();
    for (i = 0; i < 3; i++) check_reset(i);
}
