/* A test tool: see README.md. Reads lines of `name=value`. */
#define _GNU_SOURCE
#include "fake-sev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void parse_fault(struct conf *conf, const char *value)
{
    struct fault *fault = &conf->faults[conf->fault_count];
    if (conf->fault_count == sizeof(conf->faults) / sizeof(conf->faults[0]))
        return;
    if (sscanf(value, "%31[A-Z0-9_]:%d:%u", fault->command, &fault->error, &fault->fw_error) == 3)
        conf->fault_count++;
    else
        fprintf(stderr, "fake-sev: fail=%s: expected COMMAND:errno:fw_error\n", value);
}

static void parse_key(uint8_t key[16], const char *hex)
{
    for (int i = 0; i < 16; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            return;
        key[i] = (uint8_t)byte;
    }
}

static void parse_line(struct conf *conf, const char *name, const char *value)
{
    uint32_t number = (uint32_t)strtoul(value, NULL, 0);
    if (strcmp(name, "cbitpos") == 0) conf->cbitpos = number;
    else if (strcmp(name, "reduced_phys_bits") == 0) conf->reduced_phys_bits = number;
    else if (strcmp(name, "max_asid") == 0) conf->max_asid = number;
    else if (strcmp(name, "min_sev_asid") == 0) conf->min_sev_asid = number;
    else if (strcmp(name, "api_major") == 0) conf->api_major = (uint8_t)number;
    else if (strcmp(name, "api_minor") == 0) conf->api_minor = (uint8_t)number;
    else if (strcmp(name, "build") == 0) conf->build = (uint8_t)number;
    else if (strcmp(name, "delay_ms") == 0) conf->delay_ms = number;
    else if (strcmp(name, "fake_memlock") == 0) conf->fake_memlock = number != 0;
    else if (strcmp(name, "drop_msr") == 0) conf->drop_msr = number;
    else if (strcmp(name, "name") == 0) snprintf(conf->name, sizeof(conf->name), "%s", value);
    else if (strcmp(name, "tik") == 0) parse_key(conf->tik, value);
    else if (strcmp(name, "fail") == 0) parse_fault(conf, value);
    else fprintf(stderr, "fake-sev: %s: no such setting\n", name);
}

bool conf_read(struct conf *conf)
{
    /* An EPYC of the second generation whose BIOS keeps 99 ASIDs for SEV-ES. */
    *conf = (struct conf){
        .cbitpos = 47, .reduced_phys_bits = 1, .max_asid = 509, .min_sev_asid = 100,
        .api_major = 0, .api_minor = 24, .build = 15, .name = "fake-sev",
    };
    FILE *file = fopen(FAKE_SEV_FOLDER "/conf", "re");
    char line[256];
    if (file == NULL)
        return false;
    while (fgets(line, sizeof(line), file) != NULL) {
        char *value = strchr(line, '=');
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#' || value == NULL)
            continue;
        *value = 0;
        parse_line(conf, line, value + 1);
    }
    fclose(file);
    return true;
}

const struct fault *conf_fault(const struct conf *conf, const char *command)
{
    for (size_t i = 0; i < conf->fault_count; i++)
        if (strcmp(conf->faults[i].command, command) == 0)
            return &conf->faults[i];
    return NULL;
}
