/*
 * A test tool, loaded into libvirtd and from there into QEMU by LD_PRELOAD. It makes them believe that the machine has
 * AMD SEV and SEV-ES, and ENCRYPTS NOTHING. Never load it where guests matter. See README.md.
 *
 * What it takes the place of: CPUID leaf 0x8000001F in both programs; SEV_ISSUE_CMD on /dev/sev; of the ioctls of KVM,
 * KVM_MEMORY_ENCRYPT_OP and the registration of regions. Everything else goes to the kernel.
 */
#define _GNU_SOURCE
#include "fake-sev.h"

#include <cpuid.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/kvm.h>
#include <linux/psp-sev.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

/* ---- CPUID ---- */

static void answer_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    struct conf conf;
    __cpuid_count(leaf, subleaf, out[0], out[1], out[2], out[3]);
    if (leaf == CPUID_ENCRYPTED_MEMORY && conf_read(&conf))
        conf_cpuid(&conf, out);
}

static void answer_wanted(uint32_t leaf, uint32_t subleaf, uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    uint32_t out[4];
    answer_cpuid(leaf, subleaf, out);
    if (a) *a = out[0];
    if (b) *b = out[1];
    if (c) *c = out[2];
    if (d) *d = out[3];
}

/* libvirt's: its QEMU driver finds ours first. */
EXPORTED int virHostCPUX86GetCPUID(uint32_t leaf, uint32_t subleaf, uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    answer_wanted(leaf, subleaf, a, b, c, d);
    return 0;
}

/*
 * QEMU calls its own function directly, so its name cannot be taken over: a jump is written over its beginning
 * (movabs rax, address; jmp rax).
 */
static void patch_host_cpuid(void *function)
{
    uint8_t jump[12] = {0x48, 0xb8, [10] = 0xff, 0xe0};
    void (*target)(uint32_t, uint32_t, uint32_t *, uint32_t *, uint32_t *, uint32_t *) = answer_wanted;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)function & ~(page - 1);
    size_t length = ((uintptr_t)function + sizeof(jump) - 1 - first) / page * page + page;
    memcpy(jump + 2, &target, sizeof(target));
    if (mprotect((void *)first, length, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
        perror("fake-sev: QEMU's code cannot be changed");
        return;
    }
    memcpy(function, jump, sizeof(jump));
    mprotect((void *)first, length, PROT_READ | PROT_EXEC);
}

__attribute__((constructor)) static void load(void)
{
    void *host_cpuid = dlsym(RTLD_DEFAULT, "host_cpuid");
    struct conf conf;
    if (host_cpuid != NULL && conf_read(&conf))
        patch_host_cpuid(host_cpuid);
}

/* ---- ioctl ---- */

static bool is_sev_device(int fd)
{
    struct stat given, device;
    return fstat(fd, &given) == 0 && stat("/dev/sev", &device) == 0 && S_ISCHR(given.st_mode)
        && given.st_rdev == device.st_rdev;
}

/* The guest must not see the leaf: it would look for a C-bit that its memory does not have. */
static int set_cpuid2(int fd, struct kvm_cpuid2 *cpuid)
{
    for (uint32_t i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
        if (entry->function == CPUID_ENCRYPTED_MEMORY)
            entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
    }
    return (int)syscall(SYS_ioctl, fd, KVM_SET_CPUID2, cpuid);
}

/* Some software KVMs refuse a model-specific register that QEMU sets; all others are set, and it is told that all were. */
static int set_msrs(int fd, struct kvm_msrs *msrs, uint32_t dropped)
{
    struct kvm_msrs *kept = malloc(sizeof(*kept) + msrs->nmsrs * sizeof(kept->entries[0]));
    uint32_t count = 0;
    if (kept == NULL)
        return (int)syscall(SYS_ioctl, fd, KVM_SET_MSRS, msrs);
    for (uint32_t i = 0; i < msrs->nmsrs; i++)
        if (msrs->entries[i].index != dropped)
            kept->entries[count++] = msrs->entries[i];
    kept->nmsrs = count;
    kept->pad = 0;
    int set = (int)syscall(SYS_ioctl, fd, KVM_SET_MSRS, kept);
    free(kept);
    return set == (int)count ? (int)msrs->nmsrs : set;
}

EXPORTED int ioctl(int fd, unsigned long request, ...)
{
    struct conf conf;
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    /* QEMU passes an int, which widens with its sign. */
    switch ((uint32_t)request) {
    case (uint32_t)SEV_ISSUE_CMD:
        if (is_sev_device(fd))
            return processor_platform_command(argument);
        break;
    case (uint32_t)KVM_MEMORY_ENCRYPT_OP: return processor_guest_command(argument);
    case (uint32_t)KVM_MEMORY_ENCRYPT_REG_REGION: return processor_register_region(argument);
    case (uint32_t)KVM_MEMORY_ENCRYPT_UNREG_REGION: return processor_unregister_region(argument);
    case (uint32_t)KVM_SET_CPUID2: return set_cpuid2(fd, argument);
    case (uint32_t)KVM_SET_MSRS:
        if (conf_read(&conf) && conf.drop_msr != 0)
            return set_msrs(fd, argument, conf.drop_msr);
        break;
    default: break;
    }
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

/* ---- Locked memory, where the machine may lock none: only with fake_memlock=1 ---- */

static bool fakes_memlock(void)
{
    struct conf conf;
    return conf_read(&conf) && conf.fake_memlock;
}

/* Programs for large files call these by names with 64, which do the same on x86-64. */
EXPORTED int prlimit64(pid_t pid, __rlimit_resource_t resource, const struct rlimit64 *limit, struct rlimit64 *old)
{
    long result = syscall(SYS_prlimit64, pid, resource, limit, old);
    bool refused = result != 0 && errno == EPERM && resource == RLIMIT_MEMLOCK && limit != NULL;
    return refused && fakes_memlock() ? 0 : (int)result;
}

EXPORTED int prlimit(pid_t pid, __rlimit_resource_t resource, const struct rlimit *limit, struct rlimit *old)
{
    return prlimit64(pid, resource, (const struct rlimit64 *)limit, (struct rlimit64 *)old);
}

EXPORTED int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
    return prlimit64(0, resource, limit, NULL);
}

EXPORTED int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    return prlimit64(0, resource, (const struct rlimit64 *)limit, NULL);
}

EXPORTED int mlockall(int flags)
{
    /* Not tried first: half of it may be done when it fails. */
    return fakes_memlock() ? 0 : (int)syscall(SYS_mlockall, flags);
}
