/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A packet under way, the general way: one value of a per-CPU map, which no two packets share, for a program of ours
 * runs with bottom halves off and is not entered again on its CPU. Functions hand on a pointer to it. Those that
 * are neither static nor inline are verified once and by themselves, for any content of the context: what one
 * has checked of it, the next does not know.
 */
#ifndef SLUICE_BPF_CONTEXT_H
#define SLUICE_BPF_CONTEXT_H

#include <linux/pkt_cls.h>

#include "bpf/clock.h"
#include "bpf/event.h"
#include "bpf/judge.h"
#include "bpf/maps.h"
#include "core/packet.h"

#define SLUICE_GLOBAL __attribute__((noinline))
#define SLUICE_ALIGNED \
	__attribute__((aligned(8))) /* of keys on the stack, which are copied by 8 bytes */
#define SLUICE_LIKELY(x) __builtin_expect(!!(x), 1)
#define SLUICE_ONCE(x) (*(const volatile typeof(x) *)&(x))

/* Bytes of the packet that are looked at, from the network header on: 60 and 60 of headers, and as much embedded. */
#define SLUICE_WINDOW 256

/* Interfaces that packets pass have frames with this much in front; the loader refuses others. */
#define SLUICE_FRAME 14

/* Where a packet comes from; see kmod/path.h. */
enum sluice_from {
	SLUICE_FROM_POD,
	SLUICE_FROM_OUTSIDE,
	SLUICE_FROM_NODE,
};

/*
 * What a step says: a program's return value (TC_ACT_*, all of them 0 or more), or which step is the next.
 */
#define SLUICE_STEP_FIRST -10 /* it is a connection's first packet */
#define SLUICE_STEP_REJUDGE -11 /* policy is to be asked about its connection, by x->judge */
#define SLUICE_STEP_GO_ON -12 /* policy has nothing against it */
#define SLUICE_STEP_JUDGE -13 /* policy is to be asked about the first packet, by x->judge */
#define SLUICE_STEP_OPEN -14 /* what is to become of the first packet is decided, in x->judge.out */
#define SLUICE_STEP_FORWARD -15 /* it may pass: translate, hand on */
#define SLUICE_STEP_REJECT -16 /* answer and drop, with the reason in the context */
#define SLUICE_STEP_GENERAL -17 /* take the general way */
#define SLUICE_STEP_UNKNOWN -18 /* the same, as a first packet; the context says what is in it */

/* How a packet comes to the general way. */
#define SLUICE_WAY_EGRESS 0x01 /* on its way out to a pod, sent by the stack */
#define SLUICE_WAY_UNKNOWN 0x02 /* plain, and of no known connection: x->pkt says what is in it */

/* Where a packet goes on, beside SLUICE_BPF_SIDE_*; all zero: the stack, as it is. */
struct sluice_route {
	__u32 expires; /* ticks */
	__u32 ifindex; /* an uplink */
	__u32 mtu; /* layer 3 */
	struct bpf_redir_neigh next;
};

struct sluice_ctx {
	__u8 window[SLUICE_WINDOW];
	struct sluice_packet pkt;
	struct sluice_tuple key[2]; /* of the connection: original, reply */
	struct sluice_tuple
		to; /* how the packet leaves; the packet's own tuple when nothing is translated */
	struct sluice_judge_request judge;
	struct sluice_event_request event;
	struct sluice_route route;
	__u32 wire; /* bytes from the network header on */
	__u32 ifindex; /* of the interface that this happens on */
	__u32 now; /* ticks */
	__u32 ref; /* of the entry that was found or made; 0: none */
	__u32 exit; /* as conn.side; unknown: the stack */
	__u32 gen; /* of policy, as the packet found it */
	__u32 epoch; /* of backends, likewise */
	__u32 dst_ifindex; /* of a first packet's destination after NAT, if that is one of our pods */
	__u32 bits; /* SLUICE_BPF_* of the connection to be made */
	__u8 family;
	__u8 from; /* enum sluice_from */
	__u8 egress; /* on its way out to a pod, sent by the stack */
	__u8 dir;
	__u8 reason; /* with REJECT */
	__u8 state; /* of the connection to be made */
	__u8 dst_node; /* its far end is the node */
	__u8 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_ctx);
} scratch SEC(".maps");

static __always_inline struct sluice_bpf_control *sluice_control(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&control, &zero);
}

static __always_inline struct sluice_bpf_stats *sluice_stats(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&stats, &zero);
}

static __always_inline struct sluice_ctx *sluice_context(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

static __always_inline struct sluice_bpf_table *sluice_table_of(struct sluice_bpf_control *ctl,
								__u8 family)
{
	return &ctl->table[family == SLUICE_IPV6];
}

/*
 * Which version of a value counts at a revision; false: none. The compiler shall not know that it may be -1 inside:
 * it would index with that, and only then look.
 */
static __always_inline bool sluice_version(const struct sluice_bpf_since *s, __u32 revision,
					   __u32 *v)
{
	int n = sluice_bpf_version(s, revision);
	__u32 version = (__u32)n;

	if (n < 0)
		return false;
	asm volatile("" : "+r"(version));
	*v = version & 1;
	return true;
}

#define SLUICE_COUNT(field)                                  \
	do {                                                 \
		struct sluice_bpf_stats *s = sluice_stats(); \
		if (s)                                       \
			s->field++;                          \
	} while (0)

/* The packet's end, for a reason that is counted. */
static __always_inline int sluice_drop(__u32 reason)
{
	struct sluice_bpf_stats *s = sluice_stats();

	if (!__builtin_constant_p(reason))
		sluice_settle(
			reason); /* the comparison is for the verifier, who knows no callers */
	if (s && reason < SLUICE_REASON_COUNT)
		s->drops[reason]++;
	return TC_ACT_SHOT;
}

#endif
