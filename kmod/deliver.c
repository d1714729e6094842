// SPDX-License-Identifier: GPL-2.0-only
#include <linux/etherdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <net/gso.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/neighbour.h>
#include <net/route.h>

#include "device.h"
#include "net.h"
#include "path.h"
#include "stats.h"

/* Would the stack answer with "fragmentation needed", or fragment? Then it shall. */
static bool too_big(const struct sk_buff *skb, unsigned int mtu)
{
	if (skb->len <= mtu)
		return false;
	return !skb_is_gso(skb) || !skb_gso_validate_network_len(skb, mtu);
}

/*
 * One hop less, as every router does it. false: it was the last one; the stack drops the packet and
 * says so to its sender.
 */
static bool take_hop(struct sk_buff *skb, u8 family)
{
	if (family == SLUICE_IPV4) {
		if (ip_hdr(skb)->ttl <= 1)
			return false;
		ip_decrease_ttl(ip_hdr(skb));
	} else {
		if (ipv6_hdr(skb)->hop_limit <= 1)
			return false;
		ipv6_hdr(skb)->hop_limit--;
		/* Unlike IPv4's, this header has no checksum that makes up for it. */
		if (skb->ip_summed == CHECKSUM_COMPLETE)
			skb->csum = csum_sub(skb->csum, (__force __wsum)htons(1));
	}
	return true;
}

static unsigned int header_bytes(u8 family)
{
	return family == SLUICE_IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

bool sluice_deliver_pod(struct sluice_ctx *x, struct sluice_device *pod)
{
	struct net_device *dev = READ_ONCE(pod->dev), *peer;
	struct sk_buff *skb = x->skb;
	struct ethhdr *eth;

	if (!dev || !dev->netdev_ops->ndo_get_peer_dev)
		return false;
	peer = dev->netdev_ops->ndo_get_peer_dev(dev);
	if (!peer || !(peer->flags & IFF_UP) || !(dev->flags & IFF_UP) ||
	    too_big(skb, READ_ONCE(peer->mtu)))
		return false;
	if (skb_ensure_writable(skb, header_bytes(x->family)) ||
	    skb_mac_header_len(skb) != ETH_HLEN)
		return false;
	if (!take_hop(skb, x->family))
		return false;

	eth = eth_hdr(skb);
	ether_addr_copy(eth->h_dest, peer->dev_addr);
	ether_addr_copy(eth->h_source, dev->dev_addr);
	skb_scrub_packet(skb, true);
	skb->dev = peer;
	if (peer->pcpu_stat_type == NETDEV_PCPU_STAT_TSTATS)
		dev_sw_netstats_rx_add(peer, skb->len + ETH_HLEN);
	sluice_count(x->sn, fast_pod);
	netif_receive_skb(skb);
	return true;
}

struct dst_entry *sluice_side_route(struct sluice_conn *c, u8 side, unsigned long value)
{
	struct dst_entry *dst = (void *)(value & ~SLUICE_SIDE_MASK);

	if (dst_check(dst, c->family == SLUICE_IPV6 ? READ_ONCE(c->e6[side].cookie) : 0))
		return dst;
	/* Routes changed. Whoever takes the old one out drops its reference; RCU keeps its memory. */
	if (cmpxchg(&c->side[side], value, SLUICE_SIDE_UNKNOWN) == value)
		dst_release(dst);
	return NULL;
}

static struct dst_entry *route4(struct net *net, const struct sluice_tuple *to, u32 mark)
{
	struct flowi4 fl4 = {
		.daddr = to->dst.w[0],
		.saddr = to->src.w[0],
		.flowi4_proto = to->proto,
		.flowi4_mark = mark,
		.flowi4_flags = FLOWI_FLAG_ANYSRC,
	};
	struct rtable *rt = ip_route_output_key(net, &fl4);

	if (IS_ERR(rt))
		return NULL;
	if (rt->rt_type != RTN_UNICAST || rt->rt_gw_family == AF_INET6) {
		ip_rt_put(rt);
		return NULL;
	}
	return &rt->dst;
}

static struct dst_entry *route6(struct net *net, const struct sluice_tuple *to, u32 mark,
				u32 *cookie)
{
	struct flowi6 fl6 = {
		.flowi6_proto = to->proto,
		.flowi6_mark = mark,
		.flowi6_flags = FLOWI_FLAG_ANYSRC,
	};
	struct dst_entry *dst;
	struct rt6_info *rt;

	memcpy(&fl6.daddr, &to->dst, 16);
	memcpy(&fl6.saddr, &to->src, 16);
	dst = ip6_route_output(net, NULL, &fl6);
	rt = container_of(dst, struct rt6_info, dst);
	if (dst->error || rt->rt6i_flags & (RTF_LOCAL | RTF_ANYCAST | RTF_REJECT)) {
		dst_release(dst);
		return NULL;
	}
	*cookie = rt6_get_cookie(rt);
	return dst;
}

unsigned long sluice_resolve_route(struct sluice_ctx *x, struct sluice_conn *c, u8 side,
				   const struct sluice_tuple *to)
{
	struct net *net = sluice_net_of(x->sn);
	unsigned long value = SLUICE_SIDE_STACK, old;
	struct dst_entry *dst;
	u32 cookie = 0;

	dst = x->family == SLUICE_IPV4 ? route4(net, to, x->skb->mark) :
					 route6(net, to, x->skb->mark, &cookie);
	if (dst && !dst_xfrm(dst) && sluice_dev_is_uplink(x->sn, dst->dev)) {
		value = (unsigned long)dst | SLUICE_SIDE_ROUTE;
		if (x->family == SLUICE_IPV6)
			WRITE_ONCE(c->e6[side].cookie, cookie);
	} else {
		dst_release(dst);
	}
	old = cmpxchg(&c->side[side], SLUICE_SIDE_UNKNOWN, value);
	if (old == SLUICE_SIDE_UNKNOWN)
		return value;
	if ((value & SLUICE_SIDE_MASK) == SLUICE_SIDE_ROUTE)
		dst_release(dst);
	return old;
}

bool sluice_deliver_route(struct sluice_ctx *x, struct dst_entry *dst)
{
	struct net_device *dev = dst->dev;
	struct sk_buff *skb = x->skb;

	if (!(dev->flags & IFF_UP) || too_big(skb, dst_mtu(dst)))
		return false;
	if (skb_cow_head(skb, LL_RESERVED_SPACE(dev)) ||
	    skb_ensure_writable(skb, header_bytes(x->family)))
		return false;
	if (!take_hop(skb, x->family))
		return false;

	skb_dst_drop(skb);
	skb_dst_set_noref(skb, dst);
	skb->dev = dev;
	skb_clear_tstamp(skb);
	skb_forward_csum(skb);
	sluice_count(x->sn, fast_uplink);
	if (x->family == SLUICE_IPV4) {
		struct rtable *rt = container_of(dst, struct rtable, dst);
		__be32 nexthop = rt_nexthop(rt, ip_hdr(skb)->daddr);

		IPCB(skb)->flags |= IPSKB_FORWARDED;
		neigh_xmit(NEIGH_ARP_TABLE, dev, &nexthop, skb);
	} else {
		struct rt6_info *rt = container_of(dst, struct rt6_info, dst);
		const struct in6_addr *nexthop = rt6_nexthop(rt, &ipv6_hdr(skb)->daddr);

		neigh_xmit(NEIGH_ND_TABLE, dev, nexthop, skb);
	}
	return true;
}
