/* Start-up of every Cortex-M board. UART_IRQ: the number of the one interrupt in use. */
#include "start.h"

void uart_interrupt(void);
void fault(void);

void fault(void)
{
    for (;;) {
    }
}

typedef union {
    uint32_t *stack;
    void (*entry)(void);
} vector;

/* The system's 16, then the interrupts up to the UART's. */
__attribute__((section(".vectors"), used)) const vector vectors[16 + UART_IRQ + 1] = {
    {.stack = __stack_top},
    {.entry = start},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    {.entry = fault},
    [16 + UART_IRQ] = {.entry = uart_interrupt},
};
