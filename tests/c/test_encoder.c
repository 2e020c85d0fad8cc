/* What the encoder's entries refuse. */
#include "test.h"

static const int32_t offsets[8] = {0};
static const uint16_t gains[8] = {1, 1, 1, 1, 1, 1, 1, 1};

static ehff_encoder small_encoder(void)
{
    ehff_encoder e = {EHFF_RAW_I8, EHFF_ENC_WINDOW, EHFF_FEAT_MAV | EHFF_FEAT_WL, 1, 4, 100, 6, 2, 3, offsets, gains};
    return e;
}

#define ENCODER_GIVES(field, value, status)                          \
    do {                                                             \
        ehff_encoder e = small_encoder();                            \
        e.field = value;                                             \
        CHECK(ehff_encoder_sizes(&e, NULL, NULL, NULL) == (status)); \
    } while (0)

static void check_settings(void)
{
    ehff_encoder e = small_encoder();
    uint32_t n_raw = 0, n = 0, scratch = 0;
    CHECK(ehff_encoder_sizes(&e, &n_raw, &n, &scratch) == EHFF_OK && n_raw == 12 && n == 9 && scratch == 36);
    CHECK(ehff_encoder_sizes(NULL, &n_raw, &n, &scratch) == EHFF_ERR_NULL);
    ENCODER_GIVES(n_time, 0, EHFF_ERR_SHAPE);
    ENCODER_GIVES(n_channels, 0, EHFF_ERR_SHAPE);
    ENCODER_GIVES(n_segments, 0, EHFF_ERR_SHAPE);
    ENCODER_GIVES(n_segments, 4, EHFF_ERR_SHAPE); /* 6 rows do not divide by 4 */
    ENCODER_GIVES(n_channels, 10922, EHFF_OK);
    ENCODER_GIVES(n_channels, 10923, EHFF_ERR_SHAPE); /* 65,538 values */
    ENCODER_GIVES(raw, 3, EHFF_ERR_RANGE);
    ENCODER_GIVES(kind, 2, EHFF_ERR_RANGE);
    ENCODER_GIVES(log, 2, EHFF_ERR_RANGE);
    ENCODER_GIVES(gain_shift, 30, EHFF_OK);
    ENCODER_GIVES(gain_shift, 31, EHFF_ERR_RANGE);
    ENCODER_GIVES(features, 0, EHFF_ERR_RANGE);
    ENCODER_GIVES(features, 8, EHFF_ERR_RANGE);
    ENCODER_GIVES(offset, NULL, EHFF_ERR_NULL);
    ENCODER_GIVES(gain, NULL, EHFF_ERR_NULL);
    e.kind = EHFF_ENC_PLAIN;
    CHECK(ehff_encoder_sizes(&e, NULL, NULL, NULL) == EHFF_ERR_RANGE);
    e.features = 0; /* the bias stands behind each of the segments */
    CHECK(ehff_encoder_sizes(&e, NULL, &n, NULL) == EHFF_OK && n == 15);
    e.n_segments = 4; /* of the 12 values, not of the 6 rows */
    CHECK(ehff_encoder_sizes(&e, NULL, &n, NULL) == EHFF_OK && n == 16);
    e.n_segments = 5; /* 12 values do not divide by 5 */
    CHECK(ehff_encoder_sizes(&e, NULL, NULL, NULL) == EHFF_ERR_SHAPE);
    e.n_segments = 3;
    e.bias = 0;
    CHECK(ehff_encoder_sizes(&e, NULL, NULL, NULL) == EHFF_ERR_RANGE);
    e.bias = 100;
    e.n_segments = 1;
    CHECK(ehff_encoder_sizes(&e, NULL, &n, NULL) == EHFF_OK && n == 13);
    e.n_time = 32768; /* 65,536 values and the bias are one too many */
    CHECK(ehff_encoder_sizes(&e, NULL, &n, NULL) == EHFF_ERR_SHAPE);
    e.bias = 0;
    CHECK(ehff_encoder_sizes(&e, NULL, &n, NULL) == EHFF_OK && n == 65536);
    e = small_encoder();
    e.n_time = 2049; /* a segment holds at most 2,048 rows, a window 16,384 */
    e.n_segments = 1;
    CHECK(ehff_encoder_sizes(&e, NULL, NULL, NULL) == EHFF_ERR_SHAPE);
    e.n_time = 2048;
    CHECK(ehff_encoder_sizes(&e, NULL, NULL, NULL) == EHFF_OK);
    e.n_time = 16384;
    e.n_segments = 8;
    CHECK(ehff_encoder_sizes(&e, NULL, NULL, NULL) == EHFF_OK);
    e.n_time = 16392;
    CHECK(ehff_encoder_sizes(&e, NULL, NULL, NULL) == EHFF_ERR_SHAPE);
    e.n_time = 8192; /* 2 * 8192 * 4 values of mav and rms: a vector has no room for 65,544 */
    e.n_channels = 8;
    e.n_segments = 4096;
    e.features = EHFF_FEAT_MAV | EHFF_FEAT_RMS | EHFF_FEAT_WL;
    CHECK(ehff_encoder_sizes(&e, NULL, NULL, NULL) == EHFF_ERR_SHAPE);
}

static void check_encoding(void)
{
    ehff_encoder e = small_encoder();
    int8_t raw[24];
    int16_t x[18], one[9];
    int32_t features[8], i;
    uint32_t scratch[10];
    uint8_t *at = (uint8_t *)scratch;
    ehff_encoder bad = e;
    bad.raw = 3;
    for (i = 0; i < 24; i++) raw[i] = (int8_t)(i * i - 200);
    scratch[9] = 0xA5A5A5A5u;
    CHECK(ehff_encode(&e, raw, 12, scratch, 36, x) == EHFF_OK);
    CHECK(scratch[9] == 0xA5A5A5A5u);
    CHECK(ehff_encode(NULL, raw, 12, scratch, 36, x) == EHFF_ERR_NULL);
    CHECK(ehff_encode(&bad, raw, 12, scratch, 36, x) == EHFF_ERR_RANGE);
    CHECK(ehff_encode(&e, NULL, 12, scratch, 36, x) == EHFF_ERR_NULL);
    CHECK(ehff_encode(&e, raw, 12, NULL, 36, x) == EHFF_ERR_NULL);
    CHECK(ehff_encode(&e, raw, 12, scratch, 36, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_encode(&e, raw, 11, scratch, 36, x) == EHFF_ERR_SHAPE);
    CHECK(ehff_encode(&e, raw, 13, scratch, 36, x) == EHFF_ERR_SHAPE);
    CHECK(ehff_encode(&e, raw, 12, scratch, 35, x) == EHFF_ERR_ARENA);
    CHECK(ehff_encode(&e, raw, 12, at + 2, 36, x) == EHFF_ERR_ARENA);
    CHECK(ehff_encode_features(&e, raw, 12, features) == EHFF_OK);
    CHECK(ehff_encode_features(NULL, raw, 12, features) == EHFF_ERR_NULL);
    CHECK(ehff_encode_features(&e, NULL, 12, features) == EHFF_ERR_NULL);
    CHECK(ehff_encode_features(&e, raw, 12, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_encode_features(&e, raw, 13, features) == EHFF_ERR_SHAPE);
    CHECK(ehff_encode_rows(&e, raw, 2, 12, scratch, 36, x) == EHFF_OK);
    CHECK(ehff_encode_rows(&bad, raw, 2, 12, scratch, 36, x) == EHFF_ERR_RANGE);
    CHECK(ehff_encode_rows(&e, NULL, 2, 12, scratch, 36, x) == EHFF_ERR_NULL);
    CHECK(ehff_encode_rows(&e, raw, 2, 12, scratch, 36, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_encode_rows(&e, raw, 2, 12, scratch, 35, x) == EHFF_ERR_ARENA);
    CHECK(ehff_encode(&e, raw + 12, 12, scratch, 36, one) == EHFF_OK);
    for (i = 0; i < 9; i++) CHECK(one[i] == x[9 + i]);
}

/* Plain values need no scratch and give what ehff_unit gives of the features. */
static void check_plain(const ehff_encoder *e, const void *raw)
{
    static const int32_t none[8] = {0};
    int32_t features[9], i, shift;
    const int32_t *offset = e->offset == NULL ? none : e->offset;
    int16_t x[9], expected[9];
    uint32_t n = 0, scratch = 1, root;
    CHECK(ehff_encoder_sizes(e, NULL, &n, &scratch) == EHFF_OK && n <= 9 && scratch == 0);
    CHECK(ehff_encode(e, raw, 8, NULL, 0, x) == EHFF_OK);
    CHECK(ehff_encode(e, NULL, 8, NULL, 0, x) == EHFF_ERR_NULL);
    CHECK(ehff_encode(e, raw, 7, NULL, 0, x) == EHFF_ERR_SHAPE);
    CHECK(ehff_encode_features(e, raw, 8, features) == EHFF_OK);
    for (i = 0; i < 8 && e->offset != NULL; i++) {
        features[i] -= offset[i];
        if (features[i] > 32767) features[i] = 32767;
        if (features[i] < -32767) features[i] = -32767;
    }
    features[8] = e->bias;
    CHECK(ehff_unit(features, n, expected, &root, &shift) == EHFF_OK);
    for (i = 0; i < (int32_t)n; i++) CHECK(x[i] == expected[i]);
}

static void check_plain_values(void)
{
    static const int16_t extremes[4][8] = {{-32768, 32767, -1, 0, 1, 16384, -16384, 3},
                                           {-32768, 0, 0, 0, 0, 0, 0, 0},
                                           {-1, 0, 0, 2, 0, 0, 0, 0},
                                           {0, 0, 0, 0, 0, 0, 0, 0}};
    static const uint8_t bytes[8] = {0, 255, 128, 1, 2, 127, 0, 64};
    static const int32_t far[8] = {-32768, 32767, 5, -5, 0, 1, -1, 40000};
    ehff_encoder e = {EHFF_RAW_I16, EHFF_ENC_PLAIN, 0, 0, 0, 0, 8, 1, 1, NULL, NULL};
    uint32_t i, biased, table;
    for (biased = 0; biased < 2; biased++)
        for (table = 0; table < 2; table++) {
            e.bias = biased ? -32768 : 0;
            e.offset = table ? far : NULL;
            e.gain = table ? gains : NULL;
            e.raw = EHFF_RAW_I16;
            for (i = 0; i < 4; i++) check_plain(&e, extremes[i]);
            e.raw = EHFF_RAW_U8;
            check_plain(&e, bytes);
            e.raw = EHFF_RAW_I8;
            check_plain(&e, bytes);
        }
}

void test_encoder(void)
{
    check_settings();
    check_encoding();
    check_plain_values();
}
