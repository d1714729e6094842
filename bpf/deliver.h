/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a packet goes on: straight to the far end of a pod's interface, out by an uplink to its neighbour, or to the
 * stack, for a reason of its own (the last hop, too large, the node itself, a route that is not an uplink's).
 *
 * A route is asked for once a second for each pair of addresses, and kept in between: asking takes some 500
 * instructions, finding the answer again 100.
 */
#ifndef SLUICE_BPF_DELIVER_H
#define SLUICE_BPF_DELIVER_H

#include "bpf/conn.h"
#include "bpf/context.h"
#include "bpf/decide.h"

#define SLUICE_ROUTE_TICKS 954 /* a second */

struct sluice_route_key {
	struct sluice_addr src;
	struct sluice_addr dst;
	__u32 family;
};

/* By programs alone, and theirs alone: a new version of them begins with none. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct sluice_route_key);
	__type(value, struct sluice_route);
} routes SEC(".maps");

/*
 * Would the stack answer "fragmentation needed", or fragment? headers: bytes in front of the payload, which
 * each segment of a packet that is cut later repeats.
 */
static __always_inline bool sluice_too_big(const struct __sk_buff *skb, __u32 wire, __u32 headers,
					   __u32 mtu)
{
	if (SLUICE_LIKELY(wire <= mtu))
		return false;
	return !skb->gso_size || skb->gso_size + headers > mtu;
}

/* Bytes that each segment of this packet repeats. */
static __always_inline __u32 sluice_header_bytes(const struct sluice_ctx *x)
{
	if (x->pkt.tuple.proto == SLUICE_PROTO_TCP)
		return x->wire - x->pkt.l4.len;
	return x->pkt.l4_off + 8u;
}

/* What a pod's interface says to a packet. */
enum sluice_fit {
	SLUICE_FITS,
	SLUICE_FITS_NOT, /* too large */
	SLUICE_FITS_NOWHERE, /* the interface is gone */
};

/*
 * The far end's own MTU cannot be seen from here; whoever makes a pod's interface gives both ends the same.
 */
static __always_inline enum sluice_fit sluice_pod_fits(struct __sk_buff *skb, __u32 ifindex)
{
	__u32 mtu = 0;
	long ret = bpf_check_mtu(skb, ifindex, &mtu, 0, BPF_MTU_CHK_SEGS);

	if (SLUICE_LIKELY(ret == BPF_MTU_CHK_RET_SUCCESS))
		return SLUICE_FITS;
	return ret > 0 ? SLUICE_FITS_NOT : SLUICE_FITS_NOWHERE;
}

/*
 * Finds the route of x->to and keeps it in x->route; ifindex 0: it is not one by an uplink. Returns 1 when
 * there is one.
 */
SLUICE_GLOBAL int sluice_find_route(struct __sk_buff *skb, struct sluice_ctx *x)
{
	struct sluice_route_key k;
	struct sluice_route *kept;
	struct bpf_fib_lookup fib;
	__u32 ifindex, mtu;
	long ret;

	if (!x)
		return 0;
	k.src = x->to.src;
	k.dst = x->to.dst;
	k.family = x->family;
	kept = bpf_map_lookup_elem(&routes, &k);
	if (kept && (__s32)(kept->expires - x->now) > 0) {
		x->route = *kept;
		return 1;
	}
	memset(&x->route, 0, sizeof(x->route));
	sluice_fib_towards(&fib, &x->to);
	fib.ifindex = x->ifindex;
	fib.tot_len = 1; /* so that the answer has the route's MTU, not the interface's */
	ret = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (ret != BPF_FIB_LKUP_RET_SUCCESS && ret != BPF_FIB_LKUP_RET_NO_NEIGH)
		return 0;
	ifindex = fib.ifindex;
	if (!bpf_map_lookup_elem(&uplinks, &ifindex))
		return 0;
	mtu = fib.mtu_result;
	x->route.ifindex = ifindex;
	x->route.next.nh_family = fib.family;
	if (fib.family == SLUICE_AF_INET)
		x->route.next.ipv4_nh = fib.ipv4_dst;
	else
		memcpy(x->route.next.ipv6_nh, fib.ipv6_dst, 16);
	/* A neighbour that is not known yet is answered before the MTU is: keep what is whole only. */
	if (ret == BPF_FIB_LKUP_RET_SUCCESS) {
		struct sluice_route r;

		x->route.mtu = mtu;
		x->route.expires = x->now + SLUICE_ROUTE_TICKS;
		r = x->route; /* 6.1 takes a value from the stack, not from the context */
		bpf_map_update_elem(&routes, &k, &r, BPF_ANY);
	}
	return 1;
}

static __always_inline __u32 sluice_side_of(__u32 kind, __u32 ifindex)
{
	return kind << SLUICE_BPF_SIDE_SHIFT | ifindex;
}

/*
 * Sets x->exit and x->route: how a packet gets to a side of connection x->ref. resolve: a side that is
 * unknown is found by x->to, and kept. Whatever cannot go straight is the stack's.
 */
SLUICE_GLOBAL int sluice_find_exit(struct __sk_buff *skb, struct sluice_ctx *x, __u32 side,
				   __u32 resolve)
{
	struct sluice_bpf_conn *c;
	__u32 value;

	if (!x)
		return 0;
	x->exit = sluice_side_of(SLUICE_BPF_SIDE_STACK, 0);
	c = sluice_conn_of(x->family, x->ref);
	if (!c || x->egress)
		return 0;
	value = SLUICE_ONCE(c->side[side & 1]);
	if (value >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_UNKNOWN) {
		if (!resolve)
			return 0;
		value = sluice_side_of(sluice_find_route(skb, x) ? SLUICE_BPF_SIDE_ROUTE :
								   SLUICE_BPF_SIDE_STACK,
				       0);
		__sync_val_compare_and_swap(&c->side[side & 1], 0, value);
	} else if (value >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_ROUTE) {
		if (!sluice_find_route(skb, x))
			return 0;
	}
	if (x->pkt.ttl <= 1)
		return 0;
	switch (value >> SLUICE_BPF_SIDE_SHIFT) {
	case SLUICE_BPF_SIDE_POD:
		if (sluice_pod_fits(skb, value & SLUICE_BPF_SIDE_IFINDEX) != SLUICE_FITS)
			return 0;
		break;
	case SLUICE_BPF_SIDE_ROUTE:
		if (!x->route.mtu) {
			if (sluice_pod_fits(skb, x->route.ifindex) != SLUICE_FITS)
				return 0;
		} else if (sluice_too_big(skb, x->wire, sluice_header_bytes(x), x->route.mtu)) {
			return 0;
		}
		break;
	default:
		return 0;
	}
	x->exit = value;
	return 0;
}

/* Hands on what is translated and has its hop taken. */
static __always_inline int sluice_send(struct __sk_buff *skb, struct sluice_ctx *x)
{
	struct bpf_redir_neigh next;

	switch (x->exit >> SLUICE_BPF_SIDE_SHIFT) {
	case SLUICE_BPF_SIDE_POD:
		SLUICE_COUNT(fast_pod);
		return (int)bpf_redirect_peer(x->exit & SLUICE_BPF_SIDE_IFINDEX, 0);
	case SLUICE_BPF_SIDE_ROUTE:
		SLUICE_COUNT(fast_uplink);
		next = x->route.next;
		return (int)bpf_redirect_neigh(x->route.ifindex, &next, sizeof(next), 0);
	}
	SLUICE_COUNT(stack);
	/* On its way out to a pod there is nobody left who would look at the mark. */
	if (!x->egress)
		skb->mark |= SLUICE_BPF_MARK;
	return TC_ACT_OK;
}

#endif
