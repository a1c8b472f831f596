/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A journal that was damaged on its disk. With an odd first byte what follows is the whole file;
 * with an even one it is damage to a sound journal and its write-ahead log, five bytes each: where
 * and how, three bytes of place, a value. Either lpmd refuses to start with it, with a copy kept if
 * it is damaged and the file itself as it was, or everything that lpmd reads of it can be read.
 */
#include "base/error.h"
#include "base/log.h"
#include "daemon/journal.h"
#include "require.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#define PATCH_BYTES 5
#define IN_LOG 1 /* bits of a patch's first byte */
#define CUT 2
#define FLIP 4

static char *folder, *path, *log_path;
static GByteArray *sound, *sound_log; /* a journal that was not closed */

static void remove_file(const char *name)
{
    g_autofree char *file = g_build_filename(folder, name, NULL);

    g_unlink(file);
}

/* Removes everything in the folder; how many of the files were copies of a damaged journal. */
static guint clear_folder(void)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    guint copies = 0;

    while (dir && (name = g_dir_read_name(dir))) {
        if (g_str_has_prefix(name, "lpmd.db.damaged-") && !g_str_has_suffix(name, "-wal"))
            copies++;
        remove_file(name);
    }
    return copies;
}

static void remove_folder(void)
{
    clear_folder();
    g_rmdir(folder);
    g_byte_array_unref(sound);
    g_byte_array_unref(sound_log);
    g_free(folder);
    g_free(path);
    g_free(log_path);
}

static GByteArray *load(const char *file)
{
    GByteArray *bytes = g_byte_array_new();
    char *text = NULL;
    gsize length = 0;

    if (g_file_get_contents(file, &text, &length, NULL))
        g_byte_array_append(bytes, (const guint8 *)text, (guint)length);
    g_free(text);
    return bytes;
}

static void store(const char *file, const GByteArray *bytes)
{
    FILE *out = fopen(file, "wb");

    REQUIRE(out && (!bytes->len || fwrite(bytes->data, bytes->len, 1, out) == 1));
    REQUIRE(fclose(out) == 0);
}

/* ---- a sound journal ---- */

static void fill(struct lpm_journal *journal, const char *id)
{
    json_auto_t *doc = json_pack("{s:i, s:s}", "pid", 7, "session", "00ff");
    const LpmMigrationRow row = {.id = (char *)id,
                                 .role = (char *)"source",
                                 .partition = (char *)"tiny",
                                 .uuid = (char *)"00000000-0000-4000-8000-000000000001",
                                 .peer = (char *)"b",
                                 .state = (char *)"copying",
                                 .started_ms = 1,
                                 .doc = doc};
    const struct lpm_log_entry entry = {.time_us = 1,
                                        .host = "a",
                                        .migration = id,
                                        .partition = "tiny",
                                        .level = "info",
                                        .event = "decided",
                                        .text = "ending"};

    REQUIRE(lpm_journal_migration_insert(journal, &row, NULL));
    REQUIRE(lpm_journal_decide(journal, id, "ending", NULL, "committing", NULL));
    REQUIRE(lpm_journal_phase_begin(journal, id, "copying", 5, NULL));
    REQUIRE(lpm_journal_log_add(journal, &entry, NULL));
}

/* The template: some of it in the file, some in the log only. */
static void make_sound(void)
{
    const LpmPeer peer = {(char *)"b",
                          (char *)"192.0.2.1",
                          16520,
                          16521,
                          (char *)"hUN1fTaZxX5z8e2nS9cBfW3cUOJr0BtA0sKxYbM1v2E=",
                          9};
    g_autoptr(LpmJournal) first = lpm_journal_open(path, NULL);

    REQUIRE(first && lpm_journal_peer_add(first, &peer, FALSE, NULL));
    fill(first, "000000000001");
    g_clear_pointer(&first, lpm_journal_close);
    g_autoptr(LpmJournal) second = lpm_journal_open(path, NULL);
    REQUIRE(second);
    fill(second, "000000000002");
    sound = load(path);
    sound_log = load(log_path);
    REQUIRE(sound->len && sound_log->len);
}

static void make_folder(void)
{
    /* A file system without a disk, where there is one: each input syncs several times. */
    if (g_access("/dev/shm", W_OK) == 0) {
        folder = g_strdup("/dev/shm/lpm-fuzz-XXXXXX");
        REQUIRE(g_mkdtemp(folder));
    } else {
        folder = g_dir_make_tmp("lpm-fuzz-XXXXXX", NULL);
        REQUIRE(folder);
    }
    path = g_build_filename(folder, "lpmd.db", NULL);
    log_path = g_strconcat(path, "-wal", NULL);
    lpm_log_init("fuzz", LPM_LOG_ERROR);
    make_sound();
    atexit(remove_folder);
}

/* ---- one input ---- */

static void damage(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) file = g_byte_array_new(), journal_log = g_byte_array_new();

    g_byte_array_append(file, sound->data, sound->len);
    g_byte_array_append(journal_log, sound_log->data, sound_log->len);
    for (; size >= PATCH_BYTES; data += PATCH_BYTES, size -= PATCH_BYTES) {
        GByteArray *bytes = data[0] & IN_LOG ? journal_log : file;
        guint at = (guint)data[1] << 16 | (guint)data[2] << 8 | data[3];

        if (!bytes->len)
            continue;
        at %= bytes->len;
        if (data[0] & CUT)
            g_byte_array_set_size(bytes, at);
        else
            bytes->data[at] = data[0] & FLIP ? bytes->data[at] ^ data[4] : data[4];
    }
    store(path, file);
    store(log_path, journal_log);
}

/* An error of the catalogue that is the journal's, or nothing found. */
static void check_error(const GError *error)
{
    if (!error)
        return;
    REQUIRE(*error->message);
    REQUIRE(g_error_matches(error, LPM_ERROR, LPM_E_JOURNAL) ||
            g_error_matches(error, LPM_ERROR, LPM_E_MIGRATION_NOT_FOUND));
}

static void read_migration(struct lpm_journal *journal, const LpmMigrationRow *row)
{
    g_autoptr(GError) error = NULL, reason = NULL, cause = NULL;

    REQUIRE(row->id && row->role && row->partition && row->uuid && row->peer && row->state);
    REQUIRE(row->doc);
    g_autoptr(GPtrArray) decisions = lpm_journal_decisions(journal, row->id, &error);
    check_error(error);
    REQUIRE(!decisions == (error != NULL));
    for (guint i = 0; decisions && i < decisions->len; i++) {
        const LpmDecision *decision = decisions->pdata[i];
        REQUIRE(decision->what && decision->facts);
    }
    lpm_journal_decided(journal, row->id, "ending", &reason);
    check_error(reason);
    json_auto_t *phases = lpm_journal_phases(journal, row->id, &cause);
    check_error(cause);
    REQUIRE(!phases == (cause != NULL));
}

static void read_all(struct lpm_journal *journal)
{
    g_autoptr(GError) error = NULL, reason = NULL, cause = NULL, refusal = NULL;
    g_autoptr(GPtrArray) rows = lpm_journal_migrations(journal, NULL, FALSE, 0, &error);
    g_autoptr(GPtrArray) peers = lpm_journal_peers(journal, &reason);
    json_auto_t *lines = lpm_journal_log_list(journal, "tiny", NULL, 0, &cause);

    check_error(error);
    check_error(reason);
    check_error(cause);
    REQUIRE(!rows == (error != NULL) && !peers == (reason != NULL) && !lines == (cause != NULL));
    for (guint i = 0; rows && i < rows->len; i++)
        read_migration(journal, rows->pdata[i]);
    lpm_journal_decide(journal, "000000000001", "aborted", NULL, NULL, &refusal);
    check_error(refusal);
}

/* Refused: one clear error; what is damaged is left as it was and copied. */
static void check_refusal(const GError *error, const GByteArray *before)
{
    g_autoptr(GByteArray) after = load(path);
    gboolean damaged = strstr(error->message, " is damaged (") != NULL;

    REQUIRE(g_error_matches(error, LPM_ERROR, LPM_E_JOURNAL));
    REQUIRE(strstr(error->message, path));
    REQUIRE(!damaged ||
            (after->len == before->len && memcmp(after->data, before->data, after->len) == 0));
    REQUIRE(clear_folder() == (damaged ? 1u : 0u));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;

    if (!folder)
        make_folder();
    if (size < 2)
        return 0;
    clear_folder();
    if (data[0] & 1) {
        g_autoptr(GByteArray) file = g_byte_array_new();
        g_byte_array_append(file, data + 1, (guint)size - 1);
        store(path, file);
    } else {
        damage(data + 1, size - 1);
    }
    g_autoptr(GByteArray) before = load(path);
    g_autoptr(LpmJournal) journal = lpm_journal_open(path, &error);
    REQUIRE(!journal == (error != NULL));
    if (journal)
        read_all(journal);
    else
        check_refusal(error, before);
    return 0;
}
