// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tables are those of dataplane_objects.h; beside them stands what look-ups need: which addresses
 * have services and endpoints, and which lengths of prefixes there are.
 */
#include "ctl/lib/dataplane_memory.h"

#include <stdlib.h>
#include <string.h>

#include "core/service.h"
#include "ctl/lib/alloc.h"
#include "ctl/lib/dataplane_objects.h"
#include "ctl/lib/map.h"

struct memory {
	struct sluice_dp_objects objects; /* first: it begins with the data plane */
	struct sluice_map service_addrs; /* address -> number of its ports */
	struct sluice_map endpoint_addrs; /* address -> struct sluice_dp_object of the endpoint */
	unsigned int peer_lengths[2][129];
	uint32_t revision;
};

static struct memory *memory(const struct sluice_dataplane *dp)
{
	return (struct memory *)dp;
}

/* Of the maps by address: a prefix of no length. */
static void addr_key(const struct sluice_addr *addr, uint8_t family, struct sluice_dp_prefix *key)
{
	sluice_dp_prefix_key(addr, family, 0, key);
}

static void count_service_addr(struct memory *m, const struct sluice_dp_service *s, int step)
{
	struct sluice_dp_prefix key;
	uintptr_t *slot;

	addr_key(&s->addr, s->family, &key);
	slot = (uintptr_t *)sluice_map_slot(&m->service_addrs, &key, sizeof(key));
	*slot += step;
	if (!*slot)
		sluice_map_del(&m->service_addrs, &key, sizeof(key));
}

static void index_endpoint(struct memory *m, struct sluice_dp_object *o, bool add)
{
	struct sluice_dp_prefix key;

	for (size_t i = 0; i < o->endpoint.n_addrs; i++) {
		addr_key(&o->endpoint.addrs[i].addr, o->endpoint.addrs[i].family, &key);
		if (add)
			*sluice_map_slot(&m->endpoint_addrs, &key, sizeof(key)) = o;
		else
			sluice_map_del(&m->endpoint_addrs, &key, sizeof(key));
	}
}

static void index_object(struct memory *m, struct sluice_dp_object *o, bool add)
{
	int step = add ? 1 : -1;

	if (o->kind == SLUICE_DP_SERVICE)
		count_service_addr(m, &o->service, step);
	else if (o->kind == SLUICE_DP_PEER)
		m->peer_lengths[o->peer.family == SLUICE_IPV6][o->peer.plen] += step;
	else if (o->kind == SLUICE_DP_ENDPOINT)
		index_endpoint(m, o, add);
}

/* Those that go first: within a transaction an address may move from one endpoint to the next. */
static void index_changes(struct memory *m, bool add)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (int kind = 0; kind < SLUICE_DP_KINDS; kind++) {
		const struct sluice_map *changed = &m->objects.changed[kind];

		for (e = sluice_map_first(changed, &it); e; e = sluice_map_next(&it)) {
			const struct sluice_dp_change *c = e->value;
			struct sluice_dp_object *o = add ? c->new : c->old;

			if (o && !c->same)
				index_object(m, o, add);
		}
	}
}

static int begin(struct sluice_dataplane *dp, struct sluice_err *err)
{
	return sluice_dp_begin(&memory(dp)->objects, err);
}

static void abort_transaction(struct sluice_dataplane *dp)
{
	sluice_dp_drop(&memory(dp)->objects);
}

static int commit(struct sluice_dataplane *dp, bool sweep, struct sluice_err *err)
{
	struct memory *m = memory(dp);
	int ret = sluice_dp_seal(&m->objects, sweep, err);

	if (ret) {
		sluice_dp_drop(&m->objects);
		return ret;
	}
	index_changes(m, false);
	index_changes(m, true);
	sluice_dp_apply(&m->objects, ++m->revision);
	return 0;
}

static void close_memory(struct sluice_dataplane *dp)
{
	struct memory *m = memory(dp);

	sluice_dp_clear(&m->objects);
	sluice_map_clear(&m->service_addrs, NULL);
	sluice_map_clear(&m->endpoint_addrs, NULL);
	free(m);
}

static const struct sluice_dataplane_ops memory_ops = {
	.name = "memory",
	.begin = begin,
	.commit = commit,
	.abort = abort_transaction,
	SLUICE_DP_OBJECTS_OPS,
	.close = close_memory,
};

struct sluice_dataplane *sluice_memory_new(void)
{
	struct memory *m = sluice_zalloc(sizeof(*m));

	m->objects.dp.ops = &memory_ops;
	return &m->objects.dp;
}

/* Questions *******************************************************************************/

uint32_t sluice_memory_class(const struct sluice_dataplane *dp, const struct sluice_addr *addr,
			     uint8_t family)
{
	const struct memory *m = memory(dp);
	const unsigned int *lengths = m->peer_lengths[family == SLUICE_IPV6];
	int plen;

	for (plen = sluice_family_bits(family); plen >= 0; plen--) {
		struct sluice_dp_prefix key;
		struct sluice_addr a = *addr;
		const struct sluice_dp_object *o;

		if (!lengths[plen])
			continue;
		sluice_addr_mask(&a, plen);
		sluice_dp_prefix_key(&a, family, plen, &key);
		o = sluice_dp_before(&m->objects, SLUICE_DP_PEER, &key, sizeof(key));
		if (o)
			return o->peer.class;
	}
	return 0;
}

const struct sluice_dp_rule *sluice_memory_rule(const struct sluice_dataplane *dp, uint32_t id)
{
	const struct sluice_dp_object *o =
		sluice_dp_before(&memory(dp)->objects, SLUICE_DP_RULE, &id, sizeof(id));

	return o ? &o->rule : NULL;
}

static const struct sluice_dp_endpoint *
find_endpoint(const struct memory *m, const struct sluice_addr *addr, uint8_t family)
{
	struct sluice_dp_prefix key;
	const struct sluice_dp_object *o;

	addr_key(addr, family, &key);
	o = sluice_map_get(&m->endpoint_addrs, &key, sizeof(key));
	return o ? &o->endpoint : NULL;
}

static const struct sluice_ruleset *find_ruleset(const struct memory *m, uint32_t id)
{
	const struct sluice_dp_object *o =
		id ? sluice_dp_before(&m->objects, SLUICE_DP_RULESET, &id, sizeof(id)) : NULL;

	return o ? o->ruleset.blob : NULL;
}

/* Behind the service: both ends as they are after NAT. */
static void judge(const struct memory *m, const struct sluice_memory_query *q,
		  const struct sluice_addr *dst, uint16_t port, struct sluice_memory_answer *a)
{
	struct sluice_judge_in in = { .flags = q->flags, .port = port, .proto = q->proto };

	a->src = find_endpoint(m, &q->src, q->family);
	a->dst = find_endpoint(m, dst, q->family);
	if (a->src) {
		in.flags |= SLUICE_JUDGE_SRC_LOCAL;
		in.flags |= a->src->open ? 0 : SLUICE_JUDGE_SRC_CLOSED;
		in.egress = find_ruleset(m, a->src->egress);
	}
	if (a->dst) {
		in.flags |= SLUICE_JUDGE_DST_LOCAL;
		in.flags |= a->dst->open ? 0 : SLUICE_JUDGE_DST_CLOSED;
		in.ingress = find_ruleset(m, a->dst->ingress);
	}
	if (a->src && a->src == a->dst)
		in.flags |= SLUICE_JUDGE_SELF;
	in.src_class = sluice_memory_class(&m->objects.dp, &q->src, q->family);
	in.dst_class = sluice_memory_class(&m->objects.dp, dst, q->family);
	sluice_judge(&in, &a->judgement);
}

void sluice_memory_query_backend(const struct sluice_dataplane *dp,
				 const struct sluice_memory_query *q,
				 const struct sluice_dp_service *service, uint32_t index,
				 struct sluice_memory_answer *a)
{
	memset(a, 0, sizeof(*a));
	a->service = service;
	a->backend = &service->backends[index];
	judge(memory(dp), q, &a->backend->addr, a->backend->port, a);
}

void sluice_memory_query(const struct sluice_dataplane *dp, const struct sluice_memory_query *q,
			 struct sluice_memory_answer *a)
{
	const struct memory *m = memory(dp);
	struct sluice_service_key key;
	struct sluice_dp_prefix addr;
	const struct sluice_dp_object *o;

	memset(a, 0, sizeof(*a));
	sluice_dp_service_key(
		&(struct sluice_dp_service){
			.addr = q->dst, .port = q->port, .proto = q->proto, .family = q->family },
		&key);
	o = sluice_dp_before(&m->objects, SLUICE_DP_SERVICE, &key, sizeof(key));
	if (o && o->service.n_backends) {
		sluice_memory_query_backend(dp, q, &o->service,
					    sluice_service_pick(q->random, o->service.n_backends),
					    a);
		return;
	}
	addr_key(&q->dst, q->family, &addr);
	if (!o && !sluice_map_get(&m->service_addrs, &addr, sizeof(addr))) {
		judge(m, q, &q->dst, q->port, a);
		return;
	}
	a->service = o ? &o->service : NULL;
	a->src = find_endpoint(m, &q->src, q->family);
	a->judgement.verdict = a->judgement.staged_verdict = SLUICE_VERDICT_REJECT;
	a->judgement.reason = o ? SLUICE_REASON_NO_ENDPOINTS : SLUICE_REASON_SERVICE_PORT;
}

char *sluice_memory_dump(const struct sluice_dataplane *dp)
{
	return sluice_dp_dump(&memory(dp)->objects);
}
