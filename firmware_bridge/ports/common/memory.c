/* What a compiler may call although nothing here does: without a C library there is no other. */
#include <stddef.h>
#include <stdint.h>

__attribute__((used)) void *memcpy(void *to, const void *from, size_t n);
__attribute__((used)) void *memmove(void *to, const void *from, size_t n);
__attribute__((used)) void *memset(void *to, int value, size_t n);

void *memcpy(void *to, const void *from, size_t n)
{
    uint8_t *t = (uint8_t *)to;
    const uint8_t *f = (const uint8_t *)from;
    while (n-- > 0) *t++ = *f++;
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    uint8_t *t = (uint8_t *)to;
    const uint8_t *f = (const uint8_t *)from;
    if (t < f) return memcpy(to, from, n);
    while (n-- > 0) t[n] = f[n];
    return to;
}

void *memset(void *to, int value, size_t n)
{
    uint8_t *t = (uint8_t *)to;
    while (n-- > 0) *t++ = (uint8_t)value;
    return to;
}
