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

static __always_inline void sluice_take_in(struct sluice_bpf_conn *c, const struct sluice_fast *f)
{
	if (c->last_seen != f->now)
		c->last_seen = f->now;
	c->packets[f->dir]++;
	c->bytes[f->dir] += f->wire;
	if (f->pl.proto == SLUICE_PROTO_TCP)
		sluice_tcp_record(&c->tcp[f->dir], &f->pl.l4);
}

/* Does the packet fit through the way out, and how does it go on? The value of conn.side; 0: not from here. */
static __always_inline __u32 sluice_fast_exit(struct __sk_buff *skb, const struct sluice_fast *f,
					      __u32 value, const struct sluice_route_key *k,
					      __u32 headers, struct sluice_route *route)
{
	struct sluice_route *kept;

	switch (value >> SLUICE_BPF_SIDE_SHIFT) {
	case SLUICE_BPF_SIDE_POD:
		return sluice_pod_fits(skb, value & SLUICE_BPF_SIDE_IFINDEX) == SLUICE_FITS ?
			       value :
			       0;
	case SLUICE_BPF_SIDE_ROUTE:
		kept = bpf_map_lookup_elem(&routes, k);
		if (!kept || (__s32)(kept->expires - f->now) <= 0 ||
		    sluice_too_big(skb, f->wire, headers, kept->mtu))
			return 0;
		*route = *kept;
		return value;
	}
	return 0;
}

static __always_inline int sluice_fast_send(__u32 exit, struct sluice_route *route)
{
	struct sluice_bpf_stats *s = sluice_stats();

	if (s)
		s->hits++;
	if (SLUICE_LIKELY(exit >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_POD)) {
		if (s)
			s->fast_pod++;
		return (int)bpf_redirect_peer(exit & SLUICE_BPF_SIDE_IFINDEX, 0);
	}
	if (s)
		s->fast_uplink++;
	return (int)bpf_redirect_neigh(route->ifindex, &route->next, sizeof(route->next), 0);
}

/* from: POD or OUTSIDE. GENERAL: nothing has happened. */
SLUICE_GLOBAL int sluice_fast4(struct __sk_buff *skb, __u32 from)
{
	struct sluice_bpf_control *ctl = sluice_control();
	void *end = (void *)(long)skb->data_end;
	struct sluice_bpf_key4 k SLUICE_ALIGNED, to SLUICE_ALIGNED;
	struct sluice_route_key rk SLUICE_ALIGNED;
	struct sluice_bpf_conn4 *c;
	struct sluice_route route;
	struct sluice_fast f;
	__u32 *head, exit, hop, off;
	bool plain, nat;
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
	f.dir = sluice_chain4(&k, SLUICE_ONCE(*head), &c).ref;
	if (!f.dir)
		return SLUICE_STEP_GENERAL;
	f.dir = sluice_bpf_ref_dir(f.dir);
	f.now = sluice_bpf_ticks();
	if (!sluice_is_settled(ctl, &c->c, &f, from, skb->ifindex))
		return SLUICE_STEP_GENERAL;

	/* How it leaves: the inverse of the other direction's tuple. */
	to = c->key[!f.dir];
	memset(&rk, 0, sizeof(rk));
	rk.src.w[0] = to.dst;
	rk.dst.w[0] = to.src;
	rk.family = SLUICE_IPV4;
	exit = sluice_fast_exit(
		skb, &f, SLUICE_ONCE(c->c.side[!f.dir]), &rk,
		f.pl.proto == SLUICE_PROTO_TCP ? f.wire - f.pl.l4.len : SLUICE_PLAIN4_UDP, &route);
	if (!exit)
		return SLUICE_STEP_GENERAL;

	nat = SLUICE_ONCE(c->c.bits) & SLUICE_BPF_NAT;
	sluice_take_in(&c->c, &f);
	hop = sluice_hop_delta4(f.pl.ttl, f.pl.proto);
	p[8] = f.pl.ttl - 1;
	if (nat) {
		__u32 addr, port;
		__u16 check;

		addr = sluice_csum_replace(0, (__force __u32)k.src, (__force __u32)to.dst);
		addr = sluice_csum_replace(addr, (__force __u32)k.dst, (__force __u32)to.src);
		port = sluice_nat_port_delta(k.sport, k.dport, to.dport, to.sport);
		sluice_copy(&check, p + 10, 2);
		check = sluice_csum_apply(check, sluice_csum_add(addr, hop));
		sluice_copy(p + 10, &check, 2);
		sluice_copy(p + 12, &to.dst, 4);
		sluice_copy(p + 16, &to.src, 4);
		sluice_copy(p + 20, &to.dport, 2);
		sluice_copy(p + 22, &to.sport, 2);
		sluice_update_check(skb, off, addr, port,
				    f.pl.proto == SLUICE_PROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);
	} else {
		__u16 check;

		sluice_copy(&check, p + 10, 2);
		check = sluice_csum_apply(check, hop);
		sluice_copy(p + 10, &check, 2);
	}
	return sluice_fast_send(exit, &route);
}

SLUICE_GLOBAL int sluice_fast6(struct __sk_buff *skb, __u32 from)
{
	struct sluice_bpf_control *ctl = sluice_control();
	void *end = (void *)(long)skb->data_end;
	struct sluice_bpf_key6 k SLUICE_ALIGNED, to SLUICE_ALIGNED;
	struct sluice_route_key rk SLUICE_ALIGNED;
	struct sluice_bpf_conn6 *c;
	struct sluice_route route;
	struct sluice_fast f;
	__u32 *head, exit, off, sum, i;
	bool plain, nat;
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
	f.dir = sluice_chain6(&k, SLUICE_ONCE(*head), &c).ref;
	if (!f.dir)
		return SLUICE_STEP_GENERAL;
	f.dir = sluice_bpf_ref_dir(f.dir);
	f.now = sluice_bpf_ticks();
	if (!sluice_is_settled(ctl, &c->c, &f, from, skb->ifindex))
		return SLUICE_STEP_GENERAL;

	to = c->key[!f.dir];
	sluice_copy(&rk.src, to.dst, 16);
	sluice_copy(&rk.dst, to.src, 16);
	rk.family = SLUICE_IPV6;
	exit = sluice_fast_exit(
		skb, &f, SLUICE_ONCE(c->c.side[!f.dir]), &rk,
		f.pl.proto == SLUICE_PROTO_TCP ? f.wire - f.pl.l4.len : SLUICE_PLAIN6_UDP, &route);
	if (!exit)
		return SLUICE_STEP_GENERAL;

	nat = SLUICE_ONCE(c->c.bits) & SLUICE_BPF_NAT;
	sluice_take_in(&c->c, &f);
	sum = sluice_hop_delta6(f.pl.ttl);
	p[7] = f.pl.ttl - 1;
	if (nat) {
		__u32 addr = 0, port;

		for (i = 0; i < 4; i++) {
			addr = sluice_csum_replace(addr, (__force __u32)k.src[i],
						   (__force __u32)to.dst[i]);
			addr = sluice_csum_replace(addr, (__force __u32)k.dst[i],
						   (__force __u32)to.src[i]);
		}
		port = sluice_nat_port_delta(k.sport, k.dport, to.dport, to.sport);
		sluice_copy(p + 8, to.dst, 16);
		sluice_copy(p + 24, to.src, 16);
		sluice_copy(p + 40, &to.dport, 2);
		sluice_copy(p + 42, &to.sport, 2);
		sluice_update_check(skb, off, addr, port,
				    f.pl.proto == SLUICE_PROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);
		sum = sluice_csum_add(sum, addr);
	}
	bpf_csum_update(skb, sum); /* of a card; see translate.h */
	return sluice_fast_send(exit, &route);
}

#endif
