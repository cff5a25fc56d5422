/* SPDX-License-Identifier: MIT */
#include "kernels/generic/generic.h"

const struct vattn_kernels vattn_kernels_generic = VATTN_TABLE("generic", generic, vattn_scan_generic);
