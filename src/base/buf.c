#include "base/buf.h"

#include <stdarg.h>
#include <sys/mman.h>

/* From this size on a block is asked for in large pages: page faults would cost more than what is written into it. */
#define LARGE_BYTES ((size_t)4 << 20)
#define PAGE_BYTES  ((uintptr_t)4096)

void buf_init(struct buf *b, size_t max, struct pool *pool)
{
    *b = (struct buf){.max = max, .pool = pool};
}

/* A block of the pool's size always came from the pool: growth past it never lands on that size again. */
static void give_back(struct buf *b)
{
    if (b->pool && b->cap == BUF_BLOCK_BYTES)
        pool_put(b->pool, b->data);
    else
        free(b->data);
    b->data = NULL;
    b->cap = 0;
}

void buf_fini(struct buf *b)
{
    if (b->data)
        give_back(b);
    b->at = b->len = 0;
}

/* Only a wish: where large pages are switched off nothing changes. */
static void wish_large_pages(char *data, size_t bytes)
{
    uintptr_t from = ((uintptr_t)data + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    uintptr_t end = ((uintptr_t)data + bytes) & ~(PAGE_BYTES - 1);
    (void)madvise((char *)from, end - from, MADV_HUGEPAGE);
}

static bool grow(struct buf *b, size_t need)
{
    size_t used = buf_used(b);
    if (b->max && need > b->max)
        return false;
    if (b->pool && !b->data && need <= BUF_BLOCK_BYTES) {
        b->data = pool_get(b->pool);
        b->cap = BUF_BLOCK_BYTES;
        b->at = b->len = 0;
        return true;
    }
    size_t cap = MAX(b->cap * 2, (size_t)256);
    cap = MAX(cap, need);
    if (b->max)
        cap = MIN(cap, b->max);
    if (b->pool && cap <= BUF_BLOCK_BYTES)
        cap = BUF_BLOCK_BYTES + 1;
    char *data = malloc(cap);
    if (UNLIKELY(!data))
        return false; /* a peer chose this size: its error, not ours */
    if (cap >= LARGE_BYTES)
        wish_large_pages(data, cap);
    if (b->data && used)
        memcpy(data, b->data + b->at, used);
    if (b->data)
        give_back(b);
    b->data = data;
    b->cap = cap;
    b->at = 0;
    b->len = used;
    return true;
}

char *buf_room(struct buf *b, size_t bytes)
{
    if (LIKELY(b->cap - b->len >= bytes && b->data))
        return b->data + b->len;
    size_t used = buf_used(b);
    if (bytes > SIZE_MAX / 4 - used)
        return NULL;
    /* Moving the content to the front makes room without growing; worth it when at least half was consumed. */
    if (b->data && b->cap - used >= bytes && b->at >= used) {
        if (used)
            memmove(b->data, b->data + b->at, used);
        b->at = 0;
        b->len = used;
        return b->data + b->len;
    }
    return grow(b, used + bytes) ? b->data + b->len : NULL;
}

bool buf_append(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return true;
    char *room = buf_room(b, n);
    if (UNLIKELY(!room))
        return false;
    memcpy(room, p, n);
    b->len += n;
    return true;
}

bool buf_append_str(struct buf *b, struct str s)
{
    return buf_append(b, s.p, s.n);
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    bool ok = n >= 0;
    if (ok && (size_t)n < sizeof small) {
        ok = buf_append(b, small, (size_t)n);
    } else if (ok) {
        char *room = buf_room(b, (size_t)n + 1);
        ok = room != NULL;
        if (ok) {
            vsnprintf(room, (size_t)n + 1, fmt, again);
            b->len += (size_t)n;
        }
    }
    va_end(again);
    return ok;
}

void buf_consume(struct buf *b, size_t bytes)
{
    ENSURE(bytes <= buf_used(b));
    b->at += bytes;
    if (b->at == b->len) {
        b->at = b->len = 0;
        if (b->data && b->pool)
            give_back(b);
    }
}
