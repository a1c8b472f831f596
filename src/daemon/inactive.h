/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* clang-format off */
/*
 * Moving a partition that is powered off: its definition, with the files that libvirt keeps beside
 * it (bundle.h), and the autostart flag.
 *
 * What must hold is that after any crash exactly one host has the definition, since two hosts that
 * could start it would be two running copies. The words, decisions and states are those of the
 * hand-over of a running one (handover.h), with libvirt's definition in the place of the QEMU:
 *
 *   source                                            target
 *      copies definition and files into its bundle ->    writes them into a bundle: nothing of it is
 *                                                        where libvirt looks
 *   S1 asks "prepared?"                          ->   T1 all there, digests right, name and UUID free
 *                                                     T2 journal: prepared
 *   S3 looks again: powered off, nothing changed,  <-    yes
 *      nobody asked to stop
 *   S4 journal: ending        -- the decision; before it the source alone can undo everything
 *   S5 undefines, looks: is it gone?
 *   S6 journal: committed
 *   S7 says "commit"                             ->   T3 journal: committed
 *                                                     T4 places the files, defines; journal: running
 *   S8 journal: running; its files go              <-    is defined
 *
 * S5 is where somebody's `virsh start` can come between. libvirt undefines in one step: either the
 * partition was off and is gone, or it runs and has become transient, and then it is defined again,
 * `aborted` is journalled, and the migration has failed. The target has not heard anything yet that
 * it would act on, so that this is open to the source up to S6. A start after S5 finds nothing.
 * Between S4 and T4 no host has the definition, and both have it in their bundles: a crash there
 * is finished by the next lpmd.
 *
 * A target that finds at T3 or T4 that it cannot define it (the name was taken meanwhile, libvirt
 * refuses) journals `ended`, from which on it never will; the source hears that, puts everything
 * back from its bundle, and journals `ended` too. A restarted target that is `committed` and not
 * `running` asks the source first: it may have been fenced in between.
 */
/* clang-format on */
#ifndef LPM_DAEMON_INACTIVE_H
#define LPM_DAEMON_INACTIVE_H

#include "daemon/migration.h"

/* ---- source-inactive.c: for lpm_migrations_run ---- */

void lpm_source_run_inactive(LpmMigration *migration);
void lpm_source_recover_inactive(LpmMigration *migration);

/* ---- target-inactive.c: as their namesakes in migration.h ---- */

/* `body`: {id, partition, uuid, definition, autostart, memory_bytes, vcpus, files: manifest}. */
json_t *lpm_target_inactive_prepare(struct lpm_daemon *daemon, const char *peer, const json_t *body,
                                    GError **error);
/* `body`: {file: number, offset, data: base64}. May be repeated. */
json_t *lpm_target_inactive_write(LpmMigration *migration, const json_t *body, GError **error);
json_t *lpm_target_inactive_prepared(LpmMigration *migration, GError **error);
json_t *lpm_target_inactive_commit(LpmMigration *migration, GError **error);
json_t *lpm_target_inactive_abort(LpmMigration *migration, const char *cause, GError **error);
json_t *lpm_target_inactive_finish(LpmMigration *migration, GError **error);
void lpm_target_inactive_look(LpmMigration *migration);
/* For lpm_migrations_run. */
void lpm_target_inactive_recover(LpmMigration *migration);

#endif
