/* Arm MPS3, FPGA image AN547: Cortex-M55, secure world. */
#define UART 0x59303000u
#define TIMER 0x58000000u
#define MHZ 32u

#include "../common/cmsdk.h"
