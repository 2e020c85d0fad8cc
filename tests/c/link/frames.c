/* For test_c_link.py: each line of the input is a letter and bytes in hex. e: the frame that link_send makes of
 * them; d: what link_cobs_decode makes of them, or "none"; a: 01 where the board takes them for a frame. */
#include <stdio.h>

#include "link.h"
#include "sim.h"

static int nibble(int c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; }

int main(void)
{
    static uint8_t bytes[1 << 15];
    const ehff_link *link;
    int what, c;
    board_new(0xFF);
    link = board_start(64, 4096);
    while ((what = getchar()) != EOF) {
        uint32_t n = 0, i;
        int32_t length;
        while ((c = getchar()) != '\n' && c != EOF) bytes[n++] = (uint8_t)(nibble(c) * 16 + nibble(getchar()));
        board.out_bytes = 0;
        if (what == 'e') {
            link_send(bytes, n);
            for (i = 0; i < board.out_bytes; i++) printf("%02x", board.out[i]);
        } else if (what == 'a') {
            const uint32_t bad = link->bad_frames;
            bytes[n] = 0;
            board_feed(bytes, n + 1);
            printf("%02x", host_one() && link->bad_frames == bad);
        } else {
            length = link_cobs_decode(bytes, n);
            for (i = 0; (int32_t)i < length; i++) printf("%02x", bytes[i]);
            if (length < 0) printf("none");
        }
        puts("");
    }
    board_stop();
    return 0;
}
