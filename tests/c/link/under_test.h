/* Between the tests of the link: a board under test, and one request at a time to it. */
#ifndef EHFF_TEST_UNDER_TEST_H
#define EHFF_TEST_UNDER_TEST_H

#include "../test.h"
#include "sim.h"

#define FRAME 160 /* bytes of the board's frame, where a test says nothing else */

typedef struct {
    ehff_link *link;
    uint8_t blob[MODEL_BYTES]; /* the factory's */
    uint32_t blob_bytes, arena_bytes;
    uint32_t session;
    uint16_t sequence; /* of the last request */
} under_test;

extern under_test its;

/* A board with this factory model, an arena for it and two classes more, and a session begun. */
void begin(uint32_t model, uint16_t frame_bytes);
/* Power on again, in the same session as far as the host knows. */
void reboot(uint16_t frame_bytes);
/* Send a request; its reply's status. The reply must be one, whole, and this request's, with the right steps. */
int ask(uint8_t op, const void *body, uint32_t n);
/* The same with this sequence and session. */
int ask_as(uint8_t op, uint16_t sequence, uint32_t session, const void *body, uint32_t n);
/* The whole of a reply's body is this u32. */
int body_is(uint32_t v);
uint32_t state(void);
/* TRAIN or PREDICT with sample i: label or flags, and the raw sample. */
int train(uint32_t model, uint32_t i, uint16_t label);
int predict(uint32_t model, uint32_t i, uint16_t flags);

void test_session(void);
void test_requests(void);
void test_push(void);
void test_runner(void);
void test_slots(void);

#endif
