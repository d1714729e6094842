// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/dataplane_bpf.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl/lib/address.h"
#include "ctl/lib/alloc.h"
#include "ctl/lib/bpf_conns.h"
#include "ctl/lib/bpf_versions.h"
#include "ctl/lib/dataplane_objects.h"
#include "ctl/lib/interfaces.h"
#include "uapi/sluice.h"

/* Numbers that are given out: of sets of backends, and of places of rulesets. 0 is none of them. */
struct numbers {
	uint32_t *free;
	size_t n_free, cap_free;
	uint32_t next; /* never given out yet */
	uint32_t limit;
};

/* A list of u32. */
struct list {
	uint32_t *v;
	size_t n, cap;
};

struct bpf_dataplane {
	struct sluice_dp_objects objects; /* first: it begins with the data plane */
	struct sluice_bpf_options options;
	struct sluice_bpf bpf;
	bool is_open;
	bool stale; /* the maps are not what we know: something failed half way */
	bool unsettled; /* a commit has been made since the last grace period */

	struct sluice_bpf_versions services; /* struct sluice_service_key -> set, n */
	struct sluice_bpf_versions vips;
	struct sluice_bpf_versions addrs;
	struct sluice_bpf_versions hosts;
	struct sluice_bpf_versions prefixes[2];
	struct sluice_bpf_versions endpoints; /* ifindex -> flags, slots */

	struct sluice_map vip_users; /* address -> number of services, as of the last commit */
	unsigned int lengths[2][129]; /* prefixes of that length, likewise; without hosts */
	struct sluice_map slots; /* id of a ruleset -> its place, likewise */
	size_t n_backends; /* elements of map "backends" */
	size_t n_refs; /* elements of map "backend_refs" */
	struct numbers set_numbers;
	struct numbers slot_numbers;
	struct list dead_sets; /* number, count: to be taken out of map "backends" */
	struct list dead_slots;
	int no_ruleset; /* stands in places that are free */
	struct list
		cut; /* interfaces of endpoints that went: their connections are being taken down */
	struct list cut_next; /* likewise, after that walk */
	struct sluice_bpf_walk cut_walk;
	struct list quick; /* interfaces that were attached in haste */

	/* Of the transaction that is being committed. */
	struct sluice_map next_slots; /* id -> place: rulesets that are new, or have changed */
	struct list
		attached; /* interfaces that were, and enum sluice_bpf_role that they had before */
	struct list gone_sets, gone_slots; /* become dead */
	struct list gone_pods; /* interfaces of endpoints that go */
	bool policy; /* it changes policy */
	bool backend_gone; /* it takes a backend away */
};

static struct bpf_dataplane *self_of(const struct sluice_dataplane *dp)
{
	return (struct bpf_dataplane *)dp;
}

static struct sluice_bpf_map *map_of(struct bpf_dataplane *self, enum sluice_bpf_which_map id)
{
	return &self->bpf.maps[id];
}

static void list_add(struct list *l, uint32_t x)
{
	sluice_grow(l->v, l->n, l->cap);
	l->v[l->n++] = x;
}

/* b's elements to a's end; b is empty then. */
static void list_move(struct list *a, struct list *b)
{
	for (size_t i = 0; i < b->n; i++)
		list_add(a, b->v[i]);
	b->n = 0;
}

static void list_clear(struct list *l)
{
	free(l->v);
	*l = (struct list){ 0 };
}

/* 0: all are taken. */
static uint32_t number_get(struct numbers *numbers)
{
	if (numbers->n_free)
		return numbers->free[--numbers->n_free];
	return numbers->next < numbers->limit ? numbers->next++ : 0;
}

static void number_put(struct numbers *numbers, uint32_t x)
{
	sluice_grow(numbers->free, numbers->n_free, numbers->cap_free);
	numbers->free[numbers->n_free++] = x;
}

/* All are free but those in used. */
static void numbers_init(struct numbers *numbers, uint32_t limit, const struct list *used)
{
	uint32_t top = 0;
	bool *is_used;

	free(numbers->free);
	*numbers = (struct numbers){ .limit = limit };
	for (size_t i = 0; i < used->n; i++)
		if (used->v[i] > top)
			top = used->v[i];
	is_used = sluice_zalloc(top + 1);
	for (size_t i = 0; i < used->n; i++)
		is_used[used->v[i]] = true;
	for (uint32_t x = top; x > 0; x--)
		if (!is_used[x])
			number_put(numbers, x);
	numbers->next = top + 1;
	free(is_used);
}

/* Keys ********************************************************************************/

static void addr_key(const struct sluice_addr *addr, uint8_t family,
		     struct sluice_bpf_addr_key *key)
{
	*key = (struct sluice_bpf_addr_key){ *addr, family };
}

static bool is_host(const struct sluice_dp_peer *p)
{
	return p->plen == sluice_family_bits(p->family);
}

/* Of map prefixes4 or 6. */
union prefix_key {
	struct sluice_bpf_prefix4 v4;
	struct sluice_bpf_prefix6 v6;
};

static void trie_key(const struct sluice_dp_peer *p, union prefix_key *key)
{
	if (p->family == SLUICE_IPV4)
		key->v4 = (struct sluice_bpf_prefix4){ p->plen, p->addr.w[0] };
	else
		key->v6 = (struct sluice_bpf_prefix6){
			p->plen, { p->addr.w[0], p->addr.w[1], p->addr.w[2], p->addr.w[3] }
		};
}

static void ref_of(const struct sluice_service_key *service, const struct sluice_dp_backend *b,
		   struct sluice_bpf_backend_ref *ref)
{
	*ref = (struct sluice_bpf_backend_ref){ *service, b->addr, sluice_htons(b->port), 0 };
}

/* An array of elements of one size, on its way into a map. */
struct batch {
	const struct sluice_bpf_map *map;
	char *keys, *values;
	size_t n, cap;
};

static void *batch_add(struct batch *b, const void *key)
{
	void *value;

	if (b->n == b->cap) {
		b->cap += b->cap / 2 + 64;
		b->keys = sluice_realloc(b->keys, b->cap, b->map->key_size);
		b->values = sluice_realloc(b->values, b->cap, b->map->value_size);
	}
	memcpy(b->keys + b->n * b->map->key_size, key, b->map->key_size);
	value = b->values + b->n++ * b->map->value_size;
	memset(value, 0, b->map->value_size);
	return value;
}

static int batch_write(struct batch *b, struct sluice_err *err)
{
	int ret = sluice_bpf_map_write(b->map, b->keys, b->values, b->n, 0, err);

	b->n = 0;
	return ret;
}

static int batch_erase(struct batch *b, struct sluice_err *err)
{
	int ret = sluice_bpf_map_erase(b->map, b->keys, b->n, err);

	b->n = 0;
	return ret;
}

static void batch_clear(struct batch *b)
{
	free(b->keys);
	free(b->values);
	b->keys = b->values = NULL;
	b->n = b->cap = 0;
}

/* Names for people ********************************************************************/

/* Elements that are collected before they are written: 800 bytes each, at most. */
#define INFO_BATCH 1024

struct infos {
	struct batch batch[SLUICE_DP_KINDS];
};

static enum sluice_bpf_which_map info_map(enum sluice_dp_kind kind)
{
	static const enum sluice_bpf_which_map ids[SLUICE_DP_KINDS] = {
		[SLUICE_DP_SERVICE] = SLUICE_BPF_MAP_SERVICE_INFO,
		[SLUICE_DP_PEER] = SLUICE_BPF_MAP_PEER_INFO,
		[SLUICE_DP_RULE] = SLUICE_BPF_MAP_RULE_INFO,
		[SLUICE_DP_RULESET] = SLUICE_BPF_MAP_RULESET_INFO,
		[SLUICE_DP_ENDPOINT] = SLUICE_BPF_MAP_ENDPOINT_INFO,
		[SLUICE_DP_UPLINK] = SLUICE_BPF_MAP_UPLINKS,
	};

	return ids[kind];
}

/* The key of an object in the map of its names. */
static const void *info_key(const struct sluice_dp_object *o, struct sluice_bpf_peer_key *peer)
{
	if (o->kind != SLUICE_DP_PEER)
		return o->key;
	*peer = (struct sluice_bpf_peer_key){ o->peer.addr, o->peer.plen, o->peer.family, 0 };
	return peer;
}

static void put_text(char *to, size_t size, const char *text)
{
	snprintf(to, size, "%s", text);
}

static void fill_info(struct bpf_dataplane *self, const struct sluice_dp_object *o, void *value)
{
	struct sluice_bpf_service_info *service = value;
	struct sluice_bpf_peer_info *peer = value;
	struct sluice_bpf_rule_info *rule = value;
	struct sluice_bpf_ruleset_info *ruleset = value;
	struct sluice_bpf_endpoint_info *endpoint = value;

	switch (o->kind) {
	case SLUICE_DP_SERVICE:
		put_text(service->name, sizeof(service->name), o->service.name);
		service->revision = o->revision;
		break;
	case SLUICE_DP_PEER:
		put_text(peer->name, sizeof(peer->name), o->peer.name);
		peer->class = o->peer.class;
		peer->revision = o->revision;
		break;
	case SLUICE_DP_RULE:
		put_text(rule->policy, sizeof(rule->policy), o->rule.policy);
		put_text(rule->rule, sizeof(rule->rule), o->rule.rule);
		rule->revision = o->revision;
		break;
	case SLUICE_DP_RULESET:
		ruleset->slot = (uintptr_t)sluice_map_get(&self->slots, o->key, o->key_len);
		ruleset->size = o->ruleset.blob->size;
		ruleset->revision = o->revision;
		break;
	case SLUICE_DP_ENDPOINT:
		put_text(endpoint->name, sizeof(endpoint->name), o->endpoint.name);
		put_text(endpoint->container, sizeof(endpoint->container), o->endpoint.container);
		endpoint->n_addrs = o->endpoint.n_addrs;
		for (uint32_t i = 0; i < o->endpoint.n_addrs; i++)
			addr_key(&o->endpoint.addrs[i].addr, o->endpoint.addrs[i].family,
				 &endpoint->addrs[i]);
		endpoint->ingress = o->endpoint.ingress;
		endpoint->egress = o->endpoint.egress;
		endpoint->revision = o->revision;
		break;
	case SLUICE_DP_UPLINK: /* their map is no more than that */
		*(uint32_t *)value = 1;
		break;
	case SLUICE_DP_KINDS:
		break;
	}
}

/* What the changes were, which have been applied: objects that went are told by their keys. */
struct gone {
	enum sluice_dp_kind kind;
	union {
		unsigned char key[SLUICE_DP_KEY];
		struct sluice_bpf_peer_key peer;
	};
};

struct gone_list {
	struct gone *v;
	size_t n, cap;
};

static void remember_gone(struct gone_list *list, const struct sluice_dp_object *o)
{
	struct sluice_bpf_peer_key peer;
	struct gone *g;

	sluice_grow(list->v, list->n, list->cap);
	g = &list->v[list->n++];
	*g = (struct gone){ .kind = o->kind };
	if (o->kind == SLUICE_DP_PEER)
		memcpy(&g->peer, info_key(o, &peer), sizeof(g->peer));
	else
		memcpy(g->key, o->key, o->key_len);
}

static int write_infos(struct bpf_dataplane *self, struct sluice_dp_object **written, size_t n,
		       const struct gone_list *gone, struct sluice_err *err)
{
	struct batch batches[SLUICE_DP_KINDS] = { 0 };
	struct sluice_bpf_peer_key peer;
	int ret = 0;

	for (int kind = 0; kind < SLUICE_DP_KINDS; kind++)
		batches[kind].map = map_of(self, info_map(kind));
	for (size_t i = 0; i < gone->n; i++) {
		const struct gone *g = &gone->v[i];

		batch_add(&batches[g->kind],
			  g->kind == SLUICE_DP_PEER ? (const void *)&g->peer : g->key);
	}
	for (int kind = 0; kind < SLUICE_DP_KINDS && !ret; kind++)
		ret = batch_erase(&batches[kind], err);
	for (size_t i = 0; i < n && !ret; i++) {
		struct batch *b = &batches[written[i]->kind];

		fill_info(self, written[i], batch_add(b, info_key(written[i], &peer)));
		if (b->n == INFO_BATCH)
			ret = batch_write(b, err);
	}
	for (int kind = 0; kind < SLUICE_DP_KINDS && !ret; kind++)
		ret = batch_write(&batches[kind], err);
	for (int kind = 0; kind < SLUICE_DP_KINDS; kind++)
		batch_clear(&batches[kind]);
	return ret;
}

/* Rulesets ****************************************************************************/

/* Pieces of a blob: elements of its map. */
static uint32_t pieces(uint32_t size)
{
	return (size + SLUICE_BLOB_PIECE - 1) / SLUICE_BLOB_PIECE;
}

/* A map of a ruleset's shape; its file descriptor is -1 after an error. */
static struct sluice_bpf_map new_map(uint32_t n)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	struct sluice_bpf_map map = { .name = "of a ruleset",
				      .key_size = sizeof(uint32_t),
				      .value_size = SLUICE_BLOB_PIECE,
				      .max_entries = n };

	map.fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sluice_ruleset", map.key_size, map.value_size,
				n, &opts);
	return map;
}

/* A map that holds the blob; negative with err set. */
static int new_ruleset(const struct sluice_ruleset *blob, struct sluice_err *err)
{
	uint32_t n = pieces(blob->size);
	uint32_t *keys = sluice_realloc(NULL, n, sizeof(*keys));
	char *values = sluice_zalloc((size_t)n * SLUICE_BLOB_PIECE);
	struct sluice_bpf_map map = new_map(n);
	int ret = 0;

	for (uint32_t i = 0; i < n; i++)
		keys[i] = i;
	memcpy(values, blob, blob->size);
	if (map.fd < 0)
		ret = sluice_err_errno(err, errno, "a map of %u bytes", blob->size);
	else
		ret = sluice_bpf_map_write(&map, keys, values, n, 0, err);
	free(keys);
	free(values);
	if (!ret)
		return map.fd;
	sluice_bpf_map_close(&map);
	return ret;
}

/* The blob in a place, to be freed; NULL: there is none that is whole. */
static struct sluice_ruleset *read_ruleset(struct bpf_dataplane *self, uint32_t slot, uint32_t size)
{
	uint32_t n = pieces(size), len = sizeof(struct bpf_map_info), next, *keys;
	struct sluice_ruleset *blob = NULL;
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	struct bpf_map_info info = { 0 };
	int fd = sluice_bpf_map_inner(map_of(self, SLUICE_BPF_MAP_RULESETS), slot, NULL);

	if (fd < 0)
		return NULL;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len) && n && info.max_entries == n &&
	    info.value_size == SLUICE_BLOB_PIECE) {
		keys = sluice_realloc(NULL, n, sizeof(*keys));
		blob = sluice_zalloc((size_t)n * SLUICE_BLOB_PIECE);
		len = n;
		bpf_map_lookup_batch(fd, NULL, &next, keys, blob, &len, &opts);
		if (len != n || blob->size != size || sluice_ruleset_validate(blob, size)) {
			free(blob);
			blob = NULL;
		}
		free(keys);
	}
	close(fd);
	return blob;
}

static uint32_t slot_after(const struct bpf_dataplane *self, uint32_t id)
{
	void *slot = sluice_map_get(&self->next_slots, &id, sizeof(id));

	if (!slot)
		slot = sluice_map_get(&self->slots, &id, sizeof(id));
	return (uint32_t)(uintptr_t)slot;
}

/* Places that nobody looks at any more let go of their maps. In batches: one by one each would wait. */
static int empty_slots(struct bpf_dataplane *self, const struct list *slots, struct sluice_err *err)
{
	int *fds;
	int ret;

	if (!slots->n)
		return 0;
	if (self->no_ruleset < 0)
		self->no_ruleset = new_map(1).fd;
	if (self->no_ruleset < 0)
		return sluice_err_errno(err, errno, "an empty map");
	fds = sluice_realloc(NULL, slots->n, sizeof(*fds));
	for (size_t i = 0; i < slots->n; i++)
		fds[i] = self->no_ruleset;
	ret = sluice_bpf_map_write(map_of(self, SLUICE_BPF_MAP_RULESETS), slots->v, fds, slots->n,
				   0, err);
	free(fds);
	return ret;
}

/* Burial ******************************************************************************/

#define VERSIONED 7

static struct sluice_bpf_versions *versioned(struct bpf_dataplane *self, int i)
{
	struct sluice_bpf_versions *const all[VERSIONED] = {
		&self->services,    &self->vips,	&self->addrs,	  &self->hosts,
		&self->prefixes[0], &self->prefixes[1], &self->endpoints,
	};

	return all[i];
}

static int bury_sets(struct bpf_dataplane *self, struct sluice_err *err)
{
	struct batch b = { .map = map_of(self, SLUICE_BPF_MAP_BACKENDS) };
	int ret;

	for (size_t i = 0; i + 1 < self->dead_sets.n; i += 2)
		for (uint32_t j = 0; j < self->dead_sets.v[i + 1]; j++)
			batch_add(&b, &(struct sluice_bpf_backend_key){ self->dead_sets.v[i], j });
	self->n_backends -= b.n;
	ret = batch_erase(&b, err);
	batch_clear(&b);
	if (ret)
		return ret;
	for (size_t i = 0; i + 1 < self->dead_sets.n; i += 2)
		number_put(&self->set_numbers, self->dead_sets.v[i]);
	self->dead_sets.n = 0;
	return 0;
}

static int bury_slots(struct bpf_dataplane *self, struct sluice_err *err)
{
	int ret = empty_slots(self, &self->dead_slots, err);

	if (ret)
		return ret;
	for (size_t i = 0; i < self->dead_slots.n; i++)
		number_put(&self->slot_numbers, self->dead_slots.v[i]);
	self->dead_slots.n = 0;
	return 0;
}

/* No program works at the revision before the last one any more, and nothing dead is left. */
static int settle(struct bpf_dataplane *self, struct sluice_err *err)
{
	bool any = false;
	int ret;

	if (!self->unsettled)
		return 0;
	ret = sluice_bpf_grace(&self->bpf, err);
	for (int i = 0; i < VERSIONED && !ret; i++)
		ret = sluice_bpf_versions_bury(versioned(self, i), &any, err);
	if (!ret)
		ret = bury_sets(self, err);
	if (!ret)
		ret = bury_slots(self, err);
	if (!ret && any)
		ret = sluice_bpf_grace(&self->bpf, err);
	if (ret) {
		self->stale = true;
		return ret;
	}
	self->unsettled = false;
	return 0;
}

/* Learning ****************************************************************************/

static bool no_service(const uint32_t *words)
{
	return words[1] == SLUICE_BPF_ABSENT;
}

static bool no_number(const uint32_t *words)
{
	return words[0] == SLUICE_BPF_ABSENT;
}

static bool no_endpoint(const uint32_t *words)
{
	return !(words[0] & SLUICE_BPF_ENDPOINT_PRESENT);
}

/* A prefix that is absent has a class all the same; learn_prefixes() tells. */
static bool never(const uint32_t *words)
{
	(void)words;
	return false;
}

static void forget_all(struct bpf_dataplane *self)
{
	for (int i = 0; i < VERSIONED; i++)
		sluice_bpf_versions_exit(versioned(self, i));
	sluice_dp_clear(&self->objects);
	sluice_map_clear(&self->vip_users, NULL);
	sluice_map_clear(&self->slots, NULL);
	sluice_map_clear(&self->next_slots, NULL);
	memset(self->lengths, 0, sizeof(self->lengths));
	self->n_backends = self->n_refs = 0;
	list_clear(&self->dead_sets);
	list_clear(&self->dead_slots);
	list_clear(&self->attached);
	list_clear(&self->gone_sets);
	list_clear(&self->gone_slots);
	list_clear(&self->gone_pods);
	free(self->set_numbers.free);
	free(self->slot_numbers.free);
	self->set_numbers = self->slot_numbers = (struct numbers){ 0 };
}

static int learn_versions(struct bpf_dataplane *self, struct sluice_err *err)
{
	const struct {
		struct sluice_bpf_versions *t;
		enum sluice_bpf_which_map map;
		uint32_t words;
		bool in_place;
		bool (*absent)(const uint32_t *words);
	} all[] = {
		{ &self->services, SLUICE_BPF_MAP_SERVICES, 2, true, no_service },
		{ &self->vips, SLUICE_BPF_MAP_VIPS, 1, true, no_number },
		{ &self->addrs, SLUICE_BPF_MAP_ADDRS, 1, true, no_number },
		{ &self->hosts, SLUICE_BPF_MAP_HOSTS, 1, true, no_number },
		{ &self->prefixes[0], SLUICE_BPF_MAP_PREFIXES4, 1, false, never },
		{ &self->prefixes[1], SLUICE_BPF_MAP_PREFIXES6, 1, false, never },
		{ &self->endpoints, SLUICE_BPF_MAP_ENDPOINTS, 3, true, no_endpoint },
	};
	int ret = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && !ret; i++) {
		sluice_bpf_versions_init(all[i].t, map_of(self, all[i].map), all[i].words,
					 all[i].in_place);
		ret = sluice_bpf_versions_learn(all[i].t, self->bpf.control->revision,
						all[i].absent, err);
	}
	return ret;
}

/* Walks a map into a table from its keys to copies of its values. */
static int copy_element(const void *key, const void *value, void *arg, struct sluice_err *err)
{
	struct {
		struct sluice_map *table;
		const struct sluice_bpf_map *map;
	} *to = arg;

	(void)err;
	*sluice_map_slot(to->table, key, to->map->key_size) =
		sluice_memdup(value, to->map->value_size);
	return 0;
}

static int read_map(struct bpf_dataplane *self, enum sluice_bpf_which_map id,
		    struct sluice_map *table, struct sluice_err *err)
{
	struct {
		struct sluice_map *table;
		const struct sluice_bpf_map *map;
	} to = { table, map_of(self, id) };

	return sluice_bpf_map_walk(to.map, copy_element, &to, err);
}

/* Removes from the map what is still in the table, and clears it: nothing that is there wanted it. */
static int erase_rest(struct bpf_dataplane *self, enum sluice_bpf_which_map id,
		      struct sluice_map *table, struct sluice_err *err)
{
	struct batch b = { .map = map_of(self, id) };
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	int ret;

	for (e = sluice_map_first(table, &it); e; e = sluice_map_next(&it))
		batch_add(&b, e->key);
	ret = batch_erase(&b, err);
	batch_clear(&b);
	sluice_map_clear(table, free);
	return ret;
}

static void count_vip(struct bpf_dataplane *self, const struct sluice_dp_service *s, int step)
{
	struct sluice_bpf_addr_key key;
	uintptr_t *slot;

	addr_key(&s->addr, s->family, &key);
	slot = (uintptr_t *)sluice_map_slot(&self->vip_users, &key, sizeof(key));
	*slot += step;
	if (!*slot)
		sluice_map_del(&self->vip_users, &key, sizeof(key));
}

/* What is left in refs is not wanted; what is missing of this service goes into added. */
static void take_refs(struct sluice_map *refs, const struct sluice_service_key *key,
		      const struct sluice_dp_service *s, struct batch *added)
{
	for (uint32_t i = 0; i < s->n_backends; i++) {
		struct sluice_bpf_backend_ref ref;
		void *value;

		ref_of(key, &s->backends[i], &ref);
		value = sluice_map_del(refs, &ref, sizeof(ref));
		free(value);
		if (!value)
			*(uint32_t *)batch_add(added, &ref) = 1;
	}
}

static int learn_services(struct bpf_dataplane *self, struct sluice_err *err)
{
	struct batch added = { .map = map_of(self, SLUICE_BPF_MAP_BACKEND_REFS) };
	struct sluice_map infos = { 0 }, backends = { 0 }, refs = { 0 };
	uint32_t revision = self->bpf.control->revision;
	struct list used = { 0 };
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	int ret = read_map(self, SLUICE_BPF_MAP_SERVICE_INFO, &infos, err);

	if (!ret)
		ret = read_map(self, SLUICE_BPF_MAP_BACKENDS, &backends, err);
	if (!ret)
		ret = read_map(self, SLUICE_BPF_MAP_BACKEND_REFS, &refs, err);
	for (e = sluice_map_first(&self->services.cells, &it); e && !ret;
	     e = sluice_map_next(&it)) {
		const uint32_t *words = sluice_bpf_versions_find(&self->services, e->key, revision);
		struct sluice_service_key key;
		struct sluice_bpf_service_info *info;
		struct sluice_dp_backend *list;
		struct sluice_dp_object *o;
		struct sluice_dp_service s;

		if (!words)
			continue;
		memcpy(&key, e->key, sizeof(key));
		list = sluice_zalloc(words[1] * sizeof(*list));
		for (uint32_t i = 0; i < words[1]; i++) {
			struct sluice_bpf_backend_key at = { words[0], i };
			struct sluice_bpf_backend *b = sluice_map_del(&backends, &at, sizeof(at));

			if (b)
				list[i] = (struct sluice_dp_backend){ b->addr,
								      sluice_ntohs(b->port) };
			free(b);
		}
		if (words[1])
			list_add(&used, words[0]);
		self->n_backends += words[1];
		info = sluice_map_del(&infos, &key, sizeof(key));
		s = (struct sluice_dp_service){ key.addr,   sluice_ntohs(key.port), key.proto,
						key.family, info ? info->name : "", list,
						words[1] };
		o = sluice_dp_learn(&self->objects, SLUICE_DP_SERVICE, &s,
				    info ? info->revision : 0);
		count_vip(self, &s, 1);
		take_refs(&refs, &key, &o->service, &added);
		self->n_refs += words[1];
		free(info);
		free(list);
	}
	if (!ret)
		ret = batch_write(&added, err);
	batch_clear(&added);
	if (!ret)
		numbers_init(&self->set_numbers, UINT32_MAX, &used);
	list_clear(&used);
	if (ret) {
		sluice_map_clear(&infos, free);
		sluice_map_clear(&backends, free);
		sluice_map_clear(&refs, free);
		return ret;
	}
	ret = erase_rest(self, SLUICE_BPF_MAP_SERVICE_INFO, &infos, err);
	if (!ret)
		ret = erase_rest(self, SLUICE_BPF_MAP_BACKENDS, &backends, err);
	else
		sluice_map_clear(&backends, free);
	if (!ret)
		ret = erase_rest(self, SLUICE_BPF_MAP_BACKEND_REFS, &refs, err);
	else
		sluice_map_clear(&refs, free);
	return ret;
}

/* The class of the longest prefix there is that is shorter than plen; after: as it will be. */
static uint32_t class_above(const struct bpf_dataplane *self, const struct sluice_addr *addr,
			    uint8_t family, uint8_t plen, bool after)
{
	const unsigned int *lengths = self->lengths[family == SLUICE_IPV6];
	struct sluice_addr masked = *addr;
	struct sluice_dp_prefix key;

	for (int n = plen - 1; n >= 0; n--) {
		const struct sluice_dp_object *o;

		if (!lengths[n])
			continue;
		sluice_addr_mask(&masked, n);
		sluice_dp_prefix_key(&masked, family, n, &key);
		o = after ? sluice_dp_after(&self->objects, SLUICE_DP_PEER, &key, sizeof(key)) :
			    sluice_dp_before(&self->objects, SLUICE_DP_PEER, &key, sizeof(key));
		if (o)
			return o->peer.class;
	}
	return 0;
}

static void learn_peer(struct bpf_dataplane *self, struct sluice_dp_peer *p,
		       struct sluice_map *infos)
{
	struct sluice_bpf_peer_key key = { p->addr, p->plen, p->family, 0 };
	struct sluice_bpf_peer_info *info = sluice_map_del(infos, &key, sizeof(key));

	p->name = info ? info->name : "";
	sluice_dp_learn(&self->objects, SLUICE_DP_PEER, p, info ? info->revision : 0);
	if (!is_host(p))
		self->lengths[p->family == SLUICE_IPV6][p->plen]++;
	free(info);
}

static int compare_peers(const void *a, const void *b)
{
	const struct sluice_dp_peer *x = a, *y = b;

	return (int)x->plen - (int)y->plen;
}

/*
 * A prefix that has no name and the class that its addresses would have without it may as well be absent; it is one
 * that waited to be taken out. Shorter ones first: they decide.
 */
static void learn_prefixes(struct bpf_dataplane *self, int table, struct sluice_map *infos)
{
	struct sluice_bpf_versions *t = &self->prefixes[table];
	struct sluice_dp_peer *peers = sluice_zalloc(t->cells.n * sizeof(*peers));
	uint32_t revision = self->bpf.control->revision;
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	size_t n = 0;

	for (e = sluice_map_first(&t->cells, &it); e; e = sluice_map_next(&it)) {
		const uint32_t *words = sluice_bpf_versions_find(t, e->key, revision);
		struct sluice_dp_peer *p = &peers[n];
		union prefix_key key;

		if (!words)
			continue;
		memcpy(&key, e->key, t->map->key_size);
		p->family = table ? SLUICE_IPV6 : SLUICE_IPV4;
		p->plen = table ? key.v6.plen : key.v4.plen;
		memcpy(&p->addr, table ? (const void *)key.v6.addr : &key.v4.addr,
		       table ? sizeof(key.v6.addr) : sizeof(key.v4.addr));
		p->class = words[0];
		n++;
	}
	if (n)
		qsort(peers, n, sizeof(*peers), compare_peers);
	for (size_t i = 0; i < n; i++) {
		struct sluice_dp_peer *p = &peers[i];
		struct sluice_bpf_peer_key name = { p->addr, p->plen, p->family, 0 };
		union prefix_key key;

		trie_key(p, &key);
		if (!sluice_map_get(infos, &name, sizeof(name)) &&
		    p->class == class_above(self, &p->addr, p->family, p->plen, false))
			sluice_bpf_versions_kill(t, &key);
		else
			learn_peer(self, p, infos);
	}
	free(peers);
}

static int learn_peers(struct bpf_dataplane *self, struct sluice_err *err)
{
	uint32_t revision = self->bpf.control->revision;
	struct sluice_map infos = { 0 };
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	int ret = read_map(self, SLUICE_BPF_MAP_PEER_INFO, &infos, err);

	if (ret) {
		sluice_map_clear(&infos, free);
		return ret;
	}
	for (e = sluice_map_first(&self->hosts.cells, &it); e; e = sluice_map_next(&it)) {
		const uint32_t *words = sluice_bpf_versions_find(&self->hosts, e->key, revision);
		struct sluice_bpf_addr_key key;
		struct sluice_dp_peer p;

		if (!words)
			continue;
		memcpy(&key, e->key, sizeof(key));
		p = (struct sluice_dp_peer){ key.addr, sluice_family_bits(key.family), key.family,
					     words[0], NULL };
		learn_peer(self, &p, &infos);
	}
	learn_prefixes(self, 0, &infos);
	learn_prefixes(self, 1, &infos);
	return erase_rest(self, SLUICE_BPF_MAP_PEER_INFO, &infos, err);
}

static int learn_rule(const void *key, const void *value, void *arg, struct sluice_err *err)
{
	const struct sluice_bpf_rule_info *info = value;
	struct bpf_dataplane *self = arg;
	struct sluice_dp_rule r = { .policy = info->policy, .rule = info->rule };

	(void)err;
	memcpy(&r.id, key, sizeof(r.id));
	sluice_dp_learn(&self->objects, SLUICE_DP_RULE, &r, info->revision);
	return 0;
}

static int learn_ruleset(const void *key, const void *value, void *arg, struct sluice_err *err)
{
	const struct sluice_bpf_ruleset_info *info = value;
	struct bpf_dataplane *self = arg;
	struct sluice_dp_ruleset r = { 0 };

	(void)err;
	memcpy(&r.id, key, sizeof(r.id));
	r.blob = read_ruleset(self, info->slot, info->size);
	if (!r.blob)
		return 0;
	sluice_dp_learn(&self->objects, SLUICE_DP_RULESET, &r, info->revision);
	*sluice_map_slot(&self->slots, key, sizeof(r.id)) = (void *)(uintptr_t)info->slot;
	free((void *)r.blob);
	return 0;
}

/*
 * Which ruleset an endpoint obeys is what packets see, a place; its id is for people. Where a commit was
 * cut short before it told people, the place counts: the id is looked up anew, and 0xffffffff, which no object has,
 * makes the endpoint one that has to be written again.
 */
static uint32_t id_of_slot(const struct bpf_dataplane *self, uint32_t slot, uint32_t id)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	if (!slot || slot_after(self, id) == slot)
		return slot ? id : 0;
	for (e = sluice_map_first(&self->slots, &it); e; e = sluice_map_next(&it)) {
		if ((uintptr_t)e->value != slot)
			continue;
		memcpy(&id, e->key, sizeof(id));
		return id;
	}
	return UINT32_MAX;
}

/*
 * Map addrs is what packets see, and has all its addresses; those that people were told come first, in the
 * order in which they were.
 */
static void learn_endpoint(struct bpf_dataplane *self, uint32_t ifindex, const uint32_t *words,
			   const struct sluice_bpf_endpoint_info *info, struct list *used_slots)
{
	uint32_t revision = self->bpf.control->revision, told = info ? info->n_addrs : 0;
	struct sluice_dp_addr addrs[SLUICE_MAX_ENDPOINT_ADDRS];
	struct sluice_dp_endpoint e = { .ifindex = ifindex, .addrs = addrs };
	struct sluice_bpf_addr_key key;
	struct sluice_map_entry *entry;
	struct sluice_map_iter it;
	const uint32_t *owner;

	for (uint32_t i = 0; i < told && i < SLUICE_MAX_ENDPOINT_ADDRS; i++) {
		key = info->addrs[i];
		owner = sluice_bpf_versions_find(&self->addrs, &key, revision);
		if (owner && *owner == ifindex)
			addrs[e.n_addrs++] = (struct sluice_dp_addr){ key.addr, key.family };
	}
	told = e.n_addrs;
	for (entry = sluice_map_first(&self->addrs.cells, &it); entry;
	     entry = sluice_map_next(&it)) {
		bool known = false;

		owner = sluice_bpf_versions_find(&self->addrs, entry->key, revision);
		memcpy(&key, entry->key, sizeof(key));
		for (uint32_t i = 0; i < told; i++)
			known |= addrs[i].family == key.family &&
				 sluice_addr_equal(&addrs[i].addr, &key.addr);
		if (owner && *owner == ifindex && !known && e.n_addrs < SLUICE_MAX_ENDPOINT_ADDRS)
			addrs[e.n_addrs++] = (struct sluice_dp_addr){ key.addr, key.family };
	}
	e.name = info ? info->name : "";
	e.container = info ? info->container : "";
	e.open = words[0] & SLUICE_BPF_ENDPOINT_OPEN;
	e.ingress = id_of_slot(self, words[1], info ? info->ingress : 0);
	e.egress = id_of_slot(self, words[2], info ? info->egress : 0);
	list_add(used_slots, words[1]);
	list_add(used_slots, words[2]);
	sluice_dp_learn(&self->objects, SLUICE_DP_ENDPOINT, &e, info ? info->revision : 0);
}

/*
 * Places that are not empty, and not used. A place that was ever used stays filled, by an empty map at least, and
 * new ones are taken in their order: the first that is empty is the end. (A look-up of many places at once would
 * fail at an empty one before Linux 6.14.)
 */
static int find_dead_slots(struct bpf_dataplane *self, const struct list *used,
			   struct sluice_err *err)
{
	const struct sluice_bpf_map *map = map_of(self, SLUICE_BPF_MAP_RULESETS);
	bool *is_used = sluice_zalloc(SLUICE_BPF_RULESETS);
	uint32_t slot, id;
	int ret = 0;

	for (size_t i = 0; i < used->n; i++)
		if (used->v[i] < SLUICE_BPF_RULESETS)
			is_used[used->v[i]] = true;
	for (slot = 1; slot < SLUICE_BPF_RULESETS && !bpf_map_lookup_elem(map->fd, &slot, &id);
	     slot++)
		if (!is_used[slot])
			list_add(&self->dead_slots, slot);
	if (slot < SLUICE_BPF_RULESETS && errno != ENOENT)
		ret = sluice_err_errno(err, errno, "map %s", map->name);
	free(is_used);
	return ret;
}

static int learn_endpoints(struct bpf_dataplane *self, struct sluice_err *err)
{
	uint32_t revision = self->bpf.control->revision;
	struct sluice_map infos = { 0 };
	struct list used = { 0 };
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	int ret;

	ret = sluice_bpf_map_walk(map_of(self, SLUICE_BPF_MAP_RULESET_INFO), learn_ruleset, self,
				  err);
	if (!ret)
		ret = read_map(self, SLUICE_BPF_MAP_ENDPOINT_INFO, &infos, err);
	for (e = sluice_map_first(&self->endpoints.cells, &it); e && !ret;
	     e = sluice_map_next(&it)) {
		const uint32_t *words =
			sluice_bpf_versions_find(&self->endpoints, e->key, revision);
		struct sluice_bpf_endpoint_info *info;
		uint32_t ifindex;

		if (!words)
			continue;
		memcpy(&ifindex, e->key, sizeof(ifindex));
		info = sluice_map_del(&infos, &ifindex, sizeof(ifindex));
		learn_endpoint(self, ifindex, words, info, &used);
		free(info);
	}
	if (ret)
		sluice_map_clear(&infos, free);
	else
		ret = erase_rest(self, SLUICE_BPF_MAP_ENDPOINT_INFO, &infos, err);
	for (e = sluice_map_first(&self->slots, &it); e; e = sluice_map_next(&it))
		list_add(&used, (uint32_t)(uintptr_t)e->value);
	if (!ret)
		ret = find_dead_slots(self, &used, err);
	for (size_t i = 0; i < self->dead_slots.n; i++)
		list_add(&used, self->dead_slots.v[i]);
	if (!ret)
		numbers_init(&self->slot_numbers, SLUICE_BPF_RULESETS, &used);
	list_clear(&used);
	return ret;
}

static int learn_uplink(const void *key, const void *value, void *arg, struct sluice_err *err)
{
	struct bpf_dataplane *self = arg;
	struct sluice_dp_uplink u;

	(void)value;
	(void)err;
	memcpy(&u.ifindex, key, sizeof(u.ifindex));
	sluice_dp_learn(&self->objects, SLUICE_DP_UPLINK, &u, 0);
	return 0;
}

/*
 * Reads the maps. Whoever wrote them may have been stopped anywhere, so that the grace period of its last commit
 * is ours to wait for, and the generations it may have had to store are: each connection is looked at once more.
 */
static int learn(struct bpf_dataplane *self, struct sluice_err *err)
{
	struct sluice_bpf_control *c = self->bpf.control;
	int ret;

	forget_all(self);
	ret = sluice_bpf_grace(&self->bpf, err);
	if (!ret)
		ret = learn_versions(self, err);
	if (!ret)
		ret = learn_services(self, err);
	if (!ret)
		ret = learn_peers(self, err);
	if (!ret)
		ret = sluice_bpf_map_walk(map_of(self, SLUICE_BPF_MAP_RULE_INFO), learn_rule, self,
					  err);
	if (!ret)
		ret = learn_endpoints(self, err);
	if (!ret)
		ret = sluice_bpf_map_walk(map_of(self, SLUICE_BPF_MAP_UPLINKS), learn_uplink, self,
					  err);
	if (ret)
		return sluice_err_prefix(err, "read the BPF maps");
	__atomic_store_n(&c->policy_gen, c->policy_gen + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&c->backend_epoch, c->backend_epoch + 1, __ATOMIC_RELEASE);
	self->unsettled = true;
	self->stale = false;
	return 0;
}

/* Staging *****************************************************************************/

/* Names the object that an error is about. */
static int about(const struct sluice_dp_object *o, struct sluice_err *err)
{
	char text[SLUICE_ADDR_TEXT];
	struct sluice_cidr prefix;

	switch (o->kind) {
	case SLUICE_DP_SERVICE:
		return sluice_err_prefix(err, "service %s", o->service.name);
	case SLUICE_DP_PEER:
		prefix = (struct sluice_cidr){ o->peer.addr, o->peer.plen, o->peer.family };
		return sluice_err_prefix(err, "peer %s", sluice_cidr_format(&prefix, text));
	case SLUICE_DP_RULE:
		return sluice_err_prefix(err, "rule %u", o->rule.id);
	case SLUICE_DP_RULESET:
		return sluice_err_prefix(err, "ruleset %u", o->ruleset.id);
	case SLUICE_DP_ENDPOINT:
		return sluice_err_prefix(err, "endpoint %s", o->endpoint.name);
	case SLUICE_DP_UPLINK:
		return sluice_err_prefix(err, "uplink %u", o->uplink.ifindex);
	case SLUICE_DP_KINDS:
		break;
	}
	return sluice_err_prefix(err, "object");
}

/* What is written into the maps besides versions. */
struct output {
	struct batch backends;
	struct batch refs;
	struct batch gone_refs;
	struct batch slots; /* values are file descriptors */
	struct gone_list gone;
	struct sluice_dp_object **written;
	size_t n_written, cap_written;
};

static void output_init(struct bpf_dataplane *self, struct output *out)
{
	*out = (struct output){ 0 };
	out->backends.map = map_of(self, SLUICE_BPF_MAP_BACKENDS);
	out->refs.map = map_of(self, SLUICE_BPF_MAP_BACKEND_REFS);
	out->gone_refs.map = map_of(self, SLUICE_BPF_MAP_BACKEND_REFS);
	out->slots.map = map_of(self, SLUICE_BPF_MAP_RULESETS);
}

static void close_slots(struct output *out)
{
	int fd;

	for (size_t i = 0; i < out->slots.n; i++) {
		memcpy(&fd, out->slots.values + i * sizeof(fd), sizeof(fd));
		close(fd);
	}
	out->slots.n = 0;
}

static void output_exit(struct output *out)
{
	close_slots(out);
	batch_clear(&out->backends);
	batch_clear(&out->refs);
	batch_clear(&out->gone_refs);
	batch_clear(&out->slots);
	free(out->gone.v);
	free(out->written);
}

/* Both lists are sorted: a merge tells what comes and what goes. */
static void stage_refs(struct bpf_dataplane *self, const struct sluice_service_key *key,
		       const struct sluice_dp_service *old, const struct sluice_dp_service *new,
		       struct output *out)
{
	uint32_t i = 0, j = 0, n = old ? old->n_backends : 0, m = new ? new->n_backends : 0;
	struct sluice_bpf_backend_ref ref;

	while (i < n || j < m) {
		int diff =
			i == n ? 1 :
			j == m ? -1 :
				 sluice_dp_compare_backends(&old->backends[i], &new->backends[j]);

		if (!diff) {
			i++;
			j++;
		} else if (diff < 0) {
			ref_of(key, &old->backends[i++], &ref);
			batch_add(&out->gone_refs, &ref);
			self->backend_gone = true;
		} else {
			ref_of(key, &new->backends[j++], &ref);
			*(uint32_t *)batch_add(&out->refs, &ref) = 1;
		}
	}
}

/* A new set of backends, one for each version. */
static int stage_set(struct bpf_dataplane *self, const struct sluice_dp_service *s,
		     struct output *out, uint32_t *set, struct sluice_err *err)
{
	*set = 0;
	if (!s->n_backends)
		return 0;
	*set = number_get(&self->set_numbers);
	if (!*set)
		return sluice_err_set(err, E2BIG, "all numbers of sets of backends are used");
	for (uint32_t i = 0; i < s->n_backends; i++) {
		struct sluice_bpf_backend_key key = { *set, i };
		struct sluice_bpf_backend *b = batch_add(&out->backends, &key);

		b->addr = s->backends[i].addr;
		b->port = sluice_htons(s->backends[i].port);
	}
	return 0;
}

static int stage_service(struct bpf_dataplane *self, const struct sluice_dp_change *c,
			 struct output *out, struct sluice_err *err)
{
	const struct sluice_dp_object *o = c->new ? c->new : c->old;
	uint32_t revision = self->bpf.control->revision, words[2] = { 0, SLUICE_BPF_ABSENT };
	struct sluice_service_key key;
	const uint32_t *now;
	int ret;

	memcpy(&key, o->key, sizeof(key));
	if (c->old && c->new && sluice_dp_same_backends(&c->old->service, &c->new->service))
		return 0; /* another name */
	if (c->new) {
		words[1] = c->new->service.n_backends;
		ret = stage_set(self, &c->new->service, out, &words[0], err);
		if (ret)
			return ret;
	}
	now = sluice_bpf_versions_find(&self->services, &key, revision);
	if (now && now[1] && now[1] != SLUICE_BPF_ABSENT) {
		list_add(&self->gone_sets, now[0]);
		list_add(&self->gone_sets, now[1]);
	}
	stage_refs(self, &key, c->old ? &c->old->service : NULL, c->new ? &c->new->service : NULL,
		   out);
	return sluice_bpf_versions_stage(&self->services, &key, revision, words, !c->new, NULL,
					 err);
}

/* The address of a service that came or went: is there any other? */
static int stage_vip(struct bpf_dataplane *self, const struct sluice_dp_service *s,
		     struct sluice_err *err)
{
	uint32_t revision = self->bpf.control->revision;
	struct sluice_bpf_addr_key key;
	bool there, before;
	uint32_t word;

	addr_key(&s->addr, s->family, &key);
	there = sluice_map_get(&self->vip_users, &key, sizeof(key));
	before = sluice_bpf_versions_find(&self->vips, &key, revision);
	if (there == before)
		return 0;
	word = there ? 1 : SLUICE_BPF_ABSENT;
	return sluice_bpf_versions_stage(&self->vips, &key, revision, &word, !there, NULL, err);
}

static int stage_host(struct bpf_dataplane *self, const struct sluice_dp_peer *p, bool there,
		      struct sluice_err *err)
{
	uint32_t word = there ? p->class : SLUICE_BPF_ABSENT;
	struct sluice_bpf_addr_key key;

	if (there && word == SLUICE_BPF_ABSENT)
		return sluice_err_set(err, EINVAL, "no peer has class %u", word);
	addr_key(&p->addr, p->family, &key);
	return sluice_bpf_versions_stage(&self->hosts, &key, self->bpf.control->revision, &word,
					 !there, NULL, err);
}

static int stage_prefix(struct bpf_dataplane *self, const struct sluice_dp_peer *p, bool there,
			struct sluice_err *err)
{
	uint32_t before = class_above(self, &p->addr, p->family, p->plen, false);
	uint32_t word = there ? p->class : class_above(self, &p->addr, p->family, p->plen, true);
	union prefix_key key;

	trie_key(p, &key);
	return sluice_bpf_versions_stage(&self->prefixes[p->family == SLUICE_IPV6], &key,
					 self->bpf.control->revision, &word, !there, &before, err);
}

static int stage_peer(struct bpf_dataplane *self, const struct sluice_dp_change *c,
		      struct sluice_err *err)
{
	const struct sluice_dp_peer *p = c->new ? &c->new->peer : &c->old->peer;

	if (c->old && c->new && c->old->peer.class == c->new->peer.class)
		return 0; /* another name */
	return is_host(p) ? stage_host(self, p, c->new, err) : stage_prefix(self, p, c->new, err);
}

static int stage_ruleset(struct bpf_dataplane *self, const struct sluice_dp_change *c,
			 struct output *out, struct sluice_err *err)
{
	const struct sluice_dp_object *o = c->new ? c->new : c->old;
	uint32_t slot;
	int fd;

	slot = c->old ? slot_after(self, c->old->ruleset.id) : 0;
	if (slot)
		list_add(&self->gone_slots, slot);
	if (!c->new)
		return 0;
	slot = number_get(&self->slot_numbers);
	if (!slot)
		return sluice_err_set(err, E2BIG, "map rulesets is full: it takes %u elements",
				      SLUICE_BPF_RULESETS - 1);
	fd = new_ruleset(c->new->ruleset.blob, err);
	if (fd < 0)
		return fd;
	*(int *)batch_add(&out->slots, &slot) = fd;
	*sluice_map_slot(&self->next_slots, o->key, o->key_len) = (void *)(uintptr_t)slot;
	return 0;
}

/* Each endpoint that will be there: also one that did not change, if its ruleset did. */
static int stage_endpoint(struct bpf_dataplane *self, const struct sluice_dp_endpoint *e,
			  bool there, struct sluice_err *err)
{
	uint32_t revision = self->bpf.control->revision, words[3] = { 0 };
	const uint32_t *now = sluice_bpf_versions_find(&self->endpoints, &e->ifindex, revision);

	if (there) {
		words[0] = SLUICE_BPF_ENDPOINT_PRESENT | (e->open ? SLUICE_BPF_ENDPOINT_OPEN : 0);
		words[1] = e->ingress ? slot_after(self, e->ingress) : 0;
		words[2] = e->egress ? slot_after(self, e->egress) : 0;
	}
	if (!now && !there)
		return 0;
	if (now && !memcmp(now, words, sizeof(words)))
		return 0; /* what is absent has no words */
	return sluice_bpf_versions_stage(&self->endpoints, &e->ifindex, revision, words, !there,
					 NULL, err);
}

static int stage_addr(struct bpf_dataplane *self, const struct sluice_dp_addr *addr, uint32_t word,
		      struct sluice_err *err)
{
	uint32_t revision = self->bpf.control->revision;
	struct sluice_bpf_addr_key key;
	const uint32_t *now;

	addr_key(&addr->addr, addr->family, &key);
	now = sluice_bpf_versions_find(&self->addrs, &key, revision);
	if (word == SLUICE_BPF_ABSENT && !now)
		return 0;
	return sluice_bpf_versions_stage(&self->addrs, &key, revision, &word,
					 word == SLUICE_BPF_ABSENT, NULL, err);
}

static int stage_endpoint_addrs(struct bpf_dataplane *self, const struct sluice_dp_endpoint *e,
				bool there, struct sluice_err *err)
{
	int ret = 0;

	for (uint32_t i = 0; i < e->n_addrs && !ret; i++)
		ret = stage_addr(self, &e->addrs[i], there ? e->ifindex : SLUICE_BPF_ABSENT, err);
	return ret;
}

/* An interface is a pod's or an uplink, in both states that packets may see. */
static int check_interface(struct bpf_dataplane *self, uint32_t ifindex, bool uplink,
			   struct sluice_err *err)
{
	enum sluice_dp_kind other = uplink ? SLUICE_DP_ENDPOINT : SLUICE_DP_UPLINK;

	if (sluice_dp_before(&self->objects, other, &ifindex, sizeof(ifindex)) ||
	    sluice_dp_after(&self->objects, other, &ifindex, sizeof(ifindex)))
		return sluice_err_set(err, EBUSY, "interface %u is %s", ifindex,
				      uplink ? "an endpoint's" : "an uplink");
	if (sluice_interface_is_loopback(ifindex))
		return sluice_err_set(
			err, EINVAL, "the loopback interface is neither an endpoint nor an uplink");
	/* A program would look for the packet 14 bytes behind its start, and read another one there. */
	if (!sluice_interface_has_frames(ifindex))
		return sluice_err_set(
			err, EINVAL,
			"interface %u has no Ethernet frames: the eBPF variant takes no other",
			ifindex);
	return 0;
}

/* Calls stage with each change of a kind that changes anything. */
static int for_each_change(struct bpf_dataplane *self, enum sluice_dp_kind kind, struct output *out,
			   int (*stage)(struct bpf_dataplane *self,
					const struct sluice_dp_change *c, struct output *out,
					struct sluice_err *err),
			   struct sluice_err *err)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&self->objects.changed[kind], &it); e; e = sluice_map_next(&it)) {
		const struct sluice_dp_change *c = e->value;
		int ret;

		if (c->same || (!c->old && !c->new))
			continue;
		ret = stage(self, c, out, err);
		if (ret) {
			about(c->new ? c->new : c->old, err);
			return ret;
		}
	}
	return 0;
}

static int count_service(struct bpf_dataplane *self, const struct sluice_dp_change *c,
			 struct output *out, struct sluice_err *err)
{
	(void)out;
	(void)err;
	if (c->old && !c->new)
		count_vip(self, &c->old->service, -1);
	else if (c->new && !c->old)
		count_vip(self, &c->new->service, 1);
	return 0;
}

static int change_vip(struct bpf_dataplane *self, const struct sluice_dp_change *c,
		      struct output *out, struct sluice_err *err)
{
	(void)out;
	return stage_vip(self, c->new ? &c->new->service : &c->old->service, err);
}

/* Lengths that will be there, also while those that go are. */
static int count_length(struct bpf_dataplane *self, const struct sluice_dp_change *c,
			struct output *out, struct sluice_err *err)
{
	(void)out;
	(void)err;
	self->policy = true;
	if (c->new && !c->old && !is_host(&c->new->peer))
		self->lengths[c->new->peer.family == SLUICE_IPV6][c->new->peer.plen]++;
	return 0;
}

static int change_peer(struct bpf_dataplane *self, const struct sluice_dp_change *c,
		       struct output *out, struct sluice_err *err)
{
	(void)out;
	return stage_peer(self, c, err);
}

static int change_rule(struct bpf_dataplane *self, const struct sluice_dp_change *c,
		       struct output *out, struct sluice_err *err)
{
	(void)c;
	(void)out;
	(void)err;
	self->policy = true;
	return 0;
}

static int change_ruleset(struct bpf_dataplane *self, const struct sluice_dp_change *c,
			  struct output *out, struct sluice_err *err)
{
	self->policy = true;
	return stage_ruleset(self, c, out, err);
}

/* First all that go, then all that come: an address may move from one to another. */
static int old_endpoint(struct bpf_dataplane *self, const struct sluice_dp_change *c,
			struct output *out, struct sluice_err *err)
{
	int ret = 0;

	(void)out;
	self->policy = true;
	if (c->old)
		ret = stage_endpoint_addrs(self, &c->old->endpoint, false, err);
	if (!ret && c->old && !c->new) {
		ret = stage_endpoint(self, &c->old->endpoint, false, err);
		list_add(&self->gone_pods, c->old->endpoint.ifindex);
	}
	return ret;
}

static int new_endpoint(struct bpf_dataplane *self, const struct sluice_dp_change *c,
			struct output *out, struct sluice_err *err)
{
	int ret;

	(void)out;
	if (!c->new)
		return 0;
	ret = check_interface(self, c->new->endpoint.ifindex, false, err);
	return ret ? ret : stage_endpoint_addrs(self, &c->new->endpoint, true, err);
}

static int change_uplink(struct bpf_dataplane *self, const struct sluice_dp_change *c,
			 struct output *out, struct sluice_err *err)
{
	(void)out;
	return c->new ? check_interface(self, c->new->uplink.ifindex, true, err) : 0;
}

/* Calls visit with each object that will be there. */
static int for_each_after(struct bpf_dataplane *self, enum sluice_dp_kind kind,
			  int (*visit)(struct bpf_dataplane *self, struct sluice_dp_object *o,
				       struct sluice_err *err),
			  struct sluice_err *err)
{
	const struct sluice_map *changed = &self->objects.changed[kind];
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	int ret = 0;

	for (e = sluice_map_first(changed, &it); e && !ret; e = sluice_map_next(&it)) {
		const struct sluice_dp_change *c = e->value;

		if (c->new)
			ret = visit(self, c->new, err);
	}
	for (e = sluice_map_first(&self->objects.tables[kind], &it); e && !ret;
	     e = sluice_map_next(&it))
		if (!sluice_map_get(changed, e->key, e->len))
			ret = visit(self, e->value, err);
	return ret;
}

static int visit_endpoint(struct bpf_dataplane *self, struct sluice_dp_object *o,
			  struct sluice_err *err)
{
	int ret = stage_endpoint(self, &o->endpoint, true, err);

	return ret ? about(o, err) : 0;
}

static int stage_all(struct bpf_dataplane *self, struct output *out, struct sluice_err *err)
{
	static const struct {
		enum sluice_dp_kind kind;
		int (*stage)(struct bpf_dataplane *self, const struct sluice_dp_change *c,
			     struct output *out, struct sluice_err *err);
	} steps[] = {
		{ SLUICE_DP_SERVICE, stage_service },  { SLUICE_DP_SERVICE, count_service },
		{ SLUICE_DP_SERVICE, change_vip },     { SLUICE_DP_PEER, count_length },
		{ SLUICE_DP_PEER, change_peer },       { SLUICE_DP_RULE, change_rule },
		{ SLUICE_DP_RULESET, change_ruleset }, { SLUICE_DP_ENDPOINT, old_endpoint },
		{ SLUICE_DP_ENDPOINT, new_endpoint },  { SLUICE_DP_UPLINK, change_uplink },
	};
	int ret = 0;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && !ret; i++)
		ret = for_each_change(self, steps[i].kind, out, steps[i].stage, err);
	return ret ? ret : for_each_after(self, SLUICE_DP_ENDPOINT, visit_endpoint, err);
}

/* Maps that are filled after the commit, or in batches: is there room? */
static int check_room(struct bpf_dataplane *self, const struct output *out, struct sluice_err *err)
{
	const struct sluice_bpf_map *map;

	for (int kind = 0; kind < SLUICE_DP_KINDS; kind++) {
		size_t after = self->objects.tables[kind].n;
		struct sluice_map_entry *e;
		struct sluice_map_iter it;

		for (e = sluice_map_first(&self->objects.changed[kind], &it); e;
		     e = sluice_map_next(&it)) {
			const struct sluice_dp_change *c = e->value;

			after += !c->old && c->new;
			after -= c->old && !c->new;
		}
		map = map_of(self, info_map(kind));
		if (after > map->max_entries)
			return sluice_err_set(err, E2BIG,
					      "map %s takes %u elements, and %zu are wanted",
					      map->name, map->max_entries, after);
	}
	if (self->n_backends + out->backends.n > out->backends.map->max_entries ||
	    self->n_refs + out->refs.n > out->refs.map->max_entries)
		return sluice_err_set(
			err, E2BIG, "map backends takes %u elements, and %zu are wanted beside %zu",
			out->backends.map->max_entries, out->backends.n, self->n_backends);
	return 0;
}

/* Committing **************************************************************************/

/* Those that are new, and in a full transaction all: somebody may have taken a program away. */
static bool has_to_attach(const struct bpf_dataplane *self, const struct sluice_dp_object *o,
			  bool all)
{
	const struct sluice_dp_object *old =
		sluice_dp_before(&self->objects, o->kind, o->key, o->key_len);

	return all || !old;
}

/* Interfaces that are attached well at once: more than that is a node that starts. */
#define ATTACH_WELL 4

static bool many_are_new(const struct bpf_dataplane *self, enum sluice_dp_kind kind)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	unsigned int n = 0;

	for (e = sluice_map_first(&self->objects.changed[kind], &it); e; e = sluice_map_next(&it)) {
		const struct sluice_dp_change *c = e->value;

		n += c->new && !c->old;
	}
	return n > ATTACH_WELL;
}

static int attach_kind(struct bpf_dataplane *self, enum sluice_dp_kind kind, bool all,
		       struct sluice_err *err)
{
	bool quick = many_are_new(self, kind);
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&self->objects.changed[kind], &it); e; e = sluice_map_next(&it)) {
		const struct sluice_dp_change *c = e->value;
		uint32_t ifindex;
		int ret;

		if (!c->new || !has_to_attach(self, c->new, all))
			continue;
		memcpy(&ifindex, c->new->key, sizeof(ifindex));
		if (!c->old) {
			list_add(&self->attached, ifindex);
			list_add(&self->attached, sluice_bpf_role(&self->bpf, ifindex));
		}
		ret = sluice_bpf_attach(&self->bpf, ifindex,
					kind == SLUICE_DP_UPLINK ? SLUICE_BPF_ROLE_UPLINK :
								   SLUICE_BPF_ROLE_POD,
					quick, err);
		if (ret)
			return about(c->new, err);
		if ((quick || all) && sluice_bpf_is_quick(&self->bpf, ifindex))
			list_add(&self->quick, ifindex);
	}
	return 0;
}

static int write_all(struct bpf_dataplane *self, struct output *out, struct sluice_err *err)
{
	int ret = batch_write(&out->backends, err);

	if (!ret)
		ret = batch_write(&out->refs, err);
	if (!ret)
		ret = sluice_bpf_map_write(out->slots.map, out->slots.keys, out->slots.values,
					   out->slots.n, 0, err);
	close_slots(out);
	for (int i = 0; i < VERSIONED && !ret; i++)
		ret = sluice_bpf_versions_flush(versioned(self, i), err);
	return ret;
}

/* Uplinks are not versioned: those that come are there before the commit, those that go after it. */
static int write_uplinks(struct bpf_dataplane *self, struct sluice_err *err)
{
	struct batch b = { .map = map_of(self, SLUICE_BPF_MAP_UPLINKS) };
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	int ret;

	for (e = sluice_map_first(&self->objects.changed[SLUICE_DP_UPLINK], &it); e;
	     e = sluice_map_next(&it)) {
		const struct sluice_dp_change *c = e->value;

		if (c->new && !c->old)
			*(uint32_t *)batch_add(&b, c->new->key) = 1;
	}
	ret = batch_write(&b, err);
	batch_clear(&b);
	return ret;
}

static void collect_changes(struct bpf_dataplane *self, struct output *out)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (int kind = 0; kind < SLUICE_DP_KINDS; kind++) {
		for (e = sluice_map_first(&self->objects.changed[kind], &it); e;
		     e = sluice_map_next(&it)) {
			const struct sluice_dp_change *c = e->value;

			if (c->new) {
				sluice_grow(out->written, out->n_written, out->cap_written);
				out->written[out->n_written++] = c->same ? c->old : c->new;
			} else if (c->old) {
				remember_gone(&out->gone, c->old);
			}
		}
	}
}

/* What only counts for the next transaction. */
static void settle_known(struct bpf_dataplane *self, const struct output *out)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (int i = 0; i < VERSIONED; i++)
		sluice_bpf_versions_settle(versioned(self, i));
	for (size_t i = 0; i < out->gone.n; i++) {
		const struct gone *g = &out->gone.v[i];

		if (g->kind == SLUICE_DP_RULESET)
			sluice_map_del(&self->slots, g->key, sizeof(uint32_t));
		if (g->kind == SLUICE_DP_PEER && g->peer.plen != sluice_family_bits(g->peer.family))
			self->lengths[g->peer.family == SLUICE_IPV6][g->peer.plen]--;
	}
	for (e = sluice_map_first(&self->next_slots, &it); e; e = sluice_map_next(&it))
		*sluice_map_slot(&self->slots, e->key, e->len) = e->value;
	sluice_map_clear(&self->next_slots, NULL);
	list_move(&self->dead_sets, &self->gone_sets);
	list_move(&self->dead_slots, &self->gone_slots);
	self->attached.n = 0;
}

/*
 * A slice of the walk that takes down the connections of pods that went. Their next packets would find out, too: the
 * policy generation says to look at them again.
 */
static void cut(struct bpf_dataplane *self)
{
	uint32_t killed = 0;

	if (!self->cut.n) {
		list_move(&self->cut, &self->cut_next);
		self->cut_walk = (struct sluice_bpf_walk){ 0 };
	}
	if (self->cut.n &&
	    sluice_bpf_conns_cut(&self->bpf, &self->cut_walk, self->cut.v, self->cut.n, &killed))
		self->cut.n = 0;
}

/* After the commit: nothing of this may be noticed by a packet that is not better off by it. */
static int follow_up(struct bpf_dataplane *self, struct output *out, struct sluice_err *err)
{
	struct sluice_bpf_control *c = self->bpf.control;
	int ret = 0;

	if (self->backend_gone) {
		self->n_refs -= out->gone_refs.n;
		ret = batch_erase(&out->gone_refs, err);
		__atomic_store_n(&c->backend_epoch, c->backend_epoch + 1, __ATOMIC_RELEASE);
	}
	for (size_t i = 0; i < out->gone.n; i++) {
		uint32_t ifindex;

		if (out->gone.v[i].kind != SLUICE_DP_UPLINK)
			continue;
		memcpy(&ifindex, out->gone.v[i].key, sizeof(ifindex));
		if (!sluice_dp_before(&self->objects, SLUICE_DP_ENDPOINT, &ifindex,
				      sizeof(ifindex)))
			sluice_bpf_attach(&self->bpf, ifindex, SLUICE_BPF_ROLE_NONE, false, NULL);
	}
	if (self->gone_pods.n) {
		list_move(&self->cut_next, &self->gone_pods);
		cut(self);
		sluice_bpf_tidy(&self->bpf);
	}
	if (!ret)
		ret = write_infos(self, out->written, out->n_written, &out->gone, err);
	if (ret) {
		self->stale = true;
		return sluice_err_prefix(err, "committed, but not told to people");
	}
	return 0;
}

static int commit_sealed(struct bpf_dataplane *self, bool sweep, struct sluice_err *err)
{
	struct sluice_bpf_control *c = self->bpf.control;
	struct output out;
	int ret;

	self->policy = self->backend_gone = false;
	output_init(self, &out);
	ret = stage_all(self, &out, err);
	if (!ret)
		ret = check_room(self, &out, err);
	if (!ret)
		ret = attach_kind(self, SLUICE_DP_UPLINK, sweep, err);
	if (!ret)
		ret = attach_kind(self, SLUICE_DP_ENDPOINT, sweep, err);
	self->n_backends += out.backends.n;
	self->n_refs += out.refs.n;
	if (!ret)
		ret = write_all(self, &out, err);
	if (!ret)
		ret = write_uplinks(self, err);
	if (ret) {
		for (size_t i = 0; i + 1 < self->attached.n; i += 2)
			sluice_bpf_attach(&self->bpf, self->attached.v[i], self->attached.v[i + 1],
					  true, NULL);
		self->stale = true;
		output_exit(&out);
		return ret;
	}
	/* Here it becomes visible. Programs load the generations before the revision. */
	__atomic_store_n(&c->revision, c->revision + 1, __ATOMIC_RELEASE);
	if (self->policy)
		__atomic_store_n(&c->policy_gen, c->policy_gen + 1, __ATOMIC_RELEASE);
	self->unsettled = true;
	collect_changes(self, &out);
	sluice_dp_apply(&self->objects, c->revision);
	settle_known(self, &out);
	ret = follow_up(self, &out, err);
	output_exit(&out);
	return ret;
}

/* The data plane **********************************************************************/

int sluice_dataplane_bpf_open(struct sluice_dataplane *dp, struct sluice_err *err)
{
	struct bpf_dataplane *self = self_of(dp);
	int ret;

	if (self->is_open)
		return 0;
	ret = sluice_bpf_open(&self->bpf, &self->options, err);
	if (ret)
		return ret;
	ret = learn(self, err);
	if (ret) {
		forget_all(self);
		sluice_bpf_close(&self->bpf);
		return ret;
	}
	sluice_bpf_tidy(&self->bpf);
	self->is_open = true;
	return 0;
}

static int bpf_begin(struct sluice_dataplane *dp, struct sluice_err *err)
{
	struct bpf_dataplane *self = self_of(dp);
	int ret;

	if (self->objects.open)
		return sluice_err_set(err, EBUSY, "a transaction is open");
	ret = sluice_dataplane_bpf_open(dp, err);
	if (!ret && self->stale)
		ret = learn(self, err);
	if (!ret)
		ret = settle(self, err);
	if (!ret && self->bpf.control->revision >= SLUICE_BPF_NEVER - 2)
		ret = sluice_err_set(
			err, EOVERFLOW,
			"all revisions are used up: \"sluicectl bpf remove\" begins anew");
	return ret ? ret : sluice_dp_begin(&self->objects, err);
}

static void bpf_abort(struct sluice_dataplane *dp)
{
	sluice_dp_drop(&self_of(dp)->objects);
}

static int bpf_commit(struct sluice_dataplane *dp, bool sweep, struct sluice_err *err)
{
	struct bpf_dataplane *self = self_of(dp);
	int ret = sluice_dp_seal(&self->objects, sweep, err);

	if (!ret)
		ret = commit_sealed(self, sweep, err);
	if (self->objects.open)
		sluice_dp_drop(&self->objects);
	return ret;
}

static void bpf_close(struct sluice_dataplane *dp)
{
	struct bpf_dataplane *self = self_of(dp);

	forget_all(self);
	list_clear(&self->cut);
	list_clear(&self->cut_next);
	list_clear(&self->quick);
	if (self->no_ruleset >= 0)
		close(self->no_ruleset);
	if (self->is_open)
		sluice_bpf_close(&self->bpf);
	free(self);
}

static const struct sluice_dataplane_ops bpf_ops = {
	.name = "bpf",
	.begin = bpf_begin,
	.commit = bpf_commit,
	.abort = bpf_abort,
	SLUICE_DP_OBJECTS_OPS,
	.close = bpf_close,
};

struct sluice_dataplane *sluice_dataplane_bpf_new(const struct sluice_bpf_options *options)
{
	struct bpf_dataplane *self = sluice_zalloc(sizeof(*self));

	self->objects.dp.ops = &bpf_ops;
	self->options = *options;
	self->no_ruleset = -1;
	return &self->objects.dp;
}

int sluice_dataplane_bpf_tick(struct sluice_dataplane *dp, struct sluice_err *err)
{
	struct bpf_dataplane *self = self_of(dp);
	uint32_t added;
	int ret;

	if (!self->is_open)
		return 0;
	ret = sluice_bpf_conns_grow(&self->bpf, &added, err);
	cut(self);
	/* One at a time: it takes some 25 ms, and RTNL. One that is gone needs nothing. */
	if (!ret && self->quick.n)
		sluice_bpf_attach_well(&self->bpf, self->quick.v[--self->quick.n], NULL);
	if (!ret && !self->objects.open && !self->stale)
		ret = settle(self, err);
	return ret;
}

int sluice_dataplane_bpf_budget(struct sluice_dataplane *dp, uint64_t bytes, struct sluice_err *err)
{
	return sluice_bpf_set_budget(self_of(dp)->bpf.control, bytes, err);
}

void sluice_dataplane_bpf_masquerade(struct sluice_dataplane *dp, const struct sluice_addr addr[2])
{
	struct bpf_dataplane *self = self_of(dp);

	if (self->is_open)
		memcpy(self->bpf.control->masquerade, addr, sizeof(self->bpf.control->masquerade));
}

uint32_t sluice_dataplane_bpf_revision(const struct sluice_dataplane *dp)
{
	const struct bpf_dataplane *self = self_of(dp);

	return self->is_open ? self->bpf.control->revision : 0;
}

const struct sluice_bpf *sluice_dataplane_bpf_object(const struct sluice_dataplane *dp)
{
	const struct bpf_dataplane *self = self_of(dp);

	return self->is_open ? &self->bpf : NULL;
}

char *sluice_dataplane_bpf_dump(const struct sluice_dataplane *dp)
{
	return sluice_dp_dump(&self_of(dp)->objects);
}
