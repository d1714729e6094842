/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Versioned tables: what the controller wrote, seen by packets as of one revision.
 *
 * Theory of operation
 * -------------------
 * Every control object (service, peer, rule, ruleset, endpoint, uplink) is a run of versions under
 * one key. A version is immutable but for two numbers: the revision it was born in and the one it
 * died in, SLUICE_ALIVE while it has not. A packet reads the namespace's revision once and hands it
 * to each of its look-ups; a version is visible to it when
 *
 *     born <= revision < died
 *
 * A transaction at revision R writes versions born in R + 1 and marks those it replaces or deletes as
 * dead from R + 1 on. Nobody sees any of it: every packet works at R. Commit stores R + 1 into the
 * revision, and with that one store all of it is visible, in all tables. Abort takes the newborn out
 * and makes the dying live again.
 *
 * To a transaction a key has at most two versions: the committed one and the pending one. In its table
 * it may have more: those that died in earlier commits, which no packet at the present revision sees,
 * and which are buried when nobody can be left who works at an older one. Nobody waits for that: COMMIT
 * answers as soon as the revision is stored, and the next transaction may begin.
 *
 * Worked example, at revision 7. The table holds
 *     A born 3, alive        B born 5, alive
 * A transaction sets A to something else and deletes B; it also writes C, as it already is:
 *     A born 3, died 8       B born 5, died 8       A' born 8, alive       C on the list "kept"
 * A packet that came before the commit works at 7: it finds A and B, also if the commit comes while
 * it is under way. One that comes after works at 8: it finds A', and no B. C is untouched, only its
 * "written" is now 8: a sweep at the end of a full resync takes what is on no list, that is, what nobody
 * wrote. Another transaction sets A again, at once:
 *     A born 3, died 8       A' born 8, died 9      A'' born 9, alive      B born 5, died 8
 * It compared A'' with A' alone. When all packets that could work at 7 are through (a grace period), A
 * and B are unlinked, and freed after another one, because packets at 8 may just be stepping over them.
 * A' follows a grace period later.
 *
 * Two lists carry the dead: "graves" waits for the grace period that is under way, "resting" for the one
 * that begins when that has ended (transaction.c).
 *
 * The hash array
 * --------------
 * Each link has two slots, one for the array in use and one for the next one (as openvswitch's flow
 * table has): growing hangs every link into the new array by its other slot while readers still walk
 * the old array by theirs, then publishes the new array. Before the slots change roles again, a grace
 * period must have passed; its cookie is kept, so that mostly nobody waits.
 *
 * Locking: all writers hold sn->mutex. Readers are in an RCU section and never wait.
 */
#ifndef SLUICE_KMOD_TABLE_H
#define SLUICE_KMOD_TABLE_H

#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/types.h>

struct sluice_net;

/* died of a version that has not, and the one revision that is never reached. */
#define SLUICE_ALIVE U32_MAX

/* What hangs in a hash array. Written under sn->mutex; slots are read under RCU. */
struct sluice_link {
	struct hlist_node slot[2];
	u32 hash;
};

struct sluice_buckets {
	struct rcu_head rcu;
	u32 mask; /* buckets - 1 */
	u32 slot; /* which slot of its links this array uses */
	struct hlist_head heads[];
};

struct sluice_hash {
	struct sluice_buckets __rcu *buckets; /* written under *lock, read under RCU */
	u32 seed; /* written once */
	u32 count; /* links; under *lock */
	u32 shuffles; /* bucket positions changed; under *lock, read by dumps for their consistency */
	unsigned long grace; /* cookie of the last growth; under *lock */
	struct mutex *lock; /* sn->mutex */
};

/* A place in a hash array, kept between two messages of a dump. All zero is the beginning. */
struct sluice_cursor {
	u32 bucket;
	u32 index; /* visible links of that bucket that are done */
};

#define sluice_hash_buckets(h) rcu_dereference_check((h)->buckets, lockdep_is_held((h)->lock))

/* Walks the links of one bucket, under RCU or sn->mutex. Compare link->hash before the key. */
#define sluice_hash_for_each(link, h, b, value)                                           \
	hlist_for_each_entry_rcu(link, &(b)->heads[(value) & (b)->mask], slot[(b)->slot], \
				 lockdep_is_held((h)->lock))

int sluice_hash_init(struct sluice_hash *h, struct mutex *lock);
void sluice_hash_exit(struct sluice_hash *h);

/* link->hash is set. Grows the array when there are more links than buckets. */
void sluice_hash_insert(struct sluice_hash *h, struct sluice_link *link);
void sluice_hash_remove(struct sluice_hash *h, struct sluice_link *link);

/* One version of an object. First member of every object. */
struct sluice_node {
	struct sluice_link link;
	u32 born; /* written before it is linked */
	u32 died; /* under sn->mutex, read under RCU */
	u32 written; /* revision that last wrote it, also if nothing changed; likewise */
	union {
		struct list_head txn; /* in one of its table's lists, or empty; under sn->mutex */
		struct rcu_head rcu; /* once it is released */
	};
};

struct sluice_table;

struct sluice_table_ops {
	/*
	 * The state that the transaction would leave behind gained (alive) or lost this version.
	 * May be NULL.
	 */
	void (*turn)(struct sluice_net *sn, struct sluice_node *n, bool alive);
	/*
	 * It is unlinked, and nobody who could have found it visible is left. Drops what it holds and
	 * frees it after a grace period: readers may still be stepping over it.
	 */
	void (*release)(struct sluice_net *sn, struct sluice_node *n);
};

/* All below the hash: under sn->mutex. */
struct sluice_table {
	struct sluice_hash hash;
	const struct sluice_table_ops *ops;
	struct list_head pending; /* versions born in the running transaction */
	struct list_head dying; /* committed ones that it ends */
	struct list_head kept; /* committed ones that it wrote again as they are */
	struct list_head resting; /* dead, to be buried after the next grace period */
	struct list_head graves; /* dead, to be buried after this one */
	u32 alive; /* versions with died == SLUICE_ALIVE */
	u32 committed; /* objects as of the last commit; read without the lock for INFO */
	u32 largest; /* bytes of the longest netlink message of one object so far */
};

/* The versions of one key, without those that are dead. */
struct sluice_versions {
	struct sluice_node *committed;
	struct sluice_node *pending;
};

static inline bool sluice_node_visible(const struct sluice_node *n, u32 revision)
{
	return n->born <= revision && revision < READ_ONCE(n->died);
}

int sluice_table_init(struct sluice_net *sn, struct sluice_table *t,
		      const struct sluice_table_ops *ops);

/* Releases whatever it holds. Nobody reads it any more. */
void sluice_table_exit(struct sluice_net *sn, struct sluice_table *t);

/* Adds a version that the caller found under its key to v. */
void sluice_versions_add(struct sluice_net *sn, struct sluice_versions *v, struct sluice_node *n);

/* The version that the running transaction would leave behind, or NULL. */
static inline struct sluice_node *sluice_versions_latest(const struct sluice_versions *v)
{
	if (v->pending)
		return v->pending;
	return v->committed && v->committed->died == SLUICE_ALIVE ? v->committed : NULL;
}

/* Inside a transaction: n, with its link.hash set, becomes what the key has. */
void sluice_table_put(struct sluice_net *sn, struct sluice_table *t,
		      const struct sluice_versions *v, struct sluice_node *n);
/* ... the key keeps its committed version (which may have been dying). */
void sluice_table_keep(struct sluice_net *sn, struct sluice_table *t,
		       const struct sluice_versions *v);
/* ... the key has nothing any more. */
void sluice_table_del(struct sluice_net *sn, struct sluice_table *t,
		      const struct sluice_versions *v);

/* Inside or outside of a transaction: this version is gone at once, whoever wrote it. */
void sluice_table_evict(struct sluice_net *sn, struct sluice_table *t, struct sluice_node *n);

/* Steps of commit and abort, see transaction.c. */
void sluice_table_sweep(struct sluice_net *sn, struct sluice_table *t);
bool sluice_table_changed(const struct sluice_table *t);
void sluice_table_settle(struct sluice_net *sn, struct sluice_table *t);
/* The resting move into the graves, of which there are none. Returns whether there are any now. */
bool sluice_table_dig(struct sluice_table *t);
/* The grace period is over: what is in the graves goes. */
void sluice_table_bury(struct sluice_net *sn, struct sluice_table *t);
void sluice_table_abort(struct sluice_net *sn, struct sluice_table *t);

/*
 * The first version at or behind the cursor that is visible, with the cursor on it, or NULL. Under
 * RCU. "c->index++" steps behind it.
 */
struct sluice_node *sluice_table_seek(const struct sluice_table *t, u32 revision,
				      struct sluice_cursor *c);

#endif
