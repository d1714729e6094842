// SPDX-License-Identifier: GPL-2.0-only
/*
 * The maps of the eBPF variant with programs that do nothing: what the loader does with an object does not
 * depend on what its programs do, and these load in a moment.
 *
 *	VARIANT 1	lets everything pass
 *	VARIANT 2	drops everything: another build
 *	VARIANT 3	has a program that no verifier accepts
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "bpf/maps.h"

#define VERDICT (VARIANT == 2 ? TC_ACT_SHOT : TC_ACT_OK)

SEC("tc") int sluice_pod(struct __sk_buff *skb)
{
#if VARIANT == 3
	__u32 key = 0, *value = bpf_map_lookup_elem(&uplinks, &key);

	return *value; /* not looked whether it is there */
#endif
	(void)skb;
	return VERDICT;
}

SEC("tc") int sluice_uplink(struct __sk_buff *skb)
{
	(void)skb;
	return VERDICT;
}

SEC("tc") int sluice_to_pod(struct __sk_buff *skb)
{
	(void)skb;
	return VERDICT;
}

SEC("tc") int sluice_start(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_OK;
}

#define HOOK(name, section)                              \
	SEC(section) int name(struct bpf_sock_addr *ctx) \
	{                                                \
		(void)ctx;                               \
		return 1;                                \
	}
HOOK(sluice_connect4, "cgroup/connect4")
HOOK(sluice_connect6, "cgroup/connect6")
HOOK(sluice_sendmsg4, "cgroup/sendmsg4")
HOOK(sluice_sendmsg6, "cgroup/sendmsg6")
HOOK(sluice_recvmsg4, "cgroup/recvmsg4")
HOOK(sluice_recvmsg6, "cgroup/recvmsg6")
HOOK(sluice_getpeername4, "cgroup/getpeername4")
HOOK(sluice_getpeername6, "cgroup/getpeername6")

char _license[] SEC("license") = "GPL";
