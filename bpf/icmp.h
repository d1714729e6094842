/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ICMP errors belong to the connection of the packet they complain about: kmod/icmp.c says which that is, and
 * how they are translated, with a worked example.
 *
 * Their checksum changes by differences, as all others do. One that is wrong is seen before; of errors that are longer
 * than any should be, it stays wrong, and whoever gets the error throws it away.
 */
#ifndef SLUICE_BPF_ICMP_H
#define SLUICE_BPF_ICMP_H

#include "bpf/conn.h"
#include "bpf/context.h"
#include "bpf/decide.h"
#include "bpf/deliver.h"
#include "bpf/translate.h"

/* The embedded packet becomes "sent"; returns what that does to the message's sum. */
static __always_inline __u32 sluice_rewrite_inner(struct __sk_buff *skb, struct sluice_ctx *x,
						  const struct sluice_tuple *sent)
{
	__u32 inner = SLUICE_FRAME + x->pkt.inner_off, l4 = SLUICE_FRAME + x->pkt.inner_l4_off;
	struct sluice_nat_delta d;
	__be16 ports[2] = { sent->sport, sent->dport };

	sluice_nat_delta(&x->pkt.inner, sent, &d);
	if (x->family == SLUICE_IPV4) {
		__be32 a[2] = { sent->src.w[0], sent->dst.w[0] };

		/* Its header's own check makes up for the addresses. */
		bpf_skb_store_bytes(skb, inner + 12, a, sizeof(a), 0);
		bpf_l3_csum_replace(skb, inner + 10, 0, d.addr, 0);
		d.addr = 0;
	} else {
		struct sluice_addr a[2];

		a[0] = sent->src;
		a[1] = sent->dst;
		bpf_skb_store_bytes(skb, inner + 8, a, sizeof(a), 0);
	}
	switch (sent->proto) {
	case SLUICE_PROTO_TCP:
	case SLUICE_PROTO_UDP:
	case SLUICE_PROTO_SCTP:
		bpf_skb_store_bytes(skb, l4, ports, 4, 0);
		break;
	case SLUICE_PROTO_ICMP:
	case SLUICE_PROTO_ICMPV6:
		if (!ports[0])
			ports[0] = ports[1];
		bpf_skb_store_bytes(skb, l4 + SLUICE_OFF_ICMP_ID, ports, 2, 0);
		break;
	}
	return sluice_csum_add(d.addr, d.port);
}

/* x->to: the error's own tuple as it leaves; sent: the embedded packet's. */
SLUICE_GLOBAL int sluice_rewrite_error(struct __sk_buff *skb, struct sluice_ctx *x)
{
	__u32 check, message;
	struct sluice_nat_delta d;

	if (!x)
		return 0;
	check = SLUICE_FRAME + x->pkt.l4_off + SLUICE_OFF_ICMP_CHECK;
	if (x->dir)
		message = sluice_rewrite_inner(skb, x, &x->key[0]);
	else
		message = sluice_rewrite_inner(skb, x, &x->key[1]);
	sluice_nat_delta(&x->pkt.tuple, &x->to, &d);
	sluice_write_addrs(skb, &x->to, d.addr);
	if (x->family == SLUICE_IPV4) {
		sluice_update_check(skb, check, 0, message, 0);
	} else {
		sluice_update_check(skb, check, d.addr, message, 0);
		if (d.addr)
			bpf_csum_update(skb, d.addr);
	}
	return 0;
}

#define SLUICE_ERROR_PIECES \
	6 /* of the window's size: 1,536 bytes. RFC 1812 allows 576, RFC 4443 1,280. */

/* Is the message's sum wrong? Writes over the window. */
SLUICE_GLOBAL int sluice_error_is_spoilt(struct __sk_buff *skb, struct sluice_ctx *x)
{
	__u32 off, left, sum = 0, i;

	if (!x)
		return 1;
	off = x->pkt.l4_off;
	left = x->wire - off;
	if (left > SLUICE_ERROR_PIECES * SLUICE_WINDOW)
		return 0;
	if (x->family == SLUICE_IPV6)
		sum = sluice_pseudo_sum(&x->pkt.tuple, SLUICE_PROTO_ICMPV6, (__u16)left);
	for (i = 0; i < SLUICE_ERROR_PIECES && left; i++) {
		__u32 n = left < SLUICE_WINDOW ? left : SLUICE_WINDOW;

		left -= n;
		/* From 1 to the window, as in sluice_read(). */
		sluice_settle(n);
		n = ((n - 1) & (SLUICE_WINDOW - 1)) + 1;
		memset(x->window + ((n - 1) & ~3u), 0, 4); /* sums are of whole words */
		if (bpf_skb_load_bytes(skb, SLUICE_FRAME + off, x->window, n))
			return 1;
		sum = (__u32)bpf_csum_diff(NULL, 0, (void *)x->window, (n + 3) & ~3u, sum);
		off += n;
	}
	return sluice_csum_fold(sum) != 0xffff;
}

SLUICE_GLOBAL int sluice_icmp_error(struct __sk_buff *skb, struct sluice_ctx *x)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_bpf_conn *c;
	__u32 bits, nat;

	if (!x || !ctl)
		return sluice_drop(SLUICE_REASON_NO_MEMORY);
	sluice_tuple_invert(&x->to, &x->pkt.inner);
	sluice_find(x, &x->to);
	c = sluice_conn_of(x->family, x->ref);
	if (!c) {
		/* From elsewhere it is about a flow that is not ours; a pod has no other flows. */
		if (x->from == SLUICE_FROM_POD ||
		    (x->from == SLUICE_FROM_OUTSIDE &&
		     sluice_pod_of(&x->pkt.tuple.dst, x->family, SLUICE_ONCE(ctl->revision))))
			return sluice_drop(SLUICE_REASON_ICMP_UNRELATED);
		return TC_ACT_OK;
	}
	bits = SLUICE_ONCE(c->bits);
	if (bits & SLUICE_BPF_DENIED)
		return sluice_drop(SLUICE_ONCE(c->reason));
	/* A pod may only complain about packets that were sent to it. */
	if (x->from == SLUICE_FROM_POD &&
	    SLUICE_ONCE(c->side[x->dir & 1]) != sluice_side_of(SLUICE_BPF_SIDE_POD, x->ifindex))
		return sluice_drop(SLUICE_REASON_SPOOFED_SOURCE);

	nat = bits & SLUICE_BPF_NAT;
	x->to = x->pkt.tuple;
	if (nat) {
		if (sluice_error_is_spoilt(skb, x))
			return sluice_drop(SLUICE_REASON_BAD_CHECKSUM);
		const struct sluice_tuple *sent = x->dir ? &x->key[0] : &x->key[1];

		if (sluice_addr_equal(&x->to.src, &x->pkt.inner.dst))
			x->to.src = sent->dst;
		x->to.dst = sent->src;
	}
	sluice_find_exit(skb, x, !x->dir, 0);
	if (nat)
		sluice_rewrite_error(skb, x);
	if (x->exit >> SLUICE_BPF_SIDE_SHIFT != SLUICE_BPF_SIDE_STACK)
		sluice_take_hop(skb, x->family, x->pkt.ttl);
	return sluice_send(skb, x);
}

#endif
