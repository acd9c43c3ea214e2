/*
 * A test tool: see README.md. Regions of memory that a guest registers: pinned, within what its process may lock. The
 * arithmetic is Linux's (sev_pin_memory).
 */
#define _GNU_SOURCE
#include "processor.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096u

struct region {
    struct kvm_enc_region range;
    struct region *next;
};
static struct region *regions;
static size_t pinned_pages;

static size_t pages_of(const struct kvm_enc_region *range)
{
    return (range->addr + range->size - 1) / PAGE - range->addr / PAGE + 1;
}

static bool may_lock_anything(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective >> CAP_IPC_LOCK & 1) != 0;
}

int processor_register_region(const struct kvm_enc_region *range)
{
    struct conf conf;
    struct rlimit limit;
    uint32_t status = 0;
    int result;
    if (!conf_read(&conf) || !processor_has_guest())
        return fails(ENOTTY);
    if (tampered(&conf, "REG_REGION", &status, &result))
        return result;
    if (range->size == 0 || range->addr + range->size < range->addr)
        return fails(EINVAL);
    size_t pages = pages_of(range);
    if (!conf.fake_memlock && !may_lock_anything() && getrlimit(RLIMIT_MEMLOCK, &limit) == 0
        && pinned_pages + pages > limit.rlim_cur / PAGE)
        return fails(ENOMEM);
    struct region *region = malloc(sizeof(*region));
    if (region == NULL)
        return fails(ENOMEM);
    *region = (struct region){.range = *range, .next = regions};
    regions = region;
    pinned_pages += pages;
    return 0;
}

int processor_unregister_region(const struct kvm_enc_region *range)
{
    if (!processor_has_guest())
        return fails(ENOTTY);
    for (struct region **at = &regions; *at != NULL; at = &(*at)->next) {
        struct region *found = *at;
        if (found->range.addr != range->addr || found->range.size != range->size)
            continue;
        pinned_pages -= pages_of(range);
        *at = found->next;
        free(found);
        return 0;
    }
    return fails(EINVAL);
}
