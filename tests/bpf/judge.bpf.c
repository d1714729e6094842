// SPDX-License-Identifier: GPL-2.0-only
/* What judge.c asks: policy's answer to a request that userspace put into a map. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/judge.h"

/* One a CPU, as the packet's path has it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_judge_request);
} requests SEC(".maps");

static __always_inline struct sluice_judge_request *get_request(void)
{
	__u32 zero = 0;
	struct sluice_judge_request *q = bpf_map_lookup_elem(&requests, &zero);

	if (q) /* what the last run added */
		q->flags &= ~(SLUICE_JUDGE_SRC_LOCAL | SLUICE_JUDGE_DST_LOCAL |
			      SLUICE_JUDGE_SRC_CLOSED | SLUICE_JUDGE_DST_CLOSED);
	return q;
}

SEC("tc") int judge_packet(struct __sk_buff *skb)
{
	struct sluice_judge_request *q = get_request();

	(void)skb;
	return q ? sluice_judge_packet(q) : -1;
}

/* As if no verdict had been kept: for measuring. */
SEC("tc") int judge_anew(struct __sk_buff *skb)
{
	struct sluice_judge_request *q = get_request();

	(void)skb;
	if (!q)
		return -1;
	sluice_judge_anew(q);
	return 0;
}

SEC("tc") int nothing(struct __sk_buff *skb)
{
	(void)skb;
	return get_request() ? 0 : -1;
}

char _license[] SEC("license") = "GPL";
