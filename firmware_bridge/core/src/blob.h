/* The parts of a blob, in order: head, table of layers, arrays, encoder fields and table, CRC. MODEL_FORMAT.md. */
#ifndef EHFF_BLOB_H
#define EHFF_BLOB_H

#include "net.h"

#define EHFF_BLOB_HEAD 60
#define EHFF_BLOB_ENCODER 16
#define EHFF_BLOB_ENTRY 6 /* offset and gain of one feature */

static inline uint32_t ehff_get16(const uint8_t *b) { return (uint32_t)b[0] | (uint32_t)b[1] << 8; }
static inline uint32_t ehff_get32(const uint8_t *b) { return ehff_get16(b) | ehff_get16(b + 2) << 16; }

/* Bytes of a blob that stand together, and the memory that they come from or go to. */
typedef struct {
    uint8_t *memory; /* NULL: the encoder's fields, or the CRC */
    uint32_t start, bytes; /* of the part, from the start of the blob */
    uint32_t each; /* bytes of an element of memory */
} ehff_blob_part;

/* The part that offset lies in. entries: features of the encoder's table; has_encoder 0: none. */
ehff_blob_part ehff_blob_part_at(const ehff_net *net, const ehff_encoder *encoder, uint32_t offset);

/* Where this machine keeps byte i of a part, whose elements are little-endian in a blob. */
uint32_t ehff_byte_of(const ehff_blob_part *part, uint32_t i);

/* Bytes before the layers' arrays, of a head that is a blob's. */
static inline uint32_t ehff_blob_first(const uint8_t *b)
{
    return ehff_get16(b + 4) == EHFF_BLOB_CONV_VERSION ? EHFF_LOAD_FIRST_CONV((uint32_t)b[6])
                                                       : EHFF_LOAD_FIRST((uint32_t)b[6]);
}

/* Features that an encoder's table covers. */
uint32_t ehff_table_entries(const ehff_encoder *e);

/* The encoder's 16 bytes; its table, where it has one, is to be set by the caller. entries: features in it. */
int ehff_blob_encoder_parse(const uint8_t *b, ehff_encoder *e, uint32_t *entries);

/* Find places in the arena for what is behind the network of m, and check that it fits. */
int ehff_model_layout(ehff_model *m);

#endif
