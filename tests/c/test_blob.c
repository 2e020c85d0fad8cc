/* Saving and loading: round trips, and damage of every kind, which must end in a status and nothing else. */
#include "test.h"

static const int32_t offsets[8] = {-5, 0, 70000, -2147483647, 9, 8, 7, 6};
static const uint16_t gains[8] = {1, 65535, 3, 4, 500, 6, 7, 8};
static const uint32_t dims[4] = {9, 4, 3, 2};
static const uint16_t join_weight[3] = {256, 0, 1024};

static uint8_t *blob_bytes(void) { return (uint8_t *)test.blob; }

static ehff_encoder blob_encoder(void)
{
    ehff_encoder e = {EHFF_RAW_I16, EHFF_ENC_WINDOW, EHFF_FEAT_MAV | EHFF_FEAT_WL, 1, 4, -100, 6, 2, 3, offsets, gains};
    return e;
}

/* 8 values in 4 parts, a constant behind each; the table has the values alone. */
static ehff_encoder parts_encoder(void)
{
    ehff_encoder e = {EHFF_RAW_I8, EHFF_ENC_PLAIN, 0, 0, 4, -100, 8, 1, 4, offsets, gains};
    return e;
}

/* A network with no field at its default, in test.arena. */
static ehff_net *blob_net(uint8_t proto_bits)
{
    ehff_config c = {dims, NULL, join_weight, 3,    EHFF_INT16, EHFF_JOIN_WEIGHTED, EHFF_REVIVE, 16, 3, 2, 30001,
                     801,  4001, 7001,        1501, 99};
    ehff_net *net = NULL;
    int16_t x[9] = {0};
    uint16_t i;
    uint8_t l;
    c.proto_bits = proto_bits;
    CHECK(ehff_net_init(&c, test.arena, sizeof test.arena, &net) == EHFF_OK);
    for (i = 0; i < 9 && proto_bits == 16; i++) {
        x[i] = 16384;
        CHECK(ehff_net_train(net, x, 9, i % 3, NULL) == EHFF_OK);
        x[i] = 0;
    }
    for (l = 0; l < 3 && proto_bits == 8; l++)
        for (i = 0; i < 6; i++) {
            ((int8_t *)ehff_net_protos(net, l))[i] = (int8_t)(i * 9 - 30);
            ehff_net_proto_scales(net, l)[i] = (uint16_t)(i * 1000 + l);
        }
    CHECK(ehff_net_set_first_layer(net, 1) == EHFF_OK);
    return net;
}

static void repair(uint8_t *blob, uint32_t n)
{
    const uint32_t crc = ehff_crc32(0, blob, n - 4);
    uint32_t i;
    for (i = 0; i < 4; i++) blob[n - 4 + i] = (uint8_t)(crc >> (8 * i));
}

static void check_round_trip(uint8_t proto_bits, ehff_encoder e, uint32_t n_features)
{
    ehff_net *net = blob_net(proto_bits), *again = NULL;
    ehff_encoder loaded;
    const uint32_t n = ehff_net_blob_bytes(net, &e);
    uint32_t table[12], features = 0, i, same = 1;
    ehff_sizes sizes;
    uint8_t *blob = blob_bytes(), *second = (uint8_t *)test.values;
    CHECK(n != 0 && n <= sizeof test.values);
    CHECK(ehff_net_save(net, &e, blob, n) == EHFF_OK);
    CHECK(ehff_blob_sizes(blob, n, &sizes, &features) == EHFF_OK);
    CHECK(features == n_features && sizes.blob_bytes == ehff_net_blob_bytes(net, NULL) &&
          n == sizes.blob_bytes + 16 + 6 * 8);
    CHECK(ehff_blob_sizes(blob, n, NULL, NULL) == EHFF_OK);
    CHECK(ehff_net_load(blob, n, test.other, sizes.ram_bytes, &again) == EHFF_OK);
    CHECK(ehff_net_state_crc32(again) == ehff_net_state_crc32(net));
    CHECK(ehff_encoder_load(blob, n, table, sizeof table, &loaded) == EHFF_OK);
    CHECK(loaded.raw == e.raw && loaded.kind == e.kind && loaded.features == e.features && loaded.log == e.log);
    CHECK(loaded.gain_shift == e.gain_shift && loaded.bias == e.bias && loaded.n_time == e.n_time);
    CHECK(loaded.n_channels == e.n_channels && loaded.n_segments == e.n_segments);
    for (i = 0; i < 8; i++) CHECK(loaded.offset[i] == offsets[i] && loaded.gain[i] == gains[i]);
    /* all that a blob holds comes back: saved again it is the same */
    CHECK(ehff_net_save(again, &loaded, second, n) == EHFF_OK);
    for (i = 0; i < n; i++) same &= blob[i] == second[i];
    CHECK(same);
    /* the header, byte by byte where the fields differ from one another */
    CHECK(blob[0] == 'E' && blob[1] == 'H' && blob[2] == 'F' && blob[3] == 'F' && blob[4] == 1 && blob[5] == 0);
    CHECK(blob[6] == 3 && blob[7] == EHFF_INT16 && blob[8] == EHFF_JOIN_WEIGHTED && blob[9] == EHFF_REVIVE);
    CHECK(blob[10] == proto_bits && blob[11] == 1 && blob[12] == 3 && blob[14] == 2);
    CHECK(blob[30] == 1 && blob[32] == 99 && blob[36] == (proto_bits == 16 ? 9 : 0) && blob[44] == 9 && blob[60] == 4);
}

static void check_refusals(void)
{
    ehff_net *net = blob_net(16), *out = NULL;
    ehff_encoder e = blob_encoder(), bad = e, loaded;
    const uint32_t n = ehff_net_blob_bytes(net, &e), plain = ehff_net_blob_bytes(net, NULL);
    uint32_t table[13], features = 7;
    uint8_t *blob = blob_bytes();
    bad.n_time = 0;
    CHECK(ehff_net_blob_bytes(net, &bad) == 0);
    CHECK(ehff_net_save(net, &bad, blob, sizeof test.blob) == EHFF_ERR_SHAPE);
    CHECK(ehff_net_save(net, &e, NULL, n) == EHFF_ERR_NULL);
    CHECK(ehff_net_save(net, &e, blob, n - 1) == EHFF_ERR_ARENA);
    CHECK(ehff_net_save(net, &e, blob, n) == EHFF_OK);
    CHECK(ehff_net_load(NULL, n, test.other, sizeof test.other, &out) == EHFF_ERR_NULL);
    CHECK(ehff_net_load(blob, n, NULL, sizeof test.other, &out) == EHFF_ERR_NULL);
    CHECK(ehff_net_load(blob, n, test.other, sizeof test.other, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_net_load(blob, n, test.other, 100, &out) == EHFF_ERR_ARENA);
    CHECK(ehff_net_load(blob, n, (uint8_t *)test.other + 2, 4000, &out) == EHFF_ERR_ARENA);
    CHECK(out == NULL);
    CHECK(ehff_blob_sizes(NULL, n, NULL, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_encoder_load(NULL, n, table, sizeof table, &loaded) == EHFF_ERR_NULL);
    CHECK(ehff_encoder_load(blob, n, NULL, sizeof table, &loaded) == EHFF_ERR_NULL);
    CHECK(ehff_encoder_load(blob, n, table, sizeof table, NULL) == EHFF_ERR_NULL);
    CHECK(ehff_encoder_load(blob, n, table, 47, &loaded) == EHFF_ERR_ARENA);
    CHECK(ehff_encoder_load(blob, n, (uint8_t *)table + 2, 48, &loaded) == EHFF_ERR_ARENA);
    /* an encoder without a table, and no encoder */
    e.offset = NULL;
    e.gain = NULL;
    CHECK(ehff_net_save(net, &e, blob, plain + 16) == EHFF_OK);
    CHECK(ehff_encoder_load(blob, plain + 16, NULL, 0, &loaded) == EHFF_OK && loaded.offset == NULL &&
          loaded.gain == NULL);
    CHECK(ehff_net_save(net, NULL, blob, plain) == EHFF_OK);
    CHECK(ehff_blob_sizes(blob, plain, NULL, &features) == EHFF_OK && features == 0);
    CHECK(ehff_encoder_load(blob, plain, table, sizeof table, &loaded) == EHFF_ERR_FORMAT);
}

/* Every reader of a blob refuses it; *status is what ehff_net_load said. */
static int refused(const uint8_t *blob, uint32_t n, int *status)
{
    ehff_net *net = NULL;
    ehff_encoder e;
    ehff_sizes sizes;
    uint32_t table[12], features;
    *status = ehff_net_load(blob, n, test.other, sizeof test.other, &net);
    return *status < 0 && net == NULL && ehff_blob_sizes(blob, n, &sizes, &features) < 0 &&
           ehff_encoder_load(blob, n, table, sizeof table, &e) < 0;
}

static void check_damage(void)
{
    ehff_encoder e = blob_encoder();
    ehff_net *net = blob_net(16);
    const uint32_t n = ehff_net_blob_bytes(net, &e);
    uint8_t *blob = blob_bytes();
    uint32_t i, bit, bad = 0;
    int status;
    CHECK(ehff_net_save(net, &e, blob, n) == EHFF_OK);
    for (i = 0; i < n; i++) bad += !refused(blob, i, &status); /* cut off */
    blob[n] = 0;
    bad += !refused(blob, n + 1, &status);
    CHECK(bad == 0);
    for (i = 0; i < n; i++) {
        for (bit = 0; bit < 9; bit++) {
            const uint8_t mask = (uint8_t)(bit < 8 ? 1u << bit : 0xFFu);
            blob[i] ^= mask;
            bad += !refused(blob, n, &status);
            if (i >= 6 && (i < 40 || i >= 44)) bad += status != EHFF_ERR_CRC;
            blob[i] ^= mask;
        }
    }
    CHECK(bad == 0);
    CHECK(!refused(blob, n, &status) && status == EHFF_OK);
}

/* With a checksum that holds, a changed byte may be another network, but never one that breaks a bound. */
static void check_forgeries(void)
{
    ehff_encoder e = blob_encoder(), loaded;
    ehff_net *net = blob_net(16), *out;
    const uint32_t n = ehff_net_blob_bytes(net, &e);
    uint8_t *blob = blob_bytes();
    uint32_t i, bit, table[12], accepted = 0, bad = 0, scratch;
    int16_t *x = test.x;
    uint16_t label;
    CHECK(ehff_net_save(net, &e, blob, n) == EHFF_OK);
    for (i = 0; i < n - 4; i++) {
        for (bit = 0; bit < 9; bit++) {
            const uint8_t mask = (uint8_t)(bit < 8 ? 1u << bit : 0xFFu);
            blob[i] ^= mask;
            repair(blob, n);
            out = NULL;
            if (ehff_net_load(blob, n, test.other, sizeof test.other, &out) == EHFF_OK) {
                uint32_t j;
                for (j = 0; j < 16; j++) x[j] = 4096;
                accepted++;
                bad += ehff_net_check(out) != EHFF_OK;
                for (j = 9; j > 0 && ehff_net_predict(out, x, j, &label, NULL) != EHFF_OK;) j--;
                bad += j == 0;
                if (j > 0 && blob[10] == 16) bad += ehff_net_train(out, x, j, 0, NULL) != EHFF_OK;
            } else {
                bad += out != NULL;
            }
            if (ehff_encoder_load(blob, n, table, sizeof table, &loaded) == EHFF_OK) {
                uint32_t n_raw = 0, n_features = 0;
                bad += ehff_encoder_sizes(&loaded, &n_raw, &n_features, &scratch) != EHFF_OK;
                if (n_raw <= TEST_VALUES && n_features <= TEST_VALUES && scratch <= sizeof test.values)
                    bad += ehff_encode(&loaded, test.arena, n_raw, test.values, scratch, x) != EHFF_OK;
            }
            blob[i] ^= mask;
        }
    }
    CHECK(bad == 0);
    CHECK(accepted > n); /* weights, mostly */
}

/* A change of `size` bytes at `at`, with a good checksum, gives this status. */
static void forge(uint32_t at, uint32_t size, uint32_t v, int expected, const char *what)
{
    uint8_t *blob = blob_bytes();
    ehff_net *net = blob_net(16), *out = NULL;
    const uint32_t n = ehff_net_blob_bytes(net, NULL);
    uint32_t i;
    CHECK(ehff_net_save(net, NULL, blob, n) == EHFF_OK);
    for (i = 0; i < size; i++) blob[at + i] = (uint8_t)(v >> (8 * i));
    repair(blob, n);
    test.other[0] = 0;
    test_check(ehff_net_load(blob, n, test.other, sizeof test.other, &out) == expected, "forge", what);
    if (expected != EHFF_OK)
        test_check(ehff_net_check((ehff_net *)test.other) == EHFF_ERR_STATE, "forge, no network", what);
}

static void check_fields(void)
{
    const uint32_t weights = 60 + 3 * 16;
    forge(24, 4, 7002, EHFF_OK, "lr_w");
    forge(0, 1, 'e', EHFF_ERR_FORMAT, "magic");
    forge(4, 2, 0, EHFF_ERR_FORMAT, "version 0");
    forge(4, 2, EHFF_BLOB_CONV_VERSION + 1, EHFF_ERR_FORMAT, "a newer version");
    forge(4, 2, EHFF_BLOB_CONV_VERSION, EHFF_ERR_SHAPE, "weights for a table of convolutions");
    forge(6, 1, 0, EHFF_ERR_SHAPE, "no layers");
    forge(6, 1, EHFF_MAX_LAYERS + 1, EHFF_ERR_FORMAT, "too many layers");
    forge(6, 1, 2, EHFF_ERR_FORMAT, "fewer layers than the bytes");
    forge(7, 1, EHFF_INT8, EHFF_ERR_FORMAT, "recipe with other bytes");
    forge(7, 1, 2, EHFF_ERR_RANGE, "recipe");
    forge(8, 1, 3, EHFF_ERR_RANGE, "join");
    forge(9, 1, 4, EHFF_ERR_RANGE, "flags");
    forge(10, 1, 12, EHFF_ERR_RANGE, "bits of prototypes");
    forge(11, 1, 3, EHFF_OK, "first layer: none learns");
    forge(11, 1, 4, EHFF_ERR_RANGE, "first layer");
    forge(12, 2, 1, EHFF_ERR_SHAPE, "classes");
    forge(16, 4, 0, EHFF_ERR_RANGE, "kappa");
    forge(20, 2, EHFF_ONE + 1, EHFF_ERR_RANGE, "margin");
    forge(22, 2, 40000, EHFF_ERR_RANGE, "gate");
    forge(28, 2, EHFF_MAX_LR_P + 1, EHFF_ERR_RANGE, "rate of prototypes");
    forge(30, 2, 1, EHFF_ERR_FORMAT, "an encoder that is not there");
    forge(40, 4, 1000, EHFF_ERR_FORMAT, "length");
    forge(44, 4, 0x10000009u, EHFF_ERR_SHAPE, "inputs");
    forge(60 + 4, 4, 0xFFFFFFFFu, EHFF_OK, "largest running mean");
    forge(60 + 12, 4, 1024, EHFF_OK, "largest join weight");
    forge(60 + 12, 4, 1025, EHFF_ERR_RANGE, "join weight");
    forge(60 + 12, 4, 0x10000u, EHFF_ERR_RANGE, "join weight of 17 bits");
    forge(weights, 2, 0x8000u, EHFF_ERR_RANGE, "a weight beyond its limit");
    forge(weights + 72, 2, 0x7FFFu, EHFF_ERR_RANGE, "a prototype beyond its limit");
}

void test_blob(void)
{
    check_round_trip(16, blob_encoder(), 9);
    check_round_trip(8, blob_encoder(), 9);
    if (EHFF_WITH_CONV) check_round_trip(16, parts_encoder(), 12);
    check_refusals();
    check_damage();
    check_forgeries();
    check_fields();
}
