/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What the mover counts, as JSON. */
#include "base/clock.h"
#include "mover/mover.h"

#include <sys/resource.h>
#include <unistd.h>

static json_int_t cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (json_int_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * G_USEC_PER_SEC +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* Bytes of memory that never went over yet. Later rounds are not in the stream before they come. */
static guint64 memory_left(const struct lpm_stream_info *info)
{
    guint64 seen = info->pages_distinct * info->page_size;

    if (info->phase >= LPM_STREAM_PHASE_COMPLETING || !info->pages_tracked)
        return 0;
    return info->ram_bytes > seen ? info->ram_bytes - seen : 0;
}

/* One channel in the direction that carries the most: forward for data, both for rpc. */
static json_t *stream_stats(LpmMover *mover, enum lpm_channel channel,
                            const struct lpm_session_channel *state, guint64 more)
{
    gboolean sender = mover->side == LPM_SIDE_SOURCE;
    guint64 done = sender ? state->sent_acked : state->received;
    guint64 encoded = sender ? state->sent_encoded : state->received_encoded;

    if (channel == LPM_CHANNEL_RPC) {
        done = state->sent_acked + state->received;
        encoded = state->sent_encoded + state->received_encoded;
    }
    guint64 left = state->unacknowledged + more;

    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "channel", lpm_channel_name(channel),
                     "bytes_total", (json_int_t)(done + left), "bytes_left", (json_int_t)left,
                     "bytes_done", (json_int_t)done, "encoded_bytes", (json_int_t)encoded,
                     "unacknowledged", (json_int_t)state->unacknowledged);
}

static json_t *one_link_stats(const struct lpm_session_link *link)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I}", "state", link->up ? "up" : "down", "reconnects",
                     (json_int_t)link->reconnects, "round_trip_us", (json_int_t)link->round_trip_us,
                     "sent_bytes", (json_int_t)link->sent, "received_bytes",
                     (json_int_t)link->received);
}

/* Before the first has come there is one, which is down. */
static json_t *link_stats(const struct lpm_session_state *state)
{
    json_t *links = json_array();

    for (guint i = 0; i < MAX(state->places, 1); i++)
        json_array_append_new(links, one_link_stats(&state->link[i]));
    return links;
}

/* Post-copy. At the source: from a request to the frame with the page; at the target: from QEMU's
 * request to the page given to it. */
static json_t *demand_stats(LpmMover *mover, const struct lpm_data_facts *facts)
{
    const struct lpm_latency *latency = &facts->demand.latency;
    json_t *demand = json_pack(
        "{s:I, s:I, s:I, s:I, s:I}", "requests", (json_int_t)facts->demand.requests, "served",
        (json_int_t)latency->count, "mean_us", (json_int_t)lpm_latency_mean_us(latency), "p99_us",
        (json_int_t)lpm_latency_percentile_us(latency, 99), "max_us", (json_int_t)latency->max_us);

    if (mover->side == LPM_SIDE_SOURCE) {
        json_object_set_new(demand, "too_late", json_integer((json_int_t)facts->queue.too_late));
        json_object_set_new(demand, "overtook", json_integer((json_int_t)facts->queue.overtook));
        json_object_set_new(demand, "waiting_bytes", json_integer((json_int_t)facts->queue.bytes));
    }
    return demand;
}

/* The threads between the stream and the link. */
static json_t *pipeline_stats(LpmMover *mover, const struct lpm_data_facts *facts)
{
    const struct lpm_compressor *method = facts->choice.method;

    return json_pack("{s:i, s:i, s:i, s:I, s:s?, s:i, s:I}", "threads", (int)facts->crew.threads,
                     "waiting", (int)facts->crew.waiting, "working", (int)facts->crew.working,
                     "busy_us", (json_int_t)facts->crew.busy_us, "compression",
                     method ? method->name : NULL, "level", facts->choice.level, "bandwidth",
                     (json_int_t)mover->bandwidth);
}

/* The source's image of what it sends, and the target's of what comes home. */
static void set_retained(json_t *stats, const struct lpm_data_facts *facts)
{
    if (facts->keeps)
        json_object_set_new(stats, "retain",
                            json_pack("{s:I, s:I, s:b}", "written", (json_int_t)facts->keeper.kept,
                                      "missed", (json_int_t)facts->keeper.missed, "failed",
                                      facts->keeper.failed));
    if (facts->offers)
        json_object_set_new(stats, "retained",
                            json_pack("{s:I, s:I, s:I, s:b}", "offered",
                                      (json_int_t)facts->offer.offered, "damaged",
                                      (json_int_t)facts->offer.damaged, "used",
                                      (json_int_t)facts->offer.used, "read", facts->offer.done));
}

/* How pages get into the memory of the target's QEMU. */
static json_t *placement_stats(const struct lpm_data_facts *facts)
{
    const struct lpm_placer_facts *placed = &facts->placed;
    const char *reason =
        facts->no_placement ? facts->no_placement : "no page has come that may be placed";

    return json_pack("{s:s, s:I, s:I, s:s?}", "method", placed->blocks ? "direct" : "stream",
                     "pages", (json_int_t)placed->pages, "bytes", (json_int_t)placed->bytes,
                     "reason", placed->blocks ? NULL : reason);
}

static void set_session(LpmMover *mover, json_t *stats, const struct lpm_session_state *state,
                        const struct lpm_data_facts *facts)
{
    const struct lpm_stream_info *info = &facts->stream;

    json_object_set_new(stats, "transmit",
                        json_pack("{s:I, s:I, s:I}", "packets", (json_int_t)state->transmit.packets,
                                  "bytes", (json_int_t)state->transmit.bytes, "errors",
                                  (json_int_t)state->transmit.errors));
    json_object_set_new(stats, "receive",
                        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "packets",
                                  (json_int_t)state->receive.packets, "bytes",
                                  (json_int_t)state->receive.bytes, "errors",
                                  (json_int_t)state->receive.errors, "bad_packets",
                                  (json_int_t)state->receive.bad_packets, "no_buffers",
                                  (json_int_t)state->receive.no_buffers, "duplicates",
                                  (json_int_t)state->receive.duplicates));
    json_object_set_new(
        stats, "streams",
        json_pack("[o, o]",
                  stream_stats(mover, LPM_CHANNEL_RPC, &state->channels[LPM_CHANNEL_RPC], 0),
                  stream_stats(mover, LPM_CHANNEL_DATA, &state->channels[LPM_CHANNEL_DATA],
                               memory_left(info))));
    json_object_set_new(stats, "links", link_stats(state));
    json_object_set_new(
        stats, "pages",
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "sent",
                  (json_int_t)(info->pages_normal + info->pages_encoded), "zero",
                  (json_int_t)info->pages_zero, "resent", (json_int_t)info->pages_resent,
                  "unchanged", (json_int_t)facts->pages_unchanged, "kept",
                  (json_int_t)facts->pages_kept, "same", (json_int_t)facts->pages_same, "delta",
                  (json_int_t)facts->pages_delta));
    set_retained(stats, facts);
    if (mover->side == LPM_SIDE_TARGET)
        json_object_set_new(stats, "placement", placement_stats(facts));
    json_object_set_new(stats, "iteration", json_integer((json_int_t)info->rounds));
    json_object_set_new(stats, "stream",
                        json_pack("{s:s, s:I, s:b, s:s?}", "phase",
                                  lpm_stream_phase_name(info->phase), "ram_bytes",
                                  (json_int_t)info->ram_bytes, "degraded", info->degraded,
                                  "degraded_reason", info->degraded_reason));
    json_object_set_new(stats, "demand", demand_stats(mover, facts));
    json_object_set_new(stats, "pipeline", pipeline_stats(mover, facts));
    json_object_set_new(stats, "stream_hash",
                        facts->hash[0] ? json_string(facts->hash) : json_null());
    json_object_set_new(stats, "stream_hash_bytes", json_integer((json_int_t)facts->hash_bytes));
}

/* What QEMU's stream has shown so far; nothing before it began. */
static json_t *operation_types(LpmMover *mover, const struct lpm_stream_info *info)
{
    struct lpm_switchover_state state = {0};
    json_t *types = json_array();

    if (mover->started)
        lpm_switchover_get(mover->switchover, &state);
    if (info->position && !info->postcopy_resumed)
        json_array_append_new(types, json_string("pre-copy"));
    if (state.outcome == LPM_OUTCOME_POSTCOPY)
        json_array_append_new(types, json_string("post-copy"));
    return types;
}

json_t *lpm_mover_stats(LpmMover *mover)
{
    struct lpm_session_state state = {0};
    struct lpm_data_facts facts = {0};
    gint64 since = mover->started ? mover->started_us : mover->born_us;

    if (mover->started) {
        lpm_session_get_state(mover->session, &state);
        lpm_data_pump_facts(mover->data, &facts);
    }
    json_t *stats = json_pack("{s:s?, s:s?, s:s, s:i, s:I, s:I, s:{s:i, s:i, s:o}}", "migration",
                              mover->start.migration, "partition", mover->start.partition, "side",
                              lpm_side_name(mover->side), "pid", (int)getpid(), "elapsed_ms",
                              (json_int_t)((lpm_monotonic_us() - since) / 1000), "cpu_us", cpu_us(),
                              "operations", "maximum", 1, "active",
                              mover->started && !mover->told.ended && !mover->told.failed, "types",
                              operation_types(mover, &facts.stream));

    set_session(mover, stats, &state, &facts);
    lpm_session_state_clear(&state);
    lpm_data_facts_clear(&facts);
    return stats;
}
