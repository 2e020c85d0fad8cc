/* Bytes to frames, frames to requests; what was carried out is never carried out again. */
#include "link.h"

#if 65536 % EHFF_LINK_WINDOW != 0
#error "EHFF_LINK_WINDOW must divide 65,536, or two kept answers share a place where sequences wrap"
#endif

void ehff_link_init(ehff_link *link, const EHFF_FLASH char *name, void *arena, uint32_t arena_bytes, void *frame,
                    uint16_t frame_bytes, uint16_t ring_bytes)
{
    uint32_t i;
#if EHFF_LINK_STORAGE
    uint32_t sequence;
#endif
    for (i = 0; i < sizeof *link; i++) ((uint8_t *)link)[i] = 0;
    link->arena = (uint8_t *)arena;
    link->arena_bytes = arena_bytes;
    link->frame = (uint8_t *)frame;
    link->frame_bytes = frame_bytes;
    link->ring_bytes = ring_bytes;
    link->name = name;
#if EHFF_LINK_STORAGE
    if (link_load(link, EHFF_LOAD_SAVED, &sequence) != EHFF_OK) (void)link_load(link, EHFF_LOAD_FACTORY, &sequence);
#endif
}

/* The reply's header goes before its body, which stands in the frame already. */
static void reply(ehff_link *link, uint8_t op, int status, uint16_t sequence, uint32_t n)
{
    uint8_t *b = link->frame;
    uint32_t step = 0;
    (void)ehff_net_get_step(link->model.net, &step);
    b[0] = op | EHFF_OP_REPLY;
    b[1] = (uint8_t)status;
    (void)link_put32(link_put32(link_put16(b + 2, sequence), link->session), step);
    link_send(b, EHFF_LINK_REPLY + n);
}

/* Requests that change nothing: they may be carried out again for a repeated frame. */
static int changes_nothing(uint8_t op)
{
    return op == EHFF_OP_PULL || op == EHFF_OP_PREDICT || op == EHFF_OP_STATS || op == EHFF_OP_CRC;
}

static void hello(ehff_link *link, uint32_t session, uint16_t sequence)
{
    uint32_t i, n = 0;
    if (session != link->session) {
        link->session_before = link->session;
        link->session = session;
        link->sequence = sequence;
        for (i = 0; i < EHFF_LINK_WINDOW; i++) link->answers[i].op = 0;
    }
    (void)link_request(link, EHFF_OP_HELLO, 0, &n);
    reply(link, EHFF_OP_HELLO, EHFF_OK, sequence, n);
}

/* A request of n body bytes that the CRC vouches for. */
static void request(ehff_link *link, uint32_t n)
{
    const uint8_t op = link->frame[0];
    const uint16_t sequence = (uint16_t)link_get16(link->frame + 2);
    const uint32_t session = link_get32(link->frame + 4);
    const int next = sequence == (uint16_t)(link->sequence + 1);
    const uint16_t behind = (uint16_t)(link->sequence - sequence);
    ehff_answer *answer = &link->answers[sequence % EHFF_LINK_WINDOW];
    uint8_t *body = link->frame + EHFF_LINK_REPLY;
    uint32_t i, length = 0;
    int status;
    if (session == 0 || (op != EHFF_OP_HELLO && session != link->session)) {
        reply(link, op, EHFF_LINK_ERR_SESSION, sequence, 0);
        return;
    }
    if (op == EHFF_OP_HELLO) {
        hello(link, session, sequence);
        return;
    }
    if (!next && behind >= EHFF_LINK_WINDOW) {
        (void)link_put32(body, (uint16_t)(link->sequence + 1));
        reply(link, op, EHFF_LINK_ERR_SEQUENCE, sequence, 4);
        return;
    }
    if (!next) {
        link->repeats++;
        if (!changes_nothing(op)) {
            if (answer->op != op || answer->sequence != sequence) {
                (void)link_put32(body, (uint16_t)(link->sequence + 1));
                reply(link, op, EHFF_LINK_ERR_SEQUENCE, sequence, 4);
                return;
            }
            for (i = 0; i < sizeof answer->body; i++) body[i] = answer->body[i];
            reply(link, op, answer->status, sequence, sizeof answer->body);
            return;
        }
    }
    status = link_request(link, op, n, &length);
    if (next) {
        link->sequence = sequence;
        answer->op = 0;
    }
    if (!changes_nothing(op)) {
        for (i = length; i < sizeof answer->body; i++) body[i] = 0;
        length = sizeof answer->body;
        for (i = 0; i < length; i++) answer->body[i] = body[i];
        answer->sequence = sequence;
        answer->op = op;
        answer->status = (int8_t)status;
    } else if (status != EHFF_OK) {
        length = 0;
    }
    reply(link, op, status, sequence, length);
}

static void frame(ehff_link *link, uint32_t taken)
{
    const int32_t n = taken > link->frame_bytes ? -1 : link_cobs_decode(link->frame, taken);
    uint32_t body;
    if (n >= EHFF_LINK_HEADER + EHFF_LINK_CRC) {
        body = (uint32_t)n - EHFF_LINK_CRC;
        if (ehff_crc32(0, link->frame, body) == link_get32(link->frame + body)) {
            request(link, body - EHFF_LINK_HEADER);
            return;
        }
    }
    link->bad_frames++;
    reply(link, EHFF_OP_BAD_FRAME, EHFF_LINK_ERR_FRAME, 0, 0);
}

#if EHFF_LINK_RUNNER
/* Whether what came so far is text. A frame is not: its op and the zero after it make its first byte 2. */
static int is_text(const ehff_link *link)
{
    uint32_t i;
    if (link->taken == 0 || link->taken > link->frame_bytes) return 0;
    for (i = 0; i < link->taken; i++)
        if (link->frame[i] < 32 || link->frame[i] > 126) return 0;
    return 1;
}
#endif

void ehff_link_byte(ehff_link *link, uint8_t byte)
{
    const uint16_t taken = link->taken;
    if (byte == 0) {
        link->taken = 0;
        if (taken > 0) frame(link, taken);
        return;
    }
#if EHFF_LINK_RUNNER
    if (taken == 0 && (byte == '\r' || byte == '\n')) return;
    if (byte == '%' && is_text(link)) {
        link->taken = 0;
        link_text(link, taken);
        return;
    }
#endif
    if (taken < link->frame_bytes) link->frame[taken] = byte;
    if (taken <= link->frame_bytes) link->taken = (uint16_t)(taken + 1);
}
