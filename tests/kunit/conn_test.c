// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/conn.c: the connection table of a namespace that is nothing but that table, beside a list of
 * what should be in it; then under several threads at once.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "kmod/conn.h"
#include "kmod/conn_hash.h"
#include "kmod/conn_view.h"
#include "kmod/net.h"
#include "kmod/wheel.h"
#include "suite.h"

static const struct sluice_judgement allowed = {
	.verdict = SLUICE_VERDICT_ALLOW,
	.reason = SLUICE_REASON_NO_POLICY,
	.staged_verdict = SLUICE_VERDICT_ALLOW,
};

static struct sluice_net *make_net(struct kunit *test)
{
	struct sluice_net *sn = kvzalloc(sizeof(*sn), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, sn);
	sn->net = &init_net;
	sn->stats = alloc_percpu(struct sluice_stats);
	KUNIT_ASSERT_NOT_NULL(test, sn->stats);
	KUNIT_ASSERT_EQ(test, sluice_conns_init(sn), 0);
	return sn;
}

static void free_net(struct sluice_net *sn)
{
	sluice_conns_exit(sn);
	free_percpu(sn->stats);
	kvfree(sn);
}

/* The n-th of a family of flows: clients in one subnet, services in another. */
static void make_tuple(struct sluice_tuple *t, u8 family, u8 proto, u32 n)
{
	memset(t, 0, sizeof(*t));
	t->family = family;
	t->proto = proto;
	t->src.w[family == SLUICE_IPV4 ? 0 : 3] = htonl(0x0a000000 | n >> 12);
	t->dst.w[family == SLUICE_IPV4 ? 0 : 3] = htonl(0x0a600001);
	if (family == SLUICE_IPV6)
		t->src.w[0] = t->dst.w[0] = htonl(0xfd000000);
	t->sport = htons(1024 + (n & 4095));
	t->dport = proto == SLUICE_PROTO_ICMP ? 0 : htons(80);
}

/* -> backend:9000, unless the same side answers. */
static void make_init(struct sluice_conn_init *in, const struct sluice_tuple *t, u8 state, bool nat)
{
	memset(in, 0, sizeof(*in));
	in->original = *t;
	sluice_tuple_invert(&in->reply, t);
	if (nat) {
		in->reply.src.w[t->family == SLUICE_IPV4 ? 0 : 3] = htonl(0x0a010002);
		in->reply.sport = htons(9000);
		in->bits = BIT(SLUICE_CONN_BIT_NAT) | BIT(SLUICE_CONN_BIT_SERVICE);
	}
	in->judgement = &allowed;
	in->state = state;
	in->remap = true;
}

static struct sluice_conn *create(struct sluice_net *sn, const struct sluice_conn_init *in,
				  bool *raced)
{
	struct sluice_conn *c;
	bool ignored;

	if (!raced)
		raced = &ignored;
	*raced = false;
	local_bh_disable();
	rcu_read_lock();
	c = sluice_conn_create(sn->conns, in, raced);
	rcu_read_unlock();
	local_bh_enable();
	return c;
}

/* Does a packet with this tuple find a connection that lives, on this side? */
static bool finds(struct sluice_net *sn, const struct sluice_tuple *t, u8 want_dir)
{
	struct sluice_conn *c;
	struct sluice_tuple back;
	bool good = false;
	u8 dir = 9;

	rcu_read_lock();
	c = sluice_conn_find(sn->conns, t, &dir);
	if (c) {
		sluice_conn_tuple(c, dir, &back);
		good = dir == want_dir && sluice_tuple_equal(&back, t) &&
		       !test_bit(SLUICE_CONN_BIT_DYING, &c->bits);
	}
	rcu_read_unlock();
	return good;
}

static bool kill(struct sluice_net *sn, const struct sluice_tuple *t)
{
	struct sluice_conn *c;
	u8 dir;

	local_bh_disable();
	rcu_read_lock();
	c = sluice_conn_find(sn->conns, t, &dir);
	if (c)
		sluice_conn_kill(sn->conns, c);
	rcu_read_unlock();
	local_bh_enable();
	return c;
}

static void test_both_sides(struct kunit *test)
{
	static const u8 protos[] = { 6, 17, 132, 1, 47 };
	struct sluice_net *sn = make_net(test);
	u32 i, family, n = 0;

	for (i = 0; i < ARRAY_SIZE(protos); i++) {
		for (family = SLUICE_IPV4; family <= SLUICE_IPV6; family += 2) {
			struct sluice_conn_init in;
			struct sluice_tuple t, other;
			struct sluice_conn *c;

			make_tuple(&t, family, protos[i], i);
			make_init(&in, &t, SLUICE_STATE_UNREPLIED, true);
			KUNIT_EXPECT_FALSE(test, finds(sn, &t, SLUICE_DIR_ORIGINAL));
			c = create(sn, &in, NULL);
			KUNIT_ASSERT_FALSE(test, IS_ERR(c));
			n++;
			KUNIT_EXPECT_TRUE(test, finds(sn, &t, SLUICE_DIR_ORIGINAL));
			KUNIT_EXPECT_TRUE(test, finds(sn, &in.reply, SLUICE_DIR_REPLY));
			/* Neighbours of the key are other flows. */
			other = t;
			other.sport ^= htons(1);
			KUNIT_EXPECT_FALSE(test, finds(sn, &other, SLUICE_DIR_ORIGINAL));
			other = t;
			other.proto ^= 1;
			KUNIT_EXPECT_FALSE(test, finds(sn, &other, SLUICE_DIR_ORIGINAL));
			other = t;
			other.dst.w[family == SLUICE_IPV4 ? 0 : 2] ^= htonl(1);
			KUNIT_EXPECT_FALSE(test, finds(sn, &other, SLUICE_DIR_ORIGINAL));
			KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), n);
		}
	}
	for (i = 0; i < ARRAY_SIZE(protos); i++) {
		struct sluice_tuple t;

		make_tuple(&t, SLUICE_IPV4, protos[i], i);
		KUNIT_EXPECT_TRUE(test, kill(sn, &t));
		KUNIT_EXPECT_FALSE(test, finds(sn, &t, SLUICE_DIR_ORIGINAL));
		KUNIT_EXPECT_FALSE(test, kill(sn, &t));
	}
	KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), n / 2);
	free_net(sn);
}

/*
 * Random creations and ends beside a bit array, over several growths of the table and back. With a
 * backend shared by all, reply tuples collide and are remapped.
 */
static void test_oracle(struct kunit *test)
{
	const u32 flows = 5600, rounds = 24000;
	struct sluice_net *sn = make_net(test);
	unsigned long *alive = bitmap_zalloc(flows, GFP_KERNEL);
	u32 i, n, count = 0, most = 0, wrong = 0, least, buckets;
	struct sluice_conn_init in;
	struct sluice_tuple t;
	struct rnd_state rnd;

	KUNIT_ASSERT_NOT_NULL(test, alive);
	least = sluice_conns_buckets(sn->conns);
	buckets = least;
	sluice_test_seed(test, &rnd);
	for (i = 0; i < rounds; i++) {
		/* The first half creates more than it ends, the second the other way round. */
		bool make = below(&rnd, 10) < (i < rounds / 2 ? 8 : 2);
		bool raced;

		n = below(&rnd, flows);
		make_tuple(&t, n % 8 ? SLUICE_IPV6 : SLUICE_IPV4, SLUICE_PROTO_UDP, n);
		if (make) {
			struct sluice_conn *c;

			make_init(&in, &t, SLUICE_STATE_UNREPLIED, true);
			c = create(sn, &in, &raced);
			wrong += IS_ERR(c) || raced != test_bit(n, alive);
			count += !test_bit(n, alive);
			__set_bit(n, alive);
		} else {
			wrong += kill(sn, &t) != test_bit(n, alive);
			count -= test_bit(n, alive);
			__clear_bit(n, alive);
		}
		n = below(&rnd, flows);
		make_tuple(&t, n % 8 ? SLUICE_IPV6 : SLUICE_IPV4, SLUICE_PROTO_UDP, n);
		wrong += finds(sn, &t, SLUICE_DIR_ORIGINAL) != test_bit(n, alive);
		most = max(most, count);
		buckets = max(buckets, sluice_conns_buckets(sn->conns));
		if (i % 1024 == 0)
			cond_resched();
	}
	KUNIT_EXPECT_EQ(test, wrong, 0U);
	KUNIT_EXPECT_EQ(test, (u32)atomic_read(&sn->conns->count), count);
	for (n = 0; n < flows; n++) {
		make_tuple(&t, n % 8 ? SLUICE_IPV6 : SLUICE_IPV4, SLUICE_PROTO_UDP, n);
		if (finds(sn, &t, SLUICE_DIR_ORIGINAL) != test_bit(n, alive))
			wrong++;
		kill(sn, &t);
	}
	KUNIT_EXPECT_EQ(test, wrong, 0U);
	KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&sn->conns->bytes), 0L);
	kunit_info(test, "at most %u connections, %u buckets", most, buckets);
	/* Twice as many for IPv6, whose table starts with 4,096, and that once more. */
	KUNIT_EXPECT_GE(test, buckets, least + 3 * 4096);
	/* It shrinks online: nobody asks it to. */
	for (i = 0; i < 100 && sluice_conns_buckets(sn->conns) > least; i++)
		msleep(50);
	KUNIT_EXPECT_EQ(test, sluice_conns_buckets(sn->conns), least);
	bitmap_free(alive);
	free_net(sn);
}

/* One client port through 100 services with one backend: all work, each is found by its answer. */
static void test_remap(struct kunit *test)
{
	struct sluice_tuple *replies = kunit_kcalloc(test, 100, sizeof(*replies), GFP_KERNEL), t;
	struct sluice_net *sn = make_net(test);
	struct sluice_conn_init in;
	u32 i, j, remapped = 0;

	KUNIT_ASSERT_NOT_NULL(test, replies);
	for (i = 0; i < 100; i++) {
		struct sluice_conn *c;

		make_tuple(&t, SLUICE_IPV4, SLUICE_PROTO_TCP, 0);
		t.sport = htons(40000);
		t.dst.w[0] = htonl(0x0a600001 + i);
		make_init(&in, &t, SLUICE_STATE_TCP_SYN_SENT, true);
		c = create(sn, &in, NULL);
		KUNIT_ASSERT_FALSE(test, IS_ERR(c));
		sluice_conn_tuple(c, SLUICE_DIR_REPLY, &replies[i]);
		KUNIT_EXPECT_TRUE(test, finds(sn, &t, SLUICE_DIR_ORIGINAL));
		KUNIT_EXPECT_TRUE(test, finds(sn, &replies[i], SLUICE_DIR_REPLY));
		KUNIT_EXPECT_GE(test, ntohs(replies[i].dport), 1024);
		KUNIT_EXPECT_EQ(test, test_bit(SLUICE_CONN_BIT_REMAPPED, &c->bits),
				replies[i].dport != t.sport);
		remapped += replies[i].dport != t.sport;
		for (j = 0; j < i; j++)
			KUNIT_EXPECT_FALSE(test, sluice_tuple_equal(&replies[i], &replies[j]));
	}
	KUNIT_EXPECT_EQ(test, remapped, 99U);

	/* Where the port must stay, the second one is refused, and leaves nothing behind. */
	t.dst.w[0] = htonl(0x0a700001);
	make_init(&in, &t, SLUICE_STATE_TCP_SYN_SENT, true);
	in.remap = false;
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(create(sn, &in, NULL)), -EADDRINUSE);
	KUNIT_EXPECT_FALSE(test, finds(sn, &t, SLUICE_DIR_ORIGINAL));
	KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), 100);
	free_net(sn);
}

/* The same flow twice gives the first one; nothing of the second stays. */
static void test_raced(struct kunit *test)
{
	struct sluice_net *sn = make_net(test);
	struct sluice_conn_init in;
	struct sluice_conn *first, *second;
	struct sluice_tuple t;
	bool raced;
	long bytes;

	make_tuple(&t, SLUICE_IPV6, SLUICE_PROTO_UDP, 1);
	make_init(&in, &t, SLUICE_STATE_UNREPLIED, true);
	first = create(sn, &in, &raced);
	KUNIT_ASSERT_FALSE(test, IS_ERR(first));
	KUNIT_EXPECT_FALSE(test, raced);
	bytes = atomic_long_read(&sn->conns->bytes);
	second = create(sn, &in, &raced);
	KUNIT_EXPECT_TRUE(test, raced);
	KUNIT_EXPECT_PTR_EQ(test, first, second);
	KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&sn->conns->bytes), bytes);
	KUNIT_EXPECT_TRUE(test, finds(sn, &in.reply, SLUICE_DIR_REPLY));
	free_net(sn);
}

/* A negative entry is found by its own packets only: an answer is nobody's. */
static void test_denied(struct kunit *test)
{
	struct sluice_net *sn = make_net(test);
	struct sluice_conn_init in;
	struct sluice_tuple t;

	make_tuple(&t, SLUICE_IPV4, SLUICE_PROTO_UDP, 1);
	make_init(&in, &t, SLUICE_STATE_DENIED, false);
	in.bits = BIT(SLUICE_CONN_BIT_DENIED);
	KUNIT_ASSERT_FALSE(test, IS_ERR(create(sn, &in, NULL)));
	KUNIT_EXPECT_TRUE(test, finds(sn, &t, SLUICE_DIR_ORIGINAL));
	KUNIT_EXPECT_FALSE(test, finds(sn, &in.reply, SLUICE_DIR_REPLY));
	KUNIT_EXPECT_TRUE(test, kill(sn, &t));
	KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), 0);
	free_net(sn);
}

/* It gives way to a connection that is allowed the other way, whose answers its packets are: nobody gets another port. */
static void test_denied_gives_way(struct kunit *test)
{
	static const u8 protos[] = { SLUICE_PROTO_UDP, 47 /* GRE: there is no other port */ };
	struct sluice_net *sn = make_net(test);
	struct sluice_conn_init in;
	struct sluice_conn *c;
	struct sluice_tuple t;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(protos); i++) {
		make_tuple(&t, SLUICE_IPV4, protos[i], i);
		make_init(&in, &t, SLUICE_STATE_DENIED, false);
		in.bits = BIT(SLUICE_CONN_BIT_DENIED);
		KUNIT_ASSERT_FALSE(test, IS_ERR(create(sn, &in, NULL)));
		swap(in.original, in.reply);
		in.bits = 0;
		in.state = SLUICE_STATE_UNREPLIED;
		in.remap = protos[i] == SLUICE_PROTO_UDP;
		c = create(sn, &in, NULL);
		KUNIT_ASSERT_FALSE(test, IS_ERR(c));
		KUNIT_EXPECT_FALSE(test, test_bit(SLUICE_CONN_BIT_REMAPPED, &c->bits));
		KUNIT_EXPECT_TRUE(test, finds(sn, &t, SLUICE_DIR_REPLY));
		KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), i + 1);
	}
	free_net(sn);
}

/* Fills the budget with this state; returns how many were made, 0 after the first refusal. */
static int fill(struct sluice_net *sn, u32 from, u32 n, u8 state, u32 *made)
{
	struct sluice_conn_init in;
	struct sluice_tuple t;
	struct sluice_conn *c;
	u32 i;

	for (*made = 0, i = from; i < from + n; i++) {
		make_tuple(&t, SLUICE_IPV4, SLUICE_PROTO_UDP, i);
		make_init(&in, &t, state, false);
		c = create(sn, &in, NULL);
		if (IS_ERR(c))
			return PTR_ERR(c);
		(*made)++;
	}
	return 0;
}

static u32 alive(struct sluice_net *sn, u32 from, u32 n)
{
	struct sluice_tuple t;
	u32 i, count = 0;

	for (i = from; i < from + n; i++) {
		make_tuple(&t, SLUICE_IPV4, SLUICE_PROTO_UDP, i);
		count += finds(sn, &t, SLUICE_DIR_ORIGINAL);
	}
	return count;
}

/* At the budget: closing goes first, then unreplied, then idle; established never, and then no more. */
static void test_budget(struct kunit *test)
{
	struct sluice_net *sn = make_net(test);
	u32 made;

	sn->conns->budget =
		(u64)sluice_conns_buckets(sn->conns) * sizeof(void *) + 400 * SLUICE_CONN_SIZE4;
	KUNIT_ASSERT_EQ(test, fill(sn, 0, 100, SLUICE_STATE_TCP_ESTABLISHED, &made), 0);
	KUNIT_ASSERT_EQ(test, fill(sn, 1000, 100, SLUICE_STATE_REPLIED, &made), 0);
	KUNIT_ASSERT_EQ(test, fill(sn, 2000, 100, SLUICE_STATE_UNREPLIED, &made), 0);
	KUNIT_ASSERT_EQ(test, fill(sn, 3000, 100, SLUICE_STATE_TCP_TIME_WAIT, &made), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), 400);

	/* Each hundred takes the place of the cheapest hundred. */
	KUNIT_EXPECT_EQ(test, fill(sn, 4000, 100, SLUICE_STATE_TCP_ESTABLISHED, &made), 0);
	KUNIT_EXPECT_EQ(test, alive(sn, 3000, 100), 0U);
	KUNIT_EXPECT_EQ(test, alive(sn, 2000, 100), 100U);
	KUNIT_EXPECT_EQ(test, fill(sn, 5000, 100, SLUICE_STATE_TCP_ESTABLISHED, &made), 0);
	KUNIT_EXPECT_EQ(test, alive(sn, 2000, 100), 0U);
	KUNIT_EXPECT_EQ(test, alive(sn, 1000, 100), 100U);
	KUNIT_EXPECT_EQ(test, fill(sn, 6000, 100, SLUICE_STATE_TCP_ESTABLISHED, &made), 0);
	KUNIT_EXPECT_EQ(test, alive(sn, 1000, 100), 0U);
	KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), 400);

	KUNIT_EXPECT_EQ(test, fill(sn, 7000, 10, SLUICE_STATE_TCP_SYN_SENT, &made), -ENOSPC);
	KUNIT_EXPECT_EQ(test, made, 0U);
	KUNIT_EXPECT_EQ(test, alive(sn, 0, 100), 100U);
	KUNIT_EXPECT_EQ(test, alive(sn, 4000, 100), 100U);
	KUNIT_EXPECT_EQ(test, alive(sn, 5000, 100), 100U);
	KUNIT_EXPECT_EQ(test, alive(sn, 6000, 100), 100U);
	free_net(sn);
}

static bool within_budget(struct sluice_net *sn)
{
	u32 i;

	for (i = 0; i < 100 && sluice_conns_bytes(sn->conns) > sn->conns->budget; i++)
		msleep(100);
	return sluice_conns_bytes(sn->conns) <= sn->conns->budget;
}

/* A budget that is lowered holds within some seconds, though nothing is created; established ones stay. */
static void test_budget_lowered(struct kunit *test)
{
	struct sluice_net *sn = make_net(test);
	u32 made;

	KUNIT_ASSERT_EQ(test, fill(sn, 0, 100, SLUICE_STATE_TCP_ESTABLISHED, &made), 0);
	KUNIT_ASSERT_EQ(test, fill(sn, 1000, 300, SLUICE_STATE_UNREPLIED, &made), 0);
	sn->conns->budget =
		(u64)sluice_conns_buckets(sn->conns) * sizeof(void *) + 200 * SLUICE_CONN_SIZE4;
	KUNIT_EXPECT_TRUE(test, within_budget(sn));
	/* Not one too many goes, but for what the hash table may shrink by meanwhile. */
	KUNIT_EXPECT_GE(test, atomic_read(&sn->conns->count), 200);
	KUNIT_EXPECT_EQ(test, alive(sn, 0, 100), 100U);

	/* Below what only established ones take: they stay, and nobody else comes in. */
	sn->conns->budget = 1;
	for (made = 0; made < 100 && atomic_read(&sn->conns->count) > 100; made++)
		msleep(100);
	KUNIT_EXPECT_EQ(test, alive(sn, 0, 100), 100U);
	KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), 100);
	KUNIT_EXPECT_EQ(test, fill(sn, 2000, 1, SLUICE_STATE_TCP_SYN_SENT, &made), -ENOSPC);
	free_net(sn);
}

/* A table that grows while the budget is all but used up takes more than is left: connections make room. */
static void test_budget_and_growth(struct kunit *test)
{
	struct sluice_net *sn = make_net(test);
	u32 made, i, before = sluice_conns_buckets(sn->conns);
	/* The last connections before 75 % of the IPv4 buckets are in use, two entries each. */
	u32 n = READ_ONCE(sn->conns->ht[0].tbl->size) * 3 / 8;

	sn->conns->budget = (u64)before * sizeof(void *) + (n + 20) * SLUICE_CONN_SIZE4;
	KUNIT_ASSERT_EQ(test, fill(sn, 0, n + 20, SLUICE_STATE_UNREPLIED, &made), 0);
	for (i = 0; i < 100 && sluice_conns_buckets(sn->conns) == before; i++)
		msleep(100);
	KUNIT_EXPECT_GT(test, sluice_conns_buckets(sn->conns), before);
	KUNIT_EXPECT_TRUE(test, within_budget(sn));
	KUNIT_EXPECT_LT(test, (u32)atomic_read(&sn->conns->count), n);
	free_net(sn);
}

/* The worker ends what is over, while the case only waits. */
static void test_expiry(struct kunit *test)
{
	struct sluice_net *sn = make_net(test);
	struct sluice_conn_init in;
	struct sluice_tuple t;
	struct sluice_conn *c;
	u32 made, i;

	KUNIT_ASSERT_EQ(test, fill(sn, 0, 50, SLUICE_STATE_TCP_ESTABLISHED, &made), 0);
	for (i = 100; i < 150; i++) {
		make_tuple(&t, SLUICE_IPV4, SLUICE_PROTO_UDP, i);
		make_init(&in, &t, SLUICE_STATE_UNREPLIED, false);
		c = create(sn, &in, NULL);
		KUNIT_ASSERT_FALSE(test, IS_ERR(c));
		/* Seen last 29 s ago: its deadline is a second away. */
		WRITE_ONCE(c->last_seen, (u32)jiffies - 29 * HZ);
		sluice_wheel_shorten(sn->conns->wheels[c->wheel_cpu], c, SLUICE_EVICT_UNREPLIED, 1);
	}
	for (i = 0; i < 100 && alive(sn, 100, 50); i++)
		msleep(100);
	KUNIT_EXPECT_EQ(test, alive(sn, 100, 50), 0U);
	KUNIT_EXPECT_EQ(test, alive(sn, 0, 50), 50U);
	KUNIT_EXPECT_LT(test, i, 60U);
	free_net(sn);
}

/* A packet that found its connection just before it was killed may still take its state on. */
static void test_advance_after_kill(struct kunit *test)
{
	struct sluice_l4 fin = { .seq = 1, .ack = 1, .flags = SLUICE_TCP_FIN | SLUICE_TCP_ACK };
	struct sluice_net *sn = make_net(test);
	struct sluice_conn_init in;
	struct sluice_tuple t;
	u32 i;

	for (i = 0; i < 200; i++) {
		struct sluice_conn *c;
		u8 dir;

		make_tuple(&t, SLUICE_IPV4, SLUICE_PROTO_TCP, i);
		make_init(&in, &t, SLUICE_STATE_TCP_ESTABLISHED, false);
		KUNIT_ASSERT_FALSE(test, IS_ERR(create(sn, &in, NULL)));
		local_bh_disable();
		rcu_read_lock();
		c = sluice_conn_find(sn->conns, &t, &dir);
		sluice_conn_kill(sn->conns, c);
		sluice_conn_advance(sn->conns, c, SLUICE_DIR_ORIGINAL, &fin);
		sluice_conn_advance(sn->conns, c, SLUICE_DIR_REPLY, &fin);
		sluice_conn_deny(sn->conns, c);
		sluice_conn_kill(sn->conns, c);
		rcu_read_unlock();
		local_bh_enable();
	}
	KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), 0);
	free_net(sn);
}

/* --- threads --------------------------------------------------------------------------------- */

#define FLOWS 4000

struct crowd {
	struct sluice_net *sn;
	u64 seed;
	atomic_t wrong;
	atomic_t made;
	atomic_t found;
	atomic_t id;
};

/* Creates, finds, advances and kills flows that all threads share; each is checked by its tuple. */
static int worker(void *arg)
{
	struct crowd *crowd = arg;
	struct sluice_net *sn = crowd->sn;
	struct sluice_l4 l4 = { .flags = SLUICE_TCP_ACK, .seq = 1, .ack = 1 };
	struct sluice_conn_init in;
	struct sluice_tuple t, back;
	struct rnd_state rnd;
	u32 i = 0;

	prandom_seed_state(&rnd, crowd->seed + atomic_inc_return(&crowd->id));
	while (!kthread_should_stop()) {
		u32 n = below(&rnd, FLOWS);
		/* Phases, so that the table grows and shrinks under everybody. */
		bool grow = (jiffies / (HZ / 4)) & 1;
		struct sluice_conn *c;
		u8 dir;

		make_tuple(&t, n & 1 ? SLUICE_IPV4 : SLUICE_IPV6, SLUICE_PROTO_TCP, n);
		local_bh_disable();
		rcu_read_lock();
		c = sluice_conn_find(sn->conns, &t, &dir);
		if (c) {
			sluice_conn_tuple(c, dir, &back);
			if (dir != SLUICE_DIR_ORIGINAL || !sluice_tuple_equal(&back, &t))
				atomic_inc(&crowd->wrong);
			atomic_inc(&crowd->found);
			l4.flags = below(&rnd, 8) ? SLUICE_TCP_ACK :
						    SLUICE_TCP_FIN | SLUICE_TCP_ACK;
			sluice_conn_advance(sn->conns, c, below(&rnd, 2), &l4);
			if (below(&rnd, 10) >= (grow ? 9 : 2))
				sluice_conn_kill(sn->conns, c);
		} else if (below(&rnd, 10) < (grow ? 9 : 2)) {
			bool raced = false;

			make_init(&in, &t, SLUICE_STATE_TCP_ESTABLISHED, n & 2);
			c = sluice_conn_create(sn->conns, &in, &raced);
			if (!IS_ERR(c)) {
				atomic_inc(&crowd->made);
				sluice_conn_tuple(c, SLUICE_DIR_ORIGINAL, &back);
				if (!sluice_tuple_equal(&back, &t))
					atomic_inc(&crowd->wrong);
			} else if (PTR_ERR(c) != -ENOMEM && PTR_ERR(c) != -ENOSPC &&
				   PTR_ERR(c) != -EADDRINUSE) {
				atomic_inc(&crowd->wrong);
			}
		}
		rcu_read_unlock();
		local_bh_enable();
		if (++i % 64 == 0)
			cond_resched();
	}
	return 0;
}

static void run_crowd(struct kunit *test, bool tight)
{
	struct sluice_net *sn = make_net(test);
	struct crowd crowd = { .sn = sn };
	struct sluice_conn_filter all = {};
	struct task_struct *threads[4];
	struct rnd_state rnd;
	u32 i;

	crowd.seed = sluice_test_seed(test, &rnd);
	if (tight) /* evictions and refusals all the time */
		sn->conns->budget = 300 * SLUICE_CONN_SIZE6 +
				    (u64)sluice_conns_buckets(sn->conns) * sizeof(void *);
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		threads[i] = kthread_run(worker, &crowd, "sluice-test/%u", i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(threads[i]));
	}
	for (i = 0; i < 4; i++) {
		msleep(500);
		sluice_conns_flush(sn, &all);
	}
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		kthread_stop(threads[i]);
	kunit_info(test, "%u made, %u found", atomic_read(&crowd.made), atomic_read(&crowd.found));
	KUNIT_EXPECT_EQ(test, atomic_read(&crowd.wrong), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&crowd.made), 1000);
	KUNIT_EXPECT_GT(test, atomic_read(&crowd.found), 1000);
	sluice_conns_flush(sn, &all);
	KUNIT_EXPECT_EQ(test, atomic_read(&sn->conns->count), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&sn->conns->bytes), 0L);
	free_net(sn);
}

static void test_crowd(struct kunit *test)
{
	run_crowd(test, false);
}

static void test_crowd_at_the_budget(struct kunit *test)
{
	run_crowd(test, true);
}

/* Each allocation of a creation fails once: an error, and as if nothing had been. */
static void test_allocation_failures(struct kunit *test)
{
#ifdef CONFIG_FAILSLAB
	struct sluice_conn_init in;
	struct sluice_net *sn;
	struct sluice_tuple t;
	u32 nth, failed = 0;

	if (!sluice_test_failslab)
		kunit_skip(test, "needs kunit_failslab=1");
	sn = make_net(test);
	for (nth = 1; nth < 20; nth++) {
		long bytes = atomic_long_read(&sn->conns->bytes);
		u32 count = atomic_read(&sn->conns->count);
		struct sluice_conn *c;
		bool reached;

		make_tuple(&t, nth & 1 ? SLUICE_IPV4 : SLUICE_IPV6, SLUICE_PROTO_UDP, nth);
		make_init(&in, &t, SLUICE_STATE_UNREPLIED, true);
		current->fail_nth = nth;
		c = create(sn, &in, NULL);
		reached = !current->fail_nth;
		current->fail_nth = 0;
		if (!IS_ERR(c)) {
			KUNIT_EXPECT_TRUE(test, finds(sn, &t, SLUICE_DIR_ORIGINAL));
			if (!reached)
				break;
			continue;
		}
		failed++;
		KUNIT_EXPECT_EQ(test, PTR_ERR(c), -ENOMEM);
		KUNIT_EXPECT_FALSE(test, finds(sn, &t, SLUICE_DIR_ORIGINAL));
		KUNIT_EXPECT_FALSE(test, finds(sn, &in.reply, SLUICE_DIR_REPLY));
		KUNIT_EXPECT_EQ(test, atomic_long_read(&sn->conns->bytes), bytes);
		KUNIT_EXPECT_EQ(test, (u32)atomic_read(&sn->conns->count), count);
	}
	KUNIT_EXPECT_GT(test, failed, 0U);
	free_net(sn);
#else
	kunit_skip(test, "this kernel cannot fail allocations (CONFIG_FAILSLAB)");
#endif
}

static struct kunit_case cases[] = { KUNIT_CASE(test_both_sides),
				     KUNIT_CASE_SLOW(test_oracle),
				     KUNIT_CASE(test_remap),
				     KUNIT_CASE(test_raced),
				     KUNIT_CASE(test_denied),
				     KUNIT_CASE(test_denied_gives_way),
				     KUNIT_CASE(test_budget),
				     KUNIT_CASE_SLOW(test_budget_lowered),
				     KUNIT_CASE_SLOW(test_budget_and_growth),
				     KUNIT_CASE_SLOW(test_expiry),
				     KUNIT_CASE(test_advance_after_kill),
				     KUNIT_CASE_SLOW(test_crowd),
				     KUNIT_CASE_SLOW(test_crowd_at_the_budget),
				     KUNIT_CASE(test_allocation_failures),
				     {} };

static struct kunit_suite suite = {
	.name = "sluice_conn",
	.test_cases = cases,
};

kunit_test_suite(suite);
