/* Between the clearing of memory and main: 0xA5 over the free stack, so that its use can be read later. */
    .section .init5, "ax", @progbits
    ldi r30, lo8(__heap_start)
    ldi r31, hi8(__heap_start)
    ldi r24, 0xA5
    ldi r25, hi8(__stack)
    rjmp 2f
1:  st Z+, r24
2:  cpi r30, lo8(__stack)
    cpc r31, r25
    brlo 1b
    breq 1b
