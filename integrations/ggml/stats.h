/* What all contexts of the process did together, and its report (VATTN_STATS). */
#ifndef PLUG_STATS_H
#define PLUG_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "vattn.h"

/* The certificates of one call: one query token of one layer. */
void plug_stats_call(const struct vattn_options * options, const struct vattn_certificate * cert);

void plug_stats_tokens(int64_t n_tokens);
void plug_stats_attention_ns(int64_t ns);
void plug_stats_calibration_ns(int64_t ns);
void plug_stats_without_index(void); /* a sparse call that was exact because there is no index (yet) */
void plug_stats_stale(void);         /* rows had changed behind our back */
void plug_stats_prompt_tokens(int64_t n_tokens);
void plug_stats_handed_over(void); /* a node of decoding that turned out not to be for us: an odd mask, a NaN */
void plug_stats_validated(int64_t n_rows, int64_t n_stale);
void plug_stats_index_bytes(int64_t change);

/* A node that is left to the host; asked about again and again, it counts once, and no more once it is taken. */
void plug_stats_declined(const char * reason, uint64_t node);
void plug_stats_taken(const char * reason, uint64_t node);

int64_t plug_now_ns(void);

/* The JSON object; returns its length, writes at most cap bytes with a final zero (like snprintf). */
size_t plug_stats_json(char * buf, size_t cap);
void plug_stats_reset(void);

/* At exit, to where VATTN_STATS says. */
void plug_stats_report(void);

#endif
