/* The model that the firmware was built with: factory.c is made by the build. */
#ifndef FACTORY_H
#define FACTORY_H

#include "ehff/ehff_port.h"

extern const EHFF_FLASH uint8_t factory_blob[];
extern const EHFF_FLASH uint32_t factory_bytes;

static inline void factory_read(uint32_t at, uint8_t *bytes, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < n; i++) bytes[i] = factory_blob[at + i];
}

#endif
