/* Between the parts of the link. */
#ifndef EHFF_LINK_PARTS_H
#define EHFF_LINK_PARTS_H

#include "ehff/ehff_link.h"

/* frame.c: little-endian numbers; putting gives the place behind. */
uint32_t link_get16(const uint8_t *b);
uint32_t link_get32(const uint8_t *b);
uint8_t *link_put16(uint8_t *b, uint32_t v);
uint8_t *link_put32(uint8_t *b, uint32_t v);

/* frame.c: n bytes of COBS in place to their data; its length, or -1 where they are none. */
int32_t link_cobs_decode(uint8_t *b, uint32_t n);
/* Send n bytes, closed by their CRC, which is written behind them. */
void link_send(uint8_t *b, uint32_t n);

/* requests.c: carry out a request of n body bytes. The reply's body starts at EHFF_LINK_REPLY in the frame;
 * its length goes to reply. */
int link_request(ehff_link *link, uint8_t op, uint32_t n, uint32_t *reply);
/* Load the model of EHFF_LOAD_*; sequence of the save, 0 for the factory's. */
int link_load(ehff_link *link, uint8_t which, uint32_t *sequence);
uint8_t link_flags(const ehff_link *link);

/* A model that is being pushed is none yet. */
static inline int link_has_model(const ehff_link *link)
{
    return link->model.net != NULL && link->loader.blob_bytes == 0;
}

/* slots.c */
int slots_save(const ehff_net *net, const ehff_encoder *encoder, uint32_t *sequence);
/* Slot of the newest whole save of this firmware's model, or of the one before it; negative: none. */
int slots_find(uint8_t before, uint32_t *sequence);
/* Where in a slot the blob starts, and how long it is. */
uint32_t slots_blob(uint8_t slot, uint32_t *bytes);

/* runner.c: a text command of n characters in the frame. */
void link_text(ehff_link *link, uint32_t n);

#endif
