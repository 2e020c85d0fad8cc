/* What lies in an arena: header, table of layers, weights, prototypes, scratch; all addressed by offsets. */
#ifndef EHFF_NET_H
#define EHFF_NET_H

#include "ehff/ehff.h"

#define EHFF_MAGIC 0x46464845u /* "EHFF" */
#define EHFF_W_RMS 16 /* RMS of fresh or quantized weights, in int8 steps: 8 of them below the limit */
#define EHFF_W8_LIMIT 127
#define EHFF_W16_LIMIT 32512 /* 127 * 256: the int8 view of a master never exceeds 127 */
#define EHFF_MAX_LENGTH 16640 /* of an input or a prototype: 1.0 in Q14 plus the rounding of 65,536 elements */
#define EHFF_BLOB_FIXED 64 /* header and closing CRC of a blob, and bytes a layer in it */
#define EHFF_BLOB_LAYER 16
#define EHFF_BLOB_CONV 36 /* more for each layer of a network with convolutions */
#define EHFF_NORM_MAX 0x3FFFFFu /* largest |y|, Q8, that the running mean counts: its sum of 1024 fits 32 bits */

/* The first 16 bytes are a blob's entry of the layer. */
typedef struct {
    uint32_t n_out;
    uint32_t norm_sum; /* running mean of |y| times 1024, Q8 */
    uint32_t updates;
    uint32_t join_weight;
    uint32_t n_in;
    uint32_t weights, protos, scales; /* offsets from the start of the arena */
} ehff_layer;

/* A blob's head, field by field; a blob has zeros in the place of the last three. */
struct ehff_net {
    uint32_t magic;
    uint16_t version;
    uint8_t n_layers, recipe, join, flags, proto_bits, first_layer;
    uint16_t n_classes, n_per_class;
    uint32_t kappa;
    uint16_t margin, gate;
    uint32_t lr_w;
    uint16_t lr_p, has_encoder;
    uint32_t seed, step;
    uint32_t blob_bytes;
    uint32_t n_in;
    uint32_t ram_bytes;
    uint32_t widest; /* outputs of the widest layer, or what a step of the largest convolution takes */
    uint32_t scratch; /* offset */
    /* ehff_layer[n_layers] follows, and ehff_conv[n_layers] where version is 2 */
};

/* The scratch of one step. acc serves the outputs first and the gradient after; error the logits first. */
typedef struct {
    int32_t *acc; /* widest */
    int32_t *error; /* n_classes * n_per_class: n_classes logits, base 2, Q16, and then errors, Q15 */
    int32_t *joined; /* n_classes, base 2, Q16; of networks of more than one layer */
    int16_t *cosine; /* n_classes * n_per_class, Q14: |cosine| <= 16640^2 / 2^14 * sqrt(3/2) < 20700 */
    int16_t *u[2]; /* widest each: this layer's input and its output, in turn; one layer has the first only */
    int16_t *head; /* of convolutions: the direction of the map summed over the grid */
    uint16_t *route; /* of pooling convolutions: which positions of a window count */
} ehff_scratch;

/* What a network with convolutions takes besides, in elements. */
typedef struct {
    uint32_t acc, map, head, route;
} ehff_conv_needs;

/* What the build leaves out is no question in the kernels. */
static inline int ehff_is_int8(const ehff_net *net) { return !EHFF_WITH_INT16 || net->recipe == EHFF_INT8; }
static inline uint32_t ehff_n_layers(const ehff_net *net) { return EHFF_MAX_LAYERS > 1 ? net->n_layers : 1; }
static inline uint32_t ehff_per_class(const ehff_net *net) { return EHFF_WITH_MULTI ? net->n_per_class : 1; }
static inline uint32_t ehff_n_protos(const ehff_net *net) { return net->n_classes * ehff_per_class(net); }

static inline ehff_layer *ehff_layers(const ehff_net *net) { return (ehff_layer *)((uintptr_t)net + sizeof(ehff_net)); }
static inline int ehff_has_conv(const ehff_net *net)
{
    return EHFF_WITH_CONV && net->version == EHFF_BLOB_CONV_VERSION;
}
static inline ehff_conv *ehff_convs(const ehff_net *net) { return (ehff_conv *)(ehff_layers(net) + net->n_layers); }

/* How layer l goes over a map; NULL: it is dense. */
static inline const ehff_conv *ehff_conv_of(const ehff_net *net, uint32_t l)
{
    return ehff_has_conv(net) && ehff_convs(net)[l].kind != EHFF_DENSE ? ehff_convs(net) + l : NULL;
}

/* Elements of a layer's prototypes. */
static inline uint32_t ehff_head_dim(const ehff_net *net, const ehff_layer *layer)
{
    const ehff_conv *conv = ehff_conv_of(net, (uint32_t)(layer - ehff_layers(net)));
    return conv == NULL ? layer->n_out : layer->n_out * conv->grid_h * conv->grid_w;
}

static inline void *ehff_at(const ehff_net *net, uint32_t offset)
{
    return (void *)((uintptr_t)net + (uintptr_t)offset);
}

/* Constant features: one at the end, or of plain values one behind each segment. */
static inline uint32_t ehff_encoder_biases(const ehff_encoder *e)
{
    if (e->bias == 0) return 0;
    return EHFF_WITH_CONV && e->kind == EHFF_ENC_PLAIN ? e->n_segments : 1;
}

/* Whether p is aligned as this machine wants its uint32_t: 4 bytes nearly everywhere, 1 on AVR. */
typedef struct {
    uint8_t byte;
    uint32_t word;
} ehff_alignment;

static inline int ehff_aligned(const void *p) { return (uintptr_t)p % offsetof(ehff_alignment, word) == 0; }

int ehff_net_valid(const ehff_net *net);
int ehff_net_layout(const ehff_config *c, void *arena, uint32_t arena_bytes, ehff_net **out);

/* Check a network whose head and layers' entries stand in the arena, and find places for all parts. */
int ehff_net_place(ehff_net *net, uint32_t arena_bytes);
/* Sizes of a head with these widths of its layers, and their convolutions where its version is 2, as a blob has them. */
int ehff_net_sizes_of(const ehff_net *head, const uint32_t *n_out, const uint8_t *conv, ehff_sizes *sizes);
/* Sizes of the same network with so many classes. */
int ehff_net_sizes_with(const ehff_net *net, uint16_t n_classes, ehff_sizes *sizes);

/* Draw the start value of prototype i of layer l. */
void ehff_net_draw_proto(const ehff_net *net, uint32_t l, uint32_t i);

/* layer.c */
uint32_t ehff_layer_forward(const ehff_net *net, const ehff_layer *layer, const int16_t *x, int32_t *acc);
void ehff_layer_learn(const ehff_net *net, const ehff_layer *layer, uint32_t index, const int16_t *x, const int16_t *u,
                      const int32_t *t, uint32_t norm);

/* Whether layer conv with so many rows can follow before: NULL where it is the first, of n_in inputs. */
int ehff_conv_follow(ehff_conv *conv, const ehff_conv *before, uint32_t n_in, uint32_t rows);
uint32_t ehff_conv_fan_in(const ehff_conv *conv);
static inline uint32_t ehff_conv_elements(const ehff_conv *conv, uint32_t rows)
{
    return (uint32_t)conv->out_h * conv->out_w * rows;
}
ehff_conv_needs ehff_net_conv_needs(const ehff_net *net);
/* Raise needs to what this layer takes. */
void ehff_conv_need(const ehff_conv *conv, uint32_t rows, ehff_conv_needs *needs);
uint32_t ehff_conv_forward(const ehff_net *net, const ehff_layer *layer, const ehff_conv *conv, const int16_t *x,
                           int32_t *acc, uint16_t *route);
void ehff_conv_sum(const ehff_conv *conv, uint32_t rows, const int16_t *u, int32_t *sum);
void ehff_conv_learn(const ehff_net *net, const ehff_layer *layer, const ehff_conv *conv, uint32_t index,
                     const int16_t *x, const int16_t *u, const uint16_t *route, int32_t *t, uint32_t norm);

/* proto.c */
void ehff_proto_cosines(const ehff_net *net, const ehff_layer *layer, const int16_t *u, int32_t *sum, int16_t *cosine);
void ehff_proto_logits(const ehff_net *net, const int16_t *cosine, int32_t *logit);
int32_t ehff_proto_logsumexp(const int32_t *logit, uint32_t n);
void ehff_proto_error(const ehff_net *net, const int16_t *cosine, uint32_t label, int32_t *error);
void ehff_proto_gradient(const ehff_net *net, const ehff_layer *layer, const int16_t *u, const int16_t *cosine,
                         const int32_t *error, int32_t *t);
void ehff_proto_learn(const ehff_net *net, const ehff_layer *layer, const int16_t *u, const int32_t *error,
                      int32_t *work);

#endif
