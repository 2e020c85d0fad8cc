/* Frames, sessions and sequences: what is broken is said so, and nothing is carried out twice. */
#include "under_test.h"

#define WINDOW EHFF_LINK_WINDOW

/* Bytes to the board that are no frame: one reply of op 255, and nothing else happens. */
static void refuse(const uint8_t *bytes, uint32_t n)
{
    const uint32_t before = state(), bad = its.link->bad_frames;
    board.out_bytes = 0;
    board_feed(bytes, n);
    CHECK(host_one());
    CHECK(reply.op == (EHFF_OP_BAD_FRAME & 0x7F) && reply.status == EHFF_LINK_ERR_FRAME && reply.n == 0);
    CHECK(reply.session == its.session && reply.sequence == 0);
    CHECK(state() == before && its.link->bad_frames == bad + 1);
    CHECK(ask(EHFF_OP_CRC, NULL, 0) == EHFF_OK); /* the line goes on */
}

/* The frame of the next request: TRAIN, which would change the model. */
static uint32_t next_train(uint8_t *bytes)
{
    uint8_t body[16];
    put32(body, 1);
    model_sample(MODEL_PLAIN, 3, body + 4);
    return host_request(EHFF_OP_TRAIN, (uint16_t)(its.sequence + 1), its.session, body, sizeof body, bytes);
}

static void check_bad_frames(void)
{
    static const uint8_t zeros[3] = {0, 0, 0}, beyond[3] = {5, 1, 0}, one[2] = {1, 0};
    uint8_t bytes[64];
    uint32_t n, i, k;
    begin(MODEL_PLAIN, FRAME);
    for (i = 0; i + 1 < next_train(bytes); i++)
        for (k = 0; k < 9; k++) {
            n = next_train(bytes);
            bytes[i] ^= (uint8_t)(k < 8 ? 1u << k : 0xFFu);
            if (bytes[i] != 0) refuse(bytes, n); /* else they are two frames */
        }
    for (i = 1; i + 1 < next_train(bytes); i++) { /* cut off: its zero comes early */
        bytes[i] = 0;
        refuse(bytes, i + 1);
    }
    refuse(beyond, sizeof beyond);
    refuse(one, sizeof one);
    for (i = 0; i < EHFF_LINK_HEADER; i++) { /* a good CRC, but shorter than a header */
        n = host_frame((const uint8_t *)"shorter", i, bytes);
        refuse(bytes, n);
    }
    board.out_bytes = 0;
    board_feed(zeros, sizeof zeros); /* between frames: nothing */
    CHECK(board.out_bytes == 0);
    CHECK(train(MODEL_PLAIN, 3, 1) == EHFF_OK && reply.steps == 11);
}

static void check_long_frames(void)
{
    static uint8_t bytes[1 << 15];
    uint8_t body[400];
    uint32_t n, i, fits = 0, longer = 0;
    for (i = 0; i < sizeof body; i++) body[i] = (uint8_t)(i % 251 + 1);
    begin(MODEL_PLAIN, 300);
    for (i = 200; i < 400; i++) {
        n = host_request(EHFF_OP_PREDICT, (uint16_t)(its.sequence + 1), its.session, body, i, bytes);
        if (n - 1 <= 300) {
            CHECK(ask(EHFF_OP_PREDICT, body, i) == EHFF_ERR_SHAPE);
            fits = n - 1;
        } else {
            refuse(bytes, n);
            longer++;
        }
    }
    CHECK(fits == 300 && longer > 100);
    CHECK(EHFF_LINK_FRAME_BYTES(10) == 23 && EHFF_LINK_FRAME_BYTES(242) == 256);
    for (i = 0; i < 65536; i++) board_feed(body, 1); /* as long as 16 bits count, and then a good frame */
    n = next_train(bytes);
    refuse(bytes, n);
}

static void check_hello(void)
{
    begin(MODEL_PLAIN, FRAME);
    CHECK(reply.n == 24 + 3 && reply.body[24] == 's' && reply.body[26] == 'm');
    CHECK(reply.body[0] == EHFF_LINK_VERSION && reply.body[1] == EHFF_BLOB_VERSION);
    CHECK(reply.body[2] == FRAME && reply.body[3] == 0 && reply.body[4] == 64 && reply.body[6] == WINDOW);
    CHECK(reply.body[7] == (EHFF_LINK_HAS_MODEL | EHFF_LINK_HAS_STORAGE | EHFF_LINK_HAS_FACTORY));
    CHECK(get32(reply.body + 8) == 0 && get32(reply.body + 12) == its.arena_bytes);
    CHECK(get32(reply.body + 16) == 4000 && get32(reply.body + 20) == 300);
    CHECK(reply.steps == 10);
    CHECK(ask(EHFF_OP_SAVE, NULL, 0) == EHFF_OK && body_is(1));
    /* another session: the one before is told, and the next request follows HELLO's sequence */
    CHECK(ask_as(EHFF_OP_HELLO, 7, 99, NULL, 0) == EHFF_OK);
    CHECK(get32(reply.body + 8) == its.session && (reply.body[7] & EHFF_LINK_HAS_SAVED));
    CHECK(ask_as(EHFF_OP_CRC, 8, its.session, NULL, 0) == EHFF_LINK_ERR_SESSION && reply.n == 0 && reply.session == 99);
    CHECK(ask_as(EHFF_OP_INIT, 8, 99, "abcd", 4) == EHFF_OK);
    /* HELLO again in the same session: no sequence is forgotten, whatever it carries */
    CHECK(ask_as(EHFF_OP_HELLO, 500, 99, NULL, 0) == EHFF_OK && get32(reply.body + 8) == its.session);
    CHECK(ask_as(EHFF_OP_INIT, 8, 99, "abcd", 4) == EHFF_OK && its.link->repeats == 1);
    CHECK(ask_as(EHFF_OP_CRC, 9, 99, NULL, 0) == EHFF_OK);
    CHECK(ask_as(EHFF_OP_HELLO, 3, 0, NULL, 0) == EHFF_LINK_ERR_SESSION);
    /* a new session forgets the answers of the old: the same sequence and request has none */
    CHECK(ask_as(EHFF_OP_HELLO, 8, 100, NULL, 0) == EHFF_OK && get32(reply.body + 8) == 99);
    CHECK(ask_as(EHFF_OP_INIT, 8, 100, "abcd", 4) == EHFF_LINK_ERR_SEQUENCE && body_is(9));
    /* the shortest frame that firmware may have: the name is cut */
    begin(MODEL_PLAIN, 40);
    CHECK(reply.n == 24);
    begin(MODEL_PLAIN, 42);
    CHECK(reply.n == 26);
}

static void check_sessions(void)
{
    uint8_t op;
    uint32_t before;
    begin(MODEL_U8, FRAME);
    before = state();
    for (op = 0; op < 100; op++) {
        if (op == EHFF_OP_HELLO) continue;
        CHECK(ask_as(op, (uint16_t)(its.sequence + 1), its.session + 1, NULL, 0) == EHFF_LINK_ERR_SESSION);
        CHECK(ask_as(op, (uint16_t)(its.sequence + 1), 0, NULL, 0) == EHFF_LINK_ERR_SESSION);
    }
    reboot(FRAME); /* it knows no session then: nothing but HELLO is heard */
    for (op = 0; op < 100; op++) {
        if (op == EHFF_OP_HELLO) continue;
        CHECK(ask_as(op, 1, its.session, NULL, 0) == EHFF_LINK_ERR_SESSION && reply.session == 0);
        CHECK(ask_as(op, 1, 0, NULL, 0) == EHFF_LINK_ERR_SESSION);
    }
    CHECK(ask_as(EHFF_OP_HELLO, 1, 0, NULL, 0) == EHFF_LINK_ERR_SESSION);
    CHECK(state() == before);
}

/* A request in the past or too far in the future: refused, and the next sequence is said. */
static void refuse_sequence(uint16_t sequence)
{
    const uint32_t before = state();
    uint8_t body[16];
    put32(body, 0);
    model_sample(MODEL_PLAIN, 1, body + 4);
    CHECK(ask_as(EHFF_OP_TRAIN, sequence, its.session, body, 16) == EHFF_LINK_ERR_SEQUENCE);
    CHECK(body_is((uint16_t)(its.sequence + 1)));
    CHECK(state() == before);
}

/* Steps from this sequence on, each repeated while its answer is kept. */
static void train_through(uint16_t first)
{
    uint32_t i, k;
    uint8_t body[16], kept[70][4];
    begin(MODEL_PLAIN, FRAME);
    its.session = 5;
    its.sequence = first;
    CHECK(ask_as(EHFF_OP_HELLO, first, 5, NULL, 0) == EHFF_OK);
    for (k = 1; k <= WINDOW; k++) refuse_sequence((uint16_t)(its.sequence + 1 - k)); /* nothing was done there */
    for (i = 0; i < 40; i++) {
        uint32_t after, steps;
        CHECK(train(MODEL_PLAIN, i, (uint16_t)(i % 3)) == EHFF_OK && reply.n == 4);
        put32(kept[i], get32(reply.body));
        after = state();
        steps = reply.steps;
        CHECK(steps == 11 + i);
        for (k = 0; k < WINDOW && k <= i; k++) {
            const uint32_t repeats = its.link->repeats;
            put32(body, (i - k) % 3);
            model_sample(MODEL_PLAIN, i - k, body + 4);
            CHECK(ask_as(EHFF_OP_TRAIN, (uint16_t)(its.sequence - k), 5, body, 16) == EHFF_OK);
            CHECK(body_is(get32(kept[i - k])) && reply.steps == steps && state() == after);
            CHECK(its.link->repeats == repeats + 1);
            /* the same sequence with another request is not what was answered */
            CHECK(ask_as(EHFF_OP_INIT, (uint16_t)(its.sequence - k), 5, body, 4) == EHFF_LINK_ERR_SEQUENCE);
            CHECK(ask_as(EHFF_OP_CRC, (uint16_t)(its.sequence - k), 5, NULL, 0) == EHFF_OK); /* does no harm */
            CHECK(state() == after);
        }
        refuse_sequence((uint16_t)(its.sequence - WINDOW));
        CHECK(ask_as(EHFF_OP_CRC, (uint16_t)(its.sequence - WINDOW), 5, NULL, 0) == EHFF_LINK_ERR_SEQUENCE);
        refuse_sequence((uint16_t)(its.sequence + 2));
        refuse_sequence((uint16_t)(its.sequence + 32768));
    }
}

static void check_repeated_refusal(void)
{
    begin(MODEL_PLAIN, FRAME);
    CHECK(train(MODEL_PLAIN, 1, 77) == EHFF_ERR_LABEL && body_is(0));
    CHECK(ask_as(EHFF_OP_TRAIN, its.sequence, its.session, "no matter", 9) == EHFF_ERR_LABEL && body_is(0));
    CHECK(predict(MODEL_PLAIN, 1, 0) == EHFF_OK);
    /* a sequence that PREDICT had holds no answer for TRAIN */
    CHECK(ask_as(EHFF_OP_TRAIN, its.sequence, its.session, "no matter", 9) == EHFF_LINK_ERR_SEQUENCE);
    CHECK(its.link->repeats == 2 && reply.steps == 10);
}

void test_session(void)
{
    check_bad_frames();
    check_long_frames();
    check_hello();
    check_sessions();
    train_through(0);
    train_through(65535);
    train_through(65516); /* wraps on the way */
    train_through(32750);
    check_repeated_refusal();
}
