#include "fingerprint.h"

#include <string.h>

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t hash_bytes(uint64_t hash, const char * bytes, size_t n) {
    for (; n > 0; bytes += 8, n -= n < 8 ? n : 8) {
        uint64_t word = 0;
        memcpy(&word, bytes, n < 8 ? n : 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return hash;
}

/* The key row of one KV head, whole (a shift of positions changes some of its pairs only), and the value row's start. */
uint16_t plug_fingerprint(const struct vattn_options * options, const struct vattn_kv * kv, int64_t row) {
    const size_t g = (size_t)(row % options->n_kv_heads);
    const size_t k_bytes = vattn_row_bytes(options->k_type, options->head_dim);
    const size_t v_bytes = vattn_row_bytes(options->v_type, options->v_dim);
    const char * k = (const char *)kv->k + (size_t)row * kv->k_row_stride + g * kv->k_head_stride;
    const char * v = (const char *)kv->v + (size_t)row * kv->v_row_stride + g * kv->v_head_stride;
    uint64_t hash = hash_bytes((uint64_t)row, k, k_bytes);
    hash = hash_bytes(hash, v, v_bytes < 64 ? v_bytes : 64);
    return (uint16_t)(mix(hash) & 0xffff);
}

bool plug_fingerprints_hold(const struct vattn_options * options, struct plug_stream * stream,
                            const struct vattn_kv * kv) {
    enum { TRIES = 16, CHECKS = 8 };
    int32_t n_checked = 0;
    for (int32_t i = 0; i < TRIES && n_checked < CHECKS; i++) {
        const int64_t row = (int64_t)(mix(++stream->n_checks * 0x9e3779b97f4a7c15u) % (uint64_t)kv->n_keys);
        if (!plug_bit(stream->covered, row) || (kv->visible != NULL && !plug_bit(kv->visible, row))) {
            continue;
        }
        n_checked++;
        if (plug_fingerprint(options, kv, row) != stream->fingerprints[row]) {
            return false;
        }
    }
    return true;
}
