// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod/wheel.c with connections that are nothing but their wheel fields. The clock cannot be set, so
 * a case begins in the past: a wheel that last turned 300 s ago, connections last seen since.
 */
#include <kunit/test.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "kmod/conn.h"
#include "kmod/wheel.h"
#include "suite.h"

#define PAST 300 /* seconds; more than a turn of the wheel */

static struct sluice_wheel *make_wheel(struct kunit *test, u32 seconds_ago)
{
	struct sluice_wheel *w = sluice_wheel_alloc(0);

	KUNIT_ASSERT_NOT_NULL(test, w);
	w->now -= seconds_ago;
	return w;
}

static struct sluice_conn *make_conns(struct kunit *test, u32 n)
{
	struct sluice_conn *c = kvcalloc(n, sizeof(*c), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, c);
	return c;
}

static void seen(struct sluice_conn *c, u8 state, u32 seconds_ago)
{
	c->state = state;
	/* Half a second more, so that a tick while the case runs changes no expectation. */
	c->last_seen = (u32)jiffies - seconds_ago * HZ - HZ / 2;
}

static u32 count_list(struct hlist_head *head)
{
	struct hlist_node *n;
	u32 count = 0;

	hlist_for_each(n, head) count++;
	return count;
}

static u32 turn_all(struct sluice_wheel *w, u32 n, struct hlist_head *dead)
{
	u32 looked, sum = 0;

	do {
		looked = sluice_wheel_turn(w, n, dead);
		sum += looked;
	} while (looked == n);
	return sum;
}

/* Who is over after the wheel has caught up: whoever was silent for its timeout, nobody else. */
static void test_expiry(struct kunit *test)
{
	static const u8 states[] = { SLUICE_STATE_DENIED,	   SLUICE_STATE_TCP_SYN_SENT,
				     SLUICE_STATE_UNREPLIED,	   SLUICE_STATE_REPLIED,
				     SLUICE_STATE_TCP_ESTABLISHED, SLUICE_STATE_TCP_TIME_WAIT,
				     SLUICE_STATE_TCP_CLOSE,	   SLUICE_STATE_TCP_CLOSE_WAIT };
	const u32 n = 5000;
	struct sluice_wheel *w = make_wheel(test, PAST);
	struct sluice_conn *c = make_conns(test, n);
	u32 i, over = 0, wrong = 0;
	struct rnd_state rnd;
	HLIST_HEAD(dead);

	sluice_test_seed(test, &rnd);
	for (i = 0; i < n; i++) {
		u8 state = states[below(&rnd, ARRAY_SIZE(states))];

		seen(&c[i], state, below(&rnd, PAST));
		sluice_wheel_add(w, &c[i], sluice_state_timeout(state));
	}
	turn_all(w, 64, &dead);
	for (i = 0; i < n; i++) {
		u32 silent = ((u32)jiffies - c[i].last_seen) / HZ;
		bool want = silent >= sluice_state_timeout(c[i].state);

		over += want;
		/* What went to "dead" hangs no more. */
		wrong += sluice_wheel_del(w, &c[i]) == want;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0U);
	KUNIT_EXPECT_EQ(test, count_list(&dead), over);
	KUNIT_EXPECT_GT(test, over, 0U);
	KUNIT_EXPECT_LT(test, over, n);
	kvfree(c);
	kfree(w);
}

/* A second's work is that second's deadlines, whatever else hangs there. */
static void test_cost(struct kunit *test)
{
	static const u32 sizes[] = { 0, 100, 10000, 50000 };
	const u32 due = 37;
	u32 i, k;

	for (k = 0; k < ARRAY_SIZE(sizes); k++) {
		struct sluice_wheel *w = make_wheel(test, 2);
		struct sluice_conn *c = make_conns(test, sizes[k] + due);
		HLIST_HEAD(dead);

		for (i = 0; i < sizes[k]; i++) {
			seen(&c[i], i & 1 ? SLUICE_STATE_TCP_ESTABLISHED : SLUICE_STATE_REPLIED, 0);
			sluice_wheel_add(w, &c[i], 100 + i % 150);
		}
		for (i = sizes[k]; i < sizes[k] + due; i++) {
			seen(&c[i], SLUICE_STATE_TCP_CLOSE, 60);
			sluice_wheel_add(w, &c[i], 1);
		}
		KUNIT_EXPECT_EQ(test, turn_all(w, 1000, &dead), due);
		KUNIT_EXPECT_EQ(test, count_list(&dead), due);
		KUNIT_EXPECT_EQ(test, turn_all(w, 1000, &dead), 0U);
		kvfree(c);
		kfree(w);
	}
}

/* A turn stops after n, goes on there, and hangs nobody twice. */
static void test_batches(struct kunit *test)
{
	const u32 n = 1000;
	struct sluice_wheel *w = make_wheel(test, PAST);
	struct sluice_conn *c = make_conns(test, n);
	u32 i, sum = 0;
	HLIST_HEAD(dead);

	for (i = 0; i < n; i++) {
		seen(&c[i], SLUICE_STATE_UNREPLIED, PAST);
		sluice_wheel_add(w, &c[i], 1 + i % 50);
	}
	while (sum < n) {
		u32 looked = sluice_wheel_turn(w, 7, &dead);

		KUNIT_ASSERT_EQ(test, looked, min(7U, n - sum));
		sum += looked;
		KUNIT_ASSERT_EQ(test, count_list(&dead), sum);
	}
	KUNIT_EXPECT_EQ(test, sluice_wheel_turn(w, 7, &dead), 0U);
	kvfree(c);
	kfree(w);
}

/* The long lived are looked at once a turn of the wheel, and live. */
static void test_long_lived(struct kunit *test)
{
	struct sluice_wheel *w = make_wheel(test, 255);
	struct sluice_conn *c = make_conns(test, 1);
	HLIST_HEAD(dead);

	seen(c, SLUICE_STATE_TCP_ESTABLISHED, 255);
	sluice_wheel_add(w, c, sluice_state_timeout(c->state));
	KUNIT_EXPECT_EQ(test, turn_all(w, 64, &dead), 1U);
	KUNIT_EXPECT_TRUE(test, hlist_empty(&dead));
	KUNIT_EXPECT_TRUE(test, sluice_wheel_del(w, c));
	kvfree(c);
	kfree(w);
}

/* The cheapest of a class is the one nearest to its end; other classes are not touched. */
static void test_victims(struct kunit *test)
{
	const u32 n = 200;
	struct sluice_wheel *w = make_wheel(test, 0);
	struct sluice_conn *c = make_conns(test, 2 * n), *v;
	u32 i, last = 0, found = 0;
	struct rnd_state rnd;

	sluice_test_seed(test, &rnd);
	for (i = 0; i < n; i++) {
		seen(&c[i], SLUICE_STATE_UNREPLIED, 0);
		c[i].created = 1 + below(&rnd, 250); /* no field of the wheel's: its deadline */
		sluice_wheel_add(w, &c[i], c[i].created);
		seen(&c[n + i], SLUICE_STATE_TCP_ESTABLISHED, 0);
		sluice_wheel_add(w, &c[n + i], 1 + below(&rnd, 250));
	}
	KUNIT_EXPECT_NULL(test, sluice_wheel_victim(w, SLUICE_EVICT_CLOSING));
	KUNIT_EXPECT_NULL(test, sluice_wheel_victim(w, SLUICE_EVICT_IDLE));
	while ((v = sluice_wheel_victim(w, SLUICE_EVICT_UNREPLIED))) {
		KUNIT_ASSERT_TRUE(test, v >= c && v < c + n);
		KUNIT_ASSERT_GE(test, v->created, last);
		last = v->created;
		KUNIT_ASSERT_FALSE(test, sluice_wheel_del(w, v));
		found++;
	}
	KUNIT_EXPECT_EQ(test, found, n);
	for (i = n; i < 2 * n; i++)
		KUNIT_EXPECT_TRUE(test, sluice_wheel_del(w, &c[i]));
	kvfree(c);
	kfree(w);
}

/* Who was promoted since it was hung is no victim of its old class, but of its new one. */
static void test_promoted(struct kunit *test)
{
	struct sluice_wheel *w = make_wheel(test, 0);
	struct sluice_conn *c = make_conns(test, 2);
	u32 i;

	for (i = 0; i < 2; i++) {
		seen(&c[i], SLUICE_STATE_UNREPLIED, 0);
		sluice_wheel_add(w, &c[i], 30);
		c[i].state = i ? SLUICE_STATE_TCP_ESTABLISHED : SLUICE_STATE_REPLIED;
	}
	KUNIT_EXPECT_NULL(test, sluice_wheel_victim(w, SLUICE_EVICT_UNREPLIED));
	KUNIT_EXPECT_PTR_EQ(test, sluice_wheel_victim(w, SLUICE_EVICT_IDLE), &c[0]);
	KUNIT_EXPECT_NULL(test, sluice_wheel_victim(w, SLUICE_EVICT_IDLE));
	KUNIT_EXPECT_TRUE(test, sluice_wheel_del(w, &c[1]));
	kvfree(c);
	kfree(w);
}

static u32 seconds_left(const struct sluice_wheel *w, const struct sluice_conn *c)
{
	return (c->wheel_slot - w->now) % SLUICE_WHEEL_SLOTS;
}

static void test_shorten(struct kunit *test)
{
	struct sluice_wheel *w = make_wheel(test, 0);
	struct sluice_conn *c = make_conns(test, 1);

	seen(c, SLUICE_STATE_TCP_ESTABLISHED, 0);
	sluice_wheel_add(w, c, 86400);
	KUNIT_EXPECT_EQ(test, seconds_left(w, c), 255U);
	sluice_wheel_shorten(w, c, SLUICE_EVICT_CLOSING, 10);
	KUNIT_EXPECT_EQ(test, seconds_left(w, c), 10U);
	KUNIT_EXPECT_EQ(test, c->wheel_class, SLUICE_EVICT_CLOSING);
	sluice_wheel_shorten(w, c, SLUICE_EVICT_CLOSING, 100); /* longer: stays */
	KUNIT_EXPECT_EQ(test, seconds_left(w, c), 10U);
	KUNIT_EXPECT_TRUE(test, sluice_wheel_del(w, c));
	KUNIT_EXPECT_FALSE(test, sluice_wheel_del(w, c));
	KUNIT_EXPECT_NULL(test, sluice_wheel_victim(w, SLUICE_EVICT_CLOSING));
	kvfree(c);
	kfree(w);
}

/*
 * A connection that was taken down waits for its grace period, its wheel node overlaid by the link
 * of its grave. A packet that found it before may still come and change its state: the wheel must know
 * that it hangs nowhere without looking at the node.
 */
static void test_taken_down(struct kunit *test)
{
	u32 how;

	for (how = 0; how < 3; how++) {
		struct sluice_wheel *w = make_wheel(test, PAST);
		struct sluice_conn *c = make_conns(test, 1);
		struct hlist_node *bait = (void *)0x5a5a5a5a5a5a5a5aUL;
		HLIST_HEAD(dead);

		seen(c, SLUICE_STATE_UNREPLIED, PAST);
		sluice_wheel_add(w, c, 30);
		switch (how) {
		case 0:
			KUNIT_ASSERT_TRUE(test, sluice_wheel_del(w, c));
			break;
		case 1:
			KUNIT_ASSERT_PTR_EQ(test, sluice_wheel_victim(w, SLUICE_EVICT_UNREPLIED),
					    c);
			break;
		case 2:
			KUNIT_ASSERT_EQ(test, turn_all(w, 64, &dead), 1U);
			hlist_del_init(&c->wheel);
			break;
		}
		/* What a grave may leave there, with a harmless place for the wheel to write to. */
		c->wheel.next = NULL;
		c->wheel.pprev = &bait;
		sluice_wheel_shorten(w, c, SLUICE_EVICT_CLOSING, 5);
		KUNIT_EXPECT_FALSE_MSG(test, sluice_wheel_del(w, c), "how %u", how);
		KUNIT_EXPECT_PTR_EQ_MSG(test, (void *)bait, (void *)0x5a5a5a5a5a5a5a5aUL,
					"how %u: the memory of a dead connection is written to",
					how);
		kvfree(c);
		kfree(w);
	}
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_expiry),     KUNIT_CASE(test_cost),	  KUNIT_CASE(test_batches),
	KUNIT_CASE(test_long_lived), KUNIT_CASE(test_victims),	  KUNIT_CASE(test_promoted),
	KUNIT_CASE(test_shorten),    KUNIT_CASE(test_taken_down), {}
};

static struct kunit_suite suite = {
	.name = "sluice_wheel",
	.test_cases = cases,
};

kunit_test_suite(suite);
