/* Registers of a Cortex-M, and its sleep. */
#ifndef CORTEXM_H
#define CORTEXM_H

#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(uintptr_t)(address))

static inline void cortexm_enable_irq(uint32_t number)
{
    REG(0xE000E100u + number / 32 * 4) = (uint32_t)1 << (number % 32);
}

/* Sleeps where the ring is empty; an interrupt that comes in between still ends the sleep. */
#define CORTEXM_IDLE()                                  \
    do {                                                \
        __asm volatile("cpsid i" ::: "memory");         \
        if (ring_in == ring_out) __asm volatile("wfi"); \
        __asm volatile("cpsie i" ::: "memory");         \
    } while (0)

#endif
