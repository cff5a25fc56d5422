#include "stats.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "options.h"

enum { REASONS_MAX = 24, DECLINED_MAX = 2048 };

static struct stats {
    int64_t tokens, calls, kv_heads;
    double rows_fraction, rounds; /* sums over KV heads */
    double bytes, bytes_of_all_rows;
    int64_t heads[3]; /* by vattn_answer */
    int64_t attention_ns, calibration_ns;
    int64_t calibrations, calls_without_index, stale_resets, prompt_tokens, handed_over, validated_rows, stale_rows;
} stats;

/* These survive a reset: they describe what exists, not what was done since. */
static int64_t index_bytes, index_bytes_peak;
static struct {
    const char * reason;
    int64_t count;
} declined[REASONS_MAX];
static size_t n_reasons;
static uint64_t declined_nodes[DECLINED_MAX];
static size_t n_declined_nodes;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int64_t plug_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ------------------------------------------------------------------------------------------------------- counting */

static void count_kv_head(const struct vattn_options * options, const struct vattn_certificate * cert) {
    const double n_keys = (double)(cert->n_keys > 0 ? cert->n_keys : 1);
    const size_t kv_row = vattn_row_bytes(options->k_type, options->head_dim) + vattn_row_bytes(options->v_type, options->v_dim);
    stats.kv_heads++;
    stats.rows_fraction += (double)cert->rows_kv / n_keys;
    stats.rounds += cert->rounds;
    stats.bytes += (double)cert->bytes;
    stats.bytes_of_all_rows += (double)cert->n_keys * (double)kv_row;
}

void plug_stats_call(const struct vattn_options * options, const struct vattn_certificate * cert) {
    const int32_t group = options->n_heads / options->n_kv_heads;
    pthread_mutex_lock(&lock);
    stats.calls++;
    for (int32_t h = 0; h < options->n_heads; h++) {
        stats.heads[cert[h].answer]++;
        if (h % group == 0) {
            count_kv_head(options, &cert[h]);
        }
    }
    pthread_mutex_unlock(&lock);
}

static void add(int64_t * counter, int64_t change) {
    pthread_mutex_lock(&lock);
    *counter += change;
    pthread_mutex_unlock(&lock);
}

void plug_stats_tokens(int64_t n_tokens) {
    add(&stats.tokens, n_tokens);
}

void plug_stats_attention_ns(int64_t ns) {
    add(&stats.attention_ns, ns);
}

void plug_stats_calibration_ns(int64_t ns) {
    add(&stats.calibration_ns, ns);
    add(&stats.calibrations, 1);
}

void plug_stats_without_index(void) {
    add(&stats.calls_without_index, 1);
}

void plug_stats_stale(void) {
    add(&stats.stale_resets, 1);
}

void plug_stats_prompt_tokens(int64_t n_tokens) {
    add(&stats.prompt_tokens, n_tokens);
}

void plug_stats_handed_over(void) {
    add(&stats.handed_over, 1);
}

void plug_stats_validated(int64_t n_rows, int64_t n_stale) {
    add(&stats.validated_rows, n_rows);
    add(&stats.stale_rows, n_stale);
}

void plug_stats_index_bytes(int64_t change) {
    pthread_mutex_lock(&lock);
    index_bytes += change;
    if (index_bytes > index_bytes_peak) {
        index_bytes_peak = index_bytes;
    }
    pthread_mutex_unlock(&lock);
}

static size_t find_node(uint64_t node) {
    size_t i = 0;
    while (i < n_declined_nodes && declined_nodes[i] != node) {
        i++;
    }
    return i;
}

static int64_t * count_of(const char * reason) {
    for (size_t i = 0; i < n_reasons; i++) {
        if (strcmp(declined[i].reason, reason) == 0) {
            return &declined[i].count;
        }
    }
    if (n_reasons == REASONS_MAX) {
        return NULL;
    }
    declined[n_reasons].reason = reason;
    return &declined[n_reasons++].count;
}

void plug_stats_declined(const char * reason, uint64_t node) {
    pthread_mutex_lock(&lock);
    int64_t * count = count_of(reason);
    if (count != NULL && n_declined_nodes < DECLINED_MAX && find_node(node) == n_declined_nodes) {
        declined_nodes[n_declined_nodes++] = node;
        ++*count;
    }
    pthread_mutex_unlock(&lock);
}

void plug_stats_taken(const char * reason, uint64_t node) {
    pthread_mutex_lock(&lock);
    const size_t i = find_node(node);
    if (i < n_declined_nodes) {
        declined_nodes[i] = declined_nodes[--n_declined_nodes];
        --*count_of(reason);
    }
    pthread_mutex_unlock(&lock);
}

/* ------------------------------------------------------------------------------------------------------ reporting */

struct text {
    char * buf;
    size_t cap, length;
};

__attribute__((format(printf, 2, 3))) static void put(struct text * text, const char * format, ...) {
    const size_t room = text->length < text->cap ? text->cap - text->length : 0;
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(room > 0 ? text->buf + text->length : NULL, room, format, args);
    va_end(args);
    text->length += n > 0 ? (size_t)n : 0;
}

static double ratio(double sum, double count) {
    return count > 0 ? sum / count : 0.0;
}

static double ms_per_token(int64_t ns) {
    return ratio((double)ns * 1e-6, (double)stats.tokens);
}

static void put_declined(struct text * text) {
    const char * separator = "";
    put(text, "\"declined\": {");
    for (size_t i = 0; i < n_reasons; i++) {
        if (declined[i].count > 0) {
            put(text, "%s\"%s\": %lld", separator, declined[i].reason, (long long)declined[i].count);
            separator = ", ";
        }
    }
    put(text, "}");
}

static void put_json(struct text * text) {
    const enum vattn_method method = (enum vattn_method)atomic_load(&plug_method);
    put(text, "{\"method\": \"%s\", \"eps\": %.10g, \"delta\": %.10g, \"scope\": \"%s\", ", vattn_method_name(method),
        plug_options.eps, plug_options.delta, vattn_scope_name(plug_options.scope));
    put(text, "\"tokens\": %lld, \"calls\": %lld, ", (long long)stats.tokens, (long long)stats.calls);
    put(text, "\"rows_kv_fraction\": %.6g, \"bytes_fraction\": %.6g, ",
        ratio(stats.rows_fraction, (double)stats.kv_heads), ratio(stats.bytes, stats.bytes_of_all_rows));
    put(text, "\"heads\": {\"exact\": %lld, \"certified\": %lld, \"uncertified\": %lld}, ",
        (long long)stats.heads[VATTN_ANSWER_EXACT], (long long)stats.heads[VATTN_ANSWER_CERTIFIED],
        (long long)stats.heads[VATTN_ANSWER_UNCERTIFIED]);
    put(text, "\"rounds_mean\": %.4g, \"attention_ms_per_token\": %.5g, ", ratio(stats.rounds, (double)stats.kv_heads),
        ms_per_token(stats.attention_ns - stats.calibration_ns));
    put(text, "\"index_bytes\": %lld, \"calibrations\": %lld, \"calibration_ms\": %.5g, ", (long long)index_bytes_peak,
        (long long)stats.calibrations, (double)stats.calibration_ns * 1e-6);
    put(text, "\"calls_without_index\": %lld, \"stale_resets\": %lld, \"prompt_tokens\": %lld, \"handed_over\": %lld, ",
        (long long)stats.calls_without_index, (long long)stats.stale_resets, (long long)stats.prompt_tokens,
        (long long)stats.handed_over);
    if (plug_options.validate) {
        put(text, "\"validated_rows\": %lld, \"stale_rows\": %lld, ", (long long)stats.validated_rows,
            (long long)stats.stale_rows);
    }
    put_declined(text);
    put(text, "}");
}

size_t plug_stats_json(char * buf, size_t cap) {
    struct text text = {buf, cap, 0};
    pthread_mutex_lock(&lock);
    put_json(&text);
    pthread_mutex_unlock(&lock);
    return text.length;
}

void plug_stats_reset(void) {
    pthread_mutex_lock(&lock);
    memset(&stats, 0, sizeof(stats));
    pthread_mutex_unlock(&lock);
}

static void report_paragraph(FILE * file) {
    const int64_t n_heads = stats.heads[0] + stats.heads[1] + stats.heads[2];
    const double share = n_heads > 0 ? 100.0 / (double)n_heads : 0.0;
    fprintf(file,
            "vattn: method %s, eps %g, delta %g, scope %s: %lld tokens decoded in %lld calls, %.2f ms of attention"
            " a token.\n",
            vattn_method_name((enum vattn_method)atomic_load(&plug_method)), plug_options.eps, plug_options.delta,
            vattn_scope_name(plug_options.scope), (long long)stats.tokens, (long long)stats.calls,
            ms_per_token(stats.attention_ns - stats.calibration_ns));
    fprintf(file,
            "vattn: read %.2f %% of the rows and %.2f %% of the bytes; heads: %.1f %% certified, %.1f %% exact,"
            " %lld uncertified.\n",
            100 * ratio(stats.rows_fraction, (double)stats.kv_heads), 100 * ratio(stats.bytes, stats.bytes_of_all_rows),
            share * (double)stats.heads[VATTN_ANSWER_CERTIFIED], share * (double)stats.heads[VATTN_ANSWER_EXACT],
            (long long)stats.heads[VATTN_ANSWER_UNCERTIFIED]);
    fprintf(file,
            "vattn: index %.1f MB, %lld calibrations in %.0f ms, %lld calls without an index; %lld prompt tokens "
            "left to the CPU backend.\n",
            (double)index_bytes_peak * 1e-6, (long long)stats.calibrations, (double)stats.calibration_ns * 1e-6,
            (long long)stats.calls_without_index, (long long)stats.prompt_tokens);
    for (size_t i = 0; i < n_reasons; i++) {
        if (declined[i].count > 0) {
            fprintf(file, "vattn: left to the host: %lld attention nodes (%s).\n", (long long)declined[i].count,
                    declined[i].reason);
        }
    }
}

static void report_json(const char * path) {
    static char json[8192];
    FILE * file = fopen(path, "w");
    if (file == NULL) {
        fprintf(stderr, "vattn: VATTN_STATS=%s: cannot write\n", path);
        return;
    }
    plug_stats_json(json, sizeof(json));
    fprintf(file, "%s\n", json);
    fclose(file);
}

void plug_stats_report(void) {
    if (plug_options.stats == NULL) {
        return;
    }
    if (strcmp(plug_options.stats, "-") == 0) {
        report_paragraph(stderr);
    } else {
        report_json(plug_options.stats);
    }
}
