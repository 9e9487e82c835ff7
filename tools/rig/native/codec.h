/* SHA-1 (for the WebSocket handshake, RFC 6455 section 4.2.2) and base64 (RFC 4648). */
#ifndef CODEC_H
#define CODEC_H

#include <stdint.h>
#include <string.h>

static inline uint32_t rotate_left(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

static inline void sha1_block(uint32_t h[5], const uint8_t *block)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate_left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20)
            f = (b & c) | (~b & d), k = 0x5a827999;
        else if (i < 40)
            f = b ^ c ^ d, k = 0x6ed9eba1;
        else if (i < 60)
            f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc;
        else
            f = b ^ c ^ d, k = 0xca62c1d6;
        uint32_t next = rotate_left(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rotate_left(b, 30), b = a, a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

/* Digest of `size` bytes, at most 119: the handshake hashes 60. */
static inline void sha1(const uint8_t *data, size_t size, uint8_t digest[20])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[128] = {0};
    size_t total = size + 9 <= 64 ? 64 : 128;
    memcpy(padded, data, size);
    padded[size] = 0x80;
    for (int i = 0; i < 8; i++)
        padded[total - 1 - i] = (uint8_t)((uint64_t)size * 8 >> 8 * i);
    for (size_t at = 0; at < total; at += 64)
        sha1_block(h, padded + at);
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Writes the encoded text and a final zero; returns its length. */
static inline int base64_encode(const uint8_t *data, int size, char *text)
{
    char *out = text;
    for (int i = 0; i < size; i += 3) {
        int left = size - i;
        uint32_t bits = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (left > 2 ? data[i + 2] : 0);
        *out++ = BASE64[bits >> 18];
        *out++ = BASE64[bits >> 12 & 63];
        *out++ = left > 1 ? BASE64[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? BASE64[bits & 63] : '=';
    }
    *out = 0;
    return (int)(out - text);
}

/* Decodes `length` characters (a multiple of 4); returns the number of bytes, -1 when it is not base64. */
static inline int base64_decode(const char *text, int length, uint8_t *data)
{
    static int8_t value[256];
    static int ready;
    if (!ready) {
        memset(value, -1, sizeof value);
        for (int i = 0; i < 64; i++)
            value[(uint8_t)BASE64[i]] = (int8_t)i;
        ready = 1;
    }
    int size = length / 4 * 3;
    if (length % 4 || length == 0)
        return length == 0 ? 0 : -1;
    int padding = (text[length - 1] == '=') + (text[length - 2] == '=');
    for (int i = 0; i < length; i += 4) {
        int a = value[(uint8_t)text[i]], b = value[(uint8_t)text[i + 1]];
        int last = i + 4 == length;
        int c = last && padding == 2 ? 0 : value[(uint8_t)text[i + 2]];
        int d = last && padding >= 1 ? 0 : value[(uint8_t)text[i + 3]];
        if ((a | b | c | d) < 0)
            return -1;
        uint32_t bits = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | (uint32_t)d;
        *data++ = (uint8_t)(bits >> 16), *data++ = (uint8_t)(bits >> 8), *data++ = (uint8_t)bits;
    }
    return size - padding;
}

#endif
