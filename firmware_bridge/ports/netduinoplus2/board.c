/* Netduino Plus 2: STM32F405, Cortex-M4F. USART1 on PB6 and PB7; the core runs on its 16 MHz oscillator. */
#include "../common/cortexm.h"
#include "../common/port.h"
#include "../common/ring.h"

#define USART 0x40011000u
#define USART_SR REG(USART + 0x00)
#define USART_DR REG(USART + 0x04)
#define USART_BRR REG(USART + 0x08)
#define USART_CR1 REG(USART + 0x0C)
#define SR_RXNE 0x20u
#define SR_TXE 0x80u

#define RCC_AHB1ENR REG(0x40023830u)
#define RCC_APB1ENR REG(0x40023840u)
#define RCC_APB2ENR REG(0x40023844u)
#define GPIOB_MODER REG(0x40020400u)
#define GPIOB_AFRL REG(0x40020420u)

#define TIM2 0x40000000u
#define TIM2_CR1 REG(TIM2 + 0x00)
#define TIM2_EGR REG(TIM2 + 0x14)
#define TIM2_CNT REG(TIM2 + 0x24)
#define TIM2_PSC REG(TIM2 + 0x28)
#define TIM2_ARR REG(TIM2 + 0x2C)

void uart_interrupt(void);

void port_init(void)
{
    RCC_AHB1ENR |= 1u << 1; /* GPIOB */
    RCC_APB2ENR |= 1u << 4; /* USART1 */
    RCC_APB1ENR |= 1u << 0; /* TIM2 */
    GPIOB_MODER = (GPIOB_MODER & ~(15u << 12)) | 10u << 12; /* PB6, PB7: alternate function */
    GPIOB_AFRL = (GPIOB_AFRL & ~(255u << 24)) | 0x77u << 24; /* 7: USART1 */
    USART_BRR = 139; /* 16 MHz / 115,200 */
    USART_CR1 = 0x202Cu; /* on, send, receive, interrupt for a byte received */
    cortexm_enable_irq(UART_IRQ);
    TIM2_PSC = 15;
    TIM2_ARR = 0xFFFFFFFFu;
    TIM2_EGR = 1;
    TIM2_CR1 = 1;
}

void uart_interrupt(void)
{
    while (USART_SR & SR_RXNE) ring_put((uint8_t)USART_DR);
}

int port_get(void) { return ring_get(); }
void port_idle(void) { CORTEXM_IDLE(); }

void ehff_port_put(uint8_t byte)
{
    while (!(USART_SR & SR_TXE)) {
    }
    USART_DR = byte;
}

uint32_t ehff_port_now_us(void) { return TIM2_CNT; }
