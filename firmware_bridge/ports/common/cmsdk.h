/* UART0 and timer 0 of Arm's CMSDK, on the FPGA images. The board's file defines UART, TIMER and MHZ. */
#include "cortexm.h"
#include "port.h"
#include "ring.h"

#define UART_DATA REG(UART + 0x00)
#define UART_STATE REG(UART + 0x04)
#define UART_CTRL REG(UART + 0x08)
#define UART_INTCLEAR REG(UART + 0x0C)
#define UART_BAUDDIV REG(UART + 0x10)
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u

#define TIMER_CTRL REG(TIMER + 0x00)
#define TIMER_VALUE REG(TIMER + 0x04)
#define TIMER_RELOAD REG(TIMER + 0x08)

void uart_interrupt(void);

void port_init(void)
{
    UART_BAUDDIV = (MHZ * 1000000u + 57600u) / 115200u;
    UART_CTRL = 1u | 2u | 8u; /* send, receive, interrupt for a byte received */
    cortexm_enable_irq(UART_IRQ);
    TIMER_RELOAD = 0xFFFFFFFFu;
    TIMER_VALUE = 0xFFFFFFFFu;
    TIMER_CTRL = 1;
}

void uart_interrupt(void)
{
    UART_INTCLEAR = 2;
    while (UART_STATE & STATE_RX_FULL) ring_put((uint8_t)UART_DATA);
}

int port_get(void) { return ring_get(); }
void port_idle(void) { CORTEXM_IDLE(); }

void ehff_port_put(uint8_t byte)
{
    while (UART_STATE & STATE_TX_FULL) {
    }
    UART_DATA = byte;
}

/* Counts down; wraps after 2^32 / MHZ microseconds. */
uint32_t ehff_port_now_us(void) { return (0xFFFFFFFFu - TIMER_VALUE) / MHZ; }
