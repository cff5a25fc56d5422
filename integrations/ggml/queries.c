#include "queries.h"

#include <stdlib.h>

#include "host.h"

enum { EVERY = 16 };

struct job {
    struct plug_layer * layer;
    const struct ggml_tensor * q;
    int64_t first; /* first token of this batch to take */
};

static size_t moment_size(const struct plug_layer * layer) {
    return (size_t)layer->options.n_kv_heads * (size_t)layer->options.head_dim * (size_t)layer->options.head_dim;
}

static void add_outer(float * sum, const float * q, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const float qi = q[i];
        for (int64_t j = 0; j < n; j++) {
            sum[i * n + j] += qi * q[j];
        }
    }
}

/* Everything that the query heads of one KV head contribute. */
static void add_kv_head(const struct job * job, int64_t g) {
    const struct plug_layer * layer = job->layer;
    const struct ggml_tensor * q = job->q;
    const int64_t n = layer->options.head_dim;
    const int64_t group = layer->options.n_heads / layer->options.n_kv_heads;
    float * sum = layer->query_sum + g * n * n;
    for (int64_t t = job->first; t < q->ne[1] * q->ne[3]; t += EVERY) {
        const char * token =
            (const char *)q->data + (size_t)(t % q->ne[1]) * q->nb[1] + (size_t)(t / q->ne[1]) * q->nb[3];
        for (int64_t h = g * group; h < (g + 1) * group; h++) {
            add_outer(sum, (const float *)(const void *)(token + (size_t)h * q->nb[2]), n);
        }
    }
}

static void add_all(struct plug_team * team, void * data) {
    const struct job * job = data;
    if (plug_team_leads(team)) {
        team->n_tasks = (int32_t)job->layer->options.n_kv_heads;
    }
    plug_team_barrier(team);
    for (int32_t g = plug_team_take(team); g >= 0; g = plug_team_take(team)) {
        add_kv_head(job, g);
    }
}

void plug_queries_note(struct plug_layer * layer, const struct ggml_tensor * q, int32_t n_threads) {
    const int64_t n_tokens = q->ne[1] * q->ne[3];
    const int64_t first = (EVERY - layer->n_queries % EVERY) % EVERY;
    layer->n_queries += n_tokens;
    if (first >= n_tokens) {
        return;
    }
    if (layer->query_sum == NULL) {
        layer->query_sum = calloc(moment_size(layer), sizeof(float));
    }
    if (layer->query_sum == NULL) {
        return;
    }
    struct job job = {layer, q, first};
    plug_team_run(n_tokens > 16 ? n_threads : 1, add_all, &job);
    const int64_t n_taken = (n_tokens - first + EVERY - 1) / EVERY;
    layer->n_query_sums += n_taken * (layer->options.n_heads / layer->options.n_kv_heads);
}

float * plug_queries_moment(const struct plug_layer * layer) {
    const size_t n = moment_size(layer);
    float * moment = layer->n_query_sums > 0 ? malloc(n * sizeof(float)) : NULL;
    for (size_t i = 0; moment != NULL && i < n; i++) {
        moment[i] = layer->query_sum[i] / (float)layer->n_query_sums;
    }
    return moment;
}
