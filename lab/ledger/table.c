/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include "table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bytes.h"

/* Page: 0 magic u32 | 4 index u32 | 8 generation u64 | 16 sum u64 | 24 body */
#define PAGE_MAGIC 0x4750474cu /* "LGPG" */
#define BODY_AT 24u
#define BODY_SIZE (PAGE_SIZE - BODY_AT)
#define SMALL_UPDATE 64u
#define TICK_US 10000
#define CATCH_UP_US 100000 /* after a freeze the writer makes up for no more than this */
#define PAGES_MAX (UINT64_C(1) << 32)

struct table {
    /* immutable */
    uint8_t *base;
    uint64_t pages, hot_pages;
    char marker[MARKER_MAX + 1];
    size_t marker_len;
    pthread_t writer;
    bool started;
    /* any thread */
    _Atomic uint64_t rate;
    _Atomic unsigned content;
    _Atomic bool stop;
    _Atomic uint64_t measured;
    /* guarded by lock */
    pthread_mutex_t lock;
    uint64_t *generations, *sums;
    uint64_t generation_total, sum_xor;
    uint64_t dirtied, bad_touched;
    uint64_t rng;
};

uint8_t *table_page(struct table *t, uint64_t index)
{
    return t->base + index * PAGE_SIZE;
}

static uint64_t page_sum(const uint8_t *page)
{
    return sum64(sum64(PAGE_MAGIC, page, 16), page + BODY_AT, BODY_SIZE);
}

static void fill_random(struct table *t, uint8_t *body)
{
    for (unsigned at = 0; at < BODY_SIZE; at += 8)
        put64(body + at, rng_next(&t->rng));
}

/* Lines such as a log or a table has: few words, often repeated, and a number in between. */
static void fill_text(struct table *t, uint8_t *body)
{
    static const char words[32][12] = {
        "account ", "balance ", "customer ", "invoice ", "order ",  "shipped ",  "pending ",
        "paid ",    "select ",  "insert ",   "update ",  "commit ", "begin ",    "table ",
        "index ",   "key=",     "value=",    "status=",  "ok ",     "error ",    "warning ",
        "retry ",   "2026-01-", "10.0.0.",   "GET /",    "POST /",  "HTTP/1.1 ", "200 ",
        "404 ",     "user",     "session ",  "\n"};
    unsigned at = 0;
    while (at < BODY_SIZE) {
        uint64_t r = rng_next(&t->rng);
        for (unsigned i = 0; i < 8 && at < BODY_SIZE; i++, r >>= 8) {
            const char *word = words[r & 31];
            size_t len = strlen(word);
            if (len > BODY_SIZE - at)
                len = BODY_SIZE - at;
            memcpy(body + at, word, len);
            at += (unsigned)len;
            if ((r & 0xe0) == 0 && at < BODY_SIZE)
                body[at++] = (uint8_t)('0' + (r >> 8) % 10);
        }
    }
}

static void fill_marker(const struct table *t, uint8_t *body)
{
    for (size_t at = 0; at < BODY_SIZE; at += t->marker_len)
        memcpy(body + at, t->marker,
               BODY_SIZE - at < t->marker_len ? BODY_SIZE - at : t->marker_len);
}

static void fill_small(struct table *t, uint8_t *body)
{
    uint64_t at = rng_next(&t->rng) % (BODY_SIZE / 8 - SMALL_UPDATE / 8) * 8;
    for (unsigned i = 0; i < SMALL_UPDATE; i += 8)
        put64(body + at + i, rng_next(&t->rng));
}

/* Gives the page its next generation. Caller holds the lock, or is alone. */
static void page_write(struct table *t, uint64_t index, enum content content)
{
    uint8_t *page = table_page(t, index);
    if (t->marker_len && index % MARKER_EVERY == 0)
        fill_marker(t, page + BODY_AT);
    else if (content == CONTENT_RANDOM)
        fill_random(t, page + BODY_AT);
    else if (content == CONTENT_TEXT)
        fill_text(t, page + BODY_AT);
    else
        fill_small(t, page + BODY_AT);
    put32(page, PAGE_MAGIC);
    put32(page + 4, (uint32_t)index);
    put64(page + 8, ++t->generations[index]);
    uint64_t sum = page_sum(page);
    put64(page + 16, sum);
    t->generation_total++;
    t->sum_xor ^= t->sums[index] ^ sum;
    t->sums[index] = sum;
}

/* Caller holds the lock. */
static bool page_ok(struct table *t, uint64_t index)
{
    const uint8_t *page = table_page(t, index);
    return get32(page) == PAGE_MAGIC && get32(page + 4) == (uint32_t)index &&
           get64(page + 8) == t->generations[index] && get64(page + 16) == t->sums[index] &&
           page_sum(page) == t->sums[index];
}

void table_touch(struct table *t, uint64_t index)
{
    enum content content = (enum content)atomic_load(&t->content);
    pthread_mutex_lock(&t->lock);
    if (!page_ok(t, index))
        t->bad_touched++;
    page_write(t, index, content);
    t->dirtied++;
    pthread_mutex_unlock(&t->lock);
}

static void *table_writer(void *arg)
{
    struct table *t = arg;
    uint64_t state = random_id(), second_pages = 0;
    int64_t last = now_us(), second = last;
    double owed = 0; /* pages */
    while (!atomic_load(&t->stop)) {
        struct timespec tick = {.tv_nsec = TICK_US * 1000};
        nanosleep(&tick, NULL);
        int64_t now = now_us();
        int64_t passed = now - last < CATCH_UP_US ? now - last : CATCH_UP_US;
        last = now;
        owed += (double)atomic_load(&t->rate) * (double)passed / 1e6 / PAGE_SIZE;
        /* A rate beyond what this processor can do must not leave an ever-growing debt. */
        int64_t until = now + 2 * TICK_US;
        for (; owed >= 1 && now_us() < until; owed -= 1, second_pages++)
            table_touch(t, rng_next(&state) % t->hot_pages);
        if (owed >= 1)
            owed = 0;
        if (now - second >= 1000000) {
            atomic_store(&t->measured, (uint64_t)((double)second_pages * PAGE_SIZE * 1e6 /
                                                  (double)(now - second)));
            second_pages = 0;
            second = now;
        }
    }
    return NULL;
}

static bool table_fill(struct table *t, enum content content)
{
    t->generations = calloc(t->pages, sizeof *t->generations);
    t->sums = calloc(t->pages, sizeof *t->sums);
    if (!t->generations || !t->sums)
        return false;
    for (uint64_t i = 0; i < t->pages; i++)
        page_write(t, i, content == CONTENT_MOSTLY ? CONTENT_TEXT : content);
    return true;
}

struct table *table_new(uint64_t bytes, uint64_t hot, enum content content, const char *marker,
                        uint64_t rate, struct err *err)
{
    uint64_t pages = bytes / PAGE_SIZE;
    size_t marker_len = marker ? strlen(marker) : 0;
    if (pages == 0 || pages > PAGES_MAX || marker_len > MARKER_MAX) {
        err_set(err, "table of %llu bytes, marker of %zu: from 4096 bytes on, marker up to %u",
                (unsigned long long)bytes, marker_len, MARKER_MAX);
        return NULL;
    }
    struct table *t = calloc(1, sizeof *t);
    if (!t) {
        err_set(err, "out of memory");
        return NULL;
    }
    t->pages = pages;
    t->hot_pages = hot >= PAGE_SIZE && hot / PAGE_SIZE < pages ? hot / PAGE_SIZE : pages;
    t->marker_len = marker_len;
    if (marker)
        memcpy(t->marker, marker, marker_len);
    t->rng = random_id();
    atomic_init(&t->rate, rate);
    atomic_init(&t->content, (unsigned)content);
    pthread_mutex_init(&t->lock, NULL);
    void *base =
        mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    t->base = base == MAP_FAILED ? NULL : base;
    if (!t->base || !table_fill(t, content)) {
        err_set(err, "no memory for a table of %llu bytes; give a smaller --mem",
                (unsigned long long)bytes);
        table_free(t);
        return NULL;
    }
    return t;
}

bool table_start(struct table *t, struct err *err)
{
    if (pthread_create(&t->writer, NULL, table_writer, t))
        return err_set(err, "cannot start the thread that writes to memory");
    return t->started = true;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    atomic_store(&t->stop, true);
    if (t->started)
        pthread_join(t->writer, NULL);
    if (t->base)
        munmap(t->base, t->pages * PAGE_SIZE);
    free(t->generations);
    free(t->sums);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

void table_set_rate(struct table *t, uint64_t rate, enum content content)
{
    atomic_store(&t->content, (unsigned)content);
    atomic_store(&t->rate, rate);
}

void table_state(struct table *t, struct table_state *s)
{
    pthread_mutex_lock(&t->lock);
    *s = (struct table_state){
        .bytes = t->pages * PAGE_SIZE,
        .pages = t->pages,
        .rate = atomic_load(&t->rate),
        .content = atomic_load(&t->content),
        .dirtied = t->dirtied,
        .bad_touched = t->bad_touched,
        .measured = atomic_load(&t->measured),
    };
    pthread_mutex_unlock(&t->lock);
}

void table_verify(struct table *t, struct table_check *check)
{
    *check = (struct table_check){0};
    uint64_t total = 0, xor = 0;
    pthread_mutex_lock(&t->lock);
    for (uint64_t i = 0; i < t->pages; i++) {
        total += t->generations[i];
        xor ^= t->sums[i];
    }
    check->index_ok = total == t->generation_total && xor == t->sum_xor;
    pthread_mutex_unlock(&t->lock);
    for (uint64_t i = 0; i < t->pages; i++) {
        pthread_mutex_lock(&t->lock);
        if (!page_ok(t, i) && !check->bad++)
            check->first_bad = i;
        pthread_mutex_unlock(&t->lock);
    }
}
