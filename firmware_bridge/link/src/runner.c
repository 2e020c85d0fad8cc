/* The text commands by which the MLPerf Tiny runner measures firmware; each ends with '%' and is answered by
 * lines that close with m-ready. The protocol is EEMBC's, as github.com/mlcommons/tiny documents it. */
#include "link.h"

#if EHFF_LINK_RUNNER

static void say(const EHFF_FLASH char *text)
{
    while (*text != 0) ehff_port_put((uint8_t)*text++);
}

static void say_number(uint32_t v)
{
    uint32_t power = 1;
    while (v / power >= 10) power *= 10;
    for (; power > 0; power /= 10) ehff_port_put((uint8_t)('0' + v / power % 10));
}

#define SAY(text)                                \
    do {                                         \
        static const EHFF_FLASH char t[] = text; \
        say(t);                                  \
    } while (0)

/* Whether the frame starts with this word, at its end or before a space. */
static int is(const uint8_t *b, uint32_t n, const EHFF_FLASH char *word, uint32_t length)
{
    uint32_t i;
    for (i = 0; i < length; i++)
        if (i >= n || b[i] != (uint8_t)word[i]) return 0;
    return n == length || b[length] == ' ';
}

#define IS(b, n, word) is_##word(b, n)
#define WORD(word, text)                               \
    static int is_##word(const uint8_t *b, uint32_t n) \
    {                                                  \
        static const EHFF_FLASH char t[] = text;       \
        return is(b, n, t, sizeof t - 1);              \
    }
WORD(name, "name")
WORD(profile, "profile")
WORD(timestamp, "timestamp")
WORD(infer, "infer")
WORD(results, "results")
WORD(db_load, "db load")
WORD(db, "db")

/* The next number from at on, at most 65,535; at moves behind it. missing: where there is none. */
static uint32_t number(const uint8_t *b, uint32_t n, uint32_t *at, uint32_t missing)
{
    uint32_t v = 0, i = *at;
    while (i < n && b[i] == ' ') i++;
    if (i == n || b[i] < '0' || b[i] > '9') return missing;
    for (; i < n && b[i] >= '0' && b[i] <= '9'; i++) v = v > 6553 ? 65535 : v * 10 + (uint32_t)(b[i] - '0');
    *at = i;
    return v > 65535 ? 65535 : v;
}

static void timestamp(void)
{
    SAY("m-lap-us-");
    say_number(ehff_port_now_us());
    SAY("\r\n");
}

/* A sample may lie at the end of where the input vector goes, so that encoding reads each value before it is written
 * over; or behind the model where the arena has room. */
static uint8_t *sample(ehff_link *link)
{
    ehff_model *m = &link->model;
    if (!link_has_model(link)) return NULL;
    if (m->x != NULL && m->raw_bytes <= 2 * m->n_in) return (uint8_t *)m->x + 2 * m->n_in - m->raw_bytes;
    return link->arena_bytes - m->bytes >= m->raw_bytes ? link->arena + m->bytes : NULL;
}

static void db_load(ehff_link *link, const uint8_t *b, uint32_t n)
{
    uint32_t at = 7;
    const uint32_t bytes = number(b, n, &at, 0);
    link->db_bytes = link->db_taken = 0;
    link->db_x = NULL;
    if (sample(link) == NULL || bytes != link->model.raw_bytes) {
        SAY("e-[a sample has ");
        say_number(sample(link) == NULL ? 0 : link->model.raw_bytes);
        SAY(" bytes]\r\n");
        return;
    }
    link->db_bytes = (uint16_t)bytes;
    SAY("m-[Expecting ");
    say_number(bytes);
    SAY(" bytes]\r\n");
}

static int nibble(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void db(ehff_link *link, const uint8_t *b, uint32_t n)
{
    uint32_t i;
    uint8_t *to = sample(link);
    for (i = 3; i + 1 < n && to != NULL && link->db_taken < link->db_bytes; i += 2) {
        const int high = nibble(b[i]), low = nibble(b[i + 1]);
        if (high < 0 || low < 0) {
            SAY("e-[no hex digits]\r\n");
            return;
        }
        to[link->db_taken++] = (uint8_t)(high * 16 + low);
    }
    if (link->db_bytes != 0 && link->db_taken == link->db_bytes) SAY("m-load-done\r\n");
}

/* Probabilities with three digits, of the sample last encoded: answered again, for the scores. */
static void results(ehff_link *link)
{
    const ehff_model *m = &link->model;
    int32_t *score = (int32_t *)(void *)link->frame; /* the command in it has been read */
    uint16_t n_classes = m->n_classes, label, c;
    uint32_t sum = 0;
    int32_t top = INT32_MIN;
    if (!link_has_model(link) || link->db_x == NULL || 4u * n_classes > link->frame_bytes ||
        ehff_net_predict(m->net, link->db_x, m->n_in, &label, score) != EHFF_OK) {
        SAY("e-[no inference yet]\r\n");
        return;
    }
    for (c = 0; c < n_classes; c++)
        if (score[c] > top) top = score[c];
    for (c = 0; c < n_classes; c++) sum += ehff_exp2_neg((uint32_t)(top - score[c]));
    SAY("m-results-[");
    for (c = 0; c < n_classes; c++) {
        const uint32_t v = (ehff_exp2_neg((uint32_t)(top - score[c])) * 1000 + sum / 2) / sum;
        if (c > 0) SAY(",");
        say_number(v / 1000);
        SAY(".");
        say_number(v / 100 % 10);
        say_number(v / 10 % 10);
        say_number(v % 10);
    }
    SAY("]\r\n");
}

/* The sample is encoded once; what is timed is the network, as the runner's own firmware does it. */
static void infer(ehff_link *link, const uint8_t *b, uint32_t n)
{
    uint32_t at = 5, count, warm_up;
    ehff_model *m = &link->model;
    const int16_t *x;
    uint16_t label;
    uint8_t *raw = sample(link);
    count = number(b, n, &at, 1);
    warm_up = number(b, n, &at, 10);
    if (raw == NULL || link->db_bytes == 0 || link->db_taken != link->db_bytes || count == 0) {
        SAY("e-[load a sample first; at least one inference]\r\n");
        return;
    }
    if (ehff_model_encode(m, raw, m->raw_bytes, &x) != EHFF_OK) return;
    link->db_x = x;
    if (raw != link->arena + m->bytes) link->db_bytes = 0; /* the sample is gone: its vector has its place */
    SAY("m-warmup-start-");
    say_number(warm_up);
    SAY("\r\n");
    for (at = 0; at < warm_up; at++) (void)ehff_net_predict(m->net, x, m->n_in, &label, NULL);
    SAY("m-warmup-done\r\nm-infer-start-");
    say_number(count);
    SAY("\r\n");
    timestamp();
    for (at = 0; at < count; at++) (void)ehff_net_predict(m->net, x, m->n_in, &label, NULL);
    timestamp();
    SAY("m-infer-done\r\n");
    results(link);
}

void link_text(ehff_link *link, uint32_t n)
{
    const uint8_t *b = link->frame;
    if (IS(b, n, name)) {
        SAY("m-name-dut-[");
        say(link->name);
        SAY("]\r\n");
    } else if (IS(b, n, profile)) {
        SAY("m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[edgehff]\r\n");
    } else if (IS(b, n, timestamp)) {
        timestamp();
    } else if (IS(b, n, db_load)) {
        db_load(link, b, n);
    } else if (IS(b, n, db)) {
        db(link, b, n);
    } else if (IS(b, n, infer)) {
        infer(link, b, n);
    } else if (IS(b, n, results)) {
        results(link);
    } else {
        SAY("e-[Unknown command]\r\n");
    }
    SAY("m-ready\r\n");
}

#endif
