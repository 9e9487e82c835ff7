/* Histograms of durations: buckets of 10 us up to one second, the last one for all beyond it.
 *
 * Owns counting and percentiles. A bucket is reported by its upper bound, so a percentile is never flattered.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

enum { BUCKET_NS = 10000, BUCKETS = 100000 };

struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint32_t bucket[BUCKETS + 1];
};

static inline void histogram_add(struct histogram *h, int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;
    uint64_t index = value / BUCKET_NS;
    h->bucket[index < BUCKETS ? index : BUCKETS]++;
    h->count++;
    if (value > h->max_ns)
        h->max_ns = value;
}

/* The duration in ms that the fraction `q` of the values does not exceed; 0 when there are none. */
static inline double histogram_quantile_ms(const struct histogram *h, double q)
{
    uint64_t wanted = (uint64_t)(q * (double)h->count + 0.999999), seen = 0;
    if (h->count == 0)
        return 0;
    if (wanted == 0)
        wanted = 1;
    for (int i = 0; i < BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= wanted) {
            uint64_t bound = (uint64_t)(i + 1) * BUCKET_NS;
            return (double)(bound < h->max_ns ? bound : h->max_ns) / 1e6;
        }
    }
    return (double)h->max_ns / 1e6;
}

static inline void histogram_print(FILE *out, const char *name, const struct histogram *h)
{
    fprintf(out, "\"%s\":{\"count\":%llu,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}", name,
            (unsigned long long)h->count, histogram_quantile_ms(h, 0.5), histogram_quantile_ms(h, 0.9),
            histogram_quantile_ms(h, 0.99), histogram_quantile_ms(h, 0.999), (double)h->max_ns / 1e6);
}

#endif
