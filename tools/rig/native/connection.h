/* The echo server's connections: bytes in, bytes out, and the few fields that it looks for in them.
 *
 * Owns buffers and their bounds. Refuses to know what a message means.
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "marker.h"
#include "process.h"

enum { MAX_INPUT = 128 * 1024, MAX_UNSENT = 1 << 20 };

struct connection {
    int fd;
    bool stream;       /* the WebSocket handshake is done */
    bool close_sent;   /* our close frame is out: the peer's is awaited */
    bool closing;      /* over: close once all is sent */
    bool wants_write;
    uint8_t *input;
    int input_bytes, input_room;
    uint8_t *unsent;
    int unsent_bytes, unsent_room;
    char session[64];
    uint32_t call; /* the last five digits of the session's id: which of the generator's calls this is */
    uint64_t out_sequence, last_sequence;
    bool sequence_known;
    struct scanner scanner;
    struct hearing hearing;
};

static struct connection *connections[MAX_FDS];
static int poller;
static uint64_t streams, streams_open, unsent_dropped;
static void watch(struct connection *c)
{
    struct epoll_event event = {.events = EPOLLIN | (c->wants_write ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static void drop(struct connection *c)
{
    streams_open -= c->stream;
    connections[c->fd] = NULL;
    close(c->fd);
    free(c->input);
    free(c->unsent);
    free(c);
}

/* Send, or keep what the kernel does not take. A reader that far behind loses what goes beyond the bound. */
static void put(struct connection *c, const void *data, int size)
{
    int sent = 0;
    if (c->unsent_bytes == 0) {
        ssize_t n = send(c->fd, data, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent = n > 0 ? (int)n : 0;
    }
    if (sent == size)
        return;
    int left = size - sent;
    if (c->unsent_bytes + left > MAX_UNSENT) {
        unsent_dropped++;
        return;
    }
    if (c->unsent_bytes + left > c->unsent_room) {
        c->unsent_room = (c->unsent_bytes + left) * 2;
        c->unsent = realloc(c->unsent, (size_t)c->unsent_room);
    }
    memcpy(c->unsent + c->unsent_bytes, (const uint8_t *)data + sent, (size_t)left);
    c->unsent_bytes += left;
    if (!c->wants_write)
        c->wants_write = true, watch(c);
}

static void flush(struct connection *c)
{
    ssize_t n = send(c->fd, c->unsent, (size_t)c->unsent_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
        c->unsent_bytes -= (int)n;
        memmove(c->unsent, c->unsent + n, (size_t)c->unsent_bytes);
    }
    if (c->unsent_bytes == 0 && c->closing)
        drop(c);
    else if (c->unsent_bytes == 0)
        c->wants_write = false, watch(c);
}

/* One unmasked frame (RFC 6455 section 5.2), with its header written in front of the payload: `frame` has 4 bytes of room. */
static void put_frame(struct connection *c, int opcode, char *frame, int size)
{
    uint8_t *start = (uint8_t *)frame + 4;
    int header = size < 126 ? 2 : 4;
    start -= header;
    start[0] = 0x80 | (uint8_t)opcode;
    start[1] = (uint8_t)(size < 126 ? size : 126);
    if (header == 4)
        start[2] = (uint8_t)(size >> 8), start[3] = (uint8_t)size;
    put(c, start, header + size);
}

/* The value after `"name":`, with or without quotes; its length, or -1. */
static int field(const char *text, int size, const char *name, const char **value)
{
    char quoted[40];
    int length = snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *end = text + size, *at = memmem(text, (size_t)size, quoted, (size_t)length);
    if (!at)
        return -1;
    for (at += length; at < end && *at == ' ';)
        at++;
    if (at < end && *at == '"') {
        at++;
        const char *quote = memchr(at, '"', (size_t)(end - at));
        *value = at;
        return quote ? (int)(quote - at) : -1;
    }
    *value = at;
    while (at < end && (isdigit((unsigned char)*at) || *at == '-'))
        at++;
    return (int)(at - *value);
}

static int header_value(const char *head, const char *name, char *value, int room)
{
    const char *at = strcasestr(head, name);
    if (!at)
        return 0;
    at += strlen(name);
    at += strspn(at, " \t");
    int length = (int)strcspn(at, "\r\n");
    if (length >= room)
        length = room - 1;
    memcpy(value, at, (size_t)length);
    value[length] = 0;
    return length;
}

#endif
