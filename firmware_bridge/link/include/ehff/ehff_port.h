/* What the link asks of a board. Each port implements these functions; nothing else of it is known here. */
#ifndef EHFF_PORT_H
#define EHFF_PORT_H

#include <stdint.h>

#include "ehff/ehff_build.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Send one byte, waiting for room as long as it takes. */
void ehff_port_put(uint8_t byte);

/* Microseconds since the start; wraps. */
uint32_t ehff_port_now_us(void);

/* Bytes that the stack may take, and the most that it has taken, by the paint left on it. */
uint32_t ehff_port_stack_bytes(void);
uint32_t ehff_port_stack_used(void);

/* Persistent memory: two slots that take turns, and the model that the firmware was built with.
 * Functions return 0, or another number where the memory failed. */
#define EHFF_SLOT_FACTORY 2 /* read only: a blob */

/* Bytes of a slot, a multiple of 4; 0 where the board has no such slot. */
uint32_t ehff_port_slot_bytes(uint8_t slot);
int ehff_port_slot_read(uint8_t slot, uint32_t at, uint8_t *bytes, uint32_t n);
/* All bits to 1. */
int ehff_port_slot_erase(uint8_t slot);
/* at and n are multiples of 4; each word is written once after an erase. */
int ehff_port_slot_write(uint8_t slot, uint32_t at, const uint8_t *bytes, uint32_t n);

#ifdef __cplusplus
}
#endif

#endif
