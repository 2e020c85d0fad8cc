/* The host's side of the link, written apart from frame.c: blocks first, then their bytes. */
#include "sim.h"

host_reply reply;

static uint8_t decoded[sizeof board.out];

uint32_t get32(const uint8_t *b)
{
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

void put32(uint8_t *b, uint32_t v)
{
    uint32_t i;
    for (i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (8 * i));
}

uint32_t host_cobs_encode(const uint8_t *data, uint32_t n, uint8_t *out)
{
    uint32_t at = 0, length = 1, code_at = 0, code = 1;
    while (at < n) {
        if (data[at] != 0) {
            out[length++] = data[at];
            code++;
        }
        if (data[at] == 0 || (code == 255 && at + 1 < n)) {
            out[code_at] = (uint8_t)code;
            code_at = length++;
            code = 1;
        }
        at++;
    }
    out[code_at] = (uint8_t)code;
    return length;
}

int32_t host_cobs_decode(const uint8_t *encoded, uint32_t n, uint8_t *out)
{
    uint32_t at = 0, length = 0, i;
    while (at < n) {
        const uint32_t code = encoded[at];
        if (code == 0 || at + code > n) return -1;
        for (i = 1; i < code; i++) out[length++] = encoded[at + i];
        at += code;
        if (code < 255 && at < n) out[length++] = 0;
    }
    return (int32_t)length;
}

uint32_t host_frame(const uint8_t *payload, uint32_t n, uint8_t *out)
{
    static uint8_t closed[1 << 16];
    uint32_t i;
    for (i = 0; i < n; i++) closed[i] = payload[i];
    put32(closed + n, ehff_crc32(0, payload, n));
    n = host_cobs_encode(closed, n + 4, out);
    out[n] = 0;
    return n + 1;
}

uint32_t host_request(uint8_t op, uint16_t sequence, uint32_t session, const uint8_t *body, uint32_t n, uint8_t *out)
{
    static uint8_t payload[1 << 15];
    uint32_t i;
    payload[0] = op;
    payload[1] = 0;
    payload[2] = (uint8_t)sequence;
    payload[3] = (uint8_t)(sequence >> 8);
    put32(payload + 4, session);
    for (i = 0; i < n; i++) payload[8 + i] = body[i];
    return host_frame(payload, n + 8, out);
}

int host_next(uint32_t *at)
{
    uint32_t end = *at;
    int32_t n;
    while (end < board.out_bytes && board.out[end] != 0) end++;
    if (end == board.out_bytes) return 0;
    n = host_cobs_decode(board.out + *at, end - *at, decoded);
    *at = end + 1;
    if (n < 16 || ehff_crc32(0, decoded, (uint32_t)n - 4) != get32(decoded + n - 4) || decoded[0] < 0x80) return 0;
    reply.op = decoded[0] & 0x7F;
    reply.status = (int8_t)decoded[1];
    reply.sequence = (uint16_t)(decoded[2] | decoded[3] << 8);
    reply.session = get32(decoded + 4);
    reply.steps = get32(decoded + 8);
    reply.body = decoded + 12;
    reply.n = (uint32_t)n - 16;
    return 1;
}

int host_one(void)
{
    uint32_t at = 0;
    const int good = host_next(&at) && at == board.out_bytes;
    board.out_bytes = 0;
    return good;
}
