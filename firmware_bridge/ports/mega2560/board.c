/* Arduino Mega 2560: ATmega2560, 8-bit AVR at 16 MHz. USART0, polled: the host sends one frame at a time. */
#include <avr/io.h>

#include "../common/port.h"

extern uint8_t __heap_start, __stack;

#define STACK_PAINT 0xA5

void port_init(void)
{
    UBRR0 = 16; /* 115,200 baud */
    UCSR0A = 1 << U2X0;
    UCSR0C = 3 << UCSZ00;
    UCSR0B = 1 << RXEN0 | 1 << TXEN0;
    TCCR1A = 0;
    TCCR1B = 5; /* 16 MHz / 1,024 */
}

int port_get(void) { return UCSR0A & 1 << RXC0 ? UDR0 : -1; }
void port_idle(void) {}

void ehff_port_put(uint8_t byte)
{
    while (!(UCSR0A & 1 << UDRE0)) {
    }
    UDR0 = byte;
}

/* In steps of 64; counts on where it is asked at least every four seconds. */
uint32_t ehff_port_now_us(void)
{
    static uint16_t wraps;
    if (TIFR1 & 1 << TOV1) {
        TIFR1 = 1 << TOV1;
        wraps++;
    }
    return ((uint32_t)wraps << 16 | TCNT1) * 64;
}

uint32_t ehff_port_stack_bytes(void) { return (uint32_t)((uint16_t)&__stack - (uint16_t)&__heap_start + 1); }

uint32_t ehff_port_stack_used(void)
{
    const volatile uint8_t *at = &__heap_start;
    while (at <= &__stack && *at == STACK_PAINT) at++;
    return (uint32_t)((uint16_t)&__stack - (uint16_t)at + 1);
}
