/* Runs the checks of the link and of the slots against a simulated board; ends with "N passed, M failed". */
#include "under_test.h"

under_test its;

uint32_t state(void) { return ehff_net_state_crc32(its.link->model.net); }

void reboot(uint16_t frame_bytes) { its.link = board_start(its.arena_bytes, frame_bytes); }

void begin(uint32_t model, uint16_t frame_bytes)
{
    board_new(0xFF);
    its.blob_bytes = model_blob(model, 1, its.blob);
    CHECK(its.blob_bytes != 0);
    its.arena_bytes = model_arena(its.blob, its.blob_bytes, model == MODEL_FROZEN ? 0 : 2);
    CHECK(its.arena_bytes != 0);
    board.factory = its.blob;
    board.factory_bytes = its.blob_bytes;
    reboot(frame_bytes);
    its.session = 0xABCD0000u + model;
    its.sequence = (uint16_t)(1000 * model);
    CHECK(ask_as(EHFF_OP_HELLO, its.sequence, its.session, NULL, 0) == EHFF_OK);
}

int ask_as(uint8_t op, uint16_t sequence, uint32_t session, const void *body, uint32_t n)
{
    static uint8_t bytes[1 << 15];
    uint32_t steps = 0;
    board.out_bytes = 0;
    board_feed(bytes, host_request(op, sequence, session, (const uint8_t *)body, n, bytes));
    (void)ehff_net_get_step(its.link->model.net, &steps);
    CHECK(host_one());
    CHECK(reply.op == op && reply.sequence == sequence && reply.session == its.link->session);
    CHECK(reply.steps == steps);
    CHECK(board.misuse == 0);
    return reply.status;
}

int ask(uint8_t op, const void *body, uint32_t n)
{
    its.sequence++;
    return ask_as(op, its.sequence, its.session, body, n);
}

int body_is(uint32_t v) { return reply.n == 4 && get32(reply.body) == v; }

static uint32_t sample_body(uint32_t model, uint32_t i, uint16_t first, uint8_t *body)
{
    put32(body, first);
    model_sample(model, i, body + 4);
    return 4 + model_raw_bytes(model);
}

int train(uint32_t model, uint32_t i, uint16_t label)
{
    uint8_t body[32];
    const uint32_t n = sample_body(model, i, label, body);
    return ask(EHFF_OP_TRAIN, body, n);
}

int predict(uint32_t model, uint32_t i, uint16_t flags)
{
    uint8_t body[32];
    const uint32_t n = sample_body(model, i, flags, body);
    return ask(EHFF_OP_PREDICT, body, n);
}

int main(void)
{
    test_session();
    test_requests();
    test_push();
    test_runner();
    test_slots();
    board_stop();
    return test_close();
}
