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
#define SERVES 3 /* source, after the switch to post-copy: gives pages and can never run again */
#define DEAD 4

byte source_qemu = RUNS, target_qemu = EMPTY;
bit job = 1;   /* source: QEMU's migration goes on */
bit asked;     /* source: QEMU shall switch to post-copy */
bit gate;      /* the target's mover lets the switch and libvirt's Finish through */
bit all_pages; /* post-copy: the target has every page */
bit frozen;    /* source: SIGSTOP, proved */
bit cont;      /* source: libvirt has asked QEMU to go on; it obeys unless it is frozen */
bit stale;     /* the source ran after its state was copied: the copy must never run */
bit mishap;    /* a QEMU was ended by a fault, so that the partition's run may be lost */

#define switched (source_qemu == SERVES)

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

inline end_source_mover()
{
    source_mover = 0;
    reply = NO_REPLY
}

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

bit say_switch, ask_prepared, say_commit, say_abort, say_lost, say_finish;

/* ---- where the programs stand ---- */

#define S_DOWN 0
#define S_RECOVER 1
#define S_COPY 2
#define P1_SWITCHING 3
#define P2_TELL 4
#define P3_ASK 5
#define P4_WAIT 6
#define P5_BACK 7
#define P6_LOST 8
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
#define TP1_SWITCHING 2
#define TP2_SWITCHED 3
#define TP3_LOST 4
#define T2_PREPARED 5
#define T3_COMMITTED 6
#define T4_RESUME 7
#define T4_RUNNING 8
#define T_ABORT 9
#define T_DISCARD 10
#define T_ENDED 11
#define T_LEAVE 12
#define T_LEFT 13

byte s = S_COPY, t = T_WATCH;
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
#define has_ended (target_answers && (t_ended || t_aborted))

/* The copy has failed, or an operator wants no more of it. */
#define way_back (s_switching -> P5_BACK : S_ABORT)
/* There is none: what fails then is tried again. */
#define forward (switched || s_switching && source_qemu == DEAD)
#define undecided (s == S_RECOVER && !s_running && !s_ended && !s_ending && !s_aborted)

active proctype source_lpmd()
{
end:
    do
    /* lpm_source_copy; stopped, failed, or the link was gone for too long */
    :: d_step { s == S_COPY && reply == HELD -> s = S1_ASK }
    :: d_step { s == S_COPY -> s = S_ABORT }

    /* the switch to post-copy: promised by both before libvirt is asked for it */
    :: d_step { s == S_COPY && source_qemu == RUNS -> s = P1_SWITCHING }
#ifdef MUTANT_ASK_FIRST
    :: d_step { s == P1_SWITCHING && !asked -> asked = 1 }
#endif
    :: d_step { s == P1_SWITCHING -> s_switching = 1; s = P2_TELL }
    :: d_step { s == P2_TELL && !say_switch -> say_switch = 1 }
    :: d_step { s == P2_TELL && yes_switching -> s = P3_ASK }
    :: d_step { s == P2_TELL -> s = P5_BACK }
    :: d_step { s == P3_ASK -> asked = 1; s = P4_WAIT }
    :: d_step { s == P4_WAIT && (switched && all_pages || !switched && reply == HELD) ->
                s = S1_ASK }
    :: d_step { s == P4_WAIT && !switched -> s = P5_BACK }
    :: d_step { s == P4_WAIT && source_qemu == DEAD -> s = P6_LOST }
    :: d_step { s == P4_WAIT && switched && (has_ended || s_fenced ||
                                             target_answers && target_qemu == DEAD) ->
                s = P6_LOST }
    /* movers made anew; libvirt's POSTCOPY_RESUME */
    :: d_step { s == P4_WAIT && switched && target_qemu == RUNS && t == T_WATCH && !all_pages &&
                !(linked && call) ->
                source_mover = 1; target_mover = 1; call = 1; reply = NO_REPLY }
    /* only with the proof that it has not switched and cannot any more */
#ifdef MUTANT_ABORT_UNPROVED
    :: d_step { s == P5_BACK -> s = S_ABORT }
#else
    :: d_step { s == P5_BACK && switched -> s = P4_WAIT }
    :: d_step { s == P5_BACK && !switched && source_qemu != DEAD -> job = 0; s = S_ABORT }
    :: d_step { s == P5_BACK && source_qemu == DEAD -> s = P6_LOST }
#endif
    /* Whether it had switched is not known, or no copy is left: the target ends its own, unless it
     * runs and is complete. */
    :: d_step { s == P6_LOST && !say_lost -> say_lost = 1 }
    :: d_step { s == P6_LOST && yes_prepared && t_switched -> s = S4_DECIDE }
    :: d_step { s == P6_LOST && (has_ended || s_fenced) -> s = S8_ENDED }

    /* lpm_handover_source: ask_prepared */
    :: d_step { s == S1_ASK && !ask_prepared -> ask_prepared = 1 }
    :: d_step { s == S1_ASK && yes_prepared -> s = S2_FREEZE }
    :: d_step { s == S1_ASK && !switched -> s = way_back } /* no, or stopped, or failed meanwhile */
#ifdef MUTANT_START_OVER
    :: d_step { s == S1_ASK && !s_switching -> s = S_COPY }
#endif
    :: d_step { s == S1_ASK && switched && (has_ended || s_fenced) -> s = S8_ENDED }

    /* lpm_qemu_process_freeze; a thread did not stop in time, or there is none */
#ifdef MUTANT_NO_FREEZE
    :: d_step { s == S2_FREEZE -> s = S3_LOOK }
#else
    :: d_step { s == S2_FREEZE && source_qemu != DEAD -> frozen = 1; s = S3_LOOK }
    :: d_step { s == S2_FREEZE && !switched -> s = way_back }
#endif

    /* look_again; that the hashes differ, or a question is not answered, is the last step */
    :: d_step { s == S3_LOOK && rpc && reply == HELD && source_qemu == STANDS -> s = S4_DECIDE }
    :: d_step { s == S3_LOOK && switched && all_pages -> s = S4_DECIDE }
    :: d_step { s == S3_LOOK && !switched -> frozen = 0; s = way_back }

    /* decide_ending: the decision. A journal that cannot be written may hold it all the same. */
    :: d_step { s == S4_DECIDE -> s_ending = 1; s = S5_END }
    :: d_step { s == S4_DECIDE && !forward && hit -> spend; s = S_ABORT }
    :: d_step { s == S4_DECIDE && !forward && hit -> spend; s_ending = 1; s = S_ABORT }
#ifdef MUTANT_THAW_UNDECIDED
    :: d_step { s == S4_DECIDE && hit -> spend; s_ending = 1; frozen = 0; s = S_ABORT }
#endif

    /* lpm_handover_source_forward */
    :: d_step { s == S5_END -> assert(source_qemu == DEAD || !stale);
                assert(!switched || all_pages);
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
    :: d_step { s == S_END_CALL -> if :: reply == HELD -> reply = REFUSED :: else -> skip fi;
                s = S_DROP_MOVER }
    :: d_step { s == S_DROP_MOVER -> end_source_mover();
                if :: s_ended && !s_aborted ->
                      if :: switched -> source_qemu = DEAD :: else -> skip fi; s = S_LEAVE
                   :: else -> s = S_RESUME fi }
    :: d_step { s == S_RESUME -> frozen = 0; job = 0; cont = 0;
                if :: source_qemu == STANDS -> source_qemu = RUNS; stale = 1 :: else -> skip fi;
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
    :: d_step { s == S_RECOVER && s_aborted || undecided && !s_switching -> s = S_ABORT }
    :: d_step { s == S_RECOVER && undecided && s_switching -> frozen = 0; s = P4_WAIT }
    :: d_step { s == S_RECOVER && undecided && !s_switching && rpc && source_qemu != DEAD ->
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
    :: d_step { undone && ask_prepared && !t_prepared && complete -> t = T2_PREPARED }
#ifdef MUTANT_RESUME_EARLY
    :: d_step { t == T2_PREPARED && target_qemu == STANDS -> target_qemu = RUNS }
#endif
    :: d_step { t == T2_PREPARED -> t_prepared = 1; t = T_WATCH }

    /* post-copy: the promise; then, when the switch has arrived, the ownership; then the run */
    :: d_step { undone && say_switch && !t_switching && !t_prepared && target_qemu == EMPTY ->
                t = TP1_SWITCHING }
    :: d_step { t == TP1_SWITCHING -> t_switching = 1; t = T_WATCH }
    :: d_step { undone && t_switching && !t_switched && switched && linked && target_qemu == EMPTY
                -> t = TP2_SWITCHED }
    :: d_step { t == TP2_SWITCHED -> t_switched = 1; t = T_WATCH }
    :: d_step { undone && t_switched && !gate && target_mover && target_qemu == EMPTY -> gate = 1 }
#ifdef MUTANT_NO_GATE
    :: d_step { !gate -> gate = 1 }
#endif
    /* the source's QEMU is gone or useless: what runs here lacks pages, unless it is complete */
    :: d_step { undone && !t_prepared && t_switched && complete && (say_lost || t_fenced) ->
                t = T2_PREPARED }
    :: d_step { undone && !t_prepared && t_switched && !complete && (say_lost || t_fenced) ->
                t = TP3_LOST }
    :: d_step { undone && !t_switched && !t_committed && (say_lost || t_fenced && !t_prepared) ->
                t = T_ABORT }
    :: d_step { t == TP3_LOST -> target_qemu = DEAD; t = T_ENDED }
    :: d_step { undone && t_switched && target_qemu == DEAD && !t_prepared -> t = T_ENDED }

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
    :: d_step { t == T4_RESUME && target_qemu == DEAD -> t = T_ENDED }
    :: d_step { t == T4_RUNNING -> t_running = 1; t = T_WATCH }
    :: d_step { t == T_ENDED -> t_ended = 1; t = T_LEAVE }

    /* lpm_target_abort, by the source's word or journal; give_up, of its own accord */
    :: d_step { undone && !t_committed && say_abort -> t = T_ABORT }
    :: d_step { asks_source && undone && !t_committed && s_aborted -> t = T_ABORT }
#ifdef MUTANT_ABORT_AFTER_PREPARED
    :: d_step { undone && !t_committed -> t = T_ABORT }
#endif
#ifdef MUTANT_BREAK_PROMISE
    :: d_step { undone && !t_prepared && !t_switched -> t = T_ABORT }
#endif
    :: d_step { undone && !t_prepared && !t_switching -> t = T_ABORT }
    :: d_step { t == T_ABORT -> assert(!t_switched); t_aborted = 1; t = T_DISCARD }
    :: d_step { t == T_DISCARD -> target_mover = 0; target_qemu = DEAD; t = T_LEAVE }

    /* what the own journal has decided needs nobody's word */
    :: d_step { at_work && t_aborted -> t = T_DISCARD }
    :: d_step { at_work && t_ended && !t_aborted -> t = T_ENDED }
    :: d_step { undone && t_committed && !t_running -> t = T4_RESUME }

    /* lpm_target_finish */
    :: d_step { at_work && t_running && (say_finish || t_fenced) -> t = T_LEAVE }
    :: d_step { asks_source && t_running && s_running -> t = T_LEAVE }
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
    :: d_step { cont && source_qemu == STANDS && !frozen -> source_qemu = RUNS; stale = 1; cont = 0 }
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
                source_qemu = SERVES }
    :: d_step { switched && gate && target_qemu == EMPTY && rpc && linked -> target_qemu = RUNS }
    :: d_step { switched && target_qemu == RUNS && linked && !all_pages -> all_pages = 1 }
    :: d_step { (target_qemu == STANDS || target_qemu == RUNS && all_pages) && reply == NO_REPLY &&
                rpc && linked -> reply = HELD }
    /* the target's libvirt removes what did not become complete */
    :: d_step { target_qemu == EMPTY && !(rpc && linked) -> target_qemu = DEAD;
                mishap = mishap || switched }
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
#define source_waits (s == S7_TELL || s == P4_WAIT || s == P6_LOST || s == S1_ASK && switched)

active proctype operator()
{
end:
    do
    :: d_step { operator_comes && oath && !t_fenced && t == T_WATCH && !t_over -> t_fenced = 1 }
    :: d_step { operator_comes && target_gone && !s_fenced && source_waits -> s_fenced = 1 }
    od
}

/* ---- faults ---- */

inline crash_source_lpmd()
{
    s = S_DOWN;
#ifdef MUTANT_NO_FSYNC
    s_switching = 0; s_ending = 0; s_committed = 0; s_running = 0; s_ended = 0; s_aborted = 0;
    s_over = 0
#endif
}

inline crash_target_lpmd()
{
    t = T_DOWN;
#ifdef MUTANT_NO_FSYNC
    t_switching = 0; t_switched = 0; t_prepared = 0; t_committed = 0; t_running = 0; t_ended = 0;
    t_aborted = 0; t_over = 0
#endif
}

inline power_source_off()
{
    crash_source_lpmd(); end_source_mover();
    source_off = 1; call = 0; cont = 0; job = 0; asked = 0; source_qemu = DEAD; frozen = 0;
    mishap = 1
}

inline power_target_off()
{
    crash_target_lpmd();
    target_off = 1; target_mover = 0; target_qemu = DEAD; mishap = 1
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
                mishap = mishap || switched }
    :: d_step { hit && source_qemu != DEAD -> spend; source_qemu = DEAD; mishap = 1; frozen = 0 }
    :: d_step { hit && target_qemu != DEAD -> spend; target_qemu = DEAD; mishap = 1 }
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

#define live_copies ((source_qemu != DEAD) + (target_qemu == STANDS || target_qemu == RUNS))

/* judge_source and judge_target of `lpm recover`, as far as they need nobody's word. */
#define source_says_mine (!source_gone && \
                          (s_aborted || s_ended || !s_running && !s_ending && !s_switching))
#ifdef MUTANT_PROMISE_OWNS
#define target_says_mine (!target_gone && !t_ended && (t_running || t_committed || t_switching))
#else
#define target_says_mine (!target_gone && !t_ended && (t_running || t_committed || t_switched))
#endif

#define two_run (source_qemu == RUNS && target_qemu == RUNS)
#define lost (live_copies == 0 && !mishap) /* lpmd itself never destroys the last copy */
#define two_owners (source_says_mine && target_says_mine)
#define wrong_owner (source_says_mine && target_qemu == RUNS || \
                     target_says_mine && source_qemu == RUNS)

/* A side that has not ended its migration at rest is waiting for a host that is off for good. */
#define source_doubts (source_waits && target_gone && !s_fenced)
#define target_doubts (t == T_WATCH && (t_prepared || t_switching) && !t_committed && \
                       source_gone && !t_fenced)

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
    assert(!(s == S_LEFT && !s_aborted) || source_qemu == DEAD);
    assert(!(t == T_LEFT && !t_running) || target_qemu == DEAD);
    assert(s != S_LEFT || !source_mover);
    assert(t != T_LEFT || !target_mover);
}
