/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "transport/mover-control.h"

#include "base/error.h"
#include "base/fdio.h"

#include <string.h>

static const char *const channel_names[] = {"control", "rpc", "data"};
static const char *const side_names[] = {"source", "target"};
static const char *const need_names[] = {"link", "rpc", "data"};
static const char *const state_names[] = {"none", "open", "eof", "ending", "closed"};
static const char *const finish_names[] = {"none", "held", "released", "refused"};
static const char *const command_names[] = {
    "start",     "listen", "attach", "link", "release", "fail-finish", "stats", "quit",
    "allow-run", "end",    "leave",  "set",  "retain",  "memory",      "mark",  "pass-bitmaps"};
static const char *const event_names[] = {"hello", "need",   "link",  "channel",  "finish-held",
                                          "stats", "failed", "ended", "postcopy", "bitmaps"};

const char *lpm_channel_name(enum lpm_channel channel)
{
    return (unsigned)channel < G_N_ELEMENTS(channel_names) ? channel_names[channel] : "unknown";
}

const char *lpm_side_name(enum lpm_side side)
{
    return (unsigned)side < G_N_ELEMENTS(side_names) ? side_names[side] : "unknown";
}

/* The index of `name`, or -1. */
static int find_name(const char *name, const char *const *names, gsize count)
{
    for (gsize i = 0; name && i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    return -1;
}

gboolean lpm_side_from_name(const char *name, enum lpm_side *side)
{
    int found = find_name(name, side_names, G_N_ELEMENTS(side_names));

    if (found < 0)
        return FALSE;
    *side = (enum lpm_side)found;
    return TRUE;
}

char *lpm_hex(const guint8 *bytes, gsize length)
{
    GString *text = g_string_sized_new(2 * length);

    for (gsize i = 0; i < length; i++)
        g_string_append_printf(text, "%02x", bytes[i]);
    return g_string_free(text, FALSE);
}

gboolean lpm_unhex(const char *text, guint8 *bytes, gsize length)
{
    if (!text || strlen(text) != 2 * length)
        return FALSE;
    for (gsize i = 0; i < length; i++) {
        int high = g_ascii_xdigit_value(text[2 * i]);
        int low = g_ascii_xdigit_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return FALSE;
        bytes[i] = (guint8)(high << 4 | low);
    }
    return TRUE;
}

/* Sends `message` and drops the reference. */
static gboolean send_stolen(int socket, json_t *message, int fd, GError **error)
{
    gboolean ok = lpm_message_send(socket, message, fd, error);

    json_decref(message);
    return ok;
}

/* ---- commands ---- */

static json_t *command_new(enum lpm_mover_command_type type)
{
    json_t *message = json_object();

    json_object_set_new(message, "message", json_string(command_names[type]));
    return message;
}

gboolean lpm_mover_send_start(int socket, const LpmMoverStart *start, GError **error)
{
    g_autofree char *session = lpm_hex(start->session, sizeof(start->session));
    g_autofree char *psk = lpm_hex(start->psk, sizeof(start->psk));
    json_t *message = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:s, s:i, s:s, s:s, s:b, s:b, s:b, s:b, s:i, s:I, s:i, s:b}",
        "message", command_names[LPM_MOVER_START], "side", lpm_side_name(start->side), "session",
        session, "psk", psk, "backlog_bytes", (json_int_t)start->backlog_bytes, "compression",
        start->compression, "compression_level", start->compression_level, "migration",
        start->migration, "partition", start->partition, "finish_by_outcome",
        start->finish_by_outcome, "gate_run", start->gate_run, "hold_ends", start->hold_ends,
        "hold_bitmaps", start->hold_bitmaps, "threads", (int)start->threads, "bandwidth",
        (json_int_t)start->bandwidth, "links", (int)MAX(start->links, 1), "grow", start->grow);

    explicit_bzero(psk, strlen(psk));
    if (!message)
        return lpm_fail(error, LPM_E_INTERNAL,
                        "a mover's start message has a string that is not UTF-8");
    return send_stolen(socket, message, -1, error);
}

static gboolean send_channel(int socket, enum lpm_mover_command_type type, enum lpm_channel channel,
                             int fd, GError **error)
{
    json_t *message = command_new(type);

    json_object_set_new(message, "channel", json_string(lpm_channel_name(channel)));
    return send_stolen(socket, message, fd, error);
}

gboolean lpm_mover_send_listen(int socket, enum lpm_channel channel, int fd, GError **error)
{
    return send_channel(socket, LPM_MOVER_LISTEN, channel, fd, error);
}

gboolean lpm_mover_send_attach(int socket, enum lpm_channel channel, int fd, GError **error)
{
    return send_channel(socket, LPM_MOVER_ATTACH, channel, fd, error);
}

gboolean lpm_mover_send_link(int socket, gboolean server, int fd, GError **error)
{
    json_t *message = command_new(LPM_MOVER_ADD_LINK);

    json_object_set_new(message, "server", json_boolean(server));
    return send_stolen(socket, message, fd, error);
}

gboolean lpm_mover_send_release(int socket, GError **error)
{
    return send_stolen(socket, command_new(LPM_MOVER_RELEASE), -1, error);
}

gboolean lpm_mover_send_fail_finish(int socket, const char *cause, GError **error)
{
    json_t *message = command_new(LPM_MOVER_FAIL_FINISH);

    json_object_set_new(message, "cause", json_string(cause));
    return send_stolen(socket, message, -1, error);
}

gboolean lpm_mover_send_allow_run(int socket, GError **error)
{
    return send_stolen(socket, command_new(LPM_MOVER_ALLOW_RUN), -1, error);
}

gboolean lpm_mover_send_set(int socket, const struct lpm_mover_set *set, GError **error)
{
    json_t *message = command_new(LPM_MOVER_SET);

    if (set->has_threads)
        json_object_set_new(message, "threads", json_integer(set->threads));
    if (set->has_bandwidth)
        json_object_set_new(message, "bandwidth", json_integer((json_int_t)set->bandwidth));
    return send_stolen(socket, message, -1, error);
}

gboolean lpm_mover_send_retain(int socket, int fd, const guint8 key[LPM_IMAGE_KEY_BYTES],
                               GError **error)
{
    g_autofree char *text = lpm_hex(key, LPM_IMAGE_KEY_BYTES);
    json_t *message = command_new(LPM_MOVER_RETAIN);

    json_object_set_new(message, "key", json_string(text));
    explicit_bzero(text, strlen(text));
    return send_stolen(socket, message, fd, error);
}

gboolean lpm_mover_send_memory(int socket, const char *block, guint64 size, int fd, GError **error)
{
    json_t *message = command_new(LPM_MOVER_MEMORY);

    json_object_set_new(message, "block", json_string(block));
    json_object_set_new(message, "size", json_integer((json_int_t)size));
    return send_stolen(socket, message, fd, error);
}

gboolean lpm_mover_send_no_memory(int socket, const char *reason, GError **error)
{
    json_t *message = command_new(LPM_MOVER_MEMORY);

    json_object_set_new(message, "reason", json_string(reason));
    return send_stolen(socket, message, -1, error);
}

gboolean lpm_mover_send_mark(int socket, const char *block, const guint64 *runs, guint count,
                             GError **error)
{
    json_t *message = command_new(LPM_MOVER_MARK);
    json_t *numbers = json_array();

    for (guint i = 0; i < 2 * count; i++)
        json_array_append_new(numbers, json_integer((json_int_t)runs[i]));
    json_object_set_new(message, "block", json_string(block));
    json_object_set_new(message, "runs", numbers);
    return send_stolen(socket, message, -1, error);
}

gboolean lpm_mover_send_pass_bitmaps(int socket, GError **error)
{
    return send_stolen(socket, command_new(LPM_MOVER_PASS_BITMAPS), -1, error);
}

gboolean lpm_mover_send_end(int socket, enum lpm_channel channel, GError **error)
{
    return send_channel(socket, LPM_MOVER_END, channel, -1, error);
}

gboolean lpm_mover_send_leave(int socket, GError **error)
{
    return send_stolen(socket, command_new(LPM_MOVER_LEAVE), -1, error);
}

gboolean lpm_mover_send_stats(int socket, GError **error)
{
    return send_stolen(socket, command_new(LPM_MOVER_ASK_STATS), -1, error);
}

gboolean lpm_mover_send_quit(int socket, GError **error)
{
    return send_stolen(socket, command_new(LPM_MOVER_QUIT), -1, error);
}

/* ---- receiving ---- */

static gboolean bad_key(const json_t *message, const char *key, GError **error)
{
    const char *name = json_string_value(json_object_get(message, "message"));

    return lpm_fail(error, LPM_E_PROTOCOL, "the mover's message '%s' lacks a valid '%s'",
                    name ? name : "(none)", key);
}

/* The string at `key` looked up in `names`. */
static gboolean get_name(const json_t *message, const char *key, const char *const *names,
                         gsize count, int *value, GError **error)
{
    *value = find_name(json_string_value(json_object_get(message, key)), names, count);
    return *value >= 0 ? TRUE : bad_key(message, key, error);
}

static gboolean get_string(const json_t *message, const char *key, const char **value,
                           GError **error)
{
    *value = json_string_value(json_object_get(message, key));
    return *value ? TRUE : bad_key(message, key, error);
}

static gboolean get_bytes(const json_t *message, const char *key, guint8 *bytes, gsize length,
                          GError **error)
{
    return lpm_unhex(json_string_value(json_object_get(message, key)), bytes, length)
               ? TRUE
               : bad_key(message, key, error);
}

static gboolean get_integer(const json_t *message, const char *key, gint64 low, gint64 high,
                            gint64 *value, GError **error)
{
    const json_t *found = json_object_get(message, key);

    *value = json_integer_value(found);
    if (!json_is_integer(found) || *value < low || *value > high)
        return bad_key(message, key, error);
    return TRUE;
}

static gboolean get_boolean(const json_t *message, const char *key, gboolean *value, GError **error)
{
    const json_t *found = json_object_get(message, key);

    *value = json_is_true(found);
    return json_is_boolean(found) ? TRUE : bad_key(message, key, error);
}

/* Both keys may be missing; `set` says which were there. */
static gboolean parse_set(const json_t *message, struct lpm_mover_set *set, GError **error)
{
    gint64 threads = 0, bandwidth = 0;

    set->has_threads = json_object_get(message, "threads") != NULL;
    set->has_bandwidth = json_object_get(message, "bandwidth") != NULL;
    if ((set->has_threads &&
         !get_integer(message, "threads", 0, LPM_MOVER_THREADS_MAX, &threads, error)) ||
        (set->has_bandwidth &&
         !get_integer(message, "bandwidth", 0, G_MAXINT64, &bandwidth, error)))
        return FALSE;
    set->threads = (guint)threads;
    set->bandwidth = (guint64)bandwidth;
    return TRUE;
}

static gboolean parse_start(const json_t *message, LpmMoverStart *start, GError **error)
{
    gint64 backlog = 0, level = 0, links = 1;
    int side;

    if (!get_name(message, "side", side_names, G_N_ELEMENTS(side_names), &side, error) ||
        !get_bytes(message, "session", start->session, sizeof(start->session), error) ||
        !get_bytes(message, "psk", start->psk, sizeof(start->psk), error) ||
        !get_integer(message, "backlog_bytes", (gint64)LPM_BACKLOG_MIN, (gint64)LPM_BACKLOG_MAX,
                     &backlog, error) ||
        !get_string(message, "compression", &start->compression, error) ||
        !get_integer(message, "compression_level", -7, 19, &level, error) ||
        !get_string(message, "migration", &start->migration, error) ||
        !get_string(message, "partition", &start->partition, error))
        return FALSE;
    if ((json_object_get(message, "finish_by_outcome") &&
         !get_boolean(message, "finish_by_outcome", &start->finish_by_outcome, error)) ||
        (json_object_get(message, "gate_run") &&
         !get_boolean(message, "gate_run", &start->gate_run, error)) ||
        (json_object_get(message, "hold_ends") &&
         !get_boolean(message, "hold_ends", &start->hold_ends, error)) ||
        (json_object_get(message, "hold_bitmaps") &&
         !get_boolean(message, "hold_bitmaps", &start->hold_bitmaps, error)) ||
        (json_object_get(message, "grow") && !get_boolean(message, "grow", &start->grow, error)) ||
        (json_object_get(message, "links") &&
         !get_integer(message, "links", 1, LPM_LINKS_MOST, &links, error)))
        return FALSE;
    struct lpm_mover_set set;

    if (!parse_set(message, &set, error))
        return FALSE;
    start->threads = set.threads;
    start->bandwidth = set.bandwidth;
    start->links = (guint)links;
    start->side = (enum lpm_side)side;
    start->backlog_bytes = (guint64)backlog;
    start->compression_level = (gint)level;
    return TRUE;
}

static gboolean parse_channel(const json_t *message, enum lpm_channel *channel, GError **error)
{
    int found;

    if (!get_name(message, "channel", channel_names, G_N_ELEMENTS(channel_names), &found, error))
        return FALSE;
    if (found == LPM_CHANNEL_CONTROL)
        return bad_key(message, "channel", error);
    *channel = (enum lpm_channel)found;
    return TRUE;
}

/* A block with its file, or a reason. */
static gboolean parse_memory(LpmMoverCommand *command, GError **error)
{
    const json_t *message = command->message;
    gint64 size = 0;

    if (json_object_get(message, "reason"))
        return get_string(message, "reason", &command->reason, error);
    if (command->fd < 0)
        return bad_key(message, "descriptor", error);
    if (!get_string(message, "block", &command->block, error) ||
        !get_integer(message, "size", 1, G_MAXINT64, &size, error))
        return FALSE;
    command->size = (guint64)size;
    return TRUE;
}

static gboolean parse_mark(LpmMoverCommand *command, GError **error)
{
    command->runs = json_object_get(command->message, "runs");
    if (!json_is_array(command->runs) || json_array_size(command->runs) % 2)
        return bad_key(command->message, "runs", error);
    for (gsize i = 0; i < json_array_size(command->runs); i++) {
        const json_t *number = json_array_get(command->runs, i);

        if (!json_is_integer(number) || json_integer_value(number) < 0)
            return bad_key(command->message, "runs", error);
    }
    return get_string(command->message, "block", &command->block, error);
}

static gboolean parse_command(LpmMoverCommand *command, GError **error)
{
    const json_t *message = command->message;
    int type;

    if (!get_name(message, "message", command_names, G_N_ELEMENTS(command_names), &type, error))
        return FALSE;
    command->type = (enum lpm_mover_command_type)type;
    switch (command->type) {
    case LPM_MOVER_START:
        return parse_start(message, &command->start, error);
    case LPM_MOVER_LISTEN:
    case LPM_MOVER_ATTACH:
        if (command->fd < 0)
            return bad_key(message, "descriptor", error);
        return parse_channel(message, &command->channel, error);
    case LPM_MOVER_END:
        return parse_channel(message, &command->channel, error);
    case LPM_MOVER_ADD_LINK:
        if (command->fd < 0)
            return bad_key(message, "descriptor", error);
        return get_boolean(message, "server", &command->server, error);
    case LPM_MOVER_RETAIN:
        if (command->fd < 0)
            return bad_key(message, "descriptor", error);
        return get_bytes(message, "key", command->key, sizeof(command->key), error);
    case LPM_MOVER_MEMORY:
        return parse_memory(command, error);
    case LPM_MOVER_MARK:
        return parse_mark(command, error);
    case LPM_MOVER_FAIL_FINISH:
        return get_string(message, "cause", &command->cause, error);
    case LPM_MOVER_SET:
        return parse_set(message, &command->set, error);
    case LPM_MOVER_RELEASE:
    case LPM_MOVER_ALLOW_RUN:
    case LPM_MOVER_PASS_BITMAPS:
    case LPM_MOVER_ASK_STATS:
    case LPM_MOVER_QUIT:
    case LPM_MOVER_LEAVE:
        return TRUE;
    }
    return bad_key(message, "message", error);
}

gboolean lpm_mover_command_receive(int socket, LpmMoverCommand *command, GError **error)
{
    memset(command, 0, sizeof(*command));
    command->message = lpm_message_receive(socket, &command->fd, error);
    if (!command->message)
        return FALSE;
    if (parse_command(command, error))
        return TRUE;
    lpm_mover_command_clear(command);
    return FALSE;
}

void lpm_mover_command_clear(LpmMoverCommand *command)
{
    g_clear_pointer(&command->message, json_decref);
    lpm_fd_clear(&command->fd);
    explicit_bzero(command->start.psk, sizeof(command->start.psk));
    explicit_bzero(command->key, sizeof(command->key));
}

/* ---- events ---- */

static void set_cause(json_t *message, const char *cause)
{
    json_object_set_new(message, "cause", cause ? json_string(cause) : json_null());
}

static void fill_hello(json_t *message, const LpmMoverEvent *event)
{
    g_autofree char *session = lpm_hex(event->session, sizeof(event->session));

    json_object_set_new(message, "pid", json_integer(event->pid));
    json_object_set_new(message, "started", json_boolean(event->started));
    if (!event->started)
        return;
    json_object_set_new(message, "side", json_string(lpm_side_name(event->side)));
    json_object_set_new(message, "session", json_string(session));
    json_object_set_new(message, "finish", json_string(finish_names[event->finish]));
}

gboolean lpm_mover_event_send(int socket, const LpmMoverEvent *event, GError **error)
{
    json_t *message = json_object();

    json_object_set_new(message, "message", json_string(event_names[event->type]));
    switch (event->type) {
    case LPM_MOVER_HELLO:
        fill_hello(message, event);
        break;
    case LPM_MOVER_NEED:
        json_object_set_new(message, "what", json_string(need_names[event->need]));
        break;
    case LPM_MOVER_LINK:
        json_object_set_new(message, "state", json_string(event->link_up ? "up" : "down"));
        json_object_set_new(message, "reconnects", json_integer((json_int_t)event->reconnects));
        set_cause(message, event->cause);
        break;
    case LPM_MOVER_CHANNEL:
        json_object_set_new(message, "channel", json_string(lpm_channel_name(event->channel)));
        json_object_set_new(message, "state", json_string(state_names[event->state]));
        set_cause(message, event->cause);
        break;
    case LPM_MOVER_FINISH_HELD:
        json_object_set_new(message, "status", json_integer(event->status));
        json_object_set_new(message, "cancelled", json_boolean(event->cancelled));
        break;
    case LPM_MOVER_STATS:
        json_object_set(message, "stats", event->stats);
        break;
    case LPM_MOVER_FAILED:
        json_object_set_new(message, "code", json_integer(event->code));
        set_cause(message, event->cause);
        break;
    case LPM_MOVER_POSTCOPY:
        if (event->memory)
            json_object_set(message, "memory", event->memory);
        G_GNUC_FALLTHROUGH;
    case LPM_MOVER_BITMAPS:
        json_object_set_new(message, "waiting", json_boolean(event->waiting));
        break;
    case LPM_MOVER_ENDED:
        break;
    }
    gboolean lends = event->type == LPM_MOVER_CHANNEL && event->state == LPM_CHANNEL_OPEN;

    return send_stolen(socket, message, lends ? event->fd : -1, error);
}

static gboolean parse_hello(const json_t *message, LpmMoverEvent *event, GError **error)
{
    int side, finish;

    if (!get_integer(message, "pid", 0, G_MAXINT32, &event->pid, error) ||
        !get_boolean(message, "started", &event->started, error))
        return FALSE;
    if (!event->started)
        return TRUE;
    if (!get_name(message, "side", side_names, G_N_ELEMENTS(side_names), &side, error) ||
        !get_name(message, "finish", finish_names, G_N_ELEMENTS(finish_names), &finish, error) ||
        !get_bytes(message, "session", event->session, sizeof(event->session), error))
        return FALSE;
    event->side = (enum lpm_side)side;
    event->finish = (enum lpm_finish_state)finish;
    return TRUE;
}

static gboolean parse_link(const json_t *message, LpmMoverEvent *event, GError **error)
{
    static const char *const link_names[] = {"down", "up"};
    gint64 reconnects;
    int state;

    if (!get_name(message, "state", link_names, G_N_ELEMENTS(link_names), &state, error) ||
        !get_integer(message, "reconnects", 0, G_MAXINT64, &reconnects, error))
        return FALSE;
    event->link_up = state == 1;
    event->reconnects = (guint64)reconnects;
    return TRUE;
}

static gboolean parse_event(const json_t *message, LpmMoverEvent *event, GError **error)
{
    gint64 number;
    int found;

    if (!get_name(message, "message", event_names, G_N_ELEMENTS(event_names), &found, error))
        return FALSE;
    event->type = (enum lpm_mover_event_type)found;
    event->cause = g_strdup(json_string_value(json_object_get(message, "cause")));
    switch (event->type) {
    case LPM_MOVER_HELLO:
        return parse_hello(message, event, error);
    case LPM_MOVER_NEED:
        if (!get_name(message, "what", need_names, G_N_ELEMENTS(need_names), &found, error))
            return FALSE;
        event->need = (enum lpm_mover_need)found;
        return TRUE;
    case LPM_MOVER_LINK:
        return parse_link(message, event, error);
    case LPM_MOVER_CHANNEL:
        if (!parse_channel(message, &event->channel, error) ||
            !get_name(message, "state", state_names, G_N_ELEMENTS(state_names), &found, error))
            return FALSE;
        event->state = (enum lpm_channel_state)found;
        return TRUE;
    case LPM_MOVER_FINISH_HELD:
        if (!get_integer(message, "status", G_MININT32, G_MAXINT32, &number, error) ||
            !get_boolean(message, "cancelled", &event->cancelled, error))
            return FALSE;
        event->status = (gint)number;
        return TRUE;
    case LPM_MOVER_STATS:
        event->stats = json_incref(json_object_get(message, "stats"));
        return json_is_object(event->stats) ? TRUE : bad_key(message, "stats", error);
    case LPM_MOVER_FAILED:
        if (!get_integer(message, "code", 0, 9999, &number, error))
            return FALSE;
        event->code = (int)number;
        return TRUE;
    case LPM_MOVER_POSTCOPY:
        event->memory = json_incref(json_object_get(message, "memory"));
        G_GNUC_FALLTHROUGH;
    case LPM_MOVER_BITMAPS:
        return get_boolean(message, "waiting", &event->waiting, error);
    case LPM_MOVER_ENDED:
        return TRUE;
    }
    return bad_key(message, "message", error);
}

gboolean lpm_mover_event_receive(int socket, LpmMoverEvent *event, GError **error)
{
    json_t *message;
    gboolean ok;

    memset(event, 0, sizeof(*event));
    event->fd = -1;
    message = lpm_message_receive(socket, &event->fd, error);
    if (!message)
        return FALSE;
    ok = parse_event(message, event, error);
    json_decref(message);
    if (!ok)
        lpm_mover_event_clear(event);
    return ok;
}

void lpm_mover_event_clear(LpmMoverEvent *event)
{
    lpm_fd_clear(&event->fd);
    g_clear_pointer(&event->cause, g_free);
    g_clear_pointer(&event->stats, json_decref);
    g_clear_pointer(&event->memory, json_decref);
}
