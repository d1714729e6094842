// SPDX-License-Identifier: GPL-2.0-only
/*
 * What transactions do to the tables: versions, sweeps, aborts, growth under readers; peers, services
 * and rulesets beside naive oracles. All of it in the initial network namespace, as its one and only
 * user; each case ends with a sweep that leaves nothing.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "kmod/net.h"
#include "kmod/peer.h"
#include "kmod/rule.h"
#include "kmod/ruleset.h"
#include "kmod/service.h"
#include "kmod/transaction.h"
#include "suite.h"
#include "uapi/sluice.h"

#define OWNER 4711 /* a netlink port that nobody has */

static struct sluice_net *the_net(void)
{
	return sluice_net_get(&init_net);
}

static void begin(struct kunit *test)
{
	struct sluice_net *sn = the_net();
	int err;

	mutex_lock(&sn->mutex);
	err = sluice_transaction_begin(sn, OWNER);
	mutex_unlock(&sn->mutex);
	KUNIT_ASSERT_EQ(test, err, 0);
}

static int commit(u32 flags)
{
	struct sluice_net *sn = the_net();
	const char *why = NULL;
	int err;

	mutex_lock(&sn->mutex);
	err = sluice_transaction_commit(sn, flags, &why);
	mutex_unlock(&sn->mutex);
	return err;
}

static void abort_all(void)
{
	struct sluice_net *sn = the_net();

	mutex_lock(&sn->mutex);
	sluice_transaction_abort(sn);
	mutex_unlock(&sn->mutex);
}

/* What died is gone from now on: nobody else can be told about it before. */
static void bury(void)
{
	struct sluice_net *sn = the_net();

	mutex_lock(&sn->mutex);
	sluice_transaction_bury(sn);
	mutex_unlock(&sn->mutex);
}

/* Also what a failed assertion leaves behind is taken down here. */
static void clean_up(struct kunit *test)
{
	struct sluice_net *sn = the_net();

	if (!sluice_net_active(sn))
		return;
	mutex_lock(&sn->mutex);
	if (sluice_transaction_owned(sn, OWNER))
		sluice_transaction_abort(sn);
	mutex_unlock(&sn->mutex);
	begin(test);
	KUNIT_EXPECT_EQ(test, commit(SLUICE_COMMIT_SWEEP), 0);
	KUNIT_EXPECT_EQ(test, sn->peers.committed, 0U);
	KUNIT_EXPECT_EQ(test, sn->backends.committed, 0U);
	bury();
	KUNIT_EXPECT_EQ(test, sn->services.committed, 0U);
	KUNIT_EXPECT_EQ(test, sn->rulesets.committed, 0U);
	KUNIT_EXPECT_EQ(test, sn->peers.hash.count, 0U);
	KUNIT_EXPECT_EQ(test, sn->services.hash.count, 0U);
	KUNIT_EXPECT_EQ(test, sn->vips.count, 0U);
	KUNIT_EXPECT_EQ(test, sn->backends.count, 0U);
}

/* --- peers ----------------------------------------------------------------------------------- */

static int set_peer(u8 family, const struct sluice_addr *addr, u8 plen, u32 class)
{
	struct sluice_peer_args args = { .addr = *addr,
					 .family = family,
					 .plen = plen,
					 .class = class,
					 .name = "test",
					 .name_len = 4 };
	struct sluice_net *sn = the_net();
	int err;

	sluice_addr_mask(&args.addr, plen);
	mutex_lock(&sn->mutex);
	err = sluice_peer_set(sn, &args);
	mutex_unlock(&sn->mutex);
	return err;
}

static int del_peer(u8 family, const struct sluice_addr *addr, u8 plen)
{
	struct sluice_peer_args args = { .addr = *addr, .family = family, .plen = plen };
	struct sluice_net *sn = the_net();
	int err;

	sluice_addr_mask(&args.addr, plen);
	mutex_lock(&sn->mutex);
	err = sluice_peer_del(sn, &args);
	mutex_unlock(&sn->mutex);
	return err;
}

static u32 class_of(u8 family, const struct sluice_addr *addr)
{
	struct sluice_net *sn = the_net();
	u32 class;

	rcu_read_lock();
	class = sluice_peer_class(sn, sluice_revision(sn), addr, family);
	rcu_read_unlock();
	return class;
}

static struct sluice_addr pod(u32 n)
{
	struct sluice_addr a = { { htonl(0x0a000000 | n) } };

	return a;
}

static void test_visibility(struct kunit *test)
{
	struct sluice_addr a = pod(1), b = pod(2);
	struct sluice_net *sn = the_net();
	u32 revision, generation;

	begin(test);
	revision = sn->revision;
	KUNIT_ASSERT_EQ(test, set_peer(4, &a, 32, 5), 0);
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 0U);
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 5U);
	KUNIT_EXPECT_EQ(test, sn->revision, revision + 1);
	generation = sluice_policy_generation(sn);

	/* Replaced, one more, then thrown away. */
	begin(test);
	KUNIT_ASSERT_EQ(test, set_peer(4, &a, 32, 6), 0);
	KUNIT_ASSERT_EQ(test, set_peer(4, &b, 32, 7), 0);
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 5U);
	abort_all();
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 5U);
	KUNIT_EXPECT_EQ(test, class_of(4, &b), 0U);
	KUNIT_EXPECT_EQ(test, sn->revision, revision + 1);
	KUNIT_EXPECT_EQ(test, sluice_policy_generation(sn), generation);
	KUNIT_EXPECT_EQ(test, sn->peers.hash.count, 1U);

	/* Deleted and aborted lives on; deleted and committed does not. */
	begin(test);
	KUNIT_EXPECT_EQ(test, del_peer(4, &a, 32), 0);
	KUNIT_EXPECT_EQ(test, del_peer(4, &a, 32), -ENOENT);
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 5U);
	abort_all();
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 5U);
	begin(test);
	KUNIT_EXPECT_EQ(test, del_peer(4, &a, 32), 0);
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 0U);
	KUNIT_EXPECT_NE(test, sluice_policy_generation(sn), generation);

	/* Set, deleted and set again within one transaction. */
	begin(test);
	KUNIT_EXPECT_EQ(test, set_peer(4, &a, 32, 1), 0);
	KUNIT_EXPECT_EQ(test, del_peer(4, &a, 32), 0);
	KUNIT_EXPECT_EQ(test, set_peer(4, &a, 32, 2), 0);
	KUNIT_EXPECT_EQ(test, set_peer(4, &a, 32, 3), 0);
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 3U);
	bury();
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 3U);
	KUNIT_EXPECT_EQ(test, sn->peers.hash.count, 1U);
	clean_up(test);
}

static void test_one_transaction(struct kunit *test)
{
	struct sluice_net *sn = the_net();

	begin(test);
	mutex_lock(&sn->mutex);
	KUNIT_EXPECT_EQ(test, sluice_transaction_begin(sn, OWNER + 1), -EBUSY);
	KUNIT_EXPECT_TRUE(test, sluice_transaction_owned(sn, OWNER));
	KUNIT_EXPECT_FALSE(test, sluice_transaction_owned(sn, OWNER + 1));
	mutex_unlock(&sn->mutex);
	abort_all();
	clean_up(test);
}

/* A refused object spoils its whole transaction. */
static void test_failed(struct kunit *test)
{
	struct sluice_net *sn = the_net();
	struct sluice_addr a = pod(1);

	begin(test);
	KUNIT_ASSERT_EQ(test, set_peer(4, &a, 32, 5), 0);
	sn->failed = true;
	KUNIT_EXPECT_EQ(test, commit(0), -ECANCELED);
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 0U);
	begin(test); /* and is over */
	abort_all();
	clean_up(test);
}

#define KEYS 300

/* Random transactions beside an array; each is committed, aborted, or committed with a sweep. */
static void test_oracle(struct kunit *test)
{
	struct oracle {
		u32 now[KEYS];
		u32 then[KEYS];
		bool written[KEYS];
	} *o = kunit_kzalloc(test, sizeof(*o), GFP_KERNEL);
	struct sluice_net *sn = the_net();
	struct rnd_state rnd;
	u32 round, i, n, count;

	KUNIT_ASSERT_NOT_NULL(test, o);
	sluice_test_seed(test, &rnd);
	for (round = 0; round < 60; round++) {
		u32 end = below(&rnd, 4), ops = below(&rnd, KEYS * 2);

		begin(test);
		memcpy(o->then, o->now, sizeof(o->now));
		memset(o->written, 0, sizeof(o->written));
		for (i = 0; i < ops; i++) {
			struct sluice_addr a;

			n = below(&rnd, KEYS);
			a = pod(n);
			if (below(&rnd, 3)) {
				/* Often as it is, so that it is kept. */
				u32 class = o->then[n] && below(&rnd, 2) ? o->then[n] :
									   1 + below(&rnd, 1000);

				KUNIT_ASSERT_EQ(test, set_peer(4, &a, 32, class), 0);
				o->then[n] = class;
				o->written[n] = true;
			} else {
				KUNIT_ASSERT_EQ(test, del_peer(4, &a, 32),
						o->then[n] ? 0 : -ENOENT);
				o->then[n] = 0;
				o->written[n] = false;
			}
		}
		if (end == 0) {
			abort_all();
		} else {
			KUNIT_ASSERT_EQ(test, commit(end == 1 ? SLUICE_COMMIT_SWEEP : 0), 0);
			for (n = 0; n < KEYS; n++)
				o->now[n] = end == 1 && !o->written[n] ? 0 : o->then[n];
		}
		for (count = 0, n = 0; n < KEYS; n++) {
			struct sluice_addr a = pod(n);

			count += !!o->now[n];
			if (class_of(4, &a) != o->now[n])
				KUNIT_FAIL(test, "round %u, end %u: key %u is %u, not %u", round,
					   end, n, class_of(4, &a), o->now[n]);
		}
		KUNIT_ASSERT_EQ(test, sn->peers.committed, count);
		/* Mostly the dead of some rounds are still there. */
		KUNIT_ASSERT_GE(test, sn->peers.hash.count, count);
		if (below(&rnd, 8))
			continue;
		bury();
		KUNIT_ASSERT_EQ(test, sn->peers.hash.count, count);
	}
	clean_up(test);
}

/* Longest prefix, beside a walk over a list. */
static void test_prefixes(struct kunit *test)
{
	const u32 n = 400;
	struct prefix {
		struct sluice_addr addr;
		u8 family;
		u8 plen;
	} *p = kunit_kcalloc(test, n, sizeof(*p), GFP_KERNEL);
	struct rnd_state rnd;
	u32 i, j, w, wrong = 0, known = 0;

	KUNIT_ASSERT_NOT_NULL(test, p);
	sluice_test_seed(test, &rnd);
	begin(test);
	for (i = 0; i < n; i++) {
		p[i].family = below(&rnd, 2) ? 4 : 6;
		p[i].plen = below(&rnd, sluice_family_bits(p[i].family) + 1);
		/* Few bits vary, or no two prefixes would ever hold one address. */
		for (w = 0; w < (p[i].family == 4 ? 1 : 4); w++)
			p[i].addr.w[w] = htonl(below(&rnd, 4) << 30 | below(&rnd, 4));
		sluice_addr_mask(&p[i].addr, p[i].plen);
		KUNIT_ASSERT_EQ(test, set_peer(p[i].family, &p[i].addr, p[i].plen, i + 1), 0);
	}
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	for (i = 0; i < 4000; i++) {
		u8 family = below(&rnd, 2) ? 4 : 6;
		struct sluice_addr a = {};
		int longest = -1;
		u32 want = 0;

		for (w = 0; w < (family == 4 ? 1 : 4); w++)
			a.w[w] = htonl(below(&rnd, 4) << 30 | below(&rnd, 4));
		for (j = 0; j < n; j++) {
			struct sluice_addr masked = a;

			if (p[j].family != family)
				continue;
			sluice_addr_mask(&masked, p[j].plen);
			/* >=: of two equal prefixes the later one stands. */
			if (sluice_addr_equal(&masked, &p[j].addr) && (int)p[j].plen >= longest) {
				longest = p[j].plen;
				want = j + 1;
			}
		}
		known += !!want;
		wrong += class_of(family, &a) != want;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0U);
	KUNIT_EXPECT_GT(test, known, 1000U);
	clean_up(test);
}

/* --- readers --------------------------------------------------------------------------------- */

struct readers {
	u32 n; /* peers that all have the same class at any revision */
	atomic_t mixed;
	atomic_t rounds;
};

/* One RCU section is one packet: whatever it looks up is of one revision. */
static int reader(void *arg)
{
	struct readers *r = arg;
	struct sluice_net *sn = the_net();
	struct rnd_state rnd;

	prandom_seed_state(&rnd, (unsigned long)current);
	while (!kthread_should_stop()) {
		u32 revision, first, i;

		rcu_read_lock();
		revision = sluice_revision(sn);
		for (first = 0, i = 0; i < 50; i++) {
			struct sluice_addr a = pod(below(&rnd, READ_ONCE(r->n)));
			u32 class = sluice_peer_class(sn, revision, &a, 4);

			if (i && class != first)
				atomic_inc(&r->mixed);
			first = class;
		}
		rcu_read_unlock();
		atomic_inc(&r->rounds);
		cond_resched();
	}
	return 0;
}

/* Commits, aborts and growth while readers run. */
static void test_readers(struct kunit *test)
{
	struct readers r = { .n = 64 };
	struct task_struct *threads[3];
	u32 i, n, round;

	begin(test);
	for (n = 0; n < r.n; n++) {
		struct sluice_addr a = pod(n);

		KUNIT_ASSERT_EQ(test, set_peer(4, &a, 32, 1), 0);
	}
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		threads[i] = kthread_run(reader, &r, "sluice-reader/%u", i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(threads[i]));
	}
	for (round = 2; round < 30; round++) {
		begin(test);
		for (n = 0; n < r.n; n++) {
			struct sluice_addr a = pod(n);

			KUNIT_EXPECT_EQ(test, set_peer(4, &a, 32, round), 0);
		}
		/* Others come too: the hash array grows several times. */
		for (n = 0; n < 200; n++) {
			struct sluice_addr a = pod(100000 + round * 200 + n);

			KUNIT_EXPECT_EQ(test, set_peer(4, &a, 32, round), 0);
		}
		if (round % 4 == 0)
			abort_all();
		else
			KUNIT_EXPECT_EQ(test, commit(0), 0);
	}
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		kthread_stop(threads[i]);
	kunit_info(test, "%d packets", atomic_read(&r.rounds));
	KUNIT_EXPECT_GT(test, atomic_read(&r.rounds), 100);
	KUNIT_EXPECT_EQ(test, atomic_read(&r.mixed), 0);
	clean_up(test);
}

/* --- services -------------------------------------------------------------------------------- */

static int set_service(u32 vip, const u32 *backends, u32 n)
{
	struct sluice_backend4 b[16] = {};
	struct sluice_service_args args = {
		.key = { .addr = { { htonl(0x0a600000 | vip) } },
			 .port = htons(80),
			 .proto = SLUICE_PROTO_TCP,
			 .family = SLUICE_IPV4 },
		.n_backends = n,
		.backends = b,
		.name = "ns/svc:80",
		.name_len = 9,
	};
	struct sluice_net *sn = the_net();
	const char *why = NULL;
	u32 i;
	int err;

	for (i = 0; i < n; i++) {
		b[i].addr = htonl(0x0a010000 | backends[i]);
		b[i].port = htons(9000);
	}
	mutex_lock(&sn->mutex);
	err = sluice_service_set(sn, &args, &why);
	mutex_unlock(&sn->mutex);
	return err;
}

/* Under RCU. */
static struct sluice_service *find_service(u32 vip)
{
	struct sluice_service_key key = { .addr = { { htonl(0x0a600000 | vip) } },
					  .port = htons(80),
					  .proto = SLUICE_PROTO_TCP,
					  .family = SLUICE_IPV4 };
	struct sluice_net *sn = the_net();

	return sluice_service_find(sn, sluice_revision(sn), &key);
}

/* Id and generation of a service's backend. */
static bool find_backend(u32 vip, u32 backend, u32 *id, u32 *gen)
{
	struct sluice_net *sn = the_net();
	struct sluice_service *s;
	bool found = false;
	u32 i;

	rcu_read_lock();
	s = find_service(vip);
	for (i = 0; s && i < s->n_backends; i++) {
		struct sluice_backend *b = sluice_backend_get(sn, s->backend_ids[i]);

		if (b->addr.w[0] == htonl(0x0a010000 | backend) && b->port == htons(9000)) {
			*id = s->backend_ids[i];
			*gen = b->gen;
			found = true;
		}
	}
	rcu_read_unlock();
	return found;
}

static bool vip_known(u32 vip)
{
	struct sluice_addr a = { { htonl(0x0a600000 | vip) } };
	struct sluice_net *sn = the_net();
	bool known;

	rcu_read_lock();
	known = sluice_service_addr_known(sn, sluice_revision(sn), &a, SLUICE_IPV4);
	rcu_read_unlock();
	return known;
}

static void test_services(struct kunit *test)
{
	static const u32 twice[] = { 1, 2, 1 }, three[] = { 1, 2, 3 }, two[] = { 3, 1 };
	u32 id[4], gen[4], now_id, now_gen;

	begin(test);
	KUNIT_EXPECT_EQ(test, set_service(1, twice, 3), -EINVAL);
	abort_all();
	begin(test);
	KUNIT_ASSERT_EQ(test, set_service(1, three, 3), 0);
	KUNIT_ASSERT_EQ(test, set_service(2, three, 0), 0);
	KUNIT_EXPECT_FALSE(test, vip_known(1));
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	KUNIT_EXPECT_TRUE(test, vip_known(1));
	KUNIT_EXPECT_TRUE(test, vip_known(2));
	KUNIT_EXPECT_FALSE(test, vip_known(3));
	KUNIT_ASSERT_TRUE(test, find_backend(1, 1, &id[1], &gen[1]));
	KUNIT_ASSERT_TRUE(test, find_backend(1, 2, &id[2], &gen[2]));
	KUNIT_ASSERT_TRUE(test, find_backend(1, 3, &id[3], &gen[3]));
	KUNIT_EXPECT_EQ(test, the_net()->backends.count, 3U);

	/* Backend 2 leaves: its generation moves on, those of the others stay, with their ids. */
	begin(test);
	KUNIT_ASSERT_EQ(test, set_service(1, two, 2), 0);
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	KUNIT_ASSERT_TRUE(test, find_backend(1, 1, &now_id, &now_gen));
	KUNIT_EXPECT_EQ(test, now_id, id[1]);
	KUNIT_EXPECT_EQ(test, now_gen, gen[1]);
	KUNIT_ASSERT_TRUE(test, find_backend(1, 3, &now_id, &now_gen));
	KUNIT_EXPECT_EQ(test, now_id, id[3]);
	KUNIT_EXPECT_EQ(test, now_gen, gen[3]);
	KUNIT_EXPECT_FALSE(test, find_backend(1, 2, &now_id, &now_gen));
	KUNIT_EXPECT_EQ(test, the_net()->backends.committed, 2U);
	bury();
	KUNIT_EXPECT_NE(test, READ_ONCE(sluice_backend_get(the_net(), id[2])->gen), gen[2]);
	KUNIT_EXPECT_EQ(test, the_net()->backends.count, 2U);

	/* An aborted removal moves nothing. */
	begin(test);
	KUNIT_ASSERT_EQ(test, set_service(1, two, 1), 0);
	abort_all();
	KUNIT_ASSERT_TRUE(test, find_backend(1, 1, &now_id, &now_gen));
	KUNIT_EXPECT_EQ(test, now_gen, gen[1]);
	KUNIT_EXPECT_EQ(test, the_net()->backends.count, 2U);

	/* Coming back, it is another one: connections to the old one stay stale. */
	begin(test);
	KUNIT_ASSERT_EQ(test, set_service(1, three, 3), 0);
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	KUNIT_ASSERT_TRUE(test, find_backend(1, 2, &now_id, &now_gen));
	KUNIT_EXPECT_TRUE(test, now_id != id[2] || now_gen != gen[2]);
	clean_up(test);
	KUNIT_EXPECT_FALSE(test, vip_known(1));
	KUNIT_EXPECT_NE(test, READ_ONCE(sluice_backend_get(the_net(), id[1])->gen), gen[1]);
}

/* --- the dead that are not buried ------------------------------------------------------------- */

/*
 * Transactions that follow one another faster than grace periods: on one peer, one service and its
 * address, with aborted ones and sweeps in between. Each is seen at once; a key never has what was
 * before; when all is buried, one version is left.
 */
static void test_quick_transactions(struct kunit *test)
{
	static const u32 some[][2] = { { 1, 2 }, { 2, 3 }, { 3, 1 } };
	struct sluice_addr a = pod(1), b = pod(2);
	struct sluice_net *sn = the_net();
	u32 round, id, gen, most = 0;

	begin(test);
	KUNIT_ASSERT_EQ(test, set_peer(4, &b, 32, 9), 0);
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	for (round = 1; round <= 400; round++) {
		const u32 *backends = some[round % 3];
		bool there = round % 5, service = round % 4 != 3;

		begin(test);
		KUNIT_ASSERT_EQ(test, there ? set_peer(4, &a, 32, round) : del_peer(4, &a, 32), 0);
		KUNIT_ASSERT_EQ(test, set_peer(4, &b, 32, 9), 0);
		if (service)
			KUNIT_ASSERT_EQ(test, set_service(1, backends, 2), 0);
		/* What is not written goes by a sweep. */
		KUNIT_ASSERT_EQ(test, commit(service ? 0 : SLUICE_COMMIT_SWEEP), 0);
		KUNIT_ASSERT_EQ(test, class_of(4, &a), there ? round : 0);
		KUNIT_ASSERT_EQ(test, class_of(4, &b), 9U);
		KUNIT_ASSERT_EQ(test, vip_known(1), service);
		KUNIT_ASSERT_EQ(test, find_backend(1, backends[0], &id, &gen), service);
		/* Not the one of the three that it does not have. */
		KUNIT_ASSERT_FALSE(test, find_backend(1, 6 - backends[0] - backends[1], &id, &gen));
		KUNIT_ASSERT_EQ(test, sn->peers.committed, there ? 2U : 1U);
		KUNIT_ASSERT_EQ(test, sn->services.committed, service ? 1U : 0U);
		KUNIT_ASSERT_EQ(test, sn->backends.committed, service ? 2U : 0U);
		most = max(most, sn->peers.hash.count);

		begin(test);
		KUNIT_ASSERT_EQ(test, set_peer(4, &a, 32, 5000), 0);
		KUNIT_ASSERT_EQ(test, set_service(1, some[0], 1), 0);
		KUNIT_ASSERT_EQ(test, set_service(2, some[0], 1), 0);
		abort_all();
		KUNIT_ASSERT_EQ(test, class_of(4, &a), there ? round : 0);
		KUNIT_ASSERT_EQ(test, vip_known(1), service);
		KUNIT_ASSERT_FALSE(test, vip_known(2));
	}
	kunit_info(test, "%u versions at once", most);
	bury();
	KUNIT_EXPECT_EQ(test, sn->peers.hash.count, 1U);
	KUNIT_EXPECT_EQ(test, sn->services.hash.count, 1U);
	KUNIT_EXPECT_EQ(test, sn->vips.count, 1U);
	KUNIT_EXPECT_EQ(test, sn->backends.count, 2U);
	clean_up(test);
}

/* An abort makes the dying live again, and nobody who is dead. */
static void test_abort_among_the_dead(struct kunit *test)
{
	static const u32 two[] = { 1, 2 };
	struct sluice_addr a = pod(1), b = pod(2);
	struct sluice_net *sn = the_net();
	u32 id, gen;

	begin(test);
	KUNIT_ASSERT_EQ(test, set_peer(4, &a, 32, 1), 0);
	KUNIT_ASSERT_EQ(test, set_peer(4, &b, 32, 1), 0);
	KUNIT_ASSERT_EQ(test, set_service(1, two, 2), 0);
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	begin(test);
	KUNIT_ASSERT_EQ(test, set_peer(4, &a, 32, 2), 0);
	KUNIT_ASSERT_EQ(test, del_peer(4, &b, 32), 0);
	KUNIT_ASSERT_EQ(test, set_service(1, two, 1), 0);
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	begin(test);
	KUNIT_EXPECT_EQ(test, del_peer(4, &b, 32), -ENOENT);
	KUNIT_ASSERT_EQ(test, del_peer(4, &a, 32), 0);
	KUNIT_ASSERT_EQ(test, set_service(1, two, 2), 0);
	/* In the middle of a transaction too. */
	bury();
	abort_all();
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 2U);
	KUNIT_EXPECT_EQ(test, class_of(4, &b), 0U);
	KUNIT_EXPECT_TRUE(test, find_backend(1, 1, &id, &gen));
	KUNIT_EXPECT_FALSE(test, find_backend(1, 2, &id, &gen));
	KUNIT_EXPECT_EQ(test, sn->peers.hash.count, 1U);
	KUNIT_EXPECT_EQ(test, sn->services.hash.count, 1U);
	KUNIT_EXPECT_EQ(test, sn->backends.count, 1U);
	KUNIT_EXPECT_EQ(test, sn->backends.committed, 1U);
	clean_up(test);
}

/* Nobody asks for it, and it is buried all the same. */
static void test_burial(struct kunit *test)
{
	struct sluice_addr a = pod(1);
	struct sluice_net *sn = the_net();
	u32 round, waited;

	for (round = 1; round <= 3; round++) {
		begin(test);
		KUNIT_ASSERT_EQ(test, set_peer(4, &a, 32, round), 0);
		KUNIT_ASSERT_EQ(test, commit(0), 0);
	}
	for (waited = 0; waited < 30000 && READ_ONCE(sn->peers.hash.count) > 1; waited += 10)
		msleep(10);
	KUNIT_EXPECT_EQ(test, READ_ONCE(sn->peers.hash.count), 1U);
	KUNIT_EXPECT_EQ(test, class_of(4, &a), 3U);
	clean_up(test);
}

/* --- rulesets -------------------------------------------------------------------------------- */

static int put_piece(u32 id, const void *blob, u32 size, u32 offset, u32 len, const char **why)
{
	struct sluice_ruleset_args args = {
		.id = id, .size = size, .offset = offset, .len = len, .data = blob + offset
	};
	struct sluice_net *sn = the_net();
	int err;

	*why = NULL;
	mutex_lock(&sn->mutex);
	err = sluice_ruleset_piece(sn, &args, why);
	mutex_unlock(&sn->mutex);
	return err;
}

/* The smallest ruleset: no rule, two empty rows of no words. */
static u32 empty_ruleset(struct sluice_ruleset *rs, u8 default_action)
{
	u32 size = sizeof(*rs) + SLUICE_ROWS_FIXED * sizeof(u32);
	u32 *rows = (u32 *)(rs + 1), i;

	memset(rs, 0, size);
	rs->magic = SLUICE_RULESET_MAGIC;
	rs->size = size;
	rs->nrows = SLUICE_ROWS_FIXED;
	rs->off_rules = rs->off_masks = rs->off_classes = rs->off_ports = sizeof(*rs);
	rs->off_rows = sizeof(*rs);
	rs->default_action = default_action;
	for (i = 0; i < SLUICE_ROWS_FIXED; i++)
		rows[i] = size;
	return size;
}

static int action_of(u32 id)
{
	struct sluice_net *sn = the_net();
	const struct sluice_ruleset *rs;
	struct sluice_match m;
	int action = -1;

	rcu_read_lock();
	rs = sluice_ruleset_find(sn, sluice_revision(sn), id);
	if (rs) {
		sluice_ruleset_classify(rs, 1, sluice_port_key(6, 80), &m, NULL);
		action = m.action;
	}
	rcu_read_unlock();
	return action;
}

static void test_rulesets(struct kunit *test)
{
	struct sluice_ruleset *rs = kunit_kzalloc(test, 256, GFP_KERNEL);
	const char *why;
	u32 size, at;

	KUNIT_ASSERT_NOT_NULL(test, rs);
	size = empty_ruleset(rs, SLUICE_ACTION_DENY);
	KUNIT_ASSERT_NULL(test, sluice_ruleset_validate(rs, size));

	begin(test);
	for (at = 0; at < size; at += 8) /* in pieces of 8 bytes */
		KUNIT_ASSERT_EQ(test, put_piece(1, rs, size, at, 8, &why), 0);
	KUNIT_ASSERT_EQ(test, put_piece(2, rs, size, 0, size, &why), 0);
	KUNIT_EXPECT_EQ(test, action_of(1), -1);
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	KUNIT_EXPECT_EQ(test, action_of(1), SLUICE_ACTION_DENY);
	KUNIT_EXPECT_EQ(test, action_of(2), SLUICE_ACTION_DENY);
	KUNIT_EXPECT_EQ(test, action_of(3), -1);

	/* Replaced in one go. */
	begin(test);
	empty_ruleset(rs, SLUICE_ACTION_ALLOW);
	KUNIT_ASSERT_EQ(test, put_piece(1, rs, size, 0, size, &why), 0);
	KUNIT_EXPECT_EQ(test, action_of(1), SLUICE_ACTION_DENY);
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	KUNIT_EXPECT_EQ(test, action_of(1), SLUICE_ACTION_ALLOW);

	/* A gap, an overlap, another size, more than the whole: refused, with words. */
	begin(test);
	KUNIT_ASSERT_EQ(test, put_piece(3, rs, size, 0, 16, &why), 0);
	KUNIT_EXPECT_EQ(test, put_piece(3, rs, size, 24, 8, &why), -EINVAL);
	KUNIT_EXPECT_NOT_NULL(test, why);
	abort_all();
	begin(test);
	KUNIT_ASSERT_EQ(test, put_piece(3, rs, size, 0, 16, &why), 0);
	KUNIT_EXPECT_EQ(test, put_piece(3, rs, size + 8, 16, 8, &why), -EINVAL);
	abort_all();
	begin(test);
	KUNIT_EXPECT_EQ(test, put_piece(3, rs, size, 0, size + 8, &why), -EINVAL);
	abort_all();

	/* A whole that is not valid. */
	begin(test);
	rs->nrows = SLUICE_ROWS_FIXED - 1;
	KUNIT_EXPECT_EQ(test, put_piece(1, rs, size, 0, size, &why), -EINVAL);
	KUNIT_EXPECT_NOT_NULL(test, why);
	abort_all();
	KUNIT_EXPECT_EQ(test, action_of(1), SLUICE_ACTION_ALLOW);

	/* An upload that does not end holds up the commit, and goes with the abort. */
	begin(test);
	empty_ruleset(rs, SLUICE_ACTION_DENY);
	KUNIT_ASSERT_EQ(test, put_piece(4, rs, size, 0, 16, &why), 0);
	KUNIT_EXPECT_EQ(test, sluice_ruleset_unfinished(the_net()), 4U);
	KUNIT_EXPECT_LT(test, commit(0), 0);
	KUNIT_EXPECT_EQ(test, action_of(4), -1);
	KUNIT_EXPECT_EQ(test, sluice_ruleset_unfinished(the_net()), 0U);
	clean_up(test);
}

/* --- no memory ------------------------------------------------------------------------------- */

/* Each allocation of a transaction fails once; after its abort all is as before. */
static void test_allocation_failures(struct kunit *test)
{
#ifdef CONFIG_FAILSLAB
	static const u32 three[] = { 1, 2, 3 }, other[] = { 4, 5 };
	struct sluice_addr a = pod(1), b = pod(2);
	struct sluice_net *sn = the_net();
	u32 nth, failed = 0, id, gen;

	if (!sluice_test_failslab)
		kunit_skip(test, "needs kunit_failslab=1");
	begin(test);
	KUNIT_ASSERT_EQ(test, set_service(1, three, 3), 0);
	KUNIT_ASSERT_EQ(test, set_peer(4, &a, 32, 5), 0);
	KUNIT_ASSERT_EQ(test, commit(0), 0);
	for (nth = 1; nth < 60; nth++) {
		int err;
		bool reached;

		begin(test);
		current->fail_nth = nth;
		err = set_service(1, other, 2)	       ?:
			      set_service(2, three, 3) ?:
			      set_peer(4, &a, 32, 6)   ?:
							 set_peer(4, &b, 24, 7);
		reached = !current->fail_nth;
		current->fail_nth = 0;
		abort_all();
		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			failed++;
		}
		KUNIT_ASSERT_EQ(test, class_of(4, &a), 5U);
		KUNIT_ASSERT_TRUE(test, find_backend(1, 3, &id, &gen));
		KUNIT_ASSERT_FALSE(test, find_backend(1, 4, &id, &gen));
		KUNIT_ASSERT_FALSE(test, vip_known(2));
		KUNIT_ASSERT_EQ(test, sn->backends.count, 3U);
		KUNIT_ASSERT_EQ(test, sn->peers.hash.count, 1U);
		KUNIT_ASSERT_EQ(test, sn->services.hash.count, 1U);
		if (!reached)
			break;
	}
	clean_up(test);
	kunit_info(test, "%u allocations failed", failed);
	KUNIT_EXPECT_GT(test, failed, 0U);
#else
	kunit_skip(test, "this kernel cannot fail allocations (CONFIG_FAILSLAB)");
#endif
}

static struct kunit_case cases[] = { KUNIT_CASE(test_visibility),
				     KUNIT_CASE(test_one_transaction),
				     KUNIT_CASE(test_failed),
				     KUNIT_CASE_SLOW(test_oracle),
				     KUNIT_CASE(test_prefixes),
				     KUNIT_CASE_SLOW(test_readers),
				     KUNIT_CASE(test_services),
				     KUNIT_CASE(test_quick_transactions),
				     KUNIT_CASE(test_abort_among_the_dead),
				     KUNIT_CASE(test_burial),
				     KUNIT_CASE(test_rulesets),
				     KUNIT_CASE_SLOW(test_allocation_failures),
				     {} };

static struct kunit_suite suite = {
	.name = "sluice_table",
	.test_cases = cases,
};

kunit_test_suite(suite);
