/*
 * A test tool: see README.md. The launch of a guest, as KVM and the firmware do it.
 *
 * Commands, states and statuses are those of AMD's "Secure Encrypted Virtualization API" (publication 55766); what the
 * ioctl returns is what Linux does with them (Documentation/virt/kvm/x86/amd-memory-encryption.rst).
 */
#define _GNU_SOURCE
#include "processor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/psp-sev.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define POLICY_ES 4u
#define MEASUREMENT_SIZE 48u /* 32 of the measurement, 16 of its nonce */

/* The guest of this process: QEMU has one. */
static struct {
    bool initialized, es;
    uint32_t asid, handle, policy;
    enum { NONE, LAUNCHING, MEASURED, RUNNING } state;
    struct sha256 digest;
} guest;

bool processor_has_guest(void)
{
    return guest.initialized;
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
    if (guest.state != LAUNCHING)
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
    if (guest.state != MEASURED)
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
