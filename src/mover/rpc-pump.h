/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The rpc channel: carries libvirt's messages, answers its keepalive, and at the source holds the
 * reply to Finish (docs/mover-protocol.md, "RPC channel"). Two threads. Any function from any
 * thread.
 */
#ifndef LPM_MOVER_RPC_PUMP_H
#define LPM_MOVER_RPC_PUMP_H

#include "mover/pump.h"
#include "mover/switchover.h"

typedef struct lpm_rpc_pump LpmRpcPump;

struct lpm_rpc_finish {
    enum lpm_finish_state state;
    gint status;        /* of the reply, once it is there */
    gboolean cancelled; /* the call said so */
};

/* Starts. `changed` (any thread) is called when lpm_rpc_pump_finish changes. With `switchover`
 * (borrowed; NULL: not) calls of Finish wait for the outcome and are changed by it. */
LpmRpcPump *lpm_rpc_pump_new(const struct lpm_pump *pump, LpmSwitchover *switchover,
                             void (*changed)(gpointer user), gpointer user);
/* The decision about the held reply; the first one counts, also if it comes before the reply. */
void lpm_rpc_pump_release(LpmRpcPump *rpc);
void lpm_rpc_pump_refuse(LpmRpcPump *rpc, const char *cause);
void lpm_rpc_pump_finish(LpmRpcPump *rpc, struct lpm_rpc_finish *finish);
/* After the session was stopped or failed and the endpoint cancelled: wakes who holds. */
void lpm_rpc_pump_cancel(LpmRpcPump *rpc);
/* Joins and frees; cancel everything before. */
void lpm_rpc_pump_free(LpmRpcPump *rpc);

#endif
