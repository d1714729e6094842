// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every function of core/, reached from entry points that nothing can inline or fold away, so that
 * the BPF compiler has to turn all of it into code. Not a program to run: see ./run.
 */
#include "core/conntrack.h"
#include "core/judge.h"
#include "core/nat.h"
#include "core/plain.h"
#include "core/ruleset.h"
#include "core/service.h"
#include "core/tuple.h"
#include "core/verdict.h"

#define ENTRY __attribute__((noinline, used, section("entry")))

ENTRY int tuples(struct sluice_tuple *a, struct sluice_tuple *b, __u32 plen)
{
	sluice_tuple_invert(a, b);
	sluice_addr_mask(&a->src, plen);
	if (sluice_has_ports(a->proto))
		return sluice_judge_port(a, b);
	return sluice_tuple_equal(a, b) + sluice_family_bits(a->family) +
	       2 * sluice_addr_martian_source(&a->src, a->family) +
	       4 * sluice_addr_multicast(&a->dst, a->family) +
	       8 * sluice_addr_link_local(&a->dst, a->family);
}

ENTRY int nat(struct sluice_tuple *a, struct sluice_tuple *b, struct sluice_nat_delta *d,
	      __u16 check)
{
	sluice_nat_delta(a, b, d);
	d->addr = sluice_csum_replace(d->addr, check, d->port);
	return sluice_csum_apply(check, sluice_csum_add(d->addr, d->port));
}

ENTRY int nat_port(__u16 wanted, __u32 random, __u32 attempt)
{
	return sluice_nat_port(wanted, random, attempt);
}

ENTRY int service(__u32 random, __u32 n)
{
	return (int)sluice_service_pick(random, n);
}

ENTRY int conntrack(struct sluice_packet *pkt, struct sluice_tcp_dir *tcp, __u8 state, __u8 dir)
{
	if (pkt->tuple.proto == SLUICE_PROTO_TCP && !sluice_tcp_flags_valid(pkt->l4.flags))
		return -1;
	if (!state && sluice_tcp_answers(&pkt->tuple, pkt->l4.flags))
		return -2;
	if (!state || sluice_tcp_reopens(state, pkt->l4.flags))
		state = sluice_state_first(pkt->tuple.proto, &pkt->l4, tcp);
	else
		state = sluice_state_next(pkt->tuple.proto, state, dir, tcp, &pkt->l4);
	return (int)(sluice_state_timeout(state) << 8) | sluice_state_class(state);
}

/* As bpf/ruleset.h does it, without a map that has it. */
ENTRY int sluice_ruleset_classify(sluice_ruleset_ref rs, __u32 class, __u32 key,
				  struct sluice_match *enforced, struct sluice_match *staged)
{
	struct sluice_blob b;

	if (!sluice_blob_open(&b, (void *)(unsigned long)rs))
		sluice_match_closed(enforced);
	else
		sluice_blob_classify(&b, class, key, enforced, staged);
	return 0;
}

ENTRY int judge(const struct sluice_judge_in *in, struct sluice_judgement *j)
{
	sluice_judge(in, j);
	return j->verdict;
}

ENTRY int packet(const void *data, __u32 len, __u32 wire, __u8 family, struct sluice_packet *pkt)
{
	return sluice_packet_parse(data, len, wire, family, pkt);
}

ENTRY int plain(const void *data, __u32 len, __u8 family, struct sluice_plain *pl,
		struct sluice_packet *pkt)
{
	if (!(family == SLUICE_IPV4 ? sluice_plain4(data, len, len, pl) :
				      sluice_plain6(data, len, len, pl)))
		return 0;
	sluice_plain_packet(data, family, pl, pkt);
	return 1;
}
