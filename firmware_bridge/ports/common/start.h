/* From reset to main: memory set up, the free stack painted, so that its use can be read later. */
#ifndef START_H
#define START_H

#include "ehff/ehff_port.h"

#define STACK_PAINT 0xA5A5A5A5u

extern uint32_t __stack_top[], __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[];

int main(void);

/* Painted up to here: what start itself has on the stack must not be written over. */
__attribute__((used, noreturn)) static void start(void)
{
    const uint32_t *from = __data_load;
    uint32_t *to;
    uint32_t *const end = (uint32_t *)__builtin_frame_address(0) - 8;
    for (to = __data_start; to < __data_end;) *to++ = *from++;
    for (to = __bss_start; to < __bss_end;) *to++ = 0;
    while (to < end) *to++ = STACK_PAINT;
    (void)main();
    for (;;) {
    }
}

uint32_t ehff_port_stack_bytes(void) { return (uint32_t)((uintptr_t)__stack_top - (uintptr_t)__bss_end); }

uint32_t ehff_port_stack_used(void)
{
    const volatile uint32_t *at = __bss_end;
    while (at < __stack_top && *at == STACK_PAINT) at++;
    return (uint32_t)((uintptr_t)__stack_top - (uintptr_t)at);
}

#endif
