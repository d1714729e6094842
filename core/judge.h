/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * What policy says of a connection's first packet (and again when policy changed under it).
 *
 * Egress of the source pod is judged on the destination after NAT, ingress of the destination
 * pod on the original client (Kubernetes NetworkPolicy, "behavior of to and from selectors").
 * A pod that is not on this node is judged by its own node.
 *
 * Between a pod and its own node NetworkPolicy has no say, as Kubernetes defines it. ClusterNetworkPolicy knows no
 * such exception, and nodes only as destinations: what a pod sends to its node is judged by the other tiers.
 * Example: NetworkPolicy denies all egress, the Admin tier denies 10.0.0.0/8 port 22. To the node's 10.0.0.1 a pod
 * may open port 80, and not port 22.
 */
#ifndef SLUICE_CORE_JUDGE_H
#define SLUICE_CORE_JUDGE_H

#include "ruleset.h"
#include "tuple.h"

#define SLUICE_JUDGE_SRC_LOCAL 0x01 /* the source is a pod of this node */
#define SLUICE_JUDGE_DST_LOCAL 0x02 /* the destination, after NAT, is a pod of this node */
#define SLUICE_JUDGE_SRC_CLOSED 0x04 /* that pod's rulesets are not in place */
#define SLUICE_JUDGE_DST_CLOSED 0x08
#define SLUICE_JUDGE_SRC_NODE 0x10 /* the source is this node itself */
#define SLUICE_JUDGE_DST_NODE 0x20 /* the destination is this node itself */
#define SLUICE_JUDGE_SELF 0x40 /* both ends are the same pod */

struct sluice_judge_in {
	sluice_ruleset_ref egress; /* of the source pod; none: not isolated */
	sluice_ruleset_ref ingress; /* of the destination pod; none: not isolated */
	__u32 src_class; /* of the original client */
	__u32 dst_class; /* of the destination after NAT */
	__u32 flags; /* SLUICE_JUDGE_* */
	__u16 port; /* of the destination after NAT; see sluice_port_key() */
	__u8 proto;
	__u8 pad;
};

/* The port to judge a connection by that stands, from its two tuples; see sluice_port_key(). */
static __always_inline __u16 sluice_judge_port(const struct sluice_tuple *orig,
					       const struct sluice_tuple *reply)
{
	if (sluice_has_ports(orig->proto))
		return sluice_ntohs(reply->sport);
	if (orig->proto == SLUICE_PROTO_ICMP && orig->sport)
		return 8 << 8;
	if (orig->proto == SLUICE_PROTO_ICMPV6 && orig->sport)
		return 128 << 8;
	return sluice_ntohs(orig->dport);
}

/* One direction's part of the verdict. verdict NONE: this direction was not judged here. */
struct sluice_judge_side {
	__u32 rule; /* id of the deciding rule, or 0 */
	__u32 staged_rule; /* id of the rule that would decide if staged rules were enforced */
	__u8 verdict; /* enum sluice_verdict */
	__u8 reason; /* enum sluice_reason */
	__u8 staged_verdict;
	__u8 cluster; /* SLUICE_JUDGE_BY_CLUSTER, SLUICE_JUDGE_STAGED_BY_CLUSTER */
};

#define SLUICE_JUDGE_BY_CLUSTER 0x01 /* a rule of another tier than NetworkPolicy's decided */
#define SLUICE_JUDGE_STAGED_BY_CLUSTER 0x02

struct sluice_judgement {
	struct sluice_judge_side egress;
	struct sluice_judge_side ingress;
	__u8 verdict;
	__u8 reason;
	__u8 staged_verdict;
	__u8 pad;
};

static __always_inline void sluice_judge_side(sluice_ruleset_ref rs, __u32 class, __u8 proto,
					      __u16 port, struct sluice_judge_side *side)
{
	struct sluice_match e = {}, s = {};

	if (!rs) {
		side->verdict = SLUICE_VERDICT_ALLOW;
		side->staged_verdict = SLUICE_VERDICT_ALLOW;
		side->reason = SLUICE_REASON_NO_POLICY;
		return;
	}
	sluice_ruleset_classify(rs, class, sluice_port_key(proto, port), &e, &s);
	side->rule = e.rule_id;
	side->reason = e.reason;
	side->verdict = e.action == SLUICE_ACTION_ALLOW ? SLUICE_VERDICT_ALLOW :
							  SLUICE_VERDICT_DENY;
	side->staged_rule = s.rule_id;
	side->staged_verdict = s.action == SLUICE_ACTION_ALLOW ? SLUICE_VERDICT_ALLOW :
								 SLUICE_VERDICT_DENY;
	side->cluster = (e.tier != SLUICE_TIER_POLICY ? SLUICE_JUDGE_BY_CLUSTER : 0) |
			(s.tier != SLUICE_TIER_POLICY ? SLUICE_JUDGE_STAGED_BY_CLUSTER : 0);
}

/* To its own node: what NetworkPolicy says does not count. Did any other tier decide? */
static __always_inline bool sluice_judge_own_node(struct sluice_judge_side *side)
{
	__u8 cluster = side->cluster;

	if (!cluster) {
		memset(side, 0, sizeof(*side));
		return false;
	}
	if (!(cluster & SLUICE_JUDGE_BY_CLUSTER)) {
		side->rule = 0;
		side->verdict = SLUICE_VERDICT_ALLOW;
		side->reason = SLUICE_REASON_NODE;
	}
	if (!(cluster & SLUICE_JUDGE_STAGED_BY_CLUSTER)) {
		side->staged_rule = 0;
		side->staged_verdict = SLUICE_VERDICT_ALLOW;
	}
	return true;
}

static __always_inline void sluice_judge_fixed(struct sluice_judgement *j, __u8 verdict,
					       __u8 reason)
{
	j->verdict = verdict;
	j->staged_verdict = verdict;
	j->reason = reason;
}

static __always_inline void sluice_judge(const struct sluice_judge_in *in,
					 struct sluice_judgement *j)
{
	bool node;

	memset(j, 0, sizeof(*j));

	/* Before the rulesets are in place nothing passes, not even the node's own probes. */
	if (in->flags & (SLUICE_JUDGE_SRC_CLOSED | SLUICE_JUDGE_DST_CLOSED)) {
		sluice_judge_fixed(j, SLUICE_VERDICT_DENY, SLUICE_REASON_ENDPOINT_CLOSED);
		return;
	}
	if (in->flags & SLUICE_JUDGE_SELF) {
		sluice_judge_fixed(j, SLUICE_VERDICT_ALLOW, SLUICE_REASON_SELF);
		return;
	}

	node = in->flags & (SLUICE_JUDGE_SRC_NODE | SLUICE_JUDGE_DST_NODE);
	sluice_judge_fixed(j, SLUICE_VERDICT_ALLOW,
			   node ? SLUICE_REASON_NODE : SLUICE_REASON_NO_POLICY);
	if (in->flags & SLUICE_JUDGE_SRC_LOCAL) {
		sluice_judge_side(in->egress, in->dst_class, in->proto, in->port, &j->egress);
		if (node && !sluice_judge_own_node(&j->egress))
			return;
		j->verdict = j->egress.verdict;
		j->reason = j->egress.reason;
		j->staged_verdict = j->egress.staged_verdict;
		if (j->verdict != SLUICE_VERDICT_ALLOW && j->staged_verdict != SLUICE_VERDICT_ALLOW)
			return;
	}
	if (!node && in->flags & SLUICE_JUDGE_DST_LOCAL) {
		sluice_judge_side(in->ingress, in->src_class, in->proto, in->port, &j->ingress);
		if (j->verdict == SLUICE_VERDICT_ALLOW &&
		    (j->ingress.verdict != SLUICE_VERDICT_ALLOW ||
		     j->ingress.reason != SLUICE_REASON_NO_POLICY)) {
			j->verdict = j->ingress.verdict;
			j->reason = j->ingress.reason;
		}
		if (j->staged_verdict == SLUICE_VERDICT_ALLOW)
			j->staged_verdict = j->ingress.staged_verdict;
	}
}

#endif
