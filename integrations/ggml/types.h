/* Types of the host's tensors as types of rows. */
#ifndef PLUG_TYPES_H
#define PLUG_TYPES_H

#include <vattn.h>

#include "abi.h"

/* VATTN_TYPE_COUNT: none of ours. */
static inline enum vattn_type plug_row_type(int32_t type) {
    switch (type) {
    case ABI_TYPE_F32:
        return VATTN_TYPE_F32;
    case ABI_TYPE_F16:
        return VATTN_TYPE_F16;
    case ABI_TYPE_BF16:
        return VATTN_TYPE_BF16;
    case ABI_TYPE_Q8_0:
        return VATTN_TYPE_Q8_0;
    default:
        return (enum vattn_type)VATTN_TYPE_COUNT;
    }
}

/* Bytes of an element, or of a block where elements come in blocks: nb[0] of a tensor without gaps.  0: none of ours. */
static inline size_t plug_type_size(int32_t type) {
    const enum vattn_type row_type = plug_row_type(type);
    return vattn_row_bytes(row_type, row_type == VATTN_TYPE_Q8_0 ? 32 : 1);
}

#endif
