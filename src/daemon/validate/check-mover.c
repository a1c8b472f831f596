/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A session between two movers, opened for real (R2.1, R2.11): each host starts one under its own
 * user and sandbox, the source dials the target's data port, and both prove that they know the key.
 * Then both are told to quit. Nothing but this shows a closed port, a wrong path of the program or
 * a user that does not exist before they stop a migration.
 *
 * Over the same session the link's throughput is sampled (throughput.h), unless either host has a
 * migration under way, from which that would take and by which it would be falsified, or another
 * sample.
 */
#include "base/clock.h"
#include "base/fdio.h"
#include "daemon/data-port.h"
#include "daemon/migration.h"
#include "daemon/peers.h"
#include "daemon/validate/checks.h"
#include "daemon/validate/throughput.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT_US (2 * G_USEC_PER_SEC)
#define LINGER_US (G_USEC_PER_SEC) /* the target's, for the source to see the session too */
#define DIAL_LIMIT_S 2
#define FIRST_DIAL_US 60000 /* the target is being asked meanwhile */
#define REDIAL_US 50000
#define QUIT_LIMIT_MS 500
#define TURN_LIMIT_US G_USEC_PER_SEC /* for another sample of this host to end */
#define TURN_TICK_US 20000
#define DRAIN_TICKS 8 /* of TURN_TICK_US, for the target to have everything */

struct trial {
    gint references; /* atomic: the run and the data port hold it */
    struct lpm_validation *validation;
    GMutex lock;
    GCond changed;
    struct lpm_mover *mover; /* under lock; NULL before and after */
    lpm_fd early;            /* under lock: a connection that came before the mover, or -1 */
    gboolean wanted, up, was_up, gone; /* under lock */
    gint64 up_us;                      /* under lock: monotonic */
    gboolean data_wanted;              /* under lock: target, the source has begun a sample */
    char *cause;                       /* under lock */
    /* the check's own thread */
    struct lpm_throughput sample;
    gboolean sampled;
    const char *not_sampled; /* static: why */
    guint path_mtu;          /* source */
    gint64 round_trip_us;    /* source: the kernel's, of the connection */
};

/* One sample at a time: two would share the link. */
static gint sampling; /* atomic */

static void trial_unref(gpointer pointer)
{
    struct trial *trial = pointer;

    if (!g_atomic_int_dec_and_test(&trial->references))
        return;
    g_mutex_clear(&trial->lock);
    g_cond_clear(&trial->changed);
    lpm_fd_clear(&trial->early);
    g_free(trial->cause);
    g_free(trial);
}

static void note_cause(struct trial *trial, const char *cause)
{
    if (!cause)
        return;
    g_free(trial->cause);
    trial->cause = g_strdup(cause);
}

static void on_event(const LpmMoverEvent *event, void *user)
{
    struct trial *trial = user;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&trial->lock);

    if (!event) {
        trial->gone = TRUE;
    } else if (event->type == LPM_MOVER_NEED && event->need == LPM_NEED_LINK) {
        trial->wanted = TRUE;
    } else if (event->type == LPM_MOVER_NEED && event->need == LPM_NEED_DATA) {
        trial->data_wanted = TRUE;
    } else if (event->type == LPM_MOVER_LINK) {
        trial->up = event->link_up;
        if (event->link_up && !trial->was_up)
            trial->up_us = lpm_monotonic_us();
        trial->was_up = trial->was_up || event->link_up;
        note_cause(trial, event->link_up ? NULL : event->cause);
    } else if (event->type == LPM_MOVER_FAILED) {
        trial->gone = TRUE;
        note_cause(trial, event->cause);
    }
    g_cond_broadcast(&trial->changed);
}

/* Hands the connection to the mover once both are there. With the lock. */
static void give_link(struct trial *trial)
{
    if (!trial->mover || trial->early < 0)
        return;
    lpm_mover_send_link(lpm_mover_lock(trial->mover), TRUE, trial->early, NULL);
    lpm_mover_unlock(trial->mover);
    lpm_fd_clear(&trial->early);
}

/* The source's mover arrived on the data port. */
static void on_connection(int fd, const char *from G_GNUC_UNUSED, void *user)
{
    struct trial *trial = user;

    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&trial->lock);

    lpm_fd_clear(&trial->early);
    trial->early = fd;
    give_link(trial);
}

static gboolean start(struct trial *trial, const char *id, GError **error)
{
    const struct lpm_validation *validation = trial->validation;
    const LpmConfig *config = validation->daemon->config;
    LpmMoverStart start = {.side = validation->side,
                           .backlog_bytes = config->backlog_bytes,
                           .compression = "none", /* the sample is of the link */
                           .migration = id,
                           .partition = lpm_fact(validation->model, "name")};
    struct lpm_mover *mover = lpm_mover_spawn(config, id, validation->side, on_event, trial, error);

    if (!mover)
        return FALSE;
    memcpy(start.session, validation->session, sizeof(start.session));
    memcpy(start.psk, validation->psk, sizeof(start.psk));
    gboolean ok = lpm_mover_send_start(lpm_mover_lock(mover), &start, error);
    lpm_mover_unlock(mover);
    explicit_bzero(&start, sizeof(start));
    g_mutex_lock(&trial->lock);
    trial->mover = mover;
    give_link(trial);
    g_mutex_unlock(&trial->lock);
    return ok;
}

static void stop(struct trial *trial)
{
    g_mutex_lock(&trial->lock);
    struct lpm_mover *mover = g_steal_pointer(&trial->mover);
    g_mutex_unlock(&trial->lock);
    if (mover) {
        lpm_mover_quit(mover, QUIT_LIMIT_MS);
        lpm_mover_free(mover);
    }
}

/* What the kernel knows of the path. */
static void note_path(struct trial *trial, int fd)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
        return;
    trial->path_mtu = info.tcpi_pmtu;
    trial->round_trip_us = info.tcpi_rtt;
}

/* One connection to the target's data port, for the mover to use. FALSE if there is none. */
static gboolean dial(struct trial *trial)
{
    const struct lpm_validation *validation = trial->validation;
    g_autoptr(GError) error = NULL;
    g_autoptr(LpmPeer) peer = lpm_peers_get(validation->daemon->peers, validation->peer, &error);
    lpm_autofd fd = peer ? lpm_dial_session(peer, validation->session, DIAL_LIMIT_S, &error) : -1;

    if (fd >= 0)
        note_path(trial, fd);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&trial->lock);

    if (fd >= 0 && trial->mover) {
        lpm_mover_send_link(lpm_mover_lock(trial->mover), FALSE, fd, &error);
        lpm_mover_unlock(trial->mover);
        trial->wanted = FALSE;
    }
    if (error)
        note_cause(trial, error->message);
    return error == NULL;
}

/* ---- the sample ---- */

/* Takes the host's turn; FALSE with the reason when it is not to be had. */
static gboolean take_turn(struct trial *trial)
{
    struct lpm_daemon *daemon = trial->validation->daemon;
    gint64 end = g_get_monotonic_time() + TURN_LIMIT_US;
    /* On the target the migration that asks is not known yet. */
    guint own = trial->validation->for_migration && trial->validation->side == LPM_SIDE_SOURCE;
    g_autoptr(GPtrArray) active = lpm_migrations_active(daemon->migrations);

    trial->not_sampled = "it was not asked for";
    if (!trial->validation->sample_link)
        return FALSE;
    trial->not_sampled = "a migration is under way";
    if (active->len > own)
        return FALSE;
    trial->not_sampled = "another sample is under way";
    while (!g_atomic_int_compare_and_exchange(&sampling, 0, 1)) {
        if (g_get_monotonic_time() > end || g_atomic_int_get(&trial->validation->answered))
            return FALSE;
        g_usleep(TURN_TICK_US);
    }
    trial->not_sampled = NULL;
    return TRUE;
}

/* A connection that the mover takes for its program's; -1 if there is none. */
static int connect_as_program(struct trial *trial)
{
    const LpmConfig *config = trial->validation->daemon->config;
    g_autofree char *path =
        g_strdup_printf("%s/mover/%s.sample", config->run_dir, trial->validation->nonce_text);
    lpm_autofd listener = lpm_unix_listen(path, NULL);
    lpm_autofd fd = listener >= 0 ? lpm_unix_connect(path, NULL) : -1;

    unlink(path);
    if (fd < 0)
        return -1;
    gboolean ok =
        lpm_mover_send_listen(lpm_mover_lock(trial->mover), LPM_CHANNEL_DATA, listener, NULL);
    lpm_mover_unlock(trial->mover);
    return ok ? lpm_steal_fd(&fd) : -1;
}

static void send_sample(struct trial *trial)
{
    const gint *answered = &trial->validation->answered;

    if (!take_turn(trial))
        return;
    lpm_autofd fd = connect_as_program(trial);
    if (fd >= 0) {
        trial->sample.bytes = lpm_throughput_send(
            fd, trial->validation->for_migration ? LPM_THROUGHPUT_BRIEF_US : LPM_THROUGHPUT_US,
            answered);
        trial->sampled = TRUE;
        for (int i = 0; i < DRAIN_TICKS && !g_atomic_int_get(answered); i++)
            g_usleep(TURN_TICK_US);
    }
    g_atomic_int_set(&sampling, 0);
}

static void receive_sample(struct trial *trial)
{
    int pair[2];

    if (!take_turn(trial))
        return;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) {
        lpm_autofd mine = pair[0], program = pair[1];
        gboolean ok =
            lpm_mover_send_attach(lpm_mover_lock(trial->mover), LPM_CHANNEL_DATA, program, NULL);
        lpm_mover_unlock(trial->mover);
        lpm_fd_clear(&program);
        if (ok)
            lpm_throughput_receive(mine, &trial->sample);
        trial->sampled = trial->sample.rate > 0;
    }
    g_atomic_int_set(&sampling, 0);
}

/* ---- both sides ---- */

/* The target may not have registered the session yet and close the first connections. */
static void try_source(struct trial *trial)
{
    const gint *answered = &trial->validation->answered;
    gint64 begin = g_get_monotonic_time();
    gboolean hopeless = FALSE;

    g_mutex_lock(&trial->lock);
    while (!trial->up && !trial->gone && !hopeless && !g_atomic_int_get(answered)) {
        if (trial->wanted && g_get_monotonic_time() - begin >= FIRST_DIAL_US) {
            g_mutex_unlock(&trial->lock);
            /* A port that swallows everything takes all of the limit of one attempt. */
            hopeless = !dial(trial) && g_get_monotonic_time() - begin > LIMIT_US / 2;
            g_mutex_lock(&trial->lock);
        }
        if (!trial->up)
            g_cond_wait_until(&trial->changed, &trial->lock, g_get_monotonic_time() + REDIAL_US);
    }
    gboolean up = trial->up && !trial->gone;
    g_mutex_unlock(&trial->lock);
    if (up)
        send_sample(trial);
}

/* Waits for the session, and then for the source to have seen it and to have gone. */
static void try_target(struct trial *trial)
{
    gint64 end = g_get_monotonic_time() + LIMIT_US;

    g_mutex_lock(&trial->lock);
    while (!trial->was_up && !trial->gone && g_cond_wait_until(&trial->changed, &trial->lock, end))
        continue;
    end = g_get_monotonic_time() + LINGER_US;
    while (trial->up && !trial->gone && !trial->data_wanted &&
           g_cond_wait_until(&trial->changed, &trial->lock, end))
        continue;
    gboolean sample = trial->data_wanted && !trial->gone;
    g_mutex_unlock(&trial->lock);
    if (sample)
        receive_sample(trial);
}

static json_t *facts_of(struct trial *trial, gint64 begin_us)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&trial->lock);

    json_t *facts = json_pack(
        "{s:b, s:b, s:s?, s:I, s:b, s:s?, s:I}", "started", TRUE, "connected", trial->was_up,
        "cause", trial->was_up ? NULL : trial->cause, "session_us",
        (json_int_t)(trial->was_up ? trial->up_us - begin_us : 0), "sampled", trial->sampled,
        "not_sampled", trial->not_sampled, "sampled_bytes", (json_int_t)trial->sample.bytes);
    if (trial->path_mtu) {
        json_object_set_new(facts, "path_mtu", json_integer(trial->path_mtu));
        json_object_set_new(facts, "round_trip_us", json_integer(trial->round_trip_us));
    }
    if (trial->sample.rate)
        json_object_set_new(facts, "throughput", json_integer((json_int_t)trial->sample.rate));
    return facts;
}

json_t *lpm_gather_mover(struct lpm_validation *validation, GError **error)
{
    gboolean target = validation->side == LPM_SIDE_TARGET;
    struct trial *trial;
    g_autofree char *id = g_strndup(validation->nonce_text, 12); /* the form of a migration's */

    /* A migration opens its own session in a moment; one of a partition that is off needs none. */
    if ((validation->for_migration && !validation->sample_link) || lpm_is_off(validation->model))
        return json_object();
    trial = g_new0(struct trial, 1);
    trial->references = 1;
    trial->validation = validation;
    g_mutex_init(&trial->lock);
    g_cond_init(&trial->changed);
    trial->early = -1;
    gint64 begin = lpm_monotonic_us();
    if (target) {
        g_atomic_int_inc(&trial->references);
        lpm_data_port_register(validation->daemon->data_port, validation->session, on_connection,
                               trial, trial_unref);
    }
    gboolean ok = start(trial, id, error);
    if (ok && target)
        try_target(trial);
    else if (ok)
        try_source(trial);
    if (target)
        lpm_data_port_unregister(validation->daemon->data_port, validation->session);
    json_t *facts = ok ? facts_of(trial, begin) : NULL;
    stop(trial);
    trial_unref(trial);
    return facts;
}

void lpm_judge_mover(struct lpm_judgement *judgement)
{
    const char *cause = lpm_fact(judgement->source, "cause");
    const char *theirs = lpm_fact(judgement->target, "cause");

    if (!json_object_get(judgement->source, "started"))
        lpm_does_not_apply(judgement);
    else if (!lpm_fact_true(judgement->source, "connected"))
        lpm_find(judgement, LPM_E_MOVER_UNREACHABLE, "from %s to %s: %s", judgement->source_name,
                 judgement->target_name,
                 *cause    ? cause
                 : *theirs ? theirs
                           : "the session did not come up");
}
