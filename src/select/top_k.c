/* SPDX-License-Identifier: MIT */
#include "select/top_k.h"

/* Hoare's quickselect for falling order, median of three. */
float vattn_top_k_cut(float * x, int64_t n, int64_t k) {
    int64_t low = 0, high = n - 1, want = k - 1;
    while (low < high) {
        float a = x[low], b = x[low + (high - low) / 2], c = x[high];
        float pivot = a > b ? (b > c ? b : a > c ? c : a) : (a > c ? a : b > c ? c : b);
        int64_t i = low - 1, j = high + 1;
        for (;;) {
            do {
                i++;
            } while (x[i] > pivot);
            do {
                j--;
            } while (x[j] < pivot);
            if (i >= j) {
                break;
            }
            float t = x[i];
            x[i] = x[j];
            x[j] = t;
        }
        if (want <= j) {
            high = j;
        } else {
            low = j + 1;
        }
    }
    return x[want];
}
