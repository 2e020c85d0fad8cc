// What the link asks of a board, on Arduino: Serial, micros(), and the model that the sketch was built with.
#include <Arduino.h>
#include <edgehff_model.h>
#include <ehff/ehff_port.h>

void ehff_port_put(uint8_t byte) { Serial.write(byte); }
uint32_t ehff_port_now_us(void) { return micros(); }

uint32_t ehff_port_stack_bytes(void) { return 0; } // not known
uint32_t ehff_port_stack_used(void) { return 0; }

// Slots 0 and 1 could be EEPROM; without them, what was learned is gone after a reset.
uint32_t ehff_port_slot_bytes(uint8_t slot) { return slot == EHFF_SLOT_FACTORY ? EDGEHFF_MODEL_BLOB_BYTES : 0; }

int ehff_port_slot_read(uint8_t slot, uint32_t at, uint8_t *bytes, uint32_t n)
{
    if (slot != EHFF_SLOT_FACTORY) return 1;
    edgehff_model_read(at, bytes, n);
    return 0;
}

int ehff_port_slot_erase(uint8_t) { return 1; }
int ehff_port_slot_write(uint8_t, uint32_t, const uint8_t *, uint32_t) { return 1; }
