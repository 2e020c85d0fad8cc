/* Every request: what it does, and what it refuses. PUSH and the slots have tests of their own. */
#include "under_test.h"

static int changes(uint8_t op)
{
    return op != EHFF_OP_PULL && op != EHFF_OP_PREDICT && op != EHFF_OP_STATS && op != EHFF_OP_CRC;
}

/* Refused with this status, and nothing is changed. */
static void refused(uint8_t op, const void *body, uint32_t n, int status)
{
    const uint32_t before = state();
    CHECK(ask(op, body, n) == status);
    CHECK(state() == before);
    CHECK(reply.n == (changes(op) ? 4u : 0u));
}

static void check_unknown(void)
{
    uint32_t op;
    begin(MODEL_PLAIN, FRAME);
    for (op = 0; op < 128; op++)
        if (op == 0 || op > EHFF_OP_RATES) CHECK(ask((uint8_t)op, "body", op % 5) == EHFF_LINK_ERR_OP);
    CHECK(state() == ehff_net_state_crc32(its.link->model.net) && reply.steps == 10);
}

static void check_no_model(void)
{
    uint8_t op;
    begin(MODEL_PLAIN, FRAME);
    board.factory_bytes = 0;
    reboot(FRAME);
    CHECK(ask_as(EHFF_OP_HELLO, its.sequence, its.session, NULL, 0) == EHFF_OK);
    CHECK(reply.body[7] == EHFF_LINK_HAS_STORAGE && reply.steps == 0);
    for (op = 0; op < 20; op++) {
        if (op == EHFF_OP_HELLO || op == EHFF_OP_PUSH || op == EHFF_OP_LOAD) continue;
        CHECK(ask(op, "123456789", 9) == EHFF_LINK_ERR_MODEL); /* one that does not exist, too */
    }
    CHECK(ask(EHFF_OP_LOAD, "\0", 1) == EHFF_LINK_ERR_EMPTY);
    CHECK(ask(EHFF_OP_LOAD, "\1", 1) == EHFF_LINK_ERR_EMPTY);
}

static void check_init(void)
{
    uint8_t blob[MODEL_BYTES], memory[4];
    ehff_net *net = NULL;
    begin(MODEL_U8, FRAME);
    put32(memory, 123456);
    CHECK(ask(EHFF_OP_INIT, memory, 4) == EHFF_OK && body_is(0) && reply.steps == 0);
    CHECK(ehff_net_load(its.blob, its.blob_bytes, test.arena, sizeof test.arena, &net) == EHFF_OK);
    CHECK(ehff_net_reset(net, 123456) == EHFF_OK && ehff_net_state_crc32(net) == state());
    CHECK(model_blob(MODEL_U8, 2, blob) != 0);
    refused(EHFF_OP_INIT, memory, 3, EHFF_LINK_ERR_LENGTH);
    refused(EHFF_OP_INIT, memory, 0, EHFF_LINK_ERR_LENGTH);
    refused(EHFF_OP_INIT, "five!", 5, EHFF_LINK_ERR_LENGTH);
}

/* The link's model and one made by the core from the same blob answer and learn alike. */
static void check_learning(uint32_t model)
{
    ehff_model core;
    ehff_loader loader;
    uint32_t i, c;
    uint16_t label, wanted;
    uint64_t raw[4];
    int32_t score[24];
    begin(model, FRAME);
    CHECK(ehff_load_begin(&loader, &core, its.blob, its.blob_bytes, test.arena, sizeof test.arena) == EHFF_OK);
    CHECK(ehff_load_end(&loader) == EHFF_OK);
    for (i = 0; i < 30; i++) {
        model_sample(model, i, (uint8_t *)raw);
        CHECK(ehff_model_predict(&core, raw, model_raw_bytes(model), &wanted, score) == EHFF_OK);
        CHECK(predict(model, i, 0) == EHFF_OK && body_is(wanted));
        CHECK(predict(model, i, 0xFFFF) == EHFF_OK && reply.n == 4 + 4u * core.n_classes);
        CHECK(get32(reply.body) == (wanted | (uint32_t)core.n_classes << 16));
        for (c = 0; c < core.n_classes; c++) CHECK(get32(reply.body + 4 + 4 * c) == (uint32_t)score[c]);
        label = (uint16_t)(i % core.n_classes);
        CHECK(ehff_model_train(&core, raw, model_raw_bytes(model), label, &wanted) == train(model, i, label));
        if (model != MODEL_FROZEN) CHECK(body_is(wanted) && reply.steps == 11 + i);
        CHECK(state() == ehff_net_state_crc32(core.net));
    }
    CHECK(ask(EHFF_OP_CRC, NULL, 0) == EHFF_OK && reply.n == 8);
    CHECK(get32(reply.body) == ehff_net_weights_crc32(core.net) && get32(reply.body + 4) == state());
}

static void check_samples(void)
{
    static const uint8_t long_one[16] = {0, 0, 0, 0, 255, 127, 255, 127};
    uint8_t body[64] = {0};
    uint32_t n;
    begin(MODEL_PLAIN, FRAME);
    for (n = 0; n < 64; n++) {
        if (n == 16) continue;
        refused(EHFF_OP_TRAIN, body, n, n < 4 ? EHFF_LINK_ERR_LENGTH : EHFF_ERR_SHAPE);
        refused(EHFF_OP_PREDICT, body, n, n < 4 ? EHFF_LINK_ERR_LENGTH : EHFF_ERR_SHAPE);
    }
    refused(EHFF_OP_TRAIN, long_one, 16, EHFF_ERR_RANGE);
    refused(EHFF_OP_PREDICT, long_one, 16, EHFF_ERR_RANGE);
    body[0] = 3;
    refused(EHFF_OP_TRAIN, body, 16, EHFF_ERR_LABEL);
    body[0] = 0;
    body[1] = 1;
    refused(EHFF_OP_TRAIN, body, 16, EHFF_ERR_LABEL);
    begin(MODEL_FROZEN, FRAME);
    refused(EHFF_OP_TRAIN, body, 12, EHFF_ERR_LABEL);
    body[1] = 0;
    refused(EHFF_OP_TRAIN, body, 12, EHFF_ERR_FROZEN);
    refused(EHFF_OP_ADD_CLASS, NULL, 0, EHFF_ERR_FROZEN);
    /* scores of 24 classes: 4 + 96 bytes of reply */
    begin(MODEL_MANY, 16 + 100);
    CHECK(predict(MODEL_MANY, 1, 1) == EHFF_OK && reply.n == 100);
    begin(MODEL_MANY, 16 + 99);
    CHECK(predict(MODEL_MANY, 1, 1) == EHFF_LINK_ERR_LENGTH && reply.n == 0);
    CHECK(predict(MODEL_MANY, 1, 0) == EHFF_OK && reply.n == 4);
}

static void check_pull(uint32_t model, uint16_t frame_bytes)
{
    uint8_t body[6] = {0}, blob[MODEL_BYTES];
    uint32_t at, n, i, room = frame_bytes - 20u, same = 1;
    begin(model, frame_bytes);
    if (model != MODEL_FROZEN) CHECK(train(model, 1, 1) == EHFF_OK);
    CHECK(ehff_net_save(its.link->model.net, its.link->model.has_encoder ? &its.link->model.encoder : NULL, blob,
                        its.blob_bytes) == EHFF_OK);
    for (n = 1; n < 1000; n += n < 9 ? 1 : 333) {
        for (at = 0; at < its.blob_bytes; at += reply.n - 4) {
            put32(body, at);
            body[4] = (uint8_t)n;
            body[5] = (uint8_t)(n >> 8);
            CHECK(ask(EHFF_OP_PULL, body, 6) == EHFF_OK && get32(reply.body) == its.blob_bytes);
            i = its.blob_bytes - at < n ? its.blob_bytes - at : n;
            CHECK(reply.n == 4 + (i < room ? i : room));
            if (reply.n <= 4) return;
            for (i = 4; i < reply.n; i++) same &= reply.body[i] == blob[at + i - 4];
        }
        CHECK(same && at == its.blob_bytes);
    }
    put32(body, its.blob_bytes);
    CHECK(ask(EHFF_OP_PULL, body, 6) == EHFF_OK && body_is(its.blob_bytes));
    put32(body, its.blob_bytes + 1);
    refused(EHFF_OP_PULL, body, 6, EHFF_LINK_ERR_OFFSET);
    put32(body, 0xFFFFFFFFu);
    refused(EHFF_OP_PULL, body, 6, EHFF_LINK_ERR_OFFSET);
    refused(EHFF_OP_PULL, body, 5, EHFF_LINK_ERR_LENGTH);
    refused(EHFF_OP_PULL, "seven b", 7, EHFF_LINK_ERR_LENGTH);
}

static void check_stats(void)
{
    uint8_t layer = 1;
    ehff_layer_stats s;
    begin(MODEL_WINDOW, FRAME);
    CHECK(train(MODEL_WINDOW, 1, 1) == EHFF_OK);
    board_feed((const uint8_t *)"x", 2); /* no frame */
    CHECK(ask_as(EHFF_OP_CRC, its.sequence, its.session, NULL, 0) == EHFF_OK);
    CHECK(ask(EHFF_OP_STATS, &layer, 1) == EHFF_OK && reply.n == 36);
    CHECK(ehff_net_layer_stats(its.link->model.net, 1, &s) == EHFF_OK);
    CHECK(get32(reply.body) == its.link->model.bytes && get32(reply.body + 4) == 24);
    CHECK(get32(reply.body + 8) == 1 && get32(reply.body + 12) == 1);
    CHECK(get32(reply.body + 16) == 4 && get32(reply.body + 20) == 3 && get32(reply.body + 24) == s.updates);
    CHECK(get32(reply.body + 28) == s.saturated && get32(reply.body + 32) == s.norm && s.norm != 0);
    layer = 2;
    refused(EHFF_OP_STATS, &layer, 1, EHFF_ERR_STATE);
    refused(EHFF_OP_STATS, &layer, 0, EHFF_LINK_ERR_LENGTH);
    refused(EHFF_OP_STATS, "xx", 2, EHFF_LINK_ERR_LENGTH);
}

static void check_rates(void)
{
    uint8_t body[9] = {1, 0, 1, 0, 2, 3, 0, 64, 1};
    ehff_net *net = NULL;
    begin(MODEL_PLAIN, FRAME);
    CHECK(ask(EHFF_OP_RATES, body, 9) == EHFF_OK && body_is(0));
    CHECK(ehff_net_load(its.blob, its.blob_bytes, test.arena, sizeof test.arena, &net) == EHFF_OK);
    CHECK(ehff_net_set_rates(net, 65537, 770) == EHFF_OK && ehff_net_set_gate(net, 16384) == EHFF_OK);
    CHECK(ehff_net_set_first_layer(net, 1) == EHFF_OK && state() == ehff_net_state_crc32(net));
    refused(EHFF_OP_RATES, body, 8, EHFF_LINK_ERR_LENGTH);
    refused(EHFF_OP_RATES, "ten bytes.", 10, EHFF_LINK_ERR_LENGTH);
    body[0] = 7; /* would change, if the whole were good */
    body[3] = 1;
    refused(EHFF_OP_RATES, body, 9, EHFF_ERR_RANGE);
    body[3] = 0;
    body[5] = 33;
    refused(EHFF_OP_RATES, body, 9, EHFF_ERR_RANGE);
    body[5] = 3;
    body[6] = 1;
    body[7] = 128;
    refused(EHFF_OP_RATES, body, 9, EHFF_ERR_RANGE);
    body[7] = 64;
    body[8] = 3;
    refused(EHFF_OP_RATES, body, 9, EHFF_ERR_RANGE);
    body[8] = 2;
    CHECK(ask(EHFF_OP_RATES, body, 9) == EHFF_OK);
}

static void check_add_class(uint32_t model)
{
    ehff_model core;
    ehff_loader loader;
    uint16_t wanted;
    uint64_t raw[4];
    uint32_t n;
    begin(model, FRAME);
    CHECK(ehff_load_begin(&loader, &core, its.blob, its.blob_bytes, test.arena, sizeof test.arena) == EHFF_OK);
    CHECK(ehff_load_end(&loader) == EHFF_OK);
    for (n = 1; n <= 2; n++) {
        const uint16_t last = core.n_classes;
        CHECK(ehff_model_add_class(&core) == EHFF_OK);
        CHECK(ask(EHFF_OP_ADD_CLASS, NULL, 0) == EHFF_OK && body_is(core.n_classes));
        CHECK(ask_as(EHFF_OP_ADD_CLASS, its.sequence, its.session, NULL, 0) == EHFF_OK && body_is(core.n_classes));
        CHECK(state() == ehff_net_state_crc32(core.net));
        model_sample(model, n, (uint8_t *)raw);
        CHECK(ehff_model_train(&core, raw, model_raw_bytes(model), last, &wanted) == EHFF_OK);
        CHECK(train(model, n, last) == EHFF_OK && body_is(wanted));
        CHECK(state() == ehff_net_state_crc32(core.net));
    }
    wanted = core.n_classes; /* the arena was made for two more */
    CHECK(ask(EHFF_OP_ADD_CLASS, NULL, 0) == EHFF_ERR_ARENA && its.link->model.n_classes == wanted);
    CHECK(state() == ehff_net_state_crc32(core.net));
    CHECK(predict(model, 1, 1) == EHFF_OK && reply.n == 4 + 4u * wanted);
}

/* A body where there should be none. */
static void check_no_body(void)
{
    begin(MODEL_PLAIN, FRAME);
    refused(EHFF_OP_CRC, "x", 1, EHFF_LINK_ERR_LENGTH);
    refused(EHFF_OP_ADD_CLASS, "x", 1, EHFF_LINK_ERR_LENGTH);
    refused(EHFF_OP_SAVE, "x", 1, EHFF_LINK_ERR_LENGTH);
    CHECK(board.operations == 0 && its.link->model.n_classes == 3);
}

void test_requests(void)
{
    uint32_t model;
    check_unknown();
    check_no_model();
    check_init();
    for (model = 0; model < MODELS; model++) {
        check_learning(model);
        check_pull(model, FRAME);
        check_pull(model, model == MODEL_CONV ? 112 : 92); /* a frame holds the tables of a blob */
        check_pull(model, 1000);
        if (model != MODEL_FROZEN) check_add_class(model);
    }
    check_samples();
    check_stats();
    check_rates();
    check_no_body();
}
