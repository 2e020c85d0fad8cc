/* One convolution: a matrix of weights that goes over a map, pooling, and the update from the layer's own gradient.
 * Maps are unit vectors in Q14, channels last. Nothing is unrolled: one patch at a time is copied. */
#include "step.h"

#if EHFF_WITH_CONV

static int follow(ehff_conv *c, const ehff_conv *before, uint32_t n_in, uint32_t rows)
{
    uint32_t h, w;
    if (before != NULL) {
        if (before->kind == EHFF_DENSE) return EHFF_ERR_SHAPE; /* convolutions come first */
        c->in_h = before->out_h;
        c->in_w = before->out_w;
        c->in_c = (uint16_t)(n_in / before->out_h / before->out_w);
    }
    if (c->in_h < 1 || c->in_w < 1 || c->in_c < 1 || (uint64_t)c->in_h * c->in_w * c->in_c != n_in)
        return EHFF_ERR_SHAPE;
    if (c->kernel_h < 1 || c->kernel_h > EHFF_MAX_KERNEL || c->kernel_w < 1 || c->kernel_w > EHFF_MAX_KERNEL ||
        c->stride_h < 1 || c->stride_h > EHFF_MAX_KERNEL || c->stride_w < 1 || c->stride_w > EHFF_MAX_KERNEL ||
        c->pad_h >= c->kernel_h || c->pad_w >= c->kernel_w || c->pool_h < 1 || c->pool_h > EHFF_MAX_POOL ||
        c->pool_w < 1 || c->pool_w > EHFF_MAX_POOL || c->pool_h * c->pool_w > EHFF_MAX_POOL || c->grid_h < 1 ||
        c->grid_h > EHFF_MAX_GRID || c->grid_w < 1 || c->grid_w > EHFF_MAX_GRID || c->reserved != 0)
        return EHFF_ERR_RANGE;
    if (c->kind > EHFF_DEPTHWISE || c->pool > EHFF_POOL_MEAN ||
        (c->pool == EHFF_POOL_NONE) != (c->pool_h * c->pool_w == 1))
        return EHFF_ERR_RANGE;
    h = (uint32_t)c->in_h + 2 * (uint32_t)c->pad_h;
    w = (uint32_t)c->in_w + 2 * (uint32_t)c->pad_w;
    if (h < c->kernel_h || w < c->kernel_w) return EHFF_ERR_SHAPE;
    h = ((h - c->kernel_h) / c->stride_h + 1) / c->pool_h;
    w = ((w - c->kernel_w) / c->stride_w + 1) / c->pool_w;
    if (h < c->grid_h || w < c->grid_w || h > UINT16_MAX || w > UINT16_MAX) return EHFF_ERR_SHAPE;
    c->out_h = (uint16_t)h;
    c->out_w = (uint16_t)w;
    if (h > EHFF_MAX_DIM / rows / w || ehff_conv_fan_in(c) > EHFF_MAX_DIM) return EHFF_ERR_SHAPE;
    return c->kind == EHFF_DEPTHWISE && rows != c->in_c ? EHFF_ERR_SHAPE : EHFF_OK;
}

int ehff_conv_follow(ehff_conv *c, const ehff_conv *before, uint32_t n_in, uint32_t rows)
{
    if (c->kind != EHFF_DENSE) return follow(c, before, n_in, rows);
    if (before == NULL) return EHFF_ERR_SHAPE; /* else the network is dense, and has no table */
    *c = (ehff_conv){0};
    return EHFF_OK;
}

uint32_t ehff_conv_fan_in(const ehff_conv *c)
{
    return (uint32_t)c->kernel_h * c->kernel_w * (c->kind == EHFF_DEPTHWISE ? 1 : c->in_c);
}

/* 32-bit words behind the map while it is made: a patch, and before pooling one position's outputs. */
static uint32_t patch_words(const ehff_conv *c) { return (ehff_conv_fan_in(c) + 1) / 2; }

static void most(uint32_t *a, uint32_t b)
{
    if (b > *a) *a = b;
}

void ehff_conv_need(const ehff_conv *c, uint32_t rows, ehff_conv_needs *needs)
{
    const uint32_t elements = ehff_conv_elements(c, rows), head = rows * c->grid_h * c->grid_w;
    most(&needs->acc, elements + patch_words(c) + (c->pool == EHFF_POOL_NONE ? 0 : rows));
    most(&needs->acc, head + ehff_conv_fan_in(c) + patch_words(c));
    most(&needs->map, elements);
    most(&needs->head, head);
    if (c->pool != EHFF_POOL_NONE) most(&needs->route, elements);
}

/* Where a window's position k lies: its first input row and column, which padding may put before the map. */
typedef struct {
    int32_t row, col;
} corner;

static corner corner_of(const ehff_conv *c, uint32_t y, uint32_t x, uint32_t k)
{
    corner at;
    at.row = (int32_t)((y * c->pool_h + k / c->pool_w) * c->stride_h) - c->pad_h;
    at.col = (int32_t)((x * c->pool_w + k % c->pool_w) * c->stride_w) - c->pad_w;
    return at;
}

/* The columns first <= j < last of a kernel lie on the map. */
static int32_t first_of(int32_t at) { return at < 0 ? -at : 0; }
static int32_t last_of(int32_t at, uint32_t kernel, uint32_t size)
{
    const int32_t rest = (int32_t)size - at;
    return rest < (int32_t)kernel ? rest : (int32_t)kernel;
}

static void copy_patch(const ehff_conv *c, corner at, const int16_t *x, int16_t *patch)
{
    const int32_t first = first_of(at.col), last = last_of(at.col, c->kernel_w, c->in_w);
    const uint32_t run = c->kernel_w * (uint32_t)c->in_c, from = (uint32_t)first * c->in_c,
                   to = (uint32_t)last * c->in_c;
    uint32_t i, j;
    for (i = 0; i < c->kernel_h; i++, patch += run) {
        const int32_t row = at.row + (int32_t)i;
        if (row < 0 || row >= c->in_h) {
            for (j = 0; j < run; j++) patch[j] = 0;
        } else {
            const int16_t *source = x + (uint32_t)(row * c->in_w + at.col + first) * c->in_c;
            for (j = 0; j < from; j++) patch[j] = 0;
            for (; j < to; j++) patch[j] = *source++;
            for (; j < run; j++) patch[j] = 0;
        }
    }
}

/* What the forward pass sees of weight i. */
static int32_t weight_of(const ehff_net *net, const void *weights, uint32_t i)
{
    return ehff_is_int8(net) ? ((const int8_t *)weights)[i] : (((const int16_t *)weights)[i] + 128) >> 8;
}

static void depthwise(const ehff_net *net, const void *weights, const ehff_conv *c, corner at, const int16_t *x,
                      int32_t *y)
{
    const uint32_t n = c->in_c;
    uint32_t i, o;
    int32_t j;
    for (o = 0; o < n; o++) y[o] = 0;
    for (i = 0; i < c->kernel_h; i++) {
        const int32_t row = at.row + (int32_t)i, last = last_of(at.col, c->kernel_w, c->in_w);
        if (row < 0 || row >= c->in_h) continue;
        for (j = first_of(at.col); j < last; j++) {
            const int16_t *source = x + (uint32_t)(row * c->in_w + at.col + j) * n;
            const uint32_t tap = i * c->kernel_w + (uint32_t)j, taps = ehff_conv_fan_in(c);
            for (o = 0; o < n; o++) y[o] += weight_of(net, weights, o * taps + tap) * source[o];
        }
    }
}

static int32_t log2_up(uint32_t n)
{
    int32_t bits = 0;
    for (n--; n != 0; n >>= 1) bits++;
    return bits;
}

/* The rectified and pooled map, and all its bits or-ed. A patch is part of a unit vector: bounds as of a dense layer.
 * The mean of a window is the sum of rounded shares, so that it is no larger than what it is the mean of. */
uint32_t ehff_conv_forward(const ehff_net *net, const ehff_layer *layer, const ehff_conv *c, const int16_t *x,
                           int32_t *acc, uint16_t *route)
{
    const uint32_t rows = layer->n_out, n = layer->n_in, window = (uint32_t)c->pool_h * c->pool_w;
    const int32_t share = c->pool == EHFF_POOL_MEAN ? log2_up(window) : 0;
    const void *weights = ehff_at(net, layer->weights);
    int32_t *const behind = acc + ehff_conv_elements(c, rows);
    int16_t *const patch = (int16_t *)behind;
    uint32_t h, w, k, o, bits = 0;
    for (h = 0; h < c->out_h; h++)
        for (w = 0; w < c->out_w; w++, acc += rows, route += rows) {
            int32_t *const y = window == 1 ? acc : behind + patch_words(c);
            for (k = 0; k < window; k++) {
                const corner at = corner_of(c, h, w, k);
                if (c->kind == EHFF_DEPTHWISE) {
                    depthwise(net, weights, c, at, x, y);
                } else {
                    copy_patch(c, at, x, patch);
                    if (ehff_is_int8(net))
                        ehff_dot_int8((const int8_t *)weights, patch, n, rows, y);
                    else
                        ehff_dot_view((const int16_t *)weights, patch, n, rows, y);
                }
                if (c->pool == EHFF_POOL_NONE) {
                    for (o = 0; o < rows; o++)
                        if (y[o] < 0) y[o] = 0;
                } else if (c->pool == EHFF_POOL_MAX) {
                    for (o = 0; o < rows; o++) {
                        if (k == 0) acc[o] = 0, route[o] = 0;
                        if (y[o] > acc[o]) acc[o] = y[o], route[o] = (uint16_t)k;
                    }
                } else {
                    for (o = 0; o < rows; o++) {
                        if (k == 0) acc[o] = 0, route[o] = 0;
                        if (y[o] > 0) acc[o] += ehff_round_shift(y[o], share), route[o] |= (uint16_t)((uint32_t)1 << k);
                    }
                }
            }
            for (o = 0; o < rows; o++) bits |= (uint32_t)acc[o];
        }
    return bits;
}

/* The cell of the grid that a position lies in. */
static uint32_t cell_of(const ehff_conv *c, uint32_t h, uint32_t w)
{
    return h * c->grid_h / c->out_h * c->grid_w + w * c->grid_w / c->out_w;
}

/* sum[cell][channel] = sum of u over the cell's positions: below 2^22.1, by Cauchy-Schwarz. */
void ehff_conv_sum(const ehff_conv *c, uint32_t rows, const int16_t *u, int32_t *sum)
{
    uint32_t h, w, o;
    for (o = 0; o < rows * c->grid_h * c->grid_w; o++) sum[o] = 0;
    for (h = 0; h < c->out_h; h++)
        for (w = 0; w < c->out_w; w++) {
            int32_t *at = sum + cell_of(c, h, w) * rows;
            for (o = 0; o < rows; o++) *at++ += *u++;
        }
}

/* gradient += q * patch of channel o.  |q| <= 256. An input meets a weight once: by Cauchy-Schwarz over the positions
 * |gradient| <= 256 * sqrt(65536) * 2^14 * 1.02 < 2^30.1, and so is every partial sum's bound. */
static void add_patch(const ehff_conv *c, corner at, uint32_t o, const int16_t *x, int32_t q, int32_t *gradient)
{
    const int32_t first = first_of(at.col), last = last_of(at.col, c->kernel_w, c->in_w);
    const uint32_t width = c->kind == EHFF_DEPTHWISE ? 1 : c->in_c;
    const int16_t factor = (int16_t)q;
    uint32_t i, k;
    int32_t j;
    for (i = 0; i < c->kernel_h; i++) {
        const int32_t row = at.row + (int32_t)i;
        const int16_t *source;
        int32_t *to = gradient + (i * c->kernel_w + (uint32_t)first) * width;
        if (row < 0 || row >= c->in_h) continue;
        source = x + (uint32_t)(row * c->in_w + at.col + first) * c->in_c;
        if (c->kind == EHFF_DEPTHWISE) {
            for (j = first; j < last; j++, source += c->in_c) *to++ += (int32_t)factor * source[o];
        } else {
            const uint32_t n = (uint32_t)(last - first) * width;
            for (k = 0; k < n; k++) to[k] += (int32_t)factor * source[k];
        }
    }
}

/* Channel o's gradient over all positions that were active, each weighted by its cell's t in 9 bits, t / 2^down. Where
 * none was active (dead), every window counts through its first position, and only where the step would raise. */
static void gradient_of(const ehff_conv *c, uint32_t rows, uint32_t o, int dead, const int16_t *x, const int16_t *u,
                        const uint16_t *route, const int32_t *t, int32_t down, int32_t *gradient)
{
    const uint32_t window = (uint32_t)c->pool_h * c->pool_w;
    uint32_t h, w, k, at = o;
    for (h = 0; h < c->out_h; h++)
        for (w = 0; w < c->out_w; w++, at += rows) {
            const int32_t of_cell = t[cell_of(c, h, w) * rows + o];
            const int32_t q = dead && of_cell > 0 ? 0 : down > 0 ? ((of_cell >> (down - 1)) + 1) >> 1 : of_cell;
            if (q == 0 || (u[at] == 0 && !dead)) continue;
            if (dead)
                add_patch(c, corner_of(c, h, w, 0), o, x, q, gradient);
            else if (c->pool == EHFF_POOL_MEAN)
                for (k = 0; k < window; k++) {
                    if (route[at] >> k & 1) add_patch(c, corner_of(c, h, w, k), o, x, q, gradient);
                }
            else
                add_patch(c, corner_of(c, h, w, c->pool == EHFF_POOL_MAX ? route[at] : 0), o, x, q, gradient);
        }
}

/* The gradient as mantissas of 14 bits: g * 2^up. Returns 0 where all of it is zero. */
static int mantissas(const int32_t *gradient, uint32_t n, int16_t *g, int32_t *up)
{
    uint32_t j, bits = 0;
    int32_t s = -13;
    for (j = 0; j < n; j++) bits |= ehff_magnitude(gradient[j]);
    if (bits == 0) return 0;
    for (j = bits; j > 1; j >>= 1) s++;
    for (j = 0; j < n; j++)
        g[j] = (int16_t)(s > 0 ? ehff_round_shift(gradient[j], s) : gradient[j] * (int32_t)((uint32_t)1 << -s));
    *up = s;
    return 1;
}

static int is_dead(const ehff_conv *c, uint32_t rows, uint32_t o, const int16_t *u)
{
    const uint32_t n = ehff_conv_elements(c, rows);
    for (; o < n; o += rows)
        if (u[o] != 0) return 0;
    return 1;
}

/* As of a dense layer, with the sum over positions of t * patch in the place of t * x. t: the head's elements, Q29, and
 * behind them room for the gradient of a row and its mantissas.  norm: length of the sum over the grid, Q8, for an input of length 1. */
void ehff_conv_learn(const ehff_net *net, const ehff_layer *layer, const ehff_conv *c, uint32_t index, const int16_t *x,
                     const int16_t *u, const uint16_t *route, int32_t *t, uint32_t norm)
{
    const uint32_t rows = layer->n_out, cells = (uint32_t)c->grid_h * c->grid_w;
    int32_t *const gradient = t + rows * cells;
    int16_t *const g = (int16_t *)(gradient + layer->n_in);
    uint32_t o, i, factor = 0, tenth, key;
    int32_t shift = 0;
    if (!step_factor(net, layer, norm, &factor, &shift)) return;
    if (c->pool == EHFF_POOL_MEAN) shift += log2_up((uint32_t)c->pool_h * c->pool_w);
    tenth = step_tenth(factor);
    key = ehff_layer_key(net->seed, net->step, index);
    for (o = 0; o < rows; o++) {
        const int dead = is_dead(c, rows, o, u);
        uint32_t bits = 0;
        int32_t down = 0, up, own;
        if (dead && !(net->flags & EHFF_REVIVE)) continue;
        for (i = 0; i < cells; i++)
            if (!dead || t[i * rows + o] < 0) bits |= ehff_magnitude(t[i * rows + o]);
        for (; bits >> 8; bits >>= 1) down++;
        for (i = 0; i < layer->n_in; i++) gradient[i] = 0;
        gradient_of(c, rows, o, dead, x, u, route, t, down, gradient);
        if (!mantissas(gradient, layer->n_in, g, &up)) continue;
        own = shift + 30 - down - up; /* 2^(down + up) in the place of t, as 2^30 */
        if (own > 47) continue;
        own = ehff_scaled(1 << 14, 0, dead ? tenth : factor, own < 0 ? 0 : own);
        if (own != 0) step_row(net, layer, o, g, own, key);
    }
}

#endif
