/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include "book.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

#define SLOTS (2u * BOOK_CLIENTS_MAX)
#define BITS_STEP (UINT64_C(1) << 16) /* grow by 8 KiB at least */

bool bits_get(const struct bits *bits, uint64_t n)
{
    return n < bits->size && (bits->map[n / 8] >> (n % 8) & 1);
}

bool bits_reserve(struct bits *bits, uint64_t n)
{
    if (n < bits->size)
        return true;
    /* Half as much again: the copying stays linear in what is stored. */
    uint64_t size = (n + n / 2 + BITS_STEP) / BITS_STEP * BITS_STEP;
    uint8_t *map = realloc(bits->map, size / 8);
    if (!map)
        return false;
    memset(map + bits->size / 8, 0, (size - bits->size) / 8);
    bits->map = map;
    bits->size = size;
    return true;
}

void bits_set(struct bits *bits, uint64_t n)
{
    bits->map[n / 8] = (uint8_t)(bits->map[n / 8] | 1u << (n % 8));
}

uint64_t bits_count(const struct bits *bits)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < bits->size / 8; i++)
        count += (uint64_t)__builtin_popcount(bits->map[i]);
    return count;
}

bool book_init(struct book *book)
{
    *book = (struct book){.slots = calloc(SLOTS, sizeof *book->slots)};
    return book->slots != NULL;
}

void book_free(struct book *book)
{
    for (size_t i = 0; book->slots && i < SLOTS; i++)
        free(book->slots[i].seen.map);
    free(book->slots);
    *book = (struct book){0};
}

bool book_copy(struct book *to, const struct book *from)
{
    if (!book_init(to))
        return false;
    struct book_client *slots = to->slots;
    *to = *from;
    to->slots = slots;
    for (size_t i = 0; i < SLOTS; i++) {
        const struct book_client *src = &from->slots[i];
        slots[i] = *src;
        slots[i].seen = (struct bits){0};
        if (!src->seen.size)
            continue;
        slots[i].seen.map = malloc(src->seen.size / 8);
        if (!slots[i].seen.map) {
            book_free(to);
            return false;
        }
        memcpy(slots[i].seen.map, src->seen.map, src->seen.size / 8);
        slots[i].seen.size = src->seen.size;
    }
    return true;
}

/* The client's slot, or the free one where it belongs; half of the slots stay free. */
static struct book_client *slot_of(const struct book *book, uint64_t client)
{
    size_t at = mix64(client) % SLOTS;
    while (book->slots[at].id && book->slots[at].id != client)
        at = (at + 1) % SLOTS;
    return &book->slots[at];
}

bool book_reserve(struct book *book, uint64_t client, uint64_t number)
{
    if (!client || number > BOOK_NUMBER_MAX)
        return false;
    struct book_client *c = slot_of(book, client);
    if (!c->id && book->clients >= BOOK_CLIENTS_MAX)
        return false;
    if (number < c->seen.size)
        return true;
    uint64_t before = c->seen.size / 8;
    if (book->bytes - before + (number + number / 2 + BITS_STEP) / 8 > BOOK_BYTES_MAX)
        return false;
    if (!bits_reserve(&c->seen, number))
        return false;
    if (!c->id) {
        c->id = client;
        book->clients++;
    }
    book->bytes += c->seen.size / 8 - before;
    return true;
}

bool book_apply(struct book *book, uint64_t client, uint64_t number)
{
    struct book_client *c = slot_of(book, client);
    if (bits_get(&c->seen, number)) {
        c->doubled++;
        book->doubled++;
        return false;
    }
    bits_set(&c->seen, number);
    if (number > c->highest)
        c->highest = number;
    book->applied++;
    return true;
}

const struct book_client *book_find(const struct book *book, uint64_t client)
{
    const struct book_client *c = client ? slot_of(book, client) : NULL;
    return c && c->id ? c : NULL;
}

static uint64_t count_missing(const struct book_client *have, const struct book_client *want)
{
    uint64_t n = 0, other = want ? want->seen.size / 8 : 0;
    for (uint64_t i = 0; i < have->seen.size / 8; i++) {
        unsigned only = have->seen.map[i] & ~(i < other ? want->seen.map[i] : 0u);
        n += (uint64_t)__builtin_popcount(only);
    }
    return n;
}

void book_compare(const struct book *left, const struct book *right, uint32_t run,
                  struct book_diff *diff)
{
    *diff = (struct book_diff){0};
    for (size_t i = 0; i < SLOTS; i++) {
        const struct book_client *l = &left->slots[i], *r = &right->slots[i];
        if (l->id && (!run || l->id >> 32 == run)) {
            const struct book_client *other = book_find(right, l->id);
            diff->missing += count_missing(l, other);
            diff->doubled += other && other->doubled > l->doubled ? other->doubled : l->doubled;
        }
        if (r->id && (!run || r->id >> 32 == run)) {
            const struct book_client *other = book_find(left, r->id);
            diff->extra += count_missing(r, other);
            if (!other)
                diff->doubled += r->doubled;
        }
    }
}
