/* A kernel: y[i] = sum of w[i * n + j] * x[j] over rows of n. Included once for each type of w, with DOT_NAME, DOT_TYPE
 * and DOT_VIEW(w), what counts of an element. Four rows at once share each x[j], and skip it where it is 0, as half of
 * them are after a rectifier. Where fewer rows are left, the last one stands in for those that are not there. */
static void DOT_NAME(const DOT_TYPE *w, const int16_t *x, uint32_t n, uint32_t rows, int32_t *y)
{
    const int16_t *const end = x + n;
    const size_t stride = (size_t)n;
    while (rows != 0) {
        const uint32_t at_once = rows < 4 ? rows : 4;
        const size_t second = at_once > 1 ? stride : 0, third = at_once > 2 ? second + stride : second,
                     fourth = at_once > 3 ? third + stride : third;
        const DOT_TYPE *at = w;
        const int16_t *from;
        int32_t a = 0, b = 0, c = 0, d = 0;
        for (from = x; from < end; from++, at++) {
            const int32_t v = *from;
            if (v == 0) continue;
            a += DOT_VIEW(at[0]) * v;
            b += DOT_VIEW(at[second]) * v;
            c += DOT_VIEW(at[third]) * v;
            d += DOT_VIEW(at[fourth]) * v;
        }
        y[0] = a;
        if (at_once > 1) y[1] = b;
        if (at_once > 2) y[2] = c;
        if (at_once > 3) y[3] = d;
        w += fourth + stride;
        y += at_once;
        rows -= at_once;
    }
}

#undef DOT_NAME
#undef DOT_TYPE
#undef DOT_VIEW
