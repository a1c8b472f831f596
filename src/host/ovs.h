/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Bridges of Open vSwitch, asked and changed by its own programs (ovs-vsctl, ovs-appctl), which are
 * its interface. What is changed is one thing: a port for the time of a probe, an internal one that
 * is on one VLAN as a partition's tap would be. The host's own IP stays away from it. It carries a
 * mark in Open vSwitch's database, by which one that a crash has left is found. Any thread; each
 * function takes some 20 ms, and 5 s at most where Open vSwitch does not answer.
 */
#ifndef LPM_HOST_OVS_H
#define LPM_HOST_OVS_H

#include <glib.h>

struct lpm_ovs_bridge {
    gboolean found;
    gboolean ruled;  /* by OpenFlow: what reaches a partition's port need not reach another */
    guint vlan;      /* of a bridge that is one VLAN of another (a "fake bridge"); else 0 */
    char parent[32]; /* the bridge that it is a VLAN of; else itself */
    char cause[256]; /* why nothing was found, if that is not for want of such a bridge */
};

void lpm_ovs_look(const char *bridge, struct lpm_ovs_bridge *seen);

/* Adds a port on `vlan` (0: as the bridge is) that takes frames of `mtu` bytes; the name of its
 * interface, which is up; a new string. NULL with LPM_E_INTERNAL, and nothing is left then. */
char *lpm_ovs_add_port(const char *bridge, guint vlan, guint mtu, GError **error);
void lpm_ovs_remove_port(const char *port);
/* Removes what lpm_ovs_add_port of a process that has ended left behind; how many. Where there is
 * no Open vSwitch nothing is done. */
guint lpm_ovs_clean(void);

/* The port from which frames of `mac` reached the bridge on that VLAN within the last 10 seconds; a
 * new string. NULL: none. */
char *lpm_ovs_port_of(const struct lpm_ovs_bridge *bridge, guint vlan, const char *mac);

/* In the text of fdb/show: the number of that port; -1 for none, 65534 for the bridge's own. */
int lpm_ovs_find(const char *fdb, guint vlan, const char *mac);
/* In the text of dpif/show: the name of the bridge's port of that number, a new string or NULL. */
char *lpm_ovs_port_name(const char *ports, const char *bridge, int number);

#endif
