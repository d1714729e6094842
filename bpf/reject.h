/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Refusing a packet: it is turned into the answer, a TCP reset or an ICMP port unreachable, and goes back out of
 * the interface it came from, its frame reversed. It counts as dropped.
 *
 * Answers are as the kernel's nf_reject makes them, but that an unreachable quotes the network header and 8 bytes. A
 * reset is not answered; nor is a packet whose headers have options, whose answer would have to move what the
 * card may still have to sum.
 *
 * Where the far end or the card is to finish the packet's sum (CHECKSUM_PARTIAL), it still is to be for the answer,
 * at the same place: in TCP's check; and for UDP in bytes 6 and 7 of the ICMP message, which are unused. So in the
 * first goes the pseudo-header's sum, as a sender would have it. And whatever is put into the second, by a card that
 * makes the message's sum come out right, makes it right. Which of both it is shows a helper that leaves such
 * packets alone.
 *
 * Where the card has summed the packet (CHECKSUM_COMPLETE), its sum becomes the answer's. What has a right checksum of
 * its own sums up to nothing but the inverse of its pseudo-header's sum.
 */
#ifndef SLUICE_BPF_REJECT_H
#define SLUICE_BPF_REJECT_H

#include "bpf/context.h"
#include "bpf/translate.h"

#define SLUICE_ANSWER_TTL 64

struct sluice_answer4 {
	__u8 version;
	__u8 tos;
	__be16 total;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 proto;
	__u16 check;
	__be32 src;
	__be32 dst;
};
SLUICE_ASSERT_SIZE(struct sluice_answer4, 20);

struct sluice_answer6 {
	__be32 version;
	__be16 payload;
	__u8 proto;
	__u8 hops;
	struct sluice_addr src;
	struct sluice_addr dst;
};
SLUICE_ASSERT_SIZE(struct sluice_answer6, 40);

struct sluice_reset {
	__be16 sport;
	__be16 dport;
	__be32 seq;
	__be32 ack;
	__u8 offset;
	__u8 flags;
	__be16 window;
	__u16 check;
	__be16 urgent;
};
SLUICE_ASSERT_SIZE(struct sluice_reset, 20);

struct sluice_unreachable {
	__u8 type;
	__u8 code;
	__u16 check;
	__u16 unused;
	__u16 partial; /* unused as well; where a check that is finished later goes */
};
SLUICE_ASSERT_SIZE(struct sluice_unreachable, 8);

/* Is the sum of this TCP or UDP packet to be finished by somebody else? Spoils it, if not. */
static __always_inline bool sluice_sum_is_partial(struct __sk_buff *skb, __u32 check)
{
	__u16 before = 0, after = 0;

	bpf_skb_load_bytes(skb, check, &before, 2);
	bpf_l4_csum_replace(skb, check, 0, 1, 0);
	bpf_skb_load_bytes(skb, check, &after, 2);
	return before == after;
}

static __always_inline void sluice_reset_of(const struct sluice_packet *pkt, struct sluice_reset *r)
{
	memset(r, 0, sizeof(*r));
	r->sport = pkt->tuple.dport;
	r->dport = pkt->tuple.sport;
	r->offset = sizeof(*r) / 4 << 4;
	r->flags = SLUICE_TCP_RST;
	if (pkt->l4.flags & SLUICE_TCP_ACK) {
		r->seq = sluice_htonl(pkt->l4.ack);
	} else {
		r->flags |= SLUICE_TCP_ACK;
		r->ack = sluice_htonl(pkt->l4.seq + pkt->l4.len +
				      !!(pkt->l4.flags & SLUICE_TCP_SYN) +
				      !!(pkt->l4.flags & SLUICE_TCP_FIN));
	}
}

/* The frame goes back, and no program of ours looks at it again. */
static __always_inline int sluice_answer(struct __sk_buff *skb)
{
	struct {
		__u8 dst[6];
		__u8 src[6];
	} frame, back;

	if (bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame)))
		return TC_ACT_SHOT;
	memcpy(back.dst, frame.src, 6);
	memcpy(back.src, frame.dst, 6);
	bpf_skb_store_bytes(skb, 0, &back, sizeof(back), 0);
	skb->mark |= SLUICE_BPF_MARK_ANSWER;
	return (int)bpf_redirect(skb->ifindex, 0);
}

/*
 * A reset at offset off, behind an IP header that is written. partial: whoever sends it finishes the sum. Returns
 * what its bytes sum up to.
 */
static __always_inline __u32 sluice_write_reset(struct __sk_buff *skb,
						const struct sluice_packet *pkt, __u32 off,
						bool partial)
{
	struct sluice_reset r;
	__u32 sum = sluice_pseudo_sum(&pkt->tuple, SLUICE_PROTO_TCP, sizeof(r));

	sluice_reset_of(pkt, &r);
	r.check = partial ? sluice_csum_fold(sum) :
			    ~sluice_csum_fold(
				    (__u32)bpf_csum_diff(NULL, 0, (void *)&r, sizeof(r), sum));
	bpf_skb_store_bytes(skb, off, &r, sizeof(r), 0);
	return ~sum;
}

/* What both families' answers begin with. */
struct sluice_refusal {
	bool tcp;
	bool partial; /* the card makes the sum: see sluice_sum_is_partial() */
	__u32 bytes; /* behind the network header, of "head" bytes */
};

/* Takes what is to be quoted, and makes room for the answer behind its network header. false: it cannot be made. */
static __always_inline bool sluice_refuse(struct __sk_buff *skb, const struct sluice_ctx *x,
					  __u32 head, void *quote, __u32 quoted,
					  struct sluice_refusal *r)
{
	if (!x || x->pkt.l4_off != head)
		return false;
	r->tcp = x->pkt.tuple.proto == SLUICE_PROTO_TCP;
	if (!r->tcp && bpf_skb_load_bytes(skb, SLUICE_FRAME, quote, quoted))
		return false;
	r->partial = false;
	if (r->tcp || x->pkt.tuple.proto == SLUICE_PROTO_UDP)
		r->partial = sluice_sum_is_partial(skb, SLUICE_FRAME + head +
								(r->tcp ? SLUICE_OFF_TCP_CHECK :
									  SLUICE_OFF_UDP_CHECK));
	r->bytes = r->tcp ? sizeof(struct sluice_reset) :
			    sizeof(struct sluice_unreachable) + quoted;
	return !bpf_skb_change_tail(skb, SLUICE_FRAME + head + r->bytes, 0);
}

/* sum: of what the check covers besides; without it (the card's) the check is left as it is. */
static __always_inline void sluice_write_unreachable(struct __sk_buff *skb, __u32 off,
						     struct sluice_unreachable *u, void *quote,
						     __u32 quoted, bool partial, __u32 sum)
{
	if (!partial)
		u->check = ~sluice_csum_fold((__u32)bpf_csum_diff(
			NULL, 0, quote, quoted,
			(__u32)bpf_csum_diff(NULL, 0, (void *)u, sizeof(*u), sum)));
	bpf_skb_store_bytes(skb, off, u, sizeof(*u), 0);
	bpf_skb_store_bytes(skb, off + sizeof(*u), quote, quoted, 0);
}

SLUICE_GLOBAL int sluice_reject4(struct __sk_buff *skb, struct sluice_ctx *x)
{
	struct sluice_answer4 ip = {};
	struct sluice_refusal r;
	__u32 sum = 0xffff;
	__u8 quote[28];

	if (!sluice_refuse(skb, x, sizeof(ip), quote, sizeof(quote), &r))
		return TC_ACT_SHOT;
	ip.version = 0x45;
	ip.total = sluice_htons((__u16)(sizeof(ip) + r.bytes));
	ip.fragment = sluice_htons(0x4000);
	ip.ttl = SLUICE_ANSWER_TTL;
	ip.proto = r.tcp ? SLUICE_PROTO_TCP : SLUICE_PROTO_ICMP;
	ip.src = x->pkt.tuple.dst.w[0];
	ip.dst = x->pkt.tuple.src.w[0];
	ip.check = ~sluice_csum_fold((__u32)bpf_csum_diff(NULL, 0, (void *)&ip, sizeof(ip), 0));
	bpf_skb_store_bytes(skb, SLUICE_FRAME, &ip, sizeof(ip), 0);
	if (r.tcp) {
		sum = sluice_write_reset(skb, &x->pkt, SLUICE_FRAME + sizeof(ip), r.partial);
	} else {
		struct sluice_unreachable u = { .type = 3, .code = 3 };

		sluice_write_unreachable(skb, SLUICE_FRAME + sizeof(ip), &u, quote, sizeof(quote),
					 r.partial, 0);
	}
	sluice_sum_anew(skb, sum);
	return sluice_answer(skb);
}

SLUICE_GLOBAL int sluice_reject6(struct __sk_buff *skb, struct sluice_ctx *x)
{
	struct sluice_answer6 ip = {};
	struct sluice_refusal r;
	__u8 quote[48];
	__u32 sum;

	if (!sluice_refuse(skb, x, sizeof(ip), quote, sizeof(quote), &r))
		return TC_ACT_SHOT;
	ip.version = sluice_htonl(6U << 28);
	ip.payload = sluice_htons((__u16)r.bytes);
	ip.proto = r.tcp ? SLUICE_PROTO_TCP : SLUICE_PROTO_ICMPV6;
	ip.hops = SLUICE_ANSWER_TTL;
	ip.src = x->pkt.tuple.dst;
	ip.dst = x->pkt.tuple.src;
	bpf_skb_store_bytes(skb, SLUICE_FRAME, &ip, sizeof(ip), 0);
	if (r.tcp) {
		sum = sluice_write_reset(skb, &x->pkt, SLUICE_FRAME + sizeof(ip), r.partial);
	} else {
		struct sluice_unreachable u = { .type = 1, .code = 4 };

		sum = sluice_pseudo_sum(&x->pkt.tuple, SLUICE_PROTO_ICMPV6, (__u16)r.bytes);
		if (r.partial)
			u.partial = sluice_csum_fold(sum);
		sluice_write_unreachable(skb, SLUICE_FRAME + sizeof(ip), &u, quote, sizeof(quote),
					 r.partial, sum);
		sum = ~sum;
	}
	sluice_sum_anew(skb, (__u32)bpf_csum_diff(NULL, 0, (void *)&ip, sizeof(ip), sum));
	return sluice_answer(skb);
}

/* Answers, where that can be done, and counts x->reason. What the stack sends to a pod is dropped only. */
static __always_inline int sluice_reject(struct __sk_buff *skb, struct sluice_ctx *x)
{
	sluice_drop(x->reason);
	if (x->egress || !(x->pkt.flags & SLUICE_PACKET_PORTS) ||
	    (x->pkt.tuple.proto == SLUICE_PROTO_TCP && (x->pkt.l4.flags & SLUICE_TCP_RST)))
		return TC_ACT_SHOT;
	return x->family == SLUICE_IPV4 ? sluice_reject4(skb, x) : sluice_reject6(skb, x);
}

#endif
