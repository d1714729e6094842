// SPDX-License-Identifier: GPL-2.0-only
/*
 * The eBPF variant's programs: where packets and sockets enter. What happens to them is in the headers, one noun
 * each; what is decided about them is in core/.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "bpf/context.h"
#include "bpf/fast.h"
#include "bpf/maps.h"
#include "bpf/node.h"
#include "bpf/path.h"
#include "bpf/sweep.h"

#define SLUICE_VLAN_ID 0xfff /* of a tag's bits */

/* At ingress of an interface of ours. */
static __always_inline int sluice_ingress(struct __sk_buff *skb, __u32 from)
{
	int step = SLUICE_STEP_GENERAL;

	if (skb->pkt_type == PACKET_OTHERHOST)
		return TC_ACT_OK; /* the stack drops it */
	if (skb->vlan_present) {
		/* Another network's: the stack gives it to that VLAN's interface, or drops it. */
		if (skb->vlan_tci & SLUICE_VLAN_ID)
			return TC_ACT_OK;
		bpf_skb_vlan_pop(skb); /* a priority alone, which must not leave again */
	}
	if (skb->protocol == sluice_htons(ETH_P_IP))
		step = sluice_fast4(skb, from);
	else if (skb->protocol == sluice_htons(ETH_P_IPV6))
		step = sluice_fast6(skb, from);
	else
		return TC_ACT_OK; /* ARP; nothing else leaves a pod's link */
	if (step >= 0)
		return step;
	return sluice_path(skb, from, step == SLUICE_STEP_UNKNOWN ? SLUICE_WAY_UNKNOWN : 0);
}

/* Ingress of the host side of a pod's interface. */
SEC("tc") int sluice_pod(struct __sk_buff *skb)
{
	return sluice_ingress(skb, SLUICE_FROM_POD);
}

/* Ingress of an uplink. */
SEC("tc") int sluice_uplink(struct __sk_buff *skb)
{
	return sluice_ingress(skb, SLUICE_FROM_OUTSIDE);
}

/*
 * Egress of the host side of a pod's interface: what the stack sends to the pod. With the mark, it was handled
 * on its way in. Without, it is the node's own, or came by an interface that is neither a pod's nor an uplink, or to
 * an address of the node that others have translated.
 */
SEC("tc") int sluice_to_pod(struct __sk_buff *skb)
{
	__u32 from = skb->ingress_ifindex ? SLUICE_FROM_OUTSIDE : SLUICE_FROM_NODE;
	struct sluice_ctx *x = sluice_context();

	if (skb->protocol != sluice_htons(ETH_P_IP) && skb->protocol != sluice_htons(ETH_P_IPV6))
		return TC_ACT_OK;
	if (skb->mark & SLUICE_BPF_MARK_ANSWER) {
		skb->mark &= ~SLUICE_BPF_MARK_ANSWER;
		return TC_ACT_OK;
	}
	if (skb->mark & SLUICE_BPF_MARK) {
		skb->mark &= ~SLUICE_BPF_MARK;
		if (sluice_is_handled(skb, x))
			return TC_ACT_OK;
		from = sluice_translated_from(skb, x);
	}
	return sluice_path(skb, from, SLUICE_WAY_EGRESS);
}

/* Run once, after loading: starts the sweeper. 0, or a negative errno. */
SEC("tc") int sluice_start(struct __sk_buff *skb)
{
	(void)skb;
	return sluice_sweep_start();
}

SEC("cgroup/connect4") int sluice_connect4(struct bpf_sock_addr *ctx)
{
	return sluice_node4(ctx, SLUICE_NODE_TOWARDS);
}

SEC("cgroup/connect6") int sluice_connect6(struct bpf_sock_addr *ctx)
{
	return sluice_node6(ctx, SLUICE_NODE_TOWARDS);
}

SEC("cgroup/sendmsg4") int sluice_sendmsg4(struct bpf_sock_addr *ctx)
{
	return sluice_node4(ctx, SLUICE_NODE_TOWARDS_KEPT);
}

SEC("cgroup/sendmsg6") int sluice_sendmsg6(struct bpf_sock_addr *ctx)
{
	return sluice_node6(ctx, SLUICE_NODE_TOWARDS_KEPT);
}

SEC("cgroup/recvmsg4") int sluice_recvmsg4(struct bpf_sock_addr *ctx)
{
	return sluice_node4(ctx, SLUICE_NODE_FROM);
}

SEC("cgroup/recvmsg6") int sluice_recvmsg6(struct bpf_sock_addr *ctx)
{
	return sluice_node6(ctx, SLUICE_NODE_FROM);
}

SEC("cgroup/getpeername4") int sluice_getpeername4(struct bpf_sock_addr *ctx)
{
	return sluice_node4(ctx, SLUICE_NODE_FROM);
}

SEC("cgroup/getpeername6") int sluice_getpeername6(struct bpf_sock_addr *ctx)
{
	return sluice_node6(ctx, SLUICE_NODE_FROM);
}

char _license[] SEC("license") = "GPL";
