/* Arm MPS2, FPGA image AN386: Cortex-M4 at 25 MHz. UART0 and timer 0 of the CMSDK. */
#include "../common/cortexm.h"
#include "../common/port.h"
#include "../common/ring.h"

#define UART 0x40004000u
#define UART_DATA REG(UART + 0x00)
#define UART_STATE REG(UART + 0x04)
#define UART_CTRL REG(UART + 0x08)
#define UART_INTCLEAR REG(UART + 0x0C)
#define UART_BAUDDIV REG(UART + 0x10)
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u

#define TIMER 0x40000000u
#define TIMER_CTRL REG(TIMER + 0x00)
#define TIMER_VALUE REG(TIMER + 0x04)
#define TIMER_RELOAD REG(TIMER + 0x08)
#define MHZ 25u

void uart_interrupt(void);

void port_init(void)
{
    UART_BAUDDIV = 217; /* 25 MHz / 115,200 */
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

/* Counts down; wraps after 2^32 / 25 microseconds. */
uint32_t ehff_port_now_us(void) { return (0xFFFFFFFFu - TIMER_VALUE) / MHZ; }
