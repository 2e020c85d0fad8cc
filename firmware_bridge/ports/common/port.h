/* What each board's file gives to main.c, beside the functions of ehff_port.h. */
#ifndef PORT_H
#define PORT_H

#include "ehff/ehff_port.h"

void port_init(void);
/* The next byte of the line, or -1 where none is there. */
int port_get(void);
/* Called where no byte is there: sleeps until an interrupt, or returns. */
void port_idle(void);

#endif
