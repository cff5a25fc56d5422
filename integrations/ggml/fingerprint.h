/*
 * 16 bits of every row that an index covers, to notice that a row has changed without our seeing the write.
 *
 * Encoding a row again would tell the same (vattn_index_row_current), but costs a matrix product for each KV head; this
 * reads one key row and the start of one value row.
 */
#ifndef PLUG_FINGERPRINT_H
#define PLUG_FINGERPRINT_H

#include "cache.h"

uint16_t plug_fingerprint(const struct vattn_options * options, const struct vattn_kv * kv, int64_t row);

/* Some random covered rows are what they were.  Writes that bypass us change most rows, so that few looks suffice. */
bool plug_fingerprints_hold(const struct vattn_options * options, struct plug_stream * stream,
                            const struct vattn_kv * kv);

#endif
