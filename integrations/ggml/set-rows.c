#include "set-rows.h"

#include <string.h>

#include "host.h"
#include "roots.h"
#include "types.h"

/* Row number for source row i; the index tensor is broadcast over dimensions 2 and 3. */
static int64_t row_number(const struct ggml_tensor * rows, int64_t i, int64_t i2, int64_t i3) {
    const char * at = (const char *)rows->data + (size_t)i * rows->nb[0] + (size_t)(i2 % rows->ne[1]) * rows->nb[1] +
                      (size_t)(i3 % rows->ne[2]) * rows->nb[2];
    if (rows->type == ABI_TYPE_I64) {
        int64_t number = 0;
        memcpy(&number, at, sizeof(number));
        return number;
    }
    int32_t number = 0;
    memcpy(&number, at, sizeof(number));
    return number;
}

static void set_row(const struct ggml_tensor * node, int64_t i, int64_t i2, int64_t i3) {
    const struct ggml_tensor * from = node->src[0];
    const int64_t row = row_number(node->src[1], i, i2, i3);
    if (row < 0 || row >= node->ne[1]) {
        return; /* the host's own code aborts here */
    }
    const char * source =
        (const char *)from->data + (size_t)i * from->nb[1] + (size_t)i2 * from->nb[2] + (size_t)i3 * from->nb[3];
    char * target =
        (char *)node->data + (size_t)row * node->nb[1] + (size_t)i2 * node->nb[2] + (size_t)i3 * node->nb[3];
    if (node->type == ABI_TYPE_F16) {
        plug_host.f32_to_f16((const float *)(const void *)source, (uint16_t *)(void *)target, from->ne[0]);
    } else {
        vattn_row_write(plug_row_type(node->type), (const float *)(const void *)source, (int32_t)from->ne[0], target);
    }
}

void plug_set_rows(const struct ggml_tensor * node) {
    const struct ggml_tensor * from = node->src[0];
    for (int64_t i3 = 0; i3 < from->ne[3]; i3++) {
        for (int64_t i2 = 0; i2 < from->ne[2]; i2++) {
            for (int64_t i = 0; i < from->ne[1]; i++) {
                set_row(node, i, i2, i3);
            }
        }
    }
}

void plug_set_rows_note(struct plug_layer * layers, const struct ggml_tensor * node) {
    const void * data = plug_root_of(node)->data;
    for (struct plug_layer * layer = layers; layer != NULL; layer = layer->next) {
        if (layer->k_data != data && layer->v_data != data) {
            continue;
        }
        for (int64_t i = 0; i < node->src[0]->ne[1]; i++) {
            plug_layer_row_written(layer, row_number(node->src[1], i, 0, 0), layer->k_data == data);
        }
    }
}

int64_t plug_set_rows_count(const struct ggml_tensor * node) {
    return node->src[0]->ne[1] * node->src[0]->ne[2] * node->src[0]->ne[3];
}
