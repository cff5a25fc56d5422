/* SPDX-License-Identifier: MIT
 *
 * `scan` of a tier, strip by strip and at most SCAN_GROUP heads at a time.  Included once by the tier's file or a header of it, which
 * has named the attributes of its functions (SCAN_TARGET) and SCAN_GROUP, 2 or 4, and has its own struct weights and
 *
 *     set_weights(w, query, n_heads, layout)                        what a pass of n_heads heads needs of their queries
 *     scan_heads(codes, n_blocks, layout, w, n_heads, out, ld)      their scores; n_heads is known to the compiler
 *
 * AVX-512 has a loop of its own: it takes weights from the queries as they are and sets none.
 */

SCAN_TARGET VATTN_ALWAYS_INLINE void scan(const uint8_t * codes, int32_t n_blocks, struct vattn_code_layout layout,
                                          const struct vattn_query_code * query, int32_t n_heads, float * out,
                                          ptrdiff_t ld) {
    enum { STRIP = 64 }; /* blocks whose codes are still in L1 or L2 when the next heads come */
    const size_t block_bytes = VATTN_BLOCK * vattn_layout_token_bytes(layout);
    struct weights w;
    for (int32_t b = 0; b < n_blocks; b += STRIP) {
        const int32_t n = n_blocks - b < STRIP ? n_blocks - b : STRIP;
        const uint8_t * strip = codes + (size_t)b * block_bytes;
        for (int32_t g = 0; g < n_heads; g += SCAN_GROUP) {
            const int32_t n_group = n_heads - g < SCAN_GROUP ? n_heads - g : SCAN_GROUP;
            float * strip_out = out + g * ld + (ptrdiff_t)b * VATTN_BLOCK;
            if (b == 0 || n_heads > SCAN_GROUP) {
                set_weights(&w, query + g, n_group, layout);
            }
            switch (n_group) {
#if SCAN_GROUP == 4
            case 4:
                scan_heads(strip, n, layout, &w, 4, strip_out, ld);
                break;
            case 3:
                scan_heads(strip, n, layout, &w, 3, strip_out, ld);
                break;
#endif
            case 2:
                scan_heads(strip, n, layout, &w, 2, strip_out, ld);
                break;
            default:
                scan_heads(strip, n, layout, &w, 1, strip_out, ld);
            }
        }
    }
}
