// The host's tools train this board over its serial line, at 115200 baud. port.cpp has the board's functions.
#include <edgehff_model.h>
#include <edgehff_model_link.h>

static uint32_t arena[(EDGEHFF_MODEL_ARENA_BYTES + 3) / 4];
static uint32_t frame[(EDGEHFF_MODEL_FRAME_BYTES + 3) / 4];
static ehff_link serial_link;

void setup()
{
    Serial.begin(115200);
    edgehff_model_link_init(&serial_link, arena, sizeof arena, frame, sizeof frame, 0);
}

void loop()
{
    while (Serial.available() > 0) ehff_link_byte(&serial_link, (uint8_t)Serial.read());
}
