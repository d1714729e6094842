/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rewriting a packet: addresses, ports, the hop taken, and checksums by the deltas of core/nat.h.
 *
 * A program cannot see how a packet is summed; the kernel's helpers can. Where the far end or the card is to finish a
 * sum (CHECKSUM_PARTIAL), the field holds that of the pseudo-header alone: bpf_l4_csum_replace() with
 * BPF_F_PSEUDO_HDR changes it, the one without does nothing. Else both change it. So the change of addresses is
 * applied by the one, that of ports by the other, each but once, as a difference.
 *
 * Where the card has summed the packet (CHECKSUM_COMPLETE), its sum must follow what is changed. In IPv4 all changes
 * cancel out but that of the transport's check by the addresses, which the first helper follows. In IPv6 that one
 * cancels out with the addresses themselves, which have no checksum of their own beside them: what the helper did is
 * taken back, together with the hop.
 */
#ifndef SLUICE_BPF_TRANSLATE_H
#define SLUICE_BPF_TRANSLATE_H

#include "bpf/context.h"
#include "core/nat.h"

/* From the frame's start. */
#define SLUICE_OFF_IP4_TTL (SLUICE_FRAME + 8)
#define SLUICE_OFF_IP4_CHECK (SLUICE_FRAME + 10)
#define SLUICE_OFF_IP4_ADDRS (SLUICE_FRAME + 12)
#define SLUICE_OFF_IP6_HOPS (SLUICE_FRAME + 7)
#define SLUICE_OFF_IP6_ADDRS (SLUICE_FRAME + 8)

/* Of the transport header: where its checksum is. */
#define SLUICE_OFF_TCP_CHECK 16
#define SLUICE_OFF_UDP_CHECK 6
#define SLUICE_OFF_ICMP_CHECK 2
#define SLUICE_OFF_ICMP_ID 4

/* What one hop less does to a sum: the hop is the first byte of its word in IPv4, the second in IPv6. */
#define SLUICE_HOP_DELTA4 sluice_csum_replace(0, (__force __u16)sluice_htons(0x100), 0)
#define SLUICE_HOP_DELTA6 sluice_csum_replace(0, (__force __u16)sluice_htons(1), 0)

/*
 * Checks of TCP, UDP, ICMPv6 (pseudo) and ICMP. off: of the check, from the frame's start.
 */
static __always_inline void sluice_update_check(struct __sk_buff *skb, __u32 off, __u32 addr,
						__u32 port, __u32 flags)
{
	if (addr)
		bpf_l4_csum_replace(skb, off, 0, addr, BPF_F_PSEUDO_HDR | flags);
	if (port)
		bpf_l4_csum_replace(skb, off, 0, port, flags);
}

/* That of UDP, which is "check" so far. If there is none, nothing makes up for the ports in the card's sum. */
static __always_inline void sluice_update_udp_check(struct __sk_buff *skb, __u32 off, __u32 addr,
						    __u32 port, __u16 check)
{
	if (check)
		sluice_update_check(skb, off, addr, port, BPF_F_MARK_MANGLED_0);
	else
		bpf_csum_update(skb, port);
}

/* The packet is another one: where the card has summed it, its sum is this from now on. */
static __always_inline void sluice_sum_anew(struct __sk_buff *skb, __u32 sum)
{
	__s64 old = bpf_csum_update(skb, 0); /* an error: the card has not */

	if (old >= 0)
		bpf_csum_update(skb, sluice_csum_add(~(__u32)old, sum));
}

/* Takes a hop from a packet about which nothing else changes. */
static __always_inline void sluice_take_hop(struct __sk_buff *skb, __u8 family, __u8 ttl)
{
	__u8 less = ttl - 1;

	if (family == SLUICE_IPV4) {
		bpf_skb_store_bytes(skb, SLUICE_OFF_IP4_TTL, &less, 1, 0);
		bpf_l3_csum_replace(skb, SLUICE_OFF_IP4_CHECK, 0, SLUICE_HOP_DELTA4, 0);
	} else {
		bpf_skb_store_bytes(skb, SLUICE_OFF_IP6_HOPS, &less, 1, 0);
		bpf_csum_update(skb, SLUICE_HOP_DELTA6);
	}
}

/* The sum of a pseudo-header for len bytes of a protocol. */
static __always_inline __u32 sluice_pseudo_sum(const struct sluice_tuple *t, __u8 proto, __u16 len)
{
	__u32 sum = sluice_csum_add(sluice_htons(len), sluice_htons(proto)), i;

	for (i = 0; i < 4; i++)
		sum = sluice_csum_add(sluice_csum_add(sum, (__force __u32)t->src.w[i]),
				      (__force __u32)t->dst.w[i]);
	return sum;
}

/* Writes the addresses of "to"; addr: what this changes. Checks of IPv4's header and the card's sum follow. */
static __always_inline void sluice_write_addrs(struct __sk_buff *skb, const struct sluice_tuple *to,
					       __u32 addr)
{
	if (to->family == SLUICE_IPV4) {
		__be32 a[2] = { to->src.w[0], to->dst.w[0] };

		bpf_skb_store_bytes(skb, SLUICE_OFF_IP4_ADDRS, a, sizeof(a), 0);
		if (addr)
			bpf_l3_csum_replace(skb, SLUICE_OFF_IP4_CHECK, 0, addr, 0);
	} else {
		struct sluice_addr a[2];

		a[0] = to->src;
		a[1] = to->dst;
		bpf_skb_store_bytes(skb, SLUICE_OFF_IP6_ADDRS, a, sizeof(a), 0);
	}
}

/* Makes a packet that looks like x->pkt.tuple look like x->to. 0, or the reason for which that cannot be. */
SLUICE_GLOBAL int sluice_translate(struct __sk_buff *skb, struct sluice_ctx *x)
{
	struct sluice_nat_delta d;
	__u32 l4;
	__be16 ports[2];
	__u16 check = 0;
	__u8 proto;

	if (!x)
		return SLUICE_REASON_NO_MEMORY;
	proto = x->pkt.tuple.proto;
	l4 = SLUICE_FRAME + x->pkt.l4_off;
	sluice_nat_delta(&x->pkt.tuple, &x->to, &d);
	/* CRC32c has no deltas; but it covers no address. */
	if (proto == SLUICE_PROTO_SCTP &&
	    (x->to.sport != x->pkt.tuple.sport || x->to.dport != x->pkt.tuple.dport))
		return SLUICE_REASON_UNSUPPORTED;
	sluice_write_addrs(skb, &x->to, d.addr);
	ports[0] = x->to.sport;
	ports[1] = x->to.dport;
	switch (proto) {
	case SLUICE_PROTO_TCP:
		bpf_skb_store_bytes(skb, l4, ports, 4, 0);
		sluice_update_check(skb, l4 + SLUICE_OFF_TCP_CHECK, d.addr, d.port, 0);
		break;
	case SLUICE_PROTO_UDP:
		bpf_skb_store_bytes(skb, l4, ports, 4, 0);
		bpf_skb_load_bytes(skb, l4 + SLUICE_OFF_UDP_CHECK, &check, 2);
		sluice_update_udp_check(skb, l4 + SLUICE_OFF_UDP_CHECK, d.addr, d.port, check);
		break;
	case SLUICE_PROTO_ICMP:
		if (x->pkt.flags & SLUICE_PACKET_ECHO) { /* no pseudo-header */
			if (x->pkt.flags & SLUICE_PACKET_REPLY_ONLY)
				ports[0] = ports[1];
			bpf_skb_store_bytes(skb, l4 + SLUICE_OFF_ICMP_ID, ports, 2, 0);
			sluice_update_check(skb, l4 + SLUICE_OFF_ICMP_CHECK, 0, d.port, 0);
		}
		break;
	case SLUICE_PROTO_ICMPV6:
		if (x->pkt.flags & SLUICE_PACKET_ECHO) {
			if (x->pkt.flags & SLUICE_PACKET_REPLY_ONLY)
				ports[0] = ports[1];
			bpf_skb_store_bytes(skb, l4 + SLUICE_OFF_ICMP_ID, ports, 2, 0);
		} else {
			d.port = 0;
		}
		sluice_update_check(skb, l4 + SLUICE_OFF_ICMP_CHECK, d.addr, d.port, 0);
		break;
	}
	if (x->family == SLUICE_IPV6 && d.addr)
		bpf_csum_update(skb, d.addr);
	return 0;
}

#endif
