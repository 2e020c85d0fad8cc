/* What the public entries refuse, and what they promise beside the arithmetic. */
#include "test.h"

static const uint32_t small_dims[3] = {SMALL_IN, 5, 4};

ehff_config test_small_config(void)
{
    ehff_config c = {small_dims,
                     NULL,
                     NULL,
                     2,
                     EHFF_INT8,
                     EHFF_JOIN_SUM_LOGP,
                     EHFF_CAP | EHFF_REVIVE,
                     16,
                     SMALL_CLASSES,
                     1,
                     17728,
                     819,
                     4915,
                     6554,
                     1638,
                     7};
    return c;
}

void test_small_sample(uint32_t i, int16_t *x)
{
    int32_t a[SMALL_IN], shift;
    uint32_t j, root;
    for (j = 0; j < SMALL_IN; j++) a[j] = (int32_t)((i * 31 + j * j * 17 + i * j * 7) % 41) - 20;
    CHECK(ehff_unit(a, SMALL_IN, x, &root, &shift) == EHFF_OK);
}

ehff_net *test_small_net(uint8_t recipe)
{
    ehff_config c = test_small_config();
    ehff_net *net = NULL;
    int16_t x[SMALL_IN];
    uint16_t i;
    c.recipe = recipe;
    CHECK(ehff_net_init(&c, test.arena, sizeof test.arena, &net) == EHFF_OK);
    for (i = 0; i < 20; i++) {
        test_small_sample(i, x);
        CHECK(ehff_net_train(net, x, SMALL_IN, i % SMALL_CLASSES, NULL) == EHFF_OK);
    }
    return net;
}

static void check_texts(void)
{
    int status;
    CHECK(ehff_abi_version() == EHFF_ABI_VERSION);
    for (status = EHFF_OK; status >= EHFF_ERR_CRC; status--)
        CHECK(ehff_status_text(status)[0] != 0 && ehff_status_text(status) != ehff_status_text(1));
    CHECK(ehff_status_text(EHFF_ERR_CRC - 1) == ehff_status_text(1));
}

/* One field of a good configuration is changed. */
#define CONFIG_GIVES(field, value, status)                           \
    do {                                                             \
        ehff_config c = test_small_config();                         \
        ehff_sizes s;                                                \
        c.field = value;                                             \
        CHECK(ehff_net_sizes(&c, &s) == (status));                   \
        CHECK((ehff_net_ram_bytes(&c) == 0) == (status != EHFF_OK)); \
    } while (0)

static void check_configurations(void)
{
    static const uint32_t zero[3] = {6, 0, 4}, large[3] = {6, 65537, 4}, zero_in[3] = {0, 5, 4};
    static const uint32_t four_gigabytes[3] = {65536, 65536, 1}, two_gigabytes[3] = {65536, 32768, 65536};
    static const uint16_t heavy[2] = {1024, 1025}, heaviest[2] = {1024, 0};
    ehff_config c = test_small_config();
    ehff_sizes s;
    CONFIG_GIVES(dims, NULL, EHFF_ERR_NULL);
    CONFIG_GIVES(dims, zero, EHFF_ERR_SHAPE);
    CONFIG_GIVES(dims, zero_in, EHFF_ERR_SHAPE);
    CONFIG_GIVES(dims, large, EHFF_ERR_SHAPE);
    CONFIG_GIVES(dims, four_gigabytes, EHFF_ERR_SHAPE);
    CONFIG_GIVES(dims, two_gigabytes, EHFF_ERR_SHAPE);
    CONFIG_GIVES(n_layers, 0, EHFF_ERR_SHAPE);
    CONFIG_GIVES(n_layers, EHFF_MAX_LAYERS + 1, EHFF_ERR_SHAPE);
    CONFIG_GIVES(n_classes, 1, EHFF_ERR_SHAPE);
    CONFIG_GIVES(n_classes, 2, EHFF_OK);
    CONFIG_GIVES(n_classes, EHFF_MAX_CLASSES, EHFF_OK);
    CONFIG_GIVES(n_classes, EHFF_MAX_CLASSES + 1, EHFF_ERR_SHAPE);
    CONFIG_GIVES(n_per_class, 0, EHFF_ERR_SHAPE);
    CONFIG_GIVES(n_per_class, 64, EHFF_OK);
    CONFIG_GIVES(n_per_class, 65, EHFF_ERR_SHAPE);
    CONFIG_GIVES(recipe, EHFF_INT16, EHFF_OK);
    CONFIG_GIVES(recipe, 2, EHFF_ERR_RANGE);
    CONFIG_GIVES(join, EHFF_JOIN_LAST, EHFF_OK);
    CONFIG_GIVES(join, EHFF_JOIN_WEIGHTED, EHFF_ERR_NULL);
    CONFIG_GIVES(join, 3, EHFF_ERR_RANGE);
    CONFIG_GIVES(flags, 4, EHFF_ERR_RANGE);
    CONFIG_GIVES(proto_bits, 8, EHFF_OK);
    CONFIG_GIVES(proto_bits, 15, EHFF_ERR_RANGE);
    CONFIG_GIVES(kappa, 0, EHFF_ERR_RANGE);
    CONFIG_GIVES(kappa, EHFF_MAX_KAPPA, EHFF_OK);
    CONFIG_GIVES(kappa, EHFF_MAX_KAPPA + 1, EHFF_ERR_RANGE);
    CONFIG_GIVES(margin, EHFF_ONE, EHFF_OK);
    CONFIG_GIVES(margin, EHFF_ONE + 1, EHFF_ERR_RANGE);
    CONFIG_GIVES(gate, EHFF_MAX_GATE, EHFF_OK);
    CONFIG_GIVES(gate, EHFF_MAX_GATE + 1u, EHFF_ERR_RANGE);
    CONFIG_GIVES(gate, EHFF_GATE_OFF, EHFF_OK);
    CONFIG_GIVES(lr_w, EHFF_MAX_LR_W, EHFF_OK);
    CONFIG_GIVES(lr_w, EHFF_MAX_LR_W + 1, EHFF_ERR_RANGE);
    CONFIG_GIVES(lr_p, EHFF_MAX_LR_P, EHFF_OK);
    CONFIG_GIVES(lr_p, EHFF_MAX_LR_P + 1, EHFF_ERR_RANGE);
    CONFIG_GIVES(join_weight, heavy, EHFF_OK); /* read for EHFF_JOIN_WEIGHTED only */
    c.join = EHFF_JOIN_WEIGHTED;
    c.join_weight = heavy;
    CHECK(ehff_net_sizes(&c, &s) == EHFF_ERR_RANGE);
    c.join_weight = heaviest;
    CHECK(ehff_net_sizes(&c, &s) == EHFF_OK);
    c.n_classes = 1024;
    c.n_per_class = 5; /* 5120 prototypes */
    CHECK(ehff_net_sizes(&c, &s) == EHFF_ERR_SHAPE);
    CHECK(ehff_net_sizes(NULL, &s) == EHFF_ERR_NULL);
    c = test_small_config();
    CHECK(ehff_net_sizes(&c, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_net_sizes(&c, &s) == EHFF_OK);
    CHECK(s.ram_bytes == s.state_bytes + s.weight_bytes + s.proto_bytes + s.scratch_bytes);
    CHECK(s.weight_bytes == 32 + 20 && s.proto_bytes == 32 + 24); /* 30, 20, 15 * 2 and 12 * 2 bytes, aligned */
    CHECK(s.blob_bytes == 64 + 2 * 16 + 30 + 20 + 30 + 24);
}

static void check_arenas(void)
{
    ehff_config c = test_small_config();
    const uint32_t bytes = ehff_net_ram_bytes(&c);
    ehff_net *net = NULL;
    int16_t x[SMALL_IN];
    uint16_t label;
    uint32_t i;
    uint8_t *arena = (uint8_t *)test.arena;
    CHECK(ehff_net_init(NULL, arena, bytes, &net) == EHFF_ERR_NULL);
    CHECK(ehff_net_init(&c, NULL, bytes, &net) == EHFF_ERR_NULL);
    CHECK(ehff_net_init(&c, arena, bytes, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_net_init(&c, arena, bytes - 1, &net) == EHFF_ERR_ARENA);
    CHECK(ehff_net_init(&c, arena + 1, bytes, &net) == EHFF_ERR_ARENA);
    CHECK(ehff_net_init(&c, arena + 2, bytes, &net) == EHFF_ERR_ARENA);
    CHECK(net == NULL);
    /* nothing is written past the bytes that were asked for */
    for (i = 0; i < 16; i++) arena[bytes + i] = (uint8_t)(0xA5 + i);
    CHECK(ehff_net_init(&c, arena, bytes, &net) == EHFF_OK);
    for (i = 0; i < 9; i++) {
        test_small_sample(i, x);
        CHECK(ehff_net_train(net, x, SMALL_IN, (uint16_t)(i % 3), &label) == EHFF_OK);
        CHECK(ehff_net_predict(net, x, SMALL_IN, &label, NULL) == EHFF_OK);
    }
    for (i = 0; i < 16; i++) CHECK(arena[bytes + i] == (uint8_t)(0xA5 + i));
    /* an arena may be moved as bytes */
    for (i = 0; i < bytes; i++) ((uint8_t *)test.other)[i] = arena[i];
    CHECK(ehff_net_train((ehff_net *)test.other, x, SMALL_IN, 1, NULL) == EHFF_OK);
    CHECK(ehff_net_state_crc32((ehff_net *)test.other) != ehff_net_state_crc32(net));
    CHECK(ehff_net_train(net, x, SMALL_IN, 1, NULL) == EHFF_OK);
    CHECK(ehff_net_state_crc32((ehff_net *)test.other) == ehff_net_state_crc32(net));
}

static void check_no_network(ehff_net *none)
{
    int16_t x[SMALL_IN] = {0};
    uint16_t label = 0;
    int16_t u[16];
    int32_t score[SMALL_CLASSES * 2];
    uint32_t v;
    ehff_layer_stats stats;
    CHECK(ehff_net_predict(none, x, SMALL_IN, &label, NULL) < 0);
    CHECK(ehff_net_train(none, x, SMALL_IN, 0, NULL) < 0);
    CHECK(ehff_net_predict_rows(none, x, 1, SMALL_IN, &label, score) < 0);
    CHECK(ehff_net_predict_rows(none, x, 0, SMALL_IN, &label, score) < 0);
    CHECK(ehff_net_train_rows(none, x, 1, SMALL_IN, &label, NULL) < 0);
    CHECK(ehff_net_train_rows(none, x, 0, SMALL_IN, &label, NULL) < 0);
    CHECK(ehff_net_layer_scores(none, x, SMALL_IN, score) < 0);
    CHECK(ehff_net_directions(none, x, SMALL_IN, u) < 0);
    CHECK(ehff_net_set_rates(none, 1, 1) == EHFF_ERR_STATE);
    CHECK(ehff_net_set_first_layer(none, 0) == EHFF_ERR_STATE);
    CHECK(ehff_net_set_gate(none, 0) == EHFF_ERR_STATE);
    CHECK(ehff_net_get_step(none, &v) == EHFF_ERR_STATE);
    CHECK(ehff_net_set_step(none, 0) == EHFF_ERR_STATE);
    CHECK(ehff_net_weights(none, 0) == NULL);
    CHECK(ehff_net_protos(none, 0) == NULL);
    CHECK(ehff_net_proto_scales(none, 0) == NULL);
    CHECK(ehff_net_get_norm_sum(none, 0, &v) == EHFF_ERR_STATE);
    CHECK(ehff_net_set_norm_sum(none, 0, 0) == EHFF_ERR_STATE);
    CHECK(ehff_net_check(none) == EHFF_ERR_STATE);
    CHECK(ehff_net_layer_stats(none, 0, &stats) == EHFF_ERR_STATE);
    CHECK(ehff_net_weights_crc32(none) == 0);
    CHECK(ehff_net_state_crc32(none) == 0);
    CHECK(ehff_net_blob_bytes(none, NULL) == 0);
    CHECK(ehff_net_save(none, NULL, (uint8_t *)test.blob, sizeof test.blob) == EHFF_ERR_STATE);
}

static void check_answers(void)
{
    ehff_net *net = test_small_net(EHFF_INT16);
    const uint32_t state = ehff_net_state_crc32(net);
    int16_t x[3 * SMALL_IN];
    uint16_t label = 9, rows[3], labels[3] = {0, 2, 1};
    int32_t score[3 * SMALL_CLASSES], layers[2 * SMALL_CLASSES];
    uint32_t i, step = 0;
    for (i = 0; i < 3; i++) test_small_sample(i, x + i * SMALL_IN);
    CHECK(ehff_net_predict(NULL, x, SMALL_IN, &label, score) == EHFF_ERR_NULL);
    CHECK(ehff_net_predict(net, NULL, SMALL_IN, &label, score) == EHFF_ERR_NULL);
    CHECK(ehff_net_predict(net, x, SMALL_IN, NULL, score) == EHFF_ERR_NULL);
    CHECK(ehff_net_predict(net, x, SMALL_IN - 1, &label, score) == EHFF_ERR_SHAPE);
    CHECK(ehff_net_predict(net, x, SMALL_IN + 1, &label, score) == EHFF_ERR_SHAPE);
    CHECK(ehff_net_layer_scores(net, x, SMALL_IN, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_net_layer_scores(net, x, SMALL_IN + 1, layers) == EHFF_ERR_SHAPE);
    CHECK(ehff_net_directions(net, x, SMALL_IN, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_net_directions(net, x, SMALL_IN + 1, x) == EHFF_ERR_SHAPE);
    CHECK(ehff_net_train(NULL, x, SMALL_IN, 0, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_net_train(net, NULL, SMALL_IN, 0, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_net_train(net, x, SMALL_IN - 1, 0, NULL) == EHFF_ERR_SHAPE);
    CHECK(ehff_net_train(net, x, SMALL_IN, SMALL_CLASSES, NULL) == EHFF_ERR_LABEL);
    CHECK(ehff_net_train(net, x, SMALL_IN, 0xFFFF, NULL) == EHFF_ERR_LABEL);
    CHECK(ehff_net_predict_rows(net, NULL, 3, SMALL_IN, rows, score) == EHFF_ERR_NULL);
    CHECK(ehff_net_predict_rows(net, x, 3, SMALL_IN, NULL, score) == EHFF_ERR_NULL);
    CHECK(ehff_net_train_rows(net, NULL, 3, SMALL_IN, labels, rows) == EHFF_ERR_NULL);
    CHECK(ehff_net_train_rows(net, x, 3, SMALL_IN, NULL, rows) == EHFF_ERR_NULL);
    CHECK(ehff_net_state_crc32(net) == state);
    /* rows are single answers, one after the other */
    CHECK(ehff_net_predict_rows(net, x, 3, SMALL_IN, rows, score) == EHFF_OK);
    for (i = 0; i < 3; i++) {
        int32_t one[SMALL_CLASSES], c;
        CHECK(ehff_net_predict(net, x + i * SMALL_IN, SMALL_IN, &label, one) == EHFF_OK);
        CHECK(label == rows[i]);
        for (c = 0; c < SMALL_CLASSES; c++) CHECK(one[c] == score[i * SMALL_CLASSES + (uint32_t)c]);
    }
    CHECK(ehff_net_predict_rows(net, x, 3, SMALL_IN, rows, NULL) == EHFF_OK);
    CHECK(ehff_net_state_crc32(net) == state);
    /* training stops at the first bad row: two steps were taken */
    labels[2] = SMALL_CLASSES;
    CHECK(ehff_net_train_rows(net, x, 3, SMALL_IN, labels, rows) == EHFF_ERR_LABEL);
    CHECK(ehff_net_get_step(net, &step) == EHFF_OK && step == 22);
    CHECK(ehff_net_get_step(net, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_net_state_crc32(net) != state);
    /* all classes alike: the lowest */
    for (i = 0; i < SMALL_IN; i++) x[i] = 0;
    CHECK(ehff_net_predict(net, x, SMALL_IN, &label, score) == EHFF_OK && label == 0);
    CHECK(score[0] == score[1] && score[1] == score[2]);
}

static void check_lengths(void)
{
    ehff_net *net = test_small_net(EHFF_INT8);
    int16_t x[SMALL_IN] = {0}, *p = (int16_t *)ehff_net_protos(net, 1);
    int8_t *w = (int8_t *)ehff_net_weights(net, 0);
    uint16_t label;
    ehff_layer_stats stats;
    x[2] = 16640;
    CHECK(ehff_net_predict(net, x, SMALL_IN, &label, NULL) == EHFF_OK);
    x[2] = -16641;
    CHECK(ehff_net_predict(net, x, SMALL_IN, &label, NULL) == EHFF_ERR_RANGE);
    CHECK(ehff_net_train(net, x, SMALL_IN, 0, NULL) == EHFF_ERR_RANGE);
    x[2] = -32768;
    CHECK(ehff_net_predict(net, x, SMALL_IN, &label, NULL) == EHFF_ERR_RANGE);
    x[2] = 16640;
    x[5] = 1;
    CHECK(ehff_net_predict(net, x, SMALL_IN, &label, NULL) == EHFF_ERR_RANGE);
    CHECK(ehff_net_check(net) == EHFF_OK);
    CHECK(ehff_net_layer_stats(net, 0, &stats) == EHFF_OK && stats.saturated == 0 && stats.n_in == 6 &&
          stats.n_out == 5);
    w[29] = -127;
    w[3] = 127;
    w[4] = 126;
    CHECK(ehff_net_check(net) == EHFF_OK);
    CHECK(ehff_net_layer_stats(net, 0, &stats) == EHFF_OK && stats.saturated == 2);
    CHECK(ehff_net_layer_stats(net, 2, &stats) == EHFF_ERR_STATE);
    CHECK(ehff_net_layer_stats(net, 0, NULL) == EHFF_ERR_NULL);
    w[29] = -128;
    CHECK(ehff_net_check(net) == EHFF_ERR_RANGE);
    w[29] = 0;
    p[8] = 16640;
    p[9] = p[10] = p[11] = 0;
    CHECK(ehff_net_check(net) == EHFF_OK);
    p[11] = 1;
    CHECK(ehff_net_check(net) == EHFF_ERR_RANGE);
    p[11] = -32768;
    CHECK(ehff_net_check(net) == EHFF_ERR_RANGE);
    net = test_small_net(EHFF_INT16);
    ((int16_t *)ehff_net_weights(net, 1))[19] = -32512;
    CHECK(ehff_net_check(net) == EHFF_OK);
    ((int16_t *)ehff_net_weights(net, 1))[19] = 32513;
    CHECK(ehff_net_check(net) == EHFF_ERR_RANGE);
    ((int16_t *)ehff_net_weights(net, 1))[19] = -32768;
    CHECK(ehff_net_check(net) == EHFF_ERR_RANGE);
}

static void check_int8_prototypes(void)
{
    ehff_config c = test_small_config();
    ehff_net *net = NULL;
    int16_t x[SMALL_IN];
    int8_t *p;
    uint32_t step = 1;
    test_small_sample(1, x);
    c.proto_bits = 8;
    CHECK(ehff_net_init(&c, test.arena, sizeof test.arena, &net) == EHFF_OK);
    CHECK(ehff_net_train(net, x, SMALL_IN, 0, NULL) == EHFF_ERR_FROZEN);
    CHECK(ehff_net_get_step(net, &step) == EHFF_OK && step == 0);
    CHECK(ehff_net_proto_scales(net, 2) == NULL);
    p = (int8_t *)ehff_net_protos(net, 1);
    ehff_net_proto_scales(net, 1)[2] = 41080; /* 127 * 41080 / 256 = 20379, sqrt(3/2) * 16640 = 20379.9 */
    p[11] = -127;
    CHECK(ehff_net_check(net) == EHFF_OK);
    ehff_net_proto_scales(net, 1)[2] = 41083;
    CHECK(ehff_net_check(net) == EHFF_ERR_RANGE);
    ehff_net_proto_scales(net, 1)[2] = 1;
    p[11] = -128;
    CHECK(ehff_net_check(net) == EHFF_ERR_RANGE);
    net = test_small_net(EHFF_INT8);
    CHECK(ehff_net_proto_scales(net, 0) == NULL);
}

static void check_setters(void)
{
    ehff_net *net = test_small_net(EHFF_INT8);
    const uint32_t state = ehff_net_state_crc32(net), weights = ehff_net_weights_crc32(net);
    uint32_t norm_sum = 0;
    CHECK(ehff_net_set_rates(net, EHFF_MAX_LR_W + 1, 0) == EHFF_ERR_RANGE);
    CHECK(ehff_net_set_rates(net, 0, EHFF_MAX_LR_P + 1) == EHFF_ERR_RANGE);
    CHECK(ehff_net_set_first_layer(net, 3) == EHFF_ERR_RANGE);
    CHECK(ehff_net_set_gate(net, EHFF_MAX_GATE + 1u) == EHFF_ERR_RANGE);
    CHECK(ehff_net_set_norm_sum(net, 2, 0) == EHFF_ERR_STATE);
    CHECK(ehff_net_get_norm_sum(net, 0, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_net_state_crc32(net) == state);
    CHECK(ehff_net_set_first_layer(net, 2) == EHFF_OK && ehff_net_set_gate(net, EHFF_MAX_GATE) == EHFF_OK);
    CHECK(ehff_net_set_rates(net, EHFF_MAX_LR_W, EHFF_MAX_LR_P) == EHFF_OK);
    CHECK(ehff_net_state_crc32(net) != state && ehff_net_weights_crc32(net) == weights);
    CHECK(ehff_net_set_rates(net, 6554, 1638) == EHFF_OK && ehff_net_state_crc32(net) == state);
    CHECK(ehff_net_set_step(net, 21) == EHFF_OK && ehff_net_state_crc32(net) != state);
    CHECK(ehff_net_set_step(net, 20) == EHFF_OK && ehff_net_state_crc32(net) == state);
    CHECK(ehff_net_get_norm_sum(net, 1, &norm_sum) == EHFF_OK);
    CHECK(ehff_net_set_norm_sum(net, 1, 0xFFFFFFFFu) == EHFF_OK && ehff_net_state_crc32(net) != state);
    CHECK(ehff_net_set_norm_sum(net, 1, norm_sum) == EHFF_OK && ehff_net_state_crc32(net) == state);
    CHECK(ehff_net_weights(net, 2) == NULL && ehff_net_protos(net, 2) == NULL);
}

static void check_functions(void)
{
    int32_t a[2] = {3, 4}, shift;
    int16_t u[2];
    uint32_t root;
    CHECK(ehff_unit(NULL, 2, u, &root, &shift) == EHFF_ERR_NULL);
    CHECK(ehff_unit(a, 2, NULL, &root, &shift) == EHFF_ERR_NULL);
    CHECK(ehff_unit(a, 2, u, NULL, &shift) == EHFF_ERR_NULL);
    CHECK(ehff_unit(a, 2, u, &root, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_unit(a, 0, u, &root, &shift) == EHFF_ERR_SHAPE);
    CHECK(ehff_unit(a, EHFF_MAX_DIM + 1, u, &root, &shift) == EHFF_ERR_SHAPE);
    CHECK(ehff_crc32(77, NULL, 5) == 77);
}

void test_api(void)
{
    check_texts();
    check_configurations();
    check_arenas();
    check_no_network(NULL);
    test.other[0] = 0;
    check_no_network((ehff_net *)test.other);
    (void)test_small_net(EHFF_INT8);
    check_no_network((ehff_net *)((uint8_t *)test.arena + 1));
    check_answers();
    check_lengths();
    check_int8_prototypes();
    check_setters();
    check_functions();
}
