/* A network in its arena: start values, and the single pass that answers and learns. */
#include "math.h"
#include "net.h"

/* Four bytes of a counter's hash added: mean 510, standard deviation 147.8, nearly normal. */
static int32_t bell(uint32_t row_key, uint32_t column)
{
    const uint32_t h = ehff_pair_bits(row_key, 2 * column);
    const uint32_t g = ehff_pair_bits(row_key, 2 * column + 1);
    return (int32_t)((h & 255) + (h >> 24) + (g & 255) + (g >> 24)) - 510;
}

/* Start values: weights of RMS EHFF_W_RMS (7095 = 16 / 147.8 in Q16), prototypes uniform on the sphere.
 * Drawn as step 0xFFFFFFFF of the layer; prototype rows follow the weight rows. */
static uint32_t draw_key(const ehff_net *net, uint32_t l) { return ehff_layer_key(net->seed, 0xFFFFFFFFu, l); }

void ehff_net_draw_proto(const ehff_net *net, uint32_t l, uint32_t i)
{
    const ehff_layer *layer = ehff_layers(net) + l;
    const uint32_t row = ehff_row_key(draw_key(net, l), layer->n_out + i);
    int32_t shift, *work = (int32_t *)ehff_at(net, net->scratch);
    uint32_t j, root, bits = 0;
    const uint32_t n = ehff_head_dim(net, layer);
    for (j = 0; j < n; j++) {
        work[j] = bell(row, j);
        bits |= ehff_magnitude(work[j]);
    }
    ehff_unit_of(work, n, bits, (int16_t *)ehff_at(net, layer->protos) + i * n, &root, &shift);
}

static void draw(ehff_net *net)
{
    uint32_t l, i, j;
    for (l = 0; l < ehff_n_layers(net); l++) {
        const ehff_layer *layer = ehff_layers(net) + l;
        for (i = 0; i < layer->n_out; i++) {
            const uint32_t row = ehff_row_key(draw_key(net, l), i);
            for (j = 0; j < layer->n_in; j++) {
                const int32_t v = bell(row, j) * 7095;
                if (ehff_is_int8(net))
                    ((int8_t *)ehff_at(net, layer->weights))[i * layer->n_in + j] = (int8_t)ehff_round_shift(v, 16);
                else
                    ((int16_t *)ehff_at(net, layer->weights))[i * layer->n_in + j] = (int16_t)ehff_round_shift(v, 8);
            }
        }
        for (i = 0; net->proto_bits == 16 && i < ehff_n_protos(net); i++) ehff_net_draw_proto(net, l, i);
    }
}

int ehff_net_init(const ehff_config *config, void *arena, uint32_t arena_bytes, ehff_net **net)
{
    int status = ehff_net_layout(config, arena, arena_bytes, net);
    return status == EHFF_OK ? ehff_net_reset(*net, config->seed) : status;
}

int ehff_net_reset(ehff_net *net, uint32_t seed)
{
    uint32_t i, l;
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    net->seed = seed;
    net->step = 0;
    net->first_layer = 0;
    for (l = 0; l < ehff_n_layers(net); l++) ehff_layers(net)[l].norm_sum = ehff_layers(net)[l].updates = 0;
    for (i = ehff_layers(net)->weights; i < net->ram_bytes; i++) ((uint8_t *)net)[i] = 0;
    draw(net);
    return EHFF_OK;
}

static ehff_scratch scratch_of(const ehff_net *net)
{
    const uint32_t n_protos = ehff_n_protos(net);
    ehff_scratch s;
    s.acc = (int32_t *)ehff_at(net, net->scratch);
    s.error = s.acc + net->widest;
    s.joined = s.error + n_protos;
    s.cosine = (int16_t *)(s.joined + (ehff_n_layers(net) > 1 ? net->n_classes : 0));
    s.u[0] = s.cosine + ((n_protos + 1) & ~(uint32_t)1);
    s.u[1] = s.u[0] + ((net->widest + 1) & ~(uint32_t)1);
    s.head = NULL;
    s.route = NULL;
    if (ehff_has_conv(net)) {
        const ehff_conv_needs needs = ehff_net_conv_needs(net);
        const uint32_t map = (needs.map + 1) & ~(uint32_t)1;
        s.u[1] = s.u[0] + map;
        s.head = s.u[0] + (ehff_n_layers(net) > 1 ? 2 * map : map);
        s.route = (uint16_t *)s.head + ((needs.head + 1) & ~(uint32_t)1);
    }
    return s;
}

/* |y| in Q8 from the root of the accumulators (Q14), saturated. */
static uint32_t norm_of(uint32_t root, int32_t shift)
{
    shift -= 6;
    if (shift >= 0) return root > (EHFF_NORM_MAX >> shift) ? EHFF_NORM_MAX : root << shift;
    if (shift < -31) return 0;
    root >>= -shift;
    return root > EHFF_NORM_MAX ? EHFF_NORM_MAX : root;
}

/* norm * |v|, both mantissas, where v is a vector in Q14 of length root * 2^shift. */
static uint32_t norm_times(uint32_t norm, uint32_t root, int32_t shift)
{
    int32_t a, b;
    uint32_t product;
    if (norm == 0 || root == 0) return 0;
    product = ehff_mantissa(norm, &a);
    product = (product * ehff_mantissa(root, &b)) >> 16;
    shift += a + b + 2; /* 16 - 14 */
    if (shift >= 0) return product > (EHFF_NORM_MAX >> shift) ? EHFF_NORM_MAX : product << shift;
    return shift < -31 ? 0 : product >> -shift;
}

/* A layer's own class leads the next by this much, base 2, Q16. */
static int32_t lead(const int32_t *logit, uint32_t n, uint32_t label)
{
    int32_t next = INT32_MIN;
    uint32_t c;
    for (c = 0; c < n; c++)
        if (c != label && logit[c] > next) next = logit[c];
    return logit[label] - next;
}

/* The layer's running mean of |y|, and where its own class does not lead by the gate, its step. */
static void learn(ehff_net *net, uint32_t index, const ehff_scratch *s, const int16_t *x, const int16_t *u,
                  const int16_t *head, uint32_t norm, uint32_t label)
{
    const ehff_conv *conv = ehff_conv_of(net, index);
    ehff_layer *layer = ehff_layers(net) + index;
    if (layer->norm_sum == 0)
        layer->norm_sum = norm << 10;
    else
        layer->norm_sum += norm - (layer->norm_sum >> 10);
    if (lead(s->error, net->n_classes, label) >= ehff_times_q8((int32_t)net->kappa, net->gate)) return;
    layer->updates++;
    ehff_proto_error(net, s->cosine, label, s->error);
    ehff_proto_gradient(net, layer, head, s->cosine, s->error, s->acc);
    if (EHFF_WITH_CONV && conv != NULL)
        ehff_conv_learn(net, layer, conv, index, x, u, s->route, s->acc, norm);
    else
        ehff_layer_learn(net, layer, index, x, u, s->acc, norm);
    ehff_proto_learn(net, layer, head, s->error, s->acc);
}

/* The single pass. label < 0: answer only. score, if given, takes the joined log-probabilities, layer_scores each
 * layer's logits, heads what each layer's prototypes see. */
static uint16_t pass(ehff_net *net, const int16_t *x, int32_t label, int32_t *score, int32_t *layer_scores,
                     int16_t *heads)
{
    const ehff_scratch s = scratch_of(net);
    int32_t *const logit = s.error;
    uint32_t l, c, best = 0;
    for (l = 0; l < ehff_n_layers(net); l++) {
        const ehff_layer *layer = ehff_layers(net) + l;
        const int last = l + 1 == ehff_n_layers(net);
        const int32_t weight = EHFF_MAX_LAYERS > 1 ? (int32_t)layer->join_weight : 256;
        const ehff_conv *conv = ehff_conv_of(net, l);
        int16_t *u = s.u[l & 1], *head = u;
        uint32_t root, norm, bits;
        int32_t shift, sum = 0, top = INT32_MIN;
        if (EHFF_WITH_CONV && conv != NULL) {
            const uint32_t rows = layer->n_out, n = ehff_head_dim(net, layer);
            bits = ehff_conv_forward(net, layer, conv, x, s.acc, s.route);
            ehff_unit_of(s.acc, ehff_conv_elements(conv, rows), bits, u, &root, &shift);
            norm = norm_of(root, shift);
            head = s.head;
            ehff_conv_sum(conv, rows, u, s.acc);
            for (bits = 0, c = 0; c < n; c++) bits |= (uint32_t)s.acc[c];
            ehff_unit_of(s.acc, n, bits, head, &root, &shift);
            norm = norm_times(norm, root, shift);
        } else {
            bits = ehff_layer_forward(net, layer, x, s.acc);
            ehff_unit_of(s.acc, layer->n_out, bits, u, &root, &shift);
            norm = norm_of(root, shift);
        }
        if (heads != NULL)
            for (c = 0; c < ehff_head_dim(net, layer); c++) *heads++ = head[c];
        ehff_proto_cosines(net, layer, head, s.error, s.cosine);
        ehff_proto_logits(net, s.cosine, logit);
        if (layer_scores != NULL)
            for (c = 0; c < net->n_classes; c++) *layer_scores++ = logit[c];
        if (last || net->join != EHFF_JOIN_LAST) {
            /* one layer's answer alone is its largest logit: what is subtracted from all counts in a score only */
            if (score != NULL || ehff_n_layers(net) > 1 || weight != 256)
                sum = ehff_proto_logsumexp(logit, net->n_classes);
            for (c = 0; c < net->n_classes; c++) {
                int32_t v = ehff_times_q8(logit[c] - sum, weight);
                if (l > 0 && net->join != EHFF_JOIN_LAST) v += s.joined[c];
                if (!last) s.joined[c] = v;
                if (last && score != NULL) score[c] = v;
                if (v > top) {
                    top = v;
                    best = c;
                }
            }
        }
        if (label >= 0 && l >= net->first_layer) learn(net, l, &s, x, u, head, norm, (uint32_t)label);
        x = u;
    }
    return (uint16_t)best;
}

/* Unit vectors within rounding: |x| <= 16384 + sqrt(65536) / 2 * 1.5, so that no sum overflows. */
static int check_input(const ehff_net *net, const int16_t *x, uint32_t n_in)
{
    if (net == NULL || x == NULL) return EHFF_ERR_NULL;
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    if (n_in != net->n_in) return EHFF_ERR_SHAPE;
    return ehff_squares(x, n_in) > (uint32_t)EHFF_MAX_LENGTH * EHFF_MAX_LENGTH ? EHFF_ERR_RANGE : EHFF_OK;
}

int ehff_net_predict(ehff_net *net, const int16_t *x, uint32_t n_in, uint16_t *label, int32_t *score)
{
    int status = check_input(net, x, n_in);
    if (status != EHFF_OK) return status;
    if (label == NULL) return EHFF_ERR_NULL;
    *label = pass(net, x, -1, score, NULL, NULL);
    return EHFF_OK;
}

int ehff_net_train(ehff_net *net, const int16_t *x, uint32_t n_in, uint16_t label, uint16_t *predicted)
{
    uint16_t answer;
    int status = check_input(net, x, n_in);
    if (status != EHFF_OK) return status;
    if (label >= net->n_classes) return EHFF_ERR_LABEL;
    if (net->proto_bits != 16) return EHFF_ERR_FROZEN;
    answer = pass(net, x, label, NULL, NULL, NULL);
    net->step++;
    if (predicted != NULL) *predicted = answer;
    return EHFF_OK;
}

int ehff_net_predict_rows(ehff_net *net, const int16_t *x, uint32_t n_samples, uint32_t n_in, uint16_t *predicted,
                          int32_t *scores)
{
    uint32_t i;
    int status = EHFF_OK;
    if (net == NULL || x == NULL || predicted == NULL) return EHFF_ERR_NULL;
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    for (i = 0; i < n_samples && status == EHFF_OK; i++)
        status = ehff_net_predict(net, x + (size_t)i * n_in, n_in, predicted + i,
                                  scores == NULL ? NULL : scores + (size_t)i * net->n_classes);
    return status;
}

int ehff_net_train_rows(ehff_net *net, const int16_t *x, uint32_t n_samples, uint32_t n_in, const uint16_t *labels,
                        uint16_t *predicted)
{
    uint32_t i;
    int status = EHFF_OK;
    if (net == NULL || x == NULL || labels == NULL) return EHFF_ERR_NULL;
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    for (i = 0; i < n_samples && status == EHFF_OK; i++)
        status = ehff_net_train(net, x + (size_t)i * n_in, n_in, labels[i], predicted == NULL ? NULL : predicted + i);
    return status;
}

int ehff_net_layer_scores(ehff_net *net, const int16_t *x, uint32_t n_in, int32_t *score)
{
    int status = check_input(net, x, n_in);
    if (status != EHFF_OK) return status;
    if (score == NULL) return EHFF_ERR_NULL;
    (void)pass(net, x, -1, NULL, score, NULL);
    return EHFF_OK;
}

int ehff_net_directions(ehff_net *net, const int16_t *x, uint32_t n_in, int16_t *u)
{
    int status = check_input(net, x, n_in);
    if (status != EHFF_OK) return status;
    if (u == NULL) return EHFF_ERR_NULL;
    (void)pass(net, x, -1, NULL, NULL, u);
    return EHFF_OK;
}
