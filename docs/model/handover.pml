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
 * The network: a word of the source may be heard at any later time, any number of times, in any
 * order, or never; so it is a bit that stays once it is set, and hearing it is optional. A word
 * that its sender does not repeat may be lost: then the bit is not set. An answer belongs to who
 * waits for it, who may let any time pass before he acts on it: he reads it where it was made.
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
#else
bit calm; /* from some moment on there is none any more */
#define hit (!calm)
#define spend skip
#endif

/* ---- the two QEMUs ---- */

#define EMPTY 0  /* target: no complete copy in it yet */
#define RUNS 1   /* its processors run */
#define STANDS 2 /* source: stopped by the migration; target: complete and paused */
#define SERVES 3 /* source, after the switch to post-copy: gives pages, and stands until it is taken back */
#define DEAD 4
#define POISED 5 /* target, in post-copy: started by libvirt, its processors are held */

byte source_qemu = RUNS, target_qemu = EMPTY;
bit job = 1;   /* source: QEMU's migration goes on */
bit asked;     /* source: QEMU shall switch to post-copy */
bit gate;      /* the target's mover lets the switch and libvirt's Finish through */
bit guard;     /* target: lpmd holds the processors, and its end is the copy's */
bit no_guard;  /* they cannot be held on that host */
bit stopped;   /* target: SIGSTOP; lpmd's end leaves it standing */
bit cut;       /* source: lpmd and its mover have both gone, and QEMU's connection with them */
bit all_pages; /* post-copy: the target has every page */
bit frozen;    /* source: SIGSTOP, proved */
bit cont;      /* source: libvirt has asked QEMU to go on; it obeys unless it is frozen */
bit stale;     /* the source ran after its state was copied: the copy must never run */
/* its QEMU was ended by a fault, and the partition's run with it, if it was there */
bit source_mishap, target_mishap;

#define switched (source_qemu == SERVES)

/* The window that libvirt leaves where processors cannot be held: README.md, "The switch to
 * post-copy". */
inline both_lost(when)
{
    if :: no_guard && (when) -> source_mishap = 1; target_mishap = 1 :: else -> skip fi
}

/* ---- libvirt's call and the mover that holds its reply ---- */

#define NO_REPLY 0
#define HELD 1
#define RELEASED 2
#define REFUSED 3

byte reply = NO_REPLY;
bit call = 1; /* source's libvirt is in its call */
bit source_mover = 1, target_mover = 1;

#define rpc (call && source_mover)
#define linked (source_mover && target_mover)

/* Libvirt's call fails: its job is cancelled, but for one in post-copy, and the source resumed. */
inline fail_call()
{
    call = 0;
    cont = source_qemu == STANDS;
    job = job && switched
}

/* ---- journals: what is on disk ---- */

bit s_switching, s_ending, s_committed, s_running, s_ended, s_aborted, s_fenced, s_over;
bit t_switching, t_switched, t_prepared, t_committed, t_running, t_ended, t_aborted, t_fenced;
bit t_over;

/* ---- words of the source ---- */

bit ask_prepared, say_commit, say_switching, say_abandon, say_abort, say_lost;
bit say_finish;

/* ---- where the programs stand ---- */

#define S_DOWN 0
#define S_RECOVER 1
#define S_COPY 2
#define P1_SWITCHING 3
#define P2_WAIT 4
#define P2_LOST 5
#define P2_END_LOST 6
#define P2_ENDED_LOST 7
#define P6_ENDING 8
#define S1_ASK 9
#define S2_FREEZE 10
#define S3_LOOK 11
#define S4_DECIDE 12
#define S5_END 13
#define S6_COMMITTED 14
#define S7_TELL 15
#define S8_RUNNING 16
#define S8_ENDED 17
#define S_CLEAN 18
#define S_TELL_FINISH 19
#define S_ABORT 20
#define S_END_CALL 21
#define S_DROP_MOVER 22
#define S_RESUME 23
#define S_TELL_ABORT 24
#define S_LEAVE 25
#define S_LEFT 26

#define T_DOWN 0
#define T_WATCH 1
#define P4_SWITCHED 2
#define T_LOST 3
#define T2_PREPARED 4
#define T3_COMMITTED 5
#define T4_RESUME 6
#define T4_RUNNING 7
#define T_ABORT 8
#define T_DISCARD 9
#define T_ENDED 10
#define T_LEAVE 11
#define T_LEFT 12
#define T_SWITCHING 13
#define P3_START 14
#define P5_OPEN 15
#define T_ABORTED 16

byte s = S_COPY, t = T_WATCH;

inline end_source_mover()
{
    cut = cut || switched && s == S_DOWN;
    source_mover = 0;
    reply = NO_REPLY
}

bit source_off, target_off;   /* the host is off at present */
bit source_gone, target_gone; /* and will never come back */
bit operator_comes;           /* to take the oath about that, when it is true */

/* ---- source's lpmd ---- */

/* What the target's lpmd answers, also about a migration that has ended there. */
#define target_answers (t == T_WATCH || t == T_LEFT)
#define yes_switching (t == T_WATCH && t_switching && !t_aborted && !t_ended)
#define yes_prepared (t == T_WATCH && t_prepared && !t_aborted && !t_ended)
#define not_prepared (target_answers && (t_over || t_aborted || t_ended || target_qemu == DEAD || \
                                         !target_mover))
#define yes_runs (target_answers && t_running)
#define has_ended (target_answers && t_ended)
#define has_aborted (target_answers && t_aborted)

/* Something on the way between the two QEMUs has ended. */
#define broken (!(rpc && linked) || source_qemu == DEAD || target_qemu == DEAD)
#define undecided (s == S_RECOVER && !s_running && !s_ended && !s_ending && !s_aborted)

active proctype source_lpmd()
{
end:
    do
    /* lpm_source_copy; stopped, failed, or the link was gone for too long */
    :: d_step { s == S_COPY && reply == HELD -> s = S1_ASK }
    :: d_step { s == S_COPY -> s = S_ABORT }

    /* lpm_source_decide_switching */
    :: d_step { s == S_COPY && source_qemu == RUNS -> s = P1_SWITCHING }
#ifdef MUTANT_ASK_FIRST
    :: d_step { s == P1_SWITCHING && !asked -> asked = 1 }
#endif
    :: d_step { s == P1_SWITCHING -> s_switching = 1; s = P2_WAIT }
    :: d_step { s == P1_SWITCHING && hit -> spend; s_switching = 1; s = S_COPY }

    /* lpm_source_post_copy: ask_for_switch; look */
    :: d_step { s == P2_WAIT && !say_switching -> say_switching = 1 }
    :: d_step { s == P2_WAIT && yes_switching && !asked -> asked = 1 }
    :: d_step { s == P2_WAIT && !ask_prepared -> ask_prepared = 1 }
    :: d_step { s == P2_WAIT && (yes_prepared && t_switched || yes_runs) -> s = P6_ENDING }
    :: d_step { s == P2_WAIT && yes_prepared && !t_switched -> s = S1_ASK }
    :: d_step { s == P2_WAIT && has_ended -> s = P2_LOST }
    :: d_step { s == P2_WAIT && has_aborted -> s = S_ABORT }
    /* look_closer */
    :: d_step { s == P2_WAIT && s_fenced && !(switched || source_qemu == DEAD) -> s = S_ABORT }
    :: d_step { s == P2_WAIT && s_fenced && (switched || source_qemu == DEAD) -> s = P2_LOST }
#ifdef MUTANT_LOST_TOO_SOON
    :: d_step { s == P2_WAIT && s_fenced && source_qemu != RUNS -> s = P2_LOST }
#endif
    :: d_step { s == P2_WAIT && broken && !say_abandon -> say_abandon = 1 }
#ifdef MUTANT_ABORT_UNDECIDED
    :: d_step { s == P2_WAIT && broken && !say_abort -> say_abort = 1 }
#endif
#ifdef MUTANT_ABORT_UNASKED
    :: d_step { s == P2_WAIT && broken -> s = S_ABORT }
#endif
    /* repair: the target has started */
    :: d_step { s == P2_WAIT && target_answers && t_switched && source_qemu == DEAD && !say_lost ->
                say_lost = 1 }
    :: d_step { s == P2_WAIT && switched && target_qemu == RUNS && t == T_WATCH && !all_pages &&
                !(linked && call) ->
                source_mover = 1; target_mover = 1; call = 1; reply = NO_REPLY }
    /* lpm_handover_source_switched, lpm_handover_source_lost */
    :: d_step { s == P6_ENDING -> s_ending = 1; s = S5_END }
    :: d_step { s == P2_LOST -> s_ending = 1; s = P2_END_LOST }
    :: d_step { s == P2_END_LOST -> assert(switched || source_qemu == DEAD); source_qemu = DEAD;
                frozen = 0; s = P2_ENDED_LOST }
    :: d_step { s == P2_ENDED_LOST -> s_ended = 1; s = S_END_CALL }

    /* lpm_handover_source: ask_prepared */
    :: d_step { s == S1_ASK && !ask_prepared -> ask_prepared = 1 }
    :: d_step { s == S1_ASK && yes_prepared -> s = S2_FREEZE }
    :: d_step { s == S1_ASK -> s = S_ABORT } /* no, or stopped, or failed meanwhile */
#ifdef MUTANT_START_OVER
    :: d_step { s == S1_ASK && !s_switching -> s = S_COPY }
#endif

    /* lpm_qemu_process_freeze; a thread did not stop in time, or there is none */
#ifdef MUTANT_NO_FREEZE
    :: d_step { s == S2_FREEZE -> s = S3_LOOK }
#else
    :: d_step { s == S2_FREEZE && source_qemu != DEAD -> frozen = 1; s = S3_LOOK }
    :: d_step { s == S2_FREEZE -> s = S_ABORT }
#endif

    /* look_again; that the hashes differ, or a question is not answered, is the last step */
    :: d_step { s == S3_LOOK && rpc && reply == HELD && source_qemu == STANDS -> s = S4_DECIDE }
    :: d_step { s == S3_LOOK -> frozen = 0; s = S_ABORT }

    /* decide_ending: the decision. A journal that cannot be written may hold it all the same. */
    :: d_step { s == S4_DECIDE -> s_ending = 1; s = S5_END }
    :: d_step { s == S4_DECIDE && hit -> spend; s = S_ABORT }
    :: d_step { s == S4_DECIDE && hit -> spend; s_ending = 1; s = S_ABORT }
#ifdef MUTANT_THAW_UNDECIDED
    :: d_step { s == S4_DECIDE && hit -> spend; s_ending = 1; frozen = 0; s = S_ABORT }
#endif

    /* lpm_handover_source_forward */
    :: d_step { s == S5_END -> assert(source_qemu == DEAD || !stale);
                assert(!switched || all_pages || t_ended || target_gone);
                source_qemu = DEAD; frozen = 0; s = S6_COMMITTED }
    :: d_step { s == S6_COMMITTED -> s_committed = 1; s = S7_TELL }
    :: d_step { s == S7_TELL && !say_commit -> say_commit = 1 }
    :: d_step { s == S7_TELL && yes_runs -> s = S8_RUNNING }
    :: d_step { s == S7_TELL && (has_ended || s_fenced) -> s = S8_ENDED }
    :: d_step { s == S8_RUNNING -> s_running = 1; s = S_CLEAN }
    :: d_step { s == S8_ENDED -> s_ended = 1; s = S_END_CALL }

    /* lpm_source_clean */
    :: d_step { s == S_CLEAN && reply == HELD -> reply = RELEASED }
    :: d_step { s == S_CLEAN && reply != HELD -> end_source_mover(); s = S_TELL_FINISH }
    :: d_step { s == S_TELL_FINISH -> say_finish = 1; s = S_LEAVE }
    :: d_step { s == S_TELL_FINISH -> s = S_LEAVE } /* lost */

    /* lpm_source_roll_back, and lpm_source_end_without_copy from end_call on */
    :: d_step { s == S_ABORT -> s_aborted = 1; s = S_END_CALL }
    :: d_step { s == S_END_CALL -> frozen = 0;
                if :: reply == HELD -> reply = REFUSED :: else -> skip fi; s = S_DROP_MOVER }
    :: d_step { s == S_DROP_MOVER -> end_source_mover();
                if :: s_ended && !s_aborted -> s = S_LEAVE :: else -> s = S_RESUME fi }
#ifdef MUTANT_KEEP_SWITCHED
    :: d_step { s == S_RESUME && switched -> frozen = 0; s = S_TELL_ABORT }
#endif
    /* take_back: QEMU gives post-copy up; its connection may have broken before, see below */
    :: d_step { s == S_RESUME && switched -> frozen = 0; job = 0; cont = 0;
                source_qemu = RUNS; stale = 1; s = S_TELL_ABORT }
    :: d_step { s == S_RESUME && !(switched && !cut && !no_guard) -> frozen = 0; job = 0; cont = 0;
                if :: source_qemu == STANDS -> source_qemu = RUNS; stale = 1
                   :: switched -> source_qemu = DEAD; source_mishap = 1 /* of no use any more */
                   :: else -> skip fi;
                s = S_TELL_ABORT }
    :: d_step { s == S_TELL_ABORT -> say_abort = 1; s = S_LEAVE }
    :: d_step { s == S_TELL_ABORT -> s = S_LEAVE } /* lost ten times */
    :: d_step { s == S_LEAVE -> s_over = 1; s = S_LEFT }

    /* after a restart: lpm_source_recover */
    :: d_step { s == S_DOWN && !source_off ->
                if :: s_over -> s = S_LEFT :: else -> s = S_RECOVER fi }
    :: d_step { s == S_RECOVER && s_running -> s = S_CLEAN }
    :: d_step { s == S_RECOVER && s_ended && !s_running -> s = S_END_CALL }
    :: d_step { s == S_RECOVER && !s_running && !s_ended && s_ending && !s_aborted -> s = S5_END }
    :: d_step { s == S_RECOVER && s_aborted -> s = S_ABORT }
    :: d_step { undecided && !s_switching -> frozen = 0; s = S_ABORT }
#ifdef MUTANT_STAY_FROZEN
    :: d_step { undecided && s_switching -> s = P2_WAIT }
#endif
    :: d_step { undecided && s_switching -> frozen = 0; s = P2_WAIT }
    :: d_step { undecided && !s_switching && rpc && source_qemu != DEAD ->
                frozen = 0; s = S_COPY }
    od
}

/* ---- target's lpmd ---- */

#define at_work (t == T_WATCH && !t_over)
#define undone (at_work && !t_aborted && !t_ended)
#define asks_source (at_work && s != S_DOWN) /* and hears what the source's journal says */

/* In post-copy the copy is complete when the last page has come. */
#define complete (t_switched -> target_qemu == RUNS && all_pages : target_qemu == STANDS)

active proctype target_lpmd()
{
end:
    do
    /* lpm_target_prepared */
    :: d_step { undone && ask_prepared && !t_prepared && !t_fenced && complete -> t = T2_PREPARED }
#ifdef MUTANT_RESUME_EARLY
    :: d_step { t == T2_PREPARED && target_qemu == STANDS -> target_qemu = RUNS }
#endif
    :: d_step { t == T2_PREPARED -> t_prepared = 1; t = T_WATCH }

    /* lpm_target_switching: no giving up on silence from here */
    :: d_step { undone && say_switching && !t_switching -> t = T_SWITCHING }
    :: d_step { t == T_SWITCHING -> t_switching = 1; t = T_WATCH }
    /* lpm_target_on_run_waits, lpm_handover_target_switch: start_behind_gate */
    :: d_step { undone && !t_switched && !t_prepared && switched && linked && target_qemu == EMPTY &&
                !no_guard && !gate -> guard = 1; t = P3_START }
    :: d_step { t == P3_START && !gate && target_mover -> gate = 1 }
    :: d_step { t == P3_START && target_qemu == POISED && target_mover ->
#ifndef MUTANT_NO_STAY
                guard = 0; stopped = 1;
#endif
#ifdef MUTANT_NO_STOP
                stopped = 0;
#endif
                t = P4_SWITCHED }
#ifdef MUTANT_OPEN_FIRST
    :: d_step { t == P4_SWITCHED && target_qemu == POISED -> target_qemu = RUNS }
#endif
    :: d_step { t == P3_START -> t = T_ABORT } /* something on the way broke */
    :: d_step { t == P4_SWITCHED && !no_guard -> t_switched = 1; t = P5_OPEN }
    :: d_step { t == P5_OPEN -> guard = 0; stopped = 0;
                if :: target_qemu == POISED -> target_qemu = RUNS :: else -> skip fi; t = T_WATCH }
    /* take_back_decision: nobody has been told */
    :: d_step { t == P5_OPEN && target_qemu == POISED && !(target_mover && rpc) -> t = T_ABORTED }
    /* lpm_target_let_started_go; give_back_unstarted */
    :: d_step { undone && t_switched && target_qemu == POISED -> target_qemu = RUNS; stopped = 0 }
    :: d_step { undone && !t_switched && !t_prepared && gate -> t = T_ABORT }
    /* start_decided */
    :: d_step { undone && !t_switched && !t_prepared && switched && linked && target_qemu == EMPTY &&
                no_guard -> t = P4_SWITCHED }
    :: d_step { t == P4_SWITCHED && no_guard -> t_switched = 1; t = T_WATCH }
    :: d_step { undone && t_switched && !gate && target_mover && target_qemu == EMPTY -> gate = 1 }
    /* nobody heard the word */
    :: d_step { undone && t_switched && !gate && !target_mover && target_qemu != RUNS -> t = T_ABORT }
#ifdef MUTANT_NO_GATE
    :: d_step { !gate -> gate = 1 }
#endif
    /* lpm_target_lost, lpm_target_look_after_switch */
    :: d_step { undone && t_switched && !t_prepared && !complete && (say_lost || t_fenced) ->
                t = T_LOST }
    :: d_step { t == T_LOST -> target_qemu = DEAD; t = T_ENDED }
    :: d_step { undone && t_switched && target_qemu == DEAD && !t_prepared -> t = T_ENDED }
    /* complete_by_now */
    :: d_step { undone && t_switched && !t_prepared && complete && t_fenced -> t = T2_PREPARED }

    /* lpm_target_commit: on the source's word, on its journal when asked, or on an oath */
    :: d_step { undone && !t_running && t_prepared && (say_commit || t_fenced) -> t = T3_COMMITTED }
    :: d_step { asks_source && undone && s_committed && !s_running && !s_ended && !s_aborted &&
                t_prepared && !t_running -> t = T3_COMMITTED }
#ifdef MUTANT_START_ON_SILENCE
    :: d_step { undone && !t_running && t_prepared -> t = T3_COMMITTED }
#endif
    :: d_step { t == T3_COMMITTED -> t_committed = 1; t = T4_RESUME }
    :: d_step { t == T4_RESUME && target_qemu == STANDS -> assert(!stale); target_qemu = RUNS;
                t = T4_RUNNING }
    :: d_step { t == T4_RESUME && target_qemu == RUNS -> t = T4_RUNNING }
    :: d_step { t == T4_RESUME && target_qemu == DEAD && !t_switched -> t = T_ENDED }
    :: d_step { t == T4_RESUME && target_qemu == DEAD && t_switched -> t = T4_RUNNING } /* it ran */
    :: d_step { t == T4_RUNNING -> t_running = 1; t = T_WATCH }
    :: d_step { t == T_ENDED -> t_ended = 1; t = T_LEAVE }

    /* lpm_target_abort, by the source's word or journal; give_up, of its own accord */
    :: d_step { undone && !t_committed && !t_switched && say_abort -> t = T_ABORT }
    :: d_step { undone && !t_prepared && !t_switched && say_abandon -> t = T_ABORT }
    :: d_step { asks_source && undone && !t_committed && !t_switched && s_aborted ->
                t = T_ABORT }
#ifdef MUTANT_ABORT_AFTER_PREPARED
    :: d_step { undone && !t_committed -> t = T_ABORT }
#endif
#ifdef MUTANT_GIVE_UP_SWITCHED
    :: d_step { undone && !t_prepared -> t = T_ABORT }
#endif
    :: d_step { undone && !t_prepared && !t_switching -> t = T_ABORT }
    :: d_step { undone && !t_prepared && !t_switched && t_fenced -> t = T_ABORT }
#ifdef MUTANT_BREAK_PROMISE
    :: d_step { undone && !t_prepared && !t_switched -> t = T_ABORT }
#endif
    /* lpm_target_end_unstarted */
    :: d_step { t == T_ABORT -> assert(!t_switched || !gate && target_qemu != RUNS);
                assert(!(t_switching && !t_prepared) || target_qemu != RUNS);
                both_lost(switched && broken);
                if :: t_switching && !t_switched && !t_prepared ->
                      target_qemu = DEAD; guard = 0; stopped = 0
                   :: else -> skip fi;
                t = T_ABORTED }
    :: d_step { t == T_ABORTED -> t_aborted = 1; t = T_DISCARD }
    :: d_step { t == T_DISCARD -> target_mover = 0; target_qemu = DEAD; guard = 0; stopped = 0;
                t = T_LEAVE }

    /* what the own journal has decided needs nobody's word */
    :: d_step { at_work && t_aborted -> t = T_DISCARD }
    :: d_step { at_work && t_ended && !t_aborted -> t = T_ENDED }
    :: d_step { undone && t_committed && !t_running -> t = T4_RESUME }

    /* lpm_target_finish */
    :: d_step { at_work && t_running && (say_finish || t_fenced) -> t = T_LEAVE }
    :: d_step { asks_source && t_running && s_running && s_over -> t = T_LEAVE }
    :: d_step { at_work && t_running && s == S_DOWN -> t = T_LEAVE } /* end_alone */
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
    :: d_step { rpc && reply == RELEASED -> call = 0;
                if :: source_qemu != DEAD -> source_qemu = DEAD; frozen = 0 :: else -> skip fi }
    :: d_step { call && (reply == REFUSED || !source_mover) -> fail_call() }
    :: d_step { call && target_qemu == DEAD && reply == NO_REPLY -> fail_call() }
    :: d_step { cont && source_qemu == STANDS && !frozen ->
                source_qemu = RUNS; stale = 1; cont = 0 }
#ifdef MUTANT_FINISH_ON_TIMEOUT
    :: d_step { reply == HELD -> reply = RELEASED }
#endif
    od
}

/* The copy becomes complete: QEMU stops the source, loads the target, and libvirt's Finish on the
 * target is answered, in that order; or it switches, the target runs, and the pages follow. */
active proctype copying()
{
end:
    do
    :: d_step { source_qemu == RUNS && job && target_qemu == EMPTY && rpc && linked ->
                source_qemu = STANDS }
    :: d_step { source_qemu == STANDS && job && target_qemu == EMPTY && linked ->
                target_qemu = STANDS }
    :: d_step { source_qemu == RUNS && job && asked && target_qemu == EMPTY && linked ->
                source_qemu = SERVES; both_lost(t_aborted && broken) }
    :: d_step { switched && gate && target_qemu == EMPTY && rpc && linked ->
                target_qemu = (guard -> POISED : RUNS) }
    :: d_step { switched && (target_qemu == RUNS || target_qemu == POISED && !stopped) && linked &&
                !all_pages -> all_pages = 1 }
    :: d_step { (target_qemu == STANDS || target_qemu == RUNS && all_pages) && reply == NO_REPLY &&
                rpc && linked -> reply = HELD }
    /* the target's libvirt removes what did not become complete */
    :: d_step { target_qemu == EMPTY && !(rpc && linked) -> target_qemu = DEAD;
                both_lost(switched) }
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
#define source_waits (s == S7_TELL || s == P2_WAIT)

active proctype operator()
{
end:
    do
    :: d_step { operator_comes && oath && !t_fenced && t == T_WATCH && !t_over -> t_fenced = 1 }
    :: d_step { operator_comes && source_gone && !t_fenced && undone && !t_prepared &&
                !t_switched -> t_fenced = 1 } /* nothing that could run here */
    /* --discard, for when it may have run there */
    :: d_step { operator_comes && source_gone && undone && !t_committed && !t_switched && t_prepared
                -> t = T_ABORT }
#ifdef MUTANT_OATH_FIRST
    :: d_step { operator_comes && source_gone && undone && !t_committed && !t_switched && t_prepared
                -> t_fenced = 1; t = T_ABORT }
#endif
    :: d_step { operator_comes && target_gone && !s_fenced && source_waits -> s_fenced = 1 }
    :: d_step { !no_guard && !asked && t == T_WATCH -> no_guard = 1 }
    od
}

/* ---- faults ---- */

inline crash_source_lpmd()
{
    cut = cut || switched && !source_mover;
    s = S_DOWN;
#ifdef MUTANT_NO_FSYNC
    s_switching = 0; s_ending = 0; s_committed = 0; s_running = 0; s_ended = 0; s_aborted = 0;
    s_over = 0
#endif
}

inline crash_target_lpmd()
{
    t = T_DOWN;
    if :: guard && (target_qemu == EMPTY || target_qemu == POISED) -> target_qemu = DEAD
       :: !guard && !stopped && target_qemu == POISED -> target_qemu = RUNS
       :: else -> skip fi;
    guard = 0;
#ifdef MUTANT_NO_FSYNC
    t_switching = 0; t_switched = 0; t_prepared = 0; t_committed = 0; t_running = 0; t_ended = 0;
    t_aborted = 0; t_over = 0
#endif
}

inline power_source_off()
{
    crash_source_lpmd(); end_source_mover();
    source_off = 1; call = 0; cont = 0; job = 0; asked = 0; source_qemu = DEAD; frozen = 0;
    source_mishap = 1
}

inline power_target_off()
{
    crash_target_lpmd();
    target_off = 1; target_mover = 0; target_qemu = DEAD; target_mishap = 1; stopped = 0
}

active proctype fault()
{
end:
    do
    :: d_step { hit && s != S_DOWN && s != S_LEFT -> spend; crash_source_lpmd() }
    :: d_step { hit && t != T_DOWN && t != T_LEFT -> spend; crash_target_lpmd() }
    :: d_step { hit && source_mover -> spend; end_source_mover() }
    :: d_step { hit && target_mover -> spend; target_mover = 0 }
    /* source's libvirtd, whose restart resumes QEMU, or does not */
    :: d_step { hit && call -> spend; fail_call() }
    :: d_step { hit && call -> spend; call = 0 }
    /* target's libvirtd */
    :: d_step { hit && target_qemu == EMPTY -> spend; target_qemu = DEAD;
                both_lost(switched) }
    :: d_step { hit && source_qemu != DEAD -> spend; source_qemu = DEAD; frozen = 0;
                source_mishap = 1 }
    :: d_step { hit && target_qemu != DEAD -> spend; target_qemu = DEAD; target_mishap = 1 }
    :: d_step { hit && !source_off -> spend; power_source_off() }
    :: d_step { hit && !source_off -> spend; power_source_off(); source_gone = 1 }
    :: d_step { hit && !source_off -> spend; power_source_off(); source_gone = 1;
                operator_comes = 1 }
    :: d_step { hit && !target_off -> spend; power_target_off() }
    :: d_step { hit && !target_off -> spend; power_target_off(); target_gone = 1 }
    :: d_step { hit && !target_off -> spend; power_target_off(); target_gone = 1;
                operator_comes = 1 }
    :: d_step { source_off && !source_gone -> source_off = 0 }
    :: d_step { target_off && !target_gone -> target_off = 0 }
#ifndef FAULTS
    :: d_step { !calm -> calm = 1 }
#endif
    od
}

/* ---- what must hold ---- */

/* On its way from a source that can no longer run it is still a copy. */
#define under_way (switched && target_qemu == EMPTY && !t_aborted)
/* In post-copy it can be taken back until the target has decided. */
#define can_come_back (switched && !no_guard && !(t_switched && !t_aborted) && !cut)
#define live_copies ((source_qemu == RUNS || source_qemu == STANDS) + under_way + can_come_back + \
                     (target_qemu == STANDS || target_qemu == RUNS || target_qemu == POISED))

/* lpm_migration_switched */
#define t_started (t_switched && !t_aborted)

/* judge_source and judge_target of `lpm recover`, as far as they need nobody's word. */
#define source_says_mine (!source_gone && (s_aborted || s_ended || \
                          !s_running && !s_ending && (!s_switching || \
                              target_answers && !t_started && !t_running && !t_committed)))
#define target_says_mine (!target_gone && !t_ended && (t_running || t_committed || t_started))

#define two_run (source_qemu == RUNS && target_qemu == RUNS)
/* lpmd itself never destroys the last copy */
#define lost (live_copies == 0 && !source_mishap && !target_mishap && !cut)
#define two_owners (source_says_mine && target_says_mine)
#define wrong_owner (source_says_mine && target_qemu == RUNS || \
                     target_says_mine && source_qemu == RUNS)

/* A side that has not ended its migration at rest is waiting for a host that is off for good, and
 * for somebody who says so. */
#define source_doubts (source_waits && target_gone && !operator_comes)
#define target_doubts (t == T_WATCH && (t_prepared || t_switching) && !t_committed && \
                       source_gone && !operator_comes)

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
    assert(t == T_LEFT || target_gone || target_doubts);
    /* Nothing but a QEMU's or a host's end leaves less than one that runs. */
    assert(source_mishap || target_mishap || source_qemu == RUNS || target_qemu == RUNS);
    /* Who is named as the owner runs it, unless it was his QEMU that a fault has ended. */
    assert(!(s == S_LEFT && s_aborted) || source_qemu == RUNS || source_mishap);
    assert(!(t == T_LEFT && target_says_mine) || target_qemu == RUNS || target_mishap);
    /* Nothing is left over on the loser, and nobody is left frozen. */
    assert(!frozen || source_gone);
    assert(s != S_LEFT || !switched);
    assert(!(s == S_LEFT && !s_aborted) || source_qemu == DEAD);
    assert(!(t == T_LEFT && !t_running) || target_qemu == DEAD);
    assert(s != S_LEFT || !source_mover);
    assert(t != T_LEFT || !target_mover);
}
