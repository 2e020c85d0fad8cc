/* A board without persistent memory of its own for slots: only the factory model. A product puts its flash or
 * EEPROM driver in the place of this file. */
#include "factory.h"

uint32_t ehff_port_slot_bytes(uint8_t slot) { return slot == EHFF_SLOT_FACTORY ? factory_bytes : 0; }

int ehff_port_slot_read(uint8_t slot, uint32_t at, uint8_t *bytes, uint32_t n)
{
    if (slot != EHFF_SLOT_FACTORY) return 1;
    factory_read(at, bytes, n);
    return 0;
}

int ehff_port_slot_erase(uint8_t slot) { return slot + 1; }

int ehff_port_slot_write(uint8_t slot, uint32_t at, const uint8_t *bytes, uint32_t n)
{
    (void)at;
    (void)bytes;
    (void)n;
    return slot + 1;
}
