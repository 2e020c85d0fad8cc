/* Runs the inputs of packed files through a target: for compilers without libFuzzer. A packed file holds one input
 * after the other, each behind its length as 16 bits, low byte first. */
#include <stdio.h>

#include "fuzz.h"

int main(int argc, char **argv)
{
    unsigned long inputs = 0;
    int i;
    for (i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        int low, high;
        if (file == NULL) {
            perror(argv[i]);
            return 2;
        }
        while ((low = getc(file)) != EOF && (high = getc(file)) != EOF) {
            const size_t n = (size_t)low | (size_t)high << 8;
            uint8_t *data = (uint8_t *)malloc(n + (n == 0)); /* of its own, so that reading past it is seen */
            if (data == NULL || fread(data, 1, n, file) != n) {
                (void)fprintf(stderr, "%s ends within an input\n", argv[i]);
                return 2;
            }
            (void)LLVMFuzzerTestOneInput(data, n);
            free(data);
            inputs++;
        }
        (void)fclose(file);
    }
    board_stop();
    printf("%lu inputs\n", inputs);
    return 0;
}
