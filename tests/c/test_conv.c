/* Networks with convolutions: what is refused, what a table in a blob may say, and dense networks beside them. */
#include "test.h"

static const uint32_t dims[4] = {48, 4, 4, 3};
static const ehff_conv table[3] = {
    {4, 6, 2, EHFF_CONV, 3, 2, 1, 2, 1, 1, EHFF_POOL_MAX, 1, 2, 2, 1, 0, 0, 0},
    {0, 0, 0, EHFF_DEPTHWISE, 2, 2, 2, 1, 1, 1, EHFF_POOL_MEAN, 1, 3, 3, 1, 0, 0, 0},
    {0},
};
static ehff_conv changed[3];

static ehff_config conv_config(void)
{
    ehff_config c = {dims, changed, NULL, 3,     EHFF_INT8, EHFF_JOIN_SUM_LOGP, EHFF_CAP | EHFF_REVIVE,
                     16,   3,       2,    17728, 801,       EHFF_GATE_OFF,      70001,
                     1501, 99};
    uint32_t i;
    for (i = 0; i < 3; i++) changed[i] = table[i];
    return c;
}

static ehff_net *conv_net(uint8_t recipe)
{
    ehff_config c = conv_config();
    ehff_net *net = NULL;
    int16_t x[48] = {0};
    uint16_t i;
    c.recipe = recipe;
    CHECK(ehff_net_init(&c, test.arena, sizeof test.arena, &net) == EHFF_OK);
    for (i = 0; i < 20; i++) {
        x[i] = 9000;
        x[47 - i] = -9000;
        CHECK(ehff_net_train(net, x, 48, i % 3, NULL) == EHFF_OK);
        x[i] = x[47 - i] = 0;
    }
    return net;
}

/* One field of the table is changed. */
#define TABLE_GIVES(layer, field, value, status)                       \
    do {                                                               \
        ehff_config c = conv_config();                                 \
        ehff_sizes s;                                                  \
        changed[layer].field = (value);                                \
        CHECK(ehff_net_sizes(&c, &s) == (status));                     \
        CHECK((ehff_net_ram_bytes(&c) == 0) == ((status) != EHFF_OK)); \
    } while (0)

static void check_tables(void)
{
    TABLE_GIVES(0, kind, EHFF_CONV, EHFF_OK);
    TABLE_GIVES(0, kind, EHFF_DENSE, EHFF_ERR_SHAPE); /* a table, and no convolution first */
    TABLE_GIVES(0, kind, 3, EHFF_ERR_RANGE);
    TABLE_GIVES(0, kind, EHFF_DEPTHWISE, EHFF_ERR_SHAPE); /* 2 channels to 4 */
    TABLE_GIVES(1, kind, EHFF_DENSE, EHFF_OK);
    TABLE_GIVES(2, kind, EHFF_CONV, EHFF_ERR_RANGE); /* with no kernel */
    TABLE_GIVES(0, in_h, 0, EHFF_ERR_SHAPE);
    TABLE_GIVES(0, in_w, 0, EHFF_ERR_SHAPE);
    TABLE_GIVES(0, in_c, 0, EHFF_ERR_SHAPE);
    TABLE_GIVES(0, in_h, 5, EHFF_ERR_SHAPE);
    TABLE_GIVES(0, in_w, 65535, EHFF_ERR_SHAPE);
    TABLE_GIVES(1, in_h, 77, EHFF_OK); /* follows, whatever a configuration says */
    TABLE_GIVES(1, out_w, 77, EHFF_OK);
    TABLE_GIVES(0, kernel_h, 0, EHFF_ERR_RANGE);
    TABLE_GIVES(0, kernel_h, 32, EHFF_ERR_RANGE);
    TABLE_GIVES(0, kernel_h, 7, EHFF_ERR_SHAPE); /* 6 rows with padding */
    TABLE_GIVES(0, kernel_w, 0, EHFF_ERR_RANGE);
    TABLE_GIVES(0, kernel_w, 32, EHFF_ERR_RANGE);
    TABLE_GIVES(0, kernel_w, 9, EHFF_ERR_SHAPE);
    TABLE_GIVES(0, stride_h, 0, EHFF_ERR_RANGE);
    TABLE_GIVES(0, stride_h, 32, EHFF_ERR_RANGE);
    TABLE_GIVES(0, stride_h, 31, EHFF_ERR_SHAPE); /* one row for a grid of two */
    TABLE_GIVES(0, stride_w, 0, EHFF_ERR_RANGE);
    TABLE_GIVES(0, stride_w, 32, EHFF_ERR_RANGE);
    TABLE_GIVES(0, pad_h, 3, EHFF_ERR_RANGE);
    TABLE_GIVES(0, pad_h, 2, EHFF_OK);
    TABLE_GIVES(0, pad_w, 2, EHFF_ERR_RANGE);
    TABLE_GIVES(0, pool, 3, EHFF_ERR_RANGE);
    TABLE_GIVES(0, pool, EHFF_POOL_NONE, EHFF_ERR_RANGE);
    TABLE_GIVES(0, pool, EHFF_POOL_MEAN, EHFF_OK);
    TABLE_GIVES(0, pool_h, 0, EHFF_ERR_RANGE);
    TABLE_GIVES(0, pool_h, 17, EHFF_ERR_RANGE);
    TABLE_GIVES(0, pool_h, 16, EHFF_ERR_RANGE); /* windows of 32 */
    TABLE_GIVES(0, pool_w, 0, EHFF_ERR_RANGE);
    TABLE_GIVES(0, pool_w, 1, EHFF_ERR_RANGE); /* a window of one is none */
    TABLE_GIVES(0, pool_w, 17, EHFF_ERR_RANGE);
    TABLE_GIVES(0, grid_h, 0, EHFF_ERR_RANGE);
    TABLE_GIVES(0, grid_h, 4, EHFF_OK);
    TABLE_GIVES(0, grid_h, 5, EHFF_ERR_SHAPE);
    TABLE_GIVES(0, grid_h, 17, EHFF_ERR_RANGE);
    TABLE_GIVES(0, grid_w, 0, EHFF_ERR_RANGE);
    TABLE_GIVES(0, grid_w, 3, EHFF_ERR_SHAPE);
    TABLE_GIVES(0, grid_w, 17, EHFF_ERR_RANGE);
    TABLE_GIVES(0, reserved, 1, EHFF_ERR_RANGE);
}

static void check_size(const uint32_t *widths, const ehff_conv *conv, int status)
{
    ehff_config c = conv_config();
    ehff_sizes s;
    c.dims = widths;
    c.conv = conv;
    c.n_layers = 1;
    CHECK(ehff_net_sizes(&c, &s) == status);
}

/* The largest maps, kernels and grids, and one more of each. */
static void check_limits(void)
{
    static const uint32_t largest[2] = {65536, 1}, two[2] = {65536, 2}, line[2] = {65535, 1}, wide[2] = {1, 65536};
    static const uint32_t kernel[2] = {65348, 1}, kernels[2] = {64800, 1}, grid[2] = {256, 256}, grids[2] = {256, 257};
    static const ehff_conv all = {256, 256, 1, EHFF_CONV, 3, 3, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0};
    static const ehff_conv long_line = {1, 65535, 1, EHFF_CONV, 1, 3, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0};
    static const ehff_conv longer = {1, 65535, 1, EHFF_CONV, 1, 2, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0};
    static const ehff_conv point = {1, 1, 1, EHFF_CONV, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0};
    static const ehff_conv huge = {31, 31, 68, EHFF_CONV, 31, 31, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0};
    static const ehff_conv too_huge = {30, 30, 72, EHFF_CONV, 31, 31, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0};
    static const ehff_conv cells = {16, 16, 1, EHFF_CONV, 1, 1, 1, 1, 0, 0, 0, 1, 1, 16, 16, 0, 0, 0};
    check_size(largest, &all, EHFF_OK);
    check_size(two, &all, EHFF_ERR_SHAPE);
    check_size(line, &long_line, EHFF_OK);
    check_size(line, &longer, EHFF_ERR_SHAPE); /* 65536 columns */
    check_size(wide, &point, EHFF_OK);
    check_size(kernel, &huge, EHFF_OK);
    check_size(kernels, &too_huge, EHFF_ERR_SHAPE); /* 69,192 weights a channel */
    check_size(grid, &cells, EHFF_OK);
    check_size(grids, &cells, EHFF_ERR_SHAPE);
}

static void check_sizes(void)
{
    ehff_config c = conv_config(), dense = c;
    ehff_layer_stats stats;
    ehff_sizes s, plain;
    ehff_net *net = conv_net(EHFF_INT8);
    dense.conv = NULL;
    CHECK(ehff_net_sizes(&c, &s) == EHFF_OK && ehff_net_sizes(&dense, &plain) == EHFF_OK);
    CHECK(s.ram_bytes == s.state_bytes + s.weight_bytes + s.proto_bytes + s.scratch_bytes);
    CHECK(s.state_bytes == plain.state_bytes + 3 * sizeof(ehff_conv));
    /* 4 x 3 x 2 for 4 channels; 2 x 2 for 4; a map of 3 x 1 x 4 for 3 */
    CHECK(s.weight_bytes == 48 + 16 + 36);
    CHECK(s.proto_bytes == 6 * 2 * (4 * 2 + 4 * 3 + 3));
    CHECK(s.blob_bytes == 64 + 3 * 52 + 48 + 16 + 36 + 6 * 2 * (8 + 12 + 3));
    CHECK(ehff_net_layer_stats(net, 0, &stats) == EHFF_OK && stats.n_in == 12 && stats.n_out == 4);
    CHECK(ehff_net_layer_stats(net, 1, &stats) == EHFF_OK && stats.n_in == 4 && stats.n_out == 4);
    CHECK(ehff_net_layer_stats(net, 2, &stats) == EHFF_OK && stats.n_in == 12 && stats.n_out == 3);
    CHECK(ehff_net_blob_bytes(net, NULL) == s.blob_bytes);
    /* just enough room, and a byte less */
    CHECK(ehff_net_init(&c, test.arena, s.ram_bytes - 1, &net) == EHFF_ERR_ARENA);
    CHECK(ehff_net_init(&c, test.arena, s.ram_bytes, &net) == EHFF_OK);
}

/* Scratch is the largest layer's: eight equal convolutions take what two take. */
static void check_depth(void)
{
    static const uint32_t widths[9] = {32, 2, 2, 2, 2, 2, 2, 2, 2};
    static const ehff_conv same = {4, 4, 2, EHFF_CONV, 3, 3, 1, 1, 1, 1, 0, 1, 1, 2, 2, 0, 0, 0};
    ehff_conv layers[8];
    ehff_config c = conv_config();
    ehff_sizes two, eight;
    uint32_t i;
    for (i = 0; i < 8; i++) layers[i] = same;
    c.dims = widths;
    c.conv = layers;
    c.n_layers = 2;
    CHECK(ehff_net_sizes(&c, &two) == EHFF_OK);
    c.n_layers = 8;
    CHECK(ehff_net_sizes(&c, &eight) == EHFF_OK);
    CHECK(two.scratch_bytes == eight.scratch_bytes && eight.weight_bytes == 4 * two.weight_bytes);
}

static void check_header(void)
{
    static const uint16_t entry[18] = {4, 6, 2, 1, 3, 2, 1, 2, 1, 1, 1, 1, 2, 2, 1, 4, 2, 0};
    const uint8_t *blob = (const uint8_t *)test.blob;
    ehff_net *net = conv_net(EHFF_INT16), *again = NULL;
    const uint32_t n = ehff_net_blob_bytes(net, NULL);
    uint32_t i, same = 1;
    CHECK(ehff_net_save(net, NULL, (uint8_t *)test.blob, n) == EHFF_OK);
    CHECK(blob[4] == EHFF_BLOB_CONV_VERSION && blob[5] == 0);
    for (i = 0; i < 18; i++) CHECK(blob[108 + 2 * i] == entry[i] && blob[109 + 2 * i] == 0);
    for (i = 0; i < 36; i++) same &= blob[180 + i] == 0; /* the dense layer's */
    CHECK(same);
    CHECK(ehff_net_load(blob, n, test.other, sizeof test.other, &again) == EHFF_OK);
    CHECK(ehff_net_state_crc32(again) == ehff_net_state_crc32(net));
    CHECK(ehff_net_save(again, NULL, (uint8_t *)test.values, n) == EHFF_OK);
    for (i = 0; i < n; i++) same &= blob[i] == ((uint8_t *)test.values)[i];
    CHECK(same);
    /* a dense network keeps version 1 */
    net = test_small_net(EHFF_INT8);
    CHECK(ehff_net_save(net, NULL, (uint8_t *)test.blob, sizeof test.blob) == EHFF_OK && blob[4] == EHFF_BLOB_VERSION);
}

/* A 16-bit field of the table of a blob is another, and its checksum holds. */
static void forge(uint32_t layer, uint32_t field, uint16_t v, int expected)
{
    uint8_t *blob = (uint8_t *)test.blob;
    ehff_net *net = conv_net(EHFF_INT8), *out = NULL;
    const uint32_t n = ehff_net_blob_bytes(net, NULL), at = 60 + 3 * 16 + layer * 36 + field * 2;
    ehff_model model;
    ehff_loader loader;
    ehff_sizes sizes;
    uint32_t i, crc;
    int status;
    CHECK(ehff_net_save(net, NULL, blob, n) == EHFF_OK);
    blob[at] = (uint8_t)v;
    blob[at + 1] = (uint8_t)(v >> 8);
    crc = ehff_crc32(0, blob, n - 4);
    for (i = 0; i < 4; i++) blob[n - 4 + i] = (uint8_t)(crc >> (8 * i));
    CHECK(ehff_blob_sizes(blob, n, &sizes, NULL) == expected);
    CHECK(ehff_net_load(blob, n, test.other, sizeof test.other, &out) == expected);
    status = ehff_load_begin(&loader, &model, blob, EHFF_LOAD_FIRST_CONV(3), test.other, sizeof test.other);
    if (status == EHFF_OK) status = ehff_load_bytes(&loader, blob + 216, n - 216);
    if (status == EHFF_OK) status = ehff_load_end(&loader);
    CHECK(status == expected);
    CHECK(expected == EHFF_OK || (out == NULL && model.net == NULL));
}

static void check_forged(void)
{
    uint32_t l, i;
    /* what follows from other fields must be what follows: no map that lies about its size */
    for (l = 0; l < 3; l++) {
        for (i = 0; i < 3; i++) forge(l, i, 9, EHFF_ERR_SHAPE);
        for (i = 15; i < 17; i++) forge(l, i, 9, EHFF_ERR_SHAPE);
        for (i = 15; i < 17; i++) forge(l, i, l == 2 ? 65535 : 0, EHFF_ERR_SHAPE);
    }
    for (i = 4; i < 15; i++) forge(2, i, 1, EHFF_ERR_SHAPE); /* a dense layer has zeros */
    forge(0, 17, 1, EHFF_ERR_RANGE);
    forge(2, 17, 1, EHFF_ERR_SHAPE);
    forge(0, 3, EHFF_DENSE, EHFF_ERR_SHAPE);
    forge(0, 3, EHFF_DEPTHWISE, EHFF_ERR_SHAPE);
    forge(1, 3, EHFF_CONV, EHFF_ERR_FORMAT); /* more weights than there are bytes */
    forge(1, 3, 3, EHFF_ERR_RANGE);
    forge(0, 10, EHFF_POOL_MEAN, EHFF_OK);
    forge(0, 4, 0, EHFF_ERR_RANGE);
    forge(0, 4, 65535, EHFF_ERR_RANGE);
    forge(0, 13, 1, EHFF_ERR_FORMAT);
    forge(0, 13, 16, EHFF_ERR_SHAPE);
}

/* The first piece holds both tables. */
static void check_first_piece(void)
{
    uint8_t *blob = (uint8_t *)test.blob;
    ehff_net *net = conv_net(EHFF_INT8);
    const uint32_t n = ehff_net_blob_bytes(net, NULL), bytes = ehff_model_bytes(net, NULL);
    ehff_model model;
    ehff_loader loader;
    uint32_t some;
    CHECK(EHFF_LOAD_FIRST_CONV(3) == 216 && EHFF_LOAD_FIRST(3) == 108);
    CHECK(ehff_net_save(net, NULL, blob, n) == EHFF_OK);
    for (some = 0; some < 216; some++)
        CHECK(ehff_load_begin(&loader, &model, blob, some, test.other, bytes) == EHFF_ERR_FORMAT && model.net == NULL);
    CHECK(ehff_load_begin(&loader, &model, blob, 216, test.other, bytes) == EHFF_OK && loader.at == 216);
    CHECK(ehff_load_bytes(&loader, blob + 216, n - 216) == EHFF_OK && ehff_load_end(&loader) == EHFF_OK);
    CHECK(ehff_net_state_crc32(model.net) == ehff_net_state_crc32(net) && model.n_in == 48);
    for (some = 0; some < 300; some += 4) /* no room for the tables themselves */
        CHECK(ehff_load_begin(&loader, &model, blob, 216, test.other, some) == EHFF_ERR_ARENA);
}

void test_conv(void)
{
    check_tables();
    check_limits();
    check_sizes();
    check_depth();
    check_header();
    check_forged();
    check_first_piece();
}
