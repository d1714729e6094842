// SPDX-License-Identifier: GPL-2.0-only
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "net.h"
#include "table.h"

#define FIRST_BUCKETS 64 /* half a page: a namespace has nine arrays */
#define MAX_BUCKETS (1U << 22)

static struct sluice_buckets *buckets_alloc(u32 n, u32 slot)
{
	struct sluice_buckets *b = kvzalloc(struct_size(b, heads, n), GFP_KERNEL);

	if (!b)
		return NULL;
	b->mask = n - 1;
	b->slot = slot;
	return b;
}

static struct sluice_buckets *own_buckets(const struct sluice_hash *h)
{
	return rcu_dereference_protected(h->buckets, lockdep_is_held(h->lock));
}

int sluice_hash_init(struct sluice_hash *h, struct mutex *lock)
{
	struct sluice_buckets *b = buckets_alloc(FIRST_BUCKETS, 0);

	if (!b)
		return -ENOMEM;
	h->lock = lock;
	h->seed = get_random_u32();
	h->count = 0;
	h->shuffles = 0;
	h->grace = get_state_synchronize_rcu();
	rcu_assign_pointer(h->buckets, b);
	return 0;
}

/* Nobody is left who could read it. */
void sluice_hash_exit(struct sluice_hash *h)
{
	struct sluice_buckets *b = rcu_dereference_protected(h->buckets, true);

	WARN_ON(b && h->count);
	RCU_INIT_POINTER(h->buckets, NULL);
	kvfree(b);
}

/* Four times as many: 250,000 links are reached in six steps. Without memory, chains get longer. */
static void hash_grow(struct sluice_hash *h)
{
	struct sluice_buckets *old = own_buckets(h), *b;
	struct sluice_link *link;
	u32 i;

	if (old->mask + 1 >= MAX_BUCKETS)
		return;
	b = buckets_alloc(min((old->mask + 1) * 4, MAX_BUCKETS), !old->slot);
	if (!b)
		return;
	/* Somebody may still walk the array before this one, by the slots that we are to use. */
	cond_synchronize_rcu(h->grace);
	for (i = 0; i <= old->mask; i++) {
		hlist_for_each_entry(link, &old->heads[i], slot[old->slot])
			hlist_add_head_rcu(&link->slot[b->slot], &b->heads[link->hash & b->mask]);
		cond_resched();
	}
	rcu_assign_pointer(h->buckets, b);
	WRITE_ONCE(h->shuffles, h->shuffles + 1);
	h->grace = get_state_synchronize_rcu();
	kvfree_rcu(old, rcu);
}

void sluice_hash_insert(struct sluice_hash *h, struct sluice_link *link)
{
	struct sluice_buckets *b = own_buckets(h);

	if (h->count > b->mask) {
		hash_grow(h);
		b = own_buckets(h);
	}
	hlist_add_head_rcu(&link->slot[b->slot], &b->heads[link->hash & b->mask]);
	h->count++;
}

void sluice_hash_remove(struct sluice_hash *h, struct sluice_link *link)
{
	hlist_del_rcu(&link->slot[own_buckets(h)->slot]);
	h->count--;
}

int sluice_table_init(struct sluice_net *sn, struct sluice_table *t,
		      const struct sluice_table_ops *ops)
{
	t->ops = ops;
	INIT_LIST_HEAD(&t->pending);
	INIT_LIST_HEAD(&t->dying);
	INIT_LIST_HEAD(&t->kept);
	INIT_LIST_HEAD(&t->resting);
	INIT_LIST_HEAD(&t->graves);
	return sluice_hash_init(&t->hash, &sn->mutex);
}

static void unlink_and_release(struct sluice_net *sn, struct sluice_table *t, struct sluice_node *n)
{
	list_del_init(&n->txn);
	sluice_hash_remove(&t->hash, &n->link);
	t->ops->release(sn, n);
}

static void turn(struct sluice_net *sn, struct sluice_table *t, struct sluice_node *n, bool alive)
{
	t->alive += alive ? 1 : -1;
	if (t->ops->turn)
		t->ops->turn(sn, n, alive);
}

void sluice_table_exit(struct sluice_net *sn, struct sluice_table *t)
{
	struct sluice_buckets *b = own_buckets(&t->hash);
	struct sluice_link *link;
	struct hlist_node *next;
	u32 i;

	if (!b)
		return;
	for (i = 0; i <= b->mask; i++) {
		hlist_for_each_entry_safe(link, next, &b->heads[i], slot[b->slot])
			sluice_table_evict(sn, t, container_of(link, struct sluice_node, link));
		cond_resched();
	}
	sluice_hash_exit(&t->hash);
}

void sluice_versions_add(struct sluice_net *sn, struct sluice_versions *v, struct sluice_node *n)
{
	if (n->born > sn->revision)
		v->pending = n;
	else if (n->died > sn->revision)
		v->committed = n;
	/* else: dead, and waiting to be buried */
}

/* Nobody has seen it yet. */
static void drop_pending(struct sluice_net *sn, struct sluice_table *t, struct sluice_node *n)
{
	turn(sn, t, n, false);
	unlink_and_release(sn, t, n);
}

static void mark_dying(struct sluice_net *sn, struct sluice_table *t, struct sluice_node *n)
{
	WRITE_ONCE(n->died, sn->revision + 1);
	list_move_tail(&n->txn, &t->dying);
	turn(sn, t, n, false);
}

static void revive(struct sluice_net *sn, struct sluice_table *t, struct sluice_node *n)
{
	WRITE_ONCE(n->died, SLUICE_ALIVE);
	turn(sn, t, n, true);
}

void sluice_table_put(struct sluice_net *sn, struct sluice_table *t,
		      const struct sluice_versions *v, struct sluice_node *n)
{
	if (v->pending)
		drop_pending(sn, t, v->pending);
	if (v->committed && v->committed->died == SLUICE_ALIVE)
		mark_dying(sn, t, v->committed);
	n->born = sn->revision + 1;
	n->died = SLUICE_ALIVE;
	n->written = n->born;
	list_add_tail(&n->txn, &t->pending);
	sluice_hash_insert(&t->hash, &n->link);
	turn(sn, t, n, true);
}

void sluice_table_keep(struct sluice_net *sn, struct sluice_table *t,
		       const struct sluice_versions *v)
{
	if (v->pending)
		drop_pending(sn, t, v->pending);
	if (v->committed->died != SLUICE_ALIVE)
		revive(sn, t, v->committed);
	list_move_tail(&v->committed->txn, &t->kept);
}

void sluice_table_del(struct sluice_net *sn, struct sluice_table *t,
		      const struct sluice_versions *v)
{
	if (v->pending)
		drop_pending(sn, t, v->pending);
	if (v->committed && v->committed->died == SLUICE_ALIVE)
		mark_dying(sn, t, v->committed);
}

void sluice_table_evict(struct sluice_net *sn, struct sluice_table *t, struct sluice_node *n)
{
	if (n->died == SLUICE_ALIVE)
		turn(sn, t, n, false);
	if (sluice_node_visible(n, sn->revision))
		WRITE_ONCE(t->committed, t->committed - 1);
	WRITE_ONCE(t->hash.shuffles, t->hash.shuffles + 1);
	unlink_and_release(sn, t, n);
}

/* Whatever is alive and on no list was not written. */
void sluice_table_sweep(struct sluice_net *sn, struct sluice_table *t)
{
	struct sluice_buckets *b = own_buckets(&t->hash);
	struct sluice_link *link;
	u32 i;

	for (i = 0; i <= b->mask; i++) {
		hlist_for_each_entry(link, &b->heads[i], slot[b->slot]) {
			struct sluice_node *n = container_of(link, struct sluice_node, link);

			if (n->died == SLUICE_ALIVE && list_empty(&n->txn))
				mark_dying(sn, t, n);
		}
		cond_resched();
	}
}

bool sluice_table_changed(const struct sluice_table *t)
{
	return !list_empty(&t->pending) || !list_empty(&t->dying);
}

/* The new revision is published: what the transaction wrote is what there is. */
void sluice_table_settle(struct sluice_net *sn, struct sluice_table *t)
{
	struct sluice_node *n, *next;

	list_for_each_entry_safe(n, next, &t->pending, txn)
		list_del_init(&n->txn);
	list_for_each_entry_safe(n, next, &t->kept, txn) {
		WRITE_ONCE(n->written, sn->revision);
		list_del_init(&n->txn);
	}
	list_splice_tail_init(&t->dying, &t->resting);
	WRITE_ONCE(t->committed, t->alive);
}

bool sluice_table_dig(struct sluice_table *t)
{
	list_splice_tail_init(&t->resting, &t->graves);
	return !list_empty(&t->graves);
}

void sluice_table_bury(struct sluice_net *sn, struct sluice_table *t)
{
	struct sluice_node *n, *next;

	list_for_each_entry_safe(n, next, &t->graves, txn) {
		unlink_and_release(sn, t, n);
		cond_resched();
	}
}

void sluice_table_abort(struct sluice_net *sn, struct sluice_table *t)
{
	struct sluice_node *n, *next;

	list_for_each_entry_safe(n, next, &t->pending, txn)
		drop_pending(sn, t, n);
	list_for_each_entry_safe(n, next, &t->dying, txn) {
		revive(sn, t, n);
		list_del_init(&n->txn);
	}
	list_for_each_entry_safe(n, next, &t->kept, txn)
		list_del_init(&n->txn);
}

struct sluice_node *sluice_table_seek(const struct sluice_table *t, u32 revision,
				      struct sluice_cursor *c)
{
	const struct sluice_buckets *b = sluice_hash_buckets(&t->hash);
	struct sluice_link *link;

	for (; c->bucket <= b->mask; c->bucket++, c->index = 0) {
		u32 i = 0;

		hlist_for_each_entry_rcu(link, &b->heads[c->bucket], slot[b->slot]) {
			struct sluice_node *n = container_of(link, struct sluice_node, link);

			if (sluice_node_visible(n, revision) && i++ == c->index)
				return n;
		}
	}
	return NULL;
}
