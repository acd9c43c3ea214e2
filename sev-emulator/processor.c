/* A test tool: see README.md. What the parts of the processor have in common. */
#define _GNU_SOURCE
#include "processor.h"

#include <errno.h>
#include <time.h>

int fails(int error)
{
    errno = error;
    return -1;
}

int refuses(uint32_t *status, uint32_t fw_error)
{
    *status = fw_error;
    return fails(EIO);
}

bool tampered(const struct conf *conf, const char *command, uint32_t *status, int *result)
{
    const struct fault *fault = conf_fault(conf, command);
    if (conf->delay_ms > 0) {
        struct timespec time = {.tv_sec = conf->delay_ms / 1000, .tv_nsec = conf->delay_ms % 1000 * 1000000L};
        nanosleep(&time, NULL);
    }
    if (fault == NULL)
        return false;
    *status = fault->fw_error;
    *result = fault->error == 0 ? 0 : fails(fault->error);
    return true;
}
