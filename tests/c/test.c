/* Counting and printing of the test programs. */
#include "test.h"

test_memory test;

void test_print_decimal(uint32_t v)
{
    char text[11];
    int at = 10;
    text[at] = 0;
    do {
        text[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    TEST_PRINT(text + at);
}

void test_print_hex(uint32_t v)
{
    char text[9];
    int i;
    for (i = 7; i >= 0; i--, v >>= 4) text[i] = "0123456789abcdef"[v & 15];
    text[8] = 0;
    TEST_PRINT(text);
}

void test_check(int good, const char *name, const char *what)
{
    if (good) {
        test.passed++;
        return;
    }
    test.failed++;
    TEST_PRINT("FAILED ");
    TEST_PRINT(name);
    TEST_PRINT(": ");
    TEST_PRINT(what);
    TEST_PRINT("\n");
}

int test_close(void)
{
    test_print_decimal(test.passed);
    TEST_PRINT(" passed, ");
    test_print_decimal(test.failed);
    TEST_PRINT(" failed\n");
    return test.failed != 0;
}
