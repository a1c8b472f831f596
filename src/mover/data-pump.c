/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/data-internal.h"

#include "base/error.h"
#include "base/fdio.h"

#include <stdio.h>
#include <string.h>

void lpm_data_hash(LpmDataPump *data, const guint8 *bytes, gsize length)
{
    pthread_mutex_lock(&data->lock);
    XXH3_128bits_update(data->stream_hash, bytes, length);
    data->hash_bytes += length;
    pthread_mutex_unlock(&data->lock);
}

void lpm_data_note_progress(LpmDataPump *data)
{
    const struct lpm_stream_info *info = lpm_stream_parser_info(data->parser);

    /* A stream that resumes has an outcome only when the target's QEMU says that it goes on. */
    if (info->postcopy_run || (info->postcopy_resumed && info->eof))
        lpm_switchover_note(data->switchover, LPM_OUTCOME_POSTCOPY);
    else if (info->eof)
        lpm_switchover_note(data->switchover, LPM_OUTCOME_PRECOPY);
    pthread_mutex_lock(&data->lock);
    data->info = *info;
    lpm_page_tags_digest(data->tags, data->page_digest);
    if (data->placer)
        lpm_page_placer_get(data->placer, &data->placed);
    pthread_mutex_unlock(&data->lock);
}

LpmDataPump *lpm_data_pump_new(const struct lpm_pump *pump, LpmSwitchover *switchover,
                               const struct lpm_data_config *config)
{
    LpmDataPump *data = g_new0(LpmDataPump, 1);

    data->pump = *pump;
    data->switchover = switchover;
    data->gate = config->gate;
    data->threads = config->threads;
    data->parser = lpm_stream_parser_new();
    data->page_ring = lpm_page_ring_new(pump->side == LPM_SIDE_SOURCE);
    data->delta = g_malloc(LPM_RING_PAGE);
    data->tags = lpm_page_tags_new(config->secret, config->secret_length);
    data->requests = lpm_return_parser_new();
    pthread_mutex_init(&data->lock, NULL);
    data->stream_hash = XXH3_createState();
    XXH3_128bits_reset(data->stream_hash);
    if (pump->side == LPM_SIDE_TARGET)
        data->tagger = lpm_tagger_new(config->secret, config->secret_length);
    if (pump->side == LPM_SIDE_SOURCE)
        lpm_data_source_start(data, config);
    else
        lpm_data_target_start(data, config);
    return data;
}

void lpm_data_pump_set_threads(LpmDataPump *data, guint threads)
{
    if (data->encode)
        lpm_encode_crew_set_threads(data->encode, threads);
    else
        lpm_decode_crew_set_threads(data->decode, threads);
    data->threads = threads;
    if (data->placer)
        lpm_page_placer_set_threads(data->placer, threads ? threads : lpm_crew_processors());
}

gboolean lpm_data_pump_retain(LpmDataPump *data, int fd, const guint8 key[LPM_IMAGE_KEY_BYTES],
                              GError **error)
{
    lpm_autofd owned = fd;
    LpmPageKeeper *keeper = NULL;
    LpmPageOffer *offer = NULL;

    if (data->keeper || data->offer)
        return lpm_fail(error, LPM_E_PROTOCOL, "there is a retained image already");
    if (data->pump.side == LPM_SIDE_SOURCE)
        keeper = lpm_page_keeper_new(lpm_steal_fd(&owned), key, &data->pump.log);
    else if (data->tagger)
        offer = lpm_page_offer_new(lpm_steal_fd(&owned), key, g_steal_pointer(&data->tagger),
                                   data->pump.session, &data->pump.log, error);
    if (offer)
        lpm_decode_crew_set_offer(data->decode, offer);
    pthread_mutex_lock(&data->lock);
    data->keeper = keeper;
    data->offer = offer;
    pthread_mutex_unlock(&data->lock);
    return keeper || offer;
}

/* As lpm_data_pump_memory. */
static gboolean add_memory(LpmDataPump *data, const char *name, guint64 size, int fd,
                           GError **error)
{
    lpm_autofd owned = fd;

    if (data->pump.side != LPM_SIDE_TARGET)
        return lpm_fail(error, LPM_E_PROTOCOL, "the source's mover places no pages");
    if (lpm_endpoint_state(data->pump.endpoint, NULL) != LPM_CHANNEL_NONE)
        return lpm_fail(error, LPM_E_PROTOCOL, "the stream may have begun already");
    LpmPagePlacer *placer =
        data->placer ? data->placer
                     : lpm_page_placer_new(data->threads ? data->threads : lpm_crew_processors());
    gboolean ok = lpm_page_placer_add(placer, name, size, lpm_steal_fd(&owned), error);

    pthread_mutex_lock(&data->lock);
    data->placer = placer;
    pthread_mutex_unlock(&data->lock);
    return ok;
}

gboolean lpm_data_pump_memory(LpmDataPump *data, const char *name, guint64 size, int fd,
                              GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (add_memory(data, name, size, fd, &failure))
        return TRUE;
    lpm_data_pump_no_memory(data, failure->message);
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

void lpm_data_pump_no_memory(LpmDataPump *data, const char *reason)
{
    pthread_mutex_lock(&data->lock);
    g_free(data->no_placement);
    data->no_placement = g_strdup(reason);
    pthread_mutex_unlock(&data->lock);
}

void lpm_data_pump_drained(LpmDataPump *data)
{
    if (data->ring)
        lpm_ring_drained(data->ring);
}

void lpm_data_pump_acknowledged(LpmDataPump *data)
{
    if (data->ring)
        lpm_ring_acknowledged(data->ring);
}

/* Lock held. The stream as it went, and what the target has of each page. */
static XXH128_hash_t verification(const LpmDataPump *data)
{
    struct {
        XXH128_canonical_t stream;
        guint8 pages[LPM_TAG_BYTES];
    } both;

    XXH128_canonicalFromHash(&both.stream, XXH3_128bits_digest(data->stream_hash));
    memcpy(both.pages, data->page_digest, sizeof(both.pages));
    return XXH3_128bits(&both, sizeof(both));
}

void lpm_data_pump_facts(LpmDataPump *data, struct lpm_data_facts *facts)
{
    memset(facts, 0, sizeof(*facts));
    pthread_mutex_lock(&data->lock);
    facts->stream = data->info;
    facts->hash_bytes = data->hash_bytes;
    facts->pages_unchanged = data->pages_unchanged;
    facts->pages_kept = data->pages_kept;
    facts->pages_same = data->pages_same;
    facts->pages_delta = data->pages_delta;
    facts->placed = data->placed;
    facts->no_placement = g_strdup(data->no_placement);
    XXH128_hash_t hash = verification(data);

    facts->demand.latency = data->handed_over;
    LpmPostcopy *postcopy = data->postcopy;
    LpmDemandMeter *meter = data->meter;
    LpmPageKeeper *keeper = data->keeper;
    LpmPageOffer *offer = data->offer;

    pthread_mutex_unlock(&data->lock);
    facts->keeps = keeper != NULL;
    facts->offers = offer != NULL;
    if (keeper)
        lpm_page_keeper_get(keeper, &facts->keeper);
    if (offer)
        lpm_page_offer_get(offer, &facts->offer);
    if (facts->hash_bytes)
        snprintf(facts->hash, sizeof(facts->hash), "%016llx%016llx",
                 (unsigned long long)hash.high64, (unsigned long long)hash.low64);
    struct lpm_encode_state encode;

    if (data->encode) {
        lpm_encode_crew_get(data->encode, &encode);
        facts->crew = encode.crew;
        facts->choice = encode.last;
    } else {
        lpm_decode_crew_get(data->decode, &facts->crew);
    }
    if (meter)
        lpm_demand_meter_get(meter, &facts->demand);
    if (postcopy) {
        lpm_page_queue_get(lpm_postcopy_queue(postcopy), &facts->queue);
        facts->demand.requests = facts->queue.requests;
    }
}

void lpm_data_facts_clear(struct lpm_data_facts *facts)
{
    g_clear_pointer(&facts->no_placement, g_free);
}

json_t *lpm_data_pump_describe_memory(LpmDataPump *data)
{
    pthread_mutex_lock(&data->lock);
    json_t *memory = data->memory ? json_deep_copy(data->memory) : NULL;
    pthread_mutex_unlock(&data->lock);
    return memory;
}

void lpm_data_pump_cancel(LpmDataPump *data)
{
    if (data->encode)
        lpm_encode_crew_close(data->encode);
    if (data->ring)
        lpm_ring_close(data->ring);
    if (data->offer)
        lpm_page_offer_cancel(data->offer);
}

void lpm_data_pump_free(LpmDataPump *data)
{
    if (!data)
        return;
    lpm_data_pump_cancel(data);
    g_thread_join(data->forward);
    g_thread_join(data->backward);
    if (data->cutter)
        g_thread_join(data->cutter);
    lpm_encode_crew_free(data->encode);
    lpm_encode_job_free(data->job);
    lpm_decode_crew_free(data->decode);
    lpm_ring_free(data->ring);
    lpm_postcopy_free(data->postcopy);
    lpm_demand_meter_free(data->meter);
    lpm_stream_parser_free(data->parser);
    lpm_page_tags_free(data->tags);
    lpm_page_ring_free(data->page_ring);
    g_free(data->delta);
    lpm_page_keeper_free(data->keeper);
    lpm_page_offer_free(data->offer);
    lpm_page_placer_free(data->placer);
    g_free(data->no_placement);
    g_clear_pointer(&data->memory, json_decref);
    lpm_tagger_free(data->tagger);
    lpm_return_parser_free(data->requests);
    XXH3_freeState(data->stream_hash);
    g_clear_pointer(&data->given, g_array_unref);
    g_clear_pointer(&data->out, g_byte_array_unref);
    pthread_mutex_destroy(&data->lock);
    g_free(data);
}
