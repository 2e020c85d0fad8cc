/* Received bytes wait here while the network works: the interrupt puts them in, main takes them out. The host's
 * credits see to it that it never overflows; what comes on top is dropped, and the frame's CRC tells. */
#ifndef RING_H
#define RING_H

#include <stdint.h>

#if (EHFF_RING_BYTES & (EHFF_RING_BYTES - 1)) != 0 || EHFF_RING_BYTES < 16
#error "EHFF_RING_BYTES must be a power of two of at least 16"
#endif

static volatile uint8_t ring[EHFF_RING_BYTES];
static volatile uint16_t ring_in, ring_out;

static inline void ring_put(uint8_t byte)
{
    if ((uint16_t)(ring_in - ring_out) < EHFF_RING_BYTES) ring[ring_in++ & (EHFF_RING_BYTES - 1)] = byte;
}

static inline int ring_get(void) { return ring_in == ring_out ? -1 : ring[ring_out++ & (EHFF_RING_BYTES - 1)]; }

#endif
