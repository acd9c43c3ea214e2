/*
 * A test tool: see README.md. Keeps the files of the kernel's misc controller, for the emulated host:
 *
 *     asid-counter FOLDER      writes FOLDER/misc.capacity and FOLDER/misc.current, until it is ended
 */
#define _GNU_SOURCE
#include "fake-sev.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

static char last[2][128];

/* Whole or not at all: readers never see half of it. As the kernel does, what the machine has nothing of is left out. */
static void write_file(const char *folder, const char *name, char *before,
                       uint32_t sev, uint32_t sev_es, const struct conf *conf)
{
    char text[128] = "", path[512], new_path[512];
    int length = 0;
    if (conf_sev_guests(conf) > 0)
        length += snprintf(text, sizeof(text), "sev %u\n", sev);
    if (conf_sev_es_guests(conf) > 0)
        snprintf(text + length, sizeof(text) - (size_t)length, "sev_es %u\n", sev_es);
    if (strcmp(text, before) == 0)
        return;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    snprintf(new_path, sizeof(new_path), "%s/.%s.new", folder, name);
    FILE *file = fopen(new_path, "we");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0 || rename(new_path, path) != 0) {
        perror(path);
        exit(1);
    }
    strcpy(before, text);
}

static void write_all(const char *folder)
{
    struct conf conf;
    if (!conf_read(&conf))
        return;
    int sev = asid_count(conf.min_sev_asid, conf.max_asid);
    int sev_es = asid_count(1, conf.min_sev_asid - 1);
    if (sev < 0 || sev_es < 0)
        return;
    write_file(folder, "misc.capacity", last[0], conf_sev_guests(&conf), conf_sev_es_guests(&conf), &conf);
    write_file(folder, "misc.current", last[1], (uint32_t)sev, (uint32_t)sev_es, &conf);
}

int main(int count, char **arguments)
{
    /* The kernel tells of a close before it gives up the lock: so it is looked at again a little later. */
    static const int later_ms[] = {1, 5, 20, 100};
    const size_t looks = sizeof(later_ms) / sizeof(later_ms[0]);
    int watch = inotify_init1(IN_CLOEXEC);
    if (count != 2 || watch < 0 || inotify_add_watch(watch, FAKE_SEV_FOLDER, IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO) < 0) {
        fprintf(stderr, "usage: asid-counter FOLDER, where %s is\n", FAKE_SEV_FOLDER);
        return 2;
    }
    for (size_t look = 0;;) {
        struct pollfd events = {.fd = watch, .events = POLLIN};
        char buffer[4096];
        write_all(arguments[1]);
        int ready = poll(&events, 1, look < looks ? later_ms[look] : -1);
        if (ready > 0 && read(watch, buffer, sizeof(buffer)) > 0)
            look = 0;
        else
            look++;
    }
}
