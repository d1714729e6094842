/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Services and their backends.
 *
 * A service version names its backends by id. A backend lives in a segmented array, so that a
 * connection can ask "is my backend still what it was?" by two loads: it keeps the backend's id and
 * generation. Replacing a service keeps the id and the generation of each (address, port) that was
 * there before; one that is not there any more gets its next generation when the commit has been
 * seen by everybody, as its last version is buried, and its id is free from then on.
 *
 * Why after the grace period: until then, a packet that works at the older revision may just be making
 * a connection to that backend. It stores the old generation, as it must: it is found to be stale.
 */
#ifndef SLUICE_KMOD_SERVICE_H
#define SLUICE_KMOD_SERVICE_H

#include "core/service.h"
#include "hash.h"
#include "net.h"
#include "table.h"

/* addr, port and family are written before a service that names it is visible. */
struct sluice_backend {
	struct sluice_addr addr;
	__be16 port;
	u8 family;
	u8 pad;
	u32 gen; /* under sn->mutex; read by any CPU, for each packet of its connections */
	u32 users; /* service versions that name it; under sn->mutex */
	u32 next_free; /* id + 1 of the next free one, 0: none; under sn->mutex */
};

struct sluice_vip;

struct sluice_service {
	struct sluice_node node;
	struct sluice_vip *vip; /* its address, shared by all services that have it */
	struct sluice_service_key key;
	u32 flags;
	u32 n_backends;
	u32 *backend_ids; /* in order of (address, port) */
	const char *name;
};

static inline u32 sluice_service_hash(const struct sluice_hash *h,
				      const struct sluice_service_key *key)
{
	u32 last = (__force u32)key->port << 16 | (u32)key->proto << 8 | key->family;

	return sluice_hash_addr(&key->addr, key->family, last, h->seed);
}

static inline bool sluice_service_key_equal(const struct sluice_service_key *a,
					    const struct sluice_service_key *b)
{
	return sluice_addr_equal(&a->addr, &b->addr) && a->port == b->port &&
	       a->proto == b->proto && a->family == b->family;
}

/* Under RCU. */
static inline struct sluice_service *sluice_service_find(struct sluice_net *sn, u32 revision,
							 const struct sluice_service_key *key)
{
	const struct sluice_hash *h = &sn->services.hash;
	struct sluice_buckets *b = sluice_hash_buckets(h);
	u32 hash = sluice_service_hash(h, key);
	struct sluice_link *link;

	sluice_hash_for_each(link, h, b, hash) {
		struct sluice_service *s = container_of(link, struct sluice_service, node.link);

		if (link->hash == hash && sluice_service_key_equal(&s->key, key) &&
		    sluice_node_visible(&s->node, revision))
			return s;
	}
	return NULL;
}

/* Is this the address of some service? Under RCU. */
bool sluice_service_addr_known(struct sluice_net *sn, u32 revision, const struct sluice_addr *addr,
			       u8 family);

/*
 * id: of a service's backend_ids, now or ever: a segment, once there, stays until the namespace goes.
 * Its address may be read only by whoever found the id in a visible service, in that RCU section.
 */
static inline struct sluice_backend *sluice_backend_get(struct sluice_net *sn, u32 id)
{
	return &sn->backends.segments[id / SLUICE_BACKENDS_PER_SEGMENT]
				     [id % SLUICE_BACKENDS_PER_SEGMENT];
}

/* What a message says about a service. */
struct sluice_service_args {
	struct sluice_service_key key;
	u32 flags;
	u32 n_backends;
	const void *backends; /* struct sluice_backend4 or 6, by key.family; any alignment */
	const char *name; /* name_len bytes, without NUL */
	u32 name_len;
};

/* Inside a transaction, under sn->mutex. -EINVAL, -E2BIG, -ENOSPC with words in *why; -ENOMEM. */
int sluice_service_set(struct sluice_net *sn, const struct sluice_service_args *args,
		       const char **why);
/* -ENOENT */
int sluice_service_del(struct sluice_net *sn, const struct sluice_service_key *key);

/* Commit, before the new revision is published: addresses that come or go with it. */
void sluice_services_seal(struct sluice_net *sn);
/* ... and after; abort: forget what came. */
void sluice_services_settle(struct sluice_net *sn);

int sluice_services_init(struct sluice_net *sn);
void sluice_services_exit(struct sluice_net *sn);

#endif
