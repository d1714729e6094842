/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The common packet's way: plain (core/plain.h), of a known connection about which there is nothing to decide,
 * towards a side that is resolved. It takes the same steps as sluice_path(), in one piece, by direct access to the
 * packet; kmod/fast.c has the theory. Everything that could make a packet remarkable is looked at before anything is
 * changed; the first such thing ends the attempt, and the packet goes, untouched, the general way.
 */
#ifndef SLUICE_BPF_FAST_H
#define SLUICE_BPF_FAST_H

#include "bpf/conn.h"
#include "bpf/context.h"
#include "bpf/deliver.h"
#include "bpf/translate.h"
#include "core/plain.h"

/* Bytes of network and transport header that are looked at. */
#define SLUICE_PLAIN4_UDP 28
#define SLUICE_PLAIN4_TCP 40
#define SLUICE_PLAIN6_UDP 48
#define SLUICE_PLAIN6_TCP 60

/*
 * What "from" is for the first packet of a connection that the general way has just made: nothing is left to be
 * decided, and it is not counted as a hit.
 */
#define SLUICE_FROM_FIRST 0x100

/* What an attempt knows of its packet, beside the headers. */
struct sluice_fast {
	struct sluice_plain pl;
	__u32 wire;
	__u32 now;
	__u32 dir;
};

/* Is there nothing to decide about a packet of this connection? */
static __always_inline bool sluice_is_settled(const struct sluice_bpf_control *ctl,
					      const struct sluice_bpf_conn *c,
					      const struct sluice_fast *f, __u32 from,
					      __u32 ifindex)
{
	__u32 side = c->side[f->dir], bits = SLUICE_ONCE(c->bits);
	__u8 state = SLUICE_ONCE(c->state);

	if (bits & (SLUICE_BPF_DENIED | SLUICE_BPF_DYING))
		return false;
	if (from == SLUICE_FROM_FIRST)
		return true;
	if (from == SLUICE_FROM_POD ? side != sluice_side_of(SLUICE_BPF_SIDE_POD, ifindex) :
				      side >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_POD)
		return false;
	if (c->policy_gen != SLUICE_ONCE(ctl->policy_gen) || sluice_conn_over(ctl, c, f->now))
		return false;
	if (f->pl.proto == SLUICE_PROTO_TCP)
		return sluice_conn_only_records(c, f->dir, f->pl.l4.flags);
	if (f->dir == SLUICE_DIR_REPLY)
		return state == SLUICE_STATE_REPLIED;
	return !(bits & SLUICE_BPF_SERVICE) || c->backend_epoch == SLUICE_ONCE(ctl->backend_epoch);
}

static __always_inline void sluice_take_in(struct sluice_bpf_conn *c, const struct sluice_fast *f,
					   __u32 from)
{
	if (c->last_seen != f->now)
		c->last_seen = f->now;
	c->packets[f->dir]++;
	c->bytes[f->dir] += f->wire;
	if (f->pl.proto == SLUICE_PROTO_TCP && from != SLUICE_FROM_FIRST)
		sluice_tcp_record(&c->tcp[f->dir], &f->pl.l4);
}

/*
 * A plain packet of no known connection: the general way need not read it again. Returns UNKNOWN, or GENERAL.
 */
static __always_inline int sluice_fast_unknown(struct sluice_ctx *x, const struct sluice_plain *pl,
					       __u16 l4_off)
{
	x->pkt.tuple.pad = 0;
	x->pkt.tuple.sport = pl->sport;
	x->pkt.tuple.dport = pl->dport;
	x->pkt.tuple.proto = pl->proto;
	x->pkt.port = sluice_ntohs(pl->dport);
	x->pkt.flags = SLUICE_PACKET_PORTS;
	x->pkt.ttl = pl->ttl;
	x->pkt.l4_off = l4_off;
	x->pkt.l4 = pl->l4;
	x->pkt.l4.wscale = 0;
	if (pl->proto != SLUICE_PROTO_TCP)
		x->pkt.l4.flags = 0;
	return SLUICE_STEP_UNKNOWN;
}

SLUICE_GLOBAL int sluice_fast_unknown4(const struct sluice_plain *pl,
				       const struct sluice_bpf_key4 *k)
{
	struct sluice_ctx *x = sluice_context();

	if (!pl || !k || !x)
		return SLUICE_STEP_GENERAL;
	sluice_tuple_of4(&x->pkt.tuple, k);
	return sluice_fast_unknown(x, pl, 20);
}

SLUICE_GLOBAL int sluice_fast_unknown6(const struct sluice_plain *pl,
				       const struct sluice_bpf_key6 *k)
{
	struct sluice_ctx *x = sluice_context();

	if (!pl || !k || !x)
		return SLUICE_STEP_GENERAL;
	sluice_tuple_of6(&x->pkt.tuple, k);
	return sluice_fast_unknown(x, pl, 40);
}

/* Is there a route that was asked for lately, and does the packet fit through it? It is in the context then. */
static __always_inline int sluice_fast_route(struct __sk_buff *skb,
					     const struct sluice_route_key *k, __u32 wire,
					     __u32 headers)
{
	struct sluice_route *kept = bpf_map_lookup_elem(&routes, k);
	struct sluice_ctx *x = sluice_context();

	if (!x || !kept || (__s32)(kept->expires - sluice_bpf_ticks()) <= 0 ||
	    sluice_too_big(skb, wire, headers, kept->mtu))
		return 0;
	x->route = *kept;
	return 1;
}

/* Apart, so that what goes to a pod does not pay for the stack. addrs: of the destination and the source. */
SLUICE_GLOBAL int sluice_fast_route4(struct __sk_buff *skb, __u64 addrs, __u32 wire, __u32 headers)
{
	struct sluice_route_key k SLUICE_ALIGNED = { .family = SLUICE_IPV4 };

	k.src.w[0] = (__be32)addrs;
	k.dst.w[0] = (__be32)(addrs >> 32);
	return sluice_fast_route(skb, &k, wire, headers);
}

/* reply: the tuple of the other direction */
SLUICE_GLOBAL int sluice_fast_route6(struct __sk_buff *skb, const struct sluice_bpf_key6 *reply,
				     __u32 wire, __u32 headers)
{
	struct sluice_route_key k SLUICE_ALIGNED = { .family = SLUICE_IPV6 };

	if (!reply)
		return 0;
	sluice_copy(&k.src, reply->dst, 16);
	sluice_copy(&k.dst, reply->src, 16);
	return sluice_fast_route(skb, &k, wire, headers);
}

/* By the route in the context, which nobody else has written since it was found. */
SLUICE_GLOBAL int sluice_fast_uplink(__u32 from)
{
	struct sluice_ctx *x = sluice_context();
	struct bpf_redir_neigh next;

	if (!x)
		return TC_ACT_SHOT;
	if (from != SLUICE_FROM_FIRST)
		SLUICE_COUNT(hits);
	SLUICE_COUNT(fast_uplink);
	next = x->route.next;
	return (int)bpf_redirect_neigh(x->route.ifindex, &next, sizeof(next), 0);
}

static __always_inline int sluice_fast_pod(__u32 exit, __u32 from)
{
	struct sluice_bpf_stats *s = sluice_stats();

	if (s) {
		if (from != SLUICE_FROM_FIRST)
			s->hits++;
		s->fast_pod++;
	}
	return (int)bpf_redirect_peer(exit & SLUICE_BPF_SIDE_IFINDEX, 0);
}

/* udp: the check as it is, if it is UDP's. */
static __always_inline void sluice_fast_check(struct __sk_buff *skb, __u32 off, __u32 addr,
					      __u32 port, __u8 proto, __u16 udp)
{
	if (proto == SLUICE_PROTO_UDP)
		sluice_update_udp_check(skb, off, addr, port, udp);
	else
		sluice_update_check(skb, off, addr, port, 0);
}

/* from: POD, OUTSIDE, or FIRST. GENERAL, UNKNOWN: nothing has happened to it. */
SLUICE_GLOBAL int sluice_fast4(struct __sk_buff *skb, __u32 from)
{
	struct sluice_bpf_control *ctl = sluice_control();
	void *end = (void *)(long)skb->data_end;
	struct sluice_bpf_key4 k SLUICE_ALIGNED;
	const struct sluice_bpf_key4 *to;
	struct sluice_bpf_conn *c;
	struct sluice_fast f;
	__u32 *head, exit, sum, off;
	__u16 check;
	bool plain;
	__u8 *p;

	p = (void *)(long)skb->data + SLUICE_FRAME;
	f.wire = skb->len - SLUICE_FRAME;
	if (!ctl || (void *)p + SLUICE_PLAIN4_UDP > end)
		return SLUICE_STEP_GENERAL;
	if (p[9] == SLUICE_PROTO_UDP) {
		plain = sluice_plain4(p, SLUICE_PLAIN4_UDP, f.wire, &f.pl);
		off = SLUICE_FRAME + 20 + SLUICE_OFF_UDP_CHECK;
	} else {
		if ((void *)p + SLUICE_PLAIN4_TCP > end)
			return SLUICE_STEP_GENERAL;
		plain = sluice_plain4(p, SLUICE_PLAIN4_TCP, f.wire, &f.pl);
		off = SLUICE_FRAME + 20 + SLUICE_OFF_TCP_CHECK;
	}
	if (!plain || f.pl.ttl <= 1)
		return SLUICE_STEP_GENERAL;

	sluice_copy(&k.src, p + 12, 4);
	sluice_copy(&k.dst, p + 16, 4);
	sluice_copy(&k.sport, p + 20, 4);
	k.proto = f.pl.proto;
	k.pad[0] = 0;
	k.pad[1] = 0;
	k.pad[2] = 0;
	head = sluice_head_of4(ctl, &k);
	if (!head)
		return SLUICE_STEP_GENERAL;
	f.dir = sluice_chain(SLUICE_IPV4, &k, SLUICE_ONCE(*head), &c).ref;
	if (!f.dir)
		return sluice_fast_unknown4(&f.pl, &k);
	f.dir = sluice_bpf_ref_dir(f.dir);
	f.now = sluice_bpf_ticks();
	if (from != SLUICE_FROM_FIRST && !sluice_is_settled(ctl, c, &f, from, skb->ifindex))
		return SLUICE_STEP_GENERAL;

	/* How it leaves: the inverse of the other direction's tuple. */
	to = &((struct sluice_bpf_conn4 *)c)->key[!f.dir];
	exit = SLUICE_ONCE(c->side[!f.dir]);
	if (SLUICE_LIKELY(exit >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_POD)) {
		if (sluice_pod_fits(skb, exit & SLUICE_BPF_SIDE_IFINDEX) != SLUICE_FITS)
			return SLUICE_STEP_GENERAL;
	} else if (exit >> SLUICE_BPF_SIDE_SHIFT != SLUICE_BPF_SIDE_ROUTE ||
		   !sluice_fast_route4(skb,
				       (__u64)(__force __u32)to->src << 32 | (__force __u32)to->dst,
				       f.wire,
				       f.pl.proto == SLUICE_PROTO_TCP ? f.wire - f.pl.l4.len :
									SLUICE_PLAIN4_UDP)) {
		return SLUICE_STEP_GENERAL;
	}

	sluice_take_in(c, &f, from);
	sum = SLUICE_HOP_DELTA4;
	p[8] = f.pl.ttl - 1;
	if (SLUICE_ONCE(c->bits) & SLUICE_BPF_NAT) {
		__be32 src = to->dst, dst = to->src;
		__be16 sport = to->dport, dport = to->sport;
		__u32 addr = sluice_csum_carry(sluice_nat_addr_sum(&k.src, &src, 1) +
					       sluice_nat_addr_sum(&k.dst, &dst, 1));

		sum = sluice_csum_add(addr, sum);
		sluice_copy(p + 12, &src, 4);
		sluice_copy(p + 16, &dst, 4);
		sluice_copy(p + 20, &sport, 2);
		sluice_copy(p + 22, &dport, 2);
		sluice_copy(&check, p + 10, 2);
		check = sluice_csum_apply(check, sum);
		sluice_copy(p + 10, &check, 2);
		sluice_copy(&check, p + 20 + SLUICE_OFF_UDP_CHECK, 2);
		sluice_fast_check(skb, off, addr,
				  (k.sport ^ sport) | (k.dport ^ dport) ?
					  sluice_nat_port_delta(k.sport, k.dport, sport, dport) :
					  0,
				  f.pl.proto, check);
	} else {
		sluice_copy(&check, p + 10, 2);
		check = sluice_csum_apply(check, sum);
		sluice_copy(p + 10, &check, 2);
	}
	if (SLUICE_LIKELY(exit >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_POD))
		return sluice_fast_pod(exit, from);
	return sluice_fast_uplink(from);
}

SLUICE_GLOBAL int sluice_fast6(struct __sk_buff *skb, __u32 from)
{
	struct sluice_bpf_control *ctl = sluice_control();
	void *end = (void *)(long)skb->data_end;
	struct sluice_bpf_key6 k SLUICE_ALIGNED;
	const struct sluice_bpf_key6 *to;
	struct sluice_bpf_conn *c;
	struct sluice_fast f;
	__u32 *head, exit, off, sum;
	__u16 check;
	bool plain;
	__u8 *p;

	p = (void *)(long)skb->data + SLUICE_FRAME;
	f.wire = skb->len - SLUICE_FRAME;
	if (!ctl || (void *)p + SLUICE_PLAIN6_UDP > end)
		return SLUICE_STEP_GENERAL;
	if (p[6] == SLUICE_PROTO_UDP) {
		plain = sluice_plain6(p, SLUICE_PLAIN6_UDP, f.wire, &f.pl);
		off = SLUICE_FRAME + 40 + SLUICE_OFF_UDP_CHECK;
	} else {
		if ((void *)p + SLUICE_PLAIN6_TCP > end)
			return SLUICE_STEP_GENERAL;
		plain = sluice_plain6(p, SLUICE_PLAIN6_TCP, f.wire, &f.pl);
		off = SLUICE_FRAME + 40 + SLUICE_OFF_TCP_CHECK;
	}
	if (!plain || f.pl.ttl <= 1)
		return SLUICE_STEP_GENERAL;

	sluice_copy(k.src, p + 8, 16);
	sluice_copy(k.dst, p + 24, 16);
	sluice_copy(&k.sport, p + 40, 4);
	k.proto = f.pl.proto;
	k.pad[0] = 0;
	k.pad[1] = 0;
	k.pad[2] = 0;
	head = sluice_head_of6(ctl, &k);
	if (!head)
		return SLUICE_STEP_GENERAL;
	f.dir = sluice_chain(SLUICE_IPV6, &k, SLUICE_ONCE(*head), &c).ref;
	if (!f.dir)
		return sluice_fast_unknown6(&f.pl, &k);
	f.dir = sluice_bpf_ref_dir(f.dir);
	f.now = sluice_bpf_ticks();
	if (from != SLUICE_FROM_FIRST && !sluice_is_settled(ctl, c, &f, from, skb->ifindex))
		return SLUICE_STEP_GENERAL;

	to = &((struct sluice_bpf_conn6 *)c)->key[!f.dir];
	exit = SLUICE_ONCE(c->side[!f.dir]);
	if (SLUICE_LIKELY(exit >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_POD)) {
		if (sluice_pod_fits(skb, exit & SLUICE_BPF_SIDE_IFINDEX) != SLUICE_FITS)
			return SLUICE_STEP_GENERAL;
	} else if (exit >> SLUICE_BPF_SIDE_SHIFT != SLUICE_BPF_SIDE_ROUTE ||
		   !sluice_fast_route6(skb, to, f.wire,
				       f.pl.proto == SLUICE_PROTO_TCP ? f.wire - f.pl.l4.len :
									SLUICE_PLAIN6_UDP)) {
		return SLUICE_STEP_GENERAL;
	}

	sluice_take_in(c, &f, from);
	sum = SLUICE_HOP_DELTA6;
	p[7] = f.pl.ttl - 1;
	if (SLUICE_ONCE(c->bits) & SLUICE_BPF_NAT) {
		__be16 sport = to->dport, dport = to->sport;
		__u32 addr = sluice_csum_carry(sluice_nat_addr_sum(k.src, to->dst, 4) +
					       sluice_nat_addr_sum(k.dst, to->src, 4));

		sluice_copy(p + 8, to->dst, 16);
		sluice_copy(p + 24, to->src, 16);
		sluice_copy(p + 40, &sport, 2);
		sluice_copy(p + 42, &dport, 2);
		sluice_copy(&check, p + 40 + SLUICE_OFF_UDP_CHECK, 2);
		sluice_fast_check(skb, off, addr,
				  (k.sport ^ sport) | (k.dport ^ dport) ?
					  sluice_nat_port_delta(k.sport, k.dport, sport, dport) :
					  0,
				  f.pl.proto, check);
		sum = sluice_csum_add(sum, addr);
	}
	bpf_csum_update(skb, sum); /* of a card; see translate.h */
	if (SLUICE_LIKELY(exit >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_POD))
		return sluice_fast_pod(exit, from);
	return sluice_fast_uplink(from);
}

#endif
