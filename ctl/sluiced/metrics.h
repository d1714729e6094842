/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What sluiced counts, and how it is told in Prometheus' text format 0.0.4. The list of all metrics is METRICS in
 * metrics.c; docs/metrics.md is made of it.
 *
 * A scrape costs one read of the data plane's counters, and nothing that grows with connections or services.
 */
#ifndef SLUICED_METRICS_H
#define SLUICED_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/lib/compiler.h"
#include "ctl/lib/model.h"

struct controller;

#define METRICS_BUCKETS_MAX 96

/* How often a value was at most so large. */
struct histogram {
	const double *bounds;
	size_t n;
	uint64_t counts[METRICS_BUCKETS_MAX + 1]; /* each for itself; the last: above all bounds */
	double sum;
};

/* Changes of one kind of objects: seen ever, and since the last transaction. */
struct changes {
	uint64_t total;
	uint64_t pending;
};

struct metrics {
	struct sluice_model *model;
	int64_t started; /* sluice_timestamp_now(), and all times here */
	int64_t queued; /* 0: never */
	int64_t synced;
	struct histogram full; /* transactions that send everything; seconds */
	struct histogram partial;
	struct histogram compile;
	struct histogram commit;
	struct histogram programming; /* from the change of an endpoint to the kernel */
	struct changes endpoints;
	struct changes services;
	int64_t *triggered; /* of the slices that the next transaction brings */
	size_t n_triggered;
	size_t cap_triggered;
	uint64_t transactions;
	uint64_t failures;
	uint64_t healthz[2]; /* probes answered with 200, with 503 */
	uint64_t livez;
};

void metrics_init(struct metrics *m, struct sluice_model *model);
void metrics_exit(struct metrics *m);

/* A transaction is wanted. */
void metrics_queued(struct metrics *m);
/* One came to its end, after so many nanoseconds. stats: of the compiler; NULL: it failed. */
void metrics_synced(struct metrics *m, bool full, int64_t ns,
		    const struct sluice_compiler_stats *stats);

/* All of it, as text; to be freed. */
char *metrics_text(struct controller *c, size_t *len);

#endif
