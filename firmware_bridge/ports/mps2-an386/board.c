/* Arm MPS2, FPGA image AN386: Cortex-M4. */
#define UART 0x40004000u
#define TIMER 0x40000000u
#define MHZ 25u

#include "../common/cmsdk.h"
