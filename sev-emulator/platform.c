/*
 * A test tool: see README.md. The secure processor as /dev/sev shows it.
 *
 * Commands and statuses are those of AMD's "Secure Encrypted Virtualization API" (publication 55766); what the ioctl
 * returns is what Linux does with them.
 */
#define _GNU_SOURCE
#include "processor.h"

#include <errno.h>
#include <linux/psp-sev.h>
#include <string.h>

#define CERTIFICATE_SIZE 2084u /* of each: PDH, PEK, OCA, CEK */
#define CHIP_ID_SIZE 64u

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
