/* The types of the tables that tools/vectors_to_c.py writes. */
#ifndef EHFF_TEST_VECTORS_H
#define EHFF_TEST_VECTORS_H

#include "ehff/ehff.h"

#define RULE_CYCLE 0 /* cycle[i % period] */
#define RULE_ONE_HOT 1 /* value at start, else 0 */
#define RULE_LCG 2 /* s = s * 1664525 + 1013904223 from s = start; ((s >> 16) % (2 * value + 1) - value) << shift */

typedef struct {
    uint8_t kind;
    uint32_t start;
    int32_t value;
    uint8_t shift;
    uint32_t period;
    const int32_t *cycle;
} rule;

typedef struct {
    const char *name;
    uint32_t n;
    rule a;
    uint32_t u_crc32, root;
    int32_t shift;
} unit_case;

typedef struct {
    uint64_t v;
    uint32_t root;
} isqrt_case;

typedef struct {
    uint32_t at, value;
} point_case;

typedef struct {
    const char *function;
    uint32_t start, step, count, crc32;
} sweep_case;

typedef struct {
    uint32_t seed, step, layer, row, column, value;
} random_case;

typedef struct {
    uint32_t start, n;
    const uint8_t *bytes;
    uint32_t crc32;
} crc_case;

typedef struct {
    const char *name;
    ehff_encoder encoder;
    rule values;
    uint8_t has_table;
    rule offset, gain; /* of gain the magnitudes */
    uint32_t features_crc32, x_crc32;
} encoder_case;

typedef struct {
    uint8_t is_unit; /* x itself, else to be brought to unit length */
    uint16_t label;
    rule x;
} sample;

typedef struct {
    const char *name;
    ehff_config config;
    const rule *weights; /* one a layer, or NULL: fresh */
    const rule *prototypes; /* n_prototype_rules a layer, the last goes on */
    uint32_t n_prototype_rules;
    const rule *scales;
    uint32_t n_samples;
    const sample *samples;
    uint32_t steps;
    uint8_t first_layer;
    uint32_t start_step;
    uint32_t fresh_crc32, weights_crc32, state_crc32, blob_crc32;
    uint32_t predictions_crc32, scores_crc32, layer_scores_crc32;
    const uint32_t *updates, *saturated, *norm_sum;
    uint16_t answer;
    uint32_t blob_bytes;
    const uint8_t *blob; /* or NULL: its CRC only */
} network_case;

#endif
