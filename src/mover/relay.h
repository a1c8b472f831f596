/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * `lpm-mover relay`: the mover between two plain QEMUs, without lpmd and without libvirt.
 *
 * Theory of operation. One process per side and migration. It plays lpmd's part: it makes every
 * socket, and its child is an ordinary mover, in its sandbox, that is given descriptors only
 * (transport/mover-control.h). There is no hand-over here: QEMU decides by itself when the source
 * stops and the target runs, as it does without a mover.
 *
 * The two sides share a key in a file. For each run the source draws the id of a session, whose
 * second half proves that it knows the key, so that a stranger's connection costs the target
 * nothing; the session's TLS key is made of both (relay-key.c). The RPC channel has no program
 * here: it is opened and closed at once, so that the movers' word ENDED means what it always does,
 * that everything has arrived on both sides.
 */
#ifndef LPM_MOVER_RELAY_H
#define LPM_MOVER_RELAY_H

#include "transport/mover-control.h"

#define RELAY_KEY_BYTES 32

struct relay_options {
    enum lpm_side side;
    const char *unix_path; /* source: QEMU connects to it; target: QEMU listens on it */
    char *host, *port; /* source: of the target's relay; target: where to listen, host "" is any */
    const char *compression;
    int level;
    guint threads, links;
    guint64 bandwidth, backlog;
    guint link_timeout_s; /* how long a pre-copy outlives its link, and the target is looked for */
    const char *user;     /* whom the mover becomes when root runs this */
    gboolean json;
    guint8 key[RELAY_KEY_BYTES];
};

/* The whole program behind the word `relay`; argv[0] is that word. The exit code. */
int relay_main(int argc, char **argv);

/* ---- relay-key.c ---- */

/* Reads the key file: a regular file of the caller's or root's that nobody else may read, of 32 to
 * 4096 bytes. Space and newlines at its end do not count. USAGE says what is wrong. */
gboolean relay_key_read(const char *path, guint8 key[RELAY_KEY_BYTES], GError **error);
/* A new session's id; whether one was made with this key; and the session's TLS key. */
void relay_session_new(const guint8 *key, guint8 session[LPM_SESSION_ID_BYTES]);
gboolean relay_session_is_ours(const guint8 *key, const guint8 session[LPM_SESSION_ID_BYTES]);
void relay_session_psk(const guint8 *key, const guint8 session[LPM_SESSION_ID_BYTES],
                       guint8 psk[LPM_SESSION_PSK_BYTES]);

/* ---- relay-net.c ---- */

/* HOST:PORT, [ADDRESS]:PORT or :PORT into two new strings; USAGE. */
gboolean relay_split(const char *text, char **host, char **port, GError **error);
/* Descriptors, or -1 with the reason. A path on which nobody listens any more is taken over. */
int relay_listen_unix(const char *path, GError **error);
int relay_connect_unix(const char *path, GError **error);
int relay_listen_tcp(const char *host, const char *port, GError **error);
/* Waits five seconds at most. */
int relay_dial(const char *host, const char *port, const guint8 session[LPM_SESSION_ID_BYTES],
               GError **error);

/* Connections that have not said their id yet. */
#define RELAY_DOOR_MAX 8
struct relay_door {
    int listen_fd;
    struct relay_caller {
        int fd; /* -1: free */
        gint64 until_us;
        gsize got;
        guint8 id[LPM_SESSION_ID_BYTES];
    } callers[RELAY_DOOR_MAX];
};
void relay_door_init(struct relay_door *door, int listen_fd);
/* Looks who is there and who has said its id, without waiting. The connection (blocking, the
 * caller's) and its id once one has; else -1. Silent ones are closed after five seconds, and the
 * oldest when there are too many. */
int relay_door_look(struct relay_door *door, guint8 id[LPM_SESSION_ID_BYTES]);
void relay_door_close(struct relay_door *door);

#endif
