/* Raw samples -> features -> standardized -> Q14 unit vector, in integers, the same on host and board. */
#include "math.h"
#include "net.h"

static int32_t raw_at(const ehff_encoder *e, const void *raw, uint32_t i)
{
    if (e->raw == EHFF_RAW_U8) return ((const uint8_t *)raw)[i];
    if (e->raw == EHFF_RAW_I8) return ((const int8_t *)raw)[i];
    return ((const int16_t *)raw)[i];
}

/* Values of at most 16 bits become features as they are, which need no room beside the unit vector's. */
static int is_small(const ehff_encoder *e) { return !EHFF_WITH_WINDOW || (e->kind == EHFF_ENC_PLAIN && !e->log); }

int ehff_encoder_sizes(const ehff_encoder *e, uint32_t *n_raw, uint32_t *n_features, uint32_t *scratch_bytes)
{
    uint32_t raw, features;
    if (e == NULL) return EHFF_ERR_NULL;
    if (e->n_time < 1 || e->n_channels < 1 || e->n_segments < 1) return EHFF_ERR_SHAPE;
    raw = (uint32_t)e->n_time * e->n_channels;
    if (raw > EHFF_MAX_DIM) return EHFF_ERR_SHAPE;
    if (e->raw > EHFF_RAW_I16 || e->kind > (EHFF_WITH_WINDOW ? EHFF_ENC_WINDOW : EHFF_ENC_PLAIN)) return EHFF_ERR_RANGE;
    if (e->log > (EHFF_WITH_WINDOW ? 1 : 0) || e->gain_shift > 30) return EHFF_ERR_RANGE;
    if ((e->offset == NULL) != (e->gain == NULL)) return EHFF_ERR_NULL;
    if (!EHFF_WITH_WINDOW || e->kind == EHFF_ENC_PLAIN) {
        if (e->features != 0 || (e->n_segments != 1 && (!EHFF_WITH_CONV || e->bias == 0))) return EHFF_ERR_RANGE;
        if (raw % e->n_segments != 0) return EHFF_ERR_SHAPE;
        features = raw;
    } else {
        /* segments of at most 2,048 rows and windows of at most 16,384 keep every feature at or below 2^30 */
        if (e->features < 1 || e->features > (EHFF_FEAT_MAV | EHFF_FEAT_RMS | EHFF_FEAT_WL)) return EHFF_ERR_RANGE;
        if (e->n_time % e->n_segments != 0 || e->n_time / e->n_segments > 2048 || e->n_time > 16384)
            return EHFF_ERR_SHAPE;
        features = ((e->features & EHFF_FEAT_MAV ? 1u : 0u) + (e->features & EHFF_FEAT_RMS ? 1u : 0u)) * e->n_segments *
                       e->n_channels +
                   (e->features & EHFF_FEAT_WL ? e->n_channels : 0u);
    }
    features += ehff_encoder_biases(e);
    if (features > EHFF_MAX_DIM) return EHFF_ERR_SHAPE;
    if (n_raw != NULL) *n_raw = raw;
    if (n_features != NULL) *n_features = features;
    if (scratch_bytes != NULL) *scratch_bytes = is_small(e) ? 0 : features * 4;
    return EHFF_OK;
}

/* log2(v + unit), Q16: v <= 2^30, unit <= 2^18. */
static int32_t maybe_log(const ehff_encoder *e, uint32_t v, uint32_t unit)
{
    return (int32_t)(EHFF_WITH_WINDOW && e->log ? ehff_log2(v + unit) : v);
}

static void window_features(const ehff_encoder *e, const void *raw, int32_t *f)
{
    const uint32_t length = e->n_time / e->n_segments, width = e->n_channels;
    uint32_t s, c, t, n = 0;
    if (e->features & EHFF_FEAT_MAV)
        for (s = 0; s < e->n_segments; s++)
            for (c = 0; c < width; c++) {
                uint32_t sum = 0; /* <= 2048 * 2^15 */
                for (t = s * length; t < (s + 1) * length; t++) sum += ehff_magnitude(raw_at(e, raw, t * width + c));
                f[n++] = maybe_log(e, sum, length);
            }
    if (e->features & EHFF_FEAT_RMS)
        for (s = 0; s < e->n_segments; s++)
            for (c = 0; c < width; c++) {
                uint64_t sum = 0; /* <= 2048 * 2^30; times length and 256: <= 2^60 */
                for (t = s * length; t < (s + 1) * length; t++) {
                    const uint32_t v = ehff_magnitude(raw_at(e, raw, t * width + c));
                    sum += v * v;
                }
                f[n++] = maybe_log(e, ehff_isqrt64(sum * length * 256), 16 * length);
            }
    if (e->features & EHFF_FEAT_WL)
        for (c = 0; c < width; c++) {
            uint32_t sum = 0; /* <= 16383 * 65535 < 2^30 */
            for (t = 1; t < e->n_time; t++)
                sum += ehff_magnitude(raw_at(e, raw, t * width + c) - raw_at(e, raw, (t - 1) * width + c));
            f[n++] = maybe_log(e, sum, e->n_time);
        }
}

static void plain_features(const ehff_encoder *e, const void *raw, uint32_t n_raw, int32_t *f)
{
    uint32_t i;
    for (i = 0; i < n_raw; i++) {
        const int32_t v = raw_at(e, raw, i);
        const int32_t g = maybe_log(e, ehff_magnitude(v), 1);
        f[i] = v < 0 ? -g : g;
    }
}

static void features_of(const ehff_encoder *e, const void *raw, uint32_t n_raw, int32_t *f)
{
    if (!EHFF_WITH_WINDOW || e->kind == EHFF_ENC_PLAIN)
        plain_features(e, raw, n_raw, f);
    else
        window_features(e, raw, f);
}

int ehff_encode_features(const ehff_encoder *e, const void *raw, uint32_t n_raw, int32_t *features)
{
    uint32_t expected;
    int status = ehff_encoder_sizes(e, &expected, NULL, NULL);
    if (status != EHFF_OK) return status;
    if (raw == NULL || features == NULL) return EHFF_ERR_NULL;
    if (n_raw != expected) return EHFF_ERR_SHAPE;
    features_of(e, raw, n_raw, features);
    return EHFF_OK;
}

/* The raw values as features, int16. */
static void small_features(const ehff_encoder *e, const void *raw, uint32_t n_raw, int16_t *x)
{
    const int16_t *const end = x + n_raw;
    const uint8_t *u8 = (const uint8_t *)raw;
    const int8_t *i8 = (const int8_t *)raw;
    const int16_t *i16 = (const int16_t *)raw;
    if (e->raw == EHFF_RAW_U8)
        while (x < end) *x++ = *u8++;
    else if (e->raw == EHFF_RAW_I8)
        while (x < end) *x++ = *i8++;
    else
        while (x < end) *x++ = *i16++;
}

/* Each of the parts of n features together moves up to make room for the bias behind it; the last one first. */
#define SPREAD(f, n, parts, bias)                                                                \
    do {                                                                                         \
        const uint32_t length_ = (n) / (parts);                                                  \
        uint32_t s_, i_;                                                                         \
        for (s_ = (parts); s_-- > 0;) {                                                          \
            for (i_ = length_; i_-- > 0;) (f)[s_ * (length_ + 1) + i_] = (f)[s_ * length_ + i_]; \
            (f)[s_ * (length_ + 1) + length_] = (bias);                                          \
        }                                                                                        \
    } while (0)

/* (f - offset) * gain >> gain_shift, rounded half up and saturated.  |f| <= 2^30, so that the difference has an upper part
 * below 2^15 + 2^14; where that exceeds int16 and gain 2^15, the result is past the limit whatever the shift. */
static int32_t standardized(const ehff_encoder *e, uint32_t i, int32_t f)
{
    const int32_t offset = e->offset[i], lower = (f & 0xFFFF) - (offset & 0xFFFF);
    const int32_t upper = (f >> 16) - (offset >> 16) + (lower >> 16);
    if (e->gain[i] >> 15 && upper != (int16_t)upper) return upper < 0 ? -32767 : 32767;
    return ehff_scaled(upper, (uint32_t)lower & 0xFFFFu, e->gain[i], e->gain_shift);
}

int ehff_encode(const ehff_encoder *e, const void *raw, uint32_t n_raw, void *scratch, uint32_t scratch_bytes,
                int16_t *x)
{
    uint32_t i, n, expected, needed, root;
    int32_t shift, *f = (int32_t *)scratch;
    int status = ehff_encoder_sizes(e, &expected, &n, &needed);
    if (status != EHFF_OK) return status;
    if (raw == NULL || x == NULL || (needed != 0 && scratch == NULL)) return EHFF_ERR_NULL;
    if (needed != 0 && (scratch_bytes < needed || !ehff_aligned(scratch))) return EHFF_ERR_ARENA;
    if (n_raw != expected) return EHFF_ERR_SHAPE;
    n -= ehff_encoder_biases(e); /* the features without them */
    if (is_small(e)) {
        small_features(e, raw, n_raw, x);
        for (i = 0; e->offset != NULL && i < n; i++) x[i] = (int16_t)standardized(e, i, x[i]);
        if (EHFF_WITH_CONV && e->bias != 0)
            SPREAD(x, n, e->n_segments, e->bias);
        else if (e->bias != 0)
            x[n] = e->bias;
        ehff_unit_int16(x, n + ehff_encoder_biases(e));
        return EHFF_OK;
    }
    features_of(e, raw, n_raw, f);
    for (i = 0; e->offset != NULL && i < n; i++) f[i] = standardized(e, i, f[i]);
    if (EHFF_WITH_CONV && e->bias != 0 && e->kind == EHFF_ENC_PLAIN)
        SPREAD(f, n, e->n_segments, e->bias);
    else if (e->bias != 0)
        f[n] = e->bias;
    return ehff_unit(f, n + ehff_encoder_biases(e), x, &root, &shift);
}

int ehff_encode_rows(const ehff_encoder *e, const void *raw, uint32_t n_samples, uint32_t n_raw, void *scratch,
                     uint32_t scratch_bytes, int16_t *x)
{
    uint32_t i, n;
    int status = ehff_encoder_sizes(e, NULL, &n, NULL);
    if (status != EHFF_OK) return status;
    if (raw == NULL || x == NULL) return EHFF_ERR_NULL;
    for (i = 0; i < n_samples && status == EHFF_OK; i++)
        status = ehff_encode(e, (const uint8_t *)raw + (size_t)i * n_raw * (e->raw == EHFF_RAW_I16 ? 2 : 1), n_raw,
                             scratch, scratch_bytes, x + (size_t)i * n);
    return status;
}
