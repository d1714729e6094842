// SPDX-License-Identifier: GPL-2.0-only
/* What sweep.c runs: the sweeper's slices one by one, and its timer. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/sweep.h"

SEC("tc") int sweep4(struct __sk_buff *skb)
{
	(void)skb;
	return sluice_sweep_table(0);
}

SEC("tc") int sweep6(struct __sk_buff *skb)
{
	(void)skb;
	return sluice_sweep_table(1);
}

SEC("tc") int start(struct __sk_buff *skb)
{
	(void)skb;
	return sluice_sweep_start();
}

char _license[] SEC("license") = "GPL";
