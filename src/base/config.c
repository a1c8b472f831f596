/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/config.h"

#include "base/cpu-list.h"
#include "base/error.h"
#include "lpm-version.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define LINKS_MOST 8 /* the movers' bound (transport/mover-control.h) */

enum kind { STRING, UINT, INT, BYTES };

/* The keys. `text` is the default as it would be written in the file. */
static const struct key {
    const char *group;
    const char *name;
    enum kind kind;
    size_t offset;
    const char *text;
    gint64 least, most; /* of numbers */
} keys[] = {
#define AT(member) offsetof(LpmConfig, member)
    {"host", "name", STRING, AT(name), "", 0, 0},
    {"host", "state_dir", STRING, AT(state_dir), "/var/lib/lpm", 0, 0},
    {"host", "run_dir", STRING, AT(run_dir), "/run/lpm", 0, 0},
    {"host", "socket_group", STRING, AT(socket_group), "lpm", 0, 0},
    {"host", "libvirt_uri", STRING, AT(libvirt_uri), "qemu:///system", 0, 0},
    {"host", "libvirt_socket", STRING, AT(libvirt_socket), "/run/libvirt/libvirt-sock", 0, 0},
    {"host", "qemu_run_dir", STRING, AT(qemu_run_dir), "/run/libvirt/qemu", 0, 0},
    {"host", "socket_dir", STRING, AT(socket_dir), "/run/libvirt/lpm", 0, 0},
    {"host", "qemu_user", STRING, AT(qemu_user), "libvirt-qemu", 0, 0},
    {"host", "nvram_dir", STRING, AT(nvram_dir), "/var/lib/libvirt/qemu/nvram", 0, 0},
    {"host", "tpm_dir", STRING, AT(tpm_dir), "/var/lib/libvirt/swtpm", 0, 0},
    {"network", "listen_address", STRING, AT(listen_address), "::", 0, 0},
    {"network", "control_port", UINT, AT(control_port), "16520", 1, 65535},
    {"network", "data_port", UINT, AT(data_port), "16521", 1, 65535},
    {"mover", "path", STRING, AT(mover_path), LPM_MOVER_PATH, 0, 0},
    {"mover", "user", STRING, AT(mover_user), "lpm-mover", 0, 0},
    {"mover", "compression", STRING, AT(compression), "auto", 0, 0},
    {"mover", "compression_level", INT, AT(compression_level), "-1", -7, 19},
    {"mover", "threads", UINT, AT(threads), "0", 0, 32},
    {"mover", "links", STRING, AT(links), "auto", 0, 0},
    {"mover", "nice", UINT, AT(nice), "5", 0, 19},
    {"mover", "cpus", STRING, AT(cpus), "", 0, 0},
    {"mover", "direct_placement", STRING, AT(direct_placement), "on", 0, 0},
    {"mover", "backlog_bytes", BYTES, AT(backlog_bytes), "4194304", 262144, 1073741824},
    {"mover", "bandwidth", BYTES, AT(bandwidth), "0", 0, G_MAXINT64},
    {"retain", "retain", STRING, AT(retain), "off", 0, 0},
    {"retain", "size", BYTES, AT(retain_size), "34359738368", 0, G_MAXINT64},
    {"retain", "hours", UINT, AT(retain_hours), "72", 1, 87600},
    {"migration", "max_migrations", UINT, AT(max_migrations), "8", 1, 64},
    {"migration", "max_outgoing", UINT, AT(max_outgoing), "4", 1, 64},
    {"migration", "max_incoming", UINT, AT(max_incoming), "4", 1, 64},
    {"migration", "max_per_peer", UINT, AT(max_per_peer), "4", 1, 64},
    {"migration", "max_suspend_ms", UINT, AT(max_suspend_ms), "300", 1, 2000000},
    {"migration", "post_copy", STRING, AT(post_copy), "never", 0, 0},
    {"migration", "post_copy_rounds", UINT, AT(post_copy_rounds), "10", 1, 1000},
    {"migration", "link_timeout_s", UINT, AT(link_timeout_s), "300", 1, 86400},
#undef AT
};

static gboolean set_key(LpmConfig *config, const struct key *key, const char *text,
                        const char *where, GError **error)
{
    char *field = (char *)config + key->offset;
    char *end = NULL;

    if (key->kind == STRING) {
        char **string = (char **)(void *)field;
        g_free(*string);
        *string = g_strdup(text);
        return TRUE;
    }
    gint64 value = g_ascii_strtoll(text, &end, 10);
    if (end == text || *end || value < key->least || value > key->most)
        return lpm_fail(error, LPM_E_CONFIG,
                        "%s: [%s] %s = '%s' is not a whole number from %" G_GINT64_FORMAT
                        " to %" G_GINT64_FORMAT,
                        where, key->group, key->name, text, key->least, key->most);
    if (key->kind == UINT)
        *(guint *)(void *)field = (guint)value;
    else if (key->kind == INT)
        *(gint *)(void *)field = (gint)value;
    else
        *(guint64 *)(void *)field = (guint64)value;
    return TRUE;
}

static const struct key *find_key(const char *group, const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (strcmp(keys[i].group, group) == 0 && strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

/* Groups whose keys are an administrator's own words. */
static GHashTable *roles_of(LpmConfig *config, const char *group)
{
    if (strcmp(group, "networks") == 0)
        return config->networks;
    return strcmp(group, "storage") == 0 ? config->storage : NULL;
}

static gboolean set_role(GHashTable *roles, const char *group, const char *name, const char *text,
                         const char *where, GError **error)
{
    if (!*text)
        return lpm_fail(error, LPM_E_CONFIG, "%s: [%s] %s is empty", where, group, name);
    g_hash_table_insert(roles, g_strdup(name), g_strdup(text));
    return TRUE;
}

static gboolean load_file(LpmConfig *config, const char *path, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) reason = NULL;

    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &reason))
        return lpm_fail(error, LPM_E_CONFIG, "%s: %s", path, reason->message);
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
    for (char **group = groups; *group; group++) {
        g_auto(GStrv) names = g_key_file_get_keys(file, *group, NULL, NULL);
        for (char **name = names; names && *name; name++) {
            const struct key *key = find_key(*group, *name);
            g_autofree char *text = g_key_file_get_string(file, *group, *name, NULL);
            GHashTable *roles = roles_of(config, *group);

            if (roles && text) {
                if (!set_role(roles, *group, *name, text, path, error))
                    return FALSE;
                continue;
            }
            if (!key || !text)
                return lpm_fail(error, LPM_E_CONFIG, "%s: [%s] has no key '%s'", path, *group,
                                *name);
            if (!set_key(config, key, text, path, error))
                return FALSE;
        }
    }
    return TRUE;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static gboolean load_conf_d(LpmConfig *config, const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *conf_d = g_build_filename(folder, "conf.d", NULL);
    g_autoptr(GDir) dir = g_dir_open(conf_d, 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    if (!dir)
        return TRUE;
    while ((name = g_dir_read_name(dir))) {
        if (g_str_has_suffix(name, ".conf"))
            g_ptr_array_add(names, g_build_filename(conf_d, name, NULL));
    }
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len; i++) {
        if (!load_file(config, names->pdata[i], error))
            return FALSE;
    }
    return TRUE;
}

static gboolean check_switch(const char *group, const char *name, const char *text, GError **error)
{
    if (strcmp(text, "on") && strcmp(text, "off"))
        return lpm_fail(error, LPM_E_CONFIG, "[%s] %s = '%s' is not on or off", group, name, text);
    return TRUE;
}

guint lpm_config_links(const LpmConfig *config, gboolean *grow)
{
    gboolean automatic = strcmp(config->links, "auto") == 0;
    int digit = g_ascii_digit_value(*config->links);

    if (grow)
        *grow = automatic;
    if (automatic)
        return LINKS_MOST;
    return digit > 0 && digit <= LINKS_MOST && !config->links[1] ? (guint)digit : 0;
}

/* Values that the table's ranges cannot express. */
static gboolean check_values(LpmConfig *config, GError **error)
{
    if (!*config->name) {
        char host[256] = "";

        gethostname(host, sizeof(host) - 1);
        host[strcspn(host, ".")] = 0;
        g_free(config->name);
        config->name = g_strdup(host);
    }
    static const char *const methods[] = {"auto", "zstd", "lz4", "none", NULL};
    cpu_set_t cpus;

    if (!g_strv_contains(methods, config->compression))
        return lpm_fail(error, LPM_E_CONFIG,
                        "[mover] compression = '%s' is not auto, zstd, lz4 or none",
                        config->compression);
    if (*config->cpus && !lpm_cpu_list_parse(config->cpus, &cpus))
        return lpm_fail(error, LPM_E_CONFIG,
                        "[mover] cpus = '%s' is no list of processors such as 0-3,8", config->cpus);
    if (!lpm_config_links(config, NULL))
        return lpm_fail(error, LPM_E_CONFIG, "[mover] links = '%s' is not auto or 1 to %d",
                        config->links, LINKS_MOST);
    return check_switch("retain", "retain", config->retain, error) &&
           check_switch("mover", "direct_placement", config->direct_placement, error);
}

LpmConfig *lpm_config_load(const char *path, GError **error)
{
    g_autoptr(LpmConfig) config = g_new0(LpmConfig, 1);
    gboolean exists = g_file_test(path, G_FILE_TEST_EXISTS);

    config->networks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    config->storage = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (!set_key(config, &keys[i], keys[i].text, "default", error))
            return NULL;
    }
    if (exists || strcmp(path, LPM_CONFIG_DEFAULT_PATH) != 0) {
        if (!load_file(config, path, error))
            return NULL;
    }
    if (!load_conf_d(config, path, error) || !check_values(config, error))
        return NULL;
    return g_steal_pointer(&config);
}

void lpm_config_free(LpmConfig *config)
{
    if (!config)
        return;
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (keys[i].kind == STRING)
            g_free(*(char **)(void *)((char *)config + keys[i].offset));
    }
    g_clear_pointer(&config->networks, g_hash_table_unref);
    g_clear_pointer(&config->storage, g_hash_table_unref);
    g_free(config);
}
