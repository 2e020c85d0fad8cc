// Predict, train on one sample, predict again; the answers go to the serial monitor at 115200 baud.
#include <edgehff_model.h>

static uint32_t arena[(EDGEHFF_MODEL_ARENA_BYTES + 3) / 4];
static edgehff_model_raw sample[EDGEHFF_MODEL_RAW_VALUES];
static ehff_model model;

static int predict(void)
{
    char name[EDGEHFF_MODEL_NAME_BYTES];
    uint16_t label;
    const int status = ehff_model_predict(&model, sample, sizeof sample, &label, NULL);
    if (status != EHFF_OK) return status;
    Serial.print(F("class "));
    Serial.print(label);
    Serial.print(F(" "));
    Serial.print(edgehff_model_class_name(label, name));
    Serial.print(F(", state "));
    Serial.println(ehff_net_state_crc32(model.net), HEX);
    return EHFF_OK;
}

void setup()
{
    Serial.begin(115200);
    while (!Serial) {
    }
    int status = edgehff_model_load(&model, arena, sizeof arena);
    for (uint32_t i = 0; i < EDGEHFF_MODEL_RAW_VALUES; i++) sample[i] = (edgehff_model_raw)(i % 100); // your sensor's
    if (status == EHFF_OK) status = predict();
#if EDGEHFF_MODEL_LEARNS
    if (status == EHFF_OK) status = ehff_model_train(&model, sample, sizeof sample, 0, NULL);
    if (status == EHFF_OK) status = predict();
#endif
    if (status != EHFF_OK) {
        Serial.print(F("failed: "));
        Serial.println(ehff_status_text(status));
    }
}

void loop() {}
