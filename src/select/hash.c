/* SPDX-License-Identifier: MIT
 *
 * HashAttention (arXiv 2412.14468): keys and queries are mapped to short signatures, and keys with few differing bits
 * are proposed:
 *
 *     signature(x) = sign(W3 silu(W2 silu(W1 x + b1) + b2) + b3)    with weights learned for each layer and head
 *     score        = bits of the signatures that agree = bits - Hamming distance
 *
 * Without weights the signature is sign(W x) with random hyperplanes W, the same for keys, queries and heads: two
 * vectors at the angle a then differ in each bit with probability a / pi.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "select/hyperplanes.h"
#include "select/rows.h"

enum { MOST_LAYERS = 3, WIDE = 512 /* elements of a row that a kernel takes at once */ };

/* One linear layer of all heads. */
struct linear {
    int32_t in, out;
    size_t head_stride;         /* elements from one head's weight to the next; 0: one for all */
    const float *weight, *bias; /* [heads][out][in]; [heads][out] or NULL */
};

struct network {
    int32_t n_layers, widest; /* widest: of the results of layers */
    struct linear layer[MOST_LAYERS];
};

struct signatures {
    struct network q;
    float * weights;     /* of q */
    size_t weight_bytes; /* of one head */
    size_t bytes;        /* of a signature */
    uint8_t * signature; /* [n_kv_heads][n][bytes] */
};

/* ------------------------------------------------------------------------------------------------------ the network */

/* y = W x + b of one head; `part` holds as many floats as y. */
static void apply(const struct vattn_selector * s, const struct linear * l, int32_t head, const float * x, float * y,
                  float * part) {
    const float * weight = l->weight + (size_t)head * l->head_stride;
    for (int32_t o = 0; o < l->out; o++) {
        y[o] = l->bias == NULL ? 0.0F : l->bias[(size_t)head * (size_t)l->out + (size_t)o];
    }
    for (int32_t begin = 0; begin < l->in; begin += WIDE) {
        const struct vattn_rows rows = {.base = weight + begin, .stride = (size_t)l->in * sizeof(float), .n = l->out};
        s->plan->kern->score[VATTN_TYPE_F32](&rows, x + begin, 1, l->in - begin < WIDE ? l->in - begin : WIDE, part, l->out);
        for (int32_t o = 0; o < l->out; o++) {
            y[o] += part[o];
        }
    }
}

/* The signature of x, its bits lowest first; work: 3 network->widest floats. */
static uint64_t sign_of(const struct vattn_selector * s, const struct network * net, int32_t head, const float * x,
                        float * work) {
    float *y = work, *spare = y + net->widest, *part = spare + net->widest;
    uint64_t signature = 0;
    for (int32_t i = 0; i < net->n_layers; i++) {
        const struct linear * l = &net->layer[i];
        apply(s, l, head, x, y, part);
        for (int32_t o = 0; o < l->out && i + 1 < net->n_layers; o++) {
            y[o] = y[o] / (1.0F + expf(-y[o]));
        }
        x = y;
        y = spare;
        spare = work + (spare == work ? net->widest : 0);
    }
    for (int32_t b = 0; b < net->layer[net->n_layers - 1].out; b++) {
        signature |= (uint64_t)(x[b] > 0.0F) << b;
    }
    return signature;
}

/* Weights as the caller gave them. */
static struct network learned(const struct vattn_hash_weights * w, const float * const * weight,
                              const float * const * bias) {
    struct network net = {.n_layers = w->n_layers};
    for (int32_t i = 0; i < w->n_layers; i++) {
        size_t stride = (size_t)w->width[i] * (size_t)w->width[i + 1];
        net.layer[i] = (struct linear){w->width[i], w->width[i + 1], stride, weight[i], bias[i]};
        net.widest = net.widest > w->width[i + 1] ? net.widest : w->width[i + 1];
    }
    return net;
}

/* Elements of a layer's weight and bias, for n heads. */
static size_t elements(const struct linear * l, size_t heads) {
    size_t one = (size_t)l->in * (size_t)l->out;
    return (l->head_stride == 0 ? one : heads * one) + (l->bias == NULL ? 0 : heads * (size_t)l->out);
}

static bool finite_weights(const struct network * net, size_t heads) {
    bool finite = true;
    for (int32_t i = 0; i < net->n_layers; i++) {
        const struct linear * l = &net->layer[i];
        size_t biases = l->bias == NULL ? 0 : heads * (size_t)l->out;
        for (size_t j = 0; j < elements(l, heads) - biases; j++) {
            finite = finite && isfinite(l->weight[j]);
        }
        for (size_t j = 0; j < biases; j++) {
            finite = finite && isfinite(l->bias[j]);
        }
    }
    return finite;
}

/* ---------------------------------------------------------------------------------------------------------- build */

static void release(struct vattn_selector * s) {
    struct signatures * h = s->state;
    if (h != NULL) {
        free(h->weights);
        free(h->signature);
        free(h);
    }
    s->state = NULL;
}

/* Keep the weights of queries; those of keys were needed for these keys only. */
static bool keep(struct signatures * h, size_t heads) {
    size_t total = 0;
    for (int32_t i = 0; i < h->q.n_layers; i++) {
        total += elements(&h->q.layer[i], heads);
        h->weight_bytes += elements(&h->q.layer[i], 1) * sizeof(float);
    }
    float * to = h->weights = malloc(total * sizeof(float));
    for (int32_t i = 0; i < h->q.n_layers && to != NULL; i++) {
        struct linear * l = &h->q.layer[i];
        size_t biases = l->bias == NULL ? 0 : heads * (size_t)l->out, weights = elements(l, heads) - biases;
        memcpy(to, l->weight, weights * sizeof(float));
        l->weight = to;
        to += weights;
        if (biases > 0) {
            memcpy(to, l->bias, biases * sizeof(float));
            l->bias = to;
            to += biases;
        }
    }
    return h->weights != NULL;
}

/* Random hyperplanes for both sides. */
static bool draw(struct vattn_selector * s) {
    struct signatures * h = s->state;
    int32_t bits = s->opt.hash_bits, dim = s->plan->opt.head_dim;
    h->weight_bytes = (size_t)bits * (size_t)dim * sizeof(float);
    h->weights = malloc(h->weight_bytes);
    h->q = (struct network){.n_layers = 1, .widest = bits, .layer = {{dim, bits, 0, h->weights, NULL}}};
    if (h->weights != NULL) {
        vattn_hyperplanes(s->opt.seed, bits, dim, h->weights);
    }
    return h->weights != NULL;
}

static enum vattn_status allocate(struct vattn_selector * s) {
    const struct vattn_hash_weights * w = s->opt.hash_weights;
    const struct vattn_options * o = &s->plan->opt;
    struct signatures * h = s->state = calloc(1, sizeof *h);
    if (h == NULL) {
        return VATTN_STATUS_NO_MEMORY;
    }
    if (w != NULL) {
        s->opt.hash_bits = w->width[w->n_layers];
        h->q = learned(w, w->q_weight, w->q_bias);
    }
    size_t heads = w != NULL ? (size_t)o->n_heads : 1, rows = (size_t)o->n_kv_heads * (size_t)s->n_keys;
    bool kept = w != NULL ? keep(h, heads) : draw(s);
    h->bytes = ((size_t)s->opt.hash_bits + 7) / 8;
    h->signature = malloc(rows * h->bytes);
    s->index_bytes = rows * h->bytes + heads * h->weight_bytes;
    return kept && h->signature != NULL ? VATTN_STATUS_OK : VATTN_STATUS_NO_MEMORY;
}

static bool sign_keys(const struct vattn_selector * s, const struct vattn_kv * kv, const struct network * net,
                      int32_t g, float * work) {
    const struct signatures * h = s->state;
    uint8_t * to = h->signature + (size_t)g * (size_t)s->n_keys * h->bytes;
    float key[VATTN_MAX_DIM];
    for (int64_t r = 0; r < s->n_keys; r++) {
        if (!vattn_key_floats(s, kv, g, r, key)) {
            return false;
        }
        uint64_t signature = sign_of(s, net, g, key, work);
        for (size_t b = 0; b < h->bytes; b++) {
            *to++ = (uint8_t)(signature >> 8 * b);
        }
    }
    return true;
}

static enum vattn_status build(struct vattn_selector * s, const struct vattn_kv * kv, const float * q_second_moment) {
    (void)q_second_moment;
    const struct vattn_hash_weights * w = s->opt.hash_weights;
    const struct vattn_options * o = &s->plan->opt;
    enum vattn_status status = allocate(s);
    if (status != VATTN_STATUS_OK) {
        return status;
    }
    const struct signatures * h = s->state;
    const struct network net = w != NULL ? learned(w, w->k_weight, w->k_bias) : h->q;
    if (!finite_weights(&net, (size_t)o->n_kv_heads) || !finite_weights(&h->q, (size_t)o->n_heads)) {
        return VATTN_STATUS_NOT_FINITE;
    }
    float * work = malloc(3 * (size_t)net.widest * sizeof *work);
    status = work == NULL ? VATTN_STATUS_NO_MEMORY : status;
    for (int32_t g = 0; g < o->n_kv_heads && status == VATTN_STATUS_OK; g++) {
        status = sign_keys(s, kv, &net, g, work) ? VATTN_STATUS_OK : VATTN_STATUS_NOT_FINITE;
    }
    free(work);
    return status;
}

/* ---------------------------------------------------------------------------------------------------------- score */

static size_t work_bytes(const struct vattn_selector * s) {
    const struct signatures * h = s->state;
    return 3 * (size_t)h->q.widest * sizeof(float);
}

static int64_t score_rows(const struct vattn_selector * s, const struct vattn_kv * kv, int32_t head, const float * q,
                          int64_t n, float * score, void * work) {
    (void)kv;
    const struct signatures * h = s->state;
    const uint8_t * at = h->signature + (size_t)(head / s->plan->group) * (size_t)s->n_keys * h->bytes;
    const uint64_t query = sign_of(s, &h->q, head, q, work);
    for (int64_t r = 0; r < n; r++) {
        uint64_t key = 0;
        for (size_t b = 0; b < h->bytes; b++) {
            key |= (uint64_t)*at++ << 8 * b;
        }
        score[r] = (float)(s->opt.hash_bits - vattn_popcount(query ^ key));
    }
    bool own = h->q.layer[0].head_stride != 0;
    int64_t weights = (int64_t)h->weight_bytes;
    return vattn_selector_shared(s, head, n * (int64_t)h->bytes + (own ? 0 : weights)) + (own ? weights : 0);
}

const struct vattn_selector_kind vattn_selector_hash = {
    .name = VATTN_METHOD_HASH,
    .build = build,
    .release = release,
    .work_bytes = work_bytes,
    .score = score_rows,
};
