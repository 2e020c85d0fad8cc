/* The serial link: frames of COBS closed by CRC-32, answered one by one; no sample is ever trained twice.
 * PROTOCOL.md is the byte table. The caller gives the link its memory and each byte that arrives. */
#ifndef EHFF_LINK_H
#define EHFF_LINK_H

#include "ehff/ehff.h"
#include "ehff/ehff_port.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EHFF_LINK_VERSION 1

#ifndef EHFF_LINK_WINDOW
#define EHFF_LINK_WINDOW 4 /* requests that may be under way, and answers kept for them */
#endif

#ifndef EHFF_LINK_RUNNER
#define EHFF_LINK_RUNNER 1 /* the text commands of the MLPerf Tiny runner */
#endif

/* Parts that a build may leave out; their requests are then unknown (EHFF_LINK_ERR_OP). */
#ifndef EHFF_LINK_STORAGE
#define EHFF_LINK_STORAGE 1 /* SAVE, LOAD, and a model to start with */
#endif
#ifndef EHFF_LINK_EXTRAS
#define EHFF_LINK_EXTRAS 1 /* INIT, STATS, ADD_CLASS, RATES */
#endif

/* Requests. */
#define EHFF_OP_HELLO 1
#define EHFF_OP_INIT 2
#define EHFF_OP_PUSH 3
#define EHFF_OP_PULL 4
#define EHFF_OP_TRAIN 5
#define EHFF_OP_PREDICT 6
#define EHFF_OP_STATS 7
#define EHFF_OP_CRC 8
#define EHFF_OP_SAVE 9
#define EHFF_OP_LOAD 10
#define EHFF_OP_ADD_CLASS 11
#define EHFF_OP_RATES 12
#define EHFF_OP_REPLY 0x80 /* or-ed into a reply's op */
#define EHFF_OP_BAD_FRAME 0xFF /* unasked: what came was no frame */

/* Statuses of a reply beside the core's. */
#define EHFF_LINK_ERR_FRAME (-32) /* no frame, a wrong CRC, or longer than the buffer */
#define EHFF_LINK_ERR_SESSION (-33) /* another session than the last HELLO's */
#define EHFF_LINK_ERR_SEQUENCE (-34) /* not the next request, nor one whose answer is kept */
#define EHFF_LINK_ERR_OP (-35) /* no such request */
#define EHFF_LINK_ERR_LENGTH (-36) /* the body is too short, too long, or its reply would be */
#define EHFF_LINK_ERR_MODEL (-37) /* there is no model on the board */
#define EHFF_LINK_ERR_OFFSET (-38) /* a pushed piece does not follow the one before */
#define EHFF_LINK_ERR_STORAGE (-39) /* no such slot on this board, or writing it failed */
#define EHFF_LINK_ERR_EMPTY (-40) /* nothing is saved there */

/* Flags of HELLO's reply. */
#define EHFF_LINK_HAS_MODEL 1
#define EHFF_LINK_HAS_STORAGE 2
#define EHFF_LINK_HAS_FACTORY 4
#define EHFF_LINK_HAS_SAVED 8 /* a saved state that belongs to this firmware's factory model */

/* LOAD's argument. */
#define EHFF_LOAD_SAVED 0 /* the newest */
#define EHFF_LOAD_FACTORY 1
#define EHFF_LOAD_BEFORE 2 /* the one saved before the newest */

#define EHFF_LINK_HEADER 8 /* bytes before a request's body */
#define EHFF_LINK_REPLY 12 /* bytes before a reply's body */
#define EHFF_LINK_CRC 4

/* Frame memory for requests with so many bytes after the 8-byte header: with CRC and the bytes of COBS. */
#define EHFF_LINK_FRAME_BYTES(body) (((body) + 12u) + (((body) + 12u) / 254u) + 1u)

typedef struct {
    uint16_t sequence;
    uint8_t op; /* 0: empty */
    int8_t status;
    uint8_t body[4];
} ehff_answer;

typedef struct {
    uint8_t *arena;
    uint8_t *frame; /* aligned as uint32_t */
    uint32_t arena_bytes;
    uint32_t session, session_before;
    uint32_t bad_frames, repeats;
    uint16_t frame_bytes;
    uint16_t taken; /* bytes of the frame under way; over frame_bytes: too long */
    uint16_t ring_bytes; /* what the port keeps beside the frame */
    uint16_t sequence; /* of the last request carried out */
    ehff_model model;
    ehff_loader loader;
    ehff_answer answers[EHFF_LINK_WINDOW];
    const EHFF_FLASH char *name;
#if EHFF_LINK_RUNNER
    const int16_t *db_x; /* the sample last encoded for the runner */
    uint16_t db_bytes, db_taken; /* a sample that comes as text */
#endif
} ehff_link;

/* arena, frame: aligned as uint32_t, for as long as the link lives. name: ends with a zero. Starts with the newest
 * saved model of this firmware, else with the factory's, else with none. */
void ehff_link_init(ehff_link *link, const EHFF_FLASH char *name, void *arena, uint32_t arena_bytes, void *frame,
                    uint16_t frame_bytes, uint16_t ring_bytes);

/* One byte from the line. Answers, when it completes a frame or a text command. */
void ehff_link_byte(ehff_link *link, uint8_t byte);

#ifdef __cplusplus
}
#endif

#endif
