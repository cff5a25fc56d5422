/* SPDX-License-Identifier: MIT */
#include "call/rows.h"

#include "base/bits.h"
#include "index/index.h"

#define CHUNK      4096
#define LONGER     4 /* at most, where there are KV heads enough to go round: every chunk has a beginning and an end */
#define MAX_CHUNKS 64

int64_t vattn_call_chunk_rows(int64_t n, int32_t n_kv_heads) {
    int64_t times = n_kv_heads / 2, rows = CHUNK * (times < 1 ? 1 : times > LONGER ? LONGER : times);
    int64_t chunks = (n + rows - 1) / rows;
    chunks = chunks < 1 ? 1 : chunks > MAX_CHUNKS ? MAX_CHUNKS : chunks;
    return ((n + chunks - 1) / chunks + 63) / 64 * 64;
}

static void put_word(uint16_t * set, int64_t w, uint64_t bits) {
    for (int k = 0; k < 4; k++) {
        set[w * 4 + k] = (uint16_t)(bits >> (16 * k));
    }
}

void vattn_call_mark_rows(const struct vattn_call * c, uint16_t * visible, uint16_t * sure) {
    const struct vattn_kv * kv = c->in.kv;
    const struct vattn_index * x = c->in.index;
    int64_t words = vattn_words(kv->n_keys), left = c->plan->opt.sink;
    for (int64_t w = 0; w < words; w++) {
        uint64_t seen = vattn_word(kv->visible, w, kv->n_keys), always = seen;
        always &= w * 64 < x->capacity ? ~x->covered[w] : ~(uint64_t)0;
        for (uint64_t rest = seen; rest != 0 && left > 0; rest &= rest - 1, left--) {
            always |= rest & (~rest + 1);
        }
        put_word(visible, w, seen);
        put_word(sure, w, always);
    }
    left = c->plan->opt.window;
    for (int64_t w = words - 1; w >= 0 && left > 0; w--) {
        uint64_t seen = vattn_word(kv->visible, w, kv->n_keys);
        for (int b = 63; b >= 0 && left > 0; b--) {
            if ((seen >> b & 1U) != 0) {
                sure[w * 4 + b / 16] = (uint16_t)(sure[w * 4 + b / 16] | 1U << (b % 16));
                left--;
            }
        }
    }
}
