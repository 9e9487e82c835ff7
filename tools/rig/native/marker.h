/* The payload that the bench sends: 160 bytes that say who sent them, when, and whether they arrived whole.
 *
 *   offset  0   4 bytes  magic
 *           4   2 bytes  call index, 7 bits a byte
 *           6   4 bytes  packet number, 7 bits a byte: the same for all calls in the same 20 ms
 *          10   9 bytes  CLOCK_MONOTONIC in ns when it was sent, 7 bits a byte
 *          19 141 bytes  a constant pseudo-random pattern
 *
 * Every marker byte has its top bit set and the pattern has no 0x7f, so the mu-law code for minus zero, which a
 * decoder and encoder may lawfully turn into plus zero, never occurs.
 *
 * A scanner finds these packets in a stream of bytes cut anywhere: a gateway may put its frame borders where it likes.
 */
#ifndef MARKER_H
#define MARKER_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum { PACKET = 160, HEADER = 19, MAX_CALLS = 1 << 14 };

static const uint8_t MAGIC[4] = {0xc3, 0x9a, 0xf1, 0xa6};

static inline int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static inline void put7(uint8_t *at, int bytes, uint64_t value)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 7)
        at[i] = 0x80 | (value & 0x7f);
}

static inline uint64_t get7(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 7 | (at[i] & 0x7f);
    return value;
}

/* The pattern, computed once: xorshift, without minus zero and without the first byte of the magic. */
static inline const uint8_t *marker_pattern(void)
{
    static uint8_t pattern[PACKET - HEADER];
    static bool ready;
    if (!ready) {
        uint32_t state = 2463534242u;
        for (size_t i = 0; i < sizeof pattern;) {
            state ^= state << 13, state ^= state >> 17, state ^= state << 5;
            uint8_t byte = (uint8_t)(state >> 11);
            if (byte != 0x7f && byte != MAGIC[0])
                pattern[i++] = byte;
        }
        ready = true;
    }
    return pattern;
}

static inline void marker_write(uint8_t *packet, uint32_t call, uint32_t number, int64_t sent_ns)
{
    memcpy(packet, MAGIC, sizeof MAGIC);
    put7(packet + 4, 2, call);
    put7(packet + 6, 4, number);
    put7(packet + 10, 9, (uint64_t)sent_ns);
    memcpy(packet + HEADER, marker_pattern(), PACKET - HEADER);
}

struct marker {
    uint32_t call, number;
    int64_t sent_ns;
    int64_t head_ns; /* when its head was seen */
    bool whole;      /* all 160 bytes as they were sent */
};

/* What one listener has heard of one call. Numbers rise; a damaged packet is believed only as one of the next few. */
struct hearing {
    bool known;
    uint32_t last;
    uint64_t repeated, foreign;
};

enum { STEP = 50 };

/* Whether this packet is a new one of the call `call`; counts it when it is not. */
static inline bool hear(struct hearing *h, uint32_t call, const struct marker *marker)
{
    if (!marker->whole && (!h->known || marker->call != call || marker->number - h->last > STEP))
        return false; /* its head may be as damaged as its body: it says nothing */
    if (marker->call != call) {
        h->foreign++;
        return false;
    }
    if (h->known && marker->number <= h->last) {
        h->repeated++;
        return false;
    }
    h->known = true;
    h->last = marker->number;
    return true;
}

struct scanner {
    uint8_t held[PACKET];
    int held_bytes;
    int64_t head_ns; /* when the head of what is held was seen; 0 when it has not come yet */
};

typedef void marker_found(void *context, const struct marker *marker);

/* Read `size` bytes that arrived at `now_ns`; calls `found` for each packet whose 160 places have come. */
static inline void scanner_push(struct scanner *s, const uint8_t *data, int size, int64_t now_ns, marker_found *found,
                                void *context)
{
    uint8_t joined[PACKET + 1024];
    while (size > 0) {
        int part = size < 1024 ? size : 1024, length = s->held_bytes + part, at = 0;
        memcpy(joined, s->held, (size_t)s->held_bytes);
        memcpy(joined + s->held_bytes, data, (size_t)part);
        data += part, size -= part;
        for (;;) {
            uint8_t *head = memmem(joined + at, (size_t)(length - at), MAGIC, sizeof MAGIC);
            if (!head) {
                /* The magic itself may be cut: keep what could be its beginning. */
                int keep = length - at < 3 ? length - at : 3;
                at = length - keep;
                s->head_ns = 0;
                break;
            }
            if (head != joined + at)
                s->head_ns = 0;
            at = (int)(head - joined);
            if (length - at >= HEADER && s->head_ns == 0)
                s->head_ns = now_ns;
            if (length - at < PACKET)
                break;
            struct marker marker = {
                .call = (uint32_t)get7(head + 4, 2),
                .number = (uint32_t)get7(head + 6, 4),
                .sent_ns = (int64_t)get7(head + 10, 9),
                .head_ns = s->head_ns,
                .whole = memcmp(head + HEADER, marker_pattern(), PACKET - HEADER) == 0,
            };
            found(context, &marker);
            /* After a damaged packet the next head may stand anywhere in what should have been its body. */
            at += marker.whole ? PACKET : (int)sizeof MAGIC;
            s->head_ns = 0;
        }
        s->held_bytes = length - at;
        memcpy(s->held, joined + at, (size_t)s->held_bytes);
    }
}

#endif
