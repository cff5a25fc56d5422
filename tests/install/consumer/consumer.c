/* A program that knows only the installed library: the exact attention of one head over two keys, checked by hand. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <vattn.h>

int main(void) {
    const float k[2][2] = {{1.0f, 0.0f}, {0.0f, 1.0f}};
    const float v[2][2] = {{1.0f, 2.0f}, {3.0f, 5.0f}};
    const float q[2] = {1.0f, 0.0f};
    const double p = 1.0 / (1.0 + exp(-1.0)); /* scale 1, scores 1 and 0 */

    const struct vattn_options options = {.struct_size = sizeof(options), .n_heads = 1, .n_kv_heads = 1, .head_dim = 2,
                                          .scale = 1.0f, .max_keys = 2, .method = VATTN_METHOD_EXACT};
    const struct vattn_kv kv = {.k = k, .v = v, .k_row_stride = sizeof(k[0]), .k_head_stride = sizeof(k),
                                .v_row_stride = sizeof(v[0]), .v_head_stride = sizeof(v), .n_keys = 2};
    float out[2] = {0};
    const struct vattn_input input = {.kv = &kv, .q = q, .out = out};

    struct vattn_plan * plan;
    const char * reason = "";
    if (vattn_plan_create(&options, &plan, &reason) != VATTN_STATUS_OK) {
        fprintf(stderr, "plan: %s\n", reason);
        return 1;
    }
    const size_t bytes = (vattn_call_bytes(plan) + 63) / 64 * 64;
    void * work = aligned_alloc(64, bytes);
    const enum vattn_status status = vattn_attend(plan, &input, work, bytes);
    free(work);
    vattn_plan_free(plan);

    const double expected[2] = {p * 1.0 + (1.0 - p) * 3.0, p * 2.0 + (1.0 - p) * 5.0};
    printf("libvattn %s: %s, %.6f %.6f\n", vattn_version(), vattn_status_name(status), out[0], out[1]);
    return status != VATTN_STATUS_OK || fabs(out[0] - expected[0]) > 1e-5 || fabs(out[1] - expected[1]) > 1e-5;
}
