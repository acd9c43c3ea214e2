/* A test tool: see README.md. What the parts of the processor have in common. */
#ifndef PROCESSOR_H
#define PROCESSOR_H

#include "fake-sev.h"

/* -1, with errno. */
int fails(int error);
/* What the firmware refuses is EIO to the caller, with the firmware's status. */
int refuses(uint32_t *status, uint32_t fw_error);
/* Delay and fault that the configuration asks for. True: *result is the answer. */
bool tampered(const struct conf *conf, const char *command, uint32_t *status, int *result);
/* Whether this process has a guest with an ASID. */
bool processor_has_guest(void);

#endif
