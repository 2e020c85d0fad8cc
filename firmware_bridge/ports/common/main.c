/* The firmware: a link in static memory, fed byte by byte. The sizes come from the build. */
#include "ehff/ehff_link.h"
#include "port.h"

static uint32_t arena[(EHFF_ARENA_BYTES + 3) / 4];
static uint32_t frame[(EHFF_FRAME_BYTES + 3) / 4];
static ehff_link link;
static const EHFF_FLASH char name[] = EHFF_FIRMWARE_NAME;

int main(void)
{
    port_init();
    ehff_link_init(&link, name, arena, EHFF_ARENA_BYTES, frame, EHFF_FRAME_BYTES, EHFF_RING_BYTES);
    for (;;) {
        const int byte = port_get();
        if (byte >= 0)
            ehff_link_byte(&link, (uint8_t)byte);
        else
            port_idle();
    }
}
