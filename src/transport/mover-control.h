/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What lpmd and a mover say to each other: JSON objects {"message": NAME, ...}, one per packet,
 * over a unix SOCK_SEQPACKET socket on which the mover listens (descriptor 3 at its start). A newer
 * connection replaces the older. lpmd commands, the mover tells.
 *
 * What the mover tells is its state, not a history: whenever a fact changes it sends the message
 * of that fact, and to a new connection it sends HELLO and then every fact as it stands (each link
 * and channel state other than "none", each NEED that is not met yet, FINISH_HELD while the reply
 * is held, POSTCOPY, BITMAPS, FAILED, ENDED). So a restarted lpmd misses nothing, and must bear to
 * hear a thing twice.
 *
 * Life of a mover: START once, then in any order LISTEN (source: rpc and data) and LINK; the target
 * is asked for its sockets with NEED rpc and NEED data when the source's program has connected, and
 * for a link with NEED link, at the start, each time a link is gone, and while it wants more of
 * them than there are: for one at a time, the next one when the one before is up. NEED is said once
 * per event; lpmd repeats its attempts by itself until it can ATTACH or LINK. LINK is up while
 * there is at least one, and is told again for each further one. POSTCOPY is told by both sides
 * when QEMU's word to run on the target passes; with `gate_run` the target's mover keeps that word
 * back until ALLOW_RUN. With `hold_bitmaps` the target's mover keeps back what its QEMU says of the
 * pages it has, when a post-copy goes on, until PASS_BITMAPS, and tells BITMAPS. QUIT ends the
 * process at once, in any state. SIGTERM does the same unless a session was started and has not
 * ended or failed.
 *
 * Functions: any thread, one at a time per socket. The sending ones block while the socket is full.
 */
#ifndef LPM_TRANSPORT_MOVER_CONTROL_H
#define LPM_TRANSPORT_MOVER_CONTROL_H

#include <glib.h>
#include <jansson.h>

/* The control channel is the movers' own; lpmd names only the other two. Numbers go on the wire. */
enum lpm_channel {
    LPM_CHANNEL_CONTROL = 0,
    LPM_CHANNEL_RPC = 1,  /* libvirt's RPC, both directions */
    LPM_CHANNEL_DATA = 2, /* forward: QEMU's stream; backward: its return path */
    LPM_CHANNEL_COUNT = 3,
};

enum lpm_side { LPM_SIDE_SOURCE, LPM_SIDE_TARGET };

/* "control", "rpc", "data"; "source", "target". Static. */
const char *lpm_channel_name(enum lpm_channel channel);
const char *lpm_side_name(enum lpm_side side);
/* The reverse; FALSE when `name` is none of them (or NULL). */
gboolean lpm_side_from_name(const char *name, enum lpm_side *side);

#define LPM_SESSION_ID_BYTES 16 /* the id that precedes TLS on the data port */
#define LPM_SESSION_PSK_BYTES 32
#define LPM_IMAGE_KEY_BYTES 32 /* of a retained image */
/* Bounds of LpmMoverStart.backlog_bytes; a START outside of them is refused by the mover. */
#define LPM_BACKLOG_MIN (G_GUINT64_CONSTANT(256) << 10)
#define LPM_BACKLOG_MAX (G_GUINT64_CONSTANT(1) << 30)

/* START. Strings are borrowed by the sending call, owned by the structure after receiving. */
typedef struct lpm_mover_start {
    enum lpm_side side;
    guint8 session[LPM_SESSION_ID_BYTES];
    guint8 psk[LPM_SESSION_PSK_BYTES];
    guint64 backlog_bytes;   /* most original bytes unacknowledged, per channel and direction */
    const char *compression; /* "auto", "zstd", "lz4", "none"; used by the source */
    gint compression_level;  /* of zstd */
    const char *migration;   /* id, for the log and statistics */
    const char *partition;   /* name, likewise */
    /* The target; both FALSE unless said (keys that may be missing). */
    gboolean finish_by_outcome; /* add VIR_MIGRATE_PAUSED to libvirt's Finish unless the stream went
                                   over to post-copy; Finish waits until that is known */
    gboolean gate_run;          /* keep the word to run, and Finish, back until ALLOW_RUN */
    gboolean hold_ends;    /* source: the programs' sockets are lent to lpmd, and the programs learn
                              that the other side's have ended, or QEMU in post-copy that the
                              target has every page, when END says so */
    gboolean hold_bitmaps; /* target: QEMU's bitmaps of what it has wait for PASS_BITMAPS */
    /* Keys that may be missing. */
    guint threads;     /* that encode or decode; 0: one for each processor */
    guint64 bandwidth; /* source: most bytes/s on the wire, 0: no bound */
    guint links;       /* most at a time, 1 to LPM_LINKS_MOST; 0: 1 */
    gboolean grow;     /* source: begin with one, and ask for more as they turn out to be useful */
} LpmMoverStart;

/* Most of them. */
#define LPM_MOVER_THREADS_MAX 32
/* Connections of one session at a time. */
#define LPM_LINKS_MOST 8

/* SET: what is to be otherwise from now on. */
struct lpm_mover_set {
    gboolean has_threads, has_bandwidth; /* which of the others are said */
    guint threads;                       /* as in START */
    guint64 bandwidth;                   /* as in START; the source's only */
};

/* ---- lpmd's half: commands. FALSE with an error when the socket failed. ---- */

gboolean lpm_mover_send_start(int socket, const LpmMoverStart *start, GError **error);
/* Source: `fd` is a listening unix stream socket (borrowed); the mover accepts once. */
gboolean lpm_mover_send_listen(int socket, enum lpm_channel channel, int fd, GError **error);
/* Target: `fd` is a connected unix stream socket (borrowed). */
gboolean lpm_mover_send_attach(int socket, enum lpm_channel channel, int fd, GError **error);
/* `fd` is a connected TCP socket behind the 16-byte id (borrowed); `server`: we accepted it. It
 * joins the links in use, or replaces one if there are as many as may be, once its other end has
 * proved that it knows the key, not before. */
gboolean lpm_mover_send_link(int socket, gboolean server, int fd, GError **error);
/* Lets the held reply to Finish go, as it came. Said before the reply came, it is remembered. */
gboolean lpm_mover_send_release(int socket, GError **error);
/* Replaces the held reply by an error with this text: the source's libvirt then takes the
 * migration for failed and resumes its guest. Said before the reply came, it is remembered. The
 * first of release and fail-finish counts. */
gboolean lpm_mover_send_fail_finish(int socket, const char *cause, GError **error);
/* Target: QEMU's word to run, and libvirt's Finish, may pass. Said before they came, it is
 * remembered. */
gboolean lpm_mover_send_allow_run(int socket, GError **error);
gboolean lpm_mover_send_set(int socket, const struct lpm_mover_set *set, GError **error);
/* Target, with `hold_bitmaps`: QEMU has these pages too and does not know it, so it shall be said
 * of them. `runs` are `count` pairs of first page and number of pages, each of the stream's size.
 * At most LPM_MARK_RUNS_MAX of them at a time, said as often as it takes. */
#define LPM_MARK_RUNS_MAX 512
gboolean lpm_mover_send_mark(int socket, const char *block, const guint64 *runs, guint count,
                             GError **error);
/* Target: that was all. Said before the bitmaps came, it is remembered. */
gboolean lpm_mover_send_pass_bitmaps(int socket, GError **error);
/* Gives the mover a file for the partition's pages (mover/page-image.h), before its channels' first
 * socket. Source: an empty file, to be written; target: an image, to be read. `fd` is borrowed. */
gboolean lpm_mover_send_retain(int socket, int fd, const guint8 key[LPM_IMAGE_KEY_BYTES],
                               GError **error);
/* Target, before ATTACH of data: the mover may write the pages of the memory whose backend QEMU
 * calls `block` itself, into this file of `size` bytes (mover/page-placer.h). `fd` is borrowed. */
gboolean lpm_mover_send_memory(int socket, const char *block, guint64 size, int fd, GError **error);
/* Target: why there is none; for its statistics. */
gboolean lpm_mover_send_no_memory(int socket, const char *reason, GError **error);
/* Source, with `hold_ends`: the local program may learn that its channel has ended. */
gboolean lpm_mover_send_end(int socket, enum lpm_channel channel, GError **error);
/* The mover ends at once and leaves the programs' sockets to who else holds them. */
gboolean lpm_mover_send_leave(int socket, GError **error);
/* Asks for one LPM_MOVER_STATS. */
gboolean lpm_mover_send_stats(int socket, GError **error);
gboolean lpm_mover_send_quit(int socket, GError **error);

/* ---- lpmd's half: what the mover tells ---- */

enum lpm_mover_event_type {
    LPM_MOVER_HELLO,       /* first on each connection: started, side, session, finish, pid */
    LPM_MOVER_NEED,        /* need */
    LPM_MOVER_LINK,        /* link_up, cause, reconnects */
    LPM_MOVER_CHANNEL,     /* channel, state, cause */
    LPM_MOVER_FINISH_HELD, /* status, cancelled */
    LPM_MOVER_STATS,       /* stats */
    LPM_MOVER_FAILED,      /* code, cause: the session is dead, both sockets are closed */
    LPM_MOVER_ENDED,       /* both channels closed on this side and everything acknowledged */
    LPM_MOVER_POSTCOPY,    /* waiting, memory: the word to run has come (with the gate: it waits) */
    LPM_MOVER_BITMAPS,     /* waiting: QEMU says what it has (with `hold_bitmaps`: that waits) */
};

enum lpm_mover_need { LPM_NEED_LINK, LPM_NEED_RPC, LPM_NEED_DATA };

/* Of the socket to the local program (QEMU or libvirtd). */
enum lpm_channel_state {
    LPM_CHANNEL_NONE,   /* no socket yet */
    LPM_CHANNEL_OPEN,   /* connected */
    LPM_CHANNEL_EOF,    /* the local program will send no more; it may still be sent to */
    LPM_CHANNEL_ENDING, /* the other side's program will send no more; with `hold_ends` the local
                           one learns it when END is said */
    LPM_CHANNEL_CLOSED, /* both directions ended and the socket is closed; cause: why, if abnormal
                         */
};

/* Of the reply to Finish, at the source. */
enum lpm_finish_state {
    LPM_FINISH_NONE,     /* not come yet */
    LPM_FINISH_HELD,     /* here and held */
    LPM_FINISH_RELEASED, /* given to libvirt as it came */
    LPM_FINISH_REFUSED,  /* replaced by an error */
};

/* The least block of `memory` of LPM_MOVER_POSTCOPY, bytes: none that is smaller is told. */
#define LPM_MEMORY_BLOCK_MIN (16u << 20)

typedef struct lpm_mover_event {
    enum lpm_mover_event_type type;
    /* HELLO */
    gboolean started; /* START was received; if FALSE the rest of HELLO but pid is unset */
    enum lpm_side side;
    guint8 session[LPM_SESSION_ID_BYTES];
    enum lpm_finish_state finish;
    gint64 pid; /* in the mover's pid namespace, which is lpmd's */
    /* NEED */
    enum lpm_mover_need need;
    /* LINK */
    gboolean link_up;
    guint64 reconnects; /* links after the first */
    /* CHANNEL */
    enum lpm_channel channel;
    enum lpm_channel_state state;
    int fd; /* with `hold_ends`, of OPEN: the program's socket. Received: owned, -1 if none came;
               sent: borrowed, read only if the state is OPEN */
    /* FINISH_HELD: status 0 is success, 1 an error of the target's libvirt; cancelled: the source's
     * libvirt had given the migration up before it called Finish. Held in every case: release it.
     */
    gint status;
    gboolean cancelled;
    gboolean waiting; /* POSTCOPY: until ALLOW_RUN; BITMAPS: until PASS_BITMAPS; told again with
                         FALSE once it has passed */
    json_t *memory;   /* owned; of POSTCOPY, the target's: {page_size, blocks: [{name, length}]} as
                         the stream named them, in bytes; NULL if it named none */
    /* FAILED: a number of the catalogue (enum lpm_error_code) */
    int code;
    char *cause;   /* owned; of LINK (down), CHANNEL and FAILED; NULL if there is none to tell */
    json_t *stats; /* owned; of STATS: "Mover statistics" of docs/architecture.md */
} LpmMoverEvent;

/* Receives one event into `event` (zeroed first; clear with lpm_mover_event_clear). Blocks; poll
 * the socket for POLLIN before. FALSE at end of file with `*error` unset, or with it set. */
gboolean lpm_mover_event_receive(int socket, LpmMoverEvent *event, GError **error);
void lpm_mover_event_clear(LpmMoverEvent *event);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LpmMoverEvent, lpm_mover_event_clear)

/* ---- the mover's half ---- */

enum lpm_mover_command_type {
    LPM_MOVER_START,
    LPM_MOVER_LISTEN,
    LPM_MOVER_ATTACH,
    LPM_MOVER_ADD_LINK,
    LPM_MOVER_RELEASE,
    LPM_MOVER_FAIL_FINISH,
    LPM_MOVER_ASK_STATS,
    LPM_MOVER_QUIT,
    LPM_MOVER_ALLOW_RUN,
    LPM_MOVER_END,   /* channel: the program may learn of its end */
    LPM_MOVER_LEAVE, /* end at once, as a crash would, and shut nothing down */
    LPM_MOVER_SET,   /* what a running mover can be told to do otherwise */
    LPM_MOVER_RETAIN,
    LPM_MOVER_MEMORY, /* a file with memory of the target's QEMU, or why there is none */
    LPM_MOVER_MARK,   /* pages that the target's QEMU has and does not know of */
    LPM_MOVER_PASS_BITMAPS,
};

typedef struct lpm_mover_command {
    enum lpm_mover_command_type type;
    LpmMoverStart start;             /* START; its strings point into `message` */
    enum lpm_channel channel;        /* LISTEN, ATTACH, END: rpc or data */
    gboolean server;                 /* ADD_LINK */
    const char *cause;               /* FAIL_FINISH; points into `message` */
    struct lpm_mover_set set;        /* SET */
    guint8 key[LPM_IMAGE_KEY_BYTES]; /* RETAIN */
    const char *block;               /* MEMORY, MARK; NULL: none, for this reason; into `message` */
    const char *reason;              /* MEMORY, likewise */
    guint64 size;                    /* MEMORY */
    const json_t *runs;              /* MARK: numbers, in pairs, none negative; into `message` */
    int fd;          /* owned; LISTEN, ATTACH, ADD_LINK, RETAIN, MEMORY with `block`, else -1 */
    json_t *message; /* owned */
} LpmMoverCommand;

/* As lpm_mover_event_receive. A command that is not understood is an error (LPM_E_PROTOCOL) that
 * names the key; a missing descriptor too. */
gboolean lpm_mover_command_receive(int socket, LpmMoverCommand *command, GError **error);
/* Only after receive has been called on it, with whatever result. */
void lpm_mover_command_clear(LpmMoverCommand *command);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LpmMoverCommand, lpm_mover_command_clear)

/* Sends one event; reads only the members that its type names. */
gboolean lpm_mover_event_send(int socket, const LpmMoverEvent *event, GError **error);

/* Bytes as lower-case hexadecimal, a new string; and back: FALSE unless `text` is exactly `length`
 * bytes of it. */
char *lpm_hex(const guint8 *bytes, gsize length);
gboolean lpm_unhex(const char *text, guint8 *bytes, gsize length);

#endif
