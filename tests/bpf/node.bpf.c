// SPDX-License-Identifier: GPL-2.0-only
/* The cgroup programs alone. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/node.h"

SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx)
{
	return sluice_node4(ctx, SLUICE_NODE_TOWARDS);
}

SEC("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx)
{
	return sluice_node6(ctx, SLUICE_NODE_TOWARDS);
}

SEC("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *ctx)
{
	return sluice_node4(ctx, SLUICE_NODE_TOWARDS_KEPT);
}

SEC("cgroup/sendmsg6") int sendmsg6(struct bpf_sock_addr *ctx)
{
	return sluice_node6(ctx, SLUICE_NODE_TOWARDS_KEPT);
}

SEC("cgroup/recvmsg4") int recvmsg4(struct bpf_sock_addr *ctx)
{
	return sluice_node4(ctx, SLUICE_NODE_FROM);
}

SEC("cgroup/recvmsg6") int recvmsg6(struct bpf_sock_addr *ctx)
{
	return sluice_node6(ctx, SLUICE_NODE_FROM);
}

SEC("cgroup/getpeername4") int getpeername4(struct bpf_sock_addr *ctx)
{
	return sluice_node4(ctx, SLUICE_NODE_FROM);
}

SEC("cgroup/getpeername6") int getpeername6(struct bpf_sock_addr *ctx)
{
	return sluice_node6(ctx, SLUICE_NODE_FROM);
}

char _license[] SEC("license") = "GPL";
