/* SPDX-License-Identifier: GPL-2.0-only */
/* Policy for one packet: what judge() of kmod/path.c does, from maps. */
#ifndef SLUICE_BPF_JUDGE_H
#define SLUICE_BPF_JUDGE_H

#include <bpf/bpf_helpers.h>

#include "bpf/layout.h"
#include "bpf/maps.h"
#include "bpf/peer.h"
#include "bpf/ruleset.h"
#include "bpf/verdicts.h"

/* In a map's value, or on the stack of who has 112 bytes to spare. */
struct sluice_judge_request {
	struct sluice_addr src; /* of the original client */
	struct sluice_addr dst; /* of the destination after NAT */
	__u32 family;
	__u32 gen; /* control.policy_gen, which the caller loaded before ... */
	__u32 rev; /* ... control.revision */
	__u32 flags; /* SLUICE_JUDGE_*: what the caller knows (NODE, SELF); LOCAL, CLOSED come in here */
	__u32 src_ifindex; /* of our pod, or 0 */
	__u32 dst_ifindex;
	__u16 port; /* of the destination after NAT; see sluice_port_key() */
	__u8 proto;
	__u8 pad;
	struct sluice_judgement out;
};

/* Is a pod open at a revision? slots: of its ingress and egress rulesets, 0: not isolated. */
static __always_inline bool sluice_endpoint_open(__u32 ifindex, __u32 revision, __u32 slots[2])
{
	const struct sluice_bpf_endpoint *e = bpf_map_lookup_elem(&endpoints, &ifindex);
	__u32 want = SLUICE_BPF_ENDPOINT_PRESENT | SLUICE_BPF_ENDPOINT_OPEN;
	int v = e ? sluice_bpf_version(&e->since, revision) : -1;

	if (v < 0 || (e->v[v & 1].flags & want) != want)
		return false;
	slots[0] = e->v[v & 1].ingress;
	slots[1] = e->v[v & 1].egress;
	return true;
}

/* Judges anew, whatever is kept. */
static __always_inline void sluice_judge_anew(struct sluice_judge_request *q)
{
	struct sluice_judge_in in = {};
	struct sluice_addr addr;
	__u32 slots[2];

	if (q->src_ifindex) {
		q->flags |= SLUICE_JUDGE_SRC_LOCAL;
		if (!sluice_endpoint_open(q->src_ifindex, q->rev, slots) ||
		    !sluice_ruleset_exists(slots[1]))
			q->flags |= SLUICE_JUDGE_SRC_CLOSED;
		else
			in.egress = slots[1];
	}
	if (q->dst_ifindex) {
		q->flags |= SLUICE_JUDGE_DST_LOCAL;
		if (!sluice_endpoint_open(q->dst_ifindex, q->rev, slots) ||
		    !sluice_ruleset_exists(slots[0]))
			q->flags |= SLUICE_JUDGE_DST_CLOSED;
		else
			in.ingress = slots[0];
	}
	/* A class is looked for only where a ruleset asks for it. */
	if (in.egress) {
		addr = q->dst;
		in.dst_class = sluice_peer_class(q->rev, &addr, q->family);
	}
	if (in.ingress) {
		addr = q->src;
		in.src_class = sluice_peer_class(q->rev, &addr, q->family);
	}
	in.flags = q->flags;
	in.port = q->port;
	in.proto = q->proto;
	sluice_judge(&in, &q->out);
}

/*
 * Fills q->out and adds to q->flags. Returns 0, or -1 without a request. What is missing closes: an endpoint
 * that is absent at the revision, a ruleset that is not there. Bottom halves are off (see verdicts.h).
 */
__attribute__((noinline)) int sluice_judge_packet(struct sluice_judge_request *q)
{
	struct sluice_kept_verdict *v;

	if (!q)
		return -1;
	{
		struct sluice_verdict_key k;

		k.revision = q->rev;
		k.port = q->port;
		k.proto = q->proto;
		k.flags = q->flags;
		k.src_ifindex = q->src_ifindex | (q->family == SLUICE_IPV6) << 31;
		k.dst_ifindex = q->dst_ifindex;
		k.src = q->src;
		k.dst = q->dst;
		v = sluice_verdict_slot(&k);
		if (v && sluice_verdict_is(v, &k)) {
			q->flags = v->flags;
			q->out = v->judgement;
			return 0;
		}
		if (v)
			v->key = k; /* nobody looks before the rest is there */
	}
	sluice_judge_anew(q);
	if (v) {
		v->flags = q->flags;
		v->judgement = q->out;
	}
	return 0;
}

#endif
