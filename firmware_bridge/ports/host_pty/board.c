/* The same firmware as a process: a pseudoterminal is its UART, a file its flash. For tests, fuzzing and trying
 * out; the name of the terminal is the first line that it prints. FLASH_FILE in the environment: where the two
 * slots are kept; without it there are none. */
#define _XOPEN_SOURCE 600
#define _DEFAULT_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../common/factory.h"
#include "../common/port.h"

#define SLOT_BYTES 0x100000u

static int line = -1, flash = -1;

static void must(int ok, const char *what)
{
    if (ok) return;
    perror(what);
    exit(1);
}

void port_init(void)
{
    struct termios settings;
    const char *path = getenv("FLASH_FILE");
    int held;
    line = posix_openpt(O_RDWR | O_NOCTTY);
    must(line >= 0 && grantpt(line) == 0 && unlockpt(line) == 0, "no pseudoterminal");
    held = open(ptsname(line), O_RDWR | O_NOCTTY); /* held open: a host that goes must not end the line */
    must(held >= 0 && tcgetattr(held, &settings) == 0, "no pseudoterminal");
    cfmakeraw(&settings);
    must(tcsetattr(held, TCSANOW, &settings) == 0, "no pseudoterminal");
    if (path != NULL) {
        flash = open(path, O_RDWR | O_CREAT, 0600);
        must(flash >= 0, path);
    }
    puts(ptsname(line));
    must(fflush(stdout) == 0, "no output");
}

int port_get(void)
{
    static uint8_t buffer[256];
    static ssize_t at, n;
    if (at == n) {
        at = 0;
        n = read(line, buffer, sizeof buffer);
        if (n < 0 && errno != EINTR) exit(0);
        if (n <= 0) {
            n = 0;
            return -1;
        }
    }
    return buffer[at++];
}

void port_idle(void) {}

void ehff_port_put(uint8_t byte)
{
    static uint8_t buffer[512];
    static size_t n;
    size_t sent = 0;
    buffer[n++] = byte;
    if (byte != 0 && byte != '\n' && n < sizeof buffer) return; /* a frame, or a line of text, at a time */
    while (sent < n) {
        const ssize_t some = write(line, buffer + sent, n - sent);
        if (some < 0 && errno != EINTR) exit(0);
        if (some > 0) sent += (size_t)some;
    }
    n = 0;
}

uint32_t ehff_port_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)now.tv_sec * 1000000u + (uint32_t)(now.tv_nsec / 1000);
}

uint32_t ehff_port_stack_bytes(void) { return 0; }
uint32_t ehff_port_stack_used(void) { return 0; }

uint32_t ehff_port_slot_bytes(uint8_t slot)
{
    return slot == EHFF_SLOT_FACTORY ? factory_bytes : flash >= 0 ? SLOT_BYTES : 0;
}

int ehff_port_slot_read(uint8_t slot, uint32_t at, uint8_t *bytes, uint32_t n)
{
    uint32_t i;
    ssize_t found;
    if (slot == EHFF_SLOT_FACTORY) {
        factory_read(at, bytes, n);
        return 0;
    }
    found = pread(flash, bytes, n, (off_t)slot * SLOT_BYTES + at);
    if (found < 0) return 1;
    for (i = (uint32_t)found; i < n; i++) bytes[i] = 0xFF;
    return 0;
}

int ehff_port_slot_erase(uint8_t slot)
{
    static const uint8_t zeros[64]; /* of the head, which decides: no magic is left */
    return pwrite(flash, zeros, sizeof zeros, (off_t)slot * SLOT_BYTES) != sizeof zeros;
}

int ehff_port_slot_write(uint8_t slot, uint32_t at, const uint8_t *bytes, uint32_t n)
{
    return pwrite(flash, bytes, n, (off_t)slot * SLOT_BYTES + at) != (ssize_t)n;
}
