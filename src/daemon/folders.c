/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/folders.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The mode is set also on a folder that is there: state_dir holds a key. */
static gboolean make_folder(const char *key, const char *path, mode_t mode, GError **error)
{
    if (!g_path_is_absolute(path))
        return lpm_fail(error, LPM_E_CONFIG, "[host] %s = '%s' does not begin with '/'", key, path);
    if (g_mkdir_with_parents(path, (gint)mode) < 0 || chmod(path, mode) < 0)
        return lpm_fail(error, LPM_E_CONFIG, "[host] %s = '%s': %s", key, path, g_strerror(errno));
    return TRUE;
}

gboolean lpm_folders_make(const LpmConfig *config, GError **error)
{
    return make_folder("state_dir", config->state_dir, 0700, error) &&
           make_folder("run_dir", config->run_dir, 0755, error);
}

static gboolean refuse(int fd, const char *path, GError **error)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = 0;
    return lpm_fail(error, LPM_E_CONFIG, "another lpmd (process %s) uses this folder: %s is locked",
                    g_strstrip(text), path);
}

int lpm_folder_lock(const char *folder, GError **error)
{
    g_autofree char *path = g_build_filename(folder, "lpmd.lock", NULL);
    lpm_autofd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    char text[32];

    if (fd < 0) {
        lpm_fail(error, LPM_E_CONFIG, "%s: %s", path, g_strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        refuse(fd, path, error);
        return -1;
    }
    int length = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)length, 0) != length) {
        lpm_fail(error, LPM_E_CONFIG, "%s: %s", path, g_strerror(errno));
        return -1;
    }
    return lpm_steal_fd(&fd);
}
