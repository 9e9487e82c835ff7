/* SRTP of a leg (RFC 3711), keys by SDES (RFC 4568): libsrtp on both ends of the wire, so it is its price that is measured.
 * Compiled in with -DSEALED; else packets go as they are. */
#pragma once

#include <stdint.h>
#include <string.h>

#ifdef SEALED
#include <srtp2/srtp.h>

#define PROFILE "RTP/SAVP"
#define ATTRIBUTES "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\r\n"

struct sealing {
    srtp_t out, in;
};

static inline int sealing_begin(struct sealing *s, const char *theirs)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t ours_key[30], their_key[30];
    for (int i = 0; i < 30; i++)
        ours_key[i] = (uint8_t)i;
    if (strlen(theirs) != 40)
        return -1;
    for (int i = 0; i < 10; i++) {
        uint32_t four = 0;
        for (int j = 0; j < 4; j++) {
            const char *at = strchr(digits, theirs[4 * i + j]);
            if (!at)
                return -1;
            four = four << 6 | (uint32_t)(at - digits);
        }
        their_key[3 * i] = (uint8_t)(four >> 16), their_key[3 * i + 1] = (uint8_t)(four >> 8);
        their_key[3 * i + 2] = (uint8_t)four;
    }
    srtp_policy_t policy = {0};
    srtp_crypto_policy_set_rtp_default(&policy.rtp);
    srtp_crypto_policy_set_rtcp_default(&policy.rtcp);
    policy.window_size = 128;
    policy.ssrc.type = ssrc_any_outbound, policy.key = ours_key;
    if (srtp_create(&s->out, &policy))
        return -1;
    policy.ssrc.type = ssrc_any_inbound, policy.key = their_key;
    return srtp_create(&s->in, &policy) ? -1 : 0;
}

static inline void sealing_prepare(void) { srtp_init(); }

/* Both: the new length, or -1. `packet` has room for what is added. */
static inline int seal(struct sealing *s, uint8_t *packet, int size)
{
    return srtp_protect(s->out, packet, &size) ? -1 : size;
}

static inline int unseal(struct sealing *s, uint8_t *packet, int size)
{
    return srtp_unprotect(s->in, packet, &size) ? -1 : size;
}
#else
#define PROFILE "RTP/AVP"
#define ATTRIBUTES ""

struct sealing {
    int none;
};

static inline void sealing_prepare(void) {}

static inline int sealing_begin(struct sealing *s, const char *theirs)
{
    (void)s, (void)theirs;
    return 0;
}

static inline int seal(struct sealing *s, uint8_t *packet, int size)
{
    (void)s, (void)packet;
    return size;
}

static inline int unseal(struct sealing *s, uint8_t *packet, int size)
{
    (void)s, (void)packet;
    return size;
}
#endif
