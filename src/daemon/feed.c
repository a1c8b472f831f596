/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The target's side of feed.h. */
#include "base/error.h"
#include "base/fault-point.h"
#include "daemon/feed-internal.h"
#include "daemon/peer-client.h"
#include "daemon/target-internal.h"
#include "host/page-feeder.h"

#include <string.h>

#define BEFORE_US G_USEC_PER_SEC /* a recovery that nothing is in the way of takes less */
#define STREAM_PAUSE_US 500000   /* between two looks at a QEMU that has a stream */
#define FAILURE_PAUSE_US 500000  /* after anything that did not work */
#define OPEN_PAUSE_US                                                                              \
    (5 * G_USEC_PER_SEC) /* the same of QEMU: a large one takes long to look into */
#define LISTEN_MS 100    /* for somebody who waits */
#define ASK_LIMIT_S 5    /* for the source's answer */
#define PAGES_MAX 16384u /* in one migration; some hundred are usual */

/* ---- the memory's names ---- */

/* What the mover told of it, read and checked. */
struct lpm_feed_memory {
    guint64 page_size; /* of the stream, bytes */
    guint count;
    guint64 lengths[LPM_FEED_BLOCKS_MAX];
    char *names[LPM_FEED_BLOCKS_MAX]; /* owned */
};

static void memory_clear(struct lpm_feed_memory *memory)
{
    for (guint i = 0; i < memory->count; i++)
        g_free(memory->names[i]);
}

typedef struct lpm_feed_memory LpmFeedMemory;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LpmFeedMemory, memory_clear)

static gboolean read_memory(const json_t *document, LpmFeedMemory *memory)
{
    const json_t *blocks = json_object_get(document, "blocks");
    const gsize count = json_array_size(blocks);
    const json_int_t page = json_integer_value(json_object_get(document, "page_size"));

    if (!count || count > LPM_FEED_BLOCKS_MAX || page < 1 ||
        lpm_page_feeder_page_size() % (gsize)page)
        return FALSE;
    memory->page_size = (guint64)page;
    for (gsize i = 0; i < count; i++) {
        const json_t *block = json_array_get(blocks, i);
        const char *name = json_string_value(json_object_get(block, "name"));
        const json_int_t length = json_integer_value(json_object_get(block, "length"));

        if (!name || length < (json_int_t)LPM_MEMORY_BLOCK_MIN)
            return FALSE;
        memory->lengths[i] = (guint64)length;
        memory->names[i] = g_strdup(name);
        memory->count++;
    }
    return TRUE;
}

static gboolean get_memory(LpmMigration *migration, LpmFeedMemory *memory)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    return migration->memory && read_memory(migration->memory, memory);
}

static const char *name_of(const LpmFeedMemory *memory, guint64 length)
{
    for (guint i = 0; i < memory->count; i++)
        if (memory->lengths[i] == length)
            return memory->names[i];
    return NULL;
}

void lpm_feed_note_memory(LpmMigration *migration, const json_t *memory)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    if (!migration->memory)
        migration->memory = json_deep_copy(memory);
}

void lpm_feed_keep_memory(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *document = lpm_target_parameters(migration);

    if (migration->memory_kept || !json_object_get(document, "memory"))
        return;
    migration->memory_kept =
        lpm_journal_migration_doc(migration->daemon->journal, migration->id, document, &error);
    if (!migration->memory_kept)
        lpm_migration_log(migration, LPM_LOG_WARNING, "journal", "%s", error->message);
}

static LpmPageFeeder *open_feeder(LpmMigration *migration, const LpmFeedMemory *memory,
                                  GError **error)
{
    g_autofree char *path = lpm_migration_data_path(migration);
    LpmQemuProcess *process = lpm_qemu_process_open(migration->daemon->config->qemu_run_dir,
                                                    migration->partition, migration->uuid, error);

    return process ? lpm_page_feeder_open(process, path, memory->lengths, memory->count,
                                          LPM_MEMORY_BLOCK_MIN, error)
                   : NULL;
}

/* ---- F1 to F5 ---- */

static gboolean over(LpmMigration *migration)
{
    return lpm_state_is_final(migration->state) ||
           lpm_migrations_closing(migration->daemon->migrations);
}

static gboolean stopped(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    return migration->feed_stop || over(migration);
}

/* Waits so long, unless it is to stop before. */
static gboolean wait_for(LpmMigration *migration, gint64 microseconds)
{
    gint64 until = g_get_monotonic_time() + microseconds;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    while (!migration->feed_stop && !over(migration) &&
           g_cond_wait_until(&migration->changed, &migration->lock, until))
        continue;
    return !migration->feed_stop && !over(migration);
}

static void add_number(json_t *list, guint64 number)
{
    json_array_append_new(list, json_integer((json_int_t)number));
}

/* F3: {pages: [base64]}, a new reference, as many as were asked for. */
static json_t *ask(LpmMigration *migration, const LpmFeedMemory *memory,
                   const struct lpm_fed_page *wanted, guint count, GError **error)
{
    g_autofree char *path = g_strdup_printf("/v1/peer/migrations/%s/pages", migration->id);
    json_t *lengths = json_array(), *pages = json_array();

    for (guint i = 0; i < memory->count; i++)
        add_number(lengths, memory->lengths[i]);
    for (guint i = 0; i < count; i++) {
        add_number(pages, wanted[i].length);
        add_number(pages, wanted[i].offset);
    }
    json_auto_t *body = json_pack("{s:o, s:o, s:I}", "lengths", lengths, "pages", pages, "size",
                                  (json_int_t)lpm_page_feeder_page_size());
    json_auto_t *answer = lpm_peer_call(migration->daemon->peers, migration->peer, "POST", path,
                                        body, ASK_LIMIT_S, NULL, error);

    if (!answer)
        return NULL;
    if (json_array_size(json_object_get(answer, "pages")) == count)
        return json_incref(answer);
    lpm_fail(error, LPM_E_PEER_ANSWER, "%s answered with other pages than it was asked for",
             migration->peer);
    return NULL;
}

/* The bytes of the answer's page, a new array; NULL: they are not those of a page. */
static guint8 *page_of(const json_t *answer, guint index)
{
    const json_t *text = json_array_get(json_object_get(answer, "pages"), index);
    gsize size = 0;
    g_autofree guint8 *data =
        json_is_string(text) ? g_base64_decode(json_string_value(text), &size) : NULL;

    return size == lpm_page_feeder_page_size() ? g_steal_pointer(&data) : NULL;
}

/* F3 to F5 for pages that somebody waits for. */
static gboolean feed_pages(LpmMigration *migration, LpmPageFeeder *feeder,
                           const LpmFeedMemory *memory, const struct lpm_fed_page *wanted,
                           guint count, GError **error)
{
    json_auto_t *answer = ask(migration, memory, wanted, count, error);

    if (!answer)
        return FALSE;
    LPM_FAULT_POINT("target", "feeding");
    if (!lpm_journal_fed_add(migration->daemon->journal, migration->id, wanted, count, error))
        return FALSE;
    LPM_FAULT_POINT("target", "fed-journalled");
    for (guint i = 0; i < count; i++) {
        g_autofree guint8 *data = page_of(answer, i);

        if (!data)
            return lpm_fail(error, LPM_E_PEER_ANSWER, "%s answered with what is no page",
                            migration->peer);
        if (!lpm_page_feeder_put(feeder, &wanted[i], data, error))
            return FALSE;
    }
    return TRUE;
}

/* How many were fed before, by this lpmd or another; what cannot be read counts as too many. */
static guint count_fed(LpmMigration *migration)
{
    g_autoptr(GArray) fed = lpm_journal_fed(migration->daemon->journal, migration->id, NULL);

    return fed ? fed->len : PAGES_MAX;
}

/* What goes wrong the same way again is said once. */
static void complain(LpmMigration *migration, char **said, const char *cause)
{
    if (g_strcmp0(*said, cause) != 0)
        lpm_migration_log(migration, LPM_LOG_WARNING, "feeding", "%s", cause);
    g_free(*said);
    *said = g_strdup(cause);
    wait_for(migration, FAILURE_PAUSE_US);
}

/* One round; how many pages were fed. */
static guint feed_once(LpmMigration *migration, LpmPageFeeder *feeder, const LpmFeedMemory *memory,
                       char **said)
{
    struct lpm_fed_page wanted[LPM_FEED_AT_ONCE];
    g_autoptr(GError) error = NULL;
    guint unnamed;

    if (!lpm_page_feeder_alone(feeder)) {
        wait_for(migration, STREAM_PAUSE_US);
        return 0;
    }
    guint count = lpm_page_feeder_wanted(feeder, wanted, LPM_FEED_AT_ONCE, LISTEN_MS, &unnamed);
    if (count && feed_pages(migration, feeder, memory, wanted, count, &error))
        return count;
    if (error)
        complain(migration, said, error->message);
    else if (unnamed)
        complain(migration, said,
                 "QEMU waits for a page of a small block, or of one of two of a length, which "
                 "cannot be told apart: it is not fetched");
    return 0;
}

static void feed_on(LpmMigration *migration, LpmPageFeeder *feeder, const LpmFeedMemory *memory)
{
    g_autofree char *said = NULL;
    guint before = count_fed(migration), total = before;

    while (total < PAGES_MAX && !stopped(migration)) {
        guint count = feed_once(migration, feeder, memory, &said);

        if (count && total == before)
            lpm_migration_log(migration, LPM_LOG_INFO, "feeding",
                              "QEMU waits for pages without a stream that could bring them: they "
                              "are fetched from %s one by one",
                              migration->peer);
        total += count;
    }
    if (total > before)
        lpm_migration_log(migration, LPM_LOG_INFO, "fed", "%u pages were fetched one by one",
                          total - before);
}

/* Until QEMU can be looked into, or it is over. */
static LpmPageFeeder *open_patiently(LpmMigration *migration, const LpmFeedMemory *memory)
{
    LpmPageFeeder *feeder = NULL;
    gboolean said = FALSE;

    while (!feeder && wait_for(migration, said ? OPEN_PAUSE_US : BEFORE_US)) {
        g_autoptr(GError) error = NULL;

        feeder = open_feeder(migration, memory, &error);
        if (!feeder && !said)
            lpm_migration_log(migration, LPM_LOG_INFO, "feeding",
                              "should QEMU wait for a page now, nothing can be fed: %s",
                              error->message);
        said = TRUE;
    }
    return feeder;
}

static void feed(LpmMigration *migration)
{
    g_auto(LpmFeedMemory) memory = {0};

    if (get_memory(migration, &memory)) {
        g_autoptr(LpmPageFeeder) feeder = open_patiently(migration, &memory);

        if (feeder)
            feed_on(migration, feeder, &memory);
    } else {
        lpm_migration_log(migration, LPM_LOG_INFO, "feeding",
                          "should QEMU wait for a page now, nothing can be fed: how its stream "
                          "names the memory is not known");
    }
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    migration->feeding = FALSE;
    g_cond_broadcast(&migration->changed);
}

void lpm_feed_begin(LpmMigration *migration)
{
    if (!lpm_migration_switched(migration) ||
        lpm_migration_decided(migration, LPM_DECIDED_PREPARED))
        return;
    g_mutex_lock(&migration->lock);
    while (migration->feeding && migration->feed_stop)
        g_cond_wait(&migration->changed, &migration->lock);
    gboolean runs = migration->feeding;
    migration->feeding = TRUE;
    migration->feed_stop = FALSE;
    g_mutex_unlock(&migration->lock);
    if (!runs)
        lpm_migrations_run(migration->daemon->migrations, migration, feed);
}

/* ---- F6 ---- */

static void stop_feeding(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    migration->feed_stop = TRUE;
    g_cond_broadcast(&migration->changed);
    while (migration->feeding)
        g_cond_wait(&migration->changed, &migration->lock);
}

/* Those of them that QEMU has. NULL: that cannot be told. */
static GArray *fed_for_good(LpmMigration *migration, const LpmFeedMemory *memory, GError **error)
{
    g_autoptr(GArray) fed = lpm_journal_fed(migration->daemon->journal, migration->id, error);

    if (!fed || !fed->len)
        return g_steal_pointer(&fed);
    g_autoptr(LpmPageFeeder) feeder = open_feeder(migration, memory, error);
    if (!feeder)
        return NULL;
    for (guint i = 0; i < fed->len;) {
        const struct lpm_fed_page *page = &g_array_index(fed, struct lpm_fed_page, i);
        g_autoptr(GError) failure = NULL;

        if (lpm_page_feeder_has(feeder, page, &failure)) {
            i++;
        } else if (failure) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return NULL;
        } else {
            g_array_remove_index(fed, i);
        }
    }
    return g_steal_pointer(&fed);
}

/* As lpm_mover_send_mark, for pages of one block. */
static gboolean mark(struct lpm_mover *mover, const char *name, const GArray *runs, GError **error)
{
    gboolean ok = lpm_mover_send_mark(lpm_mover_lock(mover), name,
                                      (const guint64 *)(void *)runs->data, runs->len / 2, error);

    lpm_mover_unlock(mover);
    return ok;
}

/* The pages of a block are next to each other in the list. */
static gboolean mark_all(struct lpm_mover *mover, const LpmFeedMemory *memory, const GArray *fed,
                         GError **error)
{
    const guint64 count = lpm_page_feeder_page_size() / MAX(memory->page_size, 1);
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(guint64));

    for (guint i = 0; i < fed->len; i++) {
        const struct lpm_fed_page *page = &g_array_index(fed, struct lpm_fed_page, i);
        const guint64 first = page->offset / memory->page_size;
        gboolean last = i + 1 == fed->len || page[1].length != page->length;

        g_array_append_val(runs, first);
        g_array_append_val(runs, count);
        if (!last && runs->len < 2 * LPM_MARK_RUNS_MAX)
            continue;
        if (!mark(mover, name_of(memory, page->length), runs, error))
            return FALSE;
        g_array_set_size(runs, 0);
    }
    return TRUE;
}

/* The mover whose QEMU waits now, and no other: one that comes after it asks by itself. */
static gboolean complete_bitmaps(LpmMigration *migration, struct lpm_mover *mover, GError **error)
{
    g_auto(LpmFeedMemory) memory = {0};

    get_memory(migration, &memory); /* without it nothing was fed */
    g_autoptr(GArray) fed = fed_for_good(migration, &memory, error);

    if (!fed || !mark_all(mover, &memory, fed, error))
        return FALSE;
    LPM_FAULT_POINT("target", "bitmaps");
    gboolean ok = lpm_mover_send_pass_bitmaps(lpm_mover_lock(mover), error);
    lpm_mover_unlock(mover);
    return ok;
}

/* QEMU goes on only with all of the marks: what is in the way is waited for. */
static void give_marks(LpmMigration *migration)
{
    struct lpm_mover *mover = lpm_migration_wait_mover(migration);

    stop_feeding(migration);
    for (gboolean mine = mover != NULL; mine;) {
        g_autoptr(GError) error = NULL;

        if (complete_bitmaps(migration, mover, &error))
            return;
        lpm_migration_log(migration, LPM_LOG_WARNING, "feeding", "%s", error->message);
        mine = lpm_migration_pause(migration, FAILURE_PAUSE_US);
        g_mutex_lock(&migration->lock);
        mine = mine && migration->mover == mover && !migration->mover_gone &&
               !lpm_state_is_final(migration->state);
        g_mutex_unlock(&migration->lock);
    }
}

void lpm_feed_on_bitmaps(LpmMigration *migration)
{
    lpm_migrations_run(migration->daemon->migrations, migration, give_marks);
}
