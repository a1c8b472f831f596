/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Are two bridges on one Ethernet? Both hosts send frames of a local experimental EtherType with a
 * nonce of this validation from their bridge, to a group address that nobody is a member of, and
 * listen for the other's, small ones and ones as large as the partition may send. A frame says what
 * its sender has seen, so both sides know of both directions. Nothing is learnt about any partition
 * by a switch: the frames carry the bridge's own address.
 *
 * Frame: EtherType 0x88b5, then "LPMP", version 1, side (0 source, 1 target), size (0 small, 1
 * full), seen (bit 0 small, bit 1 full), adapter number, 16 bytes of nonce, number of the adapter's
 * VLAN in its list, zeros.
 */
#ifndef LPM_HOST_PROBE_H
#define LPM_HOST_PROBE_H

#include <glib.h>
#include <jansson.h>

#define LPM_PROBE_NONCE_BYTES 16

struct lpm_probe {
    const char *interface; /* bridge, or the device beneath a macvtap */
    guint8 nonce[LPM_PROBE_NONCE_BYTES];
    guint8 adapter, segment; /* number of the partition's adapter, and of its VLAN in the list of
                                those that it is on: one probe each */
    gboolean target;         /* which side this host is */
    guint mtu;               /* payload of full frames */
    const gint *over;        /* atomic, or NULL: goes on until it is set rather than for limit_ms */
    guint limit_ms;          /* how long to go on without an answer */
};

/* Sends and listens. Always an object: {interface, found, mtu, is_bridge, sent, seen_small,
 * seen_full, heard_small, heard_full, from, cause}; `seen`: the other's frames arrived here, with
 * the address `from`; `heard`: it says that ours arrived there. Any thread. */
json_t *lpm_probe_run(const struct lpm_probe *probe);

/* The MTU of an interface, 0 if there is none of that name. */
guint lpm_interface_mtu(const char *name);

#endif
