// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fragments.
 *
 * Ingress lets them go on to the stack. They are put together where the stack's own users do it, at
 * PRE_ROUTING (at LOCAL_OUT those that a raw socket made), by the kernel's own code, but called
 * from here: so that what it refuses has a reason that is counted, overlapping fragments (RFC 5722)
 * above all. One wrong fragment takes its whole datagram with it, and counts once.
 */
#include <linux/netfilter.h>
#include <net/ip.h>
#include <net/ipv6_frag.h>
#include <net/netfilter/ipv6/nf_defrag_ipv6.h>

#include "net.h"
#include "path.h"
#include "stats.h"

bool sluice_reassemble(struct sluice_ctx *x)
{
	bool out = x->at == SLUICE_AT_LOCAL_OUT;
	struct net *net = sluice_net_of(x->sn);
	int err;

	if (x->family == SLUICE_IPV4) {
		local_bh_disable();
		err = ip_defrag(net, x->skb,
				out ? IP_DEFRAG_CONNTRACK_OUT : IP_DEFRAG_CONNTRACK_IN);
		local_bh_enable();
		/* It came in pieces and may leave in such, whatever it says about that. */
		if (!err)
			x->skb->ignore_df = 1;
	} else {
		err = nf_ct_frag6_gather(net, x->skb,
					 out ? IP6_DEFRAG_CONNTRACK_OUT : IP6_DEFRAG_CONNTRACK_IN);
	}
	if (!err)
		return true;
	if (err != -EINPROGRESS) {
		sluice_count_drop(x->sn, SLUICE_REASON_FRAGMENT);
		if (x->family == SLUICE_IPV6) /* ip_defrag() has freed it, this one has not */
			kfree_skb(x->skb);
	}
	return false;
}
