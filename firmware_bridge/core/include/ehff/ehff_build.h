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
#ifndef EHFF_MAX_LAYERS
#define EHFF_MAX_LAYERS 32
#endif

#endif
