/* Frames: what is decoded, and what is sent, as the book's COBS has it. */
#include "fuzz.h"

/* The link's own functions: link/src/link.h. */
int32_t link_cobs_decode(uint8_t *b, uint32_t n);
void link_send(uint8_t *b, uint32_t n);

static void check_decoding(const uint8_t *data, uint32_t n)
{
    uint8_t *in_place = (uint8_t *)malloc(n + 1), *expected = (uint8_t *)malloc(n + 1);
    int32_t length;
    must(in_place != NULL && expected != NULL);
    memcpy(in_place, data, n);
    length = link_cobs_decode(in_place, n);
    must(length <= (int32_t)n);
    must(length == host_cobs_decode(data, n, expected));
    if (length > 0) must(memcmp(in_place, expected, (size_t)length) == 0);
    free(in_place);
    free(expected);
}

static void check_sending(const uint8_t *data, uint32_t n)
{
    uint8_t *payload = (uint8_t *)malloc(n + 4), *expected = (uint8_t *)malloc(n + n / 254 + 16);
    uint32_t i, length;
    must(payload != NULL && expected != NULL);
    memcpy(payload, data, n);
    board.out_bytes = 0;
    link_send(payload, n);
    must(get32(payload + n) == ehff_crc32(0, data, n));
    length = host_frame(data, n, expected);
    must(length == board.out_bytes && memcmp(expected, board.out, length) == 0);
    for (i = 0; i + 1 < length; i++) must(board.out[i] != 0);
    must(link_cobs_decode(board.out, length - 1) == (int32_t)n + 4);
    must(memcmp(board.out, payload, n + 4) == 0);
    free(payload);
    free(expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t padded[4096];
    input in = {data, data + size};
    const uint32_t repeat = take8(&in);
    uint32_t n, i;
    if (size > 1200) return 0;
    n = take_bytes(&in, padded, 1200);
    /* blocks of 254 bytes are far away for a mutator: some of the bytes come again */
    for (i = 0; repeat > 0 && n > 0 && i < 2 * repeat && n < sizeof padded; i++, n++) padded[n] = padded[i];
    check_decoding(padded, n);
    check_sending(padded, n);
    return 0;
}
