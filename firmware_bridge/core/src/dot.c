/* Matrix times vector, for each type that a matrix may have. */
#include "math.h"

#define DOT_NAME ehff_dot_int8
#define DOT_TYPE int8_t
#define DOT_VIEW(w) (w)
#include "dot.h"

#define DOT_NAME ehff_dot_int16
#define DOT_TYPE int16_t
#define DOT_VIEW(w) (w)
#include "dot.h"

#define DOT_NAME ehff_dot_view
#define DOT_TYPE int16_t
#define DOT_VIEW(w) (int16_t)((int16_t)((w) + 128) >> 8)
#include "dot.h"
