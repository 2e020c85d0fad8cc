/* Predict, train on one sample, predict again: what a firmware does with the model, on a machine with stdio. */
#include <inttypes.h>
#include <stdio.h>

#include "edgehff_model.h"

static uint32_t arena[(EDGEHFF_MODEL_ARENA_BYTES + 3) / 4];
static edgehff_model_raw sample[EDGEHFF_MODEL_RAW_VALUES];
static ehff_model model;

static int predict(const char *when)
{
    char name[EDGEHFF_MODEL_NAME_BYTES];
    uint16_t label;
    const int status = ehff_model_predict(&model, sample, sizeof sample, &label, NULL);
    if (status == EHFF_OK)
        printf("%s: class %u %s, state %08" PRIx32 "\n", when, (unsigned)label, edgehff_model_class_name(label, name),
               ehff_net_state_crc32(model.net));
    return status;
}

int main(void)
{
    uint32_t i;
    int status = edgehff_model_load(&model, arena, sizeof arena);
    for (i = 0; i < EDGEHFF_MODEL_RAW_VALUES; i++) sample[i] = (edgehff_model_raw)(i % 100); /* your sensor's */
    if (status == EHFF_OK) status = predict("before");
#if EDGEHFF_MODEL_LEARNS
    if (status == EHFF_OK) status = ehff_model_train(&model, sample, sizeof sample, 0, NULL);
    if (status == EHFF_OK) status = predict("after");
#endif
    if (status != EHFF_OK) printf("failed: %s\n", ehff_status_text(status));
    return status != EHFF_OK;
}
