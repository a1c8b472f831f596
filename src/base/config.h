/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * lpmd.conf: a GLib key file, then the *.conf files of conf.d beside it in order of name; a later
 * file overrides. Unknown groups or keys, and values out of range, are errors that name the file,
 * the key and the value. The keys are one table in config.c; lpmd.conf(5) is written from it.
 */
#ifndef LPM_BASE_CONFIG_H
#define LPM_BASE_CONFIG_H

#include <glib.h>

/* All strings are owned by the structure; immutable after loading. */
typedef struct lpm_config {
    /* [host] */
    char *name;           /* of this managed system; default: the host's name up to the first dot */
    char *state_dir;      /* /var/lib/lpm: key, certificate, journal */
    char *run_dir;        /* /run/lpm: sockets */
    char *socket_group;   /* lpm: who besides root may use lpmd.sock; ignored if there is no such */
    char *libvirt_uri;    /* qemu:///system */
    char *libvirt_socket; /* /run/libvirt/libvirt-sock: what the tunnelled RPC of a peer reaches */
    char *qemu_run_dir;   /* /run/libvirt/qemu: where libvirt writes NAME.pid */
    char *socket_dir;     /* /run/libvirt/lpm: migration sockets, writable by qemu_user */
    char *qemu_user;      /* libvirt-qemu: whom libvirt runs QEMU as */
    char *nvram_dir; /* /var/lib/libvirt/qemu/nvram: firmware variables of powered-off partitions */
    char *tpm_dir;   /* /var/lib/libvirt/swtpm: their TPMs' state, by UUID */
    /* [network] */
    char *listen_address; /* :: (all, both families) */
    guint control_port;   /* 16520 */
    guint data_port;      /* 16521 */
    /* [mover] */
    char *mover_path;       /* libexecdir/lpm/lpm-mover, where it was installed */
    char *mover_user;       /* lpm-mover; falls back to nobody with a warning */
    char *compression;      /* auto | zstd | lz4 | none */
    gint compression_level; /* of zstd, -7..19 */
    guint threads;          /* of a mover that compress or decompress; 0: one per processor */
    char *links;            /* connections of a migration at a time: auto | 1..8 */
    guint nice;             /* of the mover's processes, 0..19 */
    char *cpus;             /* processors that movers may use, "0-3,8"; "": all */
    char *direct_placement; /* on | off: pages go into a target's shared memory without QEMU */
    guint64 backlog_bytes;  /* most bytes of the stream between the two QEMU, unacknowledged */
    guint64 bandwidth;      /* bytes/s on the wire when the command names none; 0: unlimited */
    /* [retain] */
    char *retain;        /* on | off: keep the pages of a partition that leaves */
    guint64 retain_size; /* most bytes of all images */
    guint retain_hours;  /* an image that is older goes */
    /* [migration] */
    guint max_migrations;   /* active at once, as source or target; 8 */
    guint max_outgoing;     /* active at once as source; 4 (the models' figure) */
    guint max_incoming;     /* the same as target */
    guint max_per_peer;     /* the same with one other host, in each direction */
    guint max_suspend_ms;   /* QEMU's downtime limit when the command names none; 300 */
    char *post_copy;        /* never, auto or now, when the command says nothing */
    guint post_copy_rounds; /* after so many rounds `auto` goes over whatever they bring; 10 */
    guint link_timeout_s;   /* a pre-copy whose link is gone that long is given up; 300 */
    /* [networks], [storage]: what a role is called on this host, name -> text; any keys */
    GHashTable *networks, *storage;
} LpmConfig;

/* Loads `path` and its conf.d; a missing file at the default path is an empty one. NULL on error
 * (LPM_E_CONFIG). Free with lpm_config_free. */
LpmConfig *lpm_config_load(const char *path, GError **error);
void lpm_config_free(LpmConfig *config);
/* The most links that [mover] links allows, and whether a mover chooses (`grow` may be NULL). */
guint lpm_config_links(const LpmConfig *config, gboolean *grow);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmConfig, lpm_config_free)

#define LPM_CONFIG_DEFAULT_PATH "/etc/lpm/lpmd.conf"

#endif
