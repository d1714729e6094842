/* SPDX-License-Identifier: GPL-2.0-only */
/* The last steps of a packet that is handed on without the stack; see deliver.c for the others. */
#ifndef SLUICE_KMOD_DELIVER_H
#define SLUICE_KMOD_DELIVER_H

#include <linux/etherdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/gso.h>
#include <net/ip.h>
#include <net/arp.h>
#include <net/ip6_route.h>
#include <net/ndisc.h>
#include <net/neighbour.h>
#include <net/route.h>

#include "conn.h"
#include "device.h"
#include "stats.h"

static __always_inline unsigned int sluice_header_bytes(u8 family)
{
	return family == SLUICE_IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/* Would the stack answer with "fragmentation needed", or fragment? Then it shall. */
static __always_inline bool sluice_too_big(const struct sk_buff *skb, unsigned int mtu)
{
	if (likely(skb->len <= mtu))
		return false;
	return !skb_is_gso(skb) || !skb_gso_validate_network_len(skb, mtu);
}

/* May the first n bytes, which are linear, be written? Makes them so; false: no memory. */
static __always_inline bool sluice_make_writable(struct sk_buff *skb, unsigned int n)
{
	return !skb_cloned(skb) || skb_clone_writable(skb, n) ||
	       !pskb_expand_head(skb, 0, 0, GFP_ATOMIC);
}

/* One hop less, as every router does it. It was not the last one. */
static __always_inline void sluice_take_hop(struct sk_buff *skb, u8 family)
{
	if (family == SLUICE_IPV4) {
		ip_decrease_ttl(ip_hdr(skb));
	} else {
		ipv6_hdr(skb)->hop_limit--;
		/* Unlike IPv4's, this header has no checksum that makes up for it. */
		if (skb->ip_summed == CHECKSUM_COMPLETE)
			skb->csum = csum_sub(skb->csum, (__force __wsum)htons(1));
	}
}

/* The far end of a pod's interface, if this packet can be put there as it is; else the stack must. */
static __always_inline struct net_device *sluice_pod_peer(const struct sk_buff *skb,
							  struct net_device *dev)
{
	struct net_device *peer;

	if (unlikely(!dev || !dev->netdev_ops->ndo_get_peer_dev))
		return NULL;
	peer = dev->netdev_ops->ndo_get_peer_dev(dev);
	if (unlikely(!peer || !(peer->flags & dev->flags & IFF_UP) ||
		     sluice_too_big(skb, READ_ONCE(peer->mtu)) ||
		     skb_mac_header_len(skb) != ETH_HLEN))
		return NULL;
	return peer;
}

/* Into the pod, as if it had come over its link. Headers are writable, the hop is taken. */
static __always_inline void sluice_receive_at(struct sluice_net *sn, struct sk_buff *skb,
					      const struct net_device *dev, struct net_device *peer)
{
	struct ethhdr *eth = eth_hdr(skb);

	ether_addr_copy(eth->h_dest, peer->dev_addr);
	ether_addr_copy(eth->h_source, dev->dev_addr);
	skb_scrub_packet(skb, true);
	skb->dev = peer;
	if (peer->pcpu_stat_type == NETDEV_PCPU_STAT_TSTATS)
		dev_sw_netstats_rx_add(peer, skb->len + ETH_HLEN);
	sluice_count(sn, fast_pod);
	netif_receive_skb(skb);
}

/* Takes a route that is no longer valid out of a connection; RCU keeps its memory. */
void sluice_forget_route(struct sluice_conn *c, u8 side, unsigned long value);

/* The route that a side keeps; NULL: routes have changed since, it is to be found anew. */
static __always_inline struct dst_entry *sluice_side_route(struct sluice_conn *c, u8 family,
							   u8 side, unsigned long value)
{
	struct dst_entry *dst = (void *)(value & ~SLUICE_SIDE_MASK);

	if (likely(dst_check(dst, family == SLUICE_IPV6 ? READ_ONCE(c->e6[side].cookie) : 0)))
		return dst;
	sluice_forget_route(c, side, value);
	return NULL;
}

/* As ip_forward() and ip6_forward() have it: what others told us about the path does not count. */
static __always_inline unsigned int sluice_route_mtu(const struct dst_entry *dst, u8 family)
{
	return family == SLUICE_IPV4 ? ip_dst_mtu_maybe_forward(dst, true) :
				       ip6_dst_mtu_maybe_forward(dst, true);
}

/* Can this packet leave by the route as it is? Makes room for the link's header. */
static __always_inline bool sluice_route_fits(struct sk_buff *skb, const struct dst_entry *dst,
					      u8 family)
{
	return (dst->dev->flags & IFF_UP) && !sluice_too_big(skb, sluice_route_mtu(dst, family)) &&
	       !skb_cow_head(skb, LL_RESERVED_SPACE(dst->dev));
}

/* To a neighbour that must be asked for first. */
void sluice_send_unresolved(struct sk_buff *skb, u8 family, struct dst_entry *dst);

/*
 * Out by a route. Headers are writable, the hop is taken, and a sum that the card made is forgotten. A neighbour that is known gives its kept
 * header, which is 100 instructions less than neigh_xmit().
 */
static __always_inline void sluice_send_by(struct sluice_net *sn, struct sk_buff *skb, u8 family,
					   struct dst_entry *dst)
{
	struct net_device *dev = dst->dev;
	struct neighbour *n;

	skb_dst_drop(skb);
	skb->dev = dev;
	skb_clear_tstamp(skb);
	sluice_count(sn, fast_uplink);
	if (family == SLUICE_IPV4) {
		IPCB(skb)->flags |= IPSKB_FORWARDED;
		n = __ipv4_neigh_lookup_noref(
			dev, (__force u32)rt_nexthop(container_of(dst, struct rtable, dst),
						     ip_hdr(skb)->daddr));
	} else {
		n = __ipv6_neigh_lookup_noref(dev,
					      rt6_nexthop(container_of(dst, struct rt6_info, dst),
							  &ipv6_hdr(skb)->daddr));
	}
	if (likely(n && (READ_ONCE(n->nud_state) & NUD_CONNECTED) && READ_ONCE(n->hh.hh_len)))
		neigh_hh_output(&n->hh, skb);
	else
		sluice_send_unresolved(skb, family, dst);
}

#endif
