/*
 * A test tool. It answers for AMD's secure processor in software and ENCRYPTS NOTHING: see README.md.
 */
#ifndef FAKE_SEV_H
#define FAKE_SEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the configuration, the ASIDs and the log are. LD_PRELOAD reaches QEMU, other variables do not: libvirt drops them. */
#ifndef FAKE_SEV_FOLDER
#define FAKE_SEV_FOLDER "/run/fake-sev"
#endif

#define CPUID_ENCRYPTED_MEMORY 0x8000001fu

/* --- conf.c: the file `conf`, read anew for each command, so that faults can be injected while guests run --- */

struct fault {
    char command[32];
    int error;          /* errno */
    uint32_t fw_error;  /* status of the firmware */
};

struct conf {
    uint32_t cbitpos;
    uint32_t reduced_phys_bits;
    uint32_t max_asid;      /* ECX of the leaf */
    uint32_t min_sev_asid;  /* EDX of the leaf: SEV-ES has what is below */
    uint8_t api_major;
    uint8_t api_minor;
    uint8_t build;
    uint32_t delay_ms;
    bool fake_memlock;
    uint32_t drop_msr;      /* 0: none */
    char name[64];          /* makes identities of hosts differ */
    uint8_t tik[16];        /* transport integrity key, with which launches are measured */
    struct fault faults[16];
    size_t fault_count;
};

/* False where there is no file: then nothing is emulated. */
bool conf_read(struct conf *conf);
/* The fault for a command, or NULL. */
const struct fault *conf_fault(const struct conf *conf, const char *command);

static inline uint32_t conf_sev_guests(const struct conf *conf)
{
    return conf->max_asid >= conf->min_sev_asid ? conf->max_asid - conf->min_sev_asid + 1 : 0;
}

static inline uint32_t conf_sev_es_guests(const struct conf *conf)
{
    return conf->min_sev_asid > 0 ? conf->min_sev_asid - 1 : 0;
}

/* Registers of CPUID leaf 0x8000001F. Source: AMD64 Architecture Programmer's Manual, volume 3, E.4.17. */
static inline void conf_cpuid(const struct conf *conf, uint32_t out[4])
{
    /* 0 SME, 1 SEV, 3 SEV-ES */
    out[0] = 1u | 2u | (conf_sev_es_guests(conf) > 0 ? 8u : 0u);
    out[1] = (conf->cbitpos & 0x3f) | (conf->reduced_phys_bits & 0x3f) << 6;
    out[2] = conf->max_asid;
    out[3] = conf->min_sev_asid;
}

/* --- asids.c: an ASID is the lock on one byte of the file `asids`, so that the kernel frees it with its process --- */

/* 0: none is free; otherwise held until this process ends. */
uint32_t asid_take(uint32_t first, uint32_t last);
/* Of this range, how many are held; -1 where the file is not. */
int asid_count(uint32_t first, uint32_t last);

/* --- platform.c, guest.c, regions.c: what /dev/sev and KVM answer; 0, or -1 with errno, as ioctl does --- */

struct sev_issue_cmd;
struct kvm_sev_cmd;
struct kvm_enc_region;

int processor_platform_command(struct sev_issue_cmd *command);
int processor_guest_command(struct kvm_sev_cmd *command);
int processor_register_region(const struct kvm_enc_region *region);
int processor_unregister_region(const struct kvm_enc_region *region);

/* --- sha256.c --- */

struct sha256 {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
};

void sha256_init(struct sha256 *sha);
void sha256_update(struct sha256 *sha, const void *data, size_t length);
void sha256_final(struct sha256 *sha, uint8_t out[32]);
void hmac_sha256(const uint8_t *key, size_t key_length, const void *data, size_t length, uint8_t out[32]);

#endif
