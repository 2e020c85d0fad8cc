/* The text commands of the MLPerf Tiny runner, among frames and among rubbish. */
#include "under_test.h"

#include <stdio.h>
#include <string.h>

#if EHFF_LINK_RUNNER

/* What the board sent, as text; and forgotten. */
static const char *heard(void)
{
    static char text[sizeof board.out + 1];
    memcpy(text, board.out, board.out_bytes);
    text[board.out_bytes] = 0;
    board.out_bytes = 0;
    return text;
}

/* The command is answered with exactly this, and m-ready. */
static void hears(const char *command, const char *answer)
{
    char expected[2000];
    board.out_bytes = 0;
    board_feed((const uint8_t *)command, (uint32_t)strlen(command));
    (void)snprintf(expected, sizeof expected, "%sm-ready\r\n", answer);
    test_check(strcmp(heard(), expected) == 0, "hears", command);
    CHECK(board.misuse == 0);
}

#define UNKNOWN "e-[Unknown command]\r\n"
#define NO_SAMPLE "e-[load a sample first; at least one inference]\r\n"
#define NO_INFERENCE "e-[no inference yet]\r\n"

static void check_commands(void)
{
    char expected[100];
    begin(MODEL_U8, FRAME);
    hears("name%", "m-name-dut-[sim]\r\n");
    hears("\r\nname%", "m-name-dut-[sim]\r\n");
    hears("\n\n\rname%", "m-name-dut-[sim]\r\n");
    hears("profile%", "m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[edgehff]\r\n");
    board.now_us = 4294967295u - 1500;
    hears("timestamp%", "m-lap-us-4294967295\r\n");
    board.now_us = 0u - 1500;
    hears("timestamp%", "m-lap-us-0\r\n");
    board.now_us = 8500;
    hears("timestamp%", "m-lap-us-10000\r\n");
    hears("names%", UNKNOWN);
    hears("nam%", UNKNOWN);
    hears("Name%", UNKNOWN);
    hears(" name%", UNKNOWN);
    hears("name %", "m-name-dut-[sim]\r\n");
    hears("hello?%", UNKNOWN);
    hears("db load%", "e-[a sample has 8 bytes]\r\n");
    hears("db load 7%", "e-[a sample has 8 bytes]\r\n");
    hears("db load 9%", "e-[a sample has 8 bytes]\r\n");
    hears("db load -8%", "e-[a sample has 8 bytes]\r\n");
    hears("db load x%", "e-[a sample has 8 bytes]\r\n");
    hears("db load 99999999999999999999%", "e-[a sample has 8 bytes]\r\n");
    hears("db load 65544%", "e-[a sample has 8 bytes]\r\n"); /* 8 in 16 bits */
    hears("db load 4294967304%", "e-[a sample has 8 bytes]\r\n"); /* and in 32 */
    hears("db load 8%", "m-[Expecting 8 bytes]\r\n");
    hears("db load  8 %", "m-[Expecting 8 bytes]\r\n");
    hears("results%", NO_INFERENCE);
    hears("infer%", NO_SAMPLE);
    (void)snprintf(expected, sizeof expected, "m-name-dut-[sim]\r\nm-ready\r\nm-name-dut-[sim]\r\n");
    hears("name%name%", expected);
    begin(MODEL_U8, FRAME);
    board.factory_bytes = 0;
    reboot(FRAME);
    hears("db load 8%", "e-[a sample has 0 bytes]\r\n");
    hears("db 00%", "");
    hears("infer 1 1%", NO_SAMPLE);
    hears("results%", NO_INFERENCE);
}

/* A sample as db commands, so many bytes at a time. */
static void load_sample(uint32_t model, uint32_t i, uint32_t piece, int upper)
{
    uint8_t raw[24];
    char text[80];
    const uint32_t n = model_raw_bytes(model);
    uint32_t at, k;
    model_sample(model, i, raw);
    (void)snprintf(text, sizeof text, "m-[Expecting %u bytes]\r\n", (unsigned)n);
    {
        char command[30];
        (void)snprintf(command, sizeof command, "db load %u%%", (unsigned)n);
        hears(command, text);
    }
    for (at = 0; at < n; at += piece) {
        int end = snprintf(text, sizeof text, "db ");
        for (k = at; k < at + piece && k < n; k++)
            end += snprintf(text + end, sizeof text - (size_t)end, upper ? "%02X" : "%02x", raw[k]);
        (void)snprintf(text + end, sizeof text - (size_t)end, "%%");
        hears(text, at + piece >= n ? "m-load-done\r\n" : "");
    }
}

/* The probabilities of sample i, as the board should print them. */
static const char *results_of(uint32_t model, uint32_t i)
{
    static char text[400];
    uint64_t power[24], sum = 0;
    int32_t top = INT32_MIN, score[24];
    uint32_t c, n;
    int end = snprintf(text, sizeof text, "m-results-[");
    CHECK(predict(model, i, 1) == EHFF_OK);
    n = its.link->model.n_classes;
    for (c = 0; c < n; c++) score[c] = (int32_t)get32(reply.body + 4 + 4 * c);
    for (c = 0; c < n; c++) top = score[c] > top ? score[c] : top;
    for (c = 0; c < n; c++) sum += power[c] = ehff_exp2_neg((uint32_t)(top - score[c]));
    for (c = 0; c < n; c++) {
        const unsigned v = (unsigned)((power[c] * 1000 + sum / 2) / sum);
        end += snprintf(text + end, sizeof text - (size_t)end, "%s%u.%03u", c > 0 ? "," : "", v / 1000, v % 1000);
    }
    (void)snprintf(text + end, sizeof text - (size_t)end, "]\r\n");
    return text;
}

static void check_inference(uint32_t model)
{
    static const uint32_t pieces[4] = {1, 3, 8, 24};
    char expected[800], results[400];
    uint32_t i, before;
    begin(model, FRAME);
    its.arena_bytes += 24; /* room for a sample behind the model */
    reboot(FRAME);
    CHECK(ask_as(EHFF_OP_HELLO, its.sequence, its.session, NULL, 0) == EHFF_OK);
    before = state();
    for (i = 0; i < 16; i++) {
        (void)snprintf(results, sizeof results, "%s", results_of(model, i));
        load_sample(model, i, pieces[i % 4], i & 4 ? 1 : 0);
        board.now_us = 0;
        (void)snprintf(expected, sizeof expected,
                       "m-warmup-start-2\r\nm-warmup-done\r\nm-infer-start-3\r\nm-lap-us-1500\r\nm-lap-us-3000\r\n"
                       "m-infer-done\r\n%s",
                       results);
        hears("infer 3 2%", expected);
        hears("results%", results);
        if (its.link->model.x == NULL || model == MODEL_WINDOW) { /* the sample is behind the model still */
            board.now_us = 0;
            hears("infer 3 2%", expected);
        } else { /* its vector has taken its place */
            hears("infer 3 2%", NO_SAMPLE);
        }
        hears("results%", results);
    }
    hears("infer 0%", NO_SAMPLE);
    load_sample(model, 3, 8, 0);
    hears("infer 0 1%", NO_SAMPLE);
    board.now_us = 0;
    (void)snprintf(results, sizeof results, "%s", results_of(model, 3));
    load_sample(model, 3, 8, 0);
    (void)snprintf(expected, sizeof expected,
                   "m-warmup-start-10\r\nm-warmup-done\r\nm-infer-start-1\r\nm-lap-us-1500\r\nm-lap-us-3000\r\n"
                   "m-infer-done\r\n%s",
                   results);
    hears("infer%", expected);
    load_sample(model, 3, 8, 0);
    board_feed((const uint8_t *)"infer 65536 0%", 14); /* more than 16 bits: as many as they hold */
    CHECK(strstr(heard(), "m-warmup-start-0\r\nm-warmup-done\r\nm-infer-start-65535\r\n") != NULL);
    CHECK(state() == before);
}

static void check_samples(void)
{
    begin(MODEL_U8, FRAME);
    hears("db 0102%", ""); /* none is expected */
    hears("db load 8%", "m-[Expecting 8 bytes]\r\n");
    hears("infer%", NO_SAMPLE);
    hears("db 010%", ""); /* half a byte is none: one came */
    hears("db zz%", "e-[no hex digits]\r\n");
    hears("db 0g%", "e-[no hex digits]\r\n");
    hears("db /@%", "e-[no hex digits]\r\n");
    hears("db :`%", "e-[no hex digits]\r\n");
    hears("db%", "");
    hears("db %", "");
    hears("db 02030405060708%", "m-load-done\r\n");
    hears("db 0203%", "m-load-done\r\n"); /* one too many changes nothing */
    begin(MODEL_U8, FRAME);
    hears("db load 8%", "m-[Expecting 8 bytes]\r\n");
    hears("db 000102030405060708090a0b0c0d0e0f%", "m-load-done\r\n"); /* nor do too many at once */
    /* without room behind the model there is no place for a sample of a window */
    begin(MODEL_WINDOW, FRAME);
    its.arena_bytes = its.link->model.bytes + 23;
    reboot(FRAME);
    hears("db load 24%", "e-[a sample has 0 bytes]\r\n");
    its.arena_bytes++;
    reboot(FRAME);
    hears("db load 24%", "m-[Expecting 24 bytes]\r\n");
    /* scores that do not fit the frame */
    begin(MODEL_MANY, 96);
    its.arena_bytes += 6;
    reboot(96);
    load_sample(MODEL_MANY, 1, 3, 0);
    board.out_bytes = 0;
    board_feed((const uint8_t *)"infer 1 1%", 10);
    CHECK(strstr(heard(), "m-results-[") != NULL); /* 96 bytes do */
    begin(MODEL_MANY, 92);
    its.arena_bytes += 6;
    reboot(92);
    load_sample(MODEL_MANY, 1, 3, 0);
    board_feed((const uint8_t *)"infer 1 1%", 10);
    CHECK(strstr(heard(), "m-infer-done\r\n" NO_INFERENCE "m-ready") != NULL);
}

/* A model of another kind comes while a sample is expected, half there, whole, or answered: nothing of it is used. */
static void check_forgotten(uint32_t from, uint32_t to, uint32_t stage)
{
    uint8_t blob[MODEL_BYTES], body[MODEL_BYTES + 4] = {0};
    const uint32_t n = model_blob(to, 3, blob), needed = model_arena(blob, n, 0);
    uint32_t i, before;
    begin(from, 1000);
    its.arena_bytes = its.link->model.bytes + model_raw_bytes(from);
    if (its.arena_bytes < needed) its.arena_bytes = needed;
    reboot(1000);
    CHECK(ask_as(EHFF_OP_HELLO, its.sequence, its.session, NULL, 0) == EHFF_OK);
    load_sample(from, 1, 24, 0);
    if (stage < 2) {
        char command[30];
        (void)snprintf(command, sizeof command, "db load %u%%", (unsigned)model_raw_bytes(from));
        board_feed((const uint8_t *)command, (uint32_t)strlen(command));
        if (stage == 1) hears("db 0001%", "");
    }
    if (stage == 3) {
        board_feed((const uint8_t *)"infer 1 1%", 10);
        CHECK(strstr(heard(), "m-results-[") != NULL);
    }
    for (i = 0; i < n; i++) body[4 + i] = blob[i];
    CHECK(ask(EHFF_OP_PUSH, body, n + 4) == EHFF_OK);
    before = state();
    hears("results%", NO_INFERENCE);
    hears("infer 1 1%", NO_SAMPLE);
    hears("db 6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d%", "");
    hears("infer 1 1%", NO_SAMPLE);
    CHECK(state() == before && ehff_net_check(its.link->model.net) == EHFF_OK);
}

static void check_among_frames(void)
{
    uint8_t bytes[64];
    uint32_t i;
    begin(MODEL_U8, FRAME);
    /* rubbish before a command hides it; the zero that ends the rubbish makes the line good again */
    board.out_bytes = 0;
    board_feed((const uint8_t *)"\x80\x01name%", 7);
    CHECK(board.out_bytes == 0);
    board_feed((const uint8_t *)"\0", 1);
    CHECK(host_one() && reply.op == (EHFF_OP_BAD_FRAME & 0x7F));
    hears("name%", "m-name-dut-[sim]\r\n");
    /* a line end within a command, or before its percent sign, is no text */
    board_feed((const uint8_t *)"na\r\nme%name\r\n%", 14);
    CHECK(board.out_bytes == 0);
    board_feed((const uint8_t *)"\0", 1);
    CHECK(host_one() && reply.status == EHFF_LINK_ERR_FRAME);
    board_feed((const uint8_t *)"%\0", 2);
    CHECK(host_one() && reply.status == EHFF_LINK_ERR_FRAME);
    /* a command as long as the frame's memory is one, a longer one is not */
    for (i = 0; i < FRAME; i++) board_feed((const uint8_t *)"x", 1);
    hears("%", UNKNOWN);
    for (i = 0; i < FRAME + 1; i++) board_feed((const uint8_t *)"x", 1);
    board_feed((const uint8_t *)"%", 1);
    CHECK(board.out_bytes == 0);
    board_feed((const uint8_t *)"\0", 1);
    CHECK(host_one() && reply.status == EHFF_LINK_ERR_FRAME);
    /* frames with a percent sign in them are frames, whatever the length of their blocks */
    for (i = 0; i < 40; i++) {
        CHECK(ask(EHFF_OP_PREDICT, "%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%", i) == (i < 4     ? EHFF_LINK_ERR_LENGTH
                                                                                      : i == 12 ? EHFF_OK
                                                                                                : EHFF_ERR_SHAPE));
        hears("name%", "m-name-dut-[sim]\r\n");
        board_feed(bytes, host_request(EHFF_OP_CRC, its.sequence, its.session, NULL, 0, bytes));
        CHECK(host_one() && reply.op == EHFF_OP_CRC);
    }
}

void test_runner(void)
{
    uint32_t i;
    check_commands();
    check_inference(MODEL_PLAIN);
    check_inference(MODEL_U8);
    check_inference(MODEL_WINDOW);
    check_inference(MODEL_FROZEN);
    check_inference(MODEL_MANY);
    check_samples();
    for (i = 0; i < MODELS * MODELS * 4; i++) check_forgotten(i % MODELS, i / MODELS % MODELS, i / MODELS / MODELS);
    check_among_frames();
}

#else

/* Without the runner's commands text is no frame, and nothing more. */
void test_runner(void)
{
    begin(MODEL_U8, FRAME);
    board.out_bytes = 0;
    board_feed((const uint8_t *)"name%db load 8%\r\n", 17);
    CHECK(board.out_bytes == 0);
    board_feed((const uint8_t *)"\0", 1);
    CHECK(host_one() && reply.op == (EHFF_OP_BAD_FRAME & 0x7F));
}

#endif
