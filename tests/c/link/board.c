/* The port's functions over flash as it is: erased by pages to ones, written by words that clear bits, and
 * power that fails before or within any of that. */
#include <stdlib.h>

#include "sim.h"

sim_board board;

static ehff_link link;
static uint8_t *arena, *frame;
static const char name[] = "sim";

uint32_t sim_random(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 16;
}

void board_new(uint8_t fill)
{
    uint32_t i;
    uint8_t *b = (uint8_t *)board.flash;
    for (i = 0; i < sizeof board.flash; i++) b[i] = fill;
    for (i = 0; i < sizeof board.written; i++) ((uint8_t *)board.written)[i] = fill != 0xFF;
    board.slot_bytes = SLOT_BYTES;
    board.factory = NULL;
    board.factory_bytes = 0;
    board.out_bytes = board.now_us = board.misuse = 0;
    board.operations = 0;
    board.cut_at = board.fail_at = -1;
    board.torn = board.fail_reads = 0;
    board.random = 1;
}

void board_stop(void)
{
    free(arena);
    free(frame);
    arena = frame = NULL;
}

static uint8_t *memory_of(uint32_t n)
{
    uint8_t *p = (uint8_t *)malloc(n);
    uint32_t i;
    if (p == NULL) abort();
    for (i = 0; i < n; i++) p[i] = (uint8_t)sim_random(&board.random);
    return p;
}

ehff_link *board_start(uint32_t arena_bytes, uint16_t frame_bytes)
{
    board_stop();
    arena = memory_of(arena_bytes);
    frame = memory_of(frame_bytes);
    board.out_bytes = 0;
    ehff_link_init(&link, name, arena, arena_bytes, frame, frame_bytes, 64);
    return &link;
}

void board_feed(const uint8_t *bytes, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < n; i++) ehff_link_byte(&link, bytes[i]);
}

void ehff_port_put(uint8_t byte)
{
    if (board.out_bytes < sizeof board.out) board.out[board.out_bytes++] = byte;
}

uint32_t ehff_port_now_us(void) { return board.now_us += 1500; }
uint32_t ehff_port_stack_bytes(void) { return 4000; }
uint32_t ehff_port_stack_used(void) { return 300; }

uint32_t ehff_port_slot_bytes(uint8_t slot)
{
    return slot == EHFF_SLOT_FACTORY ? board.factory_bytes : slot < 2 ? board.slot_bytes : 0;
}

int ehff_port_slot_read(uint8_t slot, uint32_t at, uint8_t *bytes, uint32_t n)
{
    const uint32_t size = ehff_port_slot_bytes(slot);
    const uint8_t *from = slot == EHFF_SLOT_FACTORY ? board.factory : board.flash[slot & 1];
    uint32_t i;
    if (at > size || n > size - at) {
        board.misuse++;
        return 1;
    }
    for (i = 0; i < n; i++) bytes[i] = from[at + i];
    return board.fail_reads;
}

/* One operation begins: 1 where it is the torn one at the cut, -1 where it fails. */
static int operation(void)
{
    const int32_t this = board.operations++;
    if (this == board.fail_at) return -1;
    if (this != board.cut_at) return 0;
    if (!board.torn) longjmp(board.power, 1);
    return 1;
}

static uint32_t random_bits(void) { return sim_random(&board.random) | sim_random(&board.random) << 16; }

int ehff_port_slot_erase(uint8_t slot)
{
    uint32_t page, i;
    if (slot >= 2 || board.slot_bytes == 0) {
        board.misuse++;
        return 1;
    }
    for (page = 0; page < SLOT_PAGES; page++) {
        uint8_t *b = board.flash[slot] + page * PAGE_BYTES;
        const int state = operation();
        if (state < 0) return 1;
        if (state > 0) { /* few of the bits have become ones, or most of them */
            const uint32_t often = random_bits() % 3;
            for (i = 0; i < PAGE_BYTES; i++) {
                const uint32_t r = random_bits();
                b[i] |= (uint8_t)(often == 0 ? r & r >> 8 & r >> 16 : often == 1 ? r : r | r >> 8 | r >> 16);
            }
            longjmp(board.power, 1);
        }
        for (i = 0; i < PAGE_BYTES; i++) b[i] = 0xFF;
        for (i = 0; i < PAGE_BYTES / 4; i++) board.written[slot][page * PAGE_BYTES / 4 + i] = 0;
    }
    return 0;
}

/* Of a word half written: the bits that are not cleared yet. */
static uint32_t spared_bits(void)
{
    const uint32_t r = random_bits(), how = random_bits() % 3;
    return how == 0 ? r : how == 1 ? r & random_bits() & random_bits() & random_bits() : 0xFFFFFF00u << r % 4 * 8;
}

int ehff_port_slot_write(uint8_t slot, uint32_t at, const uint8_t *bytes, uint32_t n)
{
    uint32_t i, k;
    if (slot >= 2 || at % 4 != 0 || n % 4 != 0 || at > board.slot_bytes || n > board.slot_bytes - at) {
        board.misuse++;
        return 1;
    }
    for (i = 0; i < n; i += 4) {
        uint8_t *b = board.flash[slot] + at + i;
        const int state = operation();
        const uint32_t spared = state > 0 ? spared_bits() : 0;
        if (state < 0) return 1;
        board.misuse += board.written[slot][(at + i) / 4];
        board.written[slot][(at + i) / 4] = 1;
        for (k = 0; k < 4; k++) b[k] &= (uint8_t)(bytes[i + k] | spared >> (8 * k));
        if (state > 0) longjmp(board.power, 1);
    }
    return 0;
}
