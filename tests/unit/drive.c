/* SPDX-License-Identifier: MIT */
#include "unit/drive.h"

#include <pthread.h>
#include <stdatomic.h>

void drive_alone(struct vattn_call * call) {
    for (int32_t n; (n = vattn_call_next(call)) > 0;) {
        for (int32_t t = 0; t < n; t++) {
            vattn_call_task(call, t);
        }
    }
}

struct phase {
    struct vattn_call * call;
    atomic_int left;
};

static void * worker(void * arg) {
    struct phase * p = arg;
    for (int t; (t = atomic_fetch_sub(&p->left, 1) - 1) >= 0;) {
        vattn_call_task(p->call, t);
    }
    return NULL;
}

enum vattn_status drive(struct layer * l, const struct vattn_input * in, int threads) {
    struct phase p;
    enum vattn_status status = vattn_call_begin(l->plan, in, l->work, l->work_bytes, &p.call);
    if (status != VATTN_STATUS_OK) {
        return status;
    }
    for (int32_t n; (n = vattn_call_next(p.call)) > 0;) {
        pthread_t id[16];
        atomic_store(&p.left, n);
        for (int i = 1; i < threads; i++) {
            pthread_create(&id[i], NULL, worker, &p);
        }
        worker(&p);
        for (int i = 1; i < threads; i++) {
            pthread_join(id[i], NULL);
        }
    }
    return vattn_call_end(p.call);
}

static void * free_worker(void * call) {
    vattn_call_work(call);
    return NULL;
}

enum vattn_status drive_freely(struct layer * l, const struct vattn_input * in, int threads) {
    struct vattn_call * call;
    pthread_t id[16];
    enum vattn_status status = vattn_call_begin(l->plan, in, l->work, l->work_bytes, &call);
    if (status != VATTN_STATUS_OK) {
        return status;
    }
    for (int i = 1; i < threads; i++) {
        pthread_create(&id[i], NULL, free_worker, call);
    }
    vattn_call_work(call);
    for (int i = 1; i < threads; i++) {
        pthread_join(id[i], NULL);
    }
    return vattn_call_end(call);
}
