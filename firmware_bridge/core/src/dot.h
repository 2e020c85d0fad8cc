/* The body of a kernel, included by dot.c for each type of w, with DOT_NAME, DOT_TYPE and DOT_VIEW(w), what counts of an
 * element. Where x[j] is 0, as half of them are after a rectifier, it is skipped. */
#if EHFF_DOT_BY_COLUMNS
void DOT_NAME(const DOT_TYPE *w, const int16_t *x, uint32_t n, uint32_t rows, int32_t *y)
{
    const int16_t *const end = x + n;
    int32_t *const last = y + rows, *sum;
    for (sum = y; sum < last; sum++) *sum = 0;
    for (; x < end; x++, w++) {
        const DOT_TYPE *at = w;
        const int32_t v = *x;
        if (v == 0) continue;
        sum = y;
        do {
            *sum++ += DOT_VIEW(*at) * v;
            at += (size_t)n;
        } while (sum < last);
    }
}
#else
/* Four rows at once share each x[j]. Where fewer are left, the first of them stands in for those that are not there. */
void DOT_NAME(const DOT_TYPE *w, const int16_t *x, uint32_t n, uint32_t rows, int32_t *y)
{
    const int16_t *const end = x + n;
    const size_t stride = (size_t)n;
    for (;;) {
        const size_t second = rows > 1 ? stride : 0, third = rows > 2 ? 2 * stride : 0,
                     fourth = rows > 3 ? 3 * stride : 0;
        const DOT_TYPE *at = w;
        const int16_t *from = x;
        int32_t a = 0, b = 0, c = 0, d = 0;
        do {
            const int32_t v = *from++;
            if (v != 0) {
                a += DOT_VIEW(at[0]) * v;
                b += DOT_VIEW(at[second]) * v;
                c += DOT_VIEW(at[third]) * v;
                d += DOT_VIEW(at[fourth]) * v;
            }
            at++;
        } while (from < end);
        *y++ = a;
        if (rows > 1) *y++ = b;
        if (rows > 2) *y++ = c;
        if (rows > 3) *y++ = d;
        if (rows <= 4) return;
        rows -= 4;
        w += 4 * stride;
    }
}
#endif

#undef DOT_NAME
#undef DOT_TYPE
#undef DOT_VIEW
