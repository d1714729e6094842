/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The eBPF variant's connection table from userspace: how large it is, and connections that must go.
 * bpf/layout.h says how it works.
 *
 * The memory budget is one for both families. What is not yet in segments is promised to both: the limit of a
 * family is what it has and the segments that it would have, got it all. Growth takes from it, so that limits
 * are set anew with each segment.
 *
 *	budget 20 MB, buckets 1.5 MB, one segment each (2.4 and 3.1 MB): 13 MB are left. Limits, in
 *	segments: 1 + 5 of IPv4, 1 + 4 of IPv6. IPv4 takes one more: 10.6 MB are left. Limits: 2 + 4, and 1 + 3.
 */
#ifndef SLUICE_CTL_LIB_BPF_CONNS_H
#define SLUICE_CTL_LIB_BPF_CONNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/lib/bpf_object.h"
#include "ctl/lib/err.h"

/* An eighth of the machine's memory, as the module has it. */
uint64_t sluice_bpf_default_budget(void);
/*
 * Heads of chains for a budget, a power of two: one for each connection that it allows, were all of this family
 * (0: IPv4, 1: IPv6).
 */
uint32_t sluice_bpf_heads(uint64_t budget, int table);

/*
 * Another budget, in bytes; the number of buckets stays. Anybody may call it who has the memory of map
 * "control", also while another process grows the table. EINVAL: 0.
 */
int sluice_bpf_set_budget(struct sluice_bpf_control *control, uint64_t budget,
			  struct sluice_err *err);
/* What connections take of it: segments and buckets. */
uint64_t sluice_bpf_conn_bytes(const struct sluice_bpf_control *control);

/*
 * To be called some times a second. Adds segments until a quarter of the objects of each family is
 * free, and one segment at least, as far as the budget allows; costs two loads when it is. *added: objects.
 */
int sluice_bpf_conns_grow(struct sluice_bpf *bpf, uint32_t *added, struct sluice_err *err);

/* A walk over both tables, a slice at a time. All zero: at its beginning. */
struct sluice_bpf_walk {
	int table;
	uint32_t segment;
};

/*
 * Takes down the connections that have one of these interfaces as a pod's, in the next segments of the walk:
 * one million objects at most, some 10 ms. Returns true at the end of the walk. *killed counts up.
 */
bool sluice_bpf_conns_cut(struct sluice_bpf *bpf, struct sluice_bpf_walk *walk,
			  const uint32_t *ifindexes, size_t n, uint32_t *killed);

/* Unmaps what was mapped. */
void sluice_bpf_conns_close(struct sluice_bpf *bpf);

#endif
