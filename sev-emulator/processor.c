/*
 * A test tool: see README.md. The secure processor, and the part of KVM that speaks to it.
 *
 * Commands, states and statuses are those of AMD's "Secure Encrypted Virtualization API" (publication 55766); what
 * ioctls return is what Linux does with them (Documentation/virt/kvm/x86/amd-memory-encryption.rst).
 */
#define _GNU_SOURCE
#include "fake-sev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <linux/psp-sev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define POLICY_ES 4u
#define CERTIFICATE_SIZE 2084u /* of each: PDH, PEK, OCA, CEK */
#define CHIP_ID_SIZE 64u
#define MEASUREMENT_SIZE 48u   /* 32 of the measurement, 16 of its nonce */

/* The guest of this process: QEMU has one. */
static struct {
    bool initialized, es;
    uint32_t asid, handle, policy;
    enum { NONE, LAUNCHING, MEASURED, RUNNING } state;
    struct sha256 digest;
    size_t pinned_pages;
} guest;

struct region {
    struct kvm_enc_region range;
    struct region *next;
};
static struct region *regions;

static int fails(int error)
{
    errno = error;
    return -1;
}

/* What the firmware refuses is EIO to the caller, with the firmware's status. */
static int refuses(uint32_t *status, uint32_t fw_error)
{
    *status = fw_error;
    return fails(EIO);
}

static void tell(const char *command, const char *detail, int result)
{
    int fd = open(FAKE_SEV_FOLDER "/log", O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return;
    int error = errno;
    dprintf(fd, "%d %s%s%s %s\n", getpid(), command, *detail ? " " : "", detail, result == 0 ? "ok" : strerrorname_np(error));
    close(fd);
    errno = error;
}

/* Delay and fault that the configuration asks for. True: *result is the answer. */
static bool tampered(const struct conf *conf, const char *command, uint32_t *status, int *result)
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

/* The same bytes for the same host each time, and others for another. */
static void bytes_of(const struct conf *conf, const char *what, uint8_t *out, size_t length)
{
    uint8_t block[32];
    for (uint32_t i = 0; length > 0; i++) {
        size_t part = length < sizeof(block) ? length : sizeof(block);
        struct sha256 sha;
        sha256_init(&sha);
        sha256_update(&sha, conf->name, strlen(conf->name));
        sha256_update(&sha, what, strlen(what) + 1);
        sha256_update(&sha, &i, sizeof(i));
        sha256_final(&sha, block);
        memcpy(out, block, part);
        out += part;
        length -= part;
    }
}

/* ---- /dev/sev ---- */

static int platform_status(const struct conf *conf, struct sev_user_data_status *out)
{
    int used = asid_count(1, conf->max_asid);
    *out = (struct sev_user_data_status){
        .api_major = conf->api_major,
        .api_minor = conf->api_minor,
        .build = conf->build,
        .state = used > 0 ? 2 : 1, /* working, or initialized */
        .flags = conf_sev_es_guests(conf) > 0 ? SEV_STATUS_FLAGS_CONFIG_ES : 0,
        .guest_count = used > 0 ? (uint32_t)used : 0,
    };
    return 0;
}

/* A certificate as to its form: version, version of the API, and a key that nobody has signed. */
static void certificate(const struct conf *conf, const char *what, uint8_t out[CERTIFICATE_SIZE])
{
    memset(out, 0, CERTIFICATE_SIZE);
    out[0] = 1;
    out[4] = conf->api_major;
    out[5] = conf->api_minor;
    bytes_of(conf, what, out + 16, 144);
}

static int pdh_cert_export(const struct conf *conf, struct sev_user_data_pdh_cert_export *io, uint32_t *status)
{
    static const char *const chain[] = {"PEK", "OCA", "CEK"};
    bool fits = io->pdh_cert_len >= CERTIFICATE_SIZE && io->cert_chain_len >= 3 * CERTIFICATE_SIZE;
    io->pdh_cert_len = CERTIFICATE_SIZE;
    io->cert_chain_len = 3 * CERTIFICATE_SIZE;
    if (!fits)
        return refuses(status, SEV_RET_INVALID_LEN);
    certificate(conf, "PDH", (uint8_t *)(uintptr_t)io->pdh_cert_address);
    for (size_t i = 0; i < 3; i++)
        certificate(conf, chain[i], (uint8_t *)(uintptr_t)io->cert_chain_address + i * CERTIFICATE_SIZE);
    return 0;
}

static int get_id2(const struct conf *conf, struct sev_user_data_get_id2 *io, uint32_t *status)
{
    bool fits = io->length >= CHIP_ID_SIZE;
    io->length = CHIP_ID_SIZE;
    if (!fits)
        return refuses(status, SEV_RET_INVALID_LEN);
    bytes_of(conf, "chip", (uint8_t *)(uintptr_t)io->address, CHIP_ID_SIZE);
    return 0;
}

int processor_platform_command(struct sev_issue_cmd *command)
{
    static const char *const names[SEV_MAX] = {
        [SEV_PLATFORM_STATUS] = "PLATFORM_STATUS", [SEV_PDH_CERT_EXPORT] = "PDH_CERT_EXPORT", [SEV_GET_ID2] = "GET_ID2",
    };
    struct conf conf;
    void *data = (void *)(uintptr_t)command->data;
    uint32_t status = 0;
    int result;
    if (!conf_read(&conf))
        return fails(ENOTTY);
    if (command->cmd >= SEV_MAX || names[command->cmd] == NULL)
        result = refuses(&status, SEV_RET_UNSUPPORTED);
    else if (!tampered(&conf, names[command->cmd], &status, &result))
        result = command->cmd == SEV_PLATFORM_STATUS ? platform_status(&conf, data)
            : command->cmd == SEV_GET_ID2 ? get_id2(&conf, data, &status) : pdh_cert_export(&conf, data, &status);
    command->error = status;
    return result;
}

/* ---- KVM_MEMORY_ENCRYPT_OP ---- */

static int init(const struct conf *conf, bool es)
{
    uint32_t first = es ? 1 : conf->min_sev_asid;
    uint32_t last = es ? conf->min_sev_asid - 1 : conf->max_asid;
    if (guest.initialized)
        return fails(EINVAL);
    if (first > last)
        return fails(ENOTTY);
    guest.asid = asid_take(first, last);
    if (guest.asid == 0)
        return fails(EBUSY);
    guest.initialized = true;
    guest.es = es;
    return 0;
}

static int launch_start(const struct conf *conf, struct kvm_sev_launch_start *io, uint32_t *status)
{
    uint8_t wants_major = (uint8_t)(io->policy >> 16), wants_minor = (uint8_t)(io->policy >> 24);
    if (guest.state != NONE)
        return refuses(status, SEV_RET_INVALID_GUEST_STATE);
    if (wants_major > conf->api_major || (wants_major == conf->api_major && wants_minor > conf->api_minor))
        return refuses(status, SEV_RET_POLICY_FAILURE);
    if ((io->policy & POLICY_ES) != 0 && !guest.es)
        return refuses(status, SEV_RET_POLICY_FAILURE);
    guest.policy = io->policy;
    guest.handle = io->handle = guest.asid;
    guest.state = LAUNCHING;
    sha256_init(&guest.digest);
    return 0;
}

static int launch_update_data(const struct kvm_sev_launch_update_data *in, uint32_t *status)
{
    if (guest.state != LAUNCHING)
        return refuses(status, SEV_RET_INVALID_GUEST_STATE);
    if (in->len == 0 || in->uaddr + in->len < in->uaddr)
        return fails(EINVAL);
    if (in->len % 16 != 0)
        return refuses(status, SEV_RET_INVALID_LEN);
    sha256_update(&guest.digest, (const void *)(uintptr_t)in->uaddr, in->len);
    return 0;
}

/* The state of the processors is KVM's and cannot be had from here: it is no part of the measurement. */
static int launch_update_vmsa(uint32_t *status)
{
    if (!guest.es)
        return fails(ENOTTY);
    return guest.state == LAUNCHING ? 0 : refuses(status, SEV_RET_INVALID_GUEST_STATE);
}

/* HMAC(TIK; 0x04, API version, build, policy, digest of the launch, nonce). Source: 55766, LAUNCH_MEASURE. */
static void measure(const struct conf *conf, uint8_t out[MEASUREMENT_SIZE])
{
    uint8_t text[1 + 3 + 4 + 32 + 16] = {4, conf->api_major, conf->api_minor, conf->build};
    struct sha256 digest = guest.digest;
    uint8_t *nonce = text + 40;
    memcpy(text + 4, &guest.policy, 4);
    sha256_final(&digest, text + 8);
    if (getrandom(nonce, 16, 0) != 16)
        memset(nonce, 0, 16);
    hmac_sha256(conf->tik, sizeof(conf->tik), text, sizeof(text), out);
    memcpy(out + 32, nonce, 16);
}

static int launch_measure(const struct conf *conf, struct kvm_sev_launch_measure *io, uint32_t *status)
{
    bool fits = io->len >= MEASUREMENT_SIZE;
    if (guest.state != LAUNCHING && guest.state != MEASURED)
        return refuses(status, SEV_RET_INVALID_GUEST_STATE);
    io->len = MEASUREMENT_SIZE;
    if (!fits)
        return refuses(status, SEV_RET_INVALID_LEN);
    measure(conf, (uint8_t *)(uintptr_t)io->uaddr);
    guest.state = MEASURED;
    return 0;
}

static int launch_finish(uint32_t *status)
{
    if (guest.state != MEASURED && guest.state != LAUNCHING)
        return refuses(status, SEV_RET_INVALID_GUEST_STATE);
    guest.state = RUNNING;
    return 0;
}

static int guest_status(struct kvm_sev_guest_status *out)
{
    static const uint32_t states[] = {[NONE] = 0, [LAUNCHING] = 1, [MEASURED] = 2, [RUNNING] = 3};
    *out = (struct kvm_sev_guest_status){.handle = guest.handle, .policy = guest.policy, .state = states[guest.state]};
    return 0;
}

static int guest_command(const struct conf *conf, const struct kvm_sev_cmd *command, uint32_t *status)
{
    void *data = (void *)(uintptr_t)command->data;
    if (command->id != KVM_SEV_INIT && command->id != KVM_SEV_ES_INIT && !guest.initialized)
        return fails(ENOTTY);
    switch (command->id) {
    case KVM_SEV_INIT: return init(conf, false);
    case KVM_SEV_ES_INIT: return init(conf, true);
    case KVM_SEV_LAUNCH_START: return launch_start(conf, data, status);
    case KVM_SEV_LAUNCH_UPDATE_DATA: return launch_update_data(data, status);
    case KVM_SEV_LAUNCH_UPDATE_VMSA: return launch_update_vmsa(status);
    case KVM_SEV_LAUNCH_MEASURE: return launch_measure(conf, data, status);
    case KVM_SEV_LAUNCH_FINISH: return launch_finish(status);
    case KVM_SEV_GUEST_STATUS: return guest_status(data);
    /* The session is not unwrapped, so there is no key to read a secret with. */
    default: return refuses(status, SEV_RET_UNSUPPORTED);
    }
}

int processor_guest_command(struct kvm_sev_cmd *command)
{
    static const char *const names[KVM_SEV_NR_MAX] = {
        [KVM_SEV_INIT] = "INIT", [KVM_SEV_ES_INIT] = "ES_INIT", [KVM_SEV_LAUNCH_START] = "LAUNCH_START",
        [KVM_SEV_LAUNCH_UPDATE_DATA] = "LAUNCH_UPDATE_DATA", [KVM_SEV_LAUNCH_UPDATE_VMSA] = "LAUNCH_UPDATE_VMSA",
        [KVM_SEV_LAUNCH_SECRET] = "LAUNCH_SECRET", [KVM_SEV_LAUNCH_MEASURE] = "LAUNCH_MEASURE",
        [KVM_SEV_LAUNCH_FINISH] = "LAUNCH_FINISH", [KVM_SEV_GUEST_STATUS] = "GUEST_STATUS",
    };
    struct conf conf;
    char detail[64] = "";
    uint32_t status = 0;
    int result;
    if (!conf_read(&conf))
        return fails(ENOTTY);
    if (command == NULL)
        return 0; /* asks whether there is SEV at all */
    const char *name = command->id < KVM_SEV_NR_MAX && names[command->id] != NULL ? names[command->id] : "OTHER";
    if (!tampered(&conf, name, &status, &result))
        result = guest_command(&conf, command, &status);
    command->error = status;
    if (command->id == KVM_SEV_LAUNCH_START && result == 0)
        snprintf(detail, sizeof(detail), "policy=0x%x asid=%u", guest.policy, guest.asid);
    else if (status != 0)
        snprintf(detail, sizeof(detail), "fw_error=%u", status);
    tell(name, detail, result);
    return result;
}

/* ---- Regions: memory that is pinned, within what the process may lock ---- */

static bool may_lock_anything(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective >> CAP_IPC_LOCK & 1) != 0;
}

int processor_register_region(const struct kvm_enc_region *range)
{
    const size_t page = 4096;
    struct conf conf;
    struct rlimit limit;
    uint32_t status = 0;
    int result;
    if (!conf_read(&conf) || !guest.initialized)
        return fails(ENOTTY);
    if (tampered(&conf, "REG_REGION", &status, &result))
        return result;
    if (range->size == 0 || range->addr + range->size < range->addr)
        return fails(EINVAL);
    size_t pages = (range->addr + range->size - 1) / page - range->addr / page + 1;
    if (!conf.fake_memlock && !may_lock_anything() && getrlimit(RLIMIT_MEMLOCK, &limit) == 0
        && guest.pinned_pages + pages > limit.rlim_cur / page)
        return fails(ENOMEM);
    struct region *region = malloc(sizeof(*region));
    if (region == NULL)
        return fails(ENOMEM);
    *region = (struct region){.range = *range, .next = regions};
    regions = region;
    guest.pinned_pages += pages;
    return 0;
}

int processor_unregister_region(const struct kvm_enc_region *range)
{
    if (!guest.initialized)
        return fails(ENOTTY);
    for (struct region **at = &regions; *at != NULL; at = &(*at)->next) {
        struct region *found = *at;
        if (found->range.addr != range->addr || found->range.size != range->size)
            continue;
        guest.pinned_pages -= (range->addr + range->size - 1) / 4096 - range->addr / 4096 + 1;
        *at = found->next;
        free(found);
        return 0;
    }
    return fails(EINVAL);
}
