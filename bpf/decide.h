/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is decided about a connection: services and policy for its first packet, and again when policy or its
 * service's backends have changed since. kmod/path.c's sluice_decide(), rejudge() and backend_stale(), from maps.
 */
#ifndef SLUICE_BPF_DECIDE_H
#define SLUICE_BPF_DECIDE_H

#include "bpf/conn.h"
#include "bpf/context.h"
#include "core/service.h"

/* Linux's numbers of the families, for bpf_fib_lookup(). */
#define SLUICE_AF_INET 2
#define SLUICE_AF_INET6 10

/* The version of a number of this address in "vips" or "addrs" that counts; SLUICE_BPF_ABSENT without one. */
#define SLUICE_NUMBER_OF(map, address, fam, revision)                                            \
	({                                                                                       \
		struct sluice_bpf_addr_key number_key = { .addr = *(address), .family = (fam) }; \
		struct sluice_bpf_number *n = bpf_map_lookup_elem(&(map), &number_key);          \
		__u32 number = SLUICE_BPF_ABSENT;                                                \
		__u32 version;                                                                   \
		if (n && sluice_version(&n->since, (revision), &version))                        \
			number = n->v[version];                                                  \
		number;                                                                          \
	})

/* The ifindex of our pod that has this address, 0: none. */
static __always_inline __u32 sluice_pod_of(const struct sluice_addr *a, __u8 family, __u32 revision)
{
	__u32 ifindex = SLUICE_NUMBER_OF(addrs, a, family, revision);

	return ifindex == SLUICE_BPF_ABSENT ? 0 : ifindex;
}

static __always_inline bool sluice_pod_is_open(__u32 ifindex, __u32 revision)
{
	__u32 slots[2];

	return sluice_endpoint_open(ifindex, revision, slots);
}

static __always_inline void sluice_fib_towards(struct bpf_fib_lookup *fib,
					       const struct sluice_tuple *t)
{
	memset(fib, 0, sizeof(*fib));
	if (t->family == SLUICE_IPV4) {
		fib->family = SLUICE_AF_INET;
		fib->ipv4_src = t->src.w[0];
		fib->ipv4_dst = t->dst.w[0];
	} else {
		fib->family = SLUICE_AF_INET6;
		memcpy(fib->ipv6_src, &t->src, 16);
		memcpy(fib->ipv6_dst, &t->dst, 16);
	}
	fib->l4_protocol = t->proto;
}

/* What routing says of a packet to x->to's destination, with some of its bits flipped. BPF_FIB_LKUP_RET_*. */
static __always_inline long sluice_ask_route(struct __sk_buff *skb, const struct sluice_ctx *x,
					     __u32 flip)
{
	struct bpf_fib_lookup fib;

	sluice_fib_towards(&fib, &x->to);
	fib.ifindex = x->ifindex;
	if (x->family == SLUICE_IPV4)
		fib.ipv4_dst ^= sluice_htonl(flip);
	else
		fib.ipv6_dst[3] ^= sluice_htonl(flip);
	return bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
}

static __always_inline bool sluice_is_forwarded(long answer)
{
	return answer == BPF_FIB_LKUP_RET_SUCCESS || answer == BPF_FIB_LKUP_RET_NO_NEIGH ||
	       answer == BPF_FIB_LKUP_RET_FRAG_NEEDED;
}

/*
 * Is the destination of x->to an address of the node itself? Routing says that packets to one are not forwarded; it says
 * the same where it has no route at all. But then it has none to the address beside it either, whereas beside
 * an address of the node are those of its network, or what the default route is for. What is taken for the
 * node in error is handed to the stack, which has no route for it.
 *
 * Worked example: 192.0.2.1 is the node's: not forwarded; 192.0.2.3 is: the node. 198.18.0.1, without a default
 * route: not forwarded, nor are 198.18.0.3 and 198.18.0.0: elsewhere.
 */
SLUICE_GLOBAL int sluice_to_node(struct __sk_buff *skb, struct sluice_ctx *x)
{
	if (!x || sluice_ask_route(skb, x, 0) != BPF_FIB_LKUP_RET_NOT_FWDED)
		return 0;
	return sluice_is_forwarded(sluice_ask_route(skb, x, 2)) ||
	       sluice_is_forwarded(sluice_ask_route(skb, x, 1));
}

static __always_inline int sluice_decided(struct sluice_ctx *x, __u8 verdict, __u8 reason)
{
	sluice_judge_fixed(&x->judge.out, verdict, reason);
	return SLUICE_STEP_OPEN;
}

/*
 * Services for a first packet, and what policy is to be asked. In: pkt, from, ifindex. Out: key (the reply's source
 * port not yet settled), bits, dst_ifindex, dst_node, gen, epoch, and, with JUDGE, the question; with OPEN, what
 * is decided without it; or TC_ACT_OK: nothing of ours is concerned.
 *
 * Policy is asked by the caller of the callers, as is everything that calls deeply: a chain of calls has 512 bytes
 * of stack, each of them counted in multiples of 32.
 */
SLUICE_GLOBAL int sluice_first(struct __sk_buff *skb, struct sluice_ctx *x)
{
	struct sluice_bpf_control *ctl = sluice_control();
	__u32 flags = 0, rev;
	bool service = false;
	__u16 port;

	if (!x)
		return TC_ACT_SHOT;
	x->ref = 0;
	x->dir = SLUICE_DIR_ORIGINAL;
	memset(&x->judge.out, 0, sizeof(x->judge.out));
	sluice_judge_fixed(&x->judge.out, SLUICE_VERDICT_DENY, SLUICE_REASON_NO_MEMORY);
	if (!ctl)
		return SLUICE_STEP_OPEN;
	/* Generations first: if a commit comes between, it is looked at again. */
	x->gen = SLUICE_ONCE(ctl->policy_gen);
	x->epoch = SLUICE_ONCE(ctl->backend_epoch);
	rev = SLUICE_ONCE(ctl->revision);
	x->bits = 0;
	x->dst_ifindex = 0;
	x->dst_node = 0;
	x->key[0] = x->pkt.tuple;
	sluice_tuple_invert(&x->key[1], &x->pkt.tuple);
	port = x->pkt.port;

	if (x->from == SLUICE_FROM_POD) {
		if (!sluice_pod_is_open(x->ifindex, rev))
			return sluice_decided(x, SLUICE_VERDICT_DENY,
					      SLUICE_REASON_ENDPOINT_CLOSED);
		if (sluice_pod_of(&x->pkt.tuple.src, x->family, rev) != x->ifindex)
			return sluice_decided(x, SLUICE_VERDICT_DENY, SLUICE_REASON_SPOOFED_SOURCE);
		if (sluice_addr_martian_source(&x->pkt.tuple.dst, x->family))
			return sluice_decided(x, SLUICE_VERDICT_DENY, SLUICE_REASON_MARTIAN);
	}

	if (sluice_has_ports(x->pkt.tuple.proto)) {
		struct sluice_service_key k = {
			.addr = x->pkt.tuple.dst,
			.port = x->pkt.tuple.dport,
			.proto = x->pkt.tuple.proto,
			.family = x->family,
		};
		struct sluice_bpf_service *s = bpf_map_lookup_elem(&services, &k);
		__u32 version;

		if (s && sluice_version(&s->since, rev, &version) &&
		    s->v[version].n != SLUICE_BPF_ABSENT) {
			struct sluice_bpf_backend_key bk;
			struct sluice_bpf_backend *b;
			__u32 n = s->v[version].n;

			if (!n)
				return sluice_decided(x, SLUICE_VERDICT_REJECT,
						      SLUICE_REASON_NO_ENDPOINTS);
			bk.set = s->v[version].set;
			bk.index = sluice_service_pick(bpf_get_prandom_u32(), n);
			b = bpf_map_lookup_elem(&backends, &bk);
			if (!b) /* a version that was replaced under us: nothing is right about it */
				return sluice_decided(x, SLUICE_VERDICT_REJECT,
						      SLUICE_REASON_NO_ENDPOINTS);
			service = true;
			x->bits = SLUICE_BPF_SERVICE | SLUICE_BPF_NAT;
			x->key[1].src = b->addr;
			x->key[1].sport = b->port;
			port = sluice_ntohs(b->port);
		}
	}
	if (!service && x->from != SLUICE_FROM_OUTSIDE &&
	    SLUICE_NUMBER_OF(vips, &x->pkt.tuple.dst, x->family, rev) != SLUICE_BPF_ABSENT)
		return sluice_decided(x, SLUICE_VERDICT_REJECT, SLUICE_REASON_SERVICE_PORT);

	x->dst_ifindex = sluice_pod_of(&x->key[1].src, x->family, rev);
	if (!x->dst_ifindex && !service && x->from != SLUICE_FROM_POD) {
		SLUICE_COUNT(foreign);
		return TC_ACT_OK;
	}
	if (x->from == SLUICE_FROM_OUTSIDE) {
		if (sluice_addr_martian_source(&x->pkt.tuple.src, x->family))
			return sluice_decided(x, SLUICE_VERDICT_DENY, SLUICE_REASON_MARTIAN);
		if (sluice_pod_of(&x->pkt.tuple.src, x->family, rev))
			return sluice_decided(x, SLUICE_VERDICT_DENY, SLUICE_REASON_SPOOFED_SOURCE);
	}

	if (x->from == SLUICE_FROM_NODE)
		flags |= SLUICE_JUDGE_SRC_NODE;
	if (!x->dst_ifindex) {
		sluice_tuple_invert(&x->to, &x->key[1]);
		if (sluice_to_node(skb, x)) {
			flags |= SLUICE_JUDGE_DST_NODE;
			x->dst_node = 1;
		}
	}
	if (x->from == SLUICE_FROM_NODE || x->dst_node)
		x->bits |= SLUICE_BPF_NODE;
	if (x->from == SLUICE_FROM_POD && x->ifindex == x->dst_ifindex) {
		flags |= SLUICE_JUDGE_SELF;
		x->bits |= SLUICE_BPF_SELF;
	}
	x->judge.src = x->pkt.tuple.src;
	x->judge.dst = x->key[1].src;
	x->judge.family = x->family;
	x->judge.gen = x->gen;
	x->judge.rev = rev;
	x->judge.flags = flags;
	x->judge.src_ifindex = x->from == SLUICE_FROM_POD ? x->ifindex : 0;
	x->judge.dst_ifindex = x->dst_ifindex;
	x->judge.port = port;
	x->judge.proto = x->pkt.tuple.proto;
	return SLUICE_STEP_JUDGE;
}

/*
 * Policy changed since the connection x->ref was judged: what is it to be asked now? REJUDGE; or FIRST: one of our
 * pods has come to an end that was elsewhere, or nowhere, when the connection was made. Nothing that it knows of that
 * end holds.
 */
SLUICE_GLOBAL int sluice_question(struct sluice_ctx *x)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_bpf_conn *c;
	__u32 side[2], flags = 0, i;
	struct sluice_tuple *orig;

	if (!x || !ctl)
		return TC_ACT_SHOT;
	c = sluice_conn_of(x->family, x->ref);
	if (!c)
		return TC_ACT_SHOT;
	x->gen = SLUICE_ONCE(ctl->policy_gen);
	x->judge.gen = x->gen;
	x->judge.rev = SLUICE_ONCE(ctl->revision);
	orig = &x->key[0];
#pragma clang loop unroll(full)
	for (i = 0; i < 2; i++) {
		__u32 pod = sluice_pod_of(&x->key[i].src, x->family, x->judge.rev);

		side[i] = SLUICE_ONCE(c->side[i]);
		if (side[i] >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_POD)
			side[i] &= SLUICE_BPF_SIDE_IFINDEX;
		else if (side[i] >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_STACK &&
			 SLUICE_ONCE(c->bits) & SLUICE_BPF_VIA_STACK)
			side[i] = pod;
		else if (pod)
			return SLUICE_STEP_FIRST;
		else
			side[i] = 0;
	}
	if (SLUICE_ONCE(c->bits) & SLUICE_BPF_NODE)
		flags |= SLUICE_JUDGE_SRC_NODE;
	if (SLUICE_ONCE(c->bits) & SLUICE_BPF_SELF)
		flags |= SLUICE_JUDGE_SELF;
	x->judge.port = sluice_judge_port(orig, &x->key[1]);
	x->judge.src = orig->src;
	x->judge.dst = x->key[1].src;
	x->judge.family = x->family;
	x->judge.flags = flags;
	x->judge.src_ifindex = side[0];
	x->judge.dst_ifindex = side[1];
	x->judge.proto = orig->proto;
	return SLUICE_STEP_REJUDGE;
}

/*
 * Did the backend of the connection x->ref leave its service? Known by the epoch of now, or looked up once more
 * and then known.
 */
static __always_inline bool sluice_backend_stale(struct sluice_ctx *x,
						 struct sluice_bpf_control *ctl,
						 struct sluice_bpf_conn *c)
{
	__u32 epoch = SLUICE_ONCE(ctl->backend_epoch);
	struct sluice_bpf_backend_ref r = {};

	if (SLUICE_LIKELY(c->backend_epoch == epoch))
		return false;
	r.service.addr = x->key[0].dst;
	r.service.port = x->key[0].dport;
	r.service.proto = x->key[0].proto;
	r.service.family = x->family;
	r.addr = x->key[1].src;
	r.port = x->key[1].sport;
	if (!bpf_map_lookup_elem(&backend_refs, &r))
		return true;
	c->backend_epoch = epoch;
	return false;
}

/*
 * A connection whose backend left its service. An established TCP or SCTP connection goes on to its end, as
 * with kube-proxy: the pod may be terminating gracefully. Anything else starts over, and so does a client that
 * opens another connection from the same port: the old one may have an hour to live, and nobody at its
 * other end.
 */
static __always_inline bool sluice_starts_over(struct sluice_ctx *x, struct sluice_bpf_control *ctl,
					       struct sluice_bpf_conn *c)
{
	__u8 proto = x->pkt.tuple.proto, flags = x->pkt.l4.flags, state = SLUICE_ONCE(c->state);

	if (!sluice_backend_stale(x, ctl, c))
		return false;
	if (proto == SLUICE_PROTO_TCP)
		return state == SLUICE_STATE_TCP_SYN_SENT || sluice_tcp_opens(flags);
	if (proto == SLUICE_PROTO_SCTP)
		return state == SLUICE_STATE_SCTP_INIT || flags == SLUICE_SCTP_INIT;
	return true;
}

#endif
