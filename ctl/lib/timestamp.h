/* SPDX-License-Identifier: GPL-2.0-only */
/* Points in time as Kubernetes writes them (RFC 3339), and as nanoseconds of CLOCK_REALTIME. */
#ifndef SLUICE_CTL_LIB_TIMESTAMP_H
#define SLUICE_CTL_LIB_TIMESTAMP_H

#include <stdbool.h>
#include <stdint.h>

#define SLUICE_TIMESTAMP_TEXT 32

int64_t sluice_timestamp_now(void);

/* "2006-01-02T15:04:05Z", with any fraction of a second, or an offset. False: it is not one, or before 1970. */
bool sluice_timestamp_parse(const char *text, int64_t *ns);

/* "2006-01-02T15:04:05.000000Z": what the API server takes for a MicroTime. Returns buf. */
const char *sluice_timestamp_format(int64_t ns, char buf[SLUICE_TIMESTAMP_TEXT]);

#endif
