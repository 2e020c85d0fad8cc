/* A board and its host in one process: the port's functions over simulated flash, frames made by code of their
 * own, and models to put on it. Shared by the tests of the link and by the fuzz targets; host machines only. */
#ifndef EHFF_TEST_SIM_H
#define EHFF_TEST_SIM_H

#include <setjmp.h>

#include "ehff/ehff_link.h"

/* ---- board.c ---- */

#define PAGE_BYTES 256u
#define SLOT_PAGES 3u
#define SLOT_BYTES (PAGE_BYTES * SLOT_PAGES)

typedef struct {
    uint8_t flash[2][SLOT_BYTES];
    uint8_t written[2][SLOT_BYTES / 4]; /* words written since their page's erase */
    uint32_t slot_bytes; /* 0: no slots */
    const uint8_t *factory;
    uint32_t factory_bytes;
    uint8_t out[1 << 16]; /* what the board sent */
    uint32_t out_bytes;
    uint32_t now_us;
    uint32_t misuse; /* calls that the port's header does not allow */
    /* Each page erased and each word written is an operation. */
    int32_t operations; /* so far */
    int32_t cut_at; /* the operation before which power fails, or negative */
    int32_t fail_at; /* the operation that reports failure, or negative */
    uint8_t torn; /* 1: the operation at the cut changes some of its bits */
    uint8_t fail_reads;
    uint32_t random; /* which bits */
    jmp_buf power; /* where a cut leads */
} sim_board;

extern sim_board board;

/* A board that was never used: its flash all fill, no factory model. */
void board_new(uint8_t fill);
/* Power on: memory with no meaning in it, of exactly so many bytes each on the heap, and the link in it. */
ehff_link *board_start(uint32_t arena_bytes, uint16_t frame_bytes);
void board_stop(void);
/* Bytes from the line. */
void board_feed(const uint8_t *bytes, uint32_t n);
uint32_t sim_random(uint32_t *s);

/* ---- host.c ---- */

typedef struct {
    uint8_t op;
    int8_t status;
    uint16_t sequence;
    uint32_t session, steps;
    const uint8_t *body;
    uint32_t n;
} host_reply;

extern host_reply reply;

/* COBS by the book: blocks of a length byte and its data. Returns the length; decode -1 where it is none. */
uint32_t host_cobs_encode(const uint8_t *data, uint32_t n, uint8_t *out);
int32_t host_cobs_decode(const uint8_t *encoded, uint32_t n, uint8_t *out);
/* A whole frame of a payload, with CRC and zero. */
uint32_t host_frame(const uint8_t *payload, uint32_t n, uint8_t *out);
/* A request's frame. */
uint32_t host_request(uint8_t op, uint16_t sequence, uint32_t session, const uint8_t *body, uint32_t n, uint8_t *out);
/* The next frame of what the board sent, from *at on: into reply; 0 where there is none, or it is no reply. */
int host_next(uint32_t *at);
/* Everything that the board sent is one reply, which is in reply then. Forgets what was sent. */
int host_one(void);

uint32_t get32(const uint8_t *b);
void put32(uint8_t *b, uint32_t v);

/* ---- models.c ---- */

#define MODELS 6
#define MODEL_BYTES 704 /* of the longest blob, with a class more */
#define MODEL_PLAIN 0 /* two layers, int8, no encoder: raw samples of 12 bytes */
#define MODEL_U8 1 /* one layer, int16 weights, 8 bytes with a table */
#define MODEL_WINDOW 2 /* two layers, window of 12 int16 with logarithms and bias */
#define MODEL_FROZEN 3 /* int8 prototypes, 8 int8 with a bias */
#define MODEL_MANY 4 /* 24 classes, no encoder */
#define MODEL_CONV 5 /* one convolution over 2 x 3, no encoder */

/* Write the blob of a model that took some steps, and return its length. */
uint32_t model_blob(uint32_t model, uint32_t seed, uint8_t *blob);
/* Bytes of a blob before its arrays: what the first piece holds at least. */
uint32_t model_first(const uint8_t *blob);
/* Arena that it takes, with so many classes more. */
uint32_t model_arena(const uint8_t *blob, uint32_t n, uint32_t more);
/* Bytes of its raw samples; sample i of them. */
uint32_t model_raw_bytes(uint32_t model);
void model_sample(uint32_t model, uint32_t i, uint8_t *raw);
/* Let the closing CRC hold. */
void model_repair(uint8_t *blob, uint32_t n);

#endif
