/* SPDX-License-Identifier: GPL-2.0-only */
/* Counters of a network namespace. */
#ifndef SLUICE_KMOD_STATS_H
#define SLUICE_KMOD_STATS_H

#include <linux/percpu.h>

#include "core/conntrack.h"
#include "core/verdict.h"

struct sluice_net;

/*
 * One a CPU, written by that CPU alone, in any context, with one add instruction on 64-bit machines;
 * summed up by whoever asks, so that a sum is never of one instant. All u64, summed as an array. What
 * they count: uapi/sluice.h, SLUICE_STATS_A_*.
 */
struct sluice_stats {
	u64 drops[SLUICE_REASON_COUNT];
	u64 evicted[SLUICE_EVICT_COUNT];
	u64 hits;
	u64 misses;
	u64 created;
	u64 expired;
	u64 rejudged;
	u64 cut;
	u64 remapped;
	u64 fast_pod;
	u64 fast_uplink;
	u64 stack;
	u64 foreign;
	u64 fragments;
	u64 events_lost;
};

/* sluice_count(sn, hits), sluice_count(sn, evicted[class]). sn is active. */
#define sluice_count(sn, field) this_cpu_inc((sn)->stats->field)
#define sluice_count_drop(sn, reason) sluice_count(sn, drops[reason])

/* Adds up all CPUs; all zero while the namespace is not active. */
void sluice_stats_sum(struct sluice_net *sn, struct sluice_stats *sum);

int sluice_stats_init(struct sluice_net *sn);
void sluice_stats_exit(struct sluice_net *sn);

#endif
