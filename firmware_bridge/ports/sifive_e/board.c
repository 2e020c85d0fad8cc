/* SiFive HiFive1: FE310, RV32IMAC. UART0, polled: the host sends one frame at a time. */
#include "../common/port.h"

#define REG(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define UART 0x10013000u
#define UART_TXDATA REG(UART + 0x00)
#define UART_RXDATA REG(UART + 0x04)
#define UART_TXCTRL REG(UART + 0x08)
#define UART_RXCTRL REG(UART + 0x0C)
#define UART_DIV REG(UART + 0x18)
#define EMPTY_OR_FULL 0x80000000u
#define GPIO_IOF_EN REG(0x10012038u)
#define GPIO_IOF_SEL REG(0x1001203Cu)
#define CYCLES_PER_US 16u /* HFXOSC, which the boot loader leaves on */

void port_init(void)
{
    GPIO_IOF_SEL &= ~(3u << 16);
    GPIO_IOF_EN |= 3u << 16; /* pins 16 and 17: UART0 */
    UART_DIV = 138; /* 16 MHz / 115,200 - 1 */
    UART_TXCTRL = 1;
    UART_RXCTRL = 1;
}

int port_get(void)
{
    const uint32_t v = UART_RXDATA;
    return v & EMPTY_OR_FULL ? -1 : (int)(v & 255);
}

void port_idle(void) {}

void ehff_port_put(uint8_t byte)
{
    while (UART_TXDATA & EMPTY_OR_FULL) {
    }
    UART_TXDATA = byte;
}

/* Of the 64 bits of mcycle the low ones: wraps after 2^32 / 16 microseconds. */
uint32_t ehff_port_now_us(void)
{
    uint32_t cycles;
    __asm volatile("csrr %0, mcycle" : "=r"(cycles));
    return cycles / CYCLES_PER_US;
}
