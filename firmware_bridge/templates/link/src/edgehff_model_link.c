#include "edgehff_model_link.h"

static const EHFF_FLASH char name[] = "edgehff-model";

void edgehff_model_link_init(ehff_link *link, void *arena, uint32_t arena_bytes, void *frame, uint16_t frame_bytes,
                             uint16_t ring_bytes)
{
    ehff_link_init(link, name, arena, arena_bytes, frame, frame_bytes, ring_bytes);
}
