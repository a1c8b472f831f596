/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/page-image.h"

#include "base/error.h"
#include "base/fdio.h"
#include "transport/bytes.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

/* The file: a head, the sealed list of blocks, and from SLOTS_AT on the slots. */
#define MAGIC "LPMIMAGE"
#define VERSION 1u
#define SALT_BYTES 32u
#define HEAD_BYTES 52u /* magic, version, page size, salt, length of the list as sealed */
#define LIST_AT 4096
#define SLOTS_AT (1 << 20)
#define LIST_MAX (SLOTS_AT - LIST_AT)
#define BLOCKS_MAX 4096u

#define TAG_BYTES 16u
/* A slot: number of the writing (0: nothing is here), the page sealed, its tag. */
#define SLOT_BYTES (8u + LPM_IMAGE_PAGE + TAG_BYTES)
#define LIST_NUMBER G_MAXUINT64

struct lpm_image {
    /* immutable */
    int fd;
    gnutls_aead_cipher_hd_t cipher;
    GArray *blocks; /* of struct lpm_image_block */
    guint64 slots;

    pthread_mutex_t lock;
    /* guarded by lock: the cipher and these */
    guint64 number; /* of the last writing */
    guint8 *buffer; /* of LPM_IMAGE_RUN slots */
};

static gboolean failed(const char *what, GError **error)
{
    return lpm_fail(error, LPM_E_RETAINED, "%s: %s", what, g_strerror(errno));
}

/* All of it; FALSE with errno (0: the file ends before). */
static gboolean read_at(int fd, guint8 *data, gsize length, guint64 at)
{
    while (length) {
        ssize_t n = pread(fd, data, length, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : 0;
            return FALSE;
        }
        data += n;
        at += (guint64)n;
        length -= (gsize)n;
    }
    return TRUE;
}

static gboolean write_at(int fd, const guint8 *data, gsize length, guint64 at)
{
    while (length) {
        ssize_t n = pwrite(fd, data, length, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FALSE;
        data += n;
        at += (guint64)n;
        length -= (gsize)n;
    }
    return TRUE;
}

/* ---- sealing; the nonce is the number of the writing, which never comes twice under a key ---- */

static void make_nonce(guint64 number, guint8 nonce[12])
{
    memset(nonce, 0, 4);
    lpm_put_be64(nonce + 4, number);
}

static gboolean seal(LpmImage *image, guint64 number, guint64 place, const guint8 *plain,
                     gsize length, guint8 *out)
{
    guint8 nonce[12], where[8];
    size_t size = length + TAG_BYTES;

    make_nonce(number, nonce);
    lpm_put_be64(where, place);
    return gnutls_aead_cipher_encrypt(image->cipher, nonce, sizeof(nonce), where, sizeof(where),
                                      TAG_BYTES, plain, length, out, &size) == 0;
}

static gboolean unseal(LpmImage *image, guint64 number, guint64 place, const guint8 *sealed,
                       gsize length, guint8 *out)
{
    guint8 nonce[12], where[8];
    size_t size = length;

    make_nonce(number, nonce);
    lpm_put_be64(where, place);
    return gnutls_aead_cipher_decrypt(image->cipher, nonce, sizeof(nonce), where, sizeof(where),
                                      TAG_BYTES, sealed, length + TAG_BYTES, out, &size) == 0 &&
           size == length;
}

/* ---- opening ---- */

static LpmImage *new_image(int fd, const guint8 *key, const guint8 *salt)
{
    LpmImage *image = g_new0(LpmImage, 1);
    guint8 bytes[32];
    const gnutls_datum_t datum = {.data = bytes, .size = sizeof(bytes)};

    image->fd = fd;
    image->blocks = g_array_new(FALSE, TRUE, sizeof(struct lpm_image_block));
    image->buffer = g_malloc(LPM_IMAGE_RUN * SLOT_BYTES);
    pthread_mutex_init(&image->lock, NULL);
    if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, LPM_IMAGE_KEY_BYTES, salt, SALT_BYTES, bytes) <
            0 ||
        gnutls_aead_cipher_init(&image->cipher, GNUTLS_CIPHER_AES_256_GCM, &datum) < 0)
        g_error("GnuTLS has no AES-256-GCM or no HMAC-SHA256");
    gnutls_memset(bytes, 0, sizeof(bytes));
    return image;
}

void lpm_image_free(LpmImage *image)
{
    if (!image)
        return;
    for (guint i = 0; i < image->blocks->len; i++)
        g_free(g_array_index(image->blocks, struct lpm_image_block, i).name);
    g_array_unref(image->blocks);
    gnutls_aead_cipher_deinit(image->cipher);
    pthread_mutex_destroy(&image->lock);
    g_free(image->buffer);
    close(image->fd);
    g_free(image);
}

/* FALSE: more than an image holds. */
static gboolean add_block(LpmImage *image, const char *name, gsize length, guint64 pages)
{
    struct lpm_image_block block = {.pages = pages, .first = image->slots};

    if (image->blocks->len == BLOCKS_MAX || !length || length > 255 ||
        pages > LPM_IMAGE_PAGES_MAX - image->slots)
        return FALSE;
    block.name = g_strndup(name, length);
    image->slots += pages;
    g_array_append_val(image->blocks, block);
    return TRUE;
}

/* The list: for each block u8 length, name, be64 pages. */
static GByteArray *pack_list(const LpmImage *image)
{
    GByteArray *list = g_byte_array_new();

    for (guint i = 0; i < image->blocks->len; i++) {
        const struct lpm_image_block *block = lpm_image_block(image, i);
        guint8 length = (guint8)strlen(block->name), pages[8];

        lpm_put_be64(pages, block->pages);
        g_byte_array_append(list, &length, 1);
        g_byte_array_append(list, (const guint8 *)block->name, length);
        g_byte_array_append(list, pages, sizeof(pages));
    }
    return list;
}

static gboolean unpack_list(LpmImage *image, const guint8 *list, gsize length)
{
    while (length) {
        gsize name = list[0];

        if (length < 1 + name + 8 ||
            !add_block(image, (const char *)list + 1, name, lpm_get_be64(list + 1 + name)))
            return FALSE;
        list += 1 + name + 8;
        length -= 1 + name + 8;
    }
    return image->blocks->len > 0;
}

/* Head and list. */
static gboolean write_head(LpmImage *image, const guint8 *salt, GError **error)
{
    g_autoptr(GByteArray) list = pack_list(image);
    gsize length = list->len + TAG_BYTES;
    g_autofree guint8 *sealed = g_malloc(length);
    guint8 head[HEAD_BYTES];

    if (length > LIST_MAX || !seal(image, LIST_NUMBER, LIST_NUMBER, list->data, list->len, sealed))
        return lpm_fail(error, LPM_E_RETAINED, "the names of %u memory blocks are too long",
                        image->blocks->len);
    memcpy(head, MAGIC, 8);
    lpm_put_be32(head + 8, VERSION);
    lpm_put_be32(head + 12, LPM_IMAGE_PAGE);
    memcpy(head + 16, salt, SALT_BYTES);
    lpm_put_be32(head + 48, (guint32)length);
    if (!write_at(image->fd, sealed, length, LIST_AT) ||
        !write_at(image->fd, head, sizeof(head), 0))
        return failed("writing the head of a retained image", error);
    return TRUE;
}

LpmImage *lpm_image_create(int fd, const guint8 key[LPM_IMAGE_KEY_BYTES],
                           const struct lpm_image_block *blocks, guint count, GError **error)
{
    guint8 salt[SALT_BYTES];

    if (gnutls_rnd(GNUTLS_RND_KEY, salt, sizeof(salt)) < 0)
        g_error("GnuTLS has no random numbers");
    g_autoptr(LpmImage) image = new_image(fd, key, salt);

    for (guint i = 0; i < count; i++)
        if (!add_block(image, blocks[i].name, strlen(blocks[i].name), blocks[i].pages)) {
            lpm_fail(error, LPM_E_RETAINED, "the partition's memory is too large for an image");
            return NULL;
        }
    return write_head(image, salt, error) ? g_steal_pointer(&image) : NULL;
}

LpmImage *lpm_image_open(int fd, const guint8 key[LPM_IMAGE_KEY_BYTES], GError **error)
{
    lpm_autofd owned = fd;
    g_autofree guint8 *sealed = g_malloc(LIST_MAX), *list = g_malloc(LIST_MAX);
    guint8 head[HEAD_BYTES];

    if (!read_at(fd, head, sizeof(head), 0) || memcmp(head, MAGIC, 8) != 0 ||
        lpm_get_be32(head + 8) != VERSION || lpm_get_be32(head + 12) != LPM_IMAGE_PAGE) {
        lpm_fail(error, LPM_E_RETAINED, "the file is not a retained image of version %u", VERSION);
        return NULL;
    }
    gsize length = lpm_get_be32(head + 48);
    g_autoptr(LpmImage) image = new_image(lpm_steal_fd(&owned), key, head + 16);

    if (length <= TAG_BYTES || length > LIST_MAX || !read_at(fd, sealed, length, LIST_AT) ||
        !unseal(image, LIST_NUMBER, LIST_NUMBER, sealed, length - TAG_BYTES, list) ||
        !unpack_list(image, list, length - TAG_BYTES)) {
        lpm_fail(error, LPM_E_RETAINED, "the retained image is damaged or of another partition");
        return NULL;
    }
    return g_steal_pointer(&image);
}

const struct lpm_image_block *lpm_image_block(const LpmImage *image, guint index)
{
    return index < image->blocks->len ? &g_array_index(image->blocks, struct lpm_image_block, index)
                                      : NULL;
}

guint64 lpm_image_slots(const LpmImage *image)
{
    return image->slots;
}

/* ---- pages ---- */

static guint64 place_of(guint64 slot)
{
    return SLOTS_AT + slot * SLOT_BYTES;
}

gboolean lpm_image_write(LpmImage *image, guint64 slot, guint count, const guint8 *pages,
                         GError **error)
{
    gboolean sealed = count && count <= LPM_IMAGE_RUN && slot + count <= image->slots;

    pthread_mutex_lock(&image->lock);
    for (guint i = 0; i < count && sealed; i++) {
        guint8 *at = image->buffer + i * SLOT_BYTES;

        lpm_put_be64(at, ++image->number);
        sealed = seal(image, image->number, slot + i, pages + i * LPM_IMAGE_PAGE, LPM_IMAGE_PAGE,
                      at + 8);
    }
    gboolean ok = sealed && write_at(image->fd, image->buffer, count * SLOT_BYTES, place_of(slot));

    pthread_mutex_unlock(&image->lock);
    if (!sealed)
        return lpm_fail(error, LPM_E_RETAINED, "pages that an image has no place for");
    return ok ? TRUE : failed("writing a retained image", error);
}

/* How many bytes of the run are there; the rest of the buffer is zero. Lock held. */
static void fill(LpmImage *image, guint64 slot, gsize length)
{
    gsize have = 0;

    while (have < length) {
        ssize_t n =
            pread(image->fd, image->buffer + have, length - have, (off_t)(place_of(slot) + have));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += (gsize)n;
    }
    memset(image->buffer + have, 0, length - have);
}

guint64 lpm_image_read(LpmImage *image, guint64 slot, guint count, guint8 *pages, guint64 *damaged)
{
    guint64 good = 0;

    if (slot >= image->slots)
        return 0;
    count = (guint)MIN(MIN(count, LPM_IMAGE_RUN), image->slots - slot);
    pthread_mutex_lock(&image->lock);
    fill(image, slot, (gsize)count * SLOT_BYTES);
    for (guint i = 0; i < count; i++) {
        const guint8 *at = image->buffer + i * SLOT_BYTES;
        guint64 number = lpm_get_be64(at);

        if (!number)
            continue;
        if (unseal(image, number, slot + i, at + 8, LPM_IMAGE_PAGE, pages + i * LPM_IMAGE_PAGE))
            good |= 1ULL << i;
        else
            (*damaged)++;
    }
    pthread_mutex_unlock(&image->lock);
    return good;
}

guint64 lpm_image_next(LpmImage *image, guint64 slot)
{
    if (slot >= image->slots)
        return image->slots;
    off_t at = lseek(image->fd, (off_t)place_of(slot), SEEK_DATA);

    if (at < 0)
        return errno == ENXIO ? image->slots : slot;
    guint64 found = at < SLOTS_AT ? 0 : (guint64)(at - SLOTS_AT) / SLOT_BYTES;

    return MIN(MAX(found, slot), image->slots);
}
