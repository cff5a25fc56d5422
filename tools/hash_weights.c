/* SPDX-License-Identifier: MIT */
#include "hash_weights.h"

#include "complain.h"

#include <stdio.h>
#include <string.h>

enum { MOST_LAYERS = 3, MOST_BITS = 64 };

/* Where in the file we are, for messages. */
struct reader {
    const char * path;
    const struct safetensors * file;
    int32_t layer;
};

/* NULL if it is missing; ends the program where it does not fit. */
static const struct safetensor * find(const struct reader * r, char side, int32_t i, const char * what, int n_dims,
                                      int64_t heads) {
    char name[64];
    snprintf(name, sizeof name, "layers.%d.%c.%d.%s", r->layer, side, i, what);
    const struct safetensor * tensor = safetensors_find(r->file, name);
    if (tensor == NULL)
        return NULL;
    if (strcmp(tensor->dtype, "F32") != 0 || tensor->n_dims != n_dims || tensor->shape[0] != heads)
        give_up("%s: tensor '%s' must be F32 with %d dimensions, the first one %lld; convert the weights", r->path,
                name, n_dims, (long long)heads);
    return tensor;
}

/* One linear layer of one side: its weight and bias; *out is its width.  False if there is no such layer. */
static bool read_linear(const struct reader * r, char side, int32_t i, int64_t heads, int64_t in, int64_t * out,
                        const float ** weight, const float ** bias) {
    const struct safetensor * w = find(r, side, i, "weight", 3, heads);
    const struct safetensor * b = find(r, side, i, "bias", 2, heads);
    if (w == NULL)
        return false;
    if (w->shape[2] != in || (b != NULL && b->shape[1] != w->shape[1]))
        give_up("%s: layers.%d.%c.%d takes %lld inputs where %lld come, or its bias has another width; check the file",
                r->path, r->layer, side, i, (long long)w->shape[2], (long long)in);
    *out = w->shape[1];
    *weight = w->data;
    *bias = b == NULL ? NULL : b->data;
    return true;
}

void hash_weights_open(const char * path, int32_t layer, int32_t n_heads, int32_t n_kv_heads, int32_t head_dim,
                       struct hash_weights * out) {
    struct vattn_hash_weights * w = &out->weights;
    const struct reader r = {path, &out->file, layer};
    char reason[256];
    memset(out, 0, sizeof *out);
    if (!safetensors_open(path, &out->file, reason, sizeof reason))
        give_up("--param hash_weights: %s: %s", path, reason);
    w->width[0] = head_dim;
    for (int32_t i = 0; i < MOST_LAYERS; i++) {
        int64_t in = w->width[i], k = 0, q = 0;
        bool has_k = read_linear(&r, 'k', i, n_kv_heads, in, &k, &w->k_weight[i], &w->k_bias[i]);
        bool has_q = read_linear(&r, 'q', i, n_heads, in, &q, &w->q_weight[i], &w->q_bias[i]);
        if (!has_k && !has_q)
            break;
        if (k != q || k < 1 || k > INT32_MAX)
            give_up("%s: layers.%d.k.%d.weight and layers.%d.q.%d.weight must both be there, with the same width", path,
                    layer, i, layer, i);
        w->width[++w->n_layers] = (int32_t)k;
    }
    if (w->n_layers == 0 || w->width[w->n_layers] > MOST_BITS)
        give_up("%s: no weights layers.%d.k.0.weight and so on, or signatures of more than %d bits; see 'vattn methods'",
                path, layer, MOST_BITS);
}

void hash_weights_close(struct hash_weights * weights) {
    safetensors_close(&weights->file);
}
