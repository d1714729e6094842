// SPDX-License-Identifier: GPL-2.0-only
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "service.h"
#include "uapi/sluice.h"

/*
 * An address that some service has. Kept apart from the services, so that "is this one of ours?"
 * does not walk all ports of an address. One that died stays until the last of its services' versions
 * is buried; if the address comes back before that, it is another one.
 */
struct sluice_vip {
	struct sluice_link link;
	struct sluice_addr addr;
	u8 family;
	u32 born; /* SLUICE_ALIVE until it is first committed; under sn->mutex, read under RCU */
	u32 died; /* likewise */
	u32 alive; /* services that the running transaction would leave it with; under sn->mutex */
	u32 users; /* service versions; likewise */
	struct list_head touched; /* in sn->vips_touched, or empty; likewise */
	struct rcu_head rcu;
};

static u32 vip_hash(const struct sluice_hash *h, const struct sluice_addr *addr, u8 family)
{
	if (family == SLUICE_IPV4)
		return jhash_1word((__force u32)addr->w[0], h->seed);
	return jhash2((__force const u32 *)addr->w, 4, h->seed);
}

static bool vip_is(const struct sluice_vip *vip, u32 hash, const struct sluice_addr *addr,
		   u8 family)
{
	return vip->link.hash == hash && vip->family == family &&
	       sluice_addr_equal(&vip->addr, addr);
}

bool sluice_service_addr_known(struct sluice_net *sn, u32 revision, const struct sluice_addr *addr,
			       u8 family)
{
	const struct sluice_hash *h = &sn->vips;
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	u32 hash = vip_hash(h, addr, family);
	struct sluice_link *link;

	sluice_hash_for_each(link, h, b, hash) {
		const struct sluice_vip *vip = container_of(link, struct sluice_vip, link);

		if (vip_is(vip, hash, addr, family) && READ_ONCE(vip->born) <= revision &&
		    revision < READ_ONCE(vip->died))
			return true;
	}
	return false;
}

/* The one that is not dead. Under sn->mutex. */
static struct sluice_vip *vip_find(const struct sluice_hash *h, const struct sluice_addr *addr,
				   u8 family, u32 hash)
{
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	struct sluice_link *link;

	sluice_hash_for_each(link, h, b, hash) {
		struct sluice_vip *vip = container_of(link, struct sluice_vip, link);

		if (vip_is(vip, hash, addr, family) && vip->died == SLUICE_ALIVE)
			return vip;
	}
	return NULL;
}

static struct sluice_vip *vip_get(struct sluice_net *sn, const struct sluice_addr *addr, u8 family)
{
	u32 hash = vip_hash(&sn->vips, addr, family);
	struct sluice_vip *vip = vip_find(&sn->vips, addr, family, hash);

	if (!vip) {
		vip = kzalloc(sizeof(*vip), GFP_KERNEL);
		if (!vip)
			return NULL;
		vip->link.hash = hash;
		vip->addr = *addr;
		vip->family = family;
		vip->born = SLUICE_ALIVE;
		vip->died = SLUICE_ALIVE;
		INIT_LIST_HEAD(&vip->touched);
		sluice_hash_insert(&sn->vips, &vip->link);
	}
	vip->users++;
	return vip;
}

static void vip_put(struct sluice_net *sn, struct sluice_vip *vip)
{
	if (--vip->users)
		return;
	list_del(&vip->touched);
	sluice_hash_remove(&sn->vips, &vip->link);
	kfree_rcu(vip, rcu);
}

void sluice_services_seal(struct sluice_net *sn)
{
	struct sluice_vip *vip;

	list_for_each_entry(vip, &sn->vips_touched, touched) {
		if (vip->alive && vip->born == SLUICE_ALIVE)
			WRITE_ONCE(vip->born, sn->revision + 1);
		else if (!vip->alive && vip->born != SLUICE_ALIVE)
			WRITE_ONCE(vip->died, sn->revision + 1);
	}
}

/* A vip that died has no service version but those that will be buried, and goes with them. */
void sluice_services_settle(struct sluice_net *sn)
{
	struct sluice_vip *vip, *next;

	WRITE_ONCE(sn->backends.committed, sn->backends.alive);

	list_for_each_entry_safe(vip, next, &sn->vips_touched, touched)
		list_del_init(&vip->touched);
}

/* Takes an id, with one user. Negative errno in *err on failure. */
static u32 backend_alloc(struct sluice_net *sn, int *err)
{
	struct sluice_backends *bs = &sn->backends;
	struct sluice_backend *b;
	u32 id;

	if (bs->free) {
		id = bs->free - 1;
		b = sluice_backend_get(sn, id);
		bs->free = b->next_free;
	} else {
		u32 segment = bs->used / SLUICE_BACKENDS_PER_SEGMENT;

		if (segment >= SLUICE_BACKEND_SEGMENTS) {
			*err = -ENOSPC;
			return 0;
		}
		if (!bs->segments[segment]) {
			bs->segments[segment] =
				kvcalloc(SLUICE_BACKENDS_PER_SEGMENT, sizeof(*b), GFP_KERNEL);
			if (!bs->segments[segment]) {
				*err = -ENOMEM;
				return 0;
			}
		}
		id = bs->used++;
		b = sluice_backend_get(sn, id);
		b->gen = 1;
	}
	b->users = 1;
	bs->count++;
	return id;
}

/*
 * The last version that named it is gone, and so is every packet that could have found that version.
 * From here on its connections find themselves stale, and the id may mean something else.
 */
static void backend_put(struct sluice_net *sn, u32 id)
{
	struct sluice_backend *b = sluice_backend_get(sn, id);

	if (--b->users)
		return;
	WRITE_ONCE(b->gen, b->gen + 1);
	b->next_free = sn->backends.free;
	sn->backends.free = id + 1;
	sn->backends.count--;
}

struct target {
	struct sluice_addr addr;
	__be16 port;
};

static int target_compare(const void *a, const void *b)
{
	const struct target *x = a, *y = b;
	int diff = memcmp(&x->addr, &y->addr, sizeof(x->addr));

	return diff ? diff : memcmp(&x->port, &y->port, sizeof(x->port));
}

/* What the message says, sorted: so are all lists of backends, which makes comparing them a merge. */
static struct target *read_targets(const struct sluice_service_args *a, const char **why)
{
	struct target *t;
	u32 i;

	t = kvcalloc(a->n_backends, sizeof(*t), GFP_KERNEL);
	if (!t)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < a->n_backends; i++) {
		struct sluice_backend6 b6 = {};
		struct sluice_backend4 b4;

		if (a->key.family == SLUICE_IPV4) {
			memcpy(&b4, a->backends + i * sizeof(b4), sizeof(b4));
			b6.addr[0] = b4.addr;
			b6.port = b4.port;
			b6.flags = b4.flags;
		} else {
			memcpy(&b6, a->backends + i * sizeof(b6), sizeof(b6));
		}
		if (b6.flags || !b6.port) {
			*why = b6.flags ? "a backend has flags, and none are defined" :
					  "a backend has port 0";
			goto invalid;
		}
		memcpy(t[i].addr.w, b6.addr, sizeof(t[i].addr.w));
		t[i].port = b6.port;
	}
	sort(t, a->n_backends, sizeof(*t), target_compare, NULL);
	for (i = 1; i < a->n_backends; i++) {
		if (target_compare(&t[i - 1], &t[i]))
			continue;
		*why = "a backend is given twice";
		goto invalid;
	}
	return t;

invalid:
	kvfree(t);
	return ERR_PTR(-EINVAL);
}

static int compare_backend(struct sluice_net *sn, const struct sluice_service *s, u32 i,
			   const struct target *t)
{
	const struct sluice_backend *b = sluice_backend_get(sn, s->backend_ids[i]);
	struct target mine = { .addr = b->addr, .port = b->port };

	return target_compare(&mine, t);
}

static bool service_same(struct sluice_net *sn, const struct sluice_node *n,
			 const struct sluice_service_args *a, const struct target *t)
{
	const struct sluice_service *s;
	u32 i;

	if (!n)
		return false;
	s = container_of(n, struct sluice_service, node);
	if (s->flags != a->flags || s->n_backends != a->n_backends ||
	    strlen(s->name) != a->name_len || memcmp(s->name, a->name, a->name_len))
		return false;
	for (i = 0; i < a->n_backends; i++)
		if (compare_backend(sn, s, i, &t[i]))
			return false;
	return true;
}

static void find_versions(struct sluice_net *sn, const struct sluice_service_key *key, u32 hash,
			  struct sluice_versions *v)
{
	const struct sluice_hash *h = &sn->services.hash;
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	struct sluice_link *link;

	memset(v, 0, sizeof(*v));
	sluice_hash_for_each(link, h, b, hash) {
		struct sluice_service *s = container_of(link, struct sluice_service, node.link);

		if (link->hash == hash && sluice_service_key_equal(&s->key, key))
			sluice_versions_add(sn, v, &s->node);
	}
}

/* Gives s its backends: those that "old" has are the same ones, the others are new. */
static int take_backends(struct sluice_net *sn, struct sluice_service *s,
			 const struct sluice_service *old, const struct target *t, u32 n)
{
	int err = 0, diff;
	u32 i, j = 0;

	for (i = 0; i < n; i++) {
		struct sluice_backend *b;
		u32 id;

		diff = -1;
		while (old && j < old->n_backends) {
			diff = compare_backend(sn, old, j, &t[i]);
			if (diff >= 0)
				break;
			j++;
		}
		if (!diff) {
			id = old->backend_ids[j];
			sluice_backend_get(sn, id)->users++;
		} else {
			id = backend_alloc(sn, &err);
			if (err)
				goto undo;
			b = sluice_backend_get(sn, id);
			b->addr = t[i].addr;
			b->port = t[i].port;
			b->family = s->key.family;
		}
		s->backend_ids[i] = id;
	}
	s->n_backends = n;
	return 0;

undo:
	while (i--)
		backend_put(sn, s->backend_ids[i]);
	return err;
}

int sluice_service_set(struct sluice_net *sn, const struct sluice_service_args *a, const char **why)
{
	u32 hash = sluice_service_hash(&sn->services.hash, &a->key);
	u32 bytes = a->n_backends * (a->key.family == SLUICE_IPV4 ? sizeof(struct sluice_backend4) :
								    sizeof(struct sluice_backend6));
	const struct sluice_service *old = NULL;
	struct sluice_versions v;
	struct sluice_service *s;
	struct target *targets;
	int err = 0;

	if (bytes > SLUICE_MAX_BACKENDS_BYTES) {
		*why = "more backends than one message of a dump can hold";
		return -E2BIG;
	}
	targets = read_targets(a, why);
	if (IS_ERR(targets))
		return PTR_ERR(targets);
	find_versions(sn, &a->key, hash, &v);
	if (service_same(sn, v.pending, a, targets))
		goto free_targets;
	if (service_same(sn, v.committed, a, targets)) {
		sluice_table_keep(sn, &sn->services, &v);
		goto free_targets;
	}
	s = kvzalloc(sizeof(*s) + a->n_backends * sizeof(u32) + a->name_len + 1, GFP_KERNEL);
	if (!s) {
		err = -ENOMEM;
		goto free_targets;
	}
	s->node.link.hash = hash;
	s->key = a->key;
	s->flags = a->flags;
	s->backend_ids = (u32 *)(s + 1);
	s->name = memcpy(s->backend_ids + a->n_backends, a->name, a->name_len);
	s->vip = vip_get(sn, &a->key.addr, a->key.family);
	if (!s->vip) {
		err = -ENOMEM;
		goto free_service;
	}
	if (v.committed)
		old = container_of(v.committed, struct sluice_service, node);
	err = take_backends(sn, s, old, targets, a->n_backends);
	if (err) {
		if (err == -ENOSPC)
			*why = "more backends than there are ids";
		goto put_vip;
	}
	sn->services.largest = max(sn->services.largest, bytes + a->name_len);
	sluice_table_put(sn, &sn->services, &v, &s->node);
	kvfree(targets);
	return 0;

put_vip:
	vip_put(sn, s->vip);
free_service:
	kvfree(s);
free_targets:
	kvfree(targets);
	return err;
}

int sluice_service_del(struct sluice_net *sn, const struct sluice_service_key *key)
{
	struct sluice_versions v;

	find_versions(sn, key, sluice_service_hash(&sn->services.hash, key), &v);
	if (!sluice_versions_latest(&v))
		return -ENOENT;
	sluice_table_del(sn, &sn->services, &v);
	return 0;
}

static void service_turn(struct sluice_net *sn, struct sluice_node *n, bool alive)
{
	const struct sluice_service *s = container_of(n, struct sluice_service, node);
	struct sluice_vip *vip = s->vip;

	sn->backends.alive += alive ? s->n_backends : -s->n_backends;
	vip->alive += alive ? 1 : -1;
	if (list_empty(&vip->touched))
		list_add(&vip->touched, &sn->vips_touched);
}

static void service_release(struct sluice_net *sn, struct sluice_node *n)
{
	struct sluice_service *s = container_of(n, struct sluice_service, node);
	u32 i;

	for (i = 0; i < s->n_backends; i++)
		backend_put(sn, s->backend_ids[i]);
	vip_put(sn, s->vip);
	kvfree_rcu(s, node.rcu);
}

static const struct sluice_table_ops service_ops = {
	.turn = service_turn,
	.release = service_release,
};

int sluice_services_init(struct sluice_net *sn)
{
	int err;

	INIT_LIST_HEAD(&sn->vips_touched);
	sn->backends.segments =
		kvcalloc(SLUICE_BACKEND_SEGMENTS, sizeof(*sn->backends.segments), GFP_KERNEL);
	if (!sn->backends.segments)
		return -ENOMEM;
	err = sluice_hash_init(&sn->vips, &sn->mutex);
	if (err)
		goto free_segments;
	err = sluice_table_init(sn, &sn->services, &service_ops);
	if (err)
		goto exit_vips;
	return 0;

exit_vips:
	sluice_hash_exit(&sn->vips);
free_segments:
	kvfree(sn->backends.segments);
	sn->backends.segments = NULL;
	return err;
}

void sluice_services_exit(struct sluice_net *sn)
{
	u32 i;

	sluice_table_exit(sn, &sn->services);
	sluice_hash_exit(&sn->vips);
	for (i = 0; i < SLUICE_BACKEND_SEGMENTS; i++)
		kvfree(sn->backends.segments[i]);
	kvfree(sn->backends.segments);
	memset(&sn->backends, 0, sizeof(sn->backends));
}
