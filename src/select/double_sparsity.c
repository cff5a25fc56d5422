/* SPDX-License-Identifier: MIT
 *
 * Double Sparsity (arXiv 2408.07092): few channels of every key, in few bits, tell which keys matter.
 *
 *     channels   the head_dim / group_factor channels c with the largest E[q_c^2] E[k_c^2] of a KV head
 *     label      those channels of a key, rounded to 2^bits levels between the smallest and the largest of them
 *     score      sum_c q_c label_c
 *
 * Queries come in by their second moment; without one all of their channels count the same.
 */
#include <stdlib.h>

#include "select/pack.h"
#include "select/rows.h"

struct labels {
    int32_t n_channels;
    size_t label_bytes; /* of a row */
    uint16_t * channel; /* [n_kv_heads][n_channels] */
    uint8_t * label;    /* [n_kv_heads][n][label_bytes], packed */
    char * range;       /* [n_kv_heads][n][2] smallest and largest of the row's channels, in the type of the keys */
};

static size_t range_bytes(const struct vattn_selector * s) {
    return vattn_row_size(s->plan->opt.k_type, 2);
}

static double levels(const struct vattn_selector * s) {
    return (double)((1 << s->opt.label_bits) - 1);
}

/* ---------------------------------------------------------------------------------------------------------- build */

static void release(struct vattn_selector * s) {
    struct labels * l = s->state;
    if (l != NULL) {
        free(l->channel);
        free(l->label);
        free(l->range);
        free(l);
    }
    s->state = NULL;
}

static enum vattn_status allocate(struct vattn_selector * s) {
    struct labels * l = s->state = calloc(1, sizeof *l);
    if (l == NULL) {
        return VATTN_STATUS_NO_MEMORY;
    }
    size_t groups = (size_t)s->plan->opt.n_kv_heads, rows = groups * (size_t)s->n_keys;
    l->n_channels = s->plan->opt.head_dim / s->opt.group_factor;
    l->label_bytes = vattn_pack_bytes(l->n_channels, s->opt.label_bits);
    l->channel = malloc(groups * (size_t)l->n_channels * sizeof *l->channel);
    l->label = calloc(rows, l->label_bytes);
    l->range = malloc(rows * range_bytes(s));
    s->index_bytes = groups * (size_t)l->n_channels * sizeof *l->channel + rows * (l->label_bytes + range_bytes(s));
    bool all = l->channel != NULL && l->label != NULL && l->range != NULL;
    return all ? VATTN_STATUS_OK : VATTN_STATUS_NO_MEMORY;
}

/* What each channel contributes; false where something is not finite. */
static bool weigh_channels(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t g,
                           const float * q_second_moment, double * weight) {
    const int32_t dim = s->plan->opt.head_dim;
    float x[VATTN_MAX_DIM];
    bool finite = true;
    for (int32_t d = 0; d < dim; d++) {
        weight[d] = 0.0;
    }
    for (int64_t r = 0; r < s->n_keys; r++) {
        finite = vattn_key_floats(s, kv, g, r, x) && finite;
        for (int32_t d = 0; d < dim; d++) {
            weight[d] += (double)x[d] * (double)x[d];
        }
    }
    for (int32_t d = 0; d < dim && q_second_moment != NULL; d++) {
        weight[d] *= (double)q_second_moment[((size_t)g * (size_t)dim + (size_t)d) * (size_t)dim + (size_t)d];
        finite = finite && isfinite(weight[d]);
    }
    return finite;
}

/* The heaviest channels, one after another; the first one among equals. */
static void choose_channels(const struct vattn_selector * s, int32_t g, double * weight) {
    const struct labels * l = s->state;
    for (int32_t c = 0; c < l->n_channels; c++) {
        int32_t best = 0;
        for (int32_t d = 1; d < s->plan->opt.head_dim; d++) {
            best = weight[d] > weight[best] ? d : best;
        }
        l->channel[g * l->n_channels + c] = (uint16_t)best;
        weight[best] = -INFINITY;
    }
}

static void write_range(const struct vattn_selector * s, size_t at, float low, float high) {
    const struct labels * l = s->state;
    void * to = l->range + at * range_bytes(s);
    if (s->plan->opt.k_type == VATTN_TYPE_F32) {
        ((float *)to)[0] = low;
        ((float *)to)[1] = high;
    } else { /* exact: both are elements of the row */
        ((uint16_t *)to)[0] = vattn_half_from_float(low);
        ((uint16_t *)to)[1] = vattn_half_from_float(high);
    }
}

static void label_row(const struct vattn_selector * s, int32_t g, int64_t row, const float * key) {
    const struct labels * l = s->state;
    const uint16_t * channel = l->channel + g * l->n_channels;
    size_t at = (size_t)g * (size_t)s->n_keys + (size_t)row;
    float low = key[channel[0]], high = low;
    for (int32_t c = 1; c < l->n_channels; c++) {
        low = key[channel[c]] < low ? key[channel[c]] : low;
        high = key[channel[c]] > high ? key[channel[c]] : high;
    }
    write_range(s, at, low, high);
    for (int32_t c = 0; c < l->n_channels && high > low; c++) {
        double share = ((double)key[channel[c]] - (double)low) / ((double)high - (double)low);
        vattn_pack(l->label + at * l->label_bytes, (size_t)c * (size_t)s->opt.label_bits, s->opt.label_bits,
                   (uint32_t)(share * levels(s) + 0.5));
    }
}

static enum vattn_status build(struct vattn_selector * s, const struct vattn_kv * kv, const float * q_second_moment) {
    enum vattn_status status = allocate(s);
    for (int32_t g = 0; g < s->plan->opt.n_kv_heads && status == VATTN_STATUS_OK; g++) {
        double weight[VATTN_MAX_DIM];
        float key[VATTN_MAX_DIM];
        if (!weigh_channels(s, kv, g, q_second_moment, weight)) {
            return VATTN_STATUS_NOT_FINITE;
        }
        choose_channels(s, g, weight);
        for (int64_t r = 0; r < s->n_keys; r++) {
            vattn_key_floats(s, kv, g, r, key);
            label_row(s, g, r, key);
        }
    }
    return status;
}

/* ---------------------------------------------------------------------------------------------------------- score */

static size_t work_bytes(const struct vattn_selector * s) {
    return (size_t)(s->plan->opt.head_dim / s->opt.group_factor) * sizeof(float);
}

static int64_t score_rows(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t head, const float * q,
                          int64_t n, float * score, void * work) {
    (void)kv;
    const struct labels * l = s->state;
    const int32_t g = head / s->plan->group, bits = s->opt.label_bits;
    const struct vattn_rows range = {.base = l->range + (size_t)g * (size_t)s->n_keys * range_bytes(s),
                                     .stride = range_bytes(s)};
    const uint8_t * label = l->label + (size_t)g * (size_t)s->n_keys * l->label_bytes;
    float *chosen = work, ends[2];
    double sum = 0.0;
    for (int32_t c = 0; c < l->n_channels; c++) {
        chosen[c] = q[l->channel[g * l->n_channels + c]];
        sum += (double)chosen[c];
    }
    for (int64_t r = 0; r < n; r++) { /* label = low + step code */
        double dot = 0.0;
        for (int32_t c = 0; c < l->n_channels; c++) {
            dot += (double)chosen[c] * vattn_unpack(label + (size_t)r * l->label_bytes, (size_t)c * (size_t)bits, bits);
        }
        vattn_row_floats(&range, r, s->plan->opt.k_type, 0, 2, ends);
        score[r] = (float)((double)ends[0] * sum + ((double)ends[1] - (double)ends[0]) / levels(s) * dot);
    }
    int64_t table = l->n_channels * (int64_t)sizeof *l->channel;
    return vattn_selector_shared(s, head, table + n * (int64_t)(l->label_bytes + range_bytes(s)));
}

const struct vattn_selector_kind vattn_selector_double_sparsity = {
    .name = VATTN_METHOD_DOUBLE_SPARSITY,
    .cuts_rows = true,
    .build = build,
    .release = release,
    .work_bytes = work_bytes,
    .score = score_rows,
};
