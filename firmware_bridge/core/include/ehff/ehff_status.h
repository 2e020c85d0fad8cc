/* Statuses, defined once: the enum, its texts and the Python exceptions come from this list. */
#ifndef EHFF_STATUS_H
#define EHFF_STATUS_H

#define EHFF_STATUS_LIST(X)                                                      \
    X(EHFF_OK, 0, "ok")                                                          \
    X(EHFF_ERR_NULL, -1, "a required pointer is NULL")                           \
    X(EHFF_ERR_SHAPE, -2, "sizes do not fit together or exceed the limits")      \
    X(EHFF_ERR_RANGE, -3, "a value lies outside its declared range")             \
    X(EHFF_ERR_ARENA, -4, "the buffer is too small or not aligned for uint32_t") \
    X(EHFF_ERR_STATE, -5, "the arena holds no initialized network")              \
    X(EHFF_ERR_LABEL, -6, "the label is not below the number of classes")        \
    X(EHFF_ERR_FROZEN, -7, "int8 prototypes are for inference, not to train")    \
    X(EHFF_ERR_FORMAT, -8, "not an ehff blob, or of another format version")     \
    X(EHFF_ERR_CRC, -9, "the checksum does not match the bytes")

#define EHFF_STATUS_ENUM(name, value, text) name = value,
typedef enum { EHFF_STATUS_LIST(EHFF_STATUS_ENUM) EHFF_STATUS_END_ = 1 } ehff_status;
#undef EHFF_STATUS_ENUM

#endif
