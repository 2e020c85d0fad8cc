/* Blobs, as they are or made from a good one by changes: whole and in pieces they are taken or refused alike, and
 * what is taken can be used. */
#include "fuzz.h"

#define ARENA 8192u
#define REPAIR 1 /* length and CRC hold */
#define PATCH 2 /* a good blob with changes, else the bytes of the input */

static uint32_t pieces(uint32_t *s)
{
    const uint32_t r = sim_random(s);
    return r % 4 == 0 ? 1 : r % 4 == 1 ? r / 4 % 7 : r / 4 % 200;
}

/* Load in pieces into an arena of exactly so many bytes. */
static int load(const uint8_t *blob, uint32_t n, uint32_t seed, uint8_t *arena, uint32_t arena_bytes, ehff_model *model)
{
    ehff_loader loader;
    uint32_t some = n < 1724 ? n : 1724, at; /* the tables of 32 layers at most */
    int status;
    if (seed % 3 == 0 && n >= 60 && model_first(blob) < some) some = model_first(blob);
    status = ehff_load_begin(&loader, model, blob, some, arena, arena_bytes);
    for (at = some; at < n && status == EHFF_OK; at += some) {
        some = pieces(&seed);
        if (some > n - at) some = n - at;
        status = ehff_load_bytes(&loader, blob + at, some);
    }
    if (status == EHFF_OK) status = ehff_load_end(&loader);
    must((status == EHFF_OK) == (model->net != NULL));
    must(ehff_load_end(&loader) == EHFF_ERR_STATE);
    return status;
}

/* A model that was loaded answers, learns, grows and is saved, and keeps to its bounds. */
static void use(ehff_model *m, uint32_t seed)
{
    uint8_t *raw = (uint8_t *)malloc(m->raw_bytes), *saved;
    ehff_net *again = NULL;
    uint16_t label = 0, predicted;
    uint32_t i, n;
    int status, frozen;
    void *arena;
    must(raw != NULL && ehff_net_check(m->net) == EHFF_OK);
    for (i = 0; i < m->raw_bytes; i++) raw[i] = (uint8_t)sim_random(&seed);
    for (i = 1; !m->has_encoder && i < m->raw_bytes; i += 2) raw[i] = 0;
    for (i = 0; i < 3; i++) {
        status = ehff_model_predict(m, raw, m->raw_bytes, &label, NULL);
        must(status == EHFF_OK || (status == EHFF_ERR_RANGE && !m->has_encoder));
        must(label < m->n_classes);
        status = ehff_model_train(m, raw, m->raw_bytes, (uint16_t)(seed % m->n_classes), &predicted);
        must(status == EHFF_OK || status == EHFF_ERR_FROZEN || (status == EHFF_ERR_RANGE && !m->has_encoder));
        must(ehff_net_check(m->net) == EHFF_OK);
        frozen = status == EHFF_ERR_FROZEN;
        if (i == 1) {
            status = ehff_model_add_class(m);
            must(status == EHFF_OK || status == EHFF_ERR_ARENA || status == EHFF_ERR_SHAPE || frozen);
            must(ehff_net_check(m->net) == EHFF_OK && m->bytes <= m->arena_bytes);
        }
    }
    n = ehff_net_blob_bytes(m->net, m->has_encoder ? &m->encoder : NULL);
    saved = (uint8_t *)malloc(n);
    arena = malloc(m->arena_bytes);
    must(saved != NULL && arena != NULL);
    must(ehff_net_save(m->net, m->has_encoder ? &m->encoder : NULL, saved, n) == EHFF_OK);
    must(ehff_net_load(saved, n, arena, m->arena_bytes, &again) == EHFF_OK);
    must(ehff_net_state_crc32(again) == ehff_net_state_crc32(m->net));
    must(ehff_net_weights_crc32(again) == ehff_net_weights_crc32(m->net));
    free(saved);
    free(arena);
    free(raw);
}

static void *memory(uint32_t n)
{
    void *p = malloc(n + (n == 0));
    must(p != NULL);
    return p;
}

static void check(const uint8_t *blob, uint32_t n, uint32_t seed)
{
    uint8_t *arena = (uint8_t *)memory(ARENA), *other = (uint8_t *)memory(ARENA);
    void *table;
    ehff_encoder e;
    ehff_model model;
    ehff_net *net = NULL;
    ehff_sizes sizes;
    uint32_t features = 0, wanted = 0, needed;
    int whole = ehff_net_load(blob, n, arena, ARENA, &net);
    const int sized = ehff_blob_sizes(blob, n, &sizes, &features);
    const int in_pieces = load(blob, n, seed, other, ARENA, &model);
    must(whole != EHFF_OK || sized == EHFF_OK);
    must(sized != EHFF_OK || whole == EHFF_OK || whole == EHFF_ERR_ARENA || whole == EHFF_ERR_RANGE);
    must((whole == EHFF_OK) == (net != NULL));
    table = memory(6 * features);
    if (sized == EHFF_OK && features > 0) {
        must(ehff_encoder_load(blob, n, table, 6 * features, &e) == EHFF_OK);
        must(ehff_encoder_sizes(&e, NULL, &wanted, NULL) == EHFF_OK && wanted == features);
    } else {
        must(ehff_encoder_load(blob, n, table, 0, &e) != EHFF_OK);
    }
    free(table);
    /* the pieces make a model, so they ask for room for all of it, and for an encoder that fits the network */
    if (whole != EHFF_OK) must(in_pieces != EHFF_OK);
    if (whole == EHFF_OK && in_pieces != EHFF_OK) must(in_pieces == EHFF_ERR_ARENA || in_pieces == EHFF_ERR_SHAPE);
    if (in_pieces == EHFF_OK) {
        must(ehff_net_state_crc32(net) == ehff_net_state_crc32(model.net));
        needed = model.bytes;
        must(needed == ehff_model_bytes(net, model.has_encoder ? &model.encoder : NULL));
        use(&model, seed);
        free(arena);
        arena = (uint8_t *)memory(needed); /* exactly enough, and a byte less */
        must(load(blob, n, seed + 1, arena, needed, &model) == EHFF_OK);
        use(&model, seed);
        must(load(blob, n, seed + 2, arena, needed - 1, &model) == EHFF_ERR_ARENA);
    }
    free(arena);
    free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t good[MODELS][MODEL_BYTES];
    static uint32_t lengths[MODELS];
    input in = {data, data + size};
    const uint8_t mode = take8(&in);
    const uint32_t seed = take8(&in);
    uint8_t *blob = (uint8_t *)malloc(4096);
    uint32_t n, i;
    must(blob != NULL);
    for (i = 0; i < MODELS && lengths[i] == 0; i++) lengths[i] = model_blob(i, 1 + i, good[i]);
    if (size > 2000) in.end = data + 2000;
    if (mode & PATCH) {
        const uint32_t base = take8(&in) % MODELS;
        n = lengths[base];
        memcpy(blob, good[base], n);
        while (in.at < in.end) {
            const uint32_t at = take16(&in), what = take8(&in);
            if (what == 255)
                n = at % 2048; /* longer or shorter */
            else if (at < 2048)
                (void)take_bytes(&in, blob + at, what % 9);
            for (i = lengths[base]; i < n && what == 255; i++) blob[i] = (uint8_t)i;
        }
    } else {
        n = take_bytes(&in, blob, 2000);
    }
    if (mode & REPAIR && n >= 64) {
        put32(blob + 40, n);
        model_repair(blob, n);
    }
    {
        uint8_t *exact = (uint8_t *)memory(n);
        if (n > 0) memcpy(exact, blob, n);
        free(blob);
        check(exact, n, seed);
        free(exact);
    }
    return 0;
}
