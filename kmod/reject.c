// SPDX-License-Identifier: GPL-2.0-only
#include <linux/etherdevice.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <net/netfilter/ipv4/nf_reject.h>
#include <net/netfilter/ipv6/nf_reject.h>

#include "net.h"
#include "path.h"

/*
 * A card pads frames of less than 60 bytes, as that of a SYN without options. The kernel's answers sum up a packet to
 * the end of the buffer, find it damaged and do not come.
 */
static int take_off_padding(struct sk_buff *skb, u8 family)
{
	u32 len = family == SLUICE_IPV4 ?
			  ntohs(ip_hdr(skb)->tot_len) :
			  (u32)sizeof(struct ipv6hdr) + ntohs(ipv6_hdr(skb)->payload_len);

	/* What was merged has none, and may be longer than the header can say. */
	return skb_is_gso(skb) ? 0 : pskb_trim_rcsum(skb, len);
}

/* At ingress there is no route yet: the answer goes back the way the packet came, frame reversed. */
static void answer_frame(struct sluice_ctx *x)
{
	struct net *net = sluice_net_of(x->sn);
	struct sk_buff *old = x->skb, *nskb;
	bool tcp = x->pkt.tuple.proto == SLUICE_PROTO_TCP;

	if (!skb_mac_header_was_set(old) || skb_mac_header_len(old) != ETH_HLEN ||
	    take_off_padding(old, x->family))
		return;
	if (x->family == SLUICE_IPV4)
		nskb = tcp ? nf_reject_skb_v4_tcp_reset(net, old, old->dev, NF_NETDEV_INGRESS) :
			     nf_reject_skb_v4_unreach(net, old, old->dev, NF_NETDEV_INGRESS,
						      ICMP_PORT_UNREACH);
	else
		nskb = tcp ? nf_reject_skb_v6_tcp_reset(net, old, old->dev, NF_NETDEV_INGRESS) :
			     nf_reject_skb_v6_unreach(net, old, old->dev, NF_NETDEV_INGRESS,
						      ICMPV6_PORT_UNREACH);
	if (!nskb)
		return;
	nskb->dev = old->dev;
	dev_hard_header(nskb, nskb->dev, ntohs(old->protocol), eth_hdr(old)->h_source,
			eth_hdr(old)->h_dest, nskb->len);
	dev_queue_xmit(nskb);
}

static void answer_stack(struct sluice_ctx *x, int hook)
{
	struct net *net = sluice_net_of(x->sn);
	bool tcp = x->pkt.tuple.proto == SLUICE_PROTO_TCP;

	if (x->family == SLUICE_IPV4) {
		if (tcp)
			nf_send_reset(net, x->state->sk, x->skb, hook);
		else
			nf_send_unreach(x->skb, ICMP_PORT_UNREACH, hook);
	} else {
		if (tcp)
			nf_send_reset6(net, x->state->sk, x->skb, hook);
		else
			nf_send_unreach6(net, x->skb, ICMPV6_PORT_UNREACH, hook);
	}
}

enum sluice_act sluice_reject(struct sluice_ctx *x, u8 reason)
{
	if (!(x->pkt.flags & SLUICE_PACKET_PORTS))
		return sluice_drop(x, reason);
	switch (x->at) {
	case SLUICE_AT_INGRESS:
		answer_frame(x);
		break;
	case SLUICE_AT_PRE_ROUTING:
		answer_stack(x, NF_INET_PRE_ROUTING);
		break;
	case SLUICE_AT_LOCAL_OUT:
		answer_stack(x, NF_INET_LOCAL_OUT);
		break;
	}
	return sluice_drop(x, reason);
}
