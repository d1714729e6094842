// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/bpf_conn_table.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/*
 * A chain longer than this is none: with as many buckets as objects one of 20 entries is a rarity of one in
 * 10^18. A walk that ends here met memory that is not what it should be.
 */
#define CHAIN_MAX 65536

/*
 * What is unlinked is used again after a second (954 ticks). A walk that took half of it, because this
 * process did not run, may stand on something else by now, and is done again.
 */
#define WALK_TICKS 477

/* Naps of 10 ms that a full table is waited for: two seconds. */
#define GROWTH_NAPS 200

static enum sluice_bpf_which_map map_of(const struct sluice_bpf_conn_table *t,
					enum sluice_bpf_which_map ipv4,
					enum sluice_bpf_which_map ipv6)
{
	return t->family == SLUICE_IPV4 ? ipv4 : ipv6;
}

static size_t heads_size(const struct sluice_bpf_conn_table *t)
{
	return (size_t)(t->table->bucket_mask + 1) * sizeof(*t->heads);
}

int sluice_bpf_conn_table_open(struct sluice_bpf_conn_table *t, struct sluice_bpf_answerer *a,
			       uint8_t family, bool write, struct sluice_err *err)
{
	*t = (struct sluice_bpf_conn_table){
		.a = a,
		.family = family,
		.write = write,
		.size = family == SLUICE_IPV4 ? sizeof(struct sluice_bpf_conn4) :
						sizeof(struct sluice_bpf_conn6),
	};
	t->control = sluice_bpf_answer_memory(a, SLUICE_BPF_MAP_CONTROL, sizeof(*t->control), write,
					      err);
	if (!t->control)
		return -EPROTO;
	t->table = &t->control->table[family == SLUICE_IPV6];
	if (!write)
		return 0;
	t->heads = sluice_bpf_answer_memory(
		a, map_of(t, SLUICE_BPF_MAP_BUCKETS4, SLUICE_BPF_MAP_BUCKETS6), heads_size(t), true,
		err);
	if (t->heads)
		return 0;
	sluice_bpf_conn_table_close(t);
	return -EPROTO;
}

void sluice_bpf_conn_table_close(struct sluice_bpf_conn_table *t)
{
	for (size_t i = 0; i < SLUICE_BPF_SEGMENTS; i++)
		if (t->segments[i])
			munmap(t->segments[i], sluice_bpf_map_pages(SLUICE_BPF_SEGMENT * t->size));
	if (t->heads)
		munmap(t->heads, sluice_bpf_map_pages(heads_size(t)));
	if (t->control)
		munmap(t->control, sluice_bpf_map_pages(sizeof(*t->control)));
	*t = (struct sluice_bpf_conn_table){ 0 };
}

uint32_t sluice_bpf_conn_table_capacity(const struct sluice_bpf_conn_table *t)
{
	uint32_t n = __atomic_load_n(&t->table->capacity, __ATOMIC_ACQUIRE);

	return n < SLUICE_BPF_SEGMENTS * SLUICE_BPF_SEGMENT ?
		       n :
		       SLUICE_BPF_SEGMENTS * SLUICE_BPF_SEGMENT;
}

struct sluice_bpf_conn *sluice_bpf_conn_table_at(struct sluice_bpf_conn_table *t, uint32_t index,
						 struct sluice_err *err)
{
	uint32_t segment = index >> SLUICE_BPF_SEGMENT_BITS;
	int fd;

	if (segment >= SLUICE_BPF_SEGMENTS) {
		sluice_err_set(err, EPROTO, "connection %u is beyond all segments", index);
		return NULL;
	}
	if (!t->segments[segment]) {
		fd = sluice_bpf_answer_inner(
			t->a, map_of(t, SLUICE_BPF_MAP_CONNS4, SLUICE_BPF_MAP_CONNS6), segment,
			err);
		if (fd == -ENOENT)
			sluice_err_set(err, EPROTO, "segment %u of the connections is missing",
				       segment);
		if (fd < 0)
			return NULL;
		t->segments[segment] = sluice_bpf_map_memory(fd, SLUICE_BPF_SEGMENT * t->size,
							     t->write, "of connections", err);
		close(fd);
		if (!t->segments[segment])
			return NULL;
	}
	return (void *)((char *)t->segments[segment] +
			(index & (SLUICE_BPF_SEGMENT - 1)) * t->size);
}

void sluice_bpf_conn_table_tuples(const struct sluice_bpf_conn_table *t,
				  const struct sluice_bpf_conn *c, struct sluice_tuple tuple[2])
{
	memset(tuple, 0, 2 * sizeof(*tuple));
	for (int dir = 0; dir < 2; dir++) {
		struct sluice_tuple *to = &tuple[dir];

		to->family = t->family;
		if (t->family == SLUICE_IPV4) {
			const struct sluice_bpf_key4 *k =
				&((const struct sluice_bpf_conn4 *)c)->key[dir];

			to->src.w[0] = k->src;
			to->dst.w[0] = k->dst;
			to->sport = k->sport;
			to->dport = k->dport;
			to->proto = k->proto;
		} else {
			const struct sluice_bpf_key6 *k =
				&((const struct sluice_bpf_conn6 *)c)->key[dir];

			memcpy(&to->src, k->src, sizeof(to->src));
			memcpy(&to->dst, k->dst, sizeof(to->dst));
			to->sport = k->sport;
			to->dport = k->dport;
			to->proto = k->proto;
		}
	}
}

bool sluice_bpf_conn_table_kill(struct sluice_bpf_conn_table *t, struct sluice_bpf_conn *c)
{
	uint32_t bits = __atomic_load_n(&c->bits, __ATOMIC_RELAXED);

	do {
		if ((bits & (SLUICE_BPF_LIVE | SLUICE_BPF_DYING | SLUICE_BPF_LIMBO)) !=
		    SLUICE_BPF_LIVE)
			return false;
	} while (!__atomic_compare_exchange_n(&c->bits, &bits, bits | SLUICE_BPF_DYING, false,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	__atomic_fetch_sub(&t->table->alive, 1, __ATOMIC_RELAXED);
	return true;
}

/* Adding *********************************************************************************/

/* The key of one direction, behind the common part of an object. */
union key {
	struct sluice_bpf_key4 ipv4;
	struct sluice_bpf_key6 ipv6;
};

static size_t key_size(const struct sluice_bpf_conn_table *t)
{
	return t->family == SLUICE_IPV4 ? sizeof(struct sluice_bpf_key4) :
					  sizeof(struct sluice_bpf_key6);
}

static void *key_at(const struct sluice_bpf_conn_table *t, struct sluice_bpf_conn *c, uint32_t dir)
{
	return (char *)(c + 1) + dir * key_size(t);
}

static void fill_key(const struct sluice_tuple *tuple, union key *key)
{
	memset(key, 0, sizeof(*key));
	if (tuple->family == SLUICE_IPV4) {
		key->ipv4.src = tuple->src.w[0];
		key->ipv4.dst = tuple->dst.w[0];
		key->ipv4.sport = tuple->sport;
		key->ipv4.dport = tuple->dport;
		key->ipv4.proto = tuple->proto;
	} else {
		memcpy(key->ipv6.src, &tuple->src, sizeof(tuple->src));
		memcpy(key->ipv6.dst, &tuple->dst, sizeof(tuple->dst));
		key->ipv6.sport = tuple->sport;
		key->ipv6.dport = tuple->dport;
		key->ipv6.proto = tuple->proto;
	}
}

static uint32_t *head_of(const struct sluice_bpf_conn_table *t, const union key *key)
{
	uint32_t hash = t->family == SLUICE_IPV4 ?
				sluice_bpf_hash4(&key->ipv4, t->control->secret) :
				sluice_bpf_hash6(&key->ipv6, t->control->secret);

	return &t->heads[hash & t->table->bucket_mask];
}

/* Does a chain hold a living entry with this key? 0, -EEXIST, or another error with err set. */
static int search(struct sluice_bpf_conn_table *t, uint32_t ref, const union key *key,
		  struct sluice_err *err)
{
	for (unsigned int n = 0; ref; n++) {
		uint32_t dir = sluice_bpf_ref_dir(ref);
		struct sluice_bpf_conn *c =
			sluice_bpf_conn_table_at(t, sluice_bpf_ref_index(ref), err);

		if (!c)
			return -EPROTO;
		if (n == CHAIN_MAX)
			return sluice_err_set(err, EPROTO, "a chain of connections has no end");
		if (!(__atomic_load_n(&c->bits, __ATOMIC_ACQUIRE) & SLUICE_BPF_DYING) &&
		    !memcmp(key_at(t, c, dir), key, key_size(t)))
			return -EEXIST;
		ref = __atomic_load_n(&c->next[dir], __ATOMIC_ACQUIRE);
	}
	return 0;
}

/* Is the tuple free? *head: the chain's head that this was found to be so from. */
static int find_free(struct sluice_bpf_conn_table *t, const union key *key, uint32_t *head,
		     struct sluice_err *err)
{
	uint32_t begun;
	int ret;

	do {
		begun = sluice_bpf_answer_now();
		*head = __atomic_load_n(head_of(t, key), __ATOMIC_ACQUIRE);
		ret = search(t, *head, key, err);
	} while (sluice_bpf_answer_now() - begun > WALK_TICKS);
	return ret;
}

static int insert(struct sluice_bpf_conn_table *t, struct sluice_bpf_conn *c, uint32_t index,
		  uint32_t dir, const union key *key, struct sluice_err *err)
{
	uint32_t head;
	int ret;

	do {
		ret = find_free(t, key, &head, err);
		if (ret)
			return ret;
		__atomic_store_n(&c->next[dir], head, __ATOMIC_RELAXED);
	} while (!__atomic_compare_exchange_n(head_of(t, key), &head, sluice_bpf_ref(index, dir),
					      false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	return 0;
}

/*
 * Waits while the table has next to nothing left and may still grow: sluiced adds to it ten times a second, a
 * quarter each time, and before it has, the sweeper would take what is cheap of what is being put back. Whether it did
 * is for pop() to find out.
 */
static void wait_for_growth(const struct sluice_bpf_conn_table *t)
{
	const struct timespec nap = { .tv_nsec = 10000000 };

	for (int naps = 0; naps < GROWTH_NAPS; naps++) {
		uint32_t capacity = __atomic_load_n(&t->table->capacity, __ATOMIC_ACQUIRE);
		uint32_t used = __atomic_load_n(&t->table->used, __ATOMIC_RELAXED);

		if (used + capacity / 32 < capacity ||
		    capacity >= __atomic_load_n(&t->table->limit, __ATOMIC_RELAXED))
			return;
		nanosleep(&nap, NULL);
	}
}

/* Takes an object from the free list. */
static struct sluice_bpf_conn *pop(struct sluice_bpf_conn_table *t, uint32_t *index,
				   struct sluice_err *err)
{
	__u64 head = __atomic_load_n(&t->table->free, __ATOMIC_ACQUIRE), next;
	struct sluice_bpf_conn *c;

	do {
		if (!(uint32_t)head) {
			sluice_err_set(
				err, ENOSPC,
				"the table is full, and sluiced, if it runs, does not add to it");
			return NULL;
		}
		*index = sluice_bpf_ref_index((uint32_t)head);
		c = sluice_bpf_conn_table_at(t, *index, err);
		if (!c)
			return NULL;
		next = ((head >> 32) + 1) << 32 | __atomic_load_n(&c->next[0], __ATOMIC_RELAXED);
	} while (!__atomic_compare_exchange_n(&t->table->free, &head, next, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	__atomic_fetch_add(&t->table->used, 1, __ATOMIC_RELAXED);
	return c;
}

int sluice_bpf_conn_table_add(struct sluice_bpf_conn_table *t, const struct sluice_bpf_conn *in,
			      const struct sluice_tuple tuple[2], struct sluice_err *err)
{
	struct sluice_bpf_conn *c, fresh;
	union key key[2];
	uint32_t index, head;
	int ret = 0;

	/* First of all without an object: one that is taken in vain is missing for a second. */
	for (int dir = 0; dir < 2 && !ret; dir++) {
		fill_key(&tuple[dir], &key[dir]);
		ret = find_free(t, &key[dir], &head, err);
	}
	/* A packet to itself, from the port it goes to: both entries are one. */
	if (!ret && !memcmp(&key[0], &key[1], sizeof(key[0])))
		ret = -EEXIST;
	if (ret)
		return ret;
	if (__atomic_load_n(&t->table->used, __ATOMIC_RELAXED) >= t->table->limit)
		return sluice_err_set(err, ENOSPC, "the memory budget is used up");
	wait_for_growth(t);
	c = pop(t, &index, err);
	if (!c)
		return sluice_err_is_set(err) ? -err->code : -ENOSPC;

	/*
	 * bits last: who reads all connections looks at them first. And not born before now as long as it is being
	 * inserted: should a packet kill it already, the sweeper waits for its maker, a second from its birth.
	 */
	fresh = *in;
	fresh.bits = fresh.next[0] = fresh.next[1] = 0;
	fresh.last_seen = fresh.created = sluice_bpf_answer_now();
	*c = fresh;
	for (uint32_t dir = 0; dir < 2; dir++)
		memcpy(key_at(t, c, dir), &key[dir], key_size(t));
	__atomic_fetch_add(&t->table->alive, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&c->bits, in->bits | SLUICE_BPF_LIVE, __ATOMIC_RELEASE);
	/*
	 * The reply entry goes in first: while the original one is not there, no packet of the flow's own can
	 * have found the connection. One that somebody else made meanwhile: the sweeper takes ours down.
	 */
	ret = insert(t, c, index, SLUICE_DIR_REPLY, &key[SLUICE_DIR_REPLY], err);
	if (!ret)
		ret = insert(t, c, index, SLUICE_DIR_ORIGINAL, &key[SLUICE_DIR_ORIGINAL], err);
	if (ret)
		sluice_bpf_conn_table_kill(t, c);
	else
		__atomic_store_n(&c->created, in->created, __ATOMIC_RELEASE);
	return ret;
}
