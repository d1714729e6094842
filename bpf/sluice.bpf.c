// SPDX-License-Identifier: GPL-2.0-only
/*
 * The eBPF variant's programs: where packets and sockets enter. What happens to them is in the headers, one noun
 * each; what is decided about them is in core/.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "bpf/maps.h"

/* Ingress of the host side of a pod's interface. */
SEC("tc") int sluice_pod(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_OK;
}

/* Ingress of an uplink. */
SEC("tc") int sluice_uplink(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_OK;
}

/* Egress of the host side of a pod's interface: what the stack sends to the pod. */
SEC("tc") int sluice_to_pod(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_OK;
}

/* Run once, after loading: starts the sweeper. */
SEC("tc") int sluice_start(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_OK;
}

SEC("cgroup/connect4") int sluice_connect4(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return 1;
}

SEC("cgroup/connect6") int sluice_connect6(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return 1;
}

SEC("cgroup/sendmsg4") int sluice_sendmsg4(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return 1;
}

SEC("cgroup/sendmsg6") int sluice_sendmsg6(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return 1;
}

SEC("cgroup/recvmsg4") int sluice_recvmsg4(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return 1;
}

SEC("cgroup/recvmsg6") int sluice_recvmsg6(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return 1;
}

SEC("cgroup/getpeername4") int sluice_getpeername4(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return 1;
}

SEC("cgroup/getpeername6") int sluice_getpeername6(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return 1;
}

char _license[] SEC("license") = "GPL";
