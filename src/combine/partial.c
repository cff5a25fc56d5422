/* SPDX-License-Identifier: MIT */
#include "combine/partial.h"

#include <math.h>
#include <string.h>

static float * row(struct vattn_partial p, int32_t h) {
    return p.n + (size_t)h * (size_t)p.v_dim;
}

void vattn_partial_clear(struct vattn_partial p, int32_t heads) {
    for (int32_t h = 0; h < heads; h++) {
        p.m[h] = -INFINITY;
        p.d[h] = 0.0F;
        memset(row(p, h), 0, (size_t)p.v_dim * sizeof(float));
    }
}

void vattn_partial_rescale(struct vattn_partial p, int32_t h, float m) {
    if (p.m[h] == m) {
        return;
    }
    float f = p.m[h] == -INFINITY ? 0.0F : exp2f(p.m[h] - m);
    float * n = row(p, h);
    p.m[h] = m;
    p.d[h] *= f;
    for (int32_t i = 0; i < p.v_dim; i++) {
        n[i] *= f;
    }
}

void vattn_partial_add(struct vattn_partial into, struct vattn_partial from, int32_t h) {
    if (from.m[h] == -INFINITY) {
        return;
    }
    if (!(from.m[h] <= into.m[h])) { /* also taken for NaN, which must not get lost */
        vattn_partial_rescale(into, h, from.m[h]);
    }
    float f = exp2f(from.m[h] - into.m[h]);
    const float * a = row(from, h);
    float * n = row(into, h);
    into.d[h] += f * from.d[h];
    for (int32_t i = 0; i < into.v_dim; i++) {
        n[i] += f * a[i];
    }
}

void vattn_partial_output(struct vattn_partial p, int32_t h, float * out) {
    const float * n = row(p, h);
    float inv = p.m[h] == -INFINITY ? 0.0F : 1.0F / p.d[h];
    for (int32_t i = 0; i < p.v_dim; i++) {
        out[i] = n[i] * inv;
    }
}
