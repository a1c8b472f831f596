/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/guest-memory.h"

#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define COMMAND_LINE_MAX (4u << 20)

/* A file that the process has open and mapped, and that is shared memory. */
struct file {
    dev_t device;
    ino_t inode;
    guint64 size;
    char *path; /* owned: /proc/PID/fd/N */
};

static void memory_clear(gpointer opaque)
{
    struct lpm_guest_memory *memory = opaque;

    g_free(memory->name);
    lpm_fd_clear(&memory->fd);
}

static void file_clear(gpointer opaque)
{
    g_free(((struct file *)opaque)->path);
}

/* ---- backends ---- */

/* Adds the backend that an -object names, if it is shared memory. libvirt writes JSON. */
static void add_backend(GArray *backends, const char *text)
{
    json_t *object = json_loads(text, 0, NULL);
    const char *type = json_string_value(json_object_get(object, "qom-type"));
    const char *id = json_string_value(json_object_get(object, "id"));
    json_int_t size = json_integer_value(json_object_get(object, "size"));

    if (type && id && size > 0 && g_str_has_prefix(type, "memory-backend-") &&
        json_is_true(json_object_get(object, "share"))) {
        struct lpm_guest_memory memory = {.name = g_strdup(id), .size = (guint64)size, .fd = -1};

        g_array_append_val(backends, memory);
    }
    json_decref(object);
}

static GArray *find_backends(pid_t pid)
{
    GArray *backends = g_array_new(FALSE, FALSE, sizeof(struct lpm_guest_memory));
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid);
    g_autofree char *text = NULL;
    gsize length = 0;
    gboolean object = FALSE;

    g_array_set_clear_func(backends, memory_clear);
    if (!g_file_get_contents(path, &text, &length, NULL) || length > COMMAND_LINE_MAX)
        return backends;
    for (const char *word = text; word < text + length; word += strlen(word) + 1) {
        if (object)
            add_backend(backends, word);
        object = !strcmp(word, "-object");
    }
    return backends;
}

/* ---- files ---- */

/* TRUE: the process maps the file shared and may write there. `maps`: the text of /proc/PID/maps,
 * of lines "START-END rw-s OFFSET MAJOR:MINOR INODE PATH". */
static gboolean is_mapped(const char *maps, const struct stat *st)
{
    for (const char *line = maps; line; line = strchr(line, '\n')) {
        unsigned int high, low;
        unsigned long inode;
        char rights[5];

        line += *line == '\n';
        if (sscanf(line, "%*x-%*x %4s %*x %x:%x %lu", rights, &high, &low, &inode) == 4 &&
            !strcmp(rights, "rw-s") && makedev(high, low) == st->st_dev && inode == st->st_ino)
            return TRUE;
    }
    return FALSE;
}

static gboolean is_known(const GArray *files, const struct stat *st)
{
    for (guint i = 0; i < files->len; i++) {
        const struct file *file = &g_array_index(files, struct file, i);

        if (file->device == st->st_dev && file->inode == st->st_ino)
            return TRUE;
    }
    return FALSE;
}

/* NULL: /proc does not show it; errno says why. */
static GArray *find_files(pid_t pid)
{
    g_autofree char *folder = g_strdup_printf("/proc/%d/fd", (int)pid);
    g_autofree char *maps_path = g_strdup_printf("/proc/%d/maps", (int)pid);
    g_autofree char *maps = NULL;
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    if (!dir || !g_file_get_contents(maps_path, &maps, NULL, NULL))
        return NULL;
    GArray *files = g_array_new(FALSE, FALSE, sizeof(struct file));

    g_array_set_clear_func(files, file_clear);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        struct stat st;

        if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
            is_known(files, &st) || !is_mapped(maps, &st))
            continue;
        struct file file = {.device = st.st_dev,
                            .inode = st.st_ino,
                            .size = (guint64)st.st_size,
                            .path = g_steal_pointer(&path)};

        g_array_append_val(files, file);
    }
    return files;
}

/* ---- which is which ---- */

/* The one file of that size, NULL if there is none or more than one. */
static const struct file *file_of(const GArray *files, guint64 size)
{
    const struct file *found = NULL;

    for (guint i = 0; i < files->len; i++) {
        const struct file *file = &g_array_index(files, struct file, i);

        if (file->size == size && found)
            return NULL;
        if (file->size == size)
            found = file;
    }
    return found;
}

static guint backends_of(const GArray *backends, guint64 size)
{
    guint count = 0;

    for (guint i = 0; i < backends->len; i++)
        count += g_array_index(backends, struct lpm_guest_memory, i).size == size;
    return count;
}

/* Opens the file behind the backend; NULL, or why it is not used (static, or owned). */
static char *open_memory(struct lpm_guest_memory *memory, const GArray *files, guint same)
{
    const struct file *file = same == 1 ? file_of(files, memory->size) : NULL;
    struct statfs fs;
    struct stat st;

    if (!file)
        return g_strdup_printf("which file is the memory of '%s' cannot be told by its size",
                               memory->name);
    lpm_autofd fd = open(file->path, O_RDWR | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
        return g_strdup_printf("the memory of '%s' cannot be opened: %s", memory->name,
                               g_strerror(errno));
    if (st.st_dev != file->device || st.st_ino != file->inode ||
        (guint64)st.st_size != memory->size)
        return g_strdup_printf("the memory of '%s' changed while it was looked at", memory->name);
    if (fs.f_type == HUGETLBFS_MAGIC)
        return g_strdup_printf("the memory of '%s' is of huge pages, which cannot be written as a "
                               "file",
                               memory->name);
    memory->fd = lpm_steal_fd(&fd);
    return NULL;
}

GArray *lpm_guest_memory_find(const LpmQemuProcess *process, char **reason)
{
    pid_t pid = lpm_qemu_process_pid(process);
    g_autoptr(GArray) backends = find_backends(pid);

    *reason = NULL;
    if (!backends->len)
        return NULL;
    g_autoptr(GArray) files = find_files(pid);

    if (!files) {
        *reason = g_strdup_printf("what QEMU has open cannot be seen: %s", g_strerror(errno));
        return NULL;
    }
    GArray *found = g_array_new(FALSE, FALSE, sizeof(struct lpm_guest_memory));

    g_array_set_clear_func(found, memory_clear);
    for (guint i = 0; i < backends->len; i++) {
        struct lpm_guest_memory *memory = &g_array_index(backends, struct lpm_guest_memory, i);
        g_autofree char *why = open_memory(memory, files, backends_of(backends, memory->size));

        if (why && !*reason)
            *reason = g_steal_pointer(&why);
        if (memory->fd >= 0) {
            g_array_append_vals(found, memory, 1);
            *memory = (struct lpm_guest_memory){.fd = -1};
        }
    }
    if (found->len) {
        g_clear_pointer(reason, g_free);
        return found;
    }
    g_array_unref(found);
    return NULL;
}
