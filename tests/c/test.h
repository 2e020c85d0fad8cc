/* Counting, printing and buffers of the test programs. No heap; a board defines TEST_PRINT to write to its UART. */
#ifndef EHFF_TEST_H
#define EHFF_TEST_H

#include "ehff/ehff.h"

#ifndef TEST_PRINT
#include <stdio.h>
#define TEST_PRINT(text) (void)fputs(text, stdout)
#endif

#ifndef TEST_BYTES
#define TEST_BYTES 16384 /* of an arena, and of a blob */
#endif
#ifndef TEST_VALUES
#define TEST_VALUES 1024 /* elements of the longest vector */
#endif

typedef struct {
    uint32_t passed, failed, skipped;
    uint32_t arena[TEST_BYTES / 4], other[TEST_BYTES / 4], blob[TEST_BYTES / 4];
    int32_t values[TEST_VALUES];
    int16_t x[TEST_VALUES];
} test_memory;

extern test_memory test;

/* Count one check; say so where it fails. */
void test_check(int good, const char *name, const char *what);
void test_print_hex(uint32_t v);
void test_print_decimal(uint32_t v);
/* Print "N passed, M failed"; the exit status. */
int test_close(void);

#define CHECK(condition) test_check((condition) != 0, __func__, #condition)

/* A small two-layer network in test.arena that took 20 steps. */
#define SMALL_IN 6
#define SMALL_CLASSES 3
ehff_config test_small_config(void);
ehff_net *test_small_net(uint8_t recipe);
void test_small_sample(uint32_t i, int16_t *x);

void test_api(void);
void test_encoder(void);
void test_blob(void);
void test_loader(void);
void test_classes(void);
void test_conv(void);

/* Network v of a few that differ in recipe, prototypes and encoder, in test.arena; its blob is in test.blob. */
#define VARIANTS 15 /* from the tenth on with a convolution */
#define VARIANT_IN 9
#define VARIANT_CLASSES 3
typedef struct {
    ehff_net *net;
    const ehff_encoder *encoder; /* or NULL */
    uint32_t blob_bytes, raw_bytes;
} test_variant;
test_variant test_make_variant(uint32_t v);
/* Sample i for any of them, 12 values of which without an encoder the first 9 are a unit vector. */
void test_variant_sample(const test_variant *v, uint32_t i, int16_t *raw);

#endif
