/* Learned state that survives power loss: two slots take turns, so that a whole one is there at every moment.
 * A slot: sequence, length of the blob, identity of the factory model, CRC-32 of these three and the blob, magic;
 * then the blob. The magic is written last. */
#include "link.h"

#define SLOT_MAGIC 0x544C5345u /* "ESLT" */
#define SLOT_HEAD 20
#define BLOB_LENGTH_AT 40 /* in a blob */

typedef struct {
    uint32_t sequence, bytes, factory;
} slot_head;

/* The factory model's closing CRC; 0 where the firmware has none. */
static uint32_t factory_id(void)
{
    uint8_t b[4];
    const uint32_t bytes = ehff_port_slot_bytes(EHFF_SLOT_FACTORY);
    if (bytes < 4 || ehff_port_slot_read(EHFF_SLOT_FACTORY, bytes - 4, b, 4) != 0) return 0;
    return link_get32(b);
}

/* Whether the slot holds a whole save. */
static int whole(uint8_t slot, slot_head *head)
{
    const uint32_t size = ehff_port_slot_bytes(slot);
    uint8_t b[SLOT_HEAD];
    uint32_t at, n, crc, wanted;
    if (size < SLOT_HEAD || ehff_port_slot_read(slot, 0, b, SLOT_HEAD) != 0) return 0;
    if (link_get32(b + 16) != SLOT_MAGIC) return 0;
    head->sequence = link_get32(b);
    head->bytes = link_get32(b + 4);
    head->factory = link_get32(b + 8);
    wanted = link_get32(b + 12);
    if (head->bytes > size - SLOT_HEAD) return 0;
    crc = ehff_crc32(0, b, 12);
    for (at = 0; at < head->bytes; at += n) {
        n = head->bytes - at < 16 ? head->bytes - at : 16;
        if (ehff_port_slot_read(slot, SLOT_HEAD + at, b, n) != 0) return 0;
        crc = ehff_crc32(crc, b, n);
    }
    return crc == wanted;
}

/* The newest whole slot, or the other one; -1 where it is not whole. own: only saves of this firmware's model. */
static int find(uint8_t before, int own, uint32_t *sequence)
{
    slot_head head[2];
    int ok[2], newest;
    const uint32_t factory = factory_id();
    uint8_t s;
    for (s = 0; s < 2; s++) ok[s] = whole(s, &head[s]) && (!own || head[s].factory == factory);
    if (ok[0] && ok[1])
        newest = (int32_t)(head[1].sequence - head[0].sequence) > 0;
    else if (!before && (ok[0] || ok[1]))
        newest = ok[1];
    else
        return -1;
    if (before) newest = 1 - newest;
    *sequence = head[newest].sequence;
    return newest;
}

int slots_find(uint8_t before, uint32_t *sequence) { return find(before, 1, sequence); }

uint32_t slots_blob(uint8_t slot, uint32_t *bytes)
{
    slot_head head = {0, 0, 0};
    *bytes = 0;
    if (slot == EHFF_SLOT_FACTORY) {
        *bytes = ehff_port_slot_bytes(slot);
        return 0;
    }
    if (whole(slot, &head)) *bytes = head.bytes;
    return SLOT_HEAD;
}

int slots_save(const ehff_net *net, const ehff_encoder *encoder, uint32_t *sequence)
{
    const uint32_t bytes = ehff_net_blob_bytes(net, encoder);
    uint32_t at, n, i, crc;
    uint8_t b[16];
    slot_head head;
    const int own = find(0, 1, sequence), newest = own >= 0 ? own : find(0, 0, sequence);
    const uint8_t slot = newest == 0;
    const uint32_t next = newest < 0 ? 1 : *sequence + 1;
    if (bytes == 0 || bytes + SLOT_HEAD > ehff_port_slot_bytes(slot)) return EHFF_LINK_ERR_STORAGE;
    if (ehff_port_slot_erase(slot) != 0) return EHFF_LINK_ERR_STORAGE;
    (void)link_put32(link_put32(link_put32(b, next), bytes), factory_id());
    if (ehff_port_slot_write(slot, 0, b, 12) != 0) return EHFF_LINK_ERR_STORAGE;
    crc = ehff_crc32(0, b, 12);
    for (at = 0; at < bytes; at += n) {
        n = bytes - at < sizeof b ? bytes - at : (uint32_t)sizeof b;
        if (ehff_blob_read(net, encoder, at, b, n) != EHFF_OK) return EHFF_LINK_ERR_STORAGE;
        crc = ehff_crc32(crc, b, n);
        for (i = n; i & 3; i++) b[i] = 0xFF;
        if (ehff_port_slot_write(slot, SLOT_HEAD + at, b, i) != 0) return EHFF_LINK_ERR_STORAGE;
    }
    (void)link_put32(link_put32(b, crc), SLOT_MAGIC);
    if (ehff_port_slot_write(slot, 12, b, 8) != 0) return EHFF_LINK_ERR_STORAGE;
    if (!whole(slot, &head) || head.sequence != next) return EHFF_LINK_ERR_STORAGE;
    *sequence = next;
    return EHFF_OK;
}
