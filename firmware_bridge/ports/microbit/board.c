/* BBC micro:bit: nRF51822, Cortex-M0 at 16 MHz. UART on the pins of the USB interface, 115,200 baud. */
#include "../common/cortexm.h"
#include "../common/factory.h"
#include "../common/port.h"
#include "../common/ring.h"

#define CLOCK_HFCLKSTART REG(0x40000000u)
#define CLOCK_HFCLKSTARTED REG(0x40000100u)

#define UART 0x40002000u
#define UART_STARTRX REG(UART + 0x000)
#define UART_STARTTX REG(UART + 0x008)
#define UART_RXDRDY REG(UART + 0x108)
#define UART_TXDRDY REG(UART + 0x11C)
#define UART_INTENSET REG(UART + 0x304)
#define UART_ENABLE REG(UART + 0x500)
#define UART_PSELTXD REG(UART + 0x50C)
#define UART_PSELRXD REG(UART + 0x514)
#define UART_RXD REG(UART + 0x518)
#define UART_TXD REG(UART + 0x51C)
#define UART_BAUDRATE REG(UART + 0x524)

#define TIMER 0x40008000u
#define TIMER_START REG(TIMER + 0x000)
#define TIMER_CAPTURE0 REG(TIMER + 0x040)
#define TIMER_BITMODE REG(TIMER + 0x508)
#define TIMER_PRESCALER REG(TIMER + 0x510)
#define TIMER_CC0 REG(TIMER + 0x540)

#define NVMC_READY REG(0x4001E400u)
#define NVMC_CONFIG REG(0x4001E504u)
#define NVMC_ERASEPAGE REG(0x4001E508u)
#define NVMC_READ 0u
#define NVMC_WRITE 1u
#define NVMC_ERASE 2u

#define SLOTS 0x38000u
#define SLOT_BYTES 0x4000u
#define PAGE_BYTES 0x400u

void uart_interrupt(void);

void port_init(void)
{
    CLOCK_HFCLKSTART = 1; /* the crystal: the built-in oscillator is too rough for a UART */
    while (!CLOCK_HFCLKSTARTED) {
    }
    UART_PSELTXD = 24;
    UART_PSELRXD = 25;
    UART_BAUDRATE = 0x01D7E000u;
    UART_ENABLE = 4;
    UART_STARTTX = 1;
    UART_STARTRX = 1;
    UART_RXDRDY = 0;
    UART_INTENSET = 4;
    cortexm_enable_irq(UART_IRQ);
    TIMER_BITMODE = 3; /* 32 bits */
    TIMER_PRESCALER = 4; /* 16 MHz / 2^4 */
    TIMER_START = 1;
}

/* The event goes before the byte: another byte that waits behind this one sets it again. */
void uart_interrupt(void)
{
    while (UART_RXDRDY) {
        UART_RXDRDY = 0;
        ring_put((uint8_t)UART_RXD);
    }
}

int port_get(void) { return ring_get(); }
void port_idle(void) { CORTEXM_IDLE(); }

void ehff_port_put(uint8_t byte)
{
    UART_TXDRDY = 0;
    UART_TXD = byte;
    while (!UART_TXDRDY) {
    }
}

uint32_t ehff_port_now_us(void)
{
    TIMER_CAPTURE0 = 1;
    return TIMER_CC0;
}

uint32_t ehff_port_slot_bytes(uint8_t slot) { return slot == EHFF_SLOT_FACTORY ? factory_bytes : SLOT_BYTES; }

int ehff_port_slot_read(uint8_t slot, uint32_t at, uint8_t *bytes, uint32_t n)
{
    const volatile uint8_t *from = (const volatile uint8_t *)(uintptr_t)(SLOTS + slot * SLOT_BYTES + at);
    uint32_t i;
    if (slot == EHFF_SLOT_FACTORY)
        factory_read(at, bytes, n);
    else
        for (i = 0; i < n; i++) bytes[i] = from[i];
    return 0;
}

static void nvmc_wait(void)
{
    while (!NVMC_READY) {
    }
}

int ehff_port_slot_erase(uint8_t slot)
{
    const uint32_t start = SLOTS + slot * SLOT_BYTES;
    uint32_t page;
    NVMC_CONFIG = NVMC_ERASE;
    for (page = start; page < start + SLOT_BYTES; page += PAGE_BYTES) {
        NVMC_ERASEPAGE = page;
        nvmc_wait();
    }
    NVMC_CONFIG = NVMC_READ;
    return 0;
}

int ehff_port_slot_write(uint8_t slot, uint32_t at, const uint8_t *bytes, uint32_t n)
{
    const uint32_t start = SLOTS + slot * SLOT_BYTES + at;
    uint32_t i;
    NVMC_CONFIG = NVMC_WRITE;
    for (i = 0; i < n; i += 4) {
        REG(start + i) = (uint32_t)bytes[i] | (uint32_t)bytes[i + 1] << 8 | (uint32_t)bytes[i + 2] << 16 |
                         (uint32_t)bytes[i + 3] << 24;
        nvmc_wait();
    }
    NVMC_CONFIG = NVMC_READ;
    return 0;
}
