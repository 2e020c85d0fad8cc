/* The link without storage, extras and the runner's text: what is left does the same, the rest is refused. */
#include "under_test.h"

under_test its;

uint32_t state(void) { return ehff_net_state_crc32(its.link->model.net); }

int ask(uint8_t op, const void *body, uint32_t n)
{
    static uint8_t bytes[2 * MODEL_BYTES];
    its.sequence++;
    board.out_bytes = 0;
    board_feed(bytes, host_request(op, its.sequence, its.session, (const uint8_t *)body, n, bytes));
    CHECK(host_one());
    CHECK(reply.op == op && reply.sequence == its.sequence && reply.session == its.session);
    return reply.status;
}

/* A saved model and a factory's lie there, and are not looked at. */
static void check_start(void)
{
    board_new(0xFF);
    its.blob_bytes = model_blob(MODEL_WINDOW, 1, its.blob);
    its.arena_bytes = model_arena(its.blob, its.blob_bytes, 0);
    CHECK(its.blob_bytes != 0 && its.arena_bytes != 0);
    board.factory = its.blob;
    board.factory_bytes = its.blob_bytes;
    its.link = board_start(its.arena_bytes, 1000);
    its.session = 0xABCD1234u;
    CHECK(ask(EHFF_OP_HELLO, NULL, 0) == EHFF_OK && reply.n >= 24 && reply.body[7] == 0);
}

static void check_refused(int expected)
{
    static const uint8_t ops[] = {EHFF_OP_SAVE,  EHFF_OP_LOAD,      EHFF_OP_INIT,
                                  EHFF_OP_STATS, EHFF_OP_ADD_CLASS, EHFF_OP_RATES};
    const uint32_t before = state();
    uint32_t i, n;
    for (i = 0; i < sizeof ops; i++)
        for (n = 0; n < 10; n++)
            if (n == 0 || (ops[i] != EHFF_OP_SAVE && ops[i] != EHFF_OP_ADD_CLASS))
                CHECK(ask(ops[i], "123456789", n) == (ops[i] == EHFF_OP_LOAD ? EHFF_LINK_ERR_OP : expected));
    CHECK(state() == before && board.operations == 0 && board.misuse == 0);
}

static void check_learning(void)
{
    uint8_t body[4 + MODEL_BYTES], blob[MODEL_BYTES];
    ehff_model core;
    ehff_loader loader;
    uint32_t i;
    uint16_t wanted;
    put32(body, 0);
    for (i = 0; i < its.blob_bytes; i++) body[4 + i] = its.blob[i];
    CHECK(ask(EHFF_OP_PUSH, body, 4 + its.blob_bytes) == EHFF_OK && get32(reply.body) == its.blob_bytes);
    CHECK(ehff_load_begin(&loader, &core, its.blob, its.blob_bytes, test.arena, sizeof test.arena) == EHFF_OK);
    CHECK(ehff_load_end(&loader) == EHFF_OK);
    for (i = 0; i < 50; i++) {
        const uint16_t label = (uint16_t)(i % core.n_classes);
        put32(body, label);
        model_sample(MODEL_WINDOW, i, body + 4);
        CHECK(ehff_model_train(&core, body + 4, core.raw_bytes, label, &wanted) == EHFF_OK);
        CHECK(ask(EHFF_OP_TRAIN, body, 4 + core.raw_bytes) == EHFF_OK && get32(reply.body) == wanted);
        CHECK(state() == ehff_net_state_crc32(core.net) && reply.steps == 11 + i);
        put32(body, 0);
        CHECK(ehff_model_predict(&core, body + 4, core.raw_bytes, &wanted, NULL) == EHFF_OK);
        CHECK(ask(EHFF_OP_PREDICT, body, 4 + core.raw_bytes) == EHFF_OK && get32(reply.body) == wanted);
    }
    CHECK(ask(EHFF_OP_CRC, NULL, 0) == EHFF_OK && get32(reply.body + 4) == state());
    CHECK(ehff_net_save(core.net, &core.encoder, blob, its.blob_bytes) == EHFF_OK);
    put32(body, 0);
    body[4] = (uint8_t)its.blob_bytes;
    body[5] = (uint8_t)(its.blob_bytes >> 8);
    CHECK(ask(EHFF_OP_PULL, body, 6) == EHFF_OK && reply.n == 4 + its.blob_bytes);
    for (i = 0; i < its.blob_bytes; i++) CHECK(reply.body[4 + i] == blob[i]);
}

static void check_text(void)
{
    board.out_bytes = 0;
    board_feed((const uint8_t *)"name%", 5);
    CHECK(board.out_bytes == 0);
    board_feed((const uint8_t *)"", 1);
    CHECK(host_one() && reply.status == EHFF_LINK_ERR_FRAME);
}

int main(void)
{
    check_start();
    check_refused(EHFF_LINK_ERR_MODEL);
    check_learning();
    check_refused(EHFF_LINK_ERR_OP);
    check_text();
    board_stop();
    return test_close();
}
