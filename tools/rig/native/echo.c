/* Stand-in for the hosted session service: its REST calls, and a stream that answers each frame with itself.
 *
 *   bench-echo            listens on 127.0.0.1, prints {"event":"listening","port":N}
 *   window FROM TO        (on standard input) count packets numbered FROM..TO-1; before the first of them
 *   report                print what was counted as one JSON object
 *   end of input          exit
 *
 * GET /v1/sessions/{id} answers any id with a session whose stream is here; POST .../end ends it. On the stream every
 * audio.input is answered by an audio.output with the same payload for the same speaker, so the caller hears
 * itself. Each byte of the payload also passes a scanner (marker.h): that is how latency and loss are known.
 *
 * One thread, epoll, no JSON library: a message is searched for its fields. It must never be what a bench measures.
 */
#include "marker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>

#include "codec.h"
#include "connection.h"
#include "histogram.h"

static uint32_t window_from = UINT32_MAX, window_to = UINT32_MAX;
static struct histogram rtp_to_stream;
static struct {
    uint64_t frames, odd_frames, reached, whole, repeated, foreign, sequence_gaps, answered, unread;
    uint64_t rest_requests;
} counts;

static void on_marker(void *context, const struct marker *marker)
{
    struct connection *c = context;
    struct hearing before = c->hearing;
    bool new = hear(&c->hearing, c->call, marker);
    counts.repeated += c->hearing.repeated - before.repeated;
    counts.foreign += c->hearing.foreign - before.foreign;
    if (!new)
        return;
    if (marker->number < window_from || marker->number >= window_to)
        return;
    counts.reached++;
    counts.whole += marker->whole;
    if (marker->whole) /* the time in a damaged one may be damaged too */
        histogram_add(&rtp_to_stream, marker->head_ns - marker->sent_ns);
}

static void on_audio(struct connection *c, const char *text, int size)
{
    const char *payload, *speaker, *sequence;
    int payload_size = field(text, size, "payload", &payload), speaker_size = field(text, size, "speaker", &speaker);
    uint8_t audio[MAX_INPUT];
    int bytes = payload_size >= 0 ? base64_decode(payload, payload_size, audio) : -1;
    if (bytes < 0 || speaker_size < 0 || speaker_size > 64 || field(text, size, "sequence", &sequence) <= 0) {
        counts.unread++;
        return;
    }
    uint64_t number = strtoull(sequence, NULL, 10);
    counts.frames++;
    counts.odd_frames += bytes != PACKET;
    counts.sequence_gaps += c->sequence_known && number != c->last_sequence + 1;
    c->last_sequence = number, c->sequence_known = true;
    scanner_push(&c->scanner, audio, bytes, monotonic_ns(), on_marker, c);

    static char frame[4 + MAX_INPUT + 512];
    uint64_t out = c->out_sequence++;
    int length = snprintf(frame + 4, 512,
                          "{\"type\":\"audio.output\",\"session_id\":\"%s\",\"sequence\":%llu,\"timestamp_ms\":%llu,"
                          "\"speaker\":\"%.*s\",\"target\":\"%.*s\",\"audio\":{\"encoding\":\"mulaw\","
                          "\"sample_rate_hz\":8000,\"payload\":\"",
                          c->session, (unsigned long long)out, (unsigned long long)out * 20, speaker_size, speaker,
                          speaker_size, speaker);
    memcpy(frame + 4 + length, payload, (size_t)payload_size);
    memcpy(frame + 4 + length + payload_size, "\"}}", 3);
    put_frame(c, 1, frame, length + payload_size + 3);
    counts.answered++;
}

static void on_text(struct connection *c, const char *text, int size)
{
    const char *type;
    char frame[4 + 256];
    int length = field(text, size, "type", &type);
    if (length == 11 && memcmp(type, "audio.input", 11) == 0) {
        on_audio(c, text, size);
    } else if (length == 4 && memcmp(type, "ping", 4) == 0) {
        put_frame(c, 1, frame, snprintf(frame + 4, 256, "{\"type\":\"pong\",\"session_id\":\"%s\"}", c->session));
    } else if (length == 11 && memcmp(type, "session.end", 11) == 0) {
        put_frame(c, 1, frame,
                  snprintf(frame + 4, 256, "{\"type\":\"session.ended\",\"session_id\":\"%s\",\"reason\":\"explicit_end\"}",
                           c->session));
        memcpy(frame + 4, "\x03\xe8", 2);
        put_frame(c, 8, frame, 2);
        c->close_sent = true;
    }
}

static void answer(struct connection *c, const char *status, const char *body)
{
    char head[256];
    int length = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                          status, strlen(body));
    put(c, head, length);
    put(c, body, (int)strlen(body));
}

static void upgrade(struct connection *c, const char *key)
{
    char joined[128], accept[40], reply[512], frame[4 + 256];
    uint8_t digest[20];
    /* RFC 6455 section 4.2.2, 5.4 */
    int length = snprintf(joined, sizeof joined, "%.64s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1((const uint8_t *)joined, (size_t)length, digest);
    base64_encode(digest, 20, accept);
    put(c, reply,
        snprintf(reply, sizeof reply,
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %s\r\n\r\n",
                 accept));
    c->stream = true;
    streams++, streams_open++;
    put_frame(c, 1, frame,
              snprintf(frame + 4, 256,
                       "{\"type\":\"session.ready\",\"session_id\":\"%s\",\"mode\":\"bidirectional_translation\","
                       "\"source_language\":\"en\",\"target_language\":\"es\"}",
                       c->session));
}

static void on_request(struct connection *c, const char *head, int port)
{
    char method[8] = "", path[512] = "", key[80], body[2048];
    sscanf(head, "%7s %511s", method, path);
    const char *id = strstr(path, "sess_");
    if (!id) {
        answer(c, "404 Not Found", "{\"error\":{\"type\":\"not_found_error\",\"code\":\"session_not_found\","
                                   "\"message\":\"no session id in the path\",\"request_id\":\"req_bench\"}}");
        return;
    }
    snprintf(c->session, sizeof c->session, "%.*s", (int)strcspn(id, "/?"), id);
    size_t length = strlen(c->session);
    c->call = (uint32_t)strtoul(c->session + (length > 5 ? length - 5 : 0), NULL, 10);
    if (header_value(head, "\r\nSec-WebSocket-Key:", key, sizeof key)) {
        upgrade(c, key);
        return;
    }
    counts.rest_requests++;
    if (strcmp(method, "POST") == 0) {
        snprintf(body, sizeof body, "{\"id\":\"%s\",\"object\":\"session\",\"status\":\"ended\",\"duration_seconds\":1,"
                                    "\"ended_at\":\"2030-01-01T00:00:00Z\"}", c->session);
    } else {
        snprintf(body, sizeof body,
                 "{\"id\":\"%s\",\"object\":\"session\",\"status\":\"created\",\"mode\":\"bidirectional_translation\","
                 "\"provider\":\"sip\",\"phone_number\":null,\"source_language\":\"en\",\"target_language\":\"es\","
                 "\"stream\":{\"url\":\"ws://127.0.0.1:%d/v1/stream/%s\",\"token\":\"kst_bench\","
                 "\"expires_at\":\"2030-01-01T00:00:00Z\"},\"call\":null,\"participants\":[],\"recording\":null,"
                 "\"transcript\":{\"available\":false,\"word_count\":0},\"metadata\":{},\"duration\":0,"
                 "\"usage\":{\"active_seconds\":0,\"translation_seconds\":0,\"ai_agent_seconds\":0},"
                 "\"created_at\":\"2026-01-01T00:00:00Z\",\"started_at\":null,\"ended_at\":null,\"end_reason\":null}",
                 c->session, port, c->session);
    }
    answer(c, "200 OK", body);
}

/* One request from the input; the bytes it took, 0 when it is not complete. */
static int take_request(struct connection *c, int port)
{
    char *end = memmem(c->input, (size_t)c->input_bytes, "\r\n\r\n", 4), length[16];
    if (!end)
        return 0;
    int head = (int)(end - (char *)c->input) + 4;
    char text[8192];
    snprintf(text, sizeof text, "%.*s", head, c->input);
    int body = header_value(text, "\r\nContent-Length:", length, sizeof length) ? atoi(length) : 0;
    if (body < 0 || head + body > c->input_bytes)
        return 0;
    on_request(c, text, port);
    return head + body;
}

/* One frame from the input (RFC 6455 section 5.2); the bytes it took, 0 when it is not complete. */
static int take_frame(struct connection *c)
{
    uint8_t *in = c->input;
    if (c->input_bytes < 2)
        return 0;
    uint64_t size = in[1] & 0x7f;
    int header = 2;
    if (size == 126)
        header = 4;
    else if (size == 127)
        header = 10;
    bool masked = in[1] & 0x80;
    if (c->input_bytes < header + 4 * masked)
        return 0;
    if (header > 2) {
        size = 0;
        for (int i = 2; i < header; i++)
            size = size << 8 | in[i];
    }
    uint8_t *mask = in + header;
    header += 4 * masked;
    if (size > MAX_INPUT - 16) {
        c->closing = true;
        return 0;
    }
    if (c->input_bytes < header + (int)size)
        return 0;
    uint8_t *payload = in + header;
    if (masked)
        for (uint64_t i = 0; i < size; i++)
            payload[i] ^= mask[i & 3];
    char frame[4 + 128];
    int opcode = in[0] & 0x0f, kept = size < 125 ? (int)size : 125;
    if (opcode == 1) {
        on_text(c, (char *)payload, (int)size);
    } else if (opcode == 8 || opcode == 9) { /* close, ping */
        memcpy(frame + 4, payload, (size_t)kept);
        if (!c->close_sent)
            put_frame(c, opcode == 8 ? 8 : 10, frame, kept);
        c->closing |= opcode == 8;
    }
    return header + (int)size;
}

static void on_readable(struct connection *c, int port)
{
    if (c->input_room - c->input_bytes < 4096) {
        c->input_room = c->input_room ? c->input_room * 2 : 8192;
        c->input = realloc(c->input, (size_t)c->input_room);
    }
    ssize_t n = recv(c->fd, c->input + c->input_bytes, (size_t)(c->input_room - c->input_bytes), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        drop(c);
        return;
    }
    if (n < 0)
        return;
    c->input_bytes += (int)n;
    for (int taken; c->input_bytes && (taken = c->stream ? take_frame(c) : take_request(c, port)) > 0;) {
        c->input_bytes -= taken;
        memmove(c->input, c->input + taken, (size_t)c->input_bytes);
    }
    if (c->input_bytes > MAX_INPUT || (c->closing && c->unsent_bytes == 0))
        drop(c);
}

static void report(void)
{
    printf("{\"event\":\"report\",\"frames\":%llu,\"odd_frames\":%llu,\"reached\":%llu,\"whole\":%llu,\"repeated\":%llu,"
           "\"foreign\":%llu,\"sequence_gaps\":%llu,\"answered\":%llu,\"unsent_dropped\":%llu,\"unread\":%llu,"
           "\"rest_requests\":%llu,\"streams\":%llu,\"streams_open\":%llu,",
           (unsigned long long)counts.frames, (unsigned long long)counts.odd_frames, (unsigned long long)counts.reached,
           (unsigned long long)counts.whole, (unsigned long long)counts.repeated, (unsigned long long)counts.foreign,
           (unsigned long long)counts.sequence_gaps, (unsigned long long)counts.answered,
           (unsigned long long)unsent_dropped, (unsigned long long)counts.unread,
           (unsigned long long)counts.rest_requests, (unsigned long long)streams,
           (unsigned long long)streams_open);
    histogram_print(stdout, "rtp_to_stream", &rtp_to_stream);
    printf("}\n");
    fflush(stdout);
}

static void on_command(void)
{
    char line[128];
    ssize_t n = read(0, line, sizeof line - 1);
    if (n <= 0)
        exit(0);
    line[n] = 0;
    for (char *at = line; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        if (sscanf(at, "window %u %u", &window_from, &window_to) == 2)
            continue;
        if (strncmp(at, "report", 6) == 0)
            report();
    }
}

static void on_connect(int listener)
{
    int one = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        /* On loopback the kernel does this end's receiving in the time of whoever sends: the daemon would pay for a
         * model of a path that there is none of. */
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
        struct connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        connections[fd] = c;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(void)
{
    process_begin(3600);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &length)) {
        perror("bench-echo");
        return 1;
    }
    poller = epoll_create1(EPOLL_CLOEXEC);
    int watched[] = {listener, 0};
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = watched[i]};
        epoll_ctl(poller, EPOLL_CTL_ADD, watched[i], &event);
    }
    int port = ntohs(address.sin_port);
    printf("{\"event\":\"listening\",\"port\":%d}\n", port);
    fflush(stdout);
    /* While streams are open it looks twice a millisecond instead of being woken by each frame: a service on another
     * machine costs the gateway no wake-up of a neighbour, so this one must not either. */
    const struct timespec pause = {0, 500000};
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(poller, events, 256, streams_open ? 0 : -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                on_connect(listener);
            else if (fd == 0)
                on_command();
            else if (connections[fd] && events[i].events & EPOLLOUT)
                flush(connections[fd]);
            else if (connections[fd])
                on_readable(connections[fd], port);
        }
        if (streams_open && n < 256)
            clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
}
