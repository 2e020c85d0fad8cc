/* Runs the golden vectors of tests/vectors and the checks of the API; ends with "N passed, M failed". */
#include "test.h"
#include "vectors.h"

#include "vector_tables.h"

static int too_big(uint32_t n, uint32_t limit)
{
    test.skipped += n > limit;
    return n > limit;
}

/* The i-th value of a rule; s starts as r->start and goes on from value to value. */
static int32_t value_of(const rule *r, uint32_t i, uint32_t *s)
{
    if (r->kind == RULE_CYCLE) return r->cycle[i % r->period];
    if (r->kind == RULE_ONE_HOT) return i == r->start ? r->value : 0;
    *s = *s * 1664525u + 1013904223u;
    return ((int32_t)((*s >> 16) % (2 * (uint32_t)r->value + 1)) - r->value) * ((int32_t)1 << r->shift);
}

static void expand(const rule *r, uint32_t n, int32_t *out)
{
    uint32_t i, s = r->start;
    for (i = 0; i < n; i++) out[i] = value_of(r, i, &s);
}

static uint32_t crc_value(uint32_t crc, uint32_t v, uint32_t bytes)
{
    uint8_t b[4];
    uint32_t i;
    for (i = 0; i < bytes; i++) b[i] = (uint8_t)(v >> (8 * i));
    return ehff_crc32(crc, b, bytes);
}

static uint32_t crc_int16(const int16_t *v, uint32_t n)
{
    uint32_t i, crc = 0;
    for (i = 0; i < n; i++) crc = crc_value(crc, (uint32_t)(int32_t)v[i], 2);
    return crc;
}

static uint32_t crc_int32(const int32_t *v, uint32_t n)
{
    uint32_t i, crc = 0;
    for (i = 0; i < n; i++) crc = crc_value(crc, (uint32_t)v[i], 4);
    return crc;
}

static int is_named(const char *name, const char *other)
{
    while (*name != 0 && *name == *other) name++, other++;
    return *name == *other;
}

static void run_functions(void)
{
    uint32_t i, j;
    for (i = 0; i < N_UNIT_CASES; i++) {
        const unit_case *c = &unit_cases[i];
        uint32_t root = 1;
        int32_t shift = 1;
        if (too_big(c->n, TEST_VALUES)) continue;
        expand(&c->a, c->n, test.values);
        test_check(ehff_unit(test.values, c->n, test.x, &root, &shift) == EHFF_OK, c->name, "status");
        test_check(crc_int16(test.x, c->n) == c->u_crc32, c->name, "unit vector");
        test_check(root == c->root && shift == c->shift, c->name, "length");
    }
    for (i = 0; i < N_ISQRT_CASES; i++) CHECK(ehff_isqrt64(isqrt_cases[i].v) == isqrt_cases[i].root);
    for (i = 0; i < N_EXP2_NEG_CASES; i++) CHECK(ehff_exp2_neg(exp2_neg_cases[i].at) == exp2_neg_cases[i].value);
    for (i = 0; i < N_LOG2_CASES; i++) CHECK(ehff_log2(log2_cases[i].at) == log2_cases[i].value);
    for (i = 0; i < N_SWEEP_CASES; i++) {
        const sweep_case *c = &sweep_cases[i];
        uint32_t crc = 0, at = c->start;
        for (j = 0; j < c->count; j++, at += c->step) {
            const uint32_t v = is_named(c->function, "exp2_neg") ? ehff_exp2_neg(at)
                               : is_named(c->function, "log2")   ? ehff_log2(at)
                                                                 : ehff_isqrt64(at);
            crc = crc_value(crc, v, 4);
        }
        test_check(crc == c->crc32, c->function, "sweep");
    }
    for (i = 0; i < N_RANDOM_CASES; i++) {
        const random_case *c = &random_cases[i];
        CHECK(ehff_random(c->seed, c->step, c->layer, c->row, c->column) == c->value);
    }
    for (i = 0; i < N_CRC_CASES; i++)
        CHECK(ehff_crc32(crc_cases[i].start, crc_cases[i].bytes, crc_cases[i].n) == crc_cases[i].crc32);
}

/* raw lies in test.other, scratch in test.blob, the table in test.arena. */
static void run_encoder(const encoder_case *c)
{
    ehff_encoder e = c->encoder;
    int32_t *offset = (int32_t *)test.arena;
    uint16_t *gain;
    uint32_t i, n_raw, n, scratch, entries;
    test_check(ehff_encoder_sizes(&e, &n_raw, &n, &scratch) == EHFF_OK, c->name, "sizes");
    if (too_big(n > n_raw ? n : n_raw, TEST_VALUES)) return;
    entries = n - (e.bias == 0 ? 0u : e.kind == EHFF_ENC_PLAIN ? e.n_segments : 1u);
    if (c->has_table) {
        gain = (uint16_t *)(offset + entries);
        expand(&c->offset, entries, offset);
        expand(&c->gain, entries, test.values);
        for (i = 0; i < entries; i++) gain[i] = (uint16_t)(test.values[i] < 0 ? -test.values[i] : test.values[i]);
        e.offset = offset;
        e.gain = gain;
    }
    expand(&c->values, n_raw, test.values);
    for (i = 0; i < n_raw; i++) {
        if (e.raw == EHFF_RAW_I16)
            ((int16_t *)test.other)[i] = (int16_t)test.values[i];
        else
            ((uint8_t *)test.other)[i] = (uint8_t)test.values[i];
    }
    test_check(ehff_encode_features(&e, test.other, n_raw, test.values) == EHFF_OK, c->name, "features' status");
    test_check(crc_int32(test.values, entries) == c->features_crc32, c->name, "features");
    test_check(ehff_encode(&e, test.other, n_raw, test.blob, scratch, test.x) == EHFF_OK, c->name, "status");
    test_check(crc_int16(test.x, n) == c->x_crc32, c->name, "unit vector");
}

/* Elements of a layer's prototypes. */
static uint32_t head_of(const ehff_config *c, uint32_t l)
{
    const uint32_t cells = c->conv == NULL || c->conv[l].kind == EHFF_DENSE ? 1 : c->conv[l].grid_h * c->conv[l].grid_w;
    return c->dims[l + 1] * cells;
}

static void fill(const network_case *c, ehff_net *net)
{
    const uint32_t n_protos = (uint32_t)c->config.n_classes * c->config.n_per_class;
    uint32_t i, p;
    uint8_t l;
    for (l = 0; l < c->config.n_layers; l++) {
        const uint32_t head = head_of(&c->config, l);
        void *weights = ehff_net_weights(net, l), *protos = ehff_net_protos(net, l);
        uint32_t s = c->weights != NULL ? c->weights[l].start : 0;
        ehff_layer_stats stats;
        test_check(ehff_net_layer_stats(net, l, &stats) == EHFF_OK, c->name, "shape");
        for (i = 0; c->weights != NULL && i < stats.n_out * stats.n_in; i++) {
            const int32_t w = value_of(&c->weights[l], i, &s);
            if (c->config.recipe == EHFF_INT8)
                ((int8_t *)weights)[i] = (int8_t)w;
            else
                ((int16_t *)weights)[i] = (int16_t)w;
        }
        for (p = 0; c->prototypes != NULL && p < n_protos; p++) {
            const uint32_t last = c->n_prototype_rules - 1;
            expand(&c->prototypes[l * c->n_prototype_rules + (p < last ? p : last)], head, test.values);
            for (i = 0; i < head; i++) {
                if (c->config.proto_bits == 8)
                    ((int8_t *)protos)[p * head + i] = (int8_t)test.values[i];
                else
                    ((int16_t *)protos)[p * head + i] = (int16_t)test.values[i];
            }
        }
        if (c->scales != NULL) {
            expand(&c->scales[l], n_protos, test.values);
            for (p = 0; p < n_protos; p++) ehff_net_proto_scales(net, l)[p] = (uint16_t)test.values[p];
        }
    }
}

static void sample_input(const network_case *c, uint32_t step)
{
    const sample *s = &c->samples[step % c->n_samples];
    const uint32_t n = c->config.dims[0];
    uint32_t i, root;
    int32_t shift;
    expand(&s->x, n, test.values);
    if (!s->is_unit) CHECK(ehff_unit(test.values, n, test.x, &root, &shift) == EHFF_OK);
    for (i = 0; s->is_unit && i < n; i++) test.x[i] = (int16_t)test.values[i];
}

static void check_blob(const network_case *c, const ehff_net *net)
{
    const uint32_t n = ehff_net_blob_bytes(net, NULL);
    uint8_t *blob = (uint8_t *)test.blob;
    ehff_net *again = NULL;
    uint16_t answer = 0xFFFF;
    uint32_t i;
    int same = 1;
    test_check(n == c->blob_bytes, c->name, "blob's length");
    test_check(ehff_net_save(net, NULL, blob, sizeof test.blob) == EHFF_OK, c->name, "save");
    test_check(ehff_crc32(0, blob, n) == c->blob_crc32, c->name, "blob");
    for (i = 0; c->blob != NULL && i < n; i++) same &= blob[i] == c->blob[i];
    test_check(same, c->name, "blob's bytes");
    test_check(ehff_net_load(blob, n, test.other, sizeof test.other, &again) == EHFF_OK, c->name, "load");
    test_check(ehff_net_state_crc32(again) == c->state_crc32, c->name, "state after load");
    test_check(ehff_net_predict(again, test.x, c->config.dims[0], &answer, NULL) == EHFF_OK, c->name,
               "predict after load");
    test_check(answer == c->answer, c->name, "answer after load");
}

static void run_network(const network_case *c)
{
    const uint32_t n_in = c->config.dims[0], classes = c->config.n_classes;
    const uint32_t bytes = ehff_net_ram_bytes(&c->config);
    uint32_t i, l, widest = n_in, crc = 0;
    uint16_t predicted = 0;
    ehff_net *net = NULL;
    test_check(bytes != 0, c->name, "configuration");
    for (l = 1; l <= c->config.n_layers; l++)
        if (c->config.dims[l] > widest) widest = c->config.dims[l];
    if (c->config.n_layers * classes > widest) widest = c->config.n_layers * classes;
    if (too_big(bytes, TEST_BYTES) || too_big(widest, TEST_VALUES)) return;
    test_check(ehff_net_init(&c->config, test.arena, bytes, &net) == EHFF_OK, c->name, "init");
    if (c->config.proto_bits == 16) test_check(ehff_net_weights_crc32(net) == c->fresh_crc32, c->name, "start values");
    fill(c, net);
    test_check(ehff_net_check(net) == EHFF_OK, c->name, "check");
    test_check(ehff_net_set_first_layer(net, c->first_layer) == EHFF_OK, c->name, "first layer");
    test_check(ehff_net_set_step(net, c->start_step) == EHFF_OK, c->name, "first step");
    for (i = 0; i < c->steps; i++) {
        const uint16_t label = c->samples[i % c->n_samples].label;
        sample_input(c, i);
        test_check(ehff_net_train(net, test.x, n_in, label, &predicted) == EHFF_OK, c->name, "train");
        crc = crc_value(crc, predicted, 2);
    }
    test_check(crc == c->predictions_crc32, c->name, "predictions");
    test_check(ehff_net_weights_crc32(net) == c->weights_crc32, c->name, "weights");
    test_check(ehff_net_state_crc32(net) == c->state_crc32, c->name, "state");
    test_check(ehff_net_check(net) == EHFF_OK, c->name, "check after training");
    for (l = 0; l < c->config.n_layers; l++) {
        ehff_layer_stats stats;
        uint32_t norm_sum = 1;
        test_check(ehff_net_layer_stats(net, (uint8_t)l, &stats) == EHFF_OK, c->name, "statistics");
        test_check(stats.updates == c->updates[l], c->name, "updates");
        test_check(stats.saturated == c->saturated[l], c->name, "saturated weights");
        test_check(ehff_net_get_norm_sum(net, (uint8_t)l, &norm_sum) == EHFF_OK, c->name, "mean's status");
        test_check(norm_sum == c->norm_sum[l] && stats.norm == norm_sum >> 10, c->name, "running mean");
    }
    sample_input(c, c->steps);
    test_check(ehff_net_predict(net, test.x, n_in, &predicted, test.values) == EHFF_OK, c->name, "predict");
    test_check(predicted == c->answer, c->name, "answer");
    test_check(crc_int32(test.values, classes) == c->scores_crc32, c->name, "scores");
    test_check(ehff_net_layer_scores(net, test.x, n_in, test.values) == EHFF_OK, c->name, "layer scores' status");
    test_check(crc_int32(test.values, c->config.n_layers * classes) == c->layer_scores_crc32, c->name, "layer scores");
    test_check(ehff_net_state_crc32(net) == c->state_crc32, c->name, "state after predict");
    check_blob(c, net);
    TEST_PRINT("net ");
    TEST_PRINT(c->name);
    TEST_PRINT(" weights_crc32 ");
    test_print_hex(ehff_net_weights_crc32(net));
    TEST_PRINT(" state_crc32 ");
    test_print_hex(ehff_net_state_crc32(net));
    TEST_PRINT("\n");
}

int main(void)
{
    uint32_t i;
    run_functions();
    for (i = 0; i < N_ENCODER_CASES; i++) run_encoder(&encoder_cases[i]);
    for (i = 0; i < N_NETWORK_CASES; i++) run_network(&network_cases[i]);
    test_api();
    test_encoder();
    test_blob();
    test_loader();
    test_classes();
    test_conv();
    test_print_decimal(test.skipped);
    TEST_PRINT(" skipped: larger than the buffers\n");
    return test_close();
}
