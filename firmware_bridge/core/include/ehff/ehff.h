/* edgehff core: Hyperspherical Forward-Forward networks that train in integers.
 *
 * C99, no heap, no floating point, no libm, no globals. The caller gives one arena; everything in it is
 * addressed by offsets, so an arena may be copied or moved as bytes on one machine. The arithmetic is
 * stated in docs/explanation/arithmetic.md and again in edgehff/fixedpoint.py; the same calls give the
 * same bits on every machine.
 *
 * Functions return EHFF_OK (0) or a negative status. Pointers, shapes and sizes are checked here, at the
 * public entries; inner loops check nothing. */
#ifndef EHFF_H
#define EHFF_H

#include <stddef.h>
#include <stdint.h>

#include "ehff/ehff_build.h"
#include "ehff/ehff_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EHFF_ABI_VERSION 4 /* of these declarations */
#define EHFF_BLOB_VERSION 1 /* of the bytes that ehff_net_save writes of dense networks */
#define EHFF_BLOB_CONV_VERSION 2 /* of networks with convolutions */

#define EHFF_ONE 16384 /* 1.0 in Q14 */
#define EHFF_MAX_DIM 65536 /* elements of a vector */
#define EHFF_MAX_CLASSES 1024
#define EHFF_MAX_PROTOTYPES 4096 /* classes times prototypes per class */
#define EHFF_MAX_KAPPA 94548 /* scale 64 */
#define EHFF_MAX_LR_W 1048576 /* 16.0 in Q16 */
#define EHFF_MAX_LR_P 8192 /* 0.5 in Q14: a step cannot take a prototype to zero */
#define EHFF_MAX_GATE 32768 /* 2.0 in Q14: no lead is larger */
#define EHFF_GATE_OFF 65535 /* a layer learns from every sample */

/* Recipes: how the weights are kept. */
#define EHFF_INT8 0 /* int8, stochastic rounding: boards under 16 KB */
#define EHFF_INT16 1 /* int16 master with an int8 forward view (w + 128) >> 8 */

/* How the layers' answers are joined. */
#define EHFF_JOIN_SUM_LOGP 0 /* sum of every layer's log-probabilities */
#define EHFF_JOIN_LAST 1 /* the last layer's alone */
#define EHFF_JOIN_WEIGHTED 2 /* sum weighted by join_weight */

/* Switches, or-ed into ehff_config.flags. */
#define EHFF_CAP 1 /* a step divides by max(|y|, running mean of |y|) */
#define EHFF_REVIVE 2 /* a silent row takes a tenth of a step that would raise it */

/* Kinds of layers. */
#define EHFF_DENSE 0
#define EHFF_CONV 1
#define EHFF_DEPTHWISE 2 /* each channel by itself */

#define EHFF_POOL_NONE 0
#define EHFF_POOL_MAX 1
#define EHFF_POOL_MEAN 2

#define EHFF_MAX_KERNEL 31 /* and stride */
#define EHFF_MAX_POOL 16 /* positions in a window */
#define EHFF_MAX_GRID 16

/* How a layer goes over a map of height, width and channels, in this order in memory (NHWC). One-dimensional signals
 * have height 1. Dense layers, which follow the convolutions, have zeros throughout. */
typedef struct {
    uint16_t in_h, in_w, in_c; /* of the first layer; the others' follow, and are set by ehff_net_init */
    uint16_t kind;
    uint16_t kernel_h, kernel_w, stride_h, stride_w; /* 1..EHFF_MAX_KERNEL */
    uint16_t pad_h, pad_w; /* zeros at both ends, less than the kernel */
    uint16_t pool, pool_h, pool_w; /* windows that do not overlap, after the rectifier; 1 without */
    uint16_t grid_h, grid_w; /* the prototypes see the map summed over so many cells, 1..EHFF_MAX_GRID */
    uint16_t out_h, out_w; /* after pooling; follow from the rest */
    uint16_t reserved; /* 0 */
} ehff_conv;

typedef struct {
    const uint32_t
        *dims; /* n_layers + 1 widths, 1..EHFF_MAX_DIM; dims[0] is the input, others are outputs or channels */
    const ehff_conv *conv; /* n_layers, or NULL: all layers are dense */
    const uint16_t *join_weight; /* n_layers weights, Q8, 0..1024; read for EHFF_JOIN_WEIGHTED only */
    uint8_t n_layers; /* 1..EHFF_MAX_LAYERS */
    uint8_t recipe; /* EHFF_INT8, EHFF_INT16 */
    uint8_t join;
    uint8_t flags;
    uint8_t proto_bits; /* 16, or 8: int8 prototypes with one scale each, inference only */
    uint16_t n_classes; /* 2..EHFF_MAX_CLASSES */
    uint16_t n_per_class; /* prototypes per class, 1..64 */
    uint32_t kappa; /* softmax scale times log2(e), Q10, 1..EHFF_MAX_KAPPA */
    uint16_t margin; /* additive margin on the own class while learning, cosine Q14, 0..EHFF_ONE */
    uint16_t gate; /* a layer learns while its own class leads by less than this, cosine Q14, or EHFF_GATE_OFF */
    uint32_t lr_w; /* rate of the weights, relative, Q16, 0..EHFF_MAX_LR_W */
    uint16_t lr_p; /* rate of the prototypes, Q14, 0..EHFF_MAX_LR_P */
    uint32_t seed;
} ehff_config;

/* Bytes of one network, by part. ram_bytes is their sum and what ehff_net_init demands. */
typedef struct {
    uint32_t state_bytes; /* header and table of layers */
    uint32_t weight_bytes;
    uint32_t proto_bytes;
    uint32_t scratch_bytes; /* widest layer only: the same for 2 layers and for 32, less for one */
    uint32_t ram_bytes;
    uint32_t blob_bytes; /* saved without an encoder */
} ehff_sizes;

typedef struct {
    uint32_t n_in, n_out; /* of the matrix of weights: a convolution's are those of a kernel, and its channels */
    uint32_t updates; /* samples that this layer learned from */
    uint32_t saturated; /* weights that stand at the limit */
    uint32_t norm; /* running mean of |y|, Q8, in int8 steps */
} ehff_layer_stats;

typedef struct ehff_net ehff_net; /* lies at the start of the arena */

uint32_t ehff_abi_version(void);
const char *ehff_status_text(int status);

/* Check a configuration and say what it costs. EHFF_ERR_NULL, _SHAPE or _RANGE. */
int ehff_net_sizes(const ehff_config *config, ehff_sizes *sizes);

/* ram_bytes of ehff_net_sizes, or 0 where the configuration is not valid. */
uint32_t ehff_net_ram_bytes(const ehff_config *config);

/* Lay a new network out in the arena (aligned as uint32_t, at least ram_bytes) and draw its start values from
 * the seed. With proto_bits 8 the prototypes are zero, to be written through ehff_net_protos. */
int ehff_net_init(const ehff_config *config, void *arena, uint32_t arena_bytes, ehff_net **net);

/* Start again in the same shape: weights and prototypes drawn from this seed, no step taken, all layers learn. */
int ehff_net_reset(ehff_net *net, uint32_t seed);

/* One class more, in an arena of so many bytes: its prototypes are drawn as ehff_net_init would have drawn them,
 * everything else keeps its bits. EHFF_ERR_ARENA where it does not fit, EHFF_ERR_FROZEN for int8 prototypes. */
int ehff_net_add_class(ehff_net *net, uint32_t arena_bytes);

/* Class of x. x: n_in int16, Q14, |x| <= 1.0 within rounding (else EHFF_ERR_RANGE).
 * score: n_classes int32, joined log2-probabilities in Q16, or NULL. Ties go to the lower class. */
int ehff_net_predict(ehff_net *net, const int16_t *x, uint32_t n_in, uint16_t *label, int32_t *score);

/* One step: each layer answers, learns from its own error, and hands its answer on. x as for predict.
 * predicted: the class given before learning, or NULL. EHFF_ERR_LABEL where label >= n_classes. */
int ehff_net_train(ehff_net *net, const int16_t *x, uint32_t n_in, uint16_t label, uint16_t *predicted);

/* The same for n_samples rows of x, in order. labels, predicted: n_samples. Stops at the first bad row. */
int ehff_net_predict_rows(ehff_net *net, const int16_t *x, uint32_t n_samples, uint32_t n_in, uint16_t *predicted,
                          int32_t *scores);
int ehff_net_train_rows(ehff_net *net, const int16_t *x, uint32_t n_samples, uint32_t n_in, const uint16_t *labels,
                        uint16_t *predicted);

/* Each layer's class logits kappa * S, base 2, Q16: score is n_layers * n_classes int32. */
int ehff_net_layer_scores(ehff_net *net, const int16_t *x, uint32_t n_in, int32_t *score);

/* What each layer's prototypes see of x: unit vectors in Q14, layer by layer. u: as many int16 as one prototype of
 * every layer has elements. */
int ehff_net_directions(ehff_net *net, const int16_t *x, uint32_t n_in, int16_t *u);

/* Change the rates, and which layers learn: those from first_layer on (0 all, n_layers none). */
int ehff_net_set_rates(ehff_net *net, uint32_t lr_w, uint16_t lr_p);
int ehff_net_set_first_layer(ehff_net *net, uint8_t first_layer);
int ehff_net_set_gate(ehff_net *net, uint16_t gate);

/* Steps taken so far; with the seed it names the random bits of the next step. */
int ehff_net_get_step(const ehff_net *net, uint32_t *step);
int ehff_net_set_step(ehff_net *net, uint32_t step);

/* Direct access, for loading and reading: n_out * n_in weights (int8_t or int16_t by recipe), prototypes
 * n_classes * n_per_class * head (int16_t, or int8_t; head is n_out, of a convolution n_out * grid_h * grid_w), and the scales of int8 prototypes (uint16_t, Q8 of
 * a Q14 step; NULL for int16). NULL where the layer does not exist. Call ehff_net_check after writing. */
void *ehff_net_weights(ehff_net *net, uint8_t layer);
void *ehff_net_protos(ehff_net *net, uint8_t layer);
uint16_t *ehff_net_proto_scales(ehff_net *net, uint8_t layer);
int ehff_net_get_norm_sum(const ehff_net *net, uint8_t layer, uint32_t *norm_sum);
int ehff_net_set_norm_sum(ehff_net *net, uint8_t layer, uint32_t norm_sum);

/* EHFF_ERR_RANGE where a weight exceeds its limit or a prototype is longer than the bounds of the sums allow. */
int ehff_net_check(ehff_net *net);

int ehff_net_layer_stats(const ehff_net *net, uint8_t layer, ehff_layer_stats *stats);

/* CRC-32 (zlib's) of little-endian weights and prototypes, layer by layer: the name of a model. The state's
 * goes on over step, seed, rates, scale, and each layer's running mean. 0 where net is not valid. */
uint32_t ehff_net_weights_crc32(const ehff_net *net);
uint32_t ehff_net_state_crc32(const ehff_net *net);
uint32_t ehff_crc32(uint32_t crc, const uint8_t *bytes, uint32_t n);

/* ---- Encoder: raw samples -> Q14 unit vector ---- */

#define EHFF_RAW_U8 0
#define EHFF_RAW_I8 1
#define EHFF_RAW_I16 2

#define EHFF_ENC_PLAIN 0 /* one feature a raw value */
#define EHFF_ENC_WINDOW 1 /* features of a window of n_time rows of n_channels, in n_segments */

/* Features of a window, or-ed: each gives n_segments * n_channels values, in this order. */
#define EHFF_FEAT_MAV 1 /* sum of |v| */
#define EHFF_FEAT_RMS 2 /* 16 * n * root of the mean square */
#define EHFF_FEAT_WL 4 /* sum of |v[t+1] - v[t]| over the whole window: n_channels values */

typedef struct {
    uint8_t raw; /* EHFF_RAW_* */
    uint8_t kind; /* EHFF_ENC_* */
    uint8_t features; /* EHFF_FEAT_*, for EHFF_ENC_WINDOW */
    uint8_t log; /* 1: log2 of each feature plus one step of its unit */
    uint8_t gain_shift; /* 0..30 */
    int16_t bias; /* a last feature of this value before the norm; 0: none. Plain: behind each segment */
    uint16_t n_time, n_channels, n_segments; /* plain: n_time * n_channels values; n_segments 1 where bias is 0 */
    const int32_t *offset; /* one a feature, or NULL: no standardization */
    const uint16_t *gain; /* one a feature: z = (f - offset) * gain >> gain_shift, saturated to int16 */
} ehff_encoder;

/* Raw values, features and scratch of an encoder; plain ones without log need no scratch. EHFF_ERR_NULL, _SHAPE or _RANGE where it is not valid. */
int ehff_encoder_sizes(const ehff_encoder *encoder, uint32_t *n_raw, uint32_t *n_features, uint32_t *scratch_bytes);

/* raw: n_raw values of the encoder's type. scratch: scratch_bytes, aligned as uint32_t; read only where an encoder needs
 * some. x: n_features int16, Q14. */
int ehff_encode(const ehff_encoder *encoder, const void *raw, uint32_t n_raw, void *scratch, uint32_t scratch_bytes,
                int16_t *x);

/* The features before standardization (what offset and gain are fitted on): int32, n_features without bias. */
int ehff_encode_features(const ehff_encoder *encoder, const void *raw, uint32_t n_raw, int32_t *features);

int ehff_encode_rows(const ehff_encoder *encoder, const void *raw, uint32_t n_samples, uint32_t n_raw, void *scratch,
                     uint32_t scratch_bytes, int16_t *x);

/* ---- Blob: one flat little-endian file of a network and, where given, its encoder ---- */

/* Bytes that ehff_net_save writes, or 0 where net or encoder is not valid. encoder may be NULL. */
uint32_t ehff_net_blob_bytes(const ehff_net *net, const ehff_encoder *encoder);
int ehff_net_save(const ehff_net *net, const ehff_encoder *encoder, uint8_t *blob, uint32_t blob_bytes);

/* What a blob asks for, before loading it: checks length, magic, version, CRC and shapes. Any out may be NULL. */
int ehff_blob_sizes(const uint8_t *blob, uint32_t blob_bytes, ehff_sizes *sizes, uint32_t *encoder_features);
int ehff_net_load(const uint8_t *blob, uint32_t blob_bytes, void *arena, uint32_t arena_bytes, ehff_net **net);
/* table: n_features int32 offsets, then n_features uint16 gains; aligned as uint32_t, 6 bytes a feature. */
int ehff_encoder_load(const uint8_t *blob, uint32_t blob_bytes, void *table, uint32_t table_bytes,
                      ehff_encoder *encoder);

/* Bytes offset .. offset + n of what ehff_net_save would write, so that a blob can leave in pieces. The last
 * four cost a pass over all others. */
int ehff_blob_read(const ehff_net *net, const ehff_encoder *encoder, uint32_t offset, uint8_t *out, uint32_t n);

/* ---- Model: a network and its encoder in one arena, raw samples in ---- */

typedef struct {
    ehff_net *net; /* NULL: no model */
    ehff_encoder encoder; /* its table lies in the arena */
    int16_t *x; /* n_in values: the encoded sample */
    void *scratch; /* of the encoder */
    uint32_t bytes; /* of the arena in use */
    uint32_t arena_bytes;
    uint32_t raw_bytes; /* of a sample; without an encoder, n_in int16 in Q14 */
    uint32_t n_in;
    uint16_t n_classes;
    uint8_t has_encoder;
} ehff_model;

/* Bytes of an arena for this network and encoder (or NULL); 0 where they are not valid. */
uint32_t ehff_model_bytes(const ehff_net *net, const ehff_encoder *encoder);

/* raw: raw_bytes of the encoder's type, aligned for it. Otherwise as the functions of the network; raw_bytes
 * other than the model's are EHFF_ERR_SHAPE. */
int ehff_model_encode(ehff_model *model, const void *raw, uint32_t raw_bytes, const int16_t **x);
int ehff_model_predict(ehff_model *model, const void *raw, uint32_t raw_bytes, uint16_t *label, int32_t *score);
int ehff_model_train(ehff_model *model, const void *raw, uint32_t raw_bytes, uint16_t label, uint16_t *predicted);

int ehff_model_add_class(ehff_model *model);

/* A blob that arrives in pieces of any length, the first at least EHFF_LOAD_FIRST(n_layers) long. What is
 * wrong ends the load with a status and leaves no model in the arena. */
#define EHFF_LOAD_FIRST(n_layers) (60u + 16u * (n_layers))
#define EHFF_LOAD_FIRST_CONV(n_layers) (60u + 52u * (n_layers)) /* of a blob of version 2 */

typedef struct {
    ehff_model *model;
    uint32_t at, blob_bytes; /* taken so far, of so many; 0: no load under way */
    uint32_t encoder_at; /* where the layers' arrays end */
    uint32_t crc;
    uint8_t fields[16];
} ehff_loader;

int ehff_load_begin(ehff_loader *loader, ehff_model *model, const uint8_t *bytes, uint32_t n, void *arena,
                    uint32_t arena_bytes);
int ehff_load_bytes(ehff_loader *loader, const uint8_t *bytes, uint32_t n);
int ehff_load_end(ehff_loader *loader);

/* ---- The functions of the arithmetic themselves, for tests and for other layers ---- */

/* u = a / |a| in Q14. |a[i]| <= 2^30. root and shift give |a| = root * 2^shift; both 0 for a zero vector. */
int ehff_unit(const int32_t *a, uint32_t n, int16_t *u, uint32_t *root, int32_t *shift);
uint32_t ehff_isqrt64(uint64_t v);
uint32_t ehff_exp2_neg(uint32_t z); /* 2^-z, z Q16 -> Q15 */
uint32_t ehff_log2(uint32_t v); /* log2 of v >= 1 -> Q16 */
uint32_t ehff_random(uint32_t seed, uint32_t step, uint32_t layer, uint32_t row, uint32_t column); /* 16 bits */

#ifdef __cplusplus
}
#endif

#endif
