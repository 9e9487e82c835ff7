/* Load generator: places calls, speaks marked packets (marker.h) on each, and listens to what comes back.
 *
 *   bench-load --target 127.0.0.1:PORT --calls N --rate R --seconds S --settle S --prefix sess_... [--hold S] [--inactive]
 *
 * Prints one JSON object a line: "up" when every call has been answered or has failed, "window" with the packet
 * numbers and times between which things are counted, and "report" at the end. With --hold each call ends after that
 * many seconds, and there is no window: only set-up and teardown are measured, and calls take turns on as many ports as
 * can be in use at once. With --inactive no call has media.
 *
 * One thread. Packets leave on absolute deadlines; the calls' phases are spread evenly over the 20 ms of a frame, as
 * those of independent callers are. Arrival times are the kernel's (SO_TIMESTAMPNS), so reading late costs no accuracy.
 */
#include "marker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "caller.h"
#include "process.h"
#include "sealing.h"

#define FRAME (20 * MS)
#define LOST (1000 * MS)  /* later than this it gives up: it must not flood anybody to catch up */
#define FLUSH (1000 * MS) /* how long after the window its last packets may still come back */

enum { PHASES = 20 };
enum { MOST_CALLS = 100000 }; /* a session's id has five digits for them */

struct leg {
    int fd, port;
    uint32_t call; /* whose it is at the moment */
    int phase; /* of the frame's 20 moments, the one in which this leg speaks */
    bool open; /* connected to the gateway's port: packets flow */
    uint16_t sequence, heard_sequence;
    uint32_t ssrc, heard_timestamp;
    bool heard;
    int64_t heard_ns;
    struct hearing hearing;
    struct scanner scanner;
    struct sealing sealing;
};

static struct caller caller;
static struct leg *legs;
static int sip_fd, poller, hold_ms, leg_count;
static int64_t frame_zero_ns, wall_minus_monotonic;
static uint32_t window_from = UINT32_MAX, window_to = UINT32_MAX;
static int64_t window_start_ns = INT64_MAX, window_end_ns = INT64_MAX;
static struct histogram round_trip, interval_error, lateness;
static struct {
    uint64_t sent, send_errors, returned, whole, packets, jumps, gaps, rtcp;
} counts;

static void caller_send(const char *text, int size)
{
    if (send(sip_fd, text, (size_t)size, MSG_DONTWAIT) < 0)
        counts.send_errors++;
}

static struct leg *leg_of(const struct call *call)
{
    return &legs[call->index % (uint32_t)leg_count];
}

static void caller_answered(struct call *call, int64_t now_ns)
{
    struct leg *leg = leg_of(call);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)call->remote_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)now_ns;
    leg->call = call->index;
    leg->open = !caller.inactive && call->remote_port && sealing_begin(&leg->sealing, call->key) == 0 &&
                connect(leg->fd, (struct sockaddr *)&to, sizeof to) == 0;
}

static void caller_ended(struct call *call)
{
    struct leg *leg = leg_of(call);
    if (leg->call == call->index)
        leg->open = false;
}

static int bound_socket(int port, int receive_room)
{
    struct sockaddr_in here = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_room, sizeof receive_room);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) == 0)
        return fd;
    close(fd);
    return -1;
}

/* An even port with the odd one above it for RTCP (RFC 3550 section 11), which is bound so that nobody refuses. */
static int open_leg(struct leg *leg, int *port)
{
    for (; *port < 65000; *port += 2) {
        leg->fd = bound_socket(*port, 1 << 16);
        if (leg->fd < 0)
            continue;
        if (bound_socket(*port + 1, 1 << 11) >= 0)
            break;
        close(leg->fd);
    }
    int one = 1, found = *port;
    *port += 2;
    if (found >= 65000)
        return -1;
    setsockopt(leg->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)(leg - legs)};
    epoll_ctl(poller, EPOLL_CTL_ADD, leg->fd, &event);
    return found;
}

static void speak(struct leg *leg, uint32_t number, int64_t due_ns)
{
    uint8_t packet[12 + PACKET + 32] = {0x80, 0}; /* and room for a tag */
    int64_t now = monotonic_ns();
    uint16_t sequence = htons(leg->sequence++);
    uint32_t timestamp = htonl(number * PACKET), ssrc = htonl(leg->ssrc);
    if (leg->sequence == 1)
        packet[1] = 0x80; /* marker bit on the first packet (RFC 3551 section 4.1) */
    memcpy(packet + 2, &sequence, 2);
    memcpy(packet + 4, &timestamp, 4);
    memcpy(packet + 8, &ssrc, 4);
    marker_write(packet + 12, leg->call % MAX_CALLS, number, now);
    bool counted = number >= window_from && number < window_to;
    if (counted)
        histogram_add(&lateness, now - due_ns);
    int size = seal(&leg->sealing, packet, 12 + PACKET);
    if (size < 0 || send(leg->fd, packet, (size_t)size, MSG_DONTWAIT) < 0)
        counts.send_errors++;
    else
        counts.sent += counted;
}

static void on_marker(void *context, const struct marker *marker)
{
    struct leg *leg = context;
    if (!hear(&leg->hearing, leg->call % MAX_CALLS, marker))
        return;
    if (marker->number < window_from || marker->number >= window_to)
        return;
    counts.returned++;
    counts.whole += marker->whole;
    if (marker->whole) /* the time in a damaged one may be damaged too */
        histogram_add(&round_trip, marker->head_ns - marker->sent_ns);
}

static void on_packet(struct leg *leg, const uint8_t *packet, int size, int64_t arrived_ns)
{
    if (size < 12 || packet[0] >> 6 != 2)
        return;
    if (packet[1] >= 200 && packet[1] <= 207) { /* RFC 5761 section 4 */
        counts.rtcp++;
        return;
    }
    uint16_t sequence = (uint16_t)(packet[2] << 8 | packet[3]);
    uint32_t timestamp = (uint32_t)packet[4] << 24 | (uint32_t)packet[5] << 16 | (uint32_t)packet[6] << 8 | packet[7];
    bool counted = arrived_ns >= window_start_ns && arrived_ns < window_end_ns;
    if (leg->heard && counted) {
        uint16_t step = (uint16_t)(sequence - leg->heard_sequence);
        int64_t error = arrived_ns - leg->heard_ns - FRAME;
        counts.packets++;
        counts.gaps += step != 1;
        counts.jumps += timestamp - leg->heard_timestamp != (uint32_t)step * PACKET;
        histogram_add(&interval_error, error < 0 ? -error : error);
    }
    leg->heard = true;
    leg->heard_sequence = sequence, leg->heard_timestamp = timestamp, leg->heard_ns = arrived_ns;
    if ((packet[1] & 0x7f) == 0)
        scanner_push(&leg->scanner, packet + 12, size - 12, arrived_ns, on_marker, leg);
}

/* One packet: should there be more, the socket is reported again a millisecond later, and the kernel has their times. */
static void listen_leg(struct leg *leg)
{
    uint8_t packet[2048], control[128];
    struct iovec part = {packet, sizeof packet};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(leg->fd, &message, MSG_DONTWAIT);
    if (size < 0)
        return;
    int64_t arrived = monotonic_ns();
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec at;
            memcpy(&at, CMSG_DATA(c), sizeof at);
            arrived = at.tv_sec * 1000000000LL + at.tv_nsec - wall_minus_monotonic;
        }
    on_packet(leg, packet, unseal(&leg->sealing, packet, (int)size), arrived);
}

static void listen_all(int64_t now_ns)
{
    struct epoll_event events[1024];
    int n = epoll_wait(poller, events, 1024, 0);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 != UINT32_MAX) {
            listen_leg(&legs[events[i].data.u32]);
            continue;
        }
        char message[65536];
        ssize_t size;
        while ((size = recv(sip_fd, message, sizeof message - 1, MSG_DONTWAIT)) >= 0) {
            message[size] = 0;
            caller_receive(&caller, message, now_ns);
        }
    }
}

static void say(const char *text)
{
    fputs(text, stdout);
    fputc('\n', stdout);
    fflush(stdout);
}

static void report(double offered, int64_t first_ns, int64_t last_ns)
{
    char line[8192] = "";
    FILE *out = fmemopen(line, sizeof line, "w");
    uint64_t repeated = 0, foreign = 0;
    for (int i = 0; i < leg_count; i++)
        repeated += legs[i].hearing.repeated, foreign += legs[i].hearing.foreign;
    double span = (double)(last_ns - first_ns) / 1e9;
    fprintf(out, "{\"event\":\"report\",\"attempted\":%llu,\"up\":%llu,\"failed\":%llu,\"over\":%llu,\"resent\":%llu,"
                 "\"answered_again\":%llu,\"ended_early\":%llu,\"offered_rate\":%.2f,\"rate\":%.2f,\"refused\":{",
            (unsigned long long)caller.attempted, (unsigned long long)caller.up, (unsigned long long)caller.failed,
            (unsigned long long)caller.over, (unsigned long long)caller.resent, (unsigned long long)caller.answered_again,
            (unsigned long long)caller.ended_early, offered, span > 0 ? (double)(caller.up - 1) / span : 0);
    for (int code = 0, some = 0; code < 700; code++)
        if (caller.refused[code])
            fprintf(out, "%s\"%d\":%llu", some++ ? "," : "", code, (unsigned long long)caller.refused[code]);
    fprintf(out, "},\"sent\":%llu,\"send_errors\":%llu,\"returned\":%llu,\"whole\":%llu,\"repeated\":%llu,"
                 "\"foreign\":%llu,\"packets\":%llu,\"sequence_gaps\":%llu,\"timestamp_jumps\":%llu,\"rtcp\":%llu,",
            (unsigned long long)counts.sent, (unsigned long long)counts.send_errors, (unsigned long long)counts.returned,
            (unsigned long long)counts.whole, (unsigned long long)repeated, (unsigned long long)foreign,
            (unsigned long long)counts.packets, (unsigned long long)counts.gaps, (unsigned long long)counts.jumps,
            (unsigned long long)counts.rtcp);
    histogram_print(out, "setup", &caller.setup), fputc(',', out);
    histogram_print(out, "round_trip", &round_trip), fputc(',', out);
    histogram_print(out, "interval_error", &interval_error), fputc(',', out);
    histogram_print(out, "lateness", &lateness), fputc('}', out);
    fclose(out);
    say(line);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"target", 1, 0, 't'}, {"calls", 1, 0, 'n'},  {"rate", 1, 0, 'r'},
                                            {"seconds", 1, 0, 's'}, {"settle", 1, 0, 'w'}, {"prefix", 1, 0, 'p'},
                                            {"hold", 1, 0, 'h'},    {"inactive", 0, 0, 'i'}, {0}};
    double rate = 50, seconds = 10, settle = 3, hold = 0;
    caller.session_prefix = "sess_01HZBENCH000000000000";
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 't') caller.host = optarg;
        else if (o == 'n') caller.count = atoi(optarg);
        else if (o == 'r') rate = atof(optarg);
        else if (o == 's') seconds = atof(optarg);
        else if (o == 'w') settle = atof(optarg);
        else if (o == 'p') caller.session_prefix = optarg;
        else if (o == 'h') hold = atof(optarg);
        else if (o == 'i') caller.inactive = true;
        else return 2;
    }
    hold_ms = (int)(hold * 1000);
    /* A port is free again when its call is over; who takes longer than this for it shares it with another call. */
    leg_count = hold_ms && rate * (hold + 10) < caller.count ? (int)(rate * (hold + 10)) + 1 : caller.count;
    if (!caller.host || caller.count < 1 || caller.count > MOST_CALLS || leg_count > MAX_CALLS || rate <= 0) {
        fprintf(stderr, "bench-load: --target, --calls 1...%d, at once %d, and a positive --rate are needed\n", MOST_CALLS,
                MAX_CALLS);
        return 2;
    }
    caller.profile = PROFILE, caller.attributes = ATTRIBUTES;
    sealing_prepare();
    process_begin((unsigned)(2 * caller.count / rate + seconds + settle + hold + 120));
    process_real_time();

    struct sockaddr_in gateway = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, here;
    socklen_t length = sizeof here;
    gateway.sin_port = htons((uint16_t)atoi(strchr(caller.host, ':') ? strchr(caller.host, ':') + 1 : "5060"));
    poller = epoll_create1(EPOLL_CLOEXEC);
    sip_fd = bound_socket(0, 1 << 22);
    connect(sip_fd, (struct sockaddr *)&gateway, sizeof gateway);
    getsockname(sip_fd, (struct sockaddr *)&here, &length);
    caller.local_port = ntohs(here.sin_port);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    epoll_ctl(poller, EPOLL_CTL_ADD, sip_fd, &event);
    snprintf(caller.run, sizeof caller.run, "b%llx", (unsigned long long)(monotonic_ns() / 1000 & 0xffffffffff));
    caller.calls = calloc((size_t)caller.count, sizeof *caller.calls);
    legs = calloc((size_t)leg_count, sizeof *legs);
    for (int i = 0, port = 34000; i < leg_count; i++) {
        legs[i].phase = leg_count < PHASES ? i * PHASES / leg_count : i % PHASES;
        legs[i].ssrc = 0x62000000u + (uint32_t)i;
        legs[i].port = open_leg(&legs[i], &port);
        if (legs[i].port < 0) {
            fprintf(stderr, "bench-load: no free port pair, or no file descriptor, for call %d\n", i);
            return 1;
        }
    }
    for (int i = 0; i < caller.count; i++) {
        caller.calls[i].index = (uint32_t)i;
        caller.calls[i].local_port = leg_of(&caller.calls[i])->port;
    }

    /* A phase every millisecond. Fewer calls than phases are spread over them, more take turns. */
    int stride = leg_count < PHASES ? 1 : PHASES;
    int64_t start = monotonic_ns() + 20 * MS, last_up_ns = start, all_over_by = INT64_MAX;
    int64_t next_listen = 0, next_timers = 0, hangup_zero = INT64_MAX;
    int placed = 0, hung_up = 0;
    uint64_t up_before = 0;
    bool said_up = false;
    frame_zero_ns = start;
    for (int64_t tick = 0;; tick++) {
        int phase = (int)(tick % PHASES);
        int64_t due = start + tick / PHASES * FRAME + phase * (FRAME / PHASES);
        struct timespec until = {due / 1000000000, due % 1000000000};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
            ;
        if (monotonic_ns() - due > LOST) {
            fputs("bench-load: the machine stood still for a second; nothing that is measured now would mean anything\n", stderr);
            return 1;
        }
        uint32_t number = (uint32_t)(tick / PHASES) + 1;
        for (int i = stride == 1 ? 0 : phase; i < leg_count; i += stride)
            if (legs[i].open && legs[i].phase == phase)
                speak(&legs[i], number, due);
        int64_t now = monotonic_ns();
        for (; placed < caller.count && now >= start + (int64_t)(placed * 1e9 / rate); placed++)
            caller_begin(&caller, &caller.calls[placed], true, now);
        if (now >= next_listen) {
            struct timespec wall;
            clock_gettime(CLOCK_REALTIME, &wall);
            wall_minus_monotonic = wall.tv_sec * 1000000000LL + wall.tv_nsec - monotonic_ns();
            listen_all(now);
            next_listen = now + MS;
            if (caller.up != up_before)
                up_before = caller.up, last_up_ns = now;
        }
        if (now < next_timers)
            continue;
        next_timers = now + 10 * MS;
        caller_tick(&caller, now);
        for (int i = caller.done; hold_ms && i < placed; i++)
            if (caller.calls[i].state == UP && now - caller.calls[i].up_ns >= hold_ms * MS)
                caller_begin(&caller, &caller.calls[i], false, now);
        if (!said_up && caller.up + caller.failed == (uint64_t)caller.count) {
            said_up = true;
            char line[256];
            snprintf(line, sizeof line, "{\"event\":\"up\",\"up\":%llu,\"failed\":%llu}", (unsigned long long)caller.up,
                     (unsigned long long)caller.failed);
            say(line);
            if (!hold_ms) {
                window_from = number + (uint32_t)(settle * 50), window_to = window_from + (uint32_t)(seconds * 50);
                window_start_ns = frame_zero_ns + (int64_t)(window_from - 1) * FRAME;
                window_end_ns = frame_zero_ns + (int64_t)(window_to - 1) * FRAME;
                hangup_zero = window_end_ns + FLUSH;
                snprintf(line, sizeof line, "{\"event\":\"window\",\"from\":%u,\"to\":%u,\"start_ns\":%lld,\"end_ns\":%lld}",
                         window_from, window_to, (long long)window_start_ns, (long long)window_end_ns);
                say(line);
            } else {
                all_over_by = now + hold_ms * MS + 10000 * MS;
            }
        }
        for (; now >= hangup_zero && hung_up < caller.count && now >= hangup_zero + (int64_t)(hung_up * 1e9 / rate); hung_up++) {
            if (caller.calls[hung_up].state == UP)
                caller_begin(&caller, &caller.calls[hung_up], false, now);
            all_over_by = now + 10000 * MS;
        }
        if ((said_up && caller.over + caller.failed == (uint64_t)caller.count) || now > all_over_by)
            break;
    }
    report(rate, start, last_up_ns);
    return 0;
}
