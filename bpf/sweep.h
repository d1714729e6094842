/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sweeper: it alone takes connections out of the table.
 *
 * Theory of operation
 * -------------------
 * A timer's callback walks over the objects of both tables, a slice a tick, so that it is round in about five
 * seconds. What it does with an object, by its bits:
 *
 *	0		free; nothing
 *	LIVE		silent for longer than its state allows: DYING, and what follows at once
 *	LIVE, DYING	its entries leave their chains, CLOSED is said: LIMBO. Not in the first second of its life: whoever
 *			makes it may not have put in the second entry yet
 *	LIMBO		for a second at least: 0, onto the free list
 *
 * Unlinking needs no lock, as nobody else does it: the first of a chain by compare and swap of the bucket, against
 * those who insert; another one by storing its successor into its predecessor, which nobody else writes. Its own
 * reference to its successor stays, for those who stand on it.
 *
 * Worked example: bucket -> A -> B -> C. B goes: A's next becomes C. A packet that stands on B goes on to C, which
 * stays what it is for a second even if it is unlinked, too, in the next moment.
 *
 * Room. Connections shall not be more than the budget allows, and the free list shall not run dry. With a sixteenth
 * left, the sweeper makes room ahead of need: of what is cheapest to lose (core/conntrack.h) as much as there is
 * too much, never of the established. Which class that reaches follows from how many of each there were on the last
 * round. Example: 500 too many; 300 closing, 4,000 unreplied: all the closing ones and 200 unreplied go. They are
 * counted only while three quarters of the room are taken: a connection that lives on costs 40 instructions a
 * round, 55 when it is counted; one that goes costs 900.
 *
 * Where room is short, or more has died than one tick may take out, the next tick comes after 1 ms, not after 10: up
 * to 8 million objects and a quarter of a million burials a second.
 */
#ifndef SLUICE_BPF_SWEEP_H
#define SLUICE_BPF_SWEEP_H

#include "bpf/conn.h"

#define SLUICE_SWEEP_ROUND 512 /* ticks */
#define SLUICE_SWEEP_LEAST 256U /* objects a tick */
#define SLUICE_SWEEP_MOST 8192U /* of them; a round over more than 4 million takes longer */
#define SLUICE_SWEEP_BURIALS 256 /* a tick: unlinked, or back on the free list */
#define SLUICE_SWEEP_TICK 10000000ULL /* ns */
#define SLUICE_SWEEP_SOON 1000000ULL
#define SLUICE_SWEEP_SECOND 1024 /* ticks of connections, a bit more than a second */

/* Bit 0 and bit 1 of a state's class, for all states in one word each. */
enum {
#define X(sym, name, timeout, class) +((__u32)(SLUICE_EVICT_##class & 1) << SLUICE_STATE_##sym)
	SLUICE_SWEEP_CLASS_LOW = 0 SLUICE_STATES(X),
#undef X
#define X(sym, name, timeout, class) +((__u32)(SLUICE_EVICT_##class >> 1) << SLUICE_STATE_##sym)
	SLUICE_SWEEP_CLASS_HIGH = 0 SLUICE_STATES(X),
#undef X
};

static __always_inline __u32 sluice_sweep_class(__u32 state)
{
	__u32 class = ((__u32)SLUICE_SWEEP_CLASS_LOW >> state & 1) |
		      ((__u32)SLUICE_SWEEP_CLASS_HIGH >> state & 1) << 1;

	sluice_settle(class); /* 6.1 does not see that it is below 4 */
	return class & (SLUICE_EVICT_COUNT - 1);
}

/* What a tick may do to one table, and has done. */
struct sluice_tally {
	__u32 now;
	__u32 burials; /* so far */
	__u32 excess; /* connections to evict */
	__u32 class; /* the dearest class that goes; SLUICE_EVICT_COUNT: do not even count */
	__u32 quota; /* how many of that class */
};

/* A tick's work on one table. On the stack. */
struct sluice_sweep {
	void *segment; /* of the objects */
	struct sluice_bpf_control *ctl;
	struct sluice_bpf_sweep *counts;
	__u32 first; /* object of this slice */
	__u32 family;
	struct sluice_tally tally;
};

/*
 * Takes one entry out of its chain, if it is there. 0; -1: not this time, the chain is too long or others were
 * faster again and again.
 */
SLUICE_GLOBAL int sluice_unlink(__u32 family, __u32 ref)
{
	struct sluice_bpf_control *ctl = sluice_control();
	__u32 dir = sluice_bpf_ref_dir(ref), *head, at, next, i;
	struct sluice_bpf_conn *c;

	if (!ctl || !ref)
		return -1;
	if (family == SLUICE_IPV4) {
		struct sluice_bpf_conn4 *c4 = sluice_conn4(sluice_bpf_ref_index(ref));

		if (!c4)
			return -1;
		sluice_settle(dir);
		head = sluice_head_of4(ctl, &c4->key[dir & 1]);
		c = &c4->c;
	} else {
		struct sluice_bpf_conn6 *c6 = sluice_conn6(sluice_bpf_ref_index(ref));

		if (!c6)
			return -1;
		sluice_settle(dir);
		head = sluice_head_of6(ctl, &c6->key[dir & 1]);
		c = &c6->c;
	}
	if (!head)
		return -1;
	next = c->next[dir & 1];
	at = SLUICE_ONCE(*head);
	if (at == ref) {
		if (__sync_val_compare_and_swap(head, ref, next) == ref)
			return 0;
		at = SLUICE_ONCE(*head); /* somebody inserted: it is not the first any more */
	}
#pragma clang loop unroll(disable)
	for (i = 0; i < 2 * SLUICE_CHAIN; i++) {
		struct sluice_bpf_conn *before = sluice_conn_of(family, at);
		__u32 before_dir = sluice_bpf_ref_dir(at);

		if (!before)
			return 0; /* the end */
		sluice_settle(before_dir);
		at = SLUICE_ONCE(before->next[before_dir & 1]);
		if (at == ref) {
			*(volatile __u32 *)&before->next[before_dir & 1] = next;
			return 0;
		}
	}
	return -1;
}

/* Says that a connection is no more, to those who listen. */
SLUICE_GLOBAL int sluice_sweep_closed(__u32 family, __u32 index)
{
	struct sluice_ctx *x = sluice_context(); /* nobody else runs here now: see context.h */

	if (!x)
		return -1;
	if (family == SLUICE_IPV4) {
		struct sluice_bpf_conn4 *c = sluice_conn4(index);

		if (!c)
			return -1;
		sluice_tuple_of4(&x->event.tuple[0], &c->key[0]);
		sluice_tuple_of4(&x->event.tuple[1], &c->key[1]);
		x->event.conn = c->c;
	} else {
		struct sluice_bpf_conn6 *c = sluice_conn6(index);

		if (!c)
			return -1;
		sluice_tuple_of6(&x->event.tuple[0], &c->key[0]);
		sluice_tuple_of6(&x->event.tuple[1], &c->key[1]);
		x->event.conn = c->c;
	}
	x->event.type = SLUICE_EVENT_CLOSED;
	x->event.family = family;
	x->event.pad = 0;
	x->event.pad2 = 0;
	return sluice_event_send(&x->event);
}

/* A dying connection whose maker is done: out of the table. Elsewhere a failure waits for the next round. */
SLUICE_GLOBAL int sluice_bury(__u32 family, __u32 index)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_bpf_conn *c = sluice_conn_of(family, sluice_bpf_ref(index, 0));

	if (!ctl || !c)
		return -1;
	/* One that policy cut has both entries, though it is a negative one: both are looked for, always. */
	if (sluice_unlink(family, sluice_bpf_ref(index, 0)) ||
	    sluice_unlink(family, sluice_bpf_ref(index, 1)))
		return -1;
	if (!(c->bits & SLUICE_BPF_DENIED) && sluice_events_wanted(ctl))
		sluice_sweep_closed(family, index);
	c->last_seen = sluice_bpf_ticks();
	*(volatile __u32 *)&c->bits = SLUICE_BPF_LIMBO;
	return 0;
}

/* Back onto the free list; where others are always faster, on the next round. */
SLUICE_GLOBAL int sluice_release(__u32 family, __u32 index)
{
	__u32 ref = sluice_bpf_ref(index, 0), i;
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_bpf_conn *c = sluice_conn_of(family, ref);
	struct sluice_bpf_table *t;

	if (!ctl || !c)
		return -1;
	t = sluice_table_of(ctl, family);
	*(volatile __u32 *)&c->bits = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < SLUICE_SWAPS; i++) {
		__u64 old = SLUICE_ONCE(t->free), new = ((old >> 32) + 1) << 32 | ref;

		*(volatile __u32 *)&c->next[0] = (__u32)old;
		if (__sync_val_compare_and_swap(&t->free, old, new) == old) {
			__sync_fetch_and_sub(&t->used, 1);
			return 0;
		}
	}
	*(volatile __u32 *)&c->bits = SLUICE_BPF_LIMBO;
	return -1;
}

/* Is a connection of this class in the way? */
static __always_inline bool sluice_sweep_evicts(struct sluice_tally *t, __u32 class)
{
	if (!t->excess || class > t->class || class >= SLUICE_EVICT_ESTABLISHED)
		return false;
	if (class == t->class) {
		if (!t->quota)
			return false;
		t->quota--;
	}
	t->excess--;
	return true;
}

static __always_inline bool sluice_sweep_is_alive(__u32 bits)
{
	return !(bits & (SLUICE_BPF_DYING | SLUICE_BPF_LIMBO));
}

/* Is there nothing to do about it but count? What nearly all objects of nearly all rounds cost. */
static __always_inline bool sluice_sweep_passes(struct sluice_sweep *s,
						const struct sluice_bpf_conn *c,
						const struct sluice_bpf_control *ctl)
{
	__u32 bits = SLUICE_ONCE(c->bits), class;

	if (!bits)
		return true;
	if (!sluice_sweep_is_alive(bits) || sluice_conn_over(ctl, c, s->tally.now))
		return false;
	if (s->tally.class == SLUICE_EVICT_COUNT)
		return true;
	if (s->tally.excess)
		return false;
	class = sluice_sweep_class(SLUICE_ONCE(c->state) & 31);
	s->counts->counting[class]++;
	return true;
}

/* Expires or evicts a connection, or counts it. Is it dying now? */
static __always_inline bool sluice_sweep_ends(__u32 table, struct sluice_bpf_control *ctl,
					      struct sluice_bpf_conn *c, struct sluice_tally *t)
{
	bool over = sluice_conn_over(ctl, c, t->now);
	__u32 class = sluice_sweep_class(SLUICE_ONCE(c->state) & 31), zero = 0;
	struct sluice_bpf_stats *st = sluice_stats();
	struct sluice_bpf_sweeper *sweeper = bpf_map_lookup_elem(&timers, &zero);

	if (!sweeper)
		return false;
	if (!over && !sluice_sweep_evicts(t, class)) {
		sweeper->table[table].counting[class]++;
		return false;
	}
	if (sweeper->table[table].counted[class])
		sweeper->table[table].counted[class]--;
	sluice_conn_kill(&ctl->table[table], c);
	if (st && over)
		st->expired++;
	else if (st)
		st->evicted[class]++;
	return true;
}

/* One object about which there may be something to do. */
SLUICE_GLOBAL int sluice_sweep_object(__u32 family, __u32 index, struct sluice_tally *t)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_bpf_conn *c = sluice_conn_of(family, sluice_bpf_ref(index, 0));
	__u32 bits;

	if (!ctl || !c || !t)
		return -1;
	bits = SLUICE_ONCE(c->bits);
	if (sluice_sweep_is_alive(bits) && !sluice_sweep_ends(family == SLUICE_IPV6, ctl, c, t))
		return 0;
	if (bits & SLUICE_BPF_LIMBO) {
		if (t->now - c->last_seen < SLUICE_SWEEP_SECOND)
			return 0;
		sluice_release(family, index);
	} else {
		if (t->now - c->created < SLUICE_SWEEP_SECOND)
			return 0;
		sluice_bury(family, index);
	}
	t->burials++;
	return 0;
}

/* Some objects at a time: the call and the loop around them are a third of what one costs. */
#define SLUICE_SWEEP_STRIDE 4

static long sluice_sweep_step(__u32 i, void *ctx)
{
	struct sluice_sweep *s = ctx;
	const struct sluice_bpf_control *ctl = s->ctl;
	__u32 index = s->first + i * SLUICE_SWEEP_STRIDE, n;

#pragma clang loop unroll(full)
	for (n = 0; n < SLUICE_SWEEP_STRIDE; n++, index++) {
		__u32 at = index & (SLUICE_BPF_SEGMENT - 1);
		struct sluice_bpf_conn *c = bpf_map_lookup_elem(s->segment, &at);

		if (c && !sluice_sweep_passes(s, c, ctl))
			sluice_sweep_object(s->family, index, &s->tally);
	}
	return s->tally.burials >= SLUICE_SWEEP_BURIALS;
}

/* The hand is at the end: what was counted is known now. */
static __always_inline void sluice_sweep_round(struct sluice_bpf_sweep *counts)
{
	__u32 i;

	for (i = 0; i < SLUICE_EVICT_COUNT; i++) {
		counts->counted[i] = counts->counting[i];
		counts->counting[i] = 0;
	}
	counts->known = counts->whole;
	counts->whole = 1;
}

/* How far up in price do "excess" connections reach? As long as that is not known, not far. */
static __always_inline void sluice_sweep_price(struct sluice_sweep *s)
{
	const __u32 *counted = s->counts->counted;

	s->tally.class = SLUICE_EVICT_CLOSING;
	s->tally.quota = s->tally.excess;
	if (!s->counts->known || s->tally.quota <= counted[SLUICE_EVICT_CLOSING])
		return;
	s->tally.quota -= counted[SLUICE_EVICT_CLOSING];
	s->tally.class = SLUICE_EVICT_UNREPLIED;
	if (s->tally.quota <= counted[SLUICE_EVICT_UNREPLIED])
		return;
	s->tally.quota -= counted[SLUICE_EVICT_UNREPLIED];
	s->tally.class = SLUICE_EVICT_IDLE;
}

/* What a tick should do, and more than that. */
#define SLUICE_SWEEP_WALK 1 /* as many objects as one may */
#define SLUICE_SWEEP_HURRY 2 /* and soon again */

/* What is too much, and at which price. */
static __always_inline __u32 sluice_sweep_plan(struct sluice_sweep *s,
					       const struct sluice_bpf_table *t)
{
	__u32 capacity = SLUICE_ONCE(t->capacity), limit = SLUICE_ONCE(t->limit);
	__u32 alive = SLUICE_ONCE(t->alive), used = SLUICE_ONCE(t->used);
	/* A table that may grow is given the time: the controller adds to it long before this. */
	__u32 spare = capacity < limit ? capacity / 64 : capacity / 16;
	__u32 most = limit - limit / 16;

	if ((__s32)alive < 0) /* somebody is between two of his steps */
		alive = 0;
	if (most > capacity - spare)
		most = capacity - spare;
	s->tally.excess = alive > most ? alive - most : 0;
	s->tally.class = SLUICE_EVICT_COUNT;
	if (alive <= most - most / 4) { /* far from it: counting can wait */
		s->counts->whole = 0;
		s->counts->known = 0;
		return 0;
	}
	sluice_sweep_price(s);
	if (!s->tally.excess && used <= capacity - spare)
		return 0;
	/* When all are established, there is nothing to hurry for. */
	if (s->tally.excess && s->counts->known &&
	    !(s->counts->counted[SLUICE_EVICT_CLOSING] |
	      s->counts->counted[SLUICE_EVICT_UNREPLIED] | s->counts->counted[SLUICE_EVICT_IDLE]))
		return SLUICE_SWEEP_WALK;
	return SLUICE_SWEEP_WALK | SLUICE_SWEEP_HURRY;
}

/* A tick's slice of one table. Is there more to do than one tick should? */
SLUICE_GLOBAL int sluice_sweep_table(__u32 table)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_sweep s = { .tally.now = sluice_bpf_ticks() };
	struct sluice_bpf_sweeper *sweeper;
	__u32 zero = 0, segment, n, left;
	struct sluice_bpf_table *t;
	__u32 plan;
	long done;

	sweeper = bpf_map_lookup_elem(&timers, &zero);
	if (!ctl || !sweeper)
		return 0;
	t = &ctl->table[table & 1];
	if (!t->used || !t->capacity)
		return 0;
	s.ctl = ctl;
	s.counts = &sweeper->table[table & 1];
	if (t->hand >= t->capacity) {
		sluice_sweep_round(s.counts);
		t->hand = 0;
	}
	plan = sluice_sweep_plan(&s, t);
	n = t->capacity / SLUICE_SWEEP_ROUND;
	if (n < SLUICE_SWEEP_LEAST)
		n = SLUICE_SWEEP_LEAST;
	if (n > SLUICE_SWEEP_MOST || plan)
		n = SLUICE_SWEEP_MOST;
	s.first = t->hand;
	left = SLUICE_BPF_SEGMENT - (s.first & (SLUICE_BPF_SEGMENT - 1));
	if (n > left)
		n = left;
	n /= SLUICE_SWEEP_STRIDE; /* all of them are multiples of it */
	segment = s.first >> SLUICE_BPF_SEGMENT_BITS;
	s.family = table & 1 ? SLUICE_IPV6 : SLUICE_IPV4;
	s.segment = table & 1 ? bpf_map_lookup_elem(&conns6, &segment) :
				bpf_map_lookup_elem(&conns4, &segment);
	done = s.segment ? bpf_loop(n, sluice_sweep_step, &s, 0) * SLUICE_SWEEP_STRIDE : left;
	t->hand = s.first + (done > 0 ? (__u32)done : left);
	return (plan & SLUICE_SWEEP_HURRY) || s.tally.burials >= SLUICE_SWEEP_BURIALS;
}

/* The timer's callback. It is never entered twice at once: a timer is on one CPU's queue. */
static int sluice_sweep_tick(void *map, __u32 *key, struct sluice_bpf_sweeper *sweeper)
{
	bool hurry;

	(void)map;
	(void)key;
	hurry = sluice_sweep_table(0);
	hurry |= sluice_sweep_table(1);
	bpf_timer_start(&sweeper->timer, hurry ? SLUICE_SWEEP_SOON : SLUICE_SWEEP_TICK, 0);
	return 0;
}

/*
 * Starts the sweeper, or has the one that runs go on with this program's code: what a new version of the
 * programs does once they are in place. 0, or a negative errno.
 */
static __always_inline int sluice_sweep_start(void)
{
	struct sluice_bpf_sweeper *sweeper;
	__u32 zero = 0;
	long err;

	sweeper = bpf_map_lookup_elem(&timers, &zero);
	if (!sweeper)
		return -2; /* ENOENT */
	bpf_timer_init(&sweeper->timer, &timers, 1 /* CLOCK_MONOTONIC */);
	err = bpf_timer_set_callback(&sweeper->timer, sluice_sweep_tick);
	if (!err)
		err = bpf_timer_start(&sweeper->timer, SLUICE_SWEEP_TICK, 0);
	return (int)err;
}

#endif
