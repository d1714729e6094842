// SPDX-License-Identifier: GPL-2.0-only
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/sctp.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/sctp/checksum.h>

#include "core/nat.h"
#include "path.h"
#include "translate.h"

/* Bytes of the transport header that translation touches. */
static unsigned int l4_bytes(u8 proto)
{
	switch (proto) {
	case SLUICE_PROTO_TCP:
		return sizeof(struct tcphdr);
	case SLUICE_PROTO_UDP:
	case SLUICE_PROTO_ICMP:
	case SLUICE_PROTO_ICMPV6:
		return 8;
	case SLUICE_PROTO_SCTP:
		return sizeof(struct sctphdr);
	}
	return 0;
}

static void translate_sctp(struct sk_buff *skb, unsigned int off)
{
	struct sctphdr *sh = (void *)(skb_network_header(skb) + off);

	/* CRC32c has no deltas; but it covers no address, and the sender may have left it to us. */
	if (skb->ip_summed == CHECKSUM_PARTIAL)
		return;
	sh->checksum = sctp_compute_cksum(skb, skb_network_offset(skb) + off);
}

int sluice_translate(struct sk_buff *skb, const struct sluice_packet *pkt,
		     const struct sluice_tuple *to)
{
	const struct sluice_tuple *from = &pkt->tuple;
	unsigned int off = pkt->l4_off;
	struct sluice_nat_delta d;
	void *l4;

	if (skb_ensure_writable(skb, skb_network_offset(skb) + off + l4_bytes(from->proto)))
		return -ENOMEM;
	sluice_nat_delta(from, to, &d);
	sluice_forget_sum(skb);

	if (from->family == SLUICE_IPV4) {
		struct iphdr *iph = ip_hdr(skb);

		iph->saddr = to->src.w[0];
		iph->daddr = to->dst.w[0];
		iph->check = (__force __sum16)sluice_csum_apply((__force u16)iph->check, d.addr);
	} else {
		struct ipv6hdr *ip6 = ipv6_hdr(skb);

		memcpy(&ip6->saddr, &to->src, 16);
		memcpy(&ip6->daddr, &to->dst, 16);
	}

	l4 = skb_network_header(skb) + off;
	switch (from->proto) {
	case SLUICE_PROTO_TCP:
	case SLUICE_PROTO_UDP:
		sluice_translate_ports(skb, l4, from->proto, &d, to->sport, to->dport);
		break;
	case SLUICE_PROTO_SCTP: {
		struct sctphdr *sh = l4;

		if (sh->source != to->sport || sh->dest != to->dport) {
			sh->source = to->sport;
			sh->dest = to->dport;
			translate_sctp(skb, off);
		}
		break;
	}
	case SLUICE_PROTO_ICMP: {
		struct icmphdr *ih = l4;

		if (pkt->flags & SLUICE_PACKET_ECHO) {
			/* No pseudo-header: only the identifier changes the sum. */
			d.addr = 0;
			ih->un.echo.id = pkt->flags & SLUICE_PACKET_REPLY_ONLY ? to->dport :
										 to->sport;
			if (skb->ip_summed != CHECKSUM_PARTIAL)
				sluice_update_check(skb, &ih->checksum, &d);
		}
		break;
	}
	case SLUICE_PROTO_ICMPV6: {
		struct icmp6hdr *ih = l4;

		if (pkt->flags & SLUICE_PACKET_ECHO)
			ih->icmp6_identifier = pkt->flags & SLUICE_PACKET_REPLY_ONLY ? to->dport :
										       to->sport;
		else
			d.port = 0;
		sluice_update_check(skb, &ih->icmp6_cksum, &d);
		break;
	}
	}
	return 0;
}
