/* Power cuts: whatever a save is cut at, what is loaded then is the old model or the new one, whole. */
#include "under_test.h"

#define FLASH_BYTES sizeof board.flash

typedef struct {
    uint32_t cuts, kept, new, factory, operations; /* of all */
    uint32_t bad;
} tally;

static tally total;

static void print(const char *what, uint32_t v)
{
    TEST_PRINT(what);
    test_print_decimal(v);
}

static void copy(uint8_t *to, const uint8_t *from, uint32_t n)
{
    while (n-- > 0) *to++ = *from++;
}

static uint8_t *flash(void) { return (uint8_t *)board.flash; }

static int save(void) { return ask(EHFF_OP_SAVE, NULL, 0); }

static void hello(void) { CHECK(ask_as(EHFF_OP_HELLO, its.sequence, its.session, NULL, 0) == EHFF_OK); }

/* SAVE's frame, as it comes from the line; the board may lose power in it. */
static void save_frame(void)
{
    static uint8_t bytes[32];
    its.sequence++;
    board_feed(bytes, host_request(EHFF_OP_SAVE, its.sequence, its.session, NULL, 0, bytes));
}

/* A board whose flash is this, awake with what it finds there. */
static void wake(const uint8_t *bytes)
{
    copy(flash(), bytes, FLASH_BYTES);
    board.cut_at = board.fail_at = -1;
    reboot(FRAME);
    hello();
}

/* Cut power before (or within) operation number cut of a save; 0 where the save has fewer. */
static int cut_save(int32_t cut, uint8_t torn)
{
    board.operations = 0;
    board.cut_at = cut;
    board.torn = torn;
    board.out_bytes = 0;
    if (setjmp(board.power) == 0) {
        save_frame();
        board.cut_at = -1;
        return 0;
    }
    board.cut_at = -1;
    return 1;
}

/* A model that took one step more than before. */
static uint32_t next_state(uint32_t model, uint32_t i)
{
    CHECK(train(model, i, (uint16_t)(i % 3)) == EHFF_OK);
    return state();
}

/* After the cut: the old state or the new one, said so, and the next save works and is found. */
static void after_cut(uint32_t old, uint32_t new, uint32_t saves)
{
    uint32_t now;
    total.cuts++;
    board.misuse = 0;
    reboot(FRAME);
    hello();
    now = its.link->model.net == NULL ? 0 : state();
    total.kept += now == old && saves > 0;
    total.factory += now == old && saves == 0;
    total.new += now == new;
    total.bad += now != old && now != new;
    total.bad += its.link->model.net == NULL || ehff_net_check(its.link->model.net) != EHFF_OK;
    total.bad += saves > 0 && !(reply.body[7] & EHFF_LINK_HAS_SAVED);
    total.bad += now == new && !(reply.body[7] & EHFF_LINK_HAS_SAVED);
}

static void save_and_find(uint32_t model, uint32_t i)
{
    const uint32_t now = next_state(model, i);
    CHECK(save() == EHFF_OK);
    reboot(FRAME);
    hello();
    CHECK(state() == now);
}

/* Every operation of the save after so many others, whole and torn in several ways; every cut of the save after. */
static void check_cuts(uint32_t model, uint32_t saves, uint8_t fill)
{
    static uint8_t before[sizeof board.flash], between[sizeof board.flash];
    uint32_t old, new, i, tear, second;
    int32_t cut, again;
    begin(model, FRAME);
    board_new(fill);
    board.factory = its.blob;
    board.factory_bytes = its.blob_bytes;
    reboot(FRAME);
    hello();
    old = state();
    for (i = 0; i < saves; i++) {
        old = next_state(model, i);
        CHECK(save() == EHFF_OK && body_is(i + 1));
    }
    copy(before, flash(), FLASH_BYTES);
    for (tear = 0; tear < 4; tear++)
        for (cut = 0;; cut++) {
            wake(before);
            CHECK(state() == old);
            new = next_state(model, 100);
            board.random = (uint32_t)cut * 4 + tear;
            if (!cut_save(cut, tear > 0)) {
                after_cut(old, new, saves); /* after the last operation, before the answer */
                break;
            }
            copy(between, flash(), FLASH_BYTES);
            after_cut(old, new, saves);
            /* the next save is cut too */
            for (second = 0; second < 2; second++) {
                const uint32_t found = state();
                again = (int32_t)(sim_random(&board.random) % 40);
                new = next_state(model, 200);
                if (cut_save(again, second == 1)) after_cut(found, new, saves);
                copy(flash(), between, FLASH_BYTES);
                reboot(FRAME);
                hello();
            }
            save_and_find(model, 300);
            save_and_find(model, 301);
        }
    total.operations += (uint32_t)cut;
    wake(before);
    new = next_state(model, 100); /* and without a cut */
    CHECK(save() == EHFF_OK && body_is(saves + 1) && state() == new);
    CHECK(board.misuse == 0);
}

/* Saves of firmware with another factory model: not loaded, and left alone until one is saved over. */
static void check_other_firmware(void)
{
    static uint8_t flash_of_a[sizeof board.flash], other[MODEL_BYTES];
    const uint8_t newest = EHFF_LOAD_SAVED, before = EHFF_LOAD_BEFORE;
    uint32_t a, factory_b, i, n;
    begin(MODEL_PLAIN, FRAME);
    for (i = 0; i < 2; i++) {
        a = next_state(MODEL_PLAIN, i);
        CHECK(save() == EHFF_OK);
    }
    copy(flash_of_a, flash(), FLASH_BYTES);
    n = model_blob(MODEL_PLAIN, 50, other);
    board.factory = other;
    board.factory_bytes = n;
    reboot(FRAME);
    hello();
    factory_b = state();
    CHECK(factory_b != a && !(reply.body[7] & EHFF_LINK_HAS_SAVED));
    CHECK(ask(EHFF_OP_LOAD, &newest, 1) == EHFF_LINK_ERR_EMPTY && ask(EHFF_OP_LOAD, &before, 1) == EHFF_LINK_ERR_EMPTY);
    CHECK(state() == factory_b);
    for (i = 0, n = 1; i < FLASH_BYTES; i++) n &= flash()[i] == flash_of_a[i];
    CHECK(n);
    /* B's first save takes the older of A's slots: A still finds its newest */
    i = next_state(MODEL_PLAIN, 7);
    CHECK(save() == EHFF_OK && body_is(3));
    CHECK(ask(EHFF_OP_LOAD, &before, 1) == EHFF_LINK_ERR_EMPTY);
    reboot(FRAME);
    hello();
    CHECK(state() == i);
    board.factory = its.blob;
    reboot(FRAME);
    hello();
    CHECK(state() == a);
    /* A saves again beside B's, which is newer: a cut at any moment leaves A its old save */
    copy(flash_of_a, flash(), FLASH_BYTES);
    for (n = 0;; n++) {
        wake(flash_of_a);
        CHECK(state() == a);
        i = next_state(MODEL_PLAIN, 9);
        if (!cut_save((int32_t)n, (uint8_t)(n & 1))) break;
        after_cut(a, i, 1);
    }
    reboot(FRAME);
    hello();
    CHECK(state() == i);
}

/* The head of a slot, written anew so that its CRC holds. */
static void renumber(uint8_t slot, uint32_t number)
{
    uint8_t *b = board.flash[slot];
    put32(b, number);
    put32(b + 12, ehff_crc32(ehff_crc32(0, b, 12), b + 20, get32(b + 4)));
}

static void check_numbers(uint32_t first)
{
    const uint8_t newest = EHFF_LOAD_SAVED, before = EHFF_LOAD_BEFORE, factory = EHFF_LOAD_FACTORY;
    uint32_t states[8], i;
    begin(MODEL_U8, FRAME);
    CHECK(ask(EHFF_OP_LOAD, &newest, 1) == EHFF_LINK_ERR_EMPTY && ask(EHFF_OP_LOAD, &before, 1) == EHFF_LINK_ERR_EMPTY);
    states[7] = state();
    states[0] = next_state(MODEL_U8, 0);
    CHECK(save() == EHFF_OK && body_is(1));
    CHECK(ask(EHFF_OP_LOAD, &before, 1) == EHFF_LINK_ERR_EMPTY);
    renumber(0, first);
    for (i = 1; i < 6; i++) {
        states[i] = next_state(MODEL_U8, i);
        CHECK(save() == EHFF_OK && body_is(first + i));
        CHECK(ask_as(EHFF_OP_SAVE, its.sequence, its.session, NULL, 0) == EHFF_OK &&
              body_is(first + i)); /* not twice */
        CHECK(ask(EHFF_OP_LOAD, &before, 1) == EHFF_OK && body_is(first + i - 1) && state() == states[i - 1]);
        CHECK(ask(EHFF_OP_LOAD, &factory, 1) == EHFF_OK && body_is(0) && state() == states[7]);
        CHECK(ask(EHFF_OP_LOAD, &newest, 1) == EHFF_OK && body_is(first + i) && state() == states[i]);
        reboot(FRAME);
        hello();
        CHECK(state() == states[i] && reply.steps == 11 + i);
    }
    for (i = 0; i < 256; i++) {
        const uint8_t which = (uint8_t)i;
        if (i > 2) CHECK(ask(EHFF_OP_LOAD, &which, 1) == EHFF_LINK_ERR_EMPTY);
    }
    CHECK(ask(EHFF_OP_LOAD, NULL, 0) == EHFF_LINK_ERR_LENGTH && ask(EHFF_OP_LOAD, "ab", 2) == EHFF_LINK_ERR_LENGTH);
    CHECK(state() == states[5]);
}

/* A slot that lies about its length, or whose bytes changed, counts for nothing. */
static void check_damaged_slots(void)
{
    static uint8_t kept[sizeof board.flash];
    uint32_t old, new, i, k, end, bad = 0;
    begin(MODEL_PLAIN, FRAME);
    old = next_state(MODEL_PLAIN, 0);
    CHECK(save() == EHFF_OK);
    new = next_state(MODEL_PLAIN, 1);
    CHECK(save() == EHFF_OK);
    copy(kept, flash(), FLASH_BYTES);
    end = 20 + its.blob_bytes;
    for (i = 0; i < SLOT_BYTES; i++)
        for (k = 0; k < 9; k++) {
            board.flash[1][i] ^= (uint8_t)(k < 8 ? 1u << k : 0xFFu);
            reboot(FRAME);
            bad += state() != (i < end ? old : new);
            copy(flash(), kept, FLASH_BYTES);
        }
    CHECK(bad == 0);
    for (i = SLOT_BYTES - 21; i < SLOT_BYTES + 40; i++) { /* lengths about the slot's */
        put32(board.flash[1] + 4, i);
        reboot(FRAME);
        CHECK(state() == old && board.misuse == 0);
    }
    for (i = 0; i < 40; i++) {
        put32(board.flash[1] + 4, 0xFFFFFFFFu - i);
        reboot(FRAME);
        CHECK(state() == old && board.misuse == 0);
    }
    /* a whole slot with a blob that is none, or with none: the factory's model */
    copy(flash(), kept, FLASH_BYTES);
    board.flash[1][20] ^= 1;
    renumber(1, 2);
    reboot(FRAME);
    CHECK(state() != old && state() != new && its.link->model.net != NULL);
    put32(board.flash[1] + 4, 0);
    renumber(1, 2);
    reboot(FRAME);
    CHECK(its.link->model.net != NULL && state() != new);
}

static void check_memory(void)
{
    const uint8_t newest = EHFF_LOAD_SAVED, factory = EHFF_LOAD_FACTORY;
    uint32_t now, i, operations;
    begin(MODEL_PLAIN, FRAME);
    board.slot_bytes = 0;
    hello();
    CHECK(!(reply.body[7] & (EHFF_LINK_HAS_STORAGE | EHFF_LINK_HAS_SAVED)));
    CHECK(save() == EHFF_LINK_ERR_STORAGE && ask(EHFF_OP_LOAD, &newest, 1) == EHFF_LINK_ERR_EMPTY);
    for (i = 4; i <= its.blob_bytes + 24; i += 4) {
        board.slot_bytes = i;
        CHECK(save() == (i >= 20 + its.blob_bytes ? EHFF_OK : EHFF_LINK_ERR_STORAGE));
        CHECK(board.misuse == 0);
    }
    /* memory that fails: said so, and the last save is still there */
    begin(MODEL_PLAIN, FRAME);
    now = next_state(MODEL_PLAIN, 0);
    CHECK(save() == EHFF_OK);
    operations = (uint32_t)board.operations;
    for (i = 0; i < operations; i++) {
        (void)next_state(MODEL_PLAIN, i);
        board.operations = 0;
        board.fail_at = (int32_t)i;
        CHECK(save() == EHFF_LINK_ERR_STORAGE && body_is(reply.n == 4 ? get32(reply.body) : 1));
        board.fail_at = -1;
        CHECK(ask(EHFF_OP_LOAD, &newest, 1) == EHFF_OK && state() == now);
    }
    board.fail_reads = 1;
    CHECK(ask(EHFF_OP_LOAD, &newest, 1) == EHFF_LINK_ERR_EMPTY && state() == now);
    CHECK(ask(EHFF_OP_LOAD, &factory, 1) == EHFF_LINK_ERR_STORAGE);
    CHECK(save() == EHFF_LINK_ERR_STORAGE || its.link->model.net != NULL);
}

void test_slots(void)
{
    uint32_t saves;
    check_numbers(1);
    check_numbers(0xFFFFFFFDu);
    check_numbers(0x7FFFFFFEu);
    check_other_firmware();
    check_damaged_slots();
    check_memory();
    for (saves = 0; saves < 4; saves++) {
        check_cuts(MODEL_U8, saves, 0xFF);
        check_cuts(MODEL_U8, saves, 0x00);
        check_cuts(MODEL_WINDOW, saves, 0xFF);
    }
    CHECK(total.cuts >= 4000 && total.new > 0 && total.kept > 0 && total.factory > 0 && total.bad == 0);
    print("power cuts: ", total.cuts);
    print(", old model kept ", total.kept);
    print(", factory's ", total.factory);
    print(", new model ", total.new);
    print(", bad ", total.bad);
    TEST_PRINT("\n");
}
