/* Signed products of 16 bits to 32, from the compiler's unsigned one, in the place of its own. Theirs skips over a
 * RET, which QEMU's AVR (seen in 7.2) executes wrongly; on the chip both are right.
 * r25:r22 = r27:r26 * r19:r18. Changes r0 and r1, and leaves r1 zero, as the compiler's do. */
    .section .text.multiply, "ax", @progbits
    .global __mulhisi3
    .global __usmulhisi3

__mulhisi3: /* both signed */
    call __umulhisi3
    tst r19
    brpl 1f
    sub r24, r26
    sbc r25, r27
1:  rjmp 2f

__usmulhisi3: /* r27:r26 signed, r19:r18 not */
    call __umulhisi3
2:  tst r27
    brpl 3f
    sub r24, r18
    sbc r25, r19
3:  ret
