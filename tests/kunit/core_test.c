// SPDX-License-Identifier: GPL-2.0-only
/*
 * core/ as the kernel compiles it. Its logic is tested in userspace (tests/unit); what could differ
 * here is the platform under it, core/env/kernel.h: bit search, byte order, folding of constants.
 */
#include <kunit/test.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <net/checksum.h>

#include "core/judge.h"
#include "core/nat.h"
#include "core/packet.h"
#include "core/service.h"
#include "suite.h"

static ulong kunit_seed;
module_param(kunit_seed, ulong, 0444);
MODULE_PARM_DESC(kunit_seed, "seed of random test cases; 0: another one each time");

bool sluice_test_failslab;
module_param_named(kunit_failslab, sluice_test_failslab, bool, 0444);
MODULE_PARM_DESC(kunit_failslab, "failslab is set up: test failing allocations too");

u64 sluice_test_seed(struct kunit *test, struct rnd_state *rnd)
{
	u64 seed = kunit_seed ?: get_random_u32();

	kunit_info(test, "kunit_seed=%llu", seed);
	prandom_seed_state(rnd, seed);
	return seed;
}

static void test_platform(struct kunit *test)
{
	u32 i;

	for (i = 0; i < 64; i++) {
		KUNIT_EXPECT_EQ(test, sluice_ctz64(1ULL << i), i);
		KUNIT_EXPECT_EQ(test, sluice_ctz64(~0ULL << i), i);
		KUNIT_EXPECT_EQ(test, sluice_popcount64(~0ULL << i), 64 - i);
		KUNIT_EXPECT_EQ(test, sluice_popcount64(1ULL << i), 1U);
	}
	KUNIT_EXPECT_EQ(test, (__force u16)sluice_htons(0x1234), (__force u16)htons(0x1234));
	KUNIT_EXPECT_EQ(test, sluice_ntohl(htonl(0x12345678)), 0x12345678U);
}

/* The worked example of core/ruleset.h, laid out by hand. */
struct example {
	struct sluice_ruleset head;
	struct sluice_rule rules[3];
	u64 masks[SLUICE_MASKS];
	struct sluice_class_row classes[2];
	struct sluice_port_row ports[1];
	u32 rows[6];
	u64 words[6][2]; /* one word of summary, one of rules */
};

static void example_init(struct example *x)
{
	static const u64 rows[6] = { 0x4, 0x6, 0x7, 0x6, 0x7, 0x1 };
	u32 i;

	memset(x, 0, sizeof(*x));
	x->head = (struct sluice_ruleset){
		.magic = SLUICE_RULESET_MAGIC,
		.size = sizeof(*x),
		.nrules = 3,
		.nwords = 1,
		.nsummary = 1,
		.nclasses = 2,
		.nports = 1,
		.nrows = 6,
		.off_rules = offsetof(struct example, rules),
		.off_masks = offsetof(struct example, masks),
		.off_classes = offsetof(struct example, classes),
		.off_ports = offsetof(struct example, ports),
		.off_rows = offsetof(struct example, rows),
		.default_action = SLUICE_ACTION_DENY,
	};
	for (i = 0; i < 3; i++)
		x->rules[i] = (struct sluice_rule){ .id = i + 1, .tier = SLUICE_TIER_POLICY };
	x->rules[2].action = SLUICE_ACTION_DENY;
	for (i = SLUICE_TIER_POLICY; i < SLUICE_TIERS; i++)
		x->head.tiers[i] = 3;
	x->classes[0] = (struct sluice_class_row){ .class = 5, .row = 2 };
	x->classes[1] = (struct sluice_class_row){ .class = 6, .row = 3 };
	x->ports[0] = (struct sluice_port_row){ .lo = 6 << 16 | 80, .hi = 6 << 16 | 80, .row = 4 };
	x->masks[SLUICE_MASK_ENFORCED] = x->masks[SLUICE_MASK_STAGED] = 0x7;
	for (i = 0; i < 6; i++) {
		x->rows[i] = offsetof(struct example, words[i]);
		x->words[i][0] = 1;
		x->words[i][1] = rows[i];
	}
}

static void test_ruleset(struct kunit *test)
{
	struct example *x = kunit_kzalloc(test, sizeof(*x), GFP_KERNEL);
	struct sluice_match m;

	KUNIT_ASSERT_NOT_NULL(test, x);
	example_init(x);
	KUNIT_EXPECT_STREQ(test, sluice_ruleset_validate(x, sizeof(*x)) ?: "", "");
	sluice_ruleset_classify(&x->head, 6, sluice_port_key(6, 80), &m, NULL);
	KUNIT_EXPECT_EQ(test, m.rule_id, 2U);
	KUNIT_EXPECT_EQ(test, m.reason, SLUICE_REASON_POLICY_ALLOW);
	sluice_ruleset_classify(&x->head, 9, sluice_port_key(6, 80), &m, NULL);
	KUNIT_EXPECT_EQ(test, m.rule_id, 3U);
	KUNIT_EXPECT_EQ(test, m.reason, SLUICE_REASON_POLICY_DENY);
	sluice_ruleset_classify(&x->head, 5, sluice_port_key(17, 53), &m, NULL);
	KUNIT_EXPECT_EQ(test, m.rule_id, 2U);
	sluice_ruleset_classify(&x->head, 5, sluice_port_key(6, 80), &m, NULL);
	KUNIT_EXPECT_EQ(test, m.rule_id, 1U);

	x->words[2][1] |= 1ULL << 40;
	KUNIT_EXPECT_NOT_NULL(test, sluice_ruleset_validate(x, sizeof(*x)));
}

/* KASAN watches what validate() and classify() read of a blob of exactly its size. */
static void test_ruleset_corrupted(struct kunit *test)
{
	struct rnd_state rnd;
	u32 i, accepted = 0;

	sluice_test_seed(test, &rnd);
	for (i = 0; i < 4000; i++) {
		struct example *x = kmalloc(sizeof(*x), GFP_KERNEL);
		struct sluice_match e, s;
		u32 j;

		KUNIT_ASSERT_NOT_NULL(test, x);
		example_init(x);
		for (j = 0; j <= below(&rnd, 3); j++) {
			u32 at = below(&rnd, below(&rnd, 2) ? sizeof(x->head) : sizeof(*x));

			((u8 *)x)[at] ^= 1 << below(&rnd, 8);
		}
		if (!sluice_ruleset_validate(x, sizeof(*x))) {
			accepted++;
			sluice_ruleset_classify(&x->head, below(&rnd, 10), sluice_port_key(6, 80),
						&e, &s);
			KUNIT_EXPECT_LE(test, e.action, SLUICE_ACTION_DENY);
			KUNIT_EXPECT_LE(test, s.action, SLUICE_ACTION_DENY);
		}
		kfree(x);
	}
	KUNIT_EXPECT_GT(test, accepted, 0U);
	KUNIT_EXPECT_LT(test, accepted, 4000U);
}

/* The kernel's own incremental checksums say the same as ours. */
static void test_nat(struct kunit *test)
{
	struct rnd_state rnd;
	u32 i, j;

	sluice_test_seed(test, &rnd);
	for (i = 0; i < 4000; i++) {
		struct sluice_tuple from = { .family = SLUICE_IPV4 }, to = from;
		struct sluice_nat_delta d;
		__sum16 want = (__force __sum16)prandom_u32_state(&rnd);
		u16 got = (__force u16)want;

		if (below(&rnd, 2))
			from.family = to.family = SLUICE_IPV6;
		for (j = 0; j < (from.family == SLUICE_IPV4 ? 1 : 4); j++) {
			from.src.w[j] = (__force __be32)prandom_u32_state(&rnd);
			to.src.w[j] = (__force __be32)prandom_u32_state(&rnd);
			from.dst.w[j] = (__force __be32)prandom_u32_state(&rnd);
			to.dst.w[j] = (__force __be32)prandom_u32_state(&rnd);
			csum_replace4(&want, from.src.w[j], to.src.w[j]);
			csum_replace4(&want, from.dst.w[j], to.dst.w[j]);
		}
		from.sport = (__force __be16)prandom_u32_state(&rnd);
		to.sport = (__force __be16)prandom_u32_state(&rnd);
		csum_replace2(&want, from.sport, to.sport);
		sluice_nat_delta(&from, &to, &d);
		got = sluice_csum_apply(got, sluice_csum_add(d.addr, d.port));
		/* Both are one's complement: its two zeros are one number. */
		if (got == 0xffff)
			got = 0;
		if ((__force u16)want == 0xffff)
			want = 0;
		KUNIT_EXPECT_EQ(test, got, (__force u16)want);
	}
}

static void test_conntrack(struct kunit *test)
{
	struct sluice_l4 syn = { .seq = ~0U, .flags = SLUICE_TCP_SYN, .win = 1000 };
	struct sluice_l4 synack = {
		.seq = 5, .ack = 0, .win = 1000, .flags = SLUICE_TCP_SYN | SLUICE_TCP_ACK
	};
	struct sluice_l4 ack = { .seq = 0, .ack = 6, .flags = SLUICE_TCP_ACK, .win = 1000 };
	struct sluice_l4 rst = { .seq = 6, .flags = SLUICE_TCP_RST };
	struct sluice_tcp_dir tcp[2];
	u8 state = sluice_state_first(SLUICE_PROTO_TCP, &syn, tcp);

	KUNIT_EXPECT_STREQ(test, sluice_state_name(state), "syn-sent");
	state = sluice_state_next(SLUICE_PROTO_TCP, state, SLUICE_DIR_REPLY, tcp, &synack);
	KUNIT_EXPECT_STREQ(test, sluice_state_name(state), "syn-recv");
	state = sluice_state_next(SLUICE_PROTO_TCP, state, SLUICE_DIR_ORIGINAL, tcp, &ack);
	KUNIT_EXPECT_STREQ(test, sluice_state_name(state), "established");
	state = sluice_state_next(SLUICE_PROTO_TCP, state, SLUICE_DIR_REPLY, tcp, &rst);
	KUNIT_EXPECT_STREQ(test, sluice_state_name(state), "close");
}

static void test_packet(struct kunit *test)
{
	/* UDP 10.1.0.2:5353 -> 10.96.0.1:53, 4 bytes. */
	static const u8 udp[32] = { 0x45, 0,  0, 32, 0,	   1,	 0, 0,	64, 17, 0, 0, 10, 1, 0, 2,
				    10,	  96, 0, 1,  0x14, 0xe9, 0, 53, 0,  12, 0, 0, 1,  2, 3, 4 };
	u8 *p = kunit_kzalloc(test, sizeof(udp), GFP_KERNEL);
	struct sluice_packet pkt;
	u32 len;

	KUNIT_ASSERT_NOT_NULL(test, p);
	memcpy(p, udp, sizeof(udp));
	KUNIT_EXPECT_EQ(test, sluice_packet_parse(p, 32, 32, 4, &pkt), SLUICE_PARSE_BAD_CHECKSUM);
	*(__sum16 *)(p + 10) = ip_fast_csum(p, 5);
	for (len = 0; len < 28; len++)
		KUNIT_EXPECT_EQ(test, sluice_packet_parse(p, len, 32, 4, &pkt), SLUICE_PARSE_MORE);
	KUNIT_EXPECT_EQ(test, sluice_packet_parse(p, 28, 32, 4, &pkt), SLUICE_PARSE_OK);
	KUNIT_EXPECT_EQ(test, (__force u32)pkt.tuple.dst.w[0], (__force u32)htonl(0x0a600001));
	KUNIT_EXPECT_EQ(test, pkt.port, 53);
	KUNIT_EXPECT_EQ(test, ntohs(pkt.tuple.sport), 5353);
}

static struct kunit_case cases[] = { KUNIT_CASE(test_platform),
				     KUNIT_CASE(test_ruleset),
				     KUNIT_CASE(test_ruleset_corrupted),
				     KUNIT_CASE(test_nat),
				     KUNIT_CASE(test_conntrack),
				     KUNIT_CASE(test_packet),
				     {} };

static struct kunit_suite suite = {
	.name = "sluice_core",
	.test_cases = cases,
};

kunit_test_suite(suite);
