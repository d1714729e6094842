// SPDX-License-Identifier: GPL-2.0-only
/*
 * What of core/ the kernel's verifier accepts as it stands, with its state in a map value. ./run loads
 * each program and throws it away.
 *
 * Policy is judge.bpf.c's. The packet parser is compiled (core.bpf.c) but not loaded: its offsets are
 * compared with the window's length, both unknown, and the verifier does not carry that over to the access; it takes
 * a window as long as the furthest offset.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "core/conntrack.h"
#include "core/nat.h"
#include "core/packet.h"
#include "core/service.h"

struct state {
	struct sluice_packet pkt;
	struct sluice_tuple reply;
	struct sluice_nat_delta delta;
	struct sluice_tcp_dir tcp[2];
	__u32 pick;
	__u8 state;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} states SEC(".maps");

static __always_inline struct state *get_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&states, &zero);
}

SEC("tc") int nat(struct __sk_buff *skb)
{
	struct state *s = get_state();

	if (!s)
		return 0;
	sluice_tuple_invert(&s->reply, &s->pkt.tuple);
	s->reply.dport = sluice_htons(sluice_nat_port(sluice_ntohs(s->pkt.tuple.sport),
						      bpf_get_prandom_u32(), skb->mark & 127));
	sluice_nat_delta(&s->pkt.tuple, &s->reply, &s->delta);
	s->pick = sluice_service_pick(bpf_get_prandom_u32(), skb->mark);
	return sluice_addr_martian_source(&s->pkt.tuple.src, s->pkt.tuple.family);
}

SEC("tc") int conntrack(struct __sk_buff *skb)
{
	struct state *s = get_state();

	if (!s)
		return 0;
	if (!s->state)
		s->state = sluice_state_first(s->pkt.tuple.proto, &s->pkt.l4, s->tcp);
	else
		s->state = sluice_state_next(s->pkt.tuple.proto, s->state, skb->mark & 1, s->tcp,
					     &s->pkt.l4);
	return (int)sluice_state_timeout(s->state);
}

char _license[] SEC("license") = "GPL";
