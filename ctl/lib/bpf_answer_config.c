// SPDX-License-Identifier: GPL-2.0-only
/* What can be set: the memory that connections may take. */
#include <sys/mman.h>

#include "ctl/lib/bpf_answer_internal.h"

/*
 * Writes the budget and what follows from it: so many objects of either family that both tables, full, and
 * their buckets take no more.
 */
static int sluice_bpf_set_budget(struct sluice_bpf_answerer *a, uint64_t bytes,
				 struct sluice_err *err)
{
	struct sluice_bpf_control *control =
		sluice_bpf_answer_mmap(a->fd[SLUICE_MAP_CONTROL], sizeof(*control), true, err);
	uint64_t buckets, n;

	if (!control)
		return -EIO;
	buckets = ((uint64_t)control->table[0].bucket_mask + control->table[1].bucket_mask + 2) *
		  sizeof(uint32_t);
	n = bytes > buckets ? (bytes - buckets) / (sizeof(struct sluice_bpf_conn4) +
						   sizeof(struct sluice_bpf_conn6)) :
			      0;
	if (n > SLUICE_BPF_SEGMENTS * SLUICE_BPF_SEGMENT)
		n = SLUICE_BPF_SEGMENTS * SLUICE_BPF_SEGMENT;
	for (int i = 0; i < 2; i++)
		__atomic_store_n(&control->table[i].limit, (uint32_t)n, __ATOMIC_RELAXED);
	control->budget = bytes;
	munmap(control, sizeof(*control));
	return 0;
}

int sluice_bpf_answer_config(struct sluice_bpf_request *r)
{
	struct nlattr *attr = r->attrs[SLUICE_A_CONFIG];

	if (!attr)
		return sluice_bpf_answer_refuse(r, NULL, EINVAL, "SLUICE_A_CONFIG is missing");
	attr = nla_find(nla_data(attr), nla_len(attr), SLUICE_CONFIG_A_CONN_BUDGET);
	if (!attr)
		return 0;
	if (nla_len(attr) != sizeof(uint64_t))
		return sluice_bpf_answer_refuse(r, attr, ERANGE,
						"Attribute failed policy validation");
	if (!nla_get_u64(attr))
		return sluice_bpf_answer_refuse(r, attr, EINVAL, "a budget of nothing");
	return sluice_bpf_set_budget(r->a, nla_get_u64(attr), r->err);
}
