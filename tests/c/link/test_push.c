/* Models over the line: in pieces of every length, and every way to spoil one. */
#include "under_test.h"

static uint8_t other[MODEL_BYTES]; /* another model of the same kind, to push over the factory's */

/* PUSH of n bytes of a blob that stand at this offset. */
static int push(const uint8_t *blob, uint32_t offset, uint32_t n)
{
    static uint8_t body[MODEL_BYTES + 4];
    uint32_t i;
    put32(body, offset);
    for (i = 0; i < n; i++) body[4 + i] = blob[offset + i];
    return ask(EHFF_OP_PUSH, body, 4 + n);
}

static int push_all(const uint8_t *blob, uint32_t n, uint32_t first, uint32_t piece)
{
    uint32_t at = 0, some = first;
    int status = EHFF_OK;
    while (at < n && status == EHFF_OK) {
        if (some > n - at) some = n - at;
        status = push(blob, at, some);
        at += some;
        if (status == EHFF_OK) CHECK(body_is(at));
        some = piece;
    }
    return status;
}

static uint32_t state_of(const uint8_t *blob, uint32_t n)
{
    ehff_net *net = NULL;
    CHECK(ehff_net_load(blob, n, test.other, sizeof test.other, &net) == EHFF_OK);
    return ehff_net_state_crc32(net);
}

static void check_pieces(uint32_t model)
{
    static const uint32_t pieces[] = {1, 2, 3, 7, 64, 100};
    uint32_t k, n;
    for (k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
        begin(model, FRAME);
        n = model_blob(model, 9, other);
        CHECK(n == its.blob_bytes && state_of(other, n) != state());
        CHECK(push_all(other, n, model_first(other), pieces[k]) == EHFF_OK);
        CHECK(state() == state_of(other, n));
        CHECK(predict(model, 1, 1) == EHFF_OK);
    }
    begin(model, 1000); /* as one */
    CHECK(push(other, 0, n) == EHFF_OK && body_is(n) && state() == state_of(other, n));
}

/* In the middle of a push there is no model; what is no piece leaves the push as it was. */
static void check_middle(void)
{
    uint8_t op, body[16];
    const uint8_t factory = EHFF_LOAD_FACTORY;
    uint32_t n, at;
    begin(MODEL_WINDOW, FRAME);
    n = model_blob(MODEL_WINDOW, 9, other);
    CHECK(push(other, 5, 40) == EHFF_LINK_ERR_OFFSET && body_is(0)); /* none has begun */
    CHECK(train(MODEL_WINDOW, 1, 0) == EHFF_OK);
    CHECK(push(other, 0, 100) == EHFF_OK && body_is(100));
    for (op = EHFF_OP_INIT; op <= EHFF_OP_RATES; op++) {
        if (op == EHFF_OP_PUSH || op == EHFF_OP_LOAD) continue;
        CHECK(ask(op, "12345678901", 11) == EHFF_LINK_ERR_MODEL);
    }
    CHECK(ask_as(EHFF_OP_HELLO, 1, its.session, NULL, 0) == EHFF_OK && !(reply.body[7] & EHFF_LINK_HAS_MODEL));
    /* the same piece again is answered from what is kept, and is not appended */
    put32(body, 0);
    CHECK(push(other, 100, 8) == EHFF_OK && body_is(108));
    CHECK(ask_as(EHFF_OP_PUSH, its.sequence, its.session, body, 12) == EHFF_OK && body_is(108));
    CHECK(push(other, 100, 8) == EHFF_LINK_ERR_OFFSET); /* as a new request it is out of order */
    CHECK(push(other, 109, 8) == EHFF_LINK_ERR_OFFSET);
    CHECK(ask(EHFF_OP_PUSH, body, 4) == EHFF_LINK_ERR_LENGTH && ask(EHFF_OP_PUSH, body, 0) == EHFF_LINK_ERR_LENGTH);
    for (at = 108; at < n; at++) CHECK(push(other, at, 1) == EHFF_OK);
    CHECK(state() == state_of(other, n));
    CHECK(push(other, n - 1, 1) == EHFF_LINK_ERR_OFFSET); /* it is over */
    CHECK(push(other, n, 1) == EHFF_LINK_ERR_OFFSET && state() == state_of(other, n));
    /* begun again from the start, and left for the factory's model */
    CHECK(push(other, 0, 100) == EHFF_OK && push_all(other, n, 92, 50) == EHFF_OK && state() == state_of(other, n));
    CHECK(push(other, 0, 100) == EHFF_OK);
    CHECK(ask(EHFF_OP_LOAD, &factory, 1) == EHFF_OK && state() == state_of(its.blob, its.blob_bytes));
    CHECK(push(other, 100, 8) == EHFF_LINK_ERR_OFFSET);
}

/* After a push that failed there is no model, until one is loaded or pushed whole. */
static void check_none_left(int status, int expected)
{
    const uint8_t factory = EHFF_LOAD_FACTORY;
    test_check(status == expected, "push", "status");
    CHECK(!(its.link->model.net != NULL && its.link->loader.blob_bytes == 0) && reply.n == 4);
    CHECK(train(MODEL_WINDOW, 1, 0) == EHFF_LINK_ERR_MODEL);
    CHECK(push(other, 100, 8) == EHFF_LINK_ERR_OFFSET);
    CHECK(ask(EHFF_OP_LOAD, &factory, 1) == EHFF_OK && state() == state_of(its.blob, its.blob_bytes));
}

static void check_spoiled(void)
{
    uint32_t n, i, longer;
    uint8_t kept;
    begin(MODEL_WINDOW, 1000);
    n = model_blob(MODEL_WINDOW, 9, other);
    CHECK(n > EHFF_LOAD_FIRST(2));
    if (n <= EHFF_LOAD_FIRST(2)) return;
    for (i = 0; i < n; i++) {
        other[i] ^= 0x10;
        check_none_left(push_all(other, n, 92, 60) < 0, 1);
        CHECK(its.link->loader.blob_bytes == 0);
        other[i] ^= 0x10;
    }
    check_none_left(push(other, 0, 91), EHFF_ERR_FORMAT); /* less than the table of layers */
    check_none_left(push(other, 0, 1), EHFF_ERR_FORMAT);
    longer = n + 1;
    other[n] = 0;
    CHECK(push(other, 0, 92) == EHFF_OK);
    check_none_left(push(other, 92, longer - 92), EHFF_ERR_FORMAT);
    other[n - 1] ^= 1;
    check_none_left(push(other, 0, n), EHFF_ERR_CRC);
    other[n - 1] ^= 1;
    kept = other[100]; /* an int8 weight of -128 with a CRC that holds */
    other[100] = 0x80;
    model_repair(other, n);
    check_none_left(push(other, 0, n), EHFF_ERR_RANGE);
    other[100] = kept;
    /* and the encoder asks for other inputs than the network has */
    other[60 + 16 * 2 + 9 * 4 + 6 * 4 * 2 + 4 * 3 + 6 * 3 * 2 + 12] = 1;
    model_repair(other, n);
    check_none_left(push(other, 0, n), EHFF_ERR_FORMAT);
    n = model_blob(MODEL_WINDOW, 9, other);
    its.arena_bytes = model_arena(other, n, 0) - 1;
    reboot(1000);
    its.sequence = 0;
    CHECK(ask_as(EHFF_OP_HELLO, 0, its.session, NULL, 0) == EHFF_OK && !(reply.body[7] & EHFF_LINK_HAS_MODEL));
    CHECK(push(other, 0, n) == EHFF_ERR_ARENA);
    its.arena_bytes++;
    reboot(1000);
    its.sequence = 0;
    CHECK(ask_as(EHFF_OP_HELLO, 0, its.session, NULL, 0) == EHFF_OK && (reply.body[7] & EHFF_LINK_HAS_MODEL));
    CHECK(push(other, 0, n) == EHFF_OK && state() == state_of(other, n));
}

/* Any model after any other in the same arena. */
static void check_changes(void)
{
    uint32_t from, to, n;
    for (from = 0; from < MODELS; from++)
        for (to = 0; to < MODELS; to++) {
            begin(from, FRAME);
            n = model_blob(to, 4, other);
            its.arena_bytes = 1200;
            reboot(FRAME);
            CHECK(ask_as(EHFF_OP_HELLO, its.sequence, its.session, NULL, 0) == EHFF_OK);
            CHECK(push_all(other, n, model_first(other), 97) == EHFF_OK && state() == state_of(other, n));
            CHECK(predict(to, 1, 1) == EHFF_OK && its.link->model.raw_bytes == model_raw_bytes(to));
        }
}

void test_push(void)
{
    uint32_t model;
    for (model = 0; model < MODELS; model++) check_pieces(model);
    check_middle();
    check_spoiled();
    check_changes();
}
