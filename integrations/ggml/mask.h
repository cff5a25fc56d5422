/* The host's f16 mask, one 0 or -inf for each (query, key), as sets of visible keys. */
#ifndef PLUG_MASK_H
#define PLUG_MASK_H

#include "abi.h"

/* The keys that one query sees. */
struct plug_visible {
    const uint64_t * bits; /* NULL: all of the n_keys rows */
    int64_t n_keys;        /* rows up to the last visible one */
    int64_t n_visible;
};

/* All layers of a graph share a few masks: each is read once per graph, that is once per `epoch`. */
struct plug_mask {
    const void * data;
    uint64_t epoch;
    int64_t n_kv, n_rows, n_streams;
    bool usable; /* holds nothing but 0 and -inf */
    uint64_t * bits;
    size_t n_words_allocated;
    struct plug_visible * visible; /* [n_streams][n_rows] */
    size_t n_visible_allocated;
};

enum { PLUG_MASKS = 4 };

struct plug_masks {
    struct plug_mask slots[PLUG_MASKS];
    int32_t next;
};

/* The sets of visible keys of an attention node, or NULL if its mask holds other numbers (or memory is short). */
const struct plug_mask * plug_mask_read(struct plug_masks * masks, const struct ggml_tensor * attention,
                                        uint64_t epoch);

void plug_masks_free(struct plug_masks * masks);

/* Bits of 64 mask entries that are 0 (visible); *odd is raised if an entry is neither 0 nor -inf. */
uint64_t plug_mask_word(const uint16_t * entries, bool * odd);

#endif
