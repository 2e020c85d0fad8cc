/* Start-up of a RISC-V board: gp and sp, then memory. */
#include "start.h"

void fault(void);

__attribute__((aligned(4), used)) void fault(void)
{
    for (;;) {
    }
}

__attribute__((naked, section(".init"), used)) void _start(void);

__attribute__((naked, section(".init"), used)) void _start(void)
{
    __asm volatile(".option push\n.option norelax\nla gp, __global_pointer$\n.option pop\n"
                   "la sp, __stack_top\nla t0, fault\ncsrw mtvec, t0\nj start\n");
}
