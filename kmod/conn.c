// SPDX-License-Identifier: GPL-2.0-only
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <slab_flags.h>

#include "core/nat.h"
#include "conn.h"
#include "conn_hash.h"
#include "conn_view.h"
#include "device.h"
#include "net.h"
#include "netlink.h"
#include "stats.h"
#include "wheel.h"

static struct kmem_cache *sluice_conn_cache[2];

static inline void fill_key4(struct sluice_key4 *k, const struct sluice_tuple *t, u8 dir)
{
	k->src = t->src.w[0];
	k->dst = t->dst.w[0];
	k->sport = t->sport;
	k->dport = t->dport;
	k->proto = t->proto;
	k->dir = dir;
	k->pad = 0;
}

static inline void fill_key6(struct sluice_key6 *k, const struct sluice_tuple *t, u8 dir)
{
	memcpy(k->src, &t->src, 16);
	memcpy(k->dst, &t->dst, 16);
	k->sport = t->sport;
	k->dport = t->dport;
	k->proto = t->proto;
	k->dir = dir;
	k->pad = 0;
}

void sluice_conn_tuple(const struct sluice_conn *c, u8 dir, struct sluice_tuple *t)
{
	memset(t, 0, sizeof(*t));
	t->family = c->family;
	if (c->family == SLUICE_IPV4) {
		const struct sluice_key4 *k = &c->e4[dir].key;

		t->src.w[0] = k->src;
		t->dst.w[0] = k->dst;
		t->sport = k->sport;
		t->dport = k->dport;
		t->proto = k->proto;
	} else {
		const struct sluice_key6 *k = &c->e6[dir].key;

		memcpy(&t->src, k->src, 16);
		memcpy(&t->dst, k->dst, 16);
		t->sport = k->sport;
		t->dport = k->dport;
		t->proto = k->proto;
	}
}

void sluice_conn_target(const struct sluice_conn *c, u8 dir, struct sluice_tuple *t)
{
	struct sluice_tuple other;

	sluice_conn_tuple(c, !dir, &other);
	sluice_tuple_invert(t, &other);
}

struct sluice_conn *sluice_conn_find(struct sluice_conns *cs, const struct sluice_tuple *t, u8 *dir)
{
	struct sluice_key4 k4;
	struct sluice_key6 k6;

	if (t->family == SLUICE_IPV4) {
		fill_key4(&k4, t, 0);
		return sluice_conn_find4(cs, &k4, dir);
	}
	fill_key6(&k6, t, 0);
	return sluice_conn_find6(cs, &k6, dir);
}

static size_t conn_size(u8 family)
{
	return family == SLUICE_IPV4 ? SLUICE_CONN_SIZE4 : SLUICE_CONN_SIZE6;
}

/* Under RCU. */
static u32 buckets(struct sluice_conns *cs)
{
	return rcu_dereference(cs->ht[0].tbl)->size + rcu_dereference(cs->ht[1].tbl)->size;
}

u32 sluice_conns_buckets(struct sluice_conns *cs)
{
	u32 n;

	rcu_read_lock();
	n = buckets(cs);
	rcu_read_unlock();
	return n;
}

/* Under RCU. */
static u64 used_bytes(struct sluice_conns *cs)
{
	return atomic_long_read(&cs->bytes) + (u64)buckets(cs) * sizeof(void *);
}

u64 sluice_conns_bytes(struct sluice_conns *cs)
{
	u64 bytes;

	rcu_read_lock();
	bytes = used_bytes(cs);
	rcu_read_unlock();
	return bytes;
}

void sluice_side_put(unsigned long side)
{
	switch (side & SLUICE_SIDE_MASK) {
	case SLUICE_SIDE_POD:
		sluice_device_put((void *)(side & ~SLUICE_SIDE_MASK));
		break;
	case SLUICE_SIDE_ROUTE:
		dst_release((void *)(side & ~SLUICE_SIDE_MASK));
		break;
	}
}

static struct sluice_wheel *conn_wheel(struct sluice_conns *cs, const struct sluice_conn *c)
{
	return cs->wheels[c->wheel_cpu];
}

/* The last who may still see these have gone: nobody but us. */
static void free_dead(struct llist_node *list)
{
	struct sluice_conn *c, *next;
	unsigned int n = 0;

	llist_for_each_entry_safe(c, next, list, dead) {
		sluice_side_put(c->side[0]);
		sluice_side_put(c->side[1]);
		kmem_cache_free(sluice_conn_cache[sluice_family_index(c->family)], c);
		if (++n % SLUICE_WHEEL_BATCH == 0)
			cond_resched();
	}
}

/*
 * Frees what is dead, after a grace period for all of it together. An RCU callback each would cost more
 * and come in bursts: with some ten thousand of them RCU lets a CPU do nothing else for 3 ms at a time.
 */
static void free_graves(struct sluice_conns *cs)
{
	bool any = false;
	int cpu;

	for_each_possible_cpu(cpu) {
		struct sluice_grave *g = per_cpu_ptr(cs->graves, cpu);

		g->taken = llist_del_all(&g->dead);
		any |= !!g->taken;
	}
	if (!any)
		return;
	synchronize_rcu();
	for_each_possible_cpu(cpu)
		free_dead(per_cpu_ptr(cs->graves, cpu)->taken);
}

static void free_graves_work(struct work_struct *work)
{
	free_graves(container_of(work, struct sluice_conns, undertaker));
}

/* Nobody can find it any more, but who has found it may still be looking at it. Any context. */
static void conn_inter(struct sluice_conns *cs, struct sluice_conn *c)
{
	llist_add(&c->dead, &raw_cpu_ptr(cs->graves)->dead);
	if (this_cpu_inc_return(cs->graves->count) % SLUICE_GRAVE_FULL == 0)
		queue_work(system_unbound_wq, &cs->undertaker);
}

static void unhash_entry(struct sluice_conns *cs, struct sluice_conn *c, u8 dir)
{
	if (c->family == SLUICE_IPV4)
		rhashtable_remove_fast(&cs->ht[0], &c->e4[dir].node, sluice_params4);
	else
		rhashtable_remove_fast(&cs->ht[1], &c->e6[dir].node, sluice_params6);
}

/* The caller has taken it off its wheel. */
static void conn_bury(struct sluice_conns *cs, struct sluice_conn *c)
{
	unhash_entry(cs, c, SLUICE_DIR_ORIGINAL);
	unhash_entry(cs, c, SLUICE_DIR_REPLY); /* a negative entry has none: -ENOENT */
	atomic_long_sub(conn_size(c->family), &cs->bytes);
	atomic_dec(&cs->count);
	if (sluice_events_wanted(cs->sn) && !test_bit(SLUICE_CONN_BIT_DENIED, &c->bits)) {
		struct sluice_conn_view v;

		sluice_conn_view(c, &v);
		sluice_event_send(cs->sn, SLUICE_EVENT_CLOSED, &v);
	}
	conn_inter(cs, c);
}

void sluice_conn_kill(struct sluice_conns *cs, struct sluice_conn *c)
{
	if (test_and_set_bit(SLUICE_CONN_BIT_DYING, &c->bits))
		return;
	/*
	 * Whoever takes it off its wheel buries it. Not hanging means that the worker or an eviction
	 * was faster, or that its maker has not hung it yet and will see DYING.
	 */
	if (sluice_wheel_del(conn_wheel(cs, c), c))
		conn_bury(cs, c);
}

/* Buries what a wheel let go. */
static void conns_reap(struct sluice_conns *cs, struct hlist_head *dead)
{
	struct sluice_conn *c;
	struct hlist_node *next;

	hlist_for_each_entry_safe(c, next, dead, wheel) {
		hlist_del_init(&c->wheel);
		set_bit(SLUICE_CONN_BIT_DYING, &c->bits);
		conn_bury(cs, c);
		sluice_count(cs->sn, expired);
	}
}

/* Under RCU. */
static bool over_budget(struct sluice_conns *cs, size_t more)
{
	return used_bytes(cs) + more > READ_ONCE(cs->budget);
}

/* Frees one connection's worth of memory, or says that there is nothing cheap left. */
static bool conns_evict(struct sluice_conns *cs)
{
	int cpu, self = raw_smp_processor_id();
	u8 evict;

	for (evict = 0; evict < SLUICE_EVICT_ESTABLISHED; evict++) {
		for (cpu = -1; cpu < (int)nr_cpu_ids; cpu++) {
			struct sluice_wheel *w = cs->wheels[cpu < 0 ? self : cpu];
			struct sluice_conn *c;

			if (!w || cpu == self)
				continue;
			c = sluice_wheel_victim(w, evict);
			if (!c)
				continue;
			set_bit(SLUICE_CONN_BIT_DYING, &c->bits);
			conn_bury(cs, c);
			sluice_count(cs->sn, evicted[evict]);
			return true;
		}
	}
	return false;
}

/*
 * Hashes one entry. 0, -EEXIST (*other: the connection that has this tuple), or -ENOMEM. -EBUSY and
 * -E2BIG of rhashtable mean that a bucket chain is long while the table cannot grow just now.
 */
static __flatten int hash_entry(struct sluice_conns *cs, struct sluice_conn *c, u8 dir,
				struct sluice_conn **other)
{
	if (c->family == SLUICE_IPV4) {
		struct sluice_entry4 *old = rhashtable_lookup_get_insert_key(
			&cs->ht[0], &c->e4[dir].key, &c->e4[dir].node, sluice_params4);

		if (!old)
			return 0;
		if (IS_ERR(old))
			return -ENOMEM;
		*other = sluice_conn_of4(old);
	} else {
		struct sluice_entry6 *old = rhashtable_lookup_get_insert_key(
			&cs->ht[1], &c->e6[dir].key, &c->e6[dir].node, sluice_params6);

		if (!old)
			return 0;
		if (IS_ERR(old))
			return -ENOMEM;
		*other = sluice_conn_of6(old);
	}
	return -EEXIST;
}

static void set_reply_port(struct sluice_conn *c, __be16 port)
{
	/* An echo reply carries the identifier where others have their destination port, too. */
	if (c->family == SLUICE_IPV4)
		c->e4[SLUICE_DIR_REPLY].key.dport = port;
	else
		c->e6[SLUICE_DIR_REPLY].key.dport = port;
}

/*
 * Hashes the reply entry under the first source port that nobody uses towards this backend. A negative entry with its
 * tuple gives way: what it spoke of are answers from now on, which are allowed.
 */
static int hash_reply(struct sluice_conns *cs, struct sluice_conn *c,
		      const struct sluice_conn_init *in)
{
	u16 wanted = ntohs(in->reply.dport);
	struct sluice_conn *other;
	u32 random = 0, i;
	int err;

	for (i = 0; i < SLUICE_PORT_ATTEMPTS; i++) {
		u16 port = sluice_nat_port(wanted, random, i);

		set_reply_port(c, htons(port));
		err = hash_entry(cs, c, SLUICE_DIR_REPLY, &other);
		if (err == -EEXIST && test_bit(SLUICE_CONN_BIT_DENIED, &other->bits)) {
			sluice_conn_kill(cs, other);
			err = hash_entry(cs, c, SLUICE_DIR_REPLY, &other);
		}
		if (err != -EEXIST) {
			if (!err && port != wanted) {
				__set_bit(SLUICE_CONN_BIT_REMAPPED, &c->bits);
				__set_bit(SLUICE_CONN_BIT_NAT, &c->bits);
				sluice_count(cs->sn, remapped);
			}
			return err;
		}
		if (!in->remap)
			break;
		if (!i)
			random = get_random_u32();
	}
	return -EADDRINUSE;
}

static struct sluice_conn *conn_alloc(struct sluice_conns *cs, u8 family)
{
	size_t size = conn_size(family);
	struct sluice_conn *c;

	/*
	 * One goes for one that comes; what is evicted is freed after a grace period, but counts no
	 * longer. A table that has grown, or a budget that was lowered, is the worker's to make up for.
	 */
	if (over_budget(cs, size) && !conns_evict(cs))
		return ERR_PTR(-ENOSPC);
	c = kmem_cache_zalloc(sluice_conn_cache[sluice_family_index(family)],
			      GFP_ATOMIC | __GFP_NOWARN);
	if (!c) {
		queue_work(system_unbound_wq, &cs->undertaker);
		return ERR_PTR(-ENOMEM);
	}
	c->family = family;
	return c;
}

static void record_judgement(struct sluice_conn *c, const struct sluice_judgement *j)
{
	WRITE_ONCE(c->verdict, j->verdict);
	WRITE_ONCE(c->reason, j->reason);
	WRITE_ONCE(c->staged_verdict, j->staged_verdict);
	WRITE_ONCE(c->rule[0], j->egress.rule);
	WRITE_ONCE(c->rule[1], j->ingress.rule);
	WRITE_ONCE(c->staged_rule[0], j->egress.staged_rule);
	WRITE_ONCE(c->staged_rule[1], j->ingress.staged_rule);
}

void sluice_conn_rejudged(struct sluice_conn *c, const struct sluice_judgement *j, u32 policy_gen)
{
	record_judgement(c, j);
	WRITE_ONCE(c->policy_gen, policy_gen);
}

struct sluice_conn *sluice_conn_create(struct sluice_conns *cs, const struct sluice_conn_init *in,
				       bool *raced)
{
	struct sluice_conn *c, *other = NULL;
	int err;

	*raced = false;
	c = conn_alloc(cs, in->original.family);
	if (IS_ERR(c)) {
		err = PTR_ERR(c);
		goto put_sides;
	}
	if (c->family == SLUICE_IPV4) {
		fill_key4(&c->e4[0].key, &in->original, SLUICE_DIR_ORIGINAL);
		fill_key4(&c->e4[1].key, &in->reply, SLUICE_DIR_REPLY);
	} else {
		fill_key6(&c->e6[0].key, &in->original, SLUICE_DIR_ORIGINAL);
		fill_key6(&c->e6[1].key, &in->reply, SLUICE_DIR_REPLY);
	}
	c->bits = in->bits;
	c->state = in->state;
	c->policy_gen = in->policy_gen;
	c->backend = in->backend;
	c->backend_gen = in->backend_gen;
	c->last_seen = (u32)jiffies;
	c->created = c->last_seen;
	c->wheel_cpu = raw_smp_processor_id();
	c->wheel_slot = SLUICE_WHEEL_NOWHERE;
	INIT_HLIST_NODE(&c->wheel);
	if (in->original.proto == SLUICE_PROTO_TCP && in->l4) {
		sluice_state_first(SLUICE_PROTO_TCP, in->l4, c->tcp);
		if (in->dir)
			swap(c->tcp[0], c->tcp[1]);
	}
	record_judgement(c, in->judgement);

	c->side[0] = in->side[0];
	c->side[1] = in->side[1];

	/*
	 * The reply entry goes in first: while the original one is not there, no packet of the
	 * flow's own can have found the connection. It hangs on its wheel last: from then on it can be
	 * taken down, and everything that taking down undoes is in place.
	 */
	if (!(in->bits & BIT(SLUICE_CONN_BIT_DENIED))) {
		err = hash_reply(cs, c, in);
		if (err)
			goto free;
	}
	err = hash_entry(cs, c, SLUICE_DIR_ORIGINAL, &other);
	if (err) {
		if (!(in->bits & BIT(SLUICE_CONN_BIT_DENIED)))
			unhash_entry(cs, c, SLUICE_DIR_REPLY);
		conn_inter(cs, c);
		if (err == -EEXIST && other != c) {
			*raced = true;
			return other;
		}
		/* A packet to itself, from the port it goes to: both entries are one. */
		return ERR_PTR(err == -EEXIST ? -EADDRINUSE : err);
	}
	atomic_long_add(conn_size(c->family), &cs->bytes);
	atomic_inc(&cs->count);
	sluice_wheel_add(conn_wheel(cs, c), c, sluice_state_timeout(c->state));
	sluice_count(cs->sn, created);
	/* Killed between hashing and hanging: its killer could not take it off the wheel. */
	if (unlikely(test_bit(SLUICE_CONN_BIT_DYING, &c->bits)) &&
	    sluice_wheel_del(conn_wheel(cs, c), c))
		conn_bury(cs, c);
	return c;

free:
	kmem_cache_free(sluice_conn_cache[sluice_family_index(c->family)], c);
put_sides:
	sluice_side_put(in->side[0]);
	sluice_side_put(in->side[1]);
	return ERR_PTR(err);
}

/*
 * Serialises what is not one store: FIN and ACK flags of both sides together with the state. The
 * common packet of an established connection needs none of it.
 */
static spinlock_t *state_lock(struct sluice_conns *cs, const struct sluice_conn *c)
{
	return &cs->state_lock[((unsigned long)c >> 6) % SLUICE_STATE_LOCKS];
}

static void set_state(struct sluice_conns *cs, struct sluice_conn *c, u8 state)
{
	u8 old = c->state;

	if (state == old)
		return;
	WRITE_ONCE(c->state, state);
	/* A longer or a safer life can wait for the worker's next look; a shorter one cannot. */
	if (sluice_state_class(state) < sluice_state_class(old) ||
	    sluice_state_timeout(state) < sluice_state_timeout(old))
		sluice_wheel_shorten(conn_wheel(cs, c), c, sluice_state_class(state),
				     sluice_state_timeout(state));
}

void sluice_conn_advance(struct sluice_conns *cs, struct sluice_conn *c, u8 dir,
			 const struct sluice_l4 *l4)
{
	u8 proto = sluice_conn_proto(c), state = READ_ONCE(c->state);
	u32 now = (u32)jiffies;

	if (c->last_seen != now)
		WRITE_ONCE(c->last_seen, now);

	if (proto == SLUICE_PROTO_TCP) {
		if (likely(sluice_conn_only_records(c, state, dir, l4->flags))) {
			sluice_tcp_record(&c->tcp[dir], l4);
			return;
		}
	} else if (proto == SLUICE_PROTO_SCTP) {
		if (l4->flags == 0) /* DATA */
			return;
	} else if (dir == SLUICE_DIR_ORIGINAL || state != SLUICE_STATE_UNREPLIED) {
		return;
	}
	spin_lock_bh(state_lock(cs, c));
	set_state(cs, c, sluice_state_next(proto, c->state, dir, c->tcp, l4));
	spin_unlock_bh(state_lock(cs, c));
}

void sluice_conn_deny(struct sluice_conns *cs, struct sluice_conn *c)
{
	WRITE_ONCE(c->last_seen, (u32)jiffies);
	set_bit(SLUICE_CONN_BIT_DENIED, &c->bits);
	spin_lock_bh(state_lock(cs, c));
	set_state(cs, c, SLUICE_STATE_DENIED);
	spin_unlock_bh(state_lock(cs, c));
}

static void expire(struct sluice_conns *cs)
{
	unsigned int cpu;

	for (cpu = 0; cpu < nr_cpu_ids; cpu++) {
		unsigned int looked;

		if (!cs->wheels[cpu])
			continue;
		do {
			HLIST_HEAD(dead);

			rcu_read_lock();
			looked = sluice_wheel_turn(cs->wheels[cpu], SLUICE_WHEEL_BATCH, &dead);
			local_bh_disable();
			conns_reap(cs, &dead);
			local_bh_enable();
			rcu_read_unlock();
			cond_resched();
		} while (looked == SLUICE_WHEEL_BATCH);
	}
}

/*
 * Evicts until the budget holds. Creations never add to what is over it, but growth of the hash table
 * does, by a tenth (8 bytes a bucket, at 75 % load, beside 192 for two entries), and so does a lower budget.
 */
static void trim(struct sluice_conns *cs)
{
	bool more = true;

	while (more && sluice_conns_bytes(cs) > READ_ONCE(cs->budget)) {
		unsigned int n;

		rcu_read_lock();
		local_bh_disable();
		for (n = 0; more && n < SLUICE_WHEEL_BATCH && over_budget(cs, 0); n++)
			more = conns_evict(cs);
		local_bh_enable();
		rcu_read_unlock();
		cond_resched();
	}
}

static void maintain(struct work_struct *work)
{
	struct sluice_conns *cs = container_of(to_delayed_work(work), struct sluice_conns, worker);

	expire(cs);
	trim(cs);
	queue_work(system_unbound_wq, &cs->undertaker);
	queue_delayed_work(system_unbound_wq, &cs->worker, HZ);
}

struct walk {
	bool (*pick)(const struct sluice_conn *c, const void *arg);
	const void *arg;
	u32 killed;
};

/*
 * Lets others run, at the first entry of a chain. The walk remembers its place there as a number of
 * entries, which is wrong as soon as one of them is taken out, and would pass over what is left: it
 * begins the chain anew.
 */
static void walk_give_way(struct rhashtable_iter *iter)
{
	rhashtable_walk_stop(iter);
	cond_resched();
	iter->p = NULL;
	iter->skip = 0;
	rhashtable_walk_start(iter);
}

/* Kills every connection that pick() wants. Process context. A resize may show one twice. */
static void kill_matching(struct sluice_conns *cs, struct walk *walk)
{
	int i;

	for (i = 0; i < 2; i++) {
		struct rhashtable_iter iter;
		unsigned int chain = 0;
		void *e;

		rhashtable_walk_enter(&cs->ht[i], &iter);
		rhashtable_walk_start(&iter);
		while ((e = rhashtable_walk_next(&iter))) {
			struct sluice_conn *c;
			u8 dir;

			if (IS_ERR(e))
				continue; /* -EAGAIN: the table was resized, it goes on */
			if (iter.slot != chain) {
				chain = iter.slot;
				if (need_resched()) {
					walk_give_way(&iter);
					continue;
				}
			}
			if (i == 0) {
				dir = ((struct sluice_entry4 *)e)->key.dir;
				c = sluice_conn_of4(e);
			} else {
				dir = ((struct sluice_entry6 *)e)->key.dir;
				c = sluice_conn_of6(e);
			}
			if (dir != SLUICE_DIR_ORIGINAL || !walk->pick(c, walk->arg))
				continue;
			if (!test_bit(SLUICE_CONN_BIT_DYING, &c->bits))
				walk->killed++;
			local_bh_disable();
			sluice_conn_kill(cs, c);
			local_bh_enable();
		}
		rhashtable_walk_stop(&iter);
		rhashtable_walk_exit(&iter);
	}
}

/* Is one of its sides a pod whose interface is gone, or a route by a device that is no uplink (now)? */
static bool pick_stranded(const struct sluice_conn *c, const void *arg)
{
	int i;

	for (i = 0; i < 2; i++) {
		unsigned long side = READ_ONCE(c->side[i]);
		const void *p = (void *)(side & ~SLUICE_SIDE_MASK);

		if (sluice_side_gone(side))
			return true;
		if ((side & SLUICE_SIDE_MASK) == SLUICE_SIDE_ROUTE &&
		    !sluice_dev_is_uplink((struct sluice_net *)arg,
					  READ_ONCE(((const struct dst_entry *)p)->dev)))
			return true;
	}
	return false;
}

static void reap_stranded(struct work_struct *work)
{
	struct sluice_conns *cs = container_of(to_delayed_work(work), struct sluice_conns, reaper);
	struct walk walk = { .pick = pick_stranded, .arg = cs->sn };

	kill_matching(cs, &walk);
}

void sluice_conns_device_gone(struct sluice_net *sn)
{
	/* One walk for all that go together. */
	if (sn->conns)
		queue_delayed_work(system_unbound_wq, &sn->conns->reaper, HZ / 10);
}

static bool pick_filter(const struct sluice_conn *c, const void *arg)
{
	const struct sluice_conn_filter *f = arg;
	struct sluice_tuple t;

	sluice_conn_tuple(c, SLUICE_DIR_ORIGINAL, &t);
	return (!f->has_src ||
		(sluice_addr_equal(&t.src, &f->tuple.src) && t.family == f->tuple.family)) &&
	       (!f->has_dst ||
		(sluice_addr_equal(&t.dst, &f->tuple.dst) && t.family == f->tuple.family)) &&
	       (!f->has_sport || t.sport == f->tuple.sport) &&
	       (!f->has_dport || t.dport == f->tuple.dport) &&
	       (!f->has_proto || t.proto == f->tuple.proto) &&
	       (!f->has_state || READ_ONCE(c->state) == f->state);
}

u32 sluice_conns_flush(struct sluice_net *sn, const struct sluice_conn_filter *f)
{
	struct walk walk = { .pick = pick_filter, .arg = f };

	kill_matching(sn->conns, &walk);
	return walk.killed;
}

void sluice_conn_view(const struct sluice_conn *c, struct sluice_conn_view *v)
{
	unsigned long bits = READ_ONCE(c->bits);
	u32 now = (u32)jiffies, timeout, silent;

	memset(v, 0, sizeof(*v));
	sluice_conn_tuple(c, SLUICE_DIR_ORIGINAL, &v->original);
	sluice_conn_tuple(c, SLUICE_DIR_REPLY, &v->reply);
	v->state = READ_ONCE(c->state);
	if (bits & BIT(SLUICE_CONN_BIT_SERVICE))
		v->flags |= SLUICE_CONN_SERVICE;
	if (bits & BIT(SLUICE_CONN_BIT_DENIED))
		v->flags |= SLUICE_CONN_DENIED;
	if (bits & BIT(SLUICE_CONN_BIT_NODE))
		v->flags |= SLUICE_CONN_NODE;
	if (bits & BIT(SLUICE_CONN_BIT_REMAPPED))
		v->flags |= SLUICE_CONN_PORT_REMAPPED;
	if (bits & BIT(SLUICE_CONN_BIT_VIA_STACK))
		v->flags |= SLUICE_CONN_VIA_STACK;
	timeout = sluice_state_timeout(v->state);
	silent = (now - READ_ONCE(c->last_seen)) / HZ;
	v->timeout = silent < timeout ? timeout - silent : 0;
	v->age = (now - c->created) / HZ;
	v->verdict = READ_ONCE(c->verdict);
	v->reason = READ_ONCE(c->reason);
	v->staged_verdict = READ_ONCE(c->staged_verdict);
	v->egress_rule = READ_ONCE(c->rule[0]);
	v->ingress_rule = READ_ONCE(c->rule[1]);
	v->staged_egress_rule = READ_ONCE(c->staged_rule[0]);
	v->staged_ingress_rule = READ_ONCE(c->staged_rule[1]);
	memcpy(v->packets, c->packets, sizeof(v->packets));
	memcpy(v->bytes, c->bytes, sizeof(v->bytes));
	memcpy(v->tcp, c->tcp, sizeof(v->tcp));
}

void sluice_conns_walk_start(struct sluice_net *sn, struct sluice_conns_walk *w)
{
	w->table = 0;
	w->entered = false;
}

void sluice_conns_walk_stop(struct sluice_conns_walk *w)
{
	if (w->entered)
		rhashtable_walk_exit(&w->iter);
	w->entered = false;
}

int sluice_conns_walk(struct sluice_net *sn, struct sluice_conns_walk *w,
		      const struct sluice_conn_filter *f,
		      int (*show)(const struct sluice_conn_view *v, void *arg), void *arg)
{
	struct sluice_conn_view v;
	int ret = 0;

	for (; w->table < 2; w->table++) {
		void *e;

		if (!w->entered)
			rhashtable_walk_enter(&sn->conns->ht[w->table], &w->iter);
		rhashtable_walk_start(&w->iter);
		/* What was peeked at last time but not taken comes first. */
		e = w->entered ? rhashtable_walk_peek(&w->iter) : rhashtable_walk_next(&w->iter);
		w->entered = true;
		for (; e; e = rhashtable_walk_next(&w->iter)) {
			struct sluice_conn *c;
			u8 dir;

			if (IS_ERR(e))
				continue;
			if (w->table == 0) {
				dir = ((struct sluice_entry4 *)e)->key.dir;
				c = sluice_conn_of4(e);
			} else {
				dir = ((struct sluice_entry6 *)e)->key.dir;
				c = sluice_conn_of6(e);
			}
			if (dir != SLUICE_DIR_ORIGINAL || !pick_filter(c, f))
				continue;
			sluice_conn_view(c, &v);
			ret = show(&v, arg);
			if (ret)
				break;
		}
		rhashtable_walk_stop(&w->iter);
		if (ret)
			return ret;
		sluice_conns_walk_stop(w);
	}
	return 0;
}

int sluice_conns_restore(struct sluice_net *sn, const struct sluice_conn_view *v)
{
	struct sluice_judgement j = {
		.verdict = v->verdict,
		.reason = v->reason,
		.staged_verdict = v->staged_verdict,
	};
	struct sluice_conn_init in = {
		.original = v->original,
		.reply = v->reply,
		.judgement = &j,
		.state = v->state,
		/* Judged at its next packet: the policy of now counts, not that of then. */
		.policy_gen = sluice_policy_generation(sn) - 1,
	};
	struct sluice_conn *c;
	struct sluice_tuple inverse;
	bool raced;
	int err = 0;

	if (v->state == SLUICE_STATE_NONE || v->state >= SLUICE_STATE_COUNT ||
	    v->original.family != v->reply.family || v->original.proto != v->reply.proto ||
	    (v->flags & SLUICE_CONN_DENIED) || v->state == SLUICE_STATE_DENIED)
		return -EINVAL;
	sluice_tuple_invert(&inverse, &v->original);
	if (!sluice_tuple_equal(&inverse, &v->reply))
		in.bits |= BIT(SLUICE_CONN_BIT_NAT);
	if (v->flags & SLUICE_CONN_NODE)
		in.bits |= BIT(SLUICE_CONN_BIT_NODE);
	if (v->flags & SLUICE_CONN_PORT_REMAPPED)
		in.bits |= BIT(SLUICE_CONN_BIT_REMAPPED);
	if (v->flags & SLUICE_CONN_VIA_STACK)
		in.bits |= BIT(SLUICE_CONN_BIT_VIA_STACK);

	local_bh_disable();
	rcu_read_lock();
	sluice_restore_sides(sn, v, &in);
	c = sluice_conn_create(sn->conns, &in, &raced);
	if (IS_ERR(c)) {
		err = PTR_ERR(c) == -EADDRINUSE ? -EEXIST : PTR_ERR(c);
	} else if (raced) {
		err = -EEXIST;
	} else {
		memcpy(c->tcp, v->tcp, sizeof(c->tcp));
		memcpy(c->packets, v->packets, sizeof(c->packets));
		memcpy(c->bytes, v->bytes, sizeof(c->bytes));
		c->created = (u32)jiffies - v->age * HZ;
	}
	rcu_read_unlock();
	local_bh_enable();
	return err;
}

int sluice_conns_init(struct sluice_net *sn)
{
	struct sluice_conns *cs;
	unsigned int cpu;
	int err, i;

	cs = kvzalloc(sizeof(*cs), GFP_KERNEL);
	if (!cs)
		return -ENOMEM;
	cs->sn = sn;
	/* An eighth of memory, as a start; sluiced may set another. */
	cs->budget = (u64)totalram_pages() * PAGE_SIZE / 8;
	for (i = 0; i < SLUICE_STATE_LOCKS; i++)
		spin_lock_init(&cs->state_lock[i]);
	cs->graves = alloc_percpu(struct sluice_grave);
	if (!cs->graves) {
		err = -ENOMEM;
		goto free;
	}
	INIT_WORK(&cs->undertaker, free_graves_work);
	cs->wheels = kvcalloc(nr_cpu_ids, sizeof(*cs->wheels), GFP_KERNEL);
	if (!cs->wheels) {
		err = -ENOMEM;
		goto free_grave_heads;
	}
	for_each_possible_cpu(cpu) {
		cs->wheels[cpu] = sluice_wheel_alloc(cpu);
		if (!cs->wheels[cpu]) {
			err = -ENOMEM;
			goto free_wheels;
		}
	}
	err = rhashtable_init(&cs->ht[0], &sluice_params4);
	if (err)
		goto free_wheels;
	err = rhashtable_init(&cs->ht[1], &sluice_params6);
	if (err)
		goto destroy4;
	/* Unbound: it may have much to do, and no CPU's other work shall wait for it. */
	INIT_DELAYED_WORK(&cs->worker, maintain);
	INIT_DELAYED_WORK(&cs->reaper, reap_stranded);
	queue_delayed_work(system_unbound_wq, &cs->worker, HZ);
	sn->conns = cs;
	return 0;

destroy4:
	rhashtable_destroy(&cs->ht[0]);
free_wheels:
	for_each_possible_cpu(cpu)
		kfree(cs->wheels[cpu]);
	kvfree(cs->wheels);
free_grave_heads:
	free_percpu(cs->graves);
free:
	kvfree(cs);
	return err;
}

/* No hook runs any more. */
void sluice_conns_exit(struct sluice_net *sn)
{
	struct sluice_conn_filter all = {};
	struct sluice_conns *cs = sn->conns;
	unsigned int cpu;

	if (!cs)
		return;
	cancel_delayed_work_sync(&cs->worker);
	cancel_delayed_work_sync(&cs->reaper);
	sluice_conns_flush(sn, &all);
	WARN_ON(atomic_read(&cs->count));
	sn->conns = NULL;
	cancel_work_sync(&cs->undertaker);
	free_graves(cs);
	rhashtable_destroy(&cs->ht[1]);
	rhashtable_destroy(&cs->ht[0]);
	for_each_possible_cpu(cpu)
		kfree(cs->wheels[cpu]);
	kvfree(cs->wheels);
	free_percpu(cs->graves);
	kvfree(cs);
}

int sluice_conns_module_init(void)
{
	/* By themselves, so that /proc/slabinfo says what connections take. */
	sluice_conn_cache[0] =
		kmem_cache_create("sluice_conn4", SLUICE_CONN_SIZE4, 0, SLAB_NO_MERGE, NULL);
	if (!sluice_conn_cache[0])
		return -ENOMEM;
	sluice_conn_cache[1] =
		kmem_cache_create("sluice_conn6", SLUICE_CONN_SIZE6, 0, SLAB_NO_MERGE, NULL);
	if (!sluice_conn_cache[1]) {
		kmem_cache_destroy(sluice_conn_cache[0]);
		return -ENOMEM;
	}
	return 0;
}

/* Every namespace's connections have been freed by sluice_conns_exit(). */
void sluice_conns_module_exit(void)
{
	kmem_cache_destroy(sluice_conn_cache[1]);
	kmem_cache_destroy(sluice_conn_cache[0]);
}
