/* The board's whole side of the line: raw bytes, or a list of requests that arrive whole. Every request that is
 * whole has one reply, whose fields are right; what is repeated is not carried out again; memory keeps its bounds. */
#include "fuzz.h"

#define RAW 0x10 /* bits of the first byte */
#define NO_FACTORY 0x08
#define NO_SLOTS 0x20
#define TIGHT 0x40

static uint8_t good[MODELS][MODEL_BYTES];
static uint32_t lengths[MODELS];

typedef struct {
    ehff_link *link;
    input in;
    uint32_t arena_bytes, session;
    uint16_t frame_bytes, sequence;
    uint32_t factory;
} run;

static uint32_t state_of(const run *r) { return ehff_net_state_crc32(r->link->model.net); }

static int has_model(const run *r) { return r->link->model.net != NULL && r->link->loader.blob_bytes == 0; }

/* Between requests. */
static void check_board(const run *r)
{
    const ehff_model *m = &r->link->model;
    must(board.misuse == 0);
    if (!has_model(r)) return;
    must(ehff_net_check(m->net) == EHFF_OK);
    must(m->bytes <= m->arena_bytes && m->arena_bytes == r->arena_bytes);
    must(ehff_model_bytes(m->net, m->has_encoder ? &m->encoder : NULL) == m->bytes);
    must(r->link->db_bytes == 0 || r->link->db_bytes == m->raw_bytes);
    if (r->link->db_x != NULL) must((const uint8_t *)(r->link->db_x + m->n_in) <= r->link->arena + r->arena_bytes);
}

/* End what is half said: the next byte begins a frame. */
static void end_frame(void)
{
    board_feed((const uint8_t *)"", 1);
    board.out_bytes = 0;
}

static void send(run *r, uint8_t op, uint16_t sequence, uint32_t session, const uint8_t *body, uint32_t n)
{
    static uint8_t bytes[4096];
    const uint32_t length = host_request(op, sequence, session, body, n, bytes);
    const int in_order =
        sequence == (uint16_t)(r->link->sequence + 1) && session == r->link->session && op != EHFF_OP_HELLO;
    const uint32_t before = in_order ? 0 : state_of(r);
    uint32_t steps = 0;
    board.out_bytes = 0;
    board_feed(bytes, length);
    must(host_one());
    must(reply.session == r->link->session && reply.n + 16 <= r->frame_bytes);
    (void)ehff_net_get_step(r->link->model.net, &steps);
    must(reply.steps == steps);
    if (length - 1 > r->frame_bytes) {
        must(reply.op == 0x7F && reply.status == EHFF_LINK_ERR_FRAME);
        must(in_order || state_of(r) == before);
        return;
    }
    must(reply.op == (op & 0x7F) && reply.sequence == sequence);
    if (session != r->link->session || session == 0) must(reply.status == EHFF_LINK_ERR_SESSION);
    if (op == EHFF_OP_HELLO && session != 0) {
        must(reply.status == EHFF_OK);
        r->session = session;
        r->sequence = r->link->sequence;
    }
    if (in_order)
        must(r->link->sequence == sequence);
    else
        must(state_of(r) == before);
}

static void next(run *r, uint8_t op, const uint8_t *body, uint32_t n)
{
    r->sequence = (uint16_t)(r->link->sequence + 1);
    send(r, op, r->sequence, r->session, body, n);
}

static void request(run *r, uint8_t how)
{
    uint8_t body[1100];
    const uint8_t op = take8(&r->in);
    const uint32_t n = take_bytes(&r->in, body, take8(&r->in) * (how & 0x80 ? 4u : 1u));
    uint16_t sequence = (uint16_t)(r->link->sequence + 1);
    uint32_t session = r->session;
    if ((how >> 3 & 7) == 5) sequence = r->sequence;
    if ((how >> 3 & 7) == 6) sequence = (uint16_t)(sequence - take8(&r->in));
    if ((how >> 3 & 7) == 7) session ^= take8(&r->in);
    send(r, how & 0x40 && op < 128 ? op % 14 : op, sequence, session, body, n);
    r->sequence = sequence;
}

/* TRAIN or PREDICT with a sample of the right length. */
static void sample(run *r, uint8_t how)
{
    uint8_t body[4096];
    const uint32_t n = r->link->model.raw_bytes;
    uint32_t i, s = take8(&r->in);
    if (!has_model(r) || n + 4 > sizeof body) return;
    put32(body, how >> 4);
    for (i = 0; i < n; i++) body[4 + i] = (uint8_t)sim_random(&s);
    for (i = 1; !r->link->model.has_encoder && i < n; i += 2) body[4 + i] = (uint8_t)(body[4 + i] % 8);
    next(r, how & 8 ? EHFF_OP_TRAIN : EHFF_OP_PREDICT, body, n + 4);
}

/* A good blob, perhaps changed, pushed in pieces, perhaps not to its end. */
static void push(run *r, uint8_t how)
{
    uint8_t blob[MODEL_BYTES], body[MODEL_BYTES + 4];
    const uint32_t model = (how >> 3) % MODELS, n = lengths[model];
    uint32_t piece = take8(&r->in) + 1u, some = model_first(good[model]), at, stop = n;
    memcpy(blob, good[model], n);
    if (how & 0x40) {
        at = take16(&r->in) % n;
        blob[at] = take8(&r->in);
        model_repair(blob, n);
    }
    if (how & 0x80) stop = take16(&r->in) % n;
    if (piece > r->frame_bytes) piece = 1;
    for (at = 0; at < stop; at += some) {
        if (at > 0) some = piece;
        if (some > n - at) some = n - at;
        put32(body, at);
        memcpy(body + 4, blob + at, some);
        next(r, EHFF_OP_PUSH, body, some + 4);
        if (reply.status != EHFF_OK) break;
    }
}

/* A text command; large numbers of inferences take too long. */
static void text(run *r)
{
    uint8_t bytes[256];
    uint32_t n = take_bytes(&r->in, bytes, take8(&r->in)), i, digits = 0;
    for (i = 0; i < n; i++) {
        digits = bytes[i] >= '0' && bytes[i] <= '9' ? digits + 1 : 0;
        if (digits > 2 && n > 0 && bytes[0] == 'i') bytes[i] = ' ';
    }
    board_feed(bytes, n);
    board_feed((const uint8_t *)"%", 1);
    board.out_bytes = 0;
}

/* The runner's commands; with 6 and 7 a sample as it would come, in one piece or several. */
static void runner(run *r, uint8_t how)
{
    static const char *const commands[6] = {"name%", "profile%", "timestamp%", "infer 2 1%", "results%", "infer%"};
    const uint32_t raw = r->link->model.raw_bytes, what = how >> 3 & 7u,
                   piece = how & 0x40 ? take8(&r->in) % 40 + 1u : 30;
    uint32_t i, k, power;
    if (what < 6) {
        board_feed((const uint8_t *)commands[what], (uint32_t)strlen(commands[what]));
    } else if (raw < 1000) {
        board_feed((const uint8_t *)"db load ", 8);
        for (power = 100; power > 0; power /= 10) board_feed((const uint8_t *)"0123456789" + raw / power % 10, 1);
        board_feed((const uint8_t *)"%", 1);
        for (i = 0; i < raw && what == 7; i += piece) {
            board_feed((const uint8_t *)"db ", 3);
            for (k = 0; k < 2 * piece; k++) board_feed((const uint8_t *)"0123456789abcdef" + (how + i + k * 7) % 16, 1);
            board_feed((const uint8_t *)"%", 1);
        }
    }
    must(board.out_bytes >= 9 || (what >= 6 && raw >= 1000));
    end_frame(); /* a line that is longer than the frame waits for it */
}

static void wake(run *r)
{
    r->link = board_start(r->arena_bytes, r->frame_bytes);
    send(r, EHFF_OP_HELLO, r->sequence, r->session, (const uint8_t *)"", 0);
}

/* Power that fails in a save, memory that fails, flash with rubbish in it, another session. */
static void trouble(run *r, uint8_t how)
{
    const uint32_t what = take8(&r->in), slot = what & 1;
    uint8_t body[1] = {0};
    switch (how >> 3 & 7) {
    case 0:
        board.operations = 0;
        board.cut_at = (int32_t)what;
        board.torn = how >> 7;
        if (setjmp(board.power) == 0) next(r, EHFF_OP_SAVE, body, 0);
        board.cut_at = -1;
        wake(r);
        break;
    case 1:
        board.operations = 0;
        board.fail_at = (int32_t)what;
        next(r, EHFF_OP_SAVE, body, 0);
        board.fail_at = -1;
        break;
    case 2: { /* a slot with rubbish in it, whose CRC holds */
        uint8_t *b = board.flash[slot];
        (void)take_bytes(&r->in, b, take16(&r->in) % SLOT_BYTES);
        put32(b + 16, 0x544C5345u);
        if (get32(b + 4) <= SLOT_BYTES - 20) put32(b + 12, ehff_crc32(ehff_crc32(0, b, 12), b + 20, get32(b + 4)));
        break;
    }
    case 3:
        r->factory = (r->factory + 1) % MODELS;
        board.factory = good[r->factory];
        if (board.factory_bytes != 0) board.factory_bytes = lengths[r->factory];
        wake(r);
        break;
    case 4:
        r->session += what + 1;
        if (r->session == 0) r->session = 1;
        send(r, EHFF_OP_HELLO, (uint16_t)(what * 257), r->session, body, 0);
        break;
    case 5:
        board.fail_reads = (uint8_t)(what & 1);
        break;
    case 6:
        body[0] = (uint8_t)(what % 4);
        next(r, EHFF_OP_LOAD, body, 1);
        break;
    default:
        wake(r);
        break;
    }
}

/* A request's frame with bytes changed on the line. */
static void damaged(run *r)
{
    uint8_t bytes[64], body[12] = {0};
    const uint32_t n = host_request(take8(&r->in), (uint16_t)(r->link->sequence + 1), r->session, body, 12, bytes);
    uint32_t changes = take8(&r->in) % 4;
    while (changes-- > 0) {
        const uint32_t at = take8(&r->in) % n;
        bytes[at] ^= take8(&r->in);
    }
    board_feed(bytes, n);
    end_frame();
}

static void carry_out(run *r)
{
    uint8_t bytes[256];
    const uint8_t how = take8(&r->in);
    switch (how & 7) {
    case 0:
        request(r, how);
        break;
    case 1:
        sample(r, how);
        break;
    case 2:
        push(r, how);
        break;
    case 3:
        text(r);
        end_frame();
        break;
    case 4:
        runner(r, how);
        break;
    case 5:
        damaged(r);
        break;
    case 6:
        board_feed(bytes, take_bytes(&r->in, bytes, take8(&r->in)));
        if (how & 8) text(r);
        end_frame();
        break;
    default:
        trouble(r, how);
        break;
    }
    check_board(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run r;
    uint32_t i;
    uint8_t mode;
    for (i = 0; i < MODELS && lengths[i] == 0; i++) lengths[i] = model_blob(i, 1 + i, good[i]);
    memset(&r, 0, sizeof r);
    r.in.at = data;
    r.in.end = data + (size < 1500 ? size : 1500);
    mode = take8(&r.in);
    board_new(mode & 0x80 ? 0x00 : 0xFF);
    if (mode & NO_SLOTS) board.slot_bytes = 0;
    r.factory = (mode & 7u) % MODELS;
    board.factory = good[r.factory];
    board.factory_bytes = mode & NO_FACTORY ? 0 : lengths[r.factory];
    r.arena_bytes = mode & TIGHT ? model_arena(good[r.factory], lengths[r.factory], 0) : 1000u + (mode & 7) * 100;
    r.frame_bytes = (uint16_t)(64 + 4 * take8(&r.in));
    r.session = 1;
    wake(&r);
    check_board(&r);
    if (mode & RAW) {
        while (r.in.at < r.in.end) {
            const uint8_t byte = *r.in.at++;
            board_feed(&byte, 1);
            if (byte == 0) board.out_bytes = 0;
        }
        board.out_bytes = 0;
        check_board(&r);
    }
    for (i = 0; i < 60 && r.in.at < r.in.end; i++) carry_out(&r);
    end_frame();
    next(&r, EHFF_OP_CRC, data, 0);
    must(reply.status == (has_model(&r) ? EHFF_OK : EHFF_LINK_ERR_MODEL));
    return 0;
}
