/* A class more: prototypes for it in every layer, in the arena that is there. Everything else keeps its bits. */
#include "blob.h"

static void move_up(uint8_t *to, const uint8_t *from, uint32_t n)
{
    while (n-- > 0) to[n] = from[n];
}

static uint32_t proto_bytes(uint32_t head, uint32_t n_protos) { return (n_protos * head * 2 + 3) & ~3u; }

int ehff_net_add_class(ehff_net *net, uint32_t arena_bytes)
{
    uint8_t *arena = (uint8_t *)net;
    ehff_sizes now, next;
    uint32_t l, i, shift, old, new;
    int status;
    if (!ehff_net_valid(net)) return EHFF_ERR_STATE;
    if (net->proto_bits != 16) return EHFF_ERR_FROZEN;
    status = ehff_net_sizes_with(net, (uint16_t)(net->n_classes + 1), &next);
    if (status != EHFF_OK) return status;
    if (next.ram_bytes > arena_bytes) return EHFF_ERR_ARENA;
    (void)ehff_net_sizes_with(net, net->n_classes, &now);
    old = (uint32_t)net->n_classes * net->n_per_class;
    new = old + net->n_per_class;
    shift = next.proto_bytes - now.proto_bytes;
    net->scratch += shift;
    net->ram_bytes = next.ram_bytes;
    net->n_classes++;
    for (l = net->n_layers; l-- > 0;) { /* the last arrays first, so that none is written over */
        ehff_layer *layer = ehff_layers(net) + l;
        const uint32_t head = ehff_head_dim(net, layer);
        shift -= proto_bytes(head, new) - proto_bytes(head, old);
        move_up(arena + layer->protos + shift, arena + layer->protos, old * head * 2);
        move_up(arena + layer->weights + shift, arena + layer->weights,
                layer->n_in * layer->n_out * (net->recipe == EHFF_INT8 ? 1 : 2));
        layer->protos += shift;
        layer->weights += shift;
        layer->scales = layer->protos + proto_bytes(head, new);
    }
    for (l = 0; l < net->n_layers; l++)
        for (i = old; i < new; i++) ehff_net_draw_proto(net, l, i);
    return EHFF_OK;
}

int ehff_model_add_class(ehff_model *m)
{
    uint32_t table, table_at, scratch = 0;
    ehff_sizes now, next;
    int status;
    if (m == NULL) return EHFF_ERR_NULL;
    if (!ehff_net_valid(m->net)) return EHFF_ERR_STATE;
    if (m->net->proto_bits != 16) return EHFF_ERR_FROZEN;
    status = ehff_net_sizes_with(m->net, (uint16_t)(m->net->n_classes + 1), &next);
    if (status != EHFF_OK) return status;
    (void)ehff_net_sizes_with(m->net, m->net->n_classes, &now);
    if (m->has_encoder) (void)ehff_encoder_sizes(&m->encoder, NULL, NULL, &scratch);
    if (scratch <= now.scratch_bytes || scratch > next.scratch_bytes) scratch = 0; /* else the network's will do */
    if (next.ram_bytes - now.ram_bytes > m->arena_bytes - m->bytes + scratch) return EHFF_ERR_ARENA;
    table = m->has_encoder ? ehff_table_entries(&m->encoder) * EHFF_BLOB_ENTRY : 0;
    table_at = m->net->ram_bytes;
    move_up((uint8_t *)m->net + next.ram_bytes, (uint8_t *)m->net + table_at, table);
    status = ehff_net_add_class(m->net, m->arena_bytes);
    return status == EHFF_OK ? ehff_model_layout(m) : status;
}
