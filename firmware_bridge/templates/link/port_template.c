/* What the serial link asks of your board: copy this file into your firmware, and fill in what is marked. As it is,
 * it answers nobody and saves nothing. ehff_port.h says what each function must do. */
#include "edgehff_model.h"
#include "ehff/ehff_port.h"

/* FILL IN: send one byte, waiting for room as long as it takes. */
void ehff_port_put(uint8_t byte) { (void)byte; }

/* FILL IN: microseconds since the start. */
uint32_t ehff_port_now_us(void) { return 0; }

/* Optional: 0 says that it is not known. */
uint32_t ehff_port_stack_bytes(void) { return 0; }
uint32_t ehff_port_stack_used(void) { return 0; }

/* Optional: slots 0 and 1 in flash or EEPROM, so that what was learned outlives a reset. Without them, only the model
 * that the firmware was built with is there. */
uint32_t ehff_port_slot_bytes(uint8_t slot) { return slot == EHFF_SLOT_FACTORY ? EDGEHFF_MODEL_BLOB_BYTES : 0; }

int ehff_port_slot_read(uint8_t slot, uint32_t at, uint8_t *bytes, uint32_t n)
{
    if (slot != EHFF_SLOT_FACTORY) return 1;
    edgehff_model_read(at, bytes, n);
    return 0;
}

int ehff_port_slot_erase(uint8_t slot)
{
    (void)slot;
    return 1;
}

int ehff_port_slot_write(uint8_t slot, uint32_t at, const uint8_t *bytes, uint32_t n)
{
    (void)slot;
    (void)at;
    (void)bytes;
    (void)n;
    return 1;
}
