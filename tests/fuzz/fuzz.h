/* A fuzz target is LLVMFuzzerTestOneInput; what must hold is said by must(). */
#ifndef EHFF_FUZZ_H
#define EHFF_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "../c/link/sim.h"

#define must(condition)            \
    do {                           \
        if (!(condition)) abort(); \
    } while (0)

/* An input that is read from its start; zeros follow its end. */
typedef struct {
    const uint8_t *at, *end;
} input;

static inline uint8_t take8(input *in) { return in->at < in->end ? *in->at++ : 0; }

static inline uint32_t take16(input *in)
{
    const uint32_t low = take8(in);
    return low | (uint32_t)take8(in) << 8;
}

/* The next n bytes, or as many as there are. */
static inline uint32_t take_bytes(input *in, uint8_t *to, uint32_t n)
{
    const uint32_t left = (uint32_t)(in->end - in->at), some = n < left ? n : left;
    if (some > 0) memcpy(to, in->at, some);
    in->at += some;
    return some;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
