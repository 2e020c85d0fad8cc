/* Consistent overhead byte stuffing: no zero inside a frame, one zero at its end (Cheshire and Baker, 1999). */
#include "link.h"

uint32_t link_get16(const uint8_t *b) { return (uint32_t)b[0] | (uint32_t)b[1] << 8; }

uint32_t link_get32(const uint8_t *b) { return link_get16(b) | link_get16(b + 2) << 16; }

uint8_t *link_put16(uint8_t *b, uint32_t v)
{
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
    return b + 2;
}

uint8_t *link_put32(uint8_t *b, uint32_t v) { return link_put16(link_put16(b, v & 0xFFFFu), v >> 16); }

int32_t link_cobs_decode(uint8_t *b, uint32_t n)
{
    uint32_t in = 0, out = 0;
    while (in < n) {
        uint32_t run = b[in++];
        const int zero_follows = run != 255;
        if (run == 0 || run - 1 > n - in) return -1;
        while (--run) b[out++] = b[in++];
        if (zero_follows && in < n) b[out++] = 0;
    }
    return (int32_t)out;
}

void link_send(uint8_t *b, uint32_t n)
{
    uint32_t from = 0, to, run;
    (void)link_put32(b + n, ehff_crc32(0, b, n));
    n += EHFF_LINK_CRC;
    for (;;) {
        for (to = from; to < n && to - from < 254 && b[to] != 0; to++) {
        }
        run = to - from;
        ehff_port_put((uint8_t)(run + 1));
        for (; from < to; from++) ehff_port_put(b[from]);
        if (from == n) break;
        if (run == 254) continue;
        if (++from == n) {
            ehff_port_put(1);
            break;
        }
    }
    ehff_port_put(0);
}
