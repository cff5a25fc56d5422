/* SPDX-License-Identifier: MIT
 *
 * GATHER: draw the rows of one chunk of one KV head for one look, and read them.  One random number u per row decides in
 * two stages, as in the sparse call; V_i is the log2 of the value reach about the centers:
 *
 *     pi1 = clamp( 2^(V_i + max_h max( upper_hi - floor_t_h, proxy_hi - share_t_h )) )     the key is read iff u < pi1
 *     pi  = min( pi1, max( pi1/16, 2^(V_i + max_h( s'_hi - min(floor_t_h, share_t_h) )) ) )   the value iff u < pi
 *
 * pi is a function of q, K and what earlier looks read.  upper_hi and s'_hi, the score as computed plus what its rounding can
 * be, are at least s_hi, so pi >= min(1, 2^(V_i + s_hi - floor_t_h)) for
 * every row: the condition of the bound.  Rows read at earlier looks are sure; u comes from the look's own stream.
 */
#include "strict/strict.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "base/sums.h"

#define FLOOR      (VATTN_PROB_ONE >> 10)
#define KEEP_LEAST 4 /* pi >= pi1 / 2^4 */
#define STRIP      VATTN_STRICT_STRIP

/* log2 pi of the keys of up to STRIP rows, without V_i: max over the open heads. */
static void strip_margin(const struct vattn_call * c, int32_t g, int64_t row, int32_t n, const float * residual,
                         const float * unlikely, float * x) {
    const struct vattn_strict * s = c->strict;
    for (int32_t j = 0; j < n; j++) {
        x[j] = -INFINITY;
    }
    for (int32_t h = g * c->plan->group; h < (g + 1) * c->plan->group; h++) {
        const struct vattn_strict_head * head = &s->heads[h];
        const float * score = s->scores + (size_t)h * (size_t)s->ld + (size_t)row;
        struct vattn_score_bound b = head->bound;
        float up = b.slack - head->floor_t, low = -head->share_t;
        if (head->passed) {
            continue;
        }
        for (int32_t j = 0; j < n; j++) {
            float p = b.residual * residual[j], q = b.unlikely * unlikely[j];
            float above = (p < q ? p : q) + up;
            above = score[j] + (above > low ? above : low);
            x[j] = above > x[j] ? above : x[j];
        }
    }
}

static void margins(struct vattn_call * c, int32_t g, int64_t begin, int64_t end) {
    struct vattn_strict * s = c->strict;
    const struct vattn_strict_tables * t = &s->tables[g];
    const uint64_t * known = s->known + (size_t)g * (size_t)(s->ld / 64);
    float * out = s->margin + (size_t)g * (size_t)s->ld;
    for (int64_t row = begin; row < end; row += STRIP) {
        int32_t n = (int32_t)(end - row < STRIP ? end - row : STRIP);
        const uint8_t * reach = vattn_index_reach(c->in.index, g, row);
        float residual[STRIP], unlikely[STRIP];
        for (int32_t j = 0; j < n; j++) {
            residual[j] = t->reach.residual[reach[3 * j]];
            unlikely[j] = t->reach.unlikely[reach[3 * j + 1]];
        }
        for (int64_t w = row / 64; w * 64 < row + n; w++) {
            for (uint64_t bits = known[w]; bits != 0; bits &= bits - 1) {
                residual[w * 64 + vattn_lowest(bits) - row] = 0.0F;
            }
        }
        strip_margin(c, g, row, n, residual, unlikely, out + row);
        for (int32_t j = 0; j < n; j++) {
            out[row + j] += t->log2_value[reach[3 * j + 2]];
        }
    }
    for (int64_t row = end; row % VATTN_BLOCK != 0; row++) {
        out[row] = -INFINITY;
    }
}

static int32_t draw_keys(struct vattn_call * c, int32_t g, int64_t begin, int64_t end, int32_t * rows, int32_t * prob,
                         int32_t * draw) {
    struct vattn_strict * s = c->strict;
    const struct vattn_options * o = &c->plan->opt;
    static const float zero = 0.0F;
    int32_t blocks = (int32_t)((end - begin + VATTN_BLOCK - 1) / VATTN_BLOCK);
    enum vattn_random_domain stream = (enum vattn_random_domain)(VATTN_RANDOM_STRICT + s->groups[g].looks);
    struct vattn_random_key key = {{(uint32_t)o->seed, (uint32_t)(o->seed >> 32)},
                                   {(uint32_t)c->in.nonce, (uint32_t)(c->in.nonce >> 32)},
                                   vattn_random_stream(stream, c->in.layer, g)};
    margins(c, g, begin, end);
    return c->plan->kern->select(s->margin + (size_t)g * (size_t)s->ld + (size_t)begin, s->ld, &zero, 1, begin, blocks,
                                 s->visible + begin / 16, s->sure + (size_t)g * (size_t)(s->ld / 16) + begin / 16, NULL,
                                 FLOOR, &key, rows, prob, draw);
}

/* log2 of the pi of values before clamping: max over the open heads. */
static void value_margins(const struct vattn_call * c, int32_t g, const float * scores, const int32_t * rows, int32_t n,
                          float * x) {
    const struct vattn_strict * s = c->strict;
    for (int32_t j = 0; j < n; j++) {
        x[j] = -INFINITY;
    }
    for (int32_t i = 0; i < c->plan->group; i++) {
        const struct vattn_strict_head * head = &s->heads[g * c->plan->group + i];
        const float * score = scores + (size_t)i * (size_t)s->ld;
        float t = fminf(head->floor_t, head->share_t) - head->bound.exact;
        for (int32_t j = 0; j < n && !head->passed; j++) {
            x[j] = score[j] - t > x[j] ? score[j] - t : x[j];
        }
    }
    for (int32_t j = 0; j < n; j++) {
        x[j] += s->tables[g].log2_value[vattn_index_reach(c->in.index, g, rows[j])[2]];
    }
}

/* What later looks know: exact scores of keys that were read, and which rows need not be drawn again. */
static void remember(struct vattn_call * c, int32_t g, const float * scores, const int32_t * rows, int32_t n,
                     const int32_t * keep, int32_t n_kept) {
    struct vattn_strict * s = c->strict;
    uint64_t * known = s->known + (size_t)g * (size_t)(s->ld / 64);
    uint16_t * sure = s->sure + (size_t)g * (size_t)(s->ld / 16);
    for (int32_t j = 0; j < n; j++) {
        vattn_bit_set(known, rows[j]);
    }
    for (int32_t j = 0; j < n_kept; j++) {
        int32_t row = rows[keep[j]];
        sure[row / 16] = (uint16_t)(sure[row / 16] | 1U << (row % 16));
    }
    for (int32_t i = 0; i < c->plan->group; i++) {
        float * to = s->scores + (size_t)(g * c->plan->group + i) * (size_t)s->ld;
        for (int32_t j = 0; j < n; j++) {
            if (((unsigned)sure[rows[j] / 16] >> (rows[j] % 16) & 1U) ==
                0) { /* the design still needs the proxies of the others */
                to[rows[j]] = scores[(size_t)i * (size_t)s->ld + (size_t)j];
            }
        }
    }
}

static void compact(int32_t * x, const int32_t * keep, int32_t n, int32_t * spare) {
    for (int32_t k = 0; k < n; k++) {
        spare[k] = x[keep[k]];
    }
    memcpy(x, spare, (size_t)n * sizeof *x);
}

/* Scores -> weights e/pi relative to the chunk's maximum; m and d of the partial. */
static void weigh(const struct vattn_kernels * kern, struct vattn_partial p, int32_t h, float * w, const int32_t * prob,
                  int32_t n) {
    float sum[8] = {0};
    p.m[h] = kern->max(w, n);
    (void)kern->exp2_sum(w, n, p.m[h]);
    for (int32_t j = 0; j < n; j++) {
        w[j] *= (float)VATTN_PROB_ONE / (float)prob[j];
        sum[j & 7] += w[j];
    }
    p.d[h] = vattn_sum8(sum);
}

/* Keys, then the rows that stay, compact, with exact scores in w. */
static void read_keys(struct vattn_call * c, int32_t g, int32_t chunk, int32_t * rows, int32_t * prob, float * w) {
    struct vattn_strict * s = c->strict;
    struct vattn_strict_chunk * out = vattn_strict_chunk(s, g, chunk);
    int32_t *draw = s->draw + vattn_strict_list(s, g, chunk), *keep = s->keep + vattn_strict_list(s, g, chunk);
    int64_t begin = vattn_strict_begin_row(s, chunk);
    struct vattn_rows k = vattn_k_rows(c->in.kv, g);
    k.index = rows;
    k.n = draw_keys(c, g, begin, vattn_strict_end_row(c, chunk), rows, prob, draw);
    *out = (struct vattn_strict_chunk){0};
    if (k.n == 0) {
        return;
    }
    static const float zero = 0.0F;
    float * spare = s->margin + (size_t)g * (size_t)s->ld + (size_t)begin; /* has done its work */
    vattn_plan_score(c->plan, &k, vattn_call_q(c, g), c->plan->group, w, s->ld);
    value_margins(c, g, w, rows, k.n, spare);
    out->n_rows = c->plan->kern->thin(spare, s->ld, &zero, 1, k.n, s->no_bonus, KEEP_LEAST, prob, draw, keep, &out->n_tail);
    remember(c, g, w, rows, k.n, keep, out->n_rows);
    compact(rows, keep, out->n_rows, draw);
    compact(prob, keep, out->n_rows, draw);
    for (int32_t i = 0; i < c->plan->group; i++) {
        float * x = w + (size_t)i * (size_t)s->ld;
        for (int32_t j = 0; j < out->n_rows; j++) {
            spare[j] = x[keep[j]];
        }
        memcpy(x, spare, (size_t)out->n_rows * sizeof *x);
    }
}

void vattn_strict_gather(struct vattn_call * c, int32_t g, int32_t chunk) {
    struct vattn_strict * s = c->strict;
    int32_t group = c->plan->group, head = g * group;
    int32_t *rows = s->rows + vattn_strict_list(s, g, chunk), *prob = s->prob + vattn_strict_list(s, g, chunk);
    float * w = s->weights + (size_t)head * (size_t)s->ld + (size_t)vattn_strict_begin_row(s, chunk);
    struct vattn_partial p = vattn_strict_partial(c, chunk, head);
    vattn_partial_clear(p, group);
    read_keys(c, g, chunk, rows, prob, w);
    struct vattn_rows v = vattn_v_rows(c->in.kv, g);
    v.index = rows;
    v.n = vattn_strict_chunk(s, g, chunk)->n_rows;
    for (int32_t i = 0; i < group && v.n > 0; i++) {
        weigh(c->plan->kern, p, i, w + (size_t)i * (size_t)s->ld, prob, v.n);
    }
    if (v.n > 0) {
        vattn_plan_accumulate(c->plan, &v, w, s->ld, group, p.n);
    }
}
