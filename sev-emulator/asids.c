/*
 * A test tool: see README.md.
 *
 * Locks of open file descriptions (fcntl, F_OFD_SETLK): they end with the process, however it ends, as ASIDs do; the
 * processes of a whole host see them; and whether one is held can be asked without taking it.
 */
#define _GNU_SOURCE
#include "fake-sev.h"

#include <fcntl.h>
#include <unistd.h>

static int asids_open(int mode)
{
    return open(FAKE_SEV_FOLDER "/asids", mode | O_CLOEXEC);
}

static struct flock byte_of(uint32_t asid)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = asid, .l_len = 1};
}

uint32_t asid_take(uint32_t first, uint32_t last)
{
    int fd = asids_open(O_RDWR);
    if (fd < 0)
        return 0;
    for (uint32_t asid = first; asid <= last; asid++) {
        struct flock lock = byte_of(asid);
        if (fcntl(fd, F_OFD_SETLK, &lock) != 0)
            continue;
        /* Who counts ASIDs watches this file for writes, and for the close that the end of this process is. */
        ssize_t written = pwrite(fd, "1", 1, asid);
        (void)written;
        return asid; /* fd stays open: it is the ASID */
    }
    close(fd);
    return 0;
}

int asid_count(uint32_t first, uint32_t last)
{
    /* Not for writing: the close of that would tell whoever watches that an ASID is free. */
    int fd = asids_open(O_RDONLY), count = 0;
    if (fd < 0)
        return -1;
    for (uint32_t asid = first; asid <= last; asid++) {
        struct flock lock = byte_of(asid);
        if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
            count++;
    }
    close(fd);
    return count;
}
