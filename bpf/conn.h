/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The connection table, as packets use it; layout.h says how it is made and why nobody needs a lock.
 *
 * What a packet does to it: find (a chain of at most SLUICE_CHAIN entries), create (an object from the free list,
 * its reply entry, then its original entry), kill (a bit; the sweeper does the rest), take in a packet.
 *
 * Whoever finds a connection looks at its clock, too: the sweeper comes round every few seconds only, and what
 * was silent for longer than its state allows is gone at once.
 */
#ifndef SLUICE_BPF_CONN_H
#define SLUICE_BPF_CONN_H

#include "bpf/context.h"
#include "core/nat.h"

/* Entries of a chain that are looked at. With a load of two entries a bucket, 32 or more are one chain in 10^26. */
#define SLUICE_CHAIN 32

/* Swaps that are tried again when another CPU was faster. */
#define SLUICE_SWAPS 8

/* What inserting an entry says. */
#define SLUICE_INSERT_OK 0
#define SLUICE_INSERT_EXISTS 1
#define SLUICE_INSERT_CHAIN 2 /* too long, or swapped by others again and again */

static __always_inline struct sluice_bpf_conn4 *sluice_conn4(__u32 index)
{
	__u32 segment = index >> SLUICE_BPF_SEGMENT_BITS, i = index & (SLUICE_BPF_SEGMENT - 1);
	void *inner = bpf_map_lookup_elem(&conns4, &segment);

	return inner ? bpf_map_lookup_elem(inner, &i) : NULL;
}

static __always_inline struct sluice_bpf_conn6 *sluice_conn6(__u32 index)
{
	__u32 segment = index >> SLUICE_BPF_SEGMENT_BITS, i = index & (SLUICE_BPF_SEGMENT - 1);
	void *inner = bpf_map_lookup_elem(&conns6, &segment);

	return inner ? bpf_map_lookup_elem(inner, &i) : NULL;
}

/* The connection of a reference; NULL without one. */
static __always_inline struct sluice_bpf_conn *sluice_conn_of(__u8 family, __u32 ref)
{
	if (!ref)
		return NULL;
	if (family == SLUICE_IPV4)
		return (struct sluice_bpf_conn *)sluice_conn4(sluice_bpf_ref_index(ref));
	return (struct sluice_bpf_conn *)sluice_conn6(sluice_bpf_ref_index(ref));
}

static __always_inline __u32 *sluice_head4(__u32 hash)
{
	__u32 i = hash / SLUICE_BPF_HEADS;
	struct sluice_bpf_buckets *b = bpf_map_lookup_elem(&buckets4, &i);

	if (!b)
		return NULL;
	i = hash % SLUICE_BPF_HEADS;
	sluice_settle(i);
	return &b->head[i];
}

static __always_inline __u32 *sluice_head6(__u32 hash)
{
	__u32 i = hash / SLUICE_BPF_HEADS;
	struct sluice_bpf_buckets *b = bpf_map_lookup_elem(&buckets6, &i);

	if (!b)
		return NULL;
	i = hash % SLUICE_BPF_HEADS;
	sluice_settle(i);
	return &b->head[i];
}

static __always_inline bool sluice_key4_equal(const struct sluice_bpf_key4 *a,
					      const struct sluice_bpf_key4 *b)
{
	const __u64 *x = (const void *)a, *y = (const void *)b;

	return x[0] == y[0] && x[1] == y[1];
}

static __always_inline bool sluice_key6_equal(const struct sluice_bpf_key6 *a,
					      const struct sluice_bpf_key6 *b)
{
	const __u64 *x = (const void *)a, *y = (const void *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
}

static __always_inline void sluice_key4_of(struct sluice_bpf_key4 *k, const struct sluice_tuple *t)
{
	k->src = t->src.w[0];
	k->dst = t->dst.w[0];
	k->sport = t->sport;
	k->dport = t->dport;
	k->proto = t->proto;
	k->pad[0] = 0;
	k->pad[1] = 0;
	k->pad[2] = 0;
}

static __always_inline void sluice_key6_of(struct sluice_bpf_key6 *k, const struct sluice_tuple *t)
{
	sluice_copy(k->src, &t->src, 16);
	sluice_copy(k->dst, &t->dst, 16);
	k->sport = t->sport;
	k->dport = t->dport;
	k->proto = t->proto;
	k->pad[0] = 0;
	k->pad[1] = 0;
	k->pad[2] = 0;
}

static __always_inline void sluice_tuple_of4(struct sluice_tuple *t,
					     const struct sluice_bpf_key4 *k)
{
	memset(t, 0, sizeof(*t));
	t->src.w[0] = k->src;
	t->dst.w[0] = k->dst;
	t->sport = k->sport;
	t->dport = k->dport;
	t->proto = k->proto;
	t->family = SLUICE_IPV4;
}

static __always_inline void sluice_tuple_of6(struct sluice_tuple *t,
					     const struct sluice_bpf_key6 *k)
{
	sluice_copy(&t->src, k->src, 16);
	sluice_copy(&t->dst, k->dst, 16);
	t->sport = k->sport;
	t->dport = k->dport;
	t->proto = k->proto;
	t->family = SLUICE_IPV6;
	t->pad = 0;
}

/* What a search found: the reference of the entry, 0 without one, and how many others were looked at. */
struct sluice_search {
	__u32 ref;
	__u32 passed;
};

/*
 * Looks for the entry with this key (struct sluice_bpf_key4 or ..6) in the chain that begins at ref. One that is dying is
 * not there. *c: its connection. The family is a constant: only so does the verifier know which objects the chain has.
 */
static __always_inline struct sluice_search sluice_chain(__u8 family, const void *key, __u32 ref,
							 struct sluice_bpf_conn **c)
{
	struct sluice_search s = {};

#pragma clang loop unroll(disable)
	for (; s.passed < SLUICE_CHAIN && ref; s.passed++) {
		struct sluice_bpf_conn *o = sluice_conn_of(family, ref);
		__u32 dir = sluice_bpf_ref_dir(ref);
		bool same;

		if (!o)
			break;
		sluice_settle(dir);
		if (family == SLUICE_IPV4)
			same = sluice_key4_equal(&((struct sluice_bpf_conn4 *)o)->key[dir], key);
		else
			same = sluice_key6_equal(&((struct sluice_bpf_conn6 *)o)->key[dir], key);
		if (same && !(SLUICE_ONCE(o->bits) & SLUICE_BPF_DYING)) {
			*c = o;
			s.ref = ref;
			break;
		}
		ref = SLUICE_ONCE(o->next[dir]);
	}
	return s;
}

/*
 * The same, verified once for all that call it: the reference in the low half, entries passed in the high one.
 */
SLUICE_GLOBAL __u64 sluice_search4(const struct sluice_bpf_key4 *k, __u32 ref)
{
	struct sluice_bpf_conn *c;
	struct sluice_search s;

	if (!k)
		return 0;
	s = sluice_chain(SLUICE_IPV4, k, ref, &c);
	return (__u64)s.passed << 32 | s.ref;
}

SLUICE_GLOBAL __u64 sluice_search6(const struct sluice_bpf_key6 *k, __u32 ref)
{
	struct sluice_bpf_conn *c;
	struct sluice_search s;

	if (!k)
		return 0;
	s = sluice_chain(SLUICE_IPV6, k, ref, &c);
	return (__u64)s.passed << 32 | s.ref;
}

static __always_inline __u32 *sluice_head_of4(const struct sluice_bpf_control *ctl,
					      const struct sluice_bpf_key4 *k)
{
	return sluice_head4(sluice_bpf_hash4(k, ctl->secret) & ctl->table[0].bucket_mask);
}

static __always_inline __u32 *sluice_head_of6(const struct sluice_bpf_control *ctl,
					      const struct sluice_bpf_key6 *k)
{
	return sluice_head6(sluice_bpf_hash6(k, ctl->secret) & ctl->table[1].bucket_mask);
}

/* Was it silent for longer than its state allows? Another CPU may have seen it later than "now". */
static __always_inline bool sluice_conn_over(const struct sluice_bpf_control *ctl,
					     const struct sluice_bpf_conn *c, __u32 now)
{
	return (__s32)(now - SLUICE_ONCE(c->last_seen)) >
	       (__s32)ctl->timeouts[SLUICE_ONCE(c->state) & 31];
}

/* Nobody counts on it any more; the sweeper unlinks it. */
static __always_inline void sluice_conn_kill(struct sluice_bpf_table *t, struct sluice_bpf_conn *c)
{
	if (!(__sync_fetch_and_or(&c->bits, SLUICE_BPF_DYING) & SLUICE_BPF_DYING))
		__sync_fetch_and_sub(&t->alive, 1);
}

/* Looks for the connection with this tuple: x->ref, dir and key, or x->ref 0. Returns x->ref. */
SLUICE_GLOBAL __u32 sluice_find(struct sluice_ctx *x, const struct sluice_tuple *t)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_bpf_conn *c;
	__u32 ref = 0, *head;

	if (!x || !t || !ctl)
		return 0;
	x->ref = 0;
	x->dir = 0;
	if (t->family == SLUICE_IPV4) {
		struct sluice_bpf_conn4 *c4;
		struct sluice_bpf_key4 k SLUICE_ALIGNED;

		sluice_key4_of(&k, t);
		head = sluice_head_of4(ctl, &k);
		if (head)
			ref = (__u32)sluice_search4(&k, SLUICE_ONCE(*head));
		c4 = ref ? sluice_conn4(sluice_bpf_ref_index(ref)) : NULL;
		if (!c4)
			return 0;
		sluice_tuple_of4(&x->key[0], &c4->key[0]);
		sluice_tuple_of4(&x->key[1], &c4->key[1]);
		c = &c4->c;
	} else {
		struct sluice_bpf_conn6 *c6;
		struct sluice_bpf_key6 k SLUICE_ALIGNED;

		sluice_key6_of(&k, t);
		head = sluice_head_of6(ctl, &k);
		if (head)
			ref = (__u32)sluice_search6(&k, SLUICE_ONCE(*head));
		c6 = ref ? sluice_conn6(sluice_bpf_ref_index(ref)) : NULL;
		if (!c6)
			return 0;
		sluice_tuple_of6(&x->key[0], &c6->key[0]);
		sluice_tuple_of6(&x->key[1], &c6->key[1]);
		c = &c6->c;
	}
	if (sluice_conn_over(ctl, c, x->now)) {
		sluice_conn_kill(sluice_table_of(ctl, t->family), c);
		SLUICE_COUNT(expired);
		return 0;
	}
	x->ref = ref;
	x->dir = sluice_bpf_ref_dir(ref);
	return ref;
}

/*
 * Puts entry "ref" of a connection into the table. SLUICE_INSERT_*; with EXISTS *other is the reference of the entry
 * that has its tuple already.
 */
SLUICE_GLOBAL int sluice_insert(__u32 family, __u32 ref, __u32 *other)
{
	struct sluice_bpf_control *ctl = sluice_control();
	__u32 dir = sluice_bpf_ref_dir(ref), *head, *next, i;
	struct sluice_bpf_key6 k6 SLUICE_ALIGNED;
	struct sluice_bpf_key4 k4 SLUICE_ALIGNED;

	if (!ctl || !ref || !other)
		return SLUICE_INSERT_CHAIN;
	if (family == SLUICE_IPV4) {
		struct sluice_bpf_conn4 *c = sluice_conn4(sluice_bpf_ref_index(ref));

		if (!c)
			return SLUICE_INSERT_CHAIN;
		k4 = c->key[dir];
		next = &c->c.next[dir];
		head = sluice_head_of4(ctl, &k4);
	} else {
		struct sluice_bpf_conn6 *c = sluice_conn6(sluice_bpf_ref_index(ref));

		if (!c)
			return SLUICE_INSERT_CHAIN;
		k6 = c->key[dir];
		next = &c->c.next[dir];
		head = sluice_head_of6(ctl, &k6);
	}
	if (!head)
		return SLUICE_INSERT_CHAIN;
#pragma clang loop unroll(disable)
	for (i = 0; i < SLUICE_SWAPS; i++) {
		__u32 first = SLUICE_ONCE(*head);
		__u64 found = family == SLUICE_IPV4 ? sluice_search4(&k4, first) :
						      sluice_search6(&k6, first);

		*other = (__u32)found;
		if (*other)
			return SLUICE_INSERT_EXISTS;
		if (found >> 32 == SLUICE_CHAIN)
			break;
		*next = first;
		if (__sync_val_compare_and_swap(head, first, ref) == first)
			return SLUICE_INSERT_OK;
	}
	return SLUICE_INSERT_CHAIN;
}

/* An object from the free list: the reference of its original entry; 0: there is none. */
static __always_inline __u32 sluice_conn_pop(struct sluice_bpf_table *t, __u8 family)
{
	__u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < SLUICE_SWAPS; i++) {
		__u64 old = SLUICE_ONCE(t->free), new;
		__u32 ref = (__u32)old;
		struct sluice_bpf_conn *c = sluice_conn_of(family, ref);

		if (!c)
			return 0;
		new = ((old >> 32) + 1) << 32 | SLUICE_ONCE(c->next[0]);
		if (__sync_val_compare_and_swap(&t->free, old, new) == old) {
			__sync_fetch_and_add(&t->used, 1);
			return ref;
		}
	}
	return 0;
}

/* Back, of an object that nobody can have found. When others are always faster, the sweeper does it. */
static __always_inline void sluice_conn_push(struct sluice_bpf_table *t, struct sluice_bpf_conn *c,
					     __u32 ref)
{
	__u32 i;

	c->bits = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < SLUICE_SWAPS; i++) {
		__u64 old = SLUICE_ONCE(t->free), new = ((old >> 32) + 1) << 32 | ref;

		c->next[0] = (__u32)old;
		if (__sync_val_compare_and_swap(&t->free, old, new) == old) {
			__sync_fetch_and_sub(&t->used, 1);
			return;
		}
	}
	c->bits = SLUICE_BPF_LIVE | SLUICE_BPF_DYING;
}

/* Searching a source port that nobody uses towards a backend. */
struct sluice_port_search {
	__u32 family;
	__u32 ref; /* of the reply entry */
	__u32 random;
	__u16 wanted;
	__u16 pad;
	int found; /* SLUICE_INSERT_* */
};

static __always_inline bool sluice_set_reply_port(__u32 family, __u32 ref, __be16 port)
{
	/* An echo reply carries the identifier where others have their destination port, too. */
	if (family == SLUICE_IPV4) {
		struct sluice_bpf_conn4 *c = sluice_conn4(sluice_bpf_ref_index(ref));

		if (!c)
			return false;
		c->key[1].dport = port;
	} else {
		struct sluice_bpf_conn6 *c = sluice_conn6(sluice_bpf_ref_index(ref));

		if (!c)
			return false;
		c->key[1].dport = port;
	}
	return true;
}

/* One attempt, numbered from 1 on; a callback of bpf_loop(), 1: no more. */
static long sluice_try_port(__u32 i, void *arg)
{
	struct sluice_port_search *s = arg;
	__u32 other = 0;

	if (!sluice_set_reply_port(s->family, s->ref,
				   sluice_htons(sluice_nat_port(s->wanted, s->random, i + 1)))) {
		s->found = SLUICE_INSERT_CHAIN;
		return 1;
	}
	s->found = sluice_insert(s->family, s->ref, &other);
	return s->found != SLUICE_INSERT_EXISTS;
}

/*
 * Puts the reply entry into the table, under the first source port that is free. A negative entry with its tuple gives
 * way: what it spoke of are answers from now on, which are allowed. SLUICE_INSERT_*.
 */
SLUICE_GLOBAL int sluice_insert_reply(struct sluice_ctx *x, __u32 ref)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_port_search s = {};
	struct sluice_bpf_conn *c;
	__u32 other = 0;

	if (!x || !ctl)
		return SLUICE_INSERT_CHAIN;
	s.found = sluice_insert(x->family, ref, &other);
	if (s.found == SLUICE_INSERT_EXISTS) {
		c = sluice_conn_of(x->family, other);
		if (c && (SLUICE_ONCE(c->bits) & SLUICE_BPF_DENIED)) {
			sluice_conn_kill(sluice_table_of(ctl, x->family), c);
			s.found = sluice_insert(x->family, ref, &other);
		}
	}
	if (s.found != SLUICE_INSERT_EXISTS || x->dir ||
	    !(x->pkt.flags & (SLUICE_PACKET_PORTS | SLUICE_PACKET_ECHO)))
		return s.found;
	s.family = x->family;
	s.ref = ref;
	s.random = bpf_get_prandom_u32();
	s.wanted = sluice_ntohs(x->key[1].dport);
	bpf_loop(SLUICE_PORT_ATTEMPTS - 1, sluice_try_port, &s, 0);
	if (s.found != SLUICE_INSERT_OK)
		return s.found;
	/* Which it got only its entry knows. */
	if (x->family == SLUICE_IPV4) {
		struct sluice_bpf_conn4 *c4 = sluice_conn4(sluice_bpf_ref_index(ref));

		if (!c4)
			return SLUICE_INSERT_CHAIN;
		x->key[1].dport = c4->key[1].dport;
		c = &c4->c;
	} else {
		struct sluice_bpf_conn6 *c6 = sluice_conn6(sluice_bpf_ref_index(ref));

		if (!c6)
			return SLUICE_INSERT_CHAIN;
		x->key[1].dport = c6->key[1].dport;
		c = &c6->c;
	}
	__sync_fetch_and_or(&c->bits, SLUICE_BPF_REMAPPED | SLUICE_BPF_NAT);
	SLUICE_COUNT(remapped);
	return SLUICE_INSERT_OK;
}

static __always_inline void sluice_conn_judged(struct sluice_bpf_conn *c,
					       const struct sluice_judgement *j, __u32 gen)
{
	c->verdict = j->verdict;
	c->reason = j->reason;
	c->staged_verdict = j->staged_verdict;
	c->rule[0] = j->egress.rule;
	c->rule[1] = j->ingress.rule;
	c->staged_rule[0] = j->egress.staged_rule;
	c->staged_rule[1] = j->ingress.staged_rule;
	*(volatile __u32 *)&c->policy_gen = gen;
}

/* What sluice_create() says. */
#define SLUICE_CREATED 0
#define SLUICE_CREATE_RACED \
	1 /* another CPU made one from the same tuple: x->ref, dir, key are that one's */

/*
 * Makes the connection that the context describes: key, bits, state, side, judge.out, gen, epoch; dir is its first
 * packet's. SLUICE_CREATED with x->ref; RACED; or minus the enum sluice_reason for which there is none.
 */
SLUICE_GLOBAL int sluice_create(struct sluice_ctx *x, __u32 side0, __u32 side1)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_bpf_table *t;
	struct sluice_bpf_conn *c;
	__u32 ref, other = 0;
	int err;

	if (!x || !ctl)
		return -SLUICE_REASON_NO_MEMORY;
	t = sluice_table_of(ctl, x->family);
	/* What is dead already takes nobody's place, though its object does for a second; without one, pop fails. */
	if (SLUICE_ONCE(t->alive) >= SLUICE_ONCE(t->limit))
		return -SLUICE_REASON_TABLE_FULL;
	ref = sluice_conn_pop(t, x->family);
	if (!ref)
		return -SLUICE_REASON_TABLE_FULL;
	if (x->family == SLUICE_IPV4) {
		struct sluice_bpf_conn4 *c4 = sluice_conn4(sluice_bpf_ref_index(ref));

		if (!c4)
			return -SLUICE_REASON_NO_MEMORY;
		sluice_key4_of(&c4->key[0], &x->key[0]);
		sluice_key4_of(&c4->key[1], &x->key[1]);
		c = &c4->c;
	} else {
		struct sluice_bpf_conn6 *c6 = sluice_conn6(sluice_bpf_ref_index(ref));

		if (!c6)
			return -SLUICE_REASON_NO_MEMORY;
		sluice_key6_of(&c6->key[0], &x->key[0]);
		sluice_key6_of(&c6->key[1], &x->key[1]);
		c = &c6->c;
	}
	c->last_seen = x->now;
	c->created = x->now;
	c->backend_epoch = x->epoch;
	c->packets[0] = 0;
	c->packets[1] = 0;
	c->bytes[0] = 0;
	c->bytes[1] = 0;
	c->side[0] = side0;
	c->side[1] = side1;
	memset(c->tcp, 0, sizeof(c->tcp));
	if (x->pkt.tuple.proto == SLUICE_PROTO_TCP && x->state != SLUICE_STATE_DENIED) {
		sluice_state_first(SLUICE_PROTO_TCP, &x->pkt.l4, c->tcp);
		if (x->dir) {
			c->tcp[1] = c->tcp[0];
			memset(&c->tcp[0], 0, sizeof(c->tcp[0]));
		}
	}
	sluice_conn_judged(c, &x->judge.out, x->gen);
	c->state = x->state;
	c->next[0] = 0;
	c->next[1] = 0;
	*(volatile __u32 *)&c->bits = x->bits | SLUICE_BPF_LIVE;

	/*
	 * The reply entry goes in first: while the original one is not there, no packet of the flow's own can
	 * have found the connection.
	 */
	if (!(x->bits & SLUICE_BPF_DENIED)) {
		err = sluice_insert_reply(x, sluice_bpf_ref(sluice_bpf_ref_index(ref), 1));
		if (err != SLUICE_INSERT_OK) {
			sluice_conn_push(t, c, ref);
			return err == SLUICE_INSERT_EXISTS ? -SLUICE_REASON_NO_PORTS :
							     -SLUICE_REASON_NO_MEMORY;
		}
	}
	err = sluice_insert(x->family, ref, &other);
	if (err == SLUICE_INSERT_OK) {
		__sync_fetch_and_add(&t->alive, 1);
		SLUICE_COUNT(created);
		x->ref = ref;
		return SLUICE_CREATED;
	}
	if (x->bits & SLUICE_BPF_DENIED)
		sluice_conn_push(t, c, ref);
	else /* its reply entry may have been found: the sweeper takes it out, and says nothing of it */
		__sync_fetch_and_or(&c->bits, SLUICE_BPF_DYING | SLUICE_BPF_DENIED);
	if (err == SLUICE_INSERT_CHAIN)
		return -SLUICE_REASON_NO_MEMORY;
	/* A packet to itself, from the port it goes to: both entries are one. */
	if (sluice_bpf_ref_index(other) == sluice_bpf_ref_index(ref))
		return -SLUICE_REASON_NO_PORTS;
	return SLUICE_CREATE_RACED;
}

/* Does a TCP segment with these flags change no state, but only what has been sent? */
static __always_inline bool sluice_conn_only_records(const struct sluice_bpf_conn *c, __u32 dir,
						     __u8 flags)
{
	return SLUICE_ONCE(c->state) == SLUICE_STATE_TCP_ESTABLISHED &&
	       !(flags & (SLUICE_TCP_SYN | SLUICE_TCP_FIN | SLUICE_TCP_RST)) &&
	       (c->tcp[dir & 1].flags & SLUICE_TCPDIR_SEEN);
}

/* Takes in one packet of a known connection. Without a lock: see struct sluice_bpf_conn. */
static __always_inline void sluice_conn_advance(struct sluice_bpf_conn *c, __u8 proto, __u8 dir,
						__u32 now, const struct sluice_l4 *l4)
{
	__u8 state = SLUICE_ONCE(c->state), next;

	if (c->last_seen != now)
		c->last_seen = now;
	next = sluice_state_next(proto, state, dir, c->tcp, l4);
	if (next != state)
		*(volatile __u8 *)&c->state = next;
}

/* Turns a connection that policy no longer allows into a negative entry. */
static __always_inline void sluice_conn_deny(struct sluice_bpf_conn *c, __u32 now)
{
	c->last_seen = now;
	*(volatile __u8 *)&c->state = SLUICE_STATE_DENIED;
	__sync_fetch_and_or(&c->bits, SLUICE_BPF_DENIED);
}

#endif
