/* A SIP caller over UDP, as small as RFC 3261 lets it be: INVITE, ACK, BYE, and the retransmissions of each.
 *
 * Owns the dialogs of all calls, their timers and their counts. Refuses to know sockets and clocks: messages go out
 * through `caller_send`, time comes in as an argument (ns of CLOCK_MONOTONIC).
 */
#ifndef CALLER_H
#define CALLER_H

#include <stdio.h>
#include <stdlib.h>

#include "histogram.h"
#include "marker.h"

#define MS 1000000LL
#define T1 (500 * MS)    /* RFC 3261 section 17.1.1.1 */
#define T2 (4000 * MS)
#define TIMEOUT (64 * T1) /* timers B and F */

enum call_state { IDLE, CALLING, PROCEEDING, UP, LEAVING, OVER, FAILED };

struct call {
    enum call_state state;
    uint32_t index;
    int code;              /* of the final response; 0 is none in time */
    int64_t began_ns;      /* first INVITE, or first BYE */
    int64_t resend_ns;     /* when to send the request again; 0: not at all */
    int64_t interval_ns;
    int64_t up_ns;
    int local_port;        /* RTP */
    int remote_port;       /* RTP, from the answer */
    bool ended_by_peer;
    char to[256];          /* the To header's value, with the peer's tag */
    char target[256];      /* the peer's Contact */
    char key[64];          /* of the peer's a=crypto (RFC 4568), base64 */
};

struct caller {
    struct call *calls;
    int count;
    int done;              /* calls before this one are over */
    char run[16];          /* makes Call-IDs unique */
    const char *session_prefix;
    const char *host;      /* of the gateway: address:port */
    const char *profile;   /* of the media line, and what else is said of it */
    const char *attributes;
    int local_port;        /* SIP */
    bool inactive;         /* offers no media, as a call on hold */
    struct histogram setup;
    uint64_t attempted, up, failed, over, resent, answered_again, ended_early, refused[700];
};

static void caller_send(const char *text, int size);
static void caller_answered(struct call *call, int64_t now_ns);
static void caller_ended(struct call *call);

static inline const char *session_id(const struct caller *u, const struct call *c, char *text)
{
    sprintf(text, "%s%05u", u->session_prefix, c->index);
    return text;
}

static inline void caller_request(const struct caller *u, const struct call *c, const char *method)
{
    char text[2048], sdp[512] = "", session[64], type[64] = "";
    bool invite = strcmp(method, "INVITE") == 0, bye = strcmp(method, "BYE") == 0;
    session_id(u, c, session);
    if (invite) {
        snprintf(sdp, sizeof sdp,
                 "v=0\r\no=- %u 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                 "m=audio %d %s 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
                 "a=fmtp:101 0-15\r\na=ptime:20\r\na=%s\r\n%s",
                 c->index + 1, c->local_port, u->profile, u->inactive ? "inactive" : "sendrecv", u->attributes);
        strcpy(type, "Content-Type: application/sdp\r\n");
    }
    /* An ACK for a 2xx is a transaction of its own, so it has a branch of its own (section 13.2.2.4); one for a
     * failure belongs to the INVITE's (section 17.1.1.3). */
    const char *branch = bye ? "b" : !invite && c->code < 300 ? "a" : "i";
    char to_uri[128], to[300];
    snprintf(to_uri, sizeof to_uri, "sip:%s@%s", session, u->host);
    if (c->to[0])
        snprintf(to, sizeof to, "%s", c->to);
    else
        snprintf(to, sizeof to, "<%s>", to_uri);
    int size = snprintf(text, sizeof text,
                        "%s %s SIP/2.0\r\n"
                        "Via: SIP/2.0/UDP 127.0.0.1:%d;rport;branch=z9hG4bK%s%u%s\r\n"
                        "Max-Forwards: 70\r\n"
                        "From: <sip:bench@127.0.0.1:%d>;tag=%s%u\r\n"
                        "To: %s\r\n"
                        "Call-ID: %s-%u\r\n"
                        "CSeq: %d %s\r\n"
                        "Contact: <sip:bench@127.0.0.1:%d>\r\n"
                        "%sContent-Length: %zu\r\n\r\n%s",
                        method, c->target[0] && branch[0] != 'i' ? c->target : to_uri, u->local_port, u->run, c->index,
                        branch, u->local_port, u->run, c->index, to, u->run, c->index, bye ? 2 : 1, method,
                        u->local_port, type, strlen(sdp), sdp);
    caller_send(text, size);
}

static inline void caller_begin(struct caller *u, struct call *c, bool invite, int64_t now_ns)
{
    c->state = invite ? CALLING : LEAVING;
    c->began_ns = now_ns;
    c->interval_ns = T1;
    c->resend_ns = now_ns + T1;
    if (invite)
        u->attempted++;
    caller_request(u, c, invite ? "INVITE" : "BYE");
}

static inline void caller_fail(struct caller *u, struct call *c, int code)
{
    c->state = FAILED;
    c->code = code;
    u->failed++;
    u->refused[code > 0 && code < 700 ? code : 0]++;
    caller_ended(c);
}

/* Timers A and B of an INVITE, E and F of a BYE (section 17.1). */
static inline void caller_tick(struct caller *u, int64_t now_ns)
{
    while (u->done < u->count && (u->calls[u->done].state == OVER || u->calls[u->done].state == FAILED))
        u->done++;
    for (int i = u->done; i < u->count && u->calls[i].state != IDLE; i++) { /* they are begun in order */
        struct call *c = &u->calls[i];
        if (c->state != CALLING && c->state != PROCEEDING && c->state != LEAVING)
            continue;
        if (now_ns - c->began_ns > TIMEOUT) {
            if (c->state == LEAVING)
                c->state = OVER, c->code = 0, u->over++, caller_ended(c);
            else
                caller_fail(u, c, 0);
        } else if (c->state != PROCEEDING && now_ns >= c->resend_ns) {
            bool bye = c->state == LEAVING;
            c->interval_ns = bye && c->interval_ns * 2 > T2 ? T2 : c->interval_ns * 2;
            c->resend_ns = now_ns + c->interval_ns;
            u->resent++;
            caller_request(u, c, bye ? "BYE" : "INVITE");
        }
    }
}

/* A header's value by long or compact name, copied up to the line's end; false when the message has none. */
static inline bool header(const char *message, const char *name, const char *compact, char *value, size_t room)
{
    const char *line = strchr(message, '\n');
    for (; line && line[1] && line[1] != '\r'; line = strchr(line + 1, '\n')) {
        const char *names[] = {name, compact};
        for (int i = 0; i < 2; i++) {
            size_t length = strlen(names[i]);
            if (strncasecmp(line + 1, names[i], length) != 0)
                continue;
            const char *at = line + 1 + length;
            at += strspn(at, " \t");
            if (*at != ':')
                continue;
            at += 1 + strspn(at + 1, " \t");
            snprintf(value, room, "%.*s", (int)strcspn(at, "\r\n"), at);
            return true;
        }
    }
    return false;
}

static inline void caller_accepted(struct caller *u, struct call *c, const char *message, int64_t now_ns)
{
    char contact[256], *start, *media = strstr(message, "\nm=audio ");
    header(message, "To", "t", c->to, sizeof c->to);
    if (header(message, "Contact", "m", contact, sizeof contact)) {
        start = strchr(contact, '<') ? strchr(contact, '<') + 1 : contact;
        snprintf(c->target, sizeof c->target, "%.*s", (int)strcspn(start, ">"), start);
    }
    if ((start = strstr(message, "inline:")))
        snprintf(c->key, sizeof c->key, "%.*s", (int)strcspn(start + 7, "|\r\n "), start + 7);
    c->code = 200;
    c->remote_port = media ? atoi(media + 9) : 0;
    c->state = UP;
    c->up_ns = now_ns;
    u->up++;
    histogram_add(&u->setup, now_ns - c->began_ns);
    caller_request(u, c, "ACK");
    caller_answered(c, now_ns);
}

static inline void caller_response(struct caller *u, struct call *c, const char *message, int code, bool bye,
                                   int64_t now_ns)
{
    if (bye) {
        if (c->state == LEAVING && code >= 200)
            c->state = OVER, c->code = code, u->over++, caller_ended(c);
        return;
    }
    if (code < 200) {
        if (c->state == CALLING)
            c->state = PROCEEDING;
    } else if (code < 300) {
        if (c->state == CALLING || c->state == PROCEEDING) {
            caller_accepted(u, c, message, now_ns);
        } else { /* section 13.2.2.4: each 2xx that comes again is acknowledged again */
            u->answered_again++;
            caller_request(u, c, "ACK");
        }
    } else {
        header(message, "To", "t", c->to, sizeof c->to);
        if (c->state == CALLING || c->state == PROCEEDING)
            caller_fail(u, c, code);
        caller_request(u, c, "ACK");
    }
}

static inline void caller_reply(const char *message, const char *status)
{
    static const char *const names[][2] = {{"Via", "v"}, {"From", "f"}, {"To", "t"}, {"Call-ID", "i"}, {"CSeq", "CSeq"}};
    char text[4096], value[512];
    int size = snprintf(text, sizeof text, "SIP/2.0 %s\r\n", status);
    for (int i = 0; i < 5; i++)
        if (header(message, names[i][0], names[i][1], value, sizeof value))
            size += snprintf(text + size, sizeof text - (size_t)size, "%s: %s\r\n", names[i][0], value);
    size += snprintf(text + size, sizeof text - (size_t)size, "Content-Length: 0\r\n\r\n");
    caller_send(text, size);
}

/* A datagram from the gateway, as a zero-terminated text. What belongs to no call of this run is ignored. */
static inline void caller_receive(struct caller *u, const char *message, int64_t now_ns)
{
    char id[128], sequence[64];
    size_t run = strlen(u->run);
    bool response = strncmp(message, "SIP/2.0 ", 8) == 0;
    struct call *c = NULL;
    if (header(message, "Call-ID", "i", id, sizeof id) && strncmp(id, u->run, run) == 0 && id[run] == '-') {
        int index = atoi(id + run + 1);
        c = index >= 0 && index < u->count ? &u->calls[index] : NULL;
    }
    if (!header(message, "CSeq", "CSeq", sequence, sizeof sequence))
        return;
    if (response) {
        if (c)
            caller_response(u, c, message, atoi(message + 8), strstr(sequence, "BYE") != NULL, now_ns);
    } else if (strncmp(message, "BYE ", 4) == 0) {
        caller_reply(message, c ? "200 OK" : "481 Call/Transaction Does Not Exist");
        if (c && (c->state == UP || c->state == LEAVING)) {
            u->ended_early += c->state == UP;
            c->ended_by_peer = true;
            c->state = OVER, u->over++, caller_ended(c);
        }
    } else if (strncmp(message, "ACK ", 4) != 0) {
        caller_reply(message, strncmp(message, "OPTIONS ", 8) == 0 ? "200 OK" : "405 Method Not Allowed");
    }
}

#endif
