/* What a build holds. A board's build sets some of these to 0 (-DEHFF_WITH_INT16=0) and gets smaller; a configuration
 * that asks for what is left out is refused by ehff_net_sizes and ehff_encoder_sizes, and so by all that follows. */
#ifndef EHFF_BUILD_H
#define EHFF_BUILD_H

#ifndef EHFF_WITH_INT16
#define EHFF_WITH_INT16 1 /* the recipe EHFF_INT16 */
#endif
#ifndef EHFF_WITH_INT8_PROTOS
#define EHFF_WITH_INT8_PROTOS 1 /* proto_bits 8 */
#endif
#ifndef EHFF_WITH_MULTI
#define EHFF_WITH_MULTI 1 /* more than one prototype per class */
#endif
#ifndef EHFF_WITH_WINDOW
#define EHFF_WITH_WINDOW 1 /* EHFF_ENC_WINDOW, and the logarithm of features */
#endif
#ifndef EHFF_WITH_CONV
#define EHFF_WITH_CONV 1 /* convolutions: blobs of version 2 */
#endif
#ifndef EHFF_MAX_LAYERS
#define EHFF_MAX_LAYERS 32 /* 1: no joining by weights either */
#endif

/* Constants that an 8-bit AVR leaves in flash; elsewhere they are there anyway. */
#if defined(__FLASH) && !defined(__STRICT_ANSI__) /* a GNU extension of C */
#define EHFF_FLASH __flash
#else
#define EHFF_FLASH
#endif

/* Functions that stay functions of their own when a program is translated as one, so that they can be counted. */
#if defined(__GNUC__) && !defined(__clang__)
#define EHFF_NOINLINE __attribute__((noinline, noclone))
#else
#define EHFF_NOINLINE
#endif

/* What suits the machine; results are the same. Thumb-1 has no instruction that divides and 8 registers for most. */
#if defined(__ARM_ARCH_6M__) || defined(__AVR__)
#define EHFF_SMALL_MACHINE 1
#else
#define EHFF_SMALL_MACHINE 0
#endif
#ifndef EHFF_DIVIDES
#define EHFF_DIVIDES (!EHFF_SMALL_MACHINE) /* else shifts and subtractions, in no more time and less memory */
#endif
#ifndef EHFF_DOT_BY_COLUMNS
#define EHFF_DOT_BY_COLUMNS EHFF_SMALL_MACHINE /* sums in memory: four rows at once have too few registers */
#endif

#endif
