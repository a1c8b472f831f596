/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The hand-over of a partition, for spin. README.md tells what is modelled, what is not, and which
 * function each label stands for; src/daemon/handover.h has the theory.
 *
 * Form. One process per program; each is a loop of guarded steps, and each step is one action that
 * happens whole or not at all: one write to a journal, one signal to a QEMU, one word sent. Between
 * any two steps of a program everything else may happen, its own end included. Where a program
 * stands is a variable (`s` for the source's lpmd, `t` for the target's), so that a crash is an
 * assignment.
 *
 * The network: a word that was sent may be heard at any later time, any number of times, in any
 * order, or never; so a word is a bit that stays once it is set, and hearing it is optional. A word
 * that its sender does not repeat may be lost: then the bit is not set.
 *
 * Faults come any number of times until they stop, or, with -DFAULTS=N, N times at most. No step
 * without an effect is enabled and nothing is ever undone but by a fault; so with a bound every run
 * is finite, which spin proves by finding no cycle at all. "Every run ends well" is what monitor()
 * asserts where nothing can move any more.
 */

#ifdef FAULTS
byte faults = FAULTS;
#define hit (faults > 0)
#define spend faults--
#define calm (faults == 0)
#else
bit calm; /* from some moment on there is none any more */
#define hit (!calm)
#define spend skip
#endif

/* ---- the two QEMUs ---- */

#define EMPTY 0   /* target: no complete copy in it yet */
#define RUNS 1    /* its processors run */
#define STANDS 2  /* source: stopped by the migration; target: complete and paused */
#define DEAD 3

byte source_qemu = RUNS, target_qemu = EMPTY;
bit frozen;  /* source: SIGSTOP, proved */
bit cont;    /* source: libvirt has asked QEMU to go on; it obeys unless it is frozen */
bit stale;   /* the source ran after its state was copied: the copy must never run */
bit mishap;  /* a QEMU was ended by a fault, so that the partition's run may be lost */

/* ---- libvirt's call and the mover that holds its reply ---- */

#define NO_REPLY 0
#define HELD 1
#define RELEASED 2
#define REFUSED 3

byte reply = NO_REPLY;
bit call = 1;          /* source's libvirt is in its call */
bit source_mover = 1;
bit target_mover = 1;
bit rpc = 1;           /* the socket between the source's libvirt and its mover */

/* ---- journals: what is on disk ---- */

bit s_ending, s_committed, s_running, s_ended, s_aborted, s_fenced, s_over;
bit t_prepared, t_committed, t_running, t_ended, t_aborted, t_fenced, t_over;

/* ---- words on the network ---- */

bit ask_prepared, say_commit, say_abort, say_finish; /* source to target */
bit yes_prepared, not_prepared, yes_runs, no_ended;  /* target to source */

/* ---- where the programs stand ---- */

#define S_DOWN 0
#define S_RECOVER 1
#define S_COPY 2
#define S1_ASK 3
#define S2_FREEZE 4
#define S3_LOOK 5
#define S4_DECIDE 6
#define S5_END 7
#define S6_COMMITTED 8
#define S7_TELL 9
#define S8_RUNNING 10
#define S8_ENDED 11
#define S_CLEAN 12
#define S_TELL_FINISH 13
#define S_ABORT 14
#define S_END_CALL 15
#define S_DROP_MOVER 16
#define S_RESUME 17
#define S_TELL_ABORT 18
#define S_LEAVE 19
#define S_LEFT 20

#define T_DOWN 0
#define T_WATCH 1
#define T2_PREPARED 2
#define T2_SAY 3
#define T3_COMMITTED 4
#define T4_RESUME 5
#define T4_RUNNING 6
#define T_ABORT 7
#define T_DISCARD 8
#define T_ENDED 9
#define T_LEAVE 10
#define T_LEFT 11

byte s = S_COPY, t = T_WATCH;
bit stop;                 /* an operator asked for it */
bit source_off, target_off;   /* the host is off at present */
bit source_gone, target_gone; /* and will never come back */
bit operator_there;           /* somebody takes the oath when it is asked for and true */

#define may_stop (s >= S_COPY && s <= S3_LOOK)

/* ---- source's lpmd ---- */

active proctype source_lpmd()
{
end:
    do
    /* lpm_source_copy */
    :: d_step { s == S_COPY && reply == HELD && source_mover && !stop -> s = S1_ASK }
    :: d_step { s == S_COPY -> s = S_ABORT } /* stopped, failed, or the link was gone for too long */

    /* lpm_handover_source: ask_prepared */
    :: d_step { s == S1_ASK && !ask_prepared -> ask_prepared = 1 }
    :: d_step { s == S1_ASK && yes_prepared -> s = S2_FREEZE }
    :: d_step { s == S1_ASK && (not_prepared || stop || !source_mover || !rpc) -> s = S_ABORT }

    /* lpm_qemu_process_freeze */
#ifdef MUTANT_NO_FREEZE
    :: d_step { s == S2_FREEZE -> s = S3_LOOK }
#else
    :: d_step { s == S2_FREEZE && source_qemu != DEAD -> frozen = 1; s = S3_LOOK }
    :: d_step { s == S2_FREEZE -> s = S_ABORT } /* a thread did not stop in time, or there is none */
#endif

    /* look_again; that the hashes differ, or a question is not answered, is the second step */
    :: d_step { s == S3_LOOK && !stop && source_mover && rpc && call && reply == HELD &&
                source_qemu == STANDS -> s = S4_DECIDE }
    :: d_step { s == S3_LOOK -> frozen = 0; s = S_ABORT }

    /* decide_ending: the decision. A journal that cannot be written may hold it all the same. */
    :: d_step { s == S4_DECIDE -> s_ending = 1; s = S5_END }
    :: d_step { s == S4_DECIDE && hit -> spend; s = S_ABORT }
    :: d_step { s == S4_DECIDE && hit -> spend; s_ending = 1; s = S_ABORT }
#ifdef MUTANT_THAW_UNDECIDED
    :: d_step { s == S4_DECIDE && hit -> spend; s_ending = 1; frozen = 0; s = S_ABORT }
#endif

    /* lpm_handover_source_forward */
    :: d_step { s == S5_END -> assert(source_qemu == DEAD || !stale); source_qemu = DEAD;
                frozen = 0; s = S6_COMMITTED }
    :: d_step { s == S6_COMMITTED -> s_committed = 1; s = S7_TELL }
    :: d_step { s == S7_TELL && !say_commit -> say_commit = 1 }
    :: d_step { s == S7_TELL && yes_runs -> s = S8_RUNNING }
    :: d_step { s == S7_TELL && (no_ended || s_fenced) -> s = S8_ENDED }
    :: d_step { s == S8_RUNNING -> s_running = 1; s = S_CLEAN }
    :: d_step { s == S8_ENDED -> s_ended = 1; s = S_END_CALL }

    /* lpm_source_clean */
    :: d_step { s == S_CLEAN && source_mover && reply == HELD -> reply = RELEASED }
    :: d_step { s == S_CLEAN && (!call || !source_mover || reply == RELEASED) ->
                source_mover = 0; rpc = 0; s = S_TELL_FINISH }
    :: d_step { s == S_TELL_FINISH -> say_finish = 1; s = S_LEAVE }
    :: d_step { s == S_TELL_FINISH -> s = S_LEAVE } /* lost */

    /* lpm_source_roll_back, and lpm_source_end_without_copy from end_call on */
    :: d_step { s == S_ABORT -> s_aborted = 1; s = S_END_CALL }
    :: d_step { s == S_END_CALL -> if :: reply == HELD && source_mover -> reply = REFUSED
                                      :: else -> skip fi; s = S_DROP_MOVER }
    :: d_step { s == S_DROP_MOVER -> source_mover = 0; rpc = 0;
                if :: s_ended && !s_aborted -> s = S_LEAVE :: else -> s = S_RESUME fi }
    :: d_step { s == S_RESUME -> frozen = 0;
                if :: source_qemu == STANDS -> source_qemu = RUNS; stale = 1
                   :: else -> skip fi; s = S_TELL_ABORT }
    :: d_step { s == S_TELL_ABORT -> say_abort = 1; s = S_LEAVE }
    :: d_step { s == S_TELL_ABORT -> s = S_LEAVE } /* lost ten times */
    :: d_step { s == S_LEAVE -> s_over = 1; s = S_LEFT }

    /* after a restart: lpm_source_recover */
    :: d_step { s == S_DOWN && !source_off -> if :: s_over -> s = S_LEFT :: else -> s = S_RECOVER fi }
    :: d_step { s == S_RECOVER && s_running -> s = S_CLEAN }
    :: d_step { s == S_RECOVER && s_ended && !s_running -> s = S_END_CALL }
    :: d_step { s == S_RECOVER && !s_running && !s_ended && s_ending && !s_aborted -> s = S5_END }
    :: d_step { s == S_RECOVER && !s_running && !s_ended && !(s_ending && !s_aborted) ->
                s = S_ABORT }
    :: d_step { s == S_RECOVER && !s_running && !s_ended && !s_ending && !s_aborted &&
                source_mover && source_qemu != DEAD && call && rpc -> frozen = 0; s = S_COPY }
    od
}

/* ---- target's lpmd ---- */

#define source_answers (s != S_DOWN && t == T_WATCH && !t_over)

active proctype target_lpmd()
{
end:
    do
    /* lpm_target_prepared */
    :: d_step { t == T_WATCH && ask_prepared && !t_over && !t_prepared && !t_aborted && !t_ended &&
                target_qemu == STANDS -> t = T2_PREPARED }
    :: d_step { t == T_WATCH && ask_prepared && t_prepared && !t_aborted && !t_ended && !yes_prepared
                -> yes_prepared = 1 }
    :: d_step { (t == T_WATCH || t == T_LEFT) && ask_prepared && !not_prepared &&
                (t_over || t_aborted || t_ended || target_qemu == DEAD || !target_mover) ->
                not_prepared = 1 }
    :: d_step { t == T2_PREPARED -> t_prepared = 1; t = T2_SAY }
#ifdef MUTANT_RESUME_EARLY
    :: d_step { t == T2_SAY && target_qemu == STANDS -> target_qemu = RUNS; yes_prepared = 1;
                t = T_WATCH }
#endif
    :: d_step { t == T2_SAY -> yes_prepared = 1; t = T_WATCH }
    :: d_step { t == T2_SAY && !target_mover -> not_prepared = 1; t = T_WATCH }

    /* lpm_target_commit: on the source's word, on its journal when asked, or on an oath */
    :: d_step { t == T_WATCH && !t_over && !t_running && t_prepared && !t_aborted &&
                (say_commit || t_fenced) -> t = T3_COMMITTED }
    :: d_step { source_answers && s_committed && !s_running && !s_ended && !s_aborted &&
                t_prepared && !t_aborted && !t_running -> t = T3_COMMITTED }
#ifdef MUTANT_START_ON_SILENCE
    :: d_step { t == T_WATCH && !t_over && !t_running && t_prepared && !t_aborted ->
                t = T3_COMMITTED }
#endif
    :: d_step { t == T3_COMMITTED -> t_committed = 1; t = T4_RESUME }
    :: d_step { t == T4_RESUME && target_qemu == STANDS -> assert(!stale); target_qemu = RUNS;
                t = T4_RUNNING }
    :: d_step { t == T4_RESUME && target_qemu == RUNS -> t = T4_RUNNING }
    :: d_step { t == T4_RESUME && target_qemu == DEAD -> t = T_ENDED }
    :: d_step { t == T4_RUNNING -> t_running = 1; yes_runs = 1; t = T_WATCH }
    :: d_step { (t == T_WATCH || t == T_LEFT) && say_commit && t_running && !yes_runs ->
                yes_runs = 1 }
    :: d_step { (t == T_WATCH || t == T_LEFT) && say_commit && t_ended && t_over && !no_ended ->
                no_ended = 1 }
    :: d_step { t == T_ENDED -> t_ended = 1; no_ended = 1; t = T_LEAVE }

    /* lpm_target_abort, by the source's word or journal; give_up, of its own accord */
    :: d_step { t == T_WATCH && !t_over && !t_committed && say_abort -> t = T_ABORT }
    :: d_step { source_answers && !t_committed && s_aborted -> t = T_ABORT }
#ifdef MUTANT_ABORT_AFTER_PREPARED
    :: d_step { t == T_WATCH && !t_over && !t_committed -> t = T_ABORT }
#else
    :: d_step { t == T_WATCH && !t_over && !t_prepared -> t = T_ABORT }
#endif
    :: d_step { t == T_ABORT -> t_aborted = 1; t = T_DISCARD }
    :: d_step { t == T_DISCARD -> target_mover = 0; target_qemu = DEAD; t = T_LEAVE }

    /* what the own journal has decided needs nobody's word */
    :: d_step { t == T_WATCH && !t_over && t_aborted -> t = T_DISCARD }
    :: d_step { t == T_WATCH && !t_over && t_ended && !t_aborted -> t = T_ENDED }
    :: d_step { t == T_WATCH && !t_over && t_committed && !t_running && !t_ended && !t_aborted ->
                t = T4_RESUME }

    /* lpm_target_finish */
    :: d_step { t == T_WATCH && !t_over && t_running && (say_finish || t_fenced) -> t = T_LEAVE }
    :: d_step { source_answers && t_running && s_running -> t = T_LEAVE }
    :: d_step { t == T_LEAVE -> target_mover = 0; t_over = 1; t = T_LEFT }

    /* after a restart: lpm_target_recover */
    :: d_step { t == T_DOWN && !target_off -> if :: t_over -> t = T_LEFT :: else -> t = T_WATCH fi }
    od
}

/* ---- what libvirt and QEMU do by themselves ---- */

active proctype source_libvirt()
{
end:
    do
    :: d_step { call && source_mover && reply == RELEASED -> call = 0;
                if :: source_qemu != DEAD -> source_qemu = DEAD; frozen = 0 :: else -> skip fi }
    :: d_step { call && (reply == REFUSED || !rpc) -> call = 0; cont = 1 }
    :: d_step { cont && source_qemu == STANDS && !frozen -> source_qemu = RUNS; stale = 1; cont = 0 }
#ifdef MUTANT_FINISH_ON_TIMEOUT
    :: d_step { reply == HELD && source_mover -> reply = RELEASED }
#endif
    od
}

/* The copy becomes complete: QEMU stops the source, loads the target, and libvirt's Finish on the
 * target is answered, in that order. */
active proctype copying()
{
end:
    do
    :: d_step { source_qemu == RUNS && target_qemu == EMPTY && call && rpc && source_mover &&
                target_mover && !stale -> source_qemu = STANDS }
    :: d_step { source_qemu == STANDS && target_qemu == EMPTY && source_mover && target_mover &&
                !stale -> target_qemu = STANDS }
    :: d_step { target_qemu == STANDS && reply == NO_REPLY && call && rpc && source_mover &&
                target_mover -> reply = HELD }
    /* the target's libvirt removes what did not become complete */
    :: d_step { target_qemu == EMPTY && (!target_mover || !rpc || !source_mover) ->
                target_qemu = DEAD }
    od
}

/* ---- operators ---- */

/* The oath is truthful: the source is off for good, and the partition has not run there since the
 * hand-over began. */
#ifdef WEAK_OATH
#define oath source_gone
#else
#define oath (source_gone && !stale)
#endif

active proctype operator()
{
    if :: operator_there = 1 :: skip fi;
end:
    do
    :: d_step { !stop && may_stop -> stop = 1 }
    :: d_step { operator_there && oath && !t_fenced && t == T_WATCH && !t_over -> t_fenced = 1 }
    :: d_step { operator_there && target_gone && !s_fenced && s == S7_TELL -> s_fenced = 1 }
    od
}

/* ---- faults ---- */

inline crash_source_lpmd()
{
    s = S_DOWN; stop = 0;
#ifdef MUTANT_NO_FSYNC
    s_ending = 0; s_committed = 0; s_running = 0; s_ended = 0; s_aborted = 0; s_over = 0;
#endif
}

inline crash_target_lpmd()
{
    t = T_DOWN;
#ifdef MUTANT_NO_FSYNC
    t_prepared = 0; t_committed = 0; t_running = 0; t_ended = 0; t_aborted = 0; t_over = 0;
#endif
}

inline power_source_off()
{
    crash_source_lpmd(); source_off = 1; source_mover = 0; rpc = 0; call = 0; cont = 0;
    source_qemu = DEAD; frozen = 0; mishap = 1;
}

inline power_target_off()
{
    crash_target_lpmd(); target_off = 1; target_mover = 0; target_qemu = DEAD; mishap = 1;
}

active proctype fault()
{
end:
    do
    :: d_step { hit && s != S_DOWN && s != S_LEFT -> spend; crash_source_lpmd() }
    :: d_step { hit && t != T_DOWN && t != T_LEFT -> spend; crash_target_lpmd() }
    :: d_step { hit && source_mover -> spend; source_mover = 0; rpc = 0 }
    :: d_step { hit && target_mover -> spend; target_mover = 0 }
    :: d_step { hit && call -> spend; call = 0; rpc = 0; cont = 1 } /* source's libvirtd; its */
    :: d_step { hit && call -> spend; call = 0; rpc = 0 } /* restart resumes QEMU, or does not */
    :: d_step { hit && target_qemu == EMPTY -> spend; target_qemu = DEAD } /* target's libvirtd */
    :: d_step { hit && source_qemu != DEAD -> spend; source_qemu = DEAD; mishap = 1; frozen = 0 }
    :: d_step { hit && target_qemu != DEAD -> spend; target_qemu = DEAD; mishap = 1 }
    :: d_step { hit && !source_off -> spend; power_source_off() }
    :: d_step { hit && !source_off -> spend; power_source_off(); source_gone = 1 }
    :: d_step { hit && !target_off -> spend; power_target_off() }
    :: d_step { hit && !target_off -> spend; power_target_off(); target_gone = 1 }
#ifndef FAULTS
    :: d_step { !calm -> calm = 1 }
#endif
    :: d_step { source_off && !source_gone -> source_off = 0 }
    :: d_step { target_off && !target_gone -> target_off = 0 }
    od
}

/* ---- what must hold ---- */

#define live_copies ((source_qemu != DEAD) + (target_qemu == STANDS || target_qemu == RUNS))

/* judge_source and judge_target of `lpm recover`, as far as they need nobody's word. */
#define source_says_mine (!source_gone && (s_aborted || s_ended || (!s_running && !s_ending)))
#define target_says_mine (!target_gone && !t_ended && (t_running || t_committed))

#define two_run (source_qemu == RUNS && target_qemu == RUNS)
#define lost (live_copies == 0 && !mishap) /* lpmd itself never destroys the last copy */
#define two_owners (source_says_mine && target_says_mine)
#define wrong_owner (source_says_mine && target_qemu == RUNS || \
                     target_says_mine && source_qemu == RUNS)

/* A side that has not ended its migration at rest is waiting for a host that is off for good. */
#define source_doubts (s == S7_TELL && target_gone && !s_fenced)
#define target_doubts (t == T_WATCH && t_prepared && !t_committed && source_gone && !t_fenced)

/* It runs here and the journal says so; only the source's word that its side is tidy is missing. */
#define target_lingers (t == T_WATCH && t_running && source_gone && !t_fenced)

/* What must never be, and the property that it breaks. */
#define never(what) d_step { what -> assert(!(what)) }

active proctype monitor()
{
    do
    :: never(two_run)
    :: never(lost)
    :: never(two_owners)
    :: never(wrong_owner)
    :: timeout -> break
    od;
    /* At rest: each side has ended, is off for good, or says that it is in doubt. */
    assert(s == S_LEFT || source_gone || source_doubts);
    assert(t == T_LEFT || target_gone || target_doubts || target_lingers);
    /* Nothing but a QEMU's or a host's end leaves less than one that runs. */
    assert(mishap || source_qemu == RUNS || target_qemu == RUNS);
    /* Nothing is left over on the loser, and nobody is left frozen. */
    assert(!frozen || source_gone);
    assert(!(s == S_LEFT && s_running) || source_qemu == DEAD);
    assert(!(t == T_LEFT && !t_running) || target_qemu == DEAD);
    assert(s != S_LEFT || !source_mover);
    assert(t != T_LEFT || !target_mover);
}
