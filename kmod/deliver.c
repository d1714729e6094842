// SPDX-License-Identifier: GPL-2.0-only
#include <linux/netdevice.h>
#include <net/ip6_route.h>
#include <net/route.h>

#include "deliver.h"
#include "device.h"
#include "net.h"
#include "path.h"
#include "stats.h"

/* false: it was the last hop; the stack drops the packet and says so to its sender. */
static bool take_hop(struct sk_buff *skb, u8 family)
{
	if ((family == SLUICE_IPV4 ? ip_hdr(skb)->ttl : ipv6_hdr(skb)->hop_limit) <= 1)
		return false;
	sluice_take_hop(skb, family);
	return true;
}

bool sluice_deliver_pod(struct sluice_ctx *x, struct sluice_device *pod)
{
	struct net_device *dev = READ_ONCE(pod->dev), *peer;

	peer = sluice_pod_peer(x->skb, dev);
	if (!peer || skb_ensure_writable(x->skb, sluice_header_bytes(x->family)) ||
	    !take_hop(x->skb, x->family))
		return false;
	sluice_receive_at(x->sn, x->skb, dev, peer);
	return true;
}

void sluice_forget_route(struct sluice_conn *c, u8 side, unsigned long value)
{
	if (cmpxchg(&c->side[side], value, SLUICE_SIDE_UNKNOWN) == value)
		dst_release((void *)(value & ~SLUICE_SIDE_MASK));
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

	/* To an address of a link: which link, only the stack may say. */
	if (x->family == SLUICE_IPV4)
		dst = route4(net, to, x->skb->mark);
	else if (sluice_addr_link_local(&to->dst, SLUICE_IPV6))
		dst = NULL;
	else
		dst = route6(net, to, x->skb->mark, &cookie);
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

/* It has its route with it, by which its sender is told if the neighbour does not answer. */
void sluice_send_unresolved(struct sk_buff *skb, u8 family, struct dst_entry *dst)
{
	skb_dst_set_noref(skb, dst);
	if (family == SLUICE_IPV4) {
		__be32 nexthop =
			rt_nexthop(container_of(dst, struct rtable, dst), ip_hdr(skb)->daddr);

		neigh_xmit(NEIGH_ARP_TABLE, skb->dev, &nexthop, skb);
	} else {
		neigh_xmit(NEIGH_ND_TABLE, skb->dev,
			   rt6_nexthop(container_of(dst, struct rt6_info, dst),
				       &ipv6_hdr(skb)->daddr),
			   skb);
	}
}

bool sluice_deliver_route(struct sluice_ctx *x, struct dst_entry *dst)
{
	if (!sluice_route_fits(x->skb, dst, x->family) ||
	    skb_ensure_writable(x->skb, sluice_header_bytes(x->family)) ||
	    !take_hop(x->skb, x->family))
		return false;
	skb_forward_csum(x->skb);
	sluice_send_by(x->sn, x->skb, x->family, dst);
	return true;
}
