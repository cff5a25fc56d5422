#include "mask.h"

#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ----------------------------------------------------------------------------------------------------- one word */

enum { F16_MINUS_INF = 0xfc00, F16_SIGN = 0x8000 };

static uint64_t word_of(const uint16_t * entries, int64_t n, bool * odd) {
    uint64_t word = 0;
    for (int64_t i = 0; i < n; i++) {
        const bool is_zero = (entries[i] & ~F16_SIGN) == 0;
        word |= (uint64_t)is_zero << i;
        *odd |= !is_zero && entries[i] != F16_MINUS_INF;
    }
    return word;
}

#ifdef __SSE2__
/* Sixteen entries a step; SSE2 is part of every x86-64. */
uint64_t plug_mask_word(const uint16_t * entries, bool * odd) {
    const __m128i no_sign = _mm_set1_epi16(0x7fff);
    const __m128i minus_inf = _mm_set1_epi16((short)F16_MINUS_INF);
    __m128i known = _mm_set1_epi16(-1);
    uint64_t word = 0;
    for (int32_t i = 0; i < 64; i += 16) {
        const __m128i a = _mm_loadu_si128((const __m128i *)(entries + i));
        const __m128i b = _mm_loadu_si128((const __m128i *)(entries + i + 8));
        const __m128i zero_a = _mm_cmpeq_epi16(_mm_and_si128(a, no_sign), _mm_setzero_si128());
        const __m128i zero_b = _mm_cmpeq_epi16(_mm_and_si128(b, no_sign), _mm_setzero_si128());
        known = _mm_and_si128(known, _mm_or_si128(zero_a, _mm_cmpeq_epi16(a, minus_inf)));
        known = _mm_and_si128(known, _mm_or_si128(zero_b, _mm_cmpeq_epi16(b, minus_inf)));
        word |= (uint64_t)(uint16_t)_mm_movemask_epi8(_mm_packs_epi16(zero_a, zero_b)) << i;
    }
    *odd |= _mm_movemask_epi8(known) != 0xffff;
    return word;
}
#else
uint64_t plug_mask_word(const uint16_t * entries, bool * odd) {
    return word_of(entries, 64, odd);
}
#endif

/* -------------------------------------------------------------------------------------------------- whole masks */

static void read_row(const uint16_t * entries, int64_t n_kv, uint64_t * bits, struct plug_visible * visible,
                     bool * odd) {
    int64_t n_visible = 0;
    int64_t n_keys = 0;
    for (int64_t row = 0; row < n_kv; row += 64) {
        const uint64_t word =
            row + 64 <= n_kv ? plug_mask_word(entries + row, odd) : word_of(entries + row, n_kv - row, odd);
        bits[row / 64] = word;
        n_visible += __builtin_popcountll(word);
        n_keys = word != 0 ? row + 64 - __builtin_clzll(word) : n_keys;
    }
    *visible = (struct plug_visible){n_visible == n_keys ? NULL : bits, n_keys, n_visible};
}

static bool reserve(struct plug_mask * mask, size_t n_words, size_t n_visible) {
    if (n_words > mask->n_words_allocated) {
        free(mask->bits);
        mask->bits = malloc(n_words * sizeof(*mask->bits));
        mask->n_words_allocated = mask->bits != NULL ? n_words : 0;
    }
    if (n_visible > mask->n_visible_allocated) {
        free(mask->visible);
        mask->visible = malloc(n_visible * sizeof(*mask->visible));
        mask->n_visible_allocated = mask->visible != NULL ? n_visible : 0;
    }
    return mask->bits != NULL && mask->visible != NULL;
}

static void read_all(struct plug_mask * mask, const struct ggml_tensor * tensor) {
    const size_t n_words = (size_t)(mask->n_kv + 63) / 64;
    bool odd = false;
    for (int64_t s = 0; s < mask->n_streams; s++) {
        for (int64_t n = 0; n < mask->n_rows; n++) {
            const size_t i = (size_t)(s * mask->n_rows + n);
            if (tensor == NULL) {
                mask->visible[i] = (struct plug_visible){NULL, mask->n_kv, mask->n_kv};
                continue;
            }
            const char * row =
                (const char *)tensor->data + (size_t)n * tensor->nb[1] + (size_t)(s % tensor->ne[3]) * tensor->nb[3];
            read_row((const uint16_t *)(const void *)row, mask->n_kv, mask->bits + i * n_words, &mask->visible[i],
                     &odd);
        }
    }
    mask->usable = !odd;
}

static bool matches(const struct plug_mask * mask, const struct ggml_tensor * attention, uint64_t epoch) {
    const struct ggml_tensor * q = attention->src[0];
    const struct ggml_tensor * tensor = attention->src[3];
    return mask->visible != NULL && mask->epoch == epoch && mask->data == (tensor != NULL ? tensor->data : NULL) &&
           mask->n_kv == attention->src[1]->ne[1] && mask->n_rows == q->ne[1] && mask->n_streams == q->ne[3];
}

const struct plug_mask * plug_mask_read(struct plug_masks * masks, const struct ggml_tensor * attention,
                                        uint64_t epoch) {
    for (int32_t i = 0; i < PLUG_MASKS; i++) {
        if (matches(&masks->slots[i], attention, epoch)) {
            return masks->slots[i].usable ? &masks->slots[i] : NULL;
        }
    }
    struct plug_mask * mask = &masks->slots[masks->next];
    masks->next = (masks->next + 1) % PLUG_MASKS;
    const struct ggml_tensor * tensor = attention->src[3];
    mask->data = tensor != NULL ? tensor->data : NULL;
    mask->epoch = epoch;
    mask->n_kv = attention->src[1]->ne[1];
    mask->n_rows = attention->src[0]->ne[1];
    mask->n_streams = attention->src[0]->ne[3];
    const size_t n_sets = (size_t)(mask->n_rows * mask->n_streams);
    if (!reserve(mask, n_sets * ((size_t)(mask->n_kv + 63) / 64), n_sets)) {
        mask->epoch = UINT64_MAX; /* never matches: epochs count up from 0 */
        return NULL;
    }
    read_all(mask, tensor);
    return mask->usable ? mask : NULL;
}

void plug_masks_free(struct plug_masks * masks) {
    for (int32_t i = 0; i < PLUG_MASKS; i++) {
        free(masks->slots[i].bits);
        free(masks->slots[i].visible);
    }
    memset(masks, 0, sizeof(*masks));
}
