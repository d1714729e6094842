/* SPDX-License-Identifier: GPL-2.0-only */
/* Stands in for the real one: allows. */
#ifndef SLUICE_BPF_JUDGE_H
#define SLUICE_BPF_JUDGE_H

#include "bpf/maps.h"

struct sluice_judge_request {
	struct sluice_addr src, dst;
	__u32 family;
	__u32 gen;
	__u32 rev;
	__u32 flags;
	__u32 src_ifindex;
	__u32 dst_ifindex;
	__u16 port;
	__u8 proto;
	__u8 pad;
	struct sluice_judgement out;
};

__attribute__((noinline)) int sluice_judge_packet(struct sluice_judge_request *q)
{
	struct sluice_bpf_endpoint *ep;
	__u32 ifindex;

	if (!q)
		return 0;
	memset(&q->out, 0, sizeof(q->out));
	sluice_judge_fixed(&q->out, SLUICE_VERDICT_ALLOW, SLUICE_REASON_NO_POLICY);
	if (q->flags & SLUICE_JUDGE_SELF)
		sluice_judge_fixed(&q->out, SLUICE_VERDICT_ALLOW, SLUICE_REASON_SELF);
	else if (q->flags & (SLUICE_JUDGE_SRC_NODE | SLUICE_JUDGE_DST_NODE))
		sluice_judge_fixed(&q->out, SLUICE_VERDICT_ALLOW, SLUICE_REASON_NODE);
	ifindex = q->dst_ifindex;
	if (ifindex) {
		ep = bpf_map_lookup_elem(&endpoints, &ifindex);
		/* For tests: a ruleset with slot 1 denies. */
		if (ep && ep->v[0].ingress == 1)
			sluice_judge_fixed(&q->out, SLUICE_VERDICT_DENY,
					   SLUICE_REASON_DEFAULT_DENY);
	}
	return 0;
}

#endif
