/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A packet's way, the general one, in kmod/path.c's steps:
 *
 *     parse -> known?  --yes--> check generations -> advance -> translate -> deliver
 *                 \--no--> decide (service, policy) -> create -> translate -> deliver
 *
 * Differences from the module, which come from where a program stands: what the node itself sends is met on its way
 * out to a pod, when the stack has routed it (its services are dealt with in its sockets, node.h); so is what comes in
 * by an interface that is neither a pod's nor an uplink. Fragments cannot be put together: they are dropped where they
 * concern us, with their reason.
 */
#ifndef SLUICE_BPF_PATH_H
#define SLUICE_BPF_PATH_H

#include <linux/if_ether.h>

#include "bpf/conn.h"
#include "bpf/context.h"
#include "bpf/decide.h"
#include "bpf/deliver.h"
#include "bpf/fast.h"
#include "bpf/icmp.h"
#include "bpf/reject.h"
#include "bpf/translate.h"
#include "uapi/sluice.h"

/* The window is as long as it is whatever the packet's length: the parser asks "wire" first. */
SLUICE_GLOBAL int sluice_parse(struct sluice_ctx *x)
{
	if (!x)
		return SLUICE_PARSE_MALFORMED;
	return sluice_packet_parse(x->window, SLUICE_WINDOW, x->wire, x->family, &x->pkt);
}

/* Tells those who listen what happened to connection x->ref. */
SLUICE_GLOBAL int sluice_tell(struct sluice_ctx *x, __u32 type)
{
	struct sluice_bpf_conn *c;

	if (!x)
		return 0;
	c = sluice_conn_of(x->family, x->ref);
	if (!c)
		return 0;
	x->event.tuple[0] = x->key[0];
	x->event.tuple[1] = x->key[1];
	x->event.type = (__u8)type;
	x->event.family = x->family;
	x->event.pad = 0;
	x->event.pad2 = 0;
	x->event.conn = *c;
	return sluice_event_send(&x->event);
}

/* A packet of connection x->ref. A program's return value, FIRST, REJUDGE, or GO_ON. */
SLUICE_GLOBAL int sluice_known(struct __sk_buff *skb, struct sluice_ctx *x)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_bpf_table *t;
	struct sluice_bpf_conn *c;
	__u32 side, other;
	int step;

	if (!x || !ctl)
		return sluice_drop(SLUICE_REASON_NO_MEMORY);
	c = sluice_conn_of(x->family, x->ref);
	if (!c)
		return sluice_drop(SLUICE_REASON_NO_MEMORY);
	t = sluice_table_of(ctl, x->family);
	SLUICE_COUNT(hits);
	if (SLUICE_ONCE(c->bits) & SLUICE_BPF_DENIED) {
		/* A negative entry speaks for the policy that made it, and for nobody else. */
		if (c->policy_gen == SLUICE_ONCE(ctl->policy_gen))
			return sluice_drop(SLUICE_ONCE(c->reason));
		sluice_conn_kill(t, c);
		return SLUICE_STEP_FIRST;
	}
	side = SLUICE_ONCE(c->side[x->dir & 1]);
	other = SLUICE_ONCE(c->side[!x->dir]);
	/* Where it went nobody is any more: who has its address, or its service, now? */
	if (other >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_POD &&
	    sluice_pod_fits(skb, other & SLUICE_BPF_SIDE_IFINDEX) == SLUICE_FITS_NOWHERE) {
		sluice_conn_kill(t, c);
		return SLUICE_STEP_FIRST;
	}

	/* The tuple is right, but does it come from where that side is? The stack's own translations were checked before. */
	if (x->from == SLUICE_FROM_POD && !x->egress) {
		if (side != sluice_side_of(SLUICE_BPF_SIDE_POD, x->ifindex))
			return sluice_drop(SLUICE_REASON_SPOOFED_SOURCE);
	} else if (side >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_POD) {
		if (x->from == SLUICE_FROM_NODE)
			return TC_ACT_OK;
		return sluice_drop(SLUICE_REASON_SPOOFED_SOURCE);
	}

	if (c->policy_gen == SLUICE_ONCE(ctl->policy_gen))
		return SLUICE_STEP_GO_ON;
	step = sluice_question(x);
	if (step == SLUICE_STEP_FIRST)
		sluice_conn_kill(t, c);
	return step;
}

/* Policy's new answer about connection x->ref. GO_ON; or it is a negative entry from now on. */
SLUICE_GLOBAL int sluice_rejudged(struct sluice_ctx *x)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_bpf_conn *c;

	if (!x || !ctl)
		return sluice_drop(SLUICE_REASON_NO_MEMORY);
	c = sluice_conn_of(x->family, x->ref);
	if (!c)
		return sluice_drop(SLUICE_REASON_NO_MEMORY);
	SLUICE_COUNT(rejudged);
	sluice_conn_judged(c, &x->judge.out, x->gen);
	if (x->judge.out.verdict == SLUICE_VERDICT_ALLOW)
		return SLUICE_STEP_GO_ON;
	sluice_conn_deny(c, x->now);
	SLUICE_COUNT(cut);
	if (sluice_events_wanted(ctl))
		sluice_tell(x, SLUICE_EVENT_DENIED);
	return sluice_drop(x->judge.out.reason);
}

/* A packet of connection x->ref that policy has nothing against. A program's return value, FIRST, or FORWARD. */
SLUICE_GLOBAL int sluice_go_on(struct sluice_ctx *x)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_bpf_table *t;
	struct sluice_bpf_conn *c;

	if (!x || !ctl)
		return sluice_drop(SLUICE_REASON_NO_MEMORY);
	c = sluice_conn_of(x->family, x->ref);
	if (!c)
		return sluice_drop(SLUICE_REASON_NO_MEMORY);
	t = sluice_table_of(ctl, x->family);
	if (x->pkt.tuple.proto == SLUICE_PROTO_TCP) {
		if (!sluice_tcp_flags_valid(x->pkt.l4.flags))
			return sluice_drop(SLUICE_REASON_TCP_FLAGS);
		if (sluice_tcp_reopens(SLUICE_ONCE(c->state), x->pkt.l4.flags)) {
			sluice_conn_kill(t, c);
			return SLUICE_STEP_FIRST;
		}
	}
	if ((SLUICE_ONCE(c->bits) & SLUICE_BPF_SERVICE) && x->dir == SLUICE_DIR_ORIGINAL &&
	    sluice_starts_over(x, ctl, c)) {
		sluice_conn_kill(t, c);
		return SLUICE_STEP_FIRST;
	}
	sluice_conn_advance(c, x->pkt.tuple.proto, x->dir & 1, x->now, &x->pkt.l4);
	return SLUICE_STEP_FORWARD;
}

/* An address of the node that answers from the far end come back to; see kmod/path.c. */
static __always_inline bool sluice_masquerade(const struct sluice_bpf_control *ctl,
					      struct sluice_ctx *x)
{
	const struct sluice_addr *a = &ctl->masquerade[x->family == SLUICE_IPV6];

	x->key[1].dst = *a;
	return a->w[0] | a->w[1] | a->w[2] | a->w[3];
}

/* Remembers that this flow is denied, so that the rest of it costs one look-up a packet. */
static __always_inline void sluice_remember_denied(const struct sluice_bpf_control *ctl,
						   struct sluice_ctx *x)
{
	x->bits = SLUICE_BPF_DENIED;
	x->state = SLUICE_STATE_DENIED;
	if (sluice_create(x, 0, 0) == SLUICE_CREATED && sluice_events_wanted(ctl))
		sluice_tell(x, SLUICE_EVENT_DENIED);
}

/* Exchanges what a first packet says of both ends: it is an answer, or, again, it is not. */
static __always_inline void sluice_turn(struct sluice_ctx *x)
{
	struct sluice_tuple t = x->key[0];

	x->key[0] = x->key[1];
	x->key[1] = t;
	x->dir ^= 1;
}

/*
 * Is a first packet that policy allows more likely an answer (sluice_tcp_answers())? Then x->judge is the question
 * of the one who would have been answered.
 */
static __always_inline bool sluice_other_way(struct sluice_ctx *x)
{
	__u32 ifindex = x->judge.src_ifindex;
	struct sluice_addr src = x->judge.src;

	if (x->judge.out.verdict != SLUICE_VERDICT_ALLOW || (x->bits & SLUICE_BPF_SERVICE) ||
	    !sluice_tcp_answers(&x->pkt.tuple, x->pkt.l4.flags))
		return false;
	x->judge.src = x->judge.dst;
	x->judge.dst = src;
	x->judge.src_ifindex = x->judge.dst_ifindex;
	x->judge.dst_ifindex = ifindex;
	x->judge.port = sluice_ntohs(x->pkt.tuple.sport);
	sluice_turn(x);
	return true;
}

/* A connection's first packet, when it is decided. A program's return value, FORWARD, or REJECT. */
SLUICE_GLOBAL int sluice_open(struct sluice_ctx *x)
{
	struct sluice_bpf_control *ctl = sluice_control();
	__u32 side0 = sluice_side_of(SLUICE_BPF_SIDE_UNKNOWN, 0), side1 = side0;
	struct sluice_tcp_dir unused[2];
	struct sluice_bpf_conn *c;
	__u8 proto;
	int ret;

	if (!x || !ctl)
		return sluice_drop(SLUICE_REASON_NO_MEMORY);
	proto = x->pkt.tuple.proto;
	SLUICE_COUNT(misses);
	x->reason = x->judge.out.reason;
	if (x->judge.out.verdict == SLUICE_VERDICT_REJECT)
		return SLUICE_STEP_REJECT;
	if (proto == SLUICE_PROTO_TCP && !sluice_tcp_flags_valid(x->pkt.l4.flags))
		return sluice_drop(SLUICE_REASON_TCP_FLAGS);
	if (x->judge.out.verdict != SLUICE_VERDICT_ALLOW) {
		if (x->dir)
			sluice_turn(x);
		/* Where it is not the flow's own packet, it must not speak for the flow. */
		if (x->reason != SLUICE_REASON_SPOOFED_SOURCE && x->reason != SLUICE_REASON_MARTIAN)
			sluice_remember_denied(ctl, x);
		return sluice_drop(x->reason);
	}
	if (x->pkt.flags & SLUICE_PACKET_REPLY_ONLY)
		return sluice_drop(SLUICE_REASON_NO_CONNECTION);

	x->state = sluice_state_first(proto, &x->pkt.l4, unused);
	if (x->state == SLUICE_STATE_NONE)
		return sluice_drop(SLUICE_REASON_NO_CONNECTION);
	/* Which backend a stray packet belonged to is lost: say so, or the client waits for ever. */
	if ((x->bits & SLUICE_BPF_SERVICE) && proto == SLUICE_PROTO_TCP &&
	    x->state != SLUICE_STATE_TCP_SYN_SENT) {
		x->reason = SLUICE_REASON_NO_CONNECTION;
		return SLUICE_STEP_REJECT;
	}
	if ((x->bits & SLUICE_BPF_SERVICE) &&
	    ((x->bits & SLUICE_BPF_SELF) ||
	     (x->from == SLUICE_FROM_OUTSIDE && !x->dst_ifindex && !x->dst_node)))
		if (!sluice_masquerade(ctl, x))
			return sluice_drop(SLUICE_REASON_NO_ROUTE);
	if (x->egress) { /* whoever translated it on its way through the stack must see the answer */
		side0 = sluice_side_of(SLUICE_BPF_SIDE_STACK, 0);
		if (x->from != SLUICE_FROM_NODE)
			x->bits |= SLUICE_BPF_VIA_STACK;
	} else if (x->from == SLUICE_FROM_POD)
		side0 = sluice_side_of(SLUICE_BPF_SIDE_POD, x->ifindex);
	if (x->dst_ifindex)
		side1 = sluice_side_of(SLUICE_BPF_SIDE_POD, x->dst_ifindex);
	else if (x->dst_node)
		side1 = sluice_side_of(SLUICE_BPF_SIDE_STACK, 0);

	ret = x->dir ? sluice_create(x, side1, side0) : sluice_create(x, side0, side1);
	if (ret < 0)
		return sluice_drop((__u32)-ret);
	if (ret == SLUICE_CREATE_RACED) {
		/* The winner may be dying already; the sender repeats. */
		sluice_find(x, &x->pkt.tuple);
		c = sluice_conn_of(x->family, x->ref);
		if (!c || (SLUICE_ONCE(c->bits) & SLUICE_BPF_DENIED))
			return sluice_drop(SLUICE_REASON_NO_CONNECTION);
	} else if (sluice_events_wanted(ctl)) {
		sluice_tell(x, SLUICE_EVENT_NEW);
	}
	return SLUICE_STEP_FORWARD;
}

/* A packet of connection x->ref that may pass: count, translate, hand on. */
SLUICE_GLOBAL int sluice_forward(struct __sk_buff *skb, struct sluice_ctx *x)
{
	struct sluice_bpf_conn *c;
	__u32 nat, dir;
	int reason;

	if (!x)
		return sluice_drop(SLUICE_REASON_NO_MEMORY);
	c = sluice_conn_of(x->family, x->ref);
	if (!c)
		return sluice_drop(SLUICE_REASON_NO_MEMORY);
	dir = x->dir & 1;
	c->packets[dir]++;
	c->bytes[dir] += x->wire;
	nat = SLUICE_ONCE(c->bits) & SLUICE_BPF_NAT;
	if (nat)
		sluice_tuple_invert(&x->to, dir ? &x->key[0] : &x->key[1]);
	else
		x->to = x->pkt.tuple;
	sluice_find_exit(skb, x, !dir, 1);
	if (nat) {
		reason = sluice_translate(skb, x);
		if (reason)
			return sluice_drop((__u32)reason);
	}
	if (x->exit >> SLUICE_BPF_SIDE_SHIFT != SLUICE_BPF_SIDE_STACK)
		sluice_take_hop(skb, x->family, x->pkt.ttl);
	return sluice_send(skb, x);
}

/* Packets that stay on their link are the stack's: neighbour discovery, multicast, DHCP. */
static __always_inline bool sluice_stays_on_link(const struct sluice_ctx *x)
{
	if (x->pkt.flags & SLUICE_PACKET_LINK_CONTROL)
		return true;
	if (sluice_addr_multicast(&x->pkt.tuple.dst, x->family))
		return true;
	return x->family == SLUICE_IPV6 && sluice_addr_link_local(&x->pkt.tuple.dst, x->family);
}

/* A packet whose ports are not seen: the stack's if it is none of ours, else dropped. */
static __always_inline int sluice_unseen(const struct sluice_bpf_control *ctl, struct sluice_ctx *x,
					 __u32 reason)
{
	__u32 rev = SLUICE_ONCE(ctl->revision);

	if (x->from == SLUICE_FROM_POD) {
		if (!sluice_stays_on_link(x) || !sluice_pod_is_open(x->ifindex, rev))
			return sluice_drop(reason);
	} else if (sluice_pod_of(&x->pkt.tuple.dst, x->family, rev) ||
		   SLUICE_NUMBER_OF(vips, &x->pkt.tuple.dst, x->family, rev) != SLUICE_BPF_ABSENT) {
		return sluice_drop(reason);
	}
	SLUICE_COUNT(foreign);
	return TC_ACT_OK;
}

static __always_inline int sluice_stay(const struct sluice_bpf_control *ctl, struct sluice_ctx *x)
{
	/* A closed pod may find its neighbours, and that is all. */
	if (x->from == SLUICE_FROM_POD && !(x->pkt.flags & SLUICE_PACKET_LINK_CONTROL) &&
	    !sluice_pod_is_open(x->ifindex, SLUICE_ONCE(ctl->revision)))
		return sluice_drop(SLUICE_REASON_ENDPOINT_CLOSED);
	SLUICE_COUNT(foreign);
	return TC_ACT_OK;
}

/* Reads a packet into the context. FIRST, which may change yet, or a program's return value: it is done with. */
static __always_inline int sluice_read(struct __sk_buff *skb, const struct sluice_bpf_control *ctl,
				       struct sluice_ctx *x)
{
	__u32 n = x->wire;

	if (n > SLUICE_WINDOW)
		n = SLUICE_WINDOW;
	/* From 1 to the window, in words that 6.1's verifier understands. */
	sluice_settle(n);
	n = ((n - 1) & (SLUICE_WINDOW - 1)) + 1;
	if (bpf_skb_load_bytes(skb, SLUICE_FRAME, x->window, n))
		return sluice_drop(SLUICE_REASON_MALFORMED);
	/* Of a fragment the parser says none: they would be those of the packet before. */
	x->pkt.flags = 0;
	switch (sluice_parse(x)) {
	case SLUICE_PARSE_OK:
		return SLUICE_STEP_FIRST;
	case SLUICE_PARSE_FRAGMENT:
		SLUICE_COUNT(fragments);
		return sluice_unseen(ctl, x, SLUICE_REASON_FRAGMENT);
	case SLUICE_PARSE_MORE: /* there is more, and the window ends */
		return sluice_unseen(ctl, x, SLUICE_REASON_UNSUPPORTED);
	case SLUICE_PARSE_UNSUPPORTED:
		return sluice_drop(SLUICE_REASON_UNSUPPORTED);
	case SLUICE_PARSE_BAD_CHECKSUM:
		return sluice_drop(SLUICE_REASON_BAD_CHECKSUM);
	}
	return sluice_drop(SLUICE_REASON_MALFORMED);
}

/*
 * A packet on its way out to a pod that was handled on its way in: is it still the same? If not, somebody in between has
 * translated it (netfilter's DNAT for a host port), and what was judged was another destination.
 *
 * Theory of operation: the connection of a packet that was handled is found by the tuple of its answer, whatever we
 * translated. One that others translated has none, or one whose source is the stack: it was made here.
 *
 * Worked example: pod A asks node:8000, which leads to pod B:8080. A -> node:8000 is judged at A's interface, handed to the
 * stack, translated there. A -> B:8080 comes by here: nobody knows B:8080 -> A, so it is judged, and its connection
 * begins at the stack. B's answer goes to the stack, becomes node:8000 -> A, and is found to be handled.
 */
SLUICE_GLOBAL int sluice_is_handled(struct __sk_buff *skb, struct sluice_ctx *x)
{
	struct sluice_tuple answer SLUICE_ALIGNED;
	struct sluice_bpf_conn *c;
	__u32 n;

	if (!x || skb->len <= SLUICE_FRAME)
		return 1;
	x->family = skb->protocol == sluice_htons(ETH_P_IP) ? SLUICE_IPV4 : SLUICE_IPV6;
	x->now = sluice_bpf_ticks();
	x->wire = skb->len - SLUICE_FRAME;
	n = x->wire;
	if (n > SLUICE_WINDOW)
		n = SLUICE_WINDOW;
	sluice_settle(n);
	n = ((n - 1) & (SLUICE_WINDOW - 1)) + 1;
	x->pkt.flags = 0;
	if (bpf_skb_load_bytes(skb, SLUICE_FRAME, x->window, n) ||
	    sluice_parse(x) != SLUICE_PARSE_OK || (x->pkt.flags & SLUICE_PACKET_ICMP_ERROR))
		return 1;
	sluice_tuple_invert(&answer, &x->pkt.tuple);
	sluice_find(x, &answer);
	if (!x->ref)
		return 0;
	c = sluice_conn_of(x->family, x->ref);
	return c && SLUICE_ONCE(c->side[!x->dir]) >> SLUICE_BPF_SIDE_SHIFT != SLUICE_BPF_SIDE_STACK;
}

/* Where a packet came from that others have translated: a pod, if it still has that pod's address. */
SLUICE_GLOBAL int sluice_translated_from(struct __sk_buff *skb, struct sluice_ctx *x)
{
	struct sluice_bpf_control *ctl = sluice_control();

	if (x && ctl &&
	    sluice_pod_of(&x->pkt.tuple.src, x->family, SLUICE_ONCE(ctl->revision)) ==
		    skb->ingress_ifindex)
		return SLUICE_FROM_POD;
	return SLUICE_FROM_OUTSIDE;
}

/* Any IP packet. from: enum sluice_from; way: SLUICE_WAY_* */
SLUICE_GLOBAL int sluice_path(struct __sk_buff *skb, __u32 from, __u32 way)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_ctx *x = sluice_context();
	int step = SLUICE_STEP_FIRST;
	__u32 came_by;

	if (!x || !ctl)
		return TC_ACT_SHOT;
	x->family = skb->protocol == sluice_htons(ETH_P_IP) ? SLUICE_IPV4 : SLUICE_IPV6;
	x->from = (__u8)from;
	x->egress = way & SLUICE_WAY_EGRESS;
	came_by = skb->ingress_ifindex;
	sluice_settle(
		came_by); /* the verifier wants each field read by itself, not an offset chosen */
	x->ifindex = x->egress && from == SLUICE_FROM_POD ? came_by : skb->ifindex;
	x->now = sluice_bpf_ticks();
	x->ref = 0;
	x->dir = 0;
	if (skb->len <= SLUICE_FRAME)
		return sluice_drop(SLUICE_REASON_MALFORMED);
	x->wire = skb->len - SLUICE_FRAME;
	if (!(way & SLUICE_WAY_UNKNOWN)) {
		step = sluice_read(skb, ctl, x);
		if (step != SLUICE_STEP_FIRST)
			return step;
		if (x->pkt.flags & SLUICE_PACKET_ICMP_ERROR)
			return sluice_icmp_error(skb, x);
		sluice_find(x, &x->pkt.tuple);
	}
	if (x->ref)
		step = sluice_known(skb, x);
	else if (sluice_stays_on_link(x))
		return sluice_stay(ctl, x);
	if (step == SLUICE_STEP_REJUDGE) {
		sluice_judge_packet(&x->judge);
		step = sluice_rejudged(x);
	}
	if (step == SLUICE_STEP_GO_ON)
		step = sluice_go_on(x);
	if (step == SLUICE_STEP_FIRST)
		step = sluice_first(skb, x);
	if (step == SLUICE_STEP_JUDGE) {
		sluice_judge_packet(&x->judge);
		/* Nobody may claim to answer where it could not have been asked. */
		if (sluice_other_way(x))
			sluice_judge_packet(&x->judge);
		step = SLUICE_STEP_OPEN;
	}
	if (step == SLUICE_STEP_OPEN)
		step = sluice_open(x);
	if (step == SLUICE_STEP_REJECT)
		return sluice_reject(skb, x);
	if (step != SLUICE_STEP_FORWARD)
		return step;
	if (way & SLUICE_WAY_UNKNOWN) {
		step = x->family == SLUICE_IPV4 ? sluice_fast4(skb, SLUICE_FROM_FIRST) :
						  sluice_fast6(skb, SLUICE_FROM_FIRST);
		if (step >= 0)
			return step;
	}
	return sluice_forward(skb, x);
}

#endif
