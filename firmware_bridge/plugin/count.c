/* A plugin for QEMU's translator: how many instructions a function executes from its entry to its return.
 * -plugin libcount.so,sym=FILE,out=FILE[,inline=0]
 * sym: a line a function, in hexadecimal but the name: ADDRESS SIZE KIND NAME RETURN..., RETURN being every address
 * that a call of it may come back to. KIND c: out gets a line "call NAME INSTRUCTIONS" as each call returns.
 * KIND p: totals while such a call is under way, "profile NAME CALLS INCLUSIVE EXCLUSIVE" at the end.
 * KIND x: what is inside is not counted: interrupts come when they like.
 * QEMU installs no header for plugins on every system, so what is used of its interface stands here. */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_API
#define PLUGIN_API 1 /* of QEMU 4.2 to 8.2; 9.0 and newer take 2 */
#endif
#define EXPORT __attribute__((visibility("default")))
#define NO_REGISTERS 0
#define ADD_U64 0

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*on_block)(uint64_t id, struct qemu_plugin_tb *block);
typedef void (*on_execution)(unsigned cpu, void *data);
typedef void (*on_end)(uint64_t id, void *data);

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, on_block call);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, on_execution call, int flags, void *data);
void qemu_plugin_register_atexit_cb(uint64_t id, on_end call, void *data);
/* Faster, and gone from version 2 on. */
__attribute__((weak)) void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op,
                                                                      void *counter, uint64_t n);

typedef struct {
    uint64_t address, size;
    char kind, name[128];
    bool running;
    uint64_t started, calls, inclusive;
    uint64_t executed, before, exclusive;
} function;

typedef struct {
    uint64_t address;
    size_t function;
} return_point;

EXPORT int qemu_plugin_version = PLUGIN_API;
EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv);

static function *functions;
static return_point *returns;
static size_t n_functions, n_returns;
static unsigned under_way; /* calls of kind c */
static bool profiled, use_inline = true;
static uint64_t total;
static FILE *out;

static void entered(unsigned cpu, void *data)
{
    function *f = (function *)data;
    size_t k;
    (void)cpu;
    if (f->running) return;
    f->running = true;
    f->started = total;
    if (f->kind != 'c' || under_way++ > 0) return;
    for (k = 0; k < n_functions; k++) functions[k].before = functions[k].executed;
}

static void returned(unsigned cpu, void *data)
{
    function *f = (function *)data;
    size_t k;
    (void)cpu;
    if (!f->running) return;
    f->running = false;
    if (under_way > 0) {
        f->calls++;
        f->inclusive += total - f->started;
    }
    if (f->kind != 'c') return;
    fprintf(out, "call %s %" PRIu64 "\n", f->name, total - f->started);
    fflush(out);
    if (--under_way > 0) return;
    for (k = 0; k < n_functions; k++) functions[k].exclusive += functions[k].executed - functions[k].before;
}

static void count_one(unsigned cpu, void *data)
{
    (void)cpu;
    ++*(uint64_t *)data;
}

static void count(struct qemu_plugin_insn *insn, uint64_t *counter)
{
    if (use_inline)
        qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, counter, 1);
    else
        qemu_plugin_register_vcpu_insn_exec_cb(insn, count_one, NO_REGISTERS, counter);
}

static void translated(uint64_t id, struct qemu_plugin_tb *block)
{
    const size_t n = qemu_plugin_tb_n_insns(block);
    size_t i, k;
    (void)id;
    for (i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        const uint64_t at = qemu_plugin_insn_vaddr(insn);
        function *inside = NULL;
        for (k = 0; k < n_returns; k++)
            if (returns[k].address == at)
                qemu_plugin_register_vcpu_insn_exec_cb(insn, returned, NO_REGISTERS, &functions[returns[k].function]);
        for (k = 0; k < n_functions; k++) {
            function *f = &functions[k];
            if (at == f->address) qemu_plugin_register_vcpu_insn_exec_cb(insn, entered, NO_REGISTERS, f);
            if (at - f->address < f->size) inside = f;
        }
        if (inside != NULL && inside->kind == 'x') continue;
        count(insn, &total);
        if (profiled && inside != NULL) count(insn, &inside->executed);
    }
}

static void ended(uint64_t id, void *data)
{
    size_t k;
    (void)id;
    (void)data;
    for (k = 0; profiled && k < n_functions; k++) {
        const function *f = &functions[k];
        if (f->calls == 0) continue;
        fprintf(out, "profile %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", f->name, f->calls, f->inclusive, f->exclusive);
    }
    fclose(out);
}

/* One line of sym. */
static bool read_function(char *line)
{
    char *rest = line, *word;
    function f = {0};
    f.address = strtoull(rest, &rest, 16);
    f.size = strtoull(rest, &rest, 16);
    word = strtok(rest, " \n");
    if (word == NULL) return false;
    f.kind = *word;
    word = strtok(NULL, " \n");
    if (word == NULL || strlen(word) >= sizeof f.name) return false;
    strcpy(f.name, word);
    profiled = profiled || f.kind == 'p';
    while ((word = strtok(NULL, " \n")) != NULL) {
        returns = realloc(returns, (n_returns + 1) * sizeof *returns);
        if (returns == NULL) return false;
        returns[n_returns++] = (return_point){strtoull(word, NULL, 16), n_functions};
    }
    functions = realloc(functions, (n_functions + 1) * sizeof *functions);
    if (functions == NULL) return false;
    functions[n_functions++] = f;
    return true;
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
    static char line[1 << 16];
    FILE *in = NULL;
    bool good = true;
    int i;
    (void)info;
    for (i = 0; i < argc; i++) {
        if (strncmp(argv[i], "sym=", 4) == 0) in = fopen(argv[i] + 4, "r");
        if (strncmp(argv[i], "out=", 4) == 0) out = fopen(argv[i] + 4, "w");
        if (strcmp(argv[i], "inline=0") == 0) use_inline = false;
    }
    if (in == NULL || out == NULL) return -1;
    while (good && fgets(line, sizeof line, in) != NULL) good = read_function(line);
    fclose(in);
    if (!good || n_functions == 0) return -1;
    use_inline = use_inline && qemu_plugin_register_vcpu_insn_exec_inline != NULL;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
