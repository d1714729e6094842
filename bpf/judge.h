/* SPDX-License-Identifier: GPL-2.0-only */
/* Policy for one packet: what judge() of kmod/path.c does, from maps. */
#ifndef SLUICE_BPF_JUDGE_H
#define SLUICE_BPF_JUDGE_H

#include <bpf/bpf_helpers.h>

#include "bpf/layout.h"
#include "bpf/maps.h"

/* In a map's value, or on the stack of who has 112 bytes to spare. */
struct sluice_judge_request {
	struct sluice_addr src; /* of the original client */
	struct sluice_addr dst; /* of the destination after NAT */
	__u32 family;
	__u32 gen; /* control.policy_gen, loaded before ... */
	__u32 rev; /* ... control.revision */
	__u32 flags; /* SLUICE_JUDGE_NODE ones and _SELF: what the caller knows; _LOCAL and _CLOSED are added here */
	__u32 src_ifindex; /* of our pod, or 0 */
	__u32 dst_ifindex;
	__u16 port; /* of the destination after NAT; see sluice_port_key() */
	__u8 proto;
	__u8 pad;
	struct sluice_judgement out;
};

#endif
