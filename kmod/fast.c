// SPDX-License-Identifier: GPL-2.0-only
/*
 * The common packet's way: plain (core/plain.h), of a known connection about which there is nothing to
 * decide, towards a side that is resolved. It takes the same steps as sluice_path(), in one piece.
 *
 * Theory of operation
 * -------------------
 * Everything that could make a packet remarkable is looked at before anything is changed: a negative
 * entry, a stale generation, an answer that is the first, a side that is not resolved, the last hop,
 * an MTU, a header shared with a clone. The first such thing ends the attempt: the packet goes,
 * untouched, to sluice_path(), which knows what to do, and is told which connection was found.
 * So nothing here decides; and each packet that passes here would have passed there the same way.
 *
 * Worked example: pod 10.1.0.1 sends to service 10.96.0.1:80 by UDP, backend 10.1.0.2:9000, answered
 * before. Plain; found by entry 0; judged by the generation of now; its backend's generation is the one
 * it stores; the other side is pod 10.1.0.2, whose interface is up and large enough. Then: counted,
 * addresses and ports become the inverse of entry 1, one hop less, received by the pod.
 *
 * Why: this way takes some 700 instructions, the general one 1,300.
 */
#include "core/nat.h"
#include "core/plain.h"
#include "conn.h"
#include "conn_hash.h"
#include "deliver.h"
#include "device.h"
#include "fast.h"
#include "net.h"
#include "path.h"
#include "service.h"
#include "stats.h"
#include "translate.h"

/* Where it goes; exactly one of them. */
struct exit {
	struct net_device *dev; /* the pod's interface on the node, and its far end */
	struct net_device *peer;
	struct dst_entry *dst;
};

/* Is there nothing to decide about a packet of this connection? */
static __always_inline bool is_settled(struct sluice_device *d, const struct sluice_conn *c, u8 dir,
				       u8 proto)
{
	struct sluice_net *sn = d->sn;
	unsigned long side = READ_ONCE(c->side[dir]), bits = READ_ONCE(c->bits);
	u8 state = READ_ONCE(c->state);

	if (bits & (BIT(SLUICE_CONN_BIT_DENIED) | BIT(SLUICE_CONN_BIT_DYING)))
		return false;
	if (READ_ONCE(d->uplink) ? (side & SLUICE_SIDE_MASK) == SLUICE_SIDE_POD :
				   side != ((unsigned long)d | SLUICE_SIDE_POD))
		return false;
	if (c->policy_gen != sluice_policy_generation(sn))
		return false;
	if (proto == SLUICE_PROTO_TCP)
		return state != SLUICE_STATE_TCP_SYN_SENT;
	if (dir == SLUICE_DIR_REPLY)
		return state == SLUICE_STATE_REPLIED;
	return !(bits & BIT(SLUICE_CONN_BIT_SERVICE)) ||
	       READ_ONCE(sluice_backend_get(sn, c->backend)->gen) == c->backend_gen;
}

static __always_inline bool find_exit(struct sk_buff *skb, u8 family, struct sluice_conn *c,
				      u8 side, struct exit *e)
{
	unsigned long value = READ_ONCE(c->side[side]);
	void *p = (void *)(value & ~SLUICE_SIDE_MASK);

	switch (value & SLUICE_SIDE_MASK) {
	case SLUICE_SIDE_POD:
		e->dst = NULL;
		e->dev = READ_ONCE(((struct sluice_device *)p)->dev);
		e->peer = sluice_pod_peer(skb, e->dev);
		return e->peer;
	case SLUICE_SIDE_ROUTE:
		e->dst = sluice_side_route(c, family, side, value);
		return e->dst && sluice_route_fits(skb, e->dst, family);
	}
	return false;
}

/* Apart, and by value: the common segment shall need no stack. */
static noinline void advance(struct sluice_conns *cs, struct sluice_conn *c, u8 dir, u64 seq_ack,
			     u64 len_win_flags)
{
	struct sluice_l4 l4 = {
		.seq = seq_ack >> 32,
		.ack = (u32)seq_ack,
		.len = len_win_flags >> 32,
		.win = (u16)(len_win_flags >> 16),
		.flags = (u8)len_win_flags,
	};

	sluice_conn_advance(cs, c, dir, &l4);
}

static __always_inline void take_in(struct sluice_conns *cs, struct sluice_conn *c, u8 dir,
				    const struct sluice_plain *pl, unsigned int len)
{
	u32 now = (u32)jiffies;

	if (c->last_seen != now)
		WRITE_ONCE(c->last_seen, now);
	c->packets[dir]++;
	c->bytes[dir] += len;
	if (pl->proto != SLUICE_PROTO_TCP)
		return;
	if (likely(sluice_conn_only_records(c, READ_ONCE(c->state), dir, pl->l4.flags)))
		sluice_tcp_record(&c->tcp[dir], &pl->l4);
	else
		advance(cs, c, dir, (u64)pl->l4.seq << 32 | pl->l4.ack,
			(u64)pl->l4.len << 32 | (u32)pl->l4.win << 16 | pl->l4.flags);
}

static __always_inline void send(struct sluice_net *sn, struct sk_buff *skb, u8 family,
				 const struct exit *e)
{
	sluice_take_hop(skb, family);
	if (likely(!e->dst))
		sluice_receive_at(sn, skb, e->dev, e->peer);
	else
		sluice_send_by(sn, skb, family, e->dst);
}

static __always_inline void translate4(struct sk_buff *skb, const struct sluice_conn *c, u8 dir,
				       u8 proto)
{
	const struct sluice_key4 *from = &c->e4[dir].key, *to = &c->e4[!dir].key;
	struct iphdr *iph = (struct iphdr *)skb->data;
	struct sluice_nat_delta delta;

	sluice_forget_sum(skb);
	delta.addr = sluice_csum_replace(0, (__force u32)from->src, (__force u32)to->dst);
	delta.addr = sluice_csum_replace(delta.addr, (__force u32)from->dst, (__force u32)to->src);
	delta.port = sluice_nat_port_delta(from->sport, from->dport, to->dport, to->sport);
	iph->saddr = to->dst;
	iph->daddr = to->src;
	iph->check = (__force __sum16)sluice_csum_apply((__force u16)iph->check, delta.addr);
	sluice_translate_ports(skb, iph + 1, proto, &delta, to->dport, to->sport);
}

static __always_inline void translate6(struct sk_buff *skb, const struct sluice_conn *c, u8 dir,
				       u8 proto)
{
	const struct sluice_key6 *from = &c->e6[dir].key, *to = &c->e6[!dir].key;
	struct ipv6hdr *ip6 = (struct ipv6hdr *)skb->data;
	struct sluice_nat_delta delta;
	int i;

	sluice_forget_sum(skb);
	delta.addr = 0;
	for (i = 0; i < 4; i++) {
		delta.addr = sluice_csum_replace(delta.addr, (__force u32)from->src[i],
						 (__force u32)to->dst[i]);
		delta.addr = sluice_csum_replace(delta.addr, (__force u32)from->dst[i],
						 (__force u32)to->src[i]);
	}
	delta.port = sluice_nat_port_delta(from->sport, from->dport, to->dport, to->sport);
	memcpy(&ip6->saddr, to->dst, 16);
	memcpy(&ip6->daddr, to->src, 16);
	sluice_translate_ports(skb, ip6 + 1, proto, &delta, to->dport, to->sport);
}

/* Everything but finding the connection. false: nothing has happened yet. */
static __always_inline bool pass(struct sluice_device *d, struct sk_buff *skb, u8 family,
				 const struct sluice_plain *pl, struct sluice_conn *c, u8 dir,
				 bool is_first)
{
	unsigned int l3 = family == SLUICE_IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	struct exit e;

	if ((!is_first && !is_settled(d, c, dir, pl->proto)) || pl->ttl <= 1 ||
	    !find_exit(skb, family, c, !dir, &e) ||
	    !sluice_make_writable(skb, l3 + sizeof(struct tcphdr)))
		return false;
	if (!is_first)
		sluice_count(d->sn, hits);
	take_in(d->sn->conns, c, dir, pl, skb->len);
	if (READ_ONCE(c->bits) & BIT(SLUICE_CONN_BIT_NAT)) {
		if (family == SLUICE_IPV4)
			translate4(skb, c, dir, pl->proto);
		else
			translate6(skb, c, dir, pl->proto);
	} else if (e.dst) {
		skb_forward_csum(skb);
	}
	send(d->sn, skb, family, &e);
	return true;
}

__flatten bool sluice_fast4(struct sluice_device *d, struct sk_buff *skb,
			    struct sluice_known *known)
{
	struct sluice_conn *c;
	struct sluice_plain pl;
	struct sluice_key4 k;
	struct iphdr *iph;
	u8 dir = 0;

	if (!sluice_plain4(skb->data, skb_headlen(skb), skb->len, &pl)) {
		known->plain = false;
		return false;
	}
	iph = (struct iphdr *)skb->data;
	k.src = iph->saddr;
	k.dst = iph->daddr;
	k.sport = pl.sport;
	k.dport = pl.dport;
	k.proto = pl.proto;
	c = sluice_conn_find4(d->sn->conns, &k, &dir);
	if (likely(c && pass(d, skb, SLUICE_IPV4, &pl, c, dir, false)))
		return true;
	*known = (struct sluice_known){ .conn = c, .pl = pl, .plain = true, .dir = dir };
	return false;
}

__flatten bool sluice_fast6(struct sluice_device *d, struct sk_buff *skb,
			    struct sluice_known *known)
{
	struct sluice_conn *c;
	struct sluice_plain pl;
	struct ipv6hdr *ip6;
	struct sluice_key6 k;
	u8 dir = 0;

	if (!sluice_plain6(skb->data, skb_headlen(skb), skb->len, &pl)) {
		known->plain = false;
		return false;
	}
	ip6 = (struct ipv6hdr *)skb->data;
	memcpy(k.src, &ip6->saddr, 16);
	memcpy(k.dst, &ip6->daddr, 16);
	k.sport = pl.sport;
	k.dport = pl.dport;
	k.proto = pl.proto;
	c = sluice_conn_find6(d->sn->conns, &k, &dir);
	if (likely(c && pass(d, skb, SLUICE_IPV6, &pl, c, dir, false)))
		return true;
	*known = (struct sluice_known){ .conn = c, .pl = pl, .plain = true, .dir = dir };
	return false;
}

__flatten bool sluice_fast_first(struct sluice_device *d, struct sk_buff *skb, u8 family,
				 const struct sluice_known *known)
{
	if (family == SLUICE_IPV4)
		return pass(d, skb, SLUICE_IPV4, &known->pl, known->conn, SLUICE_DIR_ORIGINAL,
			    true);
	return pass(d, skb, SLUICE_IPV6, &known->pl, known->conn, SLUICE_DIR_ORIGINAL, true);
}
