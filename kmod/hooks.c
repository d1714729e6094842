// SPDX-License-Identifier: GPL-2.0-only
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/ip.h>
#include <net/netfilter/nf_conntrack.h>

#include "device.h"
#include "hooks.h"
#include "net.h"
#include "path.h"

/* What we handled is "untracked": nf_conntrack does not pay for it, and we know it again. */
static bool handled(const struct sk_buff *skb)
{
	return (skb->_nfct & NFCT_INFOMASK) == IP_CT_UNTRACKED;
}

static unsigned int verdict(struct sluice_ctx *x, enum sluice_act act)
{
	switch (act) {
	case SLUICE_ACT_STACK:
		return NF_ACCEPT;
	case SLUICE_ACT_HANDLED:
		nf_reset_ct(x->skb);
		nf_ct_set(x->skb, NULL, IP_CT_UNTRACKED);
		return NF_ACCEPT;
	case SLUICE_ACT_STOLEN:
		return NF_STOLEN;
	case SLUICE_ACT_ERROR:
		break;
	}
	return NF_DROP_ERR(x->error);
}

static unsigned int run(struct sluice_ctx *x)
{
	return verdict(x, sluice_path(x));
}

/* Apart, so that the common packet does not pay for the context of the others (some 250 bytes). */
static noinline unsigned int ingress(struct sluice_device *d, struct sk_buff *skb, u8 family,
				     const struct sluice_known *known,
				     const struct nf_hook_state *state)
{
	struct sluice_ctx x SLUICE_UNINIT;

	x.sn = d->sn;
	x.skb = skb;
	x.dev = d;
	x.state = state;
	x.known = *known;
	x.family = family;
	x.from = d->uplink ? SLUICE_FROM_OUTSIDE : SLUICE_FROM_POD;
	x.at = SLUICE_AT_INGRESS;
	return run(&x);
}

unsigned int sluice_hook_ingress(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct sluice_known known SLUICE_UNINIT;
	struct sluice_device *d = priv;

	if (unlikely(skb->pkt_type == PACKET_OTHERHOST))
		return NF_ACCEPT; /* the stack drops it */
	if (unlikely(skb_vlan_tag_present(skb))) {
		/* Another network's: the stack gives it to that VLAN's interface, or drops it. */
		if (skb_vlan_tag_get_id(skb))
			return NF_ACCEPT;
		__vlan_hwaccel_clear_tag(skb); /* a priority alone, which must not leave again */
	}
	if (skb->protocol == htons(ETH_P_IP)) {
		if (likely(sluice_fast4(d, skb, &known)))
			return NF_STOLEN;
		return ingress(d, skb, SLUICE_IPV4, &known, state);
	}
	if (skb->protocol == htons(ETH_P_IPV6)) {
		if (likely(sluice_fast6(d, skb, &known)))
			return NF_STOLEN;
		return ingress(d, skb, SLUICE_IPV6, &known, state);
	}
	return NF_ACCEPT; /* ARP; nothing else leaves a pod's link */
}

/* Behind ingress: all but where the packet comes from, and where it is met. */
static void init_ctx(struct sluice_ctx *x, struct sluice_net *sn, struct sk_buff *skb,
		     const struct nf_hook_state *state, u8 family)
{
	x->known.plain = false;
	x->family = family;
	x->sn = sn;
	x->skb = skb;
	x->state = state;
}

/*
 * Two kinds of packets get here unjudged: fragments, which ingress let through, and those of
 * interfaces that are neither a pod's nor an uplink, which must not be a way around policy.
 */
static unsigned int pre_routing(struct sluice_net *sn, struct sk_buff *skb,
				const struct nf_hook_state *state, u8 family, bool fragment)
{
	struct sluice_ctx x;

	if (handled(skb) || (state->in->flags & IFF_LOOPBACK))
		return NF_ACCEPT;
	x.dev = sluice_device_find(sn, state->in);
	if (x.dev && !fragment)
		return NF_ACCEPT;
	init_ctx(&x, sn, skb, state, family);
	x.from = x.dev && !x.dev->uplink ? SLUICE_FROM_POD : SLUICE_FROM_OUTSIDE;
	x.at = SLUICE_AT_PRE_ROUTING;
	return run(&x);
}

static unsigned int pre_routing4(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return pre_routing(priv, skb, state, SLUICE_IPV4, ip_is_fragment(ip_hdr(skb)));
}

static unsigned int pre_routing6(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	/* Whether an extension header is a fragment's only the parser knows; another is the stack's again. */
	return pre_routing(priv, skb, state, SLUICE_IPV6, ipv6_ext_hdr(ipv6_hdr(skb)->nexthdr));
}

static unsigned int local_out(struct sluice_net *sn, struct sk_buff *skb,
			      const struct nf_hook_state *state, u8 family)
{
	struct sluice_ctx x;

	if (handled(skb))
		return NF_ACCEPT;
	x.dev = NULL;
	init_ctx(&x, sn, skb, state, family);
	x.from = SLUICE_FROM_NODE;
	x.at = SLUICE_AT_LOCAL_OUT;
	return run(&x);
}

static unsigned int local_out4(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return local_out(priv, skb, state, SLUICE_IPV4);
}

static unsigned int local_out6(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return local_out(priv, skb, state, SLUICE_IPV6);
}

/*
 * On its way to a pod, and netfilter has given it that destination: policy has not been asked about it. (What we
 * handled is untracked, so nobody has translated it.) Answers on their way back to a pod that asked so come
 * by here, too.
 */
static unsigned int post_routing(struct sluice_net *sn, struct sk_buff *skb,
				 const struct nf_hook_state *state, u8 family)
{
	enum ip_conntrack_info info;
	const struct nf_conn *ct = nf_ct_get(skb, &info);
	struct sluice_device *out;
	struct sluice_ctx x;

	if (likely(!ct || !(READ_ONCE(ct->status) & IPS_DST_NAT)))
		return NF_ACCEPT;
	out = sluice_device_find(sn, state->out);
	if (!out || out->uplink)
		return NF_ACCEPT;
	x.dev = state->in ? sluice_device_find(sn, state->in) : NULL;
	init_ctx(&x, sn, skb, state, family);
	x.from = skb->skb_iif ? SLUICE_FROM_OUTSIDE : SLUICE_FROM_NODE;
	x.at = SLUICE_AT_POST_ROUTING;
	return run(&x);
}

static unsigned int post_routing4(void *priv, struct sk_buff *skb,
				  const struct nf_hook_state *state)
{
	return post_routing(priv, skb, state, SLUICE_IPV4);
}

static unsigned int post_routing6(void *priv, struct sk_buff *skb,
				  const struct nf_hook_state *state)
{
	return post_routing(priv, skb, state, SLUICE_IPV6);
}

/*
 * Before nf_conntrack's reassembly (-400), which does not say what it drops: what it sees afterwards
 * is whole.
 */
#define SLUICE_HOOK_PRIORITY (NF_IP_PRI_CONNTRACK_DEFRAG - 10)

static const struct nf_hook_ops templates[] = {
	{
		.hook = pre_routing4,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_PRE_ROUTING,
		.priority = SLUICE_HOOK_PRIORITY,
	},
	{
		.hook = pre_routing6,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_PRE_ROUTING,
		.priority = SLUICE_HOOK_PRIORITY,
	},
	{
		.hook = local_out4,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_LOCAL_OUT,
		.priority = SLUICE_HOOK_PRIORITY,
	},
	{
		.hook = local_out6,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_LOCAL_OUT,
		.priority = SLUICE_HOOK_PRIORITY,
	},
	{
		.hook = post_routing4,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_POST_ROUTING,
		.priority = NF_IP_PRI_NAT_SRC + 1,
	},
	{
		.hook = post_routing6,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_POST_ROUTING,
		.priority = NF_IP6_PRI_NAT_SRC + 1,
	},
};

int sluice_hooks_register(struct sluice_net *sn)
{
	struct net *net = sluice_net_of(sn);
	struct nf_hook_ops *ops;
	unsigned int i;
	int err;

	ops = kmemdup(templates, sizeof(templates), GFP_KERNEL);
	if (!ops)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(templates); i++)
		ops[i].priv = sn;
	err = nf_register_net_hooks(net, ops, ARRAY_SIZE(templates));
	if (err) {
		kfree(ops);
		return err;
	}
	sn->hooks = ops;
	return 0;
}

/* Packets may still be in them until a grace period has passed. */
void sluice_hooks_unregister(struct sluice_net *sn)
{
	if (!sn->hooks)
		return;
	nf_unregister_net_hooks(sluice_net_of(sn), sn->hooks, ARRAY_SIZE(templates));
	kfree(sn->hooks);
	sn->hooks = NULL;
}
