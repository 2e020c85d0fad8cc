/* What a network is: its head checked, its sizes, and where each part lies in the arena. */
#include "net.h"

int ehff_net_valid(const ehff_net *net) { return net != NULL && ehff_aligned(net) && net->magic == EHFF_MAGIC; }

/* Layers of a head that was checked. */
static uint32_t n_layers_of(const ehff_net *h) { return EHFF_MAX_LAYERS > 1 ? h->n_layers : 1; }

static int check_head(const ehff_net *h)
{
    if (h->version != EHFF_BLOB_VERSION && !ehff_has_conv(h)) return EHFF_ERR_FORMAT;
    if (h->n_layers < 1 || h->n_layers > EHFF_MAX_LAYERS) return EHFF_ERR_SHAPE;
    if (h->n_in < 1 || h->n_in > EHFF_MAX_DIM) return EHFF_ERR_SHAPE;
    if (h->n_classes < 2 || h->n_classes > EHFF_MAX_CLASSES) return EHFF_ERR_SHAPE;
    if (h->n_per_class < 1 || h->n_per_class > (EHFF_WITH_MULTI ? 64 : 1)) return EHFF_ERR_SHAPE;
    if ((uint32_t)h->n_classes * h->n_per_class > EHFF_MAX_PROTOTYPES) return EHFF_ERR_SHAPE;
    if (h->recipe > (EHFF_WITH_INT16 ? EHFF_INT16 : EHFF_INT8)) return EHFF_ERR_RANGE;
    if (h->join > (EHFF_MAX_LAYERS > 1 ? EHFF_JOIN_WEIGHTED : EHFF_JOIN_LAST)) return EHFF_ERR_RANGE;
    if (h->flags > (EHFF_CAP | EHFF_REVIVE)) return EHFF_ERR_RANGE;
    if (h->proto_bits != 16 && !(EHFF_WITH_INT8_PROTOS && h->proto_bits == 8)) return EHFF_ERR_RANGE;
    if (h->kappa < 1 || h->kappa > EHFF_MAX_KAPPA || h->margin > EHFF_ONE) return EHFF_ERR_RANGE;
    if (h->gate > EHFF_MAX_GATE && h->gate != EHFF_GATE_OFF) return EHFF_ERR_RANGE;
    if (h->lr_w > EHFF_MAX_LR_W || h->lr_p > EHFF_MAX_LR_P) return EHFF_ERR_RANGE;
    return h->first_layer > h->n_layers ? EHFF_ERR_RANGE : EHFF_OK;
}

/* Words of four bytes that hold n elements of 1, 2 or 4 bytes. 1 <= n <= 2^32, where 2^32 comes as 0. */
static uint32_t words(uint32_t n, uint32_t bytes_each) { return ((n - 1) >> (2 - bytes_each / 2)) + 1; }

typedef struct {
    uint32_t weights, protos, scales; /* words of one layer */
} parts;

/* head: elements of a prototype. */
static parts parts_of(const ehff_net *h, uint32_t n_in, uint32_t n_out, uint32_t head)
{
    const uint32_t n_protos = ehff_n_protos(h);
    const int small = EHFF_WITH_INT8_PROTOS && h->proto_bits == 8;
    parts p;
    p.weights = words(n_in * n_out, ehff_is_int8(h) ? 1 : 2);
    p.protos = words(n_protos * head, small ? 1 : 2);
    p.scales = small ? words(n_protos, 2) : 0;
    return p;
}

/* A network's table of convolutions: in an arena or a configuration, or as a blob has it; or there is none. What
 * follows from the layer before may be left open in a configuration, and nowhere else. */
typedef struct {
    const ehff_conv *entries;
    const uint8_t *bytes;
    int is_open;
} table;

static ehff_conv entry_of(const table *t, uint32_t l)
{
    ehff_conv c;
    uint32_t i;
    if (t->entries != NULL) return t->entries[l];
    for (i = 0; i < EHFF_BLOB_CONV / 2; i++)
        ((uint16_t *)&c)[i] =
            (uint16_t)(t->bytes[l * EHFF_BLOB_CONV + 2 * i] | (uint32_t)t->bytes[l * EHFF_BLOB_CONV + 2 * i + 1] << 8);
    return c;
}

static int same(const ehff_conv *a, const ehff_conv *b)
{
    uint32_t i;
    for (i = 0; i < EHFF_BLOB_CONV / 2; i++)
        if (((const uint16_t *)a)[i] != ((const uint16_t *)b)[i]) return 0;
    return 1;
}

/* One layer after another: its matrix, its prototypes and what it hands on. */
typedef struct {
    uint32_t n_in, n_out; /* of the matrix */
    uint32_t head, elements;
    ehff_conv conv;
} walk;

static int step_to(walk *w, const ehff_net *h, const table *t, uint32_t l, uint32_t n_out)
{
    const ehff_conv before = w->conv;
    ehff_conv given;
    const uint32_t n_in = w->elements;
    int status;
    if (n_out < 1 || n_out > EHFF_MAX_DIM) return EHFF_ERR_SHAPE;
    w->n_in = n_in;
    w->n_out = w->head = w->elements = n_out;
    if (!ehff_has_conv(h)) return EHFF_OK;
    w->conv = given = entry_of(t, l);
    status = ehff_conv_follow(&w->conv, l == 0 ? NULL : &before, n_in, n_out);
    if (status == EHFF_OK && !t->is_open && !same(&w->conv, &given)) return EHFF_ERR_SHAPE;
    if (status != EHFF_OK || w->conv.kind == EHFF_DENSE) return status;
    w->n_in = ehff_conv_fan_in(&w->conv);
    w->head = n_out * w->conv.grid_h * w->conv.grid_w;
    w->elements = ehff_conv_elements(&w->conv, n_out); /* no fewer than head */
    return EHFF_OK;
}

/* n_out: the layers' widths, so many uint32_t apart. Counted in words, so that nothing overflows: a layer has at
 * most 2^31 + 2^27 of them, and 2^30 are too many. What a blob holds is never more than the arena: it has no scratch
 * and nothing rounded up. */
static int sizes_of(const ehff_net *h, const uint32_t *n_out, uint32_t apart, const table *t, ehff_sizes *s,
                    uint32_t *widest)
{
    const uint32_t n_protos = ehff_n_protos(h);
    uint32_t l, weights = 0, protos = 0, rest, most = 0;
    ehff_conv_needs needs = {0, 0, 0, 0};
    walk w = {0};
    int status = check_head(h);
    if (status != EHFF_OK) return status;
    w.elements = h->n_in;
    for (l = 0; l < n_layers_of(h); l++) {
        status = step_to(&w, h, t, l, n_out[l * apart]);
        if (status != EHFF_OK) return status;
        if (ehff_has_conv(h) && w.conv.kind != EHFF_DENSE)
            ehff_conv_need(&w.conv, w.n_out, &needs);
        else if (w.n_out > most)
            most = w.n_out;
    }
    if (needs.map < most) needs.map = most;
    if (needs.acc < most) needs.acc = most;
    s->state_bytes = (uint32_t)(sizeof(ehff_net) + n_layers_of(h) * sizeof(ehff_layer));
    s->scratch_bytes = (needs.acc + n_protos + words(n_protos, 2) + words(needs.map, 2)) * 4;
    if (n_layers_of(h) > 1) s->scratch_bytes += (h->n_classes + words(needs.map, 2)) * 4;
    s->blob_bytes = EHFF_BLOB_FIXED + n_layers_of(h) * EHFF_BLOB_LAYER;
    if (ehff_has_conv(h)) {
        s->state_bytes += n_layers_of(h) * (uint32_t)sizeof(ehff_conv);
        s->scratch_bytes += (words(needs.head, 2) + (needs.route > 0 ? words(needs.route, 2) : 0)) * 4;
        s->blob_bytes += n_layers_of(h) * EHFF_BLOB_CONV;
    }
    rest = (s->state_bytes + s->scratch_bytes) / 4;
    w.elements = h->n_in;
    for (l = 0; l < n_layers_of(h); l++) {
        parts p;
        (void)step_to(&w, h, t, l, n_out[l * apart]);
        p = parts_of(h, w.n_in, w.n_out, w.head);
        weights += p.weights;
        protos += p.protos + p.scales;
        if (weights + protos + rest >= (uint32_t)1 << 30) return EHFF_ERR_SHAPE;
        s->blob_bytes += w.n_in * w.n_out * (ehff_is_int8(h) ? 1 : 2);
        s->blob_bytes += n_protos * (EHFF_WITH_INT8_PROTOS && h->proto_bits == 8 ? w.head + 2 : w.head * 2);
    }
    s->weight_bytes = weights * 4;
    s->proto_bytes = protos * 4;
    s->ram_bytes = (weights + protos + rest) * 4;
    *widest = needs.acc;
    return EHFF_OK;
}

static table table_of(const ehff_net *net)
{
    const table t = {ehff_convs(net), NULL, 0};
    return t;
}

int ehff_net_place(ehff_net *net, uint32_t arena_bytes)
{
    ehff_layer *layer = ehff_layers(net);
    ehff_sizes s;
    const table t = table_of(net);
    walk w = {0};
    uint32_t l, at;
    int status = sizes_of(net, &layer->n_out, sizeof *layer / 4, &t, &s, &net->widest);
    if (status != EHFF_OK) return status;
    if (arena_bytes < s.ram_bytes) return EHFF_ERR_ARENA;
    net->blob_bytes = s.blob_bytes;
    net->ram_bytes = s.ram_bytes;
    net->scratch = s.ram_bytes - s.scratch_bytes;
    at = s.state_bytes;
    w.elements = net->n_in;
    for (l = 0; l < n_layers_of(net); l++, layer++) {
        parts p;
        (void)step_to(&w, net, &t, l, layer->n_out);
        p = parts_of(net, w.n_in, layer->n_out, w.head);
        if (layer->norm_sum >> 10 > EHFF_NORM_MAX || layer->join_weight > 1024) return EHFF_ERR_RANGE;
        layer->n_in = w.n_in;
        layer->weights = at;
        layer->protos = layer->weights + p.weights * 4;
        layer->scales = layer->protos + p.protos * 4;
        at = layer->scales + p.scales * 4;
    }
    return EHFF_OK;
}

ehff_conv_needs ehff_net_conv_needs(const ehff_net *net)
{
    ehff_conv_needs needs = {0, 0, 0, 0};
    uint32_t l;
    for (l = 0; l < n_layers_of(net); l++) {
        const uint32_t n_out = ehff_layers(net)[l].n_out;
        const ehff_conv *conv = ehff_conv_of(net, l);
        if (conv != NULL)
            ehff_conv_need(conv, n_out, &needs);
        else if (n_out > needs.map)
            needs.map = n_out;
    }
    return needs;
}

int ehff_net_sizes_of(const ehff_net *head, const uint32_t *n_out, const uint8_t *conv, ehff_sizes *sizes)
{
    const table t = {NULL, conv, 0};
    uint32_t widest;
    return sizes_of(head, n_out, 1, &t, sizes, &widest);
}

int ehff_net_sizes_with(const ehff_net *net, uint16_t n_classes, ehff_sizes *sizes)
{
    const table t = table_of(net);
    ehff_net h = *net;
    h.n_classes = n_classes;
    return sizes_of(&h, &ehff_layers(net)->n_out, sizeof(ehff_layer) / 4, &t, sizes, &h.widest);
}

static int head_of(const ehff_config *c, ehff_net *h)
{
    uint32_t l;
    if (c == NULL || c->dims == NULL) return EHFF_ERR_NULL;
    h->magic = EHFF_MAGIC;
    h->version = c->conv == NULL ? EHFF_BLOB_VERSION : EHFF_BLOB_CONV_VERSION;
    h->n_layers = c->n_layers;
    h->recipe = c->recipe;
    h->join = c->join;
    h->flags = c->flags;
    h->proto_bits = c->proto_bits;
    h->first_layer = 0;
    h->n_classes = c->n_classes;
    h->n_per_class = c->n_per_class;
    h->kappa = c->kappa;
    h->margin = c->margin;
    h->gate = c->gate;
    h->lr_w = c->lr_w;
    h->lr_p = c->lr_p;
    h->has_encoder = 0;
    h->seed = c->seed;
    h->step = 0;
    h->n_in = c->dims[0];
    if (c->join != EHFF_JOIN_WEIGHTED || c->n_layers > EHFF_MAX_LAYERS) return EHFF_OK;
    if (c->join_weight == NULL) return EHFF_ERR_NULL;
    for (l = 0; l < c->n_layers; l++)
        if (c->join_weight[l] > 1024) return EHFF_ERR_RANGE;
    return EHFF_OK;
}

int ehff_net_sizes(const ehff_config *c, ehff_sizes *s)
{
    table t = {NULL, NULL, 1};
    ehff_net h;
    int status = head_of(c, &h);
    if (status != EHFF_OK) return status;
    t.entries = c->conv;
    if (s == NULL) return check_head(&h) == EHFF_OK ? EHFF_ERR_NULL : check_head(&h);
    return sizes_of(&h, c->dims + 1, 1, &t, s, &h.widest);
}

uint32_t ehff_net_ram_bytes(const ehff_config *config)
{
    ehff_sizes s;
    return ehff_net_sizes(config, &s) == EHFF_OK ? s.ram_bytes : 0;
}

int ehff_net_layout(const ehff_config *c, void *arena, uint32_t arena_bytes, ehff_net **out)
{
    ehff_net *net = (ehff_net *)arena;
    table t = {NULL, NULL, 1};
    ehff_sizes s;
    walk w = {0};
    uint32_t l;
    int status = ehff_net_sizes(c, &s);
    if (status != EHFF_OK) return status;
    t.entries = c->conv;
    if (arena == NULL || out == NULL) return EHFF_ERR_NULL;
    if (arena_bytes < s.ram_bytes || !ehff_aligned(arena)) return EHFF_ERR_ARENA;
    (void)head_of(c, net);
    for (l = 0; l < n_layers_of(net); l++) {
        ehff_layer *layer = ehff_layers(net) + l;
        layer->n_out = c->dims[l + 1];
        layer->norm_sum = layer->updates = 0;
        layer->join_weight = c->join == EHFF_JOIN_WEIGHTED ? c->join_weight[l] : 256;
    }
    w.elements = net->n_in;
    for (l = 0; ehff_has_conv(net) && l < n_layers_of(net); l++) {
        (void)step_to(&w, net, &t, l, c->dims[l + 1]);
        ehff_convs(net)[l] = w.conv;
    }
    *out = net;
    return ehff_net_place(net, arena_bytes);
}
