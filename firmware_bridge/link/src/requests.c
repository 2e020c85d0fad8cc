/* What each request does. Bodies lie in the frame: a request's from byte 8, its reply's from byte 12 on. */
#include "link.h"

/* The request under way. reply starts 4 bytes behind body in the same memory: read body before writing reply. */
typedef struct {
    ehff_link *link;
    uint8_t *body, *reply;
    uint32_t n; /* bytes of body */
    uint32_t room; /* bytes that a reply may have */
    uint32_t length; /* bytes that it has */
} exchange;

uint8_t link_flags(const ehff_link *link)
{
    uint8_t flags = link_has_model(link) ? EHFF_LINK_HAS_MODEL : 0;
#if EHFF_LINK_STORAGE
    uint32_t sequence;
    if (ehff_port_slot_bytes(0) != 0) flags |= EHFF_LINK_HAS_STORAGE;
    if (ehff_port_slot_bytes(EHFF_SLOT_FACTORY) != 0) flags |= EHFF_LINK_HAS_FACTORY;
    if (slots_find(0, &sequence) >= 0) flags |= EHFF_LINK_HAS_SAVED;
#endif
    return flags;
}

static int hello(exchange *x)
{
    const ehff_link *link = x->link;
    uint8_t *b = x->reply;
    uint32_t i = 0;
    b[0] = EHFF_LINK_VERSION;
    b[1] = EHFF_BLOB_VERSION;
    b = link_put16(link_put16(b + 2, link->frame_bytes), link->ring_bytes);
    *b++ = EHFF_LINK_WINDOW;
    *b++ = link_flags(link);
    b = link_put32(link_put32(b, link->session_before), link->arena_bytes);
    b = link_put32(link_put32(b, ehff_port_stack_bytes()), ehff_port_stack_used());
    for (; link->name[i] != 0 && 24 + i < x->room; i++) b[i] = (uint8_t)link->name[i];
    x->length = 24 + i;
    return EHFF_OK;
}

/* Offset 0 starts a model, the last piece ends it; in between there is none. */
static int push(exchange *x)
{
    ehff_link *link = x->link;
    const uint32_t offset = x->n < 4 ? 0 : link_get32(x->body);
    int status;
    if (x->n < 5) return EHFF_LINK_ERR_LENGTH;
    if (offset == 0) {
        status = ehff_load_begin(&link->loader, &link->model, x->body + 4, x->n - 4, link->arena, link->arena_bytes);
    } else {
        if (link->loader.blob_bytes == 0 || offset != link->loader.at) return EHFF_LINK_ERR_OFFSET;
        status = ehff_load_bytes(&link->loader, x->body + 4, x->n - 4);
    }
    (void)link_put32(x->reply, link->loader.at);
    x->length = 4;
    if (status == EHFF_OK && link->loader.at == link->loader.blob_bytes) status = ehff_load_end(&link->loader);
    return status;
}

static const ehff_encoder *encoder_of(const ehff_link *link)
{
    return link->model.has_encoder ? &link->model.encoder : NULL;
}

static int pull(exchange *x)
{
    const ehff_link *link = x->link;
    const uint32_t whole = ehff_net_blob_bytes(link->model.net, encoder_of(link));
    uint32_t offset, n;
    if (x->n != 6) return EHFF_LINK_ERR_LENGTH;
    offset = link_get32(x->body);
    n = link_get16(x->body + 4);
    if (offset > whole) return EHFF_LINK_ERR_OFFSET;
    if (n > whole - offset) n = whole - offset;
    if (n > x->room - 4) n = x->room - 4;
    (void)link_put32(x->reply, whole);
    x->length = 4 + n;
    return ehff_blob_read(link->model.net, encoder_of(link), offset, x->reply + 4, n);
}

static int train(exchange *x)
{
    uint16_t predicted = 0;
    int status;
    if (x->n < 4) return EHFF_LINK_ERR_LENGTH;
    status = ehff_model_train(&x->link->model, x->body + 4, x->n - 4, (uint16_t)link_get16(x->body), &predicted);
    (void)link_put32(x->reply, predicted);
    x->length = 4;
    return status;
}

/* Scores are asked for by a flag; they take the place of the raw sample, which has been read by then. */
static int predict(exchange *x)
{
    ehff_model *model = &x->link->model;
    const uint32_t wanted = x->n < 4 ? 0 : link_get16(x->body) & 1;
    int32_t *score = (int32_t *)(void *)(x->reply + 4);
    uint16_t label = 0, n_classes = 0;
    uint32_t c;
    int status;
    if (x->n < 4) return EHFF_LINK_ERR_LENGTH;
    if (wanted) {
        n_classes = model->n_classes;
        if (4 + 4 * (uint32_t)n_classes > x->room) return EHFF_LINK_ERR_LENGTH;
    }
    status = ehff_model_predict(model, x->body + 4, x->n - 4, &label, wanted ? score : NULL);
    (void)link_put16(link_put16(x->reply, label), n_classes);
    for (c = 0; c < n_classes; c++) (void)link_put32((uint8_t *)&score[c], (uint32_t)score[c]);
    x->length = 4 + 4 * (uint32_t)n_classes;
    return status;
}

static int crc(exchange *x)
{
    const ehff_net *net = x->link->model.net;
    (void)link_put32(link_put32(x->reply, ehff_net_weights_crc32(net)), ehff_net_state_crc32(net));
    x->length = 8;
    return EHFF_OK;
}

#if EHFF_LINK_STORAGE
int link_load(ehff_link *link, uint8_t which, uint32_t *sequence)
{
    const int slot = which == EHFF_LOAD_FACTORY ? EHFF_SLOT_FACTORY
                     : which > EHFF_LOAD_BEFORE ? -1
                                                : slots_find(which == EHFF_LOAD_BEFORE, sequence);
    uint32_t at, n, bytes, start;
    int status = EHFF_OK;
    if (slot < 0 || ehff_port_slot_bytes((uint8_t)slot) == 0) return EHFF_LINK_ERR_EMPTY;
    if (slot == EHFF_SLOT_FACTORY) *sequence = 0;
    start = slots_blob((uint8_t)slot, &bytes);
    for (at = 0; at < bytes && status == EHFF_OK; at += n) {
        n = bytes - at < link->frame_bytes ? bytes - at : link->frame_bytes;
        if (ehff_port_slot_read((uint8_t)slot, start + at, link->frame, n) != 0) return EHFF_LINK_ERR_STORAGE;
        status = at == 0 ? ehff_load_begin(&link->loader, &link->model, link->frame, n, link->arena, link->arena_bytes)
                         : ehff_load_bytes(&link->loader, link->frame, n);
    }
    return status == EHFF_OK ? ehff_load_end(&link->loader) : status;
}

static int save(exchange *x)
{
    uint32_t sequence = 0;
    int status = slots_save(x->link->model.net, encoder_of(x->link), &sequence);
    (void)link_put32(x->reply, sequence);
    x->length = 4;
    return status;
}

static int load(exchange *x)
{
    uint32_t sequence = 0;
    int status = x->n != 1 ? EHFF_LINK_ERR_LENGTH : link_load(x->link, x->body[0], &sequence);
    (void)link_put32(x->reply, sequence);
    x->length = 4;
    return status;
}
#endif

#if EHFF_LINK_EXTRAS
static int init(exchange *x)
{
    return x->n != 4 ? EHFF_LINK_ERR_LENGTH : ehff_net_reset(x->link->model.net, link_get32(x->body));
}

static int stats(exchange *x)
{
    const ehff_link *link = x->link;
    uint8_t *b = x->reply;
    ehff_layer_stats s;
    int status;
    if (x->n != 1) return EHFF_LINK_ERR_LENGTH;
    if (x->room < 40) return EHFF_LINK_ERR_LENGTH;
    status = ehff_net_layer_stats(link->model.net, x->body[0], &s);
    if (status != EHFF_OK) return status;
    b = link_put32(link_put32(b, link->model.bytes), link->model.raw_bytes);
    b = link_put32(link_put32(b, link->bad_frames), link->repeats);
    b = link_put32(link_put32(link_put32(b, s.n_in), s.n_out), s.updates);
    (void)link_put32(link_put32(b, s.saturated), s.norm);
    x->length = 36;
    return EHFF_OK;
}

static int add_class(exchange *x)
{
    int status = ehff_model_add_class(&x->link->model);
    (void)link_put32(x->reply, x->link->model.n_classes);
    x->length = 4;
    return status;
}

static int rates(exchange *x)
{
    ehff_net *net = x->link->model.net;
    const uint8_t *b = x->body;
    const uint32_t lr_w = link_get32(b), lr_p = link_get16(b + 4), gate = link_get16(b + 6);
    if (x->n != 9) return EHFF_LINK_ERR_LENGTH;
    /* all of it, or nothing */
    if (lr_w > EHFF_MAX_LR_W || lr_p > EHFF_MAX_LR_P || (gate > EHFF_MAX_GATE && gate != EHFF_GATE_OFF) ||
        ehff_net_set_first_layer(net, b[8]) != EHFF_OK)
        return EHFF_ERR_RANGE;
    (void)ehff_net_set_rates(net, lr_w, (uint16_t)lr_p);
    return ehff_net_set_gate(net, (uint16_t)gate);
}
#endif

static int carry_out(exchange *x, uint8_t op)
{
    if (!link_has_model(x->link) && op != EHFF_OP_HELLO && op != EHFF_OP_PUSH && op != EHFF_OP_LOAD)
        return EHFF_LINK_ERR_MODEL;
    if (x->n != 0 && (op == EHFF_OP_CRC || op == EHFF_OP_SAVE || op == EHFF_OP_ADD_CLASS)) return EHFF_LINK_ERR_LENGTH;
    switch (op) {
    case EHFF_OP_HELLO:
        return hello(x);
    case EHFF_OP_PUSH:
        return push(x);
    case EHFF_OP_PULL:
        return pull(x);
    case EHFF_OP_TRAIN:
        return train(x);
    case EHFF_OP_PREDICT:
        return predict(x);
    case EHFF_OP_CRC:
        return crc(x);
#if EHFF_LINK_STORAGE
    case EHFF_OP_SAVE:
        return save(x);
    case EHFF_OP_LOAD:
        return load(x);
#endif
#if EHFF_LINK_EXTRAS
    case EHFF_OP_INIT:
        return init(x);
    case EHFF_OP_STATS:
        return stats(x);
    case EHFF_OP_ADD_CLASS:
        return add_class(x);
    case EHFF_OP_RATES:
        return rates(x);
#endif
    default:
        return EHFF_LINK_ERR_OP;
    }
}

int link_request(ehff_link *link, uint8_t op, uint32_t n, uint32_t *reply)
{
    exchange x;
    int status;
    x.link = link;
    x.body = link->frame + EHFF_LINK_HEADER;
    x.reply = link->frame + EHFF_LINK_REPLY;
    x.n = n;
    x.room = link->frame_bytes - EHFF_LINK_REPLY - EHFF_LINK_CRC;
    x.length = 0;
#if EHFF_LINK_RUNNER
    link->db_x = NULL; /* the runner's sample: a request may move or take its memory */
    link->db_bytes = 0;
#endif
    status = carry_out(&x, op);
    *reply = x.length;
    return status;
}
