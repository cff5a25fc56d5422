#include "roots.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct root {
    const void * data; /* NULL = free entry */
    int32_t type;
    int64_t ne[3];
    const void * owner;
    uint64_t generation;
    bool is_key, attended, partial_view_seen;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct root * roots;
static size_t n_roots;
static uint64_t last_generation;

static bool same_shape(const struct root * root, const struct ggml_tensor * tensor) {
    return root->type == tensor->type && memcmp(root->ne, tensor->ne, sizeof(root->ne)) == 0;
}

static struct root * find(const void * data) {
    for (size_t i = 0; i < n_roots; i++) {
        if (roots[i].data == data) {
            return &roots[i];
        }
    }
    return NULL;
}

static struct root * new_entry(void) {
    struct root * entry = find(NULL);
    if (entry == NULL) {
        struct root * grown = realloc(roots, (n_roots + 1) * sizeof(*roots));
        if (grown == NULL) {
            return NULL;
        }
        roots = grown;
        entry = &roots[n_roots++];
    }
    return entry;
}

/* The entry of this tensor; a recycled address with another shape starts anew.  NULL only without memory. */
static struct root * note(const struct ggml_tensor * tensor) {
    struct root * entry = find(tensor->data);
    if (entry != NULL && same_shape(entry, tensor)) {
        return entry;
    }
    if (entry == NULL) {
        entry = new_entry();
    }
    if (entry != NULL) {
        memset(entry, 0, sizeof(*entry));
        entry->data = tensor->data;
        entry->type = tensor->type;
        memcpy(entry->ne, tensor->ne, sizeof(entry->ne));
        entry->generation = ++last_generation;
    }
    return entry;
}

void plug_roots_attend(const struct ggml_tensor * k_root, const struct ggml_tensor * v_root) {
    pthread_mutex_lock(&lock);
    struct root * entry = note(k_root);
    if (entry != NULL) {
        entry->attended = true;
        entry->is_key = true;
    }
    entry = note(v_root);
    if (entry != NULL) {
        entry->attended = true;
    }
    pthread_mutex_unlock(&lock);
}

bool plug_roots_attended(const struct ggml_tensor * root) {
    pthread_mutex_lock(&lock);
    const struct root * entry = root->data != NULL ? find(root->data) : NULL;
    const bool attended = entry != NULL && entry->attended && same_shape(entry, root);
    pthread_mutex_unlock(&lock);
    return attended;
}

int32_t plug_roots_layers(void) {
    int32_t n_layers = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n_roots; i++) {
        n_layers += roots[i].data != NULL && roots[i].is_key;
    }
    pthread_mutex_unlock(&lock);
    return n_layers > 0 ? n_layers : 1;
}

bool plug_roots_only_full_views(const struct ggml_tensor * k) {
    bool only_full = true;
    pthread_mutex_lock(&lock);
    struct root * entry = note(k->view_src);
    if (entry != NULL) {
        if (k->ne[1] != k->view_src->ne[1]) {
            entry->partial_view_seen = true;
        }
        only_full = !entry->partial_view_seen;
    }
    pthread_mutex_unlock(&lock);
    return only_full;
}

void plug_roots_foreign_write(const struct ggml_tensor * root) {
    if (root->data == NULL) {
        return;
    }
    pthread_mutex_lock(&lock);
    struct root * entry = find(root->data);
    if (entry != NULL) {
        entry->generation = ++last_generation;
    }
    pthread_mutex_unlock(&lock);
}

uint64_t plug_roots_generation(const struct ggml_tensor * root, const void * owner) {
    uint64_t generation = 0;
    pthread_mutex_lock(&lock);
    struct root * entry = note(root);
    if (entry != NULL) {
        entry->owner = owner;
        generation = entry->generation;
    }
    pthread_mutex_unlock(&lock);
    return generation;
}

void plug_roots_drop(const void * owner) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n_roots; i++) {
        if (roots[i].owner == owner || roots[i].owner == NULL) {
            memset(&roots[i], 0, sizeof(roots[i]));
        }
    }
    pthread_mutex_unlock(&lock);
}
