/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/rpc-pump.h"

#include "base/error.h"
#include "mover/rpc.h"
#include "transport/bytes.h"

#include <errno.h>
#include <pthread.h>

#define CHUNK (64u << 10)
/* A message buffer that has grown beyond this is given back after the message. */
#define KEEP_BYTES (1u << 20)

enum decision { UNDECIDED, RELEASE, REFUSE };

struct lpm_rpc_pump {
    /* immutable */
    struct lpm_pump pump;
    LpmSwitchover *switchover; /* NULL: calls of Finish pass as they are */
    void (*changed)(gpointer user);
    gpointer user;
    GThread *reader, *writer;

    /* Held around each message to the program, so that answers to PING fall between messages. */
    pthread_mutex_t socket_lock;

    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t decided;
    enum decision decision;
    char *refusal;
    gboolean cancelled;
    struct lpm_rpc_finish finish;

    /* owned by the reader */
    struct lpm_rpc_stepper in;
    guint8 tail[4]; /* the last bytes of the message that passes: Finish's `cancelled` */
    GByteArray *forward;

    /* owned by the writer */
    struct lpm_rpc_stepper out;
    struct lpm_rpc_header header; /* of the message being collected */
    GByteArray *message;
};

static gboolean write_message(LpmRpcPump *rpc, int fd, const void *data, gsize length)
{
    pthread_mutex_lock(&rpc->socket_lock);
    gboolean ok = lpm_pump_write_all(fd, data, length);
    int failure = errno;

    pthread_mutex_unlock(&rpc->socket_lock);
    errno = failure;
    return ok;
}

/* ---- reader: program to session ---- */

/* Remembers the last four bytes of the payload that passes. */
static void keep_tail(LpmRpcPump *rpc, const struct lpm_rpc_piece *piece)
{
    gsize n = MIN(piece->length, sizeof(rpc->tail));

    memmove(rpc->tail, rpc->tail + n, sizeof(rpc->tail) - n);
    memcpy(rpc->tail + sizeof(rpc->tail) - n, piece->data + piece->length - n, n);
}

/* The arguments of both Finish calls end with the word `cancelled`. */
static void note_finish_call(LpmRpcPump *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    rpc->finish.cancelled = lpm_get_be32(rpc->tail) != 0;
    pthread_mutex_unlock(&rpc->lock);
}

static void read_piece(LpmRpcPump *rpc, int fd, const struct lpm_rpc_piece *piece)
{
    guint8 pong[LPM_RPC_HEADER_BYTES];

    if (piece->type == LPM_RPC_HEADER && lpm_rpc_is_keepalive(&piece->header)) {
        if (lpm_rpc_is_ping(&piece->header)) {
            lpm_rpc_pong(pong);
            write_message(rpc, fd, pong,
                          sizeof(pong)); /* if it fails, reading or writing will too */
        }
        return;
    }
    if (piece->type == LPM_RPC_BODY && lpm_rpc_is_finish(&piece->header, LPM_RPC_CALL)) {
        keep_tail(rpc, piece);
        if (piece->last)
            note_finish_call(rpc);
    }
    g_byte_array_append(rpc->forward, piece->data, (guint)piece->length);
}

static void push_forward(LpmRpcPump *rpc)
{
    for (guint done = 0; done < rpc->forward->len; done += CHUNK)
        lpm_session_push(rpc->pump.session,
                         lpm_frame_new_raw(LPM_FRAME_DATA, LPM_CHANNEL_RPC,
                                           rpc->forward->data + done,
                                           MIN(CHUNK, rpc->forward->len - done)));
    g_byte_array_set_size(rpc->forward, 0);
}

/* Parses what was read and sends what is to be carried. */
static void read_bytes(LpmRpcPump *rpc, int fd, const guint8 *data, gsize length)
{
    gsize reserved = rpc->in.have + length; /* what waits of a header is reserved since it came */
    gboolean was_opaque = rpc->in.opaque;

    while (length) {
        struct lpm_rpc_piece piece;
        gsize n = lpm_rpc_step(&rpc->in, data, length, &piece);

        if (piece.type != LPM_RPC_NONE)
            read_piece(rpc, fd, &piece);
        data += n;
        length -= n;
    }
    if (rpc->in.opaque && !was_opaque)
        lpm_log(LPM_LOG_WARNING, &rpc->pump.log,
                "libvirt's RPC is not of the expected form: carried as it is, without keepalive");
    gsize waiting = rpc->in.opaque ? 0 : rpc->in.have;

    lpm_session_unreserve(rpc->pump.session, LPM_CHANNEL_RPC,
                          reserved - waiting - rpc->forward->len);
    push_forward(rpc);
}

static gpointer run_reader(gpointer opaque)
{
    LpmRpcPump *rpc = opaque;
    g_autofree guint8 *buffer = g_malloc(CHUNK);
    struct lpm_rpc_piece piece;
    int fd = lpm_pump_begin_reading(&rpc->pump);
    int failure;
    gsize n;

    if (fd < 0)
        return NULL;
    while ((n = lpm_pump_read(&rpc->pump, fd, buffer, CHUNK, &failure)))
        read_bytes(rpc, fd, buffer, n);
    lpm_rpc_flush(&rpc->in, &piece);
    if (piece.type != LPM_RPC_NONE) {
        g_byte_array_append(rpc->forward, piece.data, (guint)piece.length);
        push_forward(rpc);
    }
    lpm_pump_end_reading(&rpc->pump, failure);
    return NULL;
}

/* ---- writer: session to program ---- */

/* Waits for lpmd's word about the collected reply. FALSE: the session is over, it must not go. */
static gboolean hold(LpmRpcPump *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    rpc->finish.state = LPM_FINISH_HELD;
    rpc->finish.status = (gint)rpc->header.status;
    pthread_mutex_unlock(&rpc->lock);
    rpc->changed(rpc->user);
    pthread_mutex_lock(&rpc->lock);
#ifdef LPM_MUTANT_FINISH_ON_TIMEOUT /* breaks rule 3 of handover.h, for the test that must notice  \
                                     */
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    while (rpc->decision == UNDECIDED && !rpc->cancelled &&
           pthread_cond_timedwait(&rpc->decided, &rpc->lock, &until) == 0)
        continue;
#else
    while (rpc->decision == UNDECIDED && !rpc->cancelled)
        pthread_cond_wait(&rpc->decided, &rpc->lock);
#endif
    gboolean go = !rpc->cancelled;

    if (go && rpc->decision == REFUSE) {
        g_byte_array_set_size(rpc->message, 0);
        lpm_rpc_error_reply(&rpc->header, rpc->refusal, rpc->message);
    }
    if (go)
        rpc->finish.state = rpc->decision == REFUSE ? LPM_FINISH_REFUSED : LPM_FINISH_RELEASED;
    pthread_mutex_unlock(&rpc->lock);
    rpc->changed(rpc->user);
    return go;
}

/* A Finish that cannot be marked, or not be seen, would start the copy without the hand-over. */
static gboolean refuse_to_guess(LpmRpcPump *rpc)
{
    lpm_session_fail(rpc->pump.session, LPM_E_MOVER_FAILED,
                     "libvirt's RPC is not of the form in which its Finish can be held to a paused "
                     "copy: migrate without post-copy");
    errno = ECANCELED;
    return FALSE;
}

/* The collected message is a call of Finish: the stream's outcome decides whether libvirt starts
 * the processors. A migration that its source gave up needs no outcome, which may never come.
 * FALSE: the session is over, it must not go. */
static gboolean await_outcome(LpmRpcPump *rpc)
{
    GByteArray *message = rpc->message;

    if (message->len >= LPM_RPC_HEADER_BYTES + 4 &&
        lpm_get_be32(message->data + message->len - 4) != 0)
        return TRUE;
    switch (lpm_switchover_wait_outcome(rpc->switchover)) {
    case LPM_OUTCOME_UNKNOWN:
        return FALSE;
    case LPM_OUTCOME_PRECOPY:
        if (!lpm_rpc_finish_add_flag(message->data, message->len, LPM_RPC_MIGRATE_PAUSED))
            return refuse_to_guess(rpc);
        lpm_log(LPM_LOG_INFO, &rpc->pump.log,
                "libvirt's Finish is passed on so that the copy stays paused");
        break;
    case LPM_OUTCOME_POSTCOPY:
        lpm_log(LPM_LOG_INFO, &rpc->pump.log,
                "libvirt's Finish is passed on so that the copy runs, in post-copy");
        break;
    }
    return TRUE;
}

/* The collected message is whole. */
static gboolean deliver_message(LpmRpcPump *rpc, int fd)
{
    if (rpc->pump.side == LPM_SIDE_SOURCE && lpm_rpc_is_finish(&rpc->header, LPM_RPC_REPLY) &&
        !hold(rpc)) {
        errno = ECANCELED;
        return FALSE;
    }
    if (rpc->switchover && lpm_rpc_is_finish(&rpc->header, LPM_RPC_CALL) && !await_outcome(rpc)) {
        errno = ECANCELED;
        return FALSE;
    }
    gboolean ok = write_message(rpc, fd, rpc->message->data, rpc->message->len);
    int failure = errno;

    if (rpc->message->len > KEEP_BYTES) {
        g_byte_array_unref(rpc->message);
        rpc->message = g_byte_array_new();
    }
    g_byte_array_set_size(rpc->message, 0);
    errno = failure;
    return ok;
}

static gboolean write_piece(LpmRpcPump *rpc, int fd, const struct lpm_rpc_piece *piece)
{
    if (piece->type == LPM_RPC_OPAQUE && rpc->switchover)
        return refuse_to_guess(rpc);
    if (piece->type == LPM_RPC_OPAQUE)
        return write_message(rpc, fd, piece->data, piece->length);
    rpc->header = piece->header;
    g_byte_array_append(rpc->message, piece->data, (guint)piece->length);
    return piece->last ? deliver_message(rpc, fd) : TRUE;
}

static enum lpm_delivery deliver(gpointer opaque, int fd, const LpmFrame *frame, GError **error)
{
    LpmRpcPump *rpc = opaque;
    const guint8 *data = frame->body;
    gsize length = frame->length;

    if (!lpm_frame_verify(frame, error))
        return LPM_DELIVERY_DAMAGED;
    while (length) {
        struct lpm_rpc_piece piece;
        gsize n = lpm_rpc_step(&rpc->out, data, length, &piece);

        if (piece.type != LPM_RPC_NONE && !write_piece(rpc, fd, &piece))
            return LPM_DELIVERY_BROKEN;
        data += n;
        length -= n;
    }
    return LPM_DELIVERY_DONE;
}

static gpointer run_writer(gpointer opaque)
{
    static const struct lpm_pump_writer writer = {.deliver = deliver};
    LpmRpcPump *rpc = opaque;

    lpm_pump_write(&rpc->pump, &writer, rpc);
    return NULL;
}

/* ---- from outside ---- */

LpmRpcPump *lpm_rpc_pump_new(const struct lpm_pump *pump, LpmSwitchover *switchover,
                             void (*changed)(gpointer user), gpointer user)
{
    LpmRpcPump *rpc = g_new0(LpmRpcPump, 1);

    rpc->pump = *pump;
    rpc->switchover = switchover;
    rpc->changed = changed;
    rpc->user = user;
    rpc->forward = g_byte_array_new();
    rpc->message = g_byte_array_new();
    pthread_mutex_init(&rpc->socket_lock, NULL);
    pthread_mutex_init(&rpc->lock, NULL);
    pthread_cond_init(&rpc->decided, NULL);
    rpc->reader = g_thread_new("rpc-reader", run_reader, rpc);
    rpc->writer = g_thread_new("rpc-writer", run_writer, rpc);
    return rpc;
}

static void decide(LpmRpcPump *rpc, enum decision decision, const char *refusal)
{
    pthread_mutex_lock(&rpc->lock);
    if (rpc->decision == UNDECIDED) {
        rpc->decision = decision;
        rpc->refusal = g_strdup(refusal);
        pthread_cond_broadcast(&rpc->decided);
    }
    pthread_mutex_unlock(&rpc->lock);
}

void lpm_rpc_pump_release(LpmRpcPump *rpc)
{
    decide(rpc, RELEASE, NULL);
}

void lpm_rpc_pump_refuse(LpmRpcPump *rpc, const char *cause)
{
    decide(rpc, REFUSE, cause);
}

void lpm_rpc_pump_finish(LpmRpcPump *rpc, struct lpm_rpc_finish *finish)
{
    pthread_mutex_lock(&rpc->lock);
    *finish = rpc->finish;
    pthread_mutex_unlock(&rpc->lock);
}

void lpm_rpc_pump_cancel(LpmRpcPump *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    rpc->cancelled = TRUE;
    pthread_cond_broadcast(&rpc->decided);
    pthread_mutex_unlock(&rpc->lock);
}

void lpm_rpc_pump_free(LpmRpcPump *rpc)
{
    if (!rpc)
        return;
    lpm_rpc_pump_cancel(rpc);
    g_thread_join(rpc->reader);
    g_thread_join(rpc->writer);
    g_byte_array_unref(rpc->forward);
    g_byte_array_unref(rpc->message);
    pthread_mutex_destroy(&rpc->socket_lock);
    pthread_mutex_destroy(&rpc->lock);
    pthread_cond_destroy(&rpc->decided);
    g_free(rpc->refusal);
    g_free(rpc);
}
