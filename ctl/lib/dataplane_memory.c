// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each kind of object is a table from its key to a copy. A transaction collects copies and
 * deletions in the order of their arrival; commit applies them to the tables only after it has
 * checked what they would lead to.
 */
#include "ctl/lib/dataplane_memory.h"

#include "core/service.h"
#include "ctl/lib/address.h"
#include "ctl/lib/alloc.h"
#include "ctl/lib/map.h"
#include "uapi/sluice.h"

enum kind { SERVICE, PEER, RULE, RULESET, ENDPOINT, UPLINK, KINDS };

#define MAX_KEY 20

struct object {
	enum kind kind;
	unsigned char key[MAX_KEY];
	size_t key_len;
	bool delete;
	uint32_t revision;
	union {
		struct sluice_dp_service service;
		struct sluice_dp_peer peer;
		struct sluice_dp_rule rule;
		struct sluice_dp_ruleset ruleset;
		struct sluice_dp_endpoint endpoint;
		struct sluice_dp_uplink uplink;
	};
};

struct memory {
	struct sluice_dataplane dp;
	struct sluice_map tables[KINDS]; /* key -> struct object */
	struct sluice_map service_addrs; /* address -> number of its ports */
	struct sluice_map endpoint_addrs; /* address -> struct object of the endpoint */
	unsigned int peer_lengths[2][129];
	bool open;
	uint32_t revision;
	struct object **pending;
	size_t n_pending, cap_pending;
};

static struct memory *memory(const struct sluice_dataplane *dp)
{
	return (struct memory *)dp;
}

static void free_object(void *value)
{
	struct object *o = value;

	if (!o)
		return;
	switch (o->kind) {
	case SERVICE:
		free((char *)o->service.name);
		free((void *)o->service.backends);
		break;
	case PEER:
		free((char *)o->peer.name);
		break;
	case RULE:
		free((char *)o->rule.policy);
		free((char *)o->rule.rule);
		break;
	case RULESET:
		free((void *)o->ruleset.blob);
		break;
	case ENDPOINT:
		free((char *)o->endpoint.name);
		free((char *)o->endpoint.container);
		free((void *)o->endpoint.addrs);
		break;
	case UPLINK:
	case KINDS:
		break;
	}
	free(o);
}

static char *copy_text(const char *s)
{
	return sluice_strdup(s ? s : "");
}

static struct object *pend(struct memory *m, enum kind kind, const void *key, size_t len,
			   bool delete, struct sluice_err *err)
{
	struct object *o;

	if (!m->open) {
		sluice_err_set(err, EINVAL, "no transaction is open");
		return NULL;
	}
	o = sluice_zalloc(sizeof(*o));
	o->kind = kind;
	o->key_len = len;
	memcpy(o->key, key, len);
	o->delete = delete;
	sluice_grow(m->pending, m->n_pending, m->cap_pending);
	m->pending[m->n_pending++] = o;
	return o;
}

static int begin(struct sluice_dataplane *dp, struct sluice_err *err)
{
	struct memory *m = memory(dp);

	if (m->open)
		return sluice_err_set(err, EBUSY, "a transaction is open");
	m->open = true;
	return 0;
}

static void drop_pending(struct memory *m)
{
	size_t i;

	for (i = 0; i < m->n_pending; i++)
		free_object(m->pending[i]);
	m->n_pending = 0;
	m->open = false;
}

static void abort_transaction(struct sluice_dataplane *dp)
{
	drop_pending(memory(dp));
}

static void service_key(const struct sluice_addr *addr, uint8_t family, uint8_t proto,
			uint16_t port, struct sluice_service_key *key)
{
	memset(key, 0, sizeof(*key));
	key->addr = *addr;
	key->port = sluice_htons(port);
	key->proto = proto;
	key->family = family;
}

#define ADDR_KEY 17

static void addr_key(const struct sluice_addr *addr, uint8_t family, unsigned char *key)
{
	memcpy(key, addr, 16);
	key[16] = family;
}

#define PREFIX_KEY 18

static void prefix_key(const struct sluice_addr *addr, uint8_t family, uint8_t plen,
		       unsigned char *key)
{
	addr_key(addr, family, key);
	key[17] = plen;
}

static bool good_family(uint8_t family)
{
	return family == SLUICE_IPV4 || family == SLUICE_IPV6;
}

static int put_service(struct sluice_dataplane *dp, const struct sluice_dp_service *s, bool delete,
		       struct sluice_err *err)
{
	struct sluice_service_key key;
	struct object *o;

	if (!good_family(s->family) || !s->port)
		return sluice_err_set(err, EINVAL, "service without family or port");
	service_key(&s->addr, s->family, s->proto, s->port, &key);
	o = pend(memory(dp), SERVICE, &key, sizeof(key), delete, err);
	if (!o)
		return -EINVAL;
	o->service = *s;
	if (delete) {
		o->service.name = NULL;
		o->service.backends = NULL;
		return 0;
	}
	o->service.name = copy_text(s->name);
	o->service.backends = sluice_memdup(s->backends, s->n_backends * sizeof(*s->backends));
	if (s->n_backends > SLUICE_MAX_BACKENDS_BYTES / (s->family == SLUICE_IPV4 ?
								 sizeof(struct sluice_backend4) :
								 sizeof(struct sluice_backend6)))
		return sluice_err_set(err, E2BIG, "service %s: too many backends", s->name);
	return 0;
}

static int set_service(struct sluice_dataplane *dp, const struct sluice_dp_service *s,
		       struct sluice_err *err)
{
	return put_service(dp, s, false, err);
}

static int del_service(struct sluice_dataplane *dp, const struct sluice_dp_service *s,
		       struct sluice_err *err)
{
	return put_service(dp, s, true, err);
}

static int put_peer(struct sluice_dataplane *dp, const struct sluice_dp_peer *p, bool delete,
		    struct sluice_err *err)
{
	unsigned char key[PREFIX_KEY];
	struct sluice_addr masked = p->addr;
	struct object *o;

	if (!good_family(p->family) || p->plen > sluice_family_bits(p->family))
		return sluice_err_set(err, EINVAL, "peer without family or prefix length");
	sluice_addr_mask(&masked, p->plen);
	if (!sluice_addr_equal(&masked, &p->addr))
		return sluice_err_set(err, EINVAL, "peer has bits behind its prefix");
	prefix_key(&p->addr, p->family, p->plen, key);
	o = pend(memory(dp), PEER, key, sizeof(key), delete, err);
	if (!o)
		return -EINVAL;
	o->peer = *p;
	o->peer.name = delete ? NULL : copy_text(p->name);
	return 0;
}

static int set_peer(struct sluice_dataplane *dp, const struct sluice_dp_peer *p,
		    struct sluice_err *err)
{
	return put_peer(dp, p, false, err);
}

static int del_peer(struct sluice_dataplane *dp, const struct sluice_dp_peer *p,
		    struct sluice_err *err)
{
	return put_peer(dp, p, true, err);
}

static int set_rule(struct sluice_dataplane *dp, const struct sluice_dp_rule *r,
		    struct sluice_err *err)
{
	struct object *o;

	if (!r->id || strlen(r->policy) >= SLUICE_NAME_LEN || strlen(r->rule) >= SLUICE_NAME_LEN)
		return sluice_err_set(err, EINVAL, "rule without an id, or its name is too long");
	o = pend(memory(dp), RULE, &r->id, sizeof(r->id), false, err);
	if (!o)
		return -EINVAL;
	o->rule = (struct sluice_dp_rule){ r->id, copy_text(r->policy), copy_text(r->rule) };
	return 0;
}

static int del_rule(struct sluice_dataplane *dp, const struct sluice_dp_rule *r,
		    struct sluice_err *err)
{
	return pend(memory(dp), RULE, &r->id, sizeof(r->id), true, err) ? 0 : -EINVAL;
}

static int set_ruleset(struct sluice_dataplane *dp, const struct sluice_dp_ruleset *r,
		       struct sluice_err *err)
{
	const char *problem = sluice_ruleset_validate(r->blob, r->blob->size);
	struct object *o;

	if (problem || !r->id)
		return sluice_err_set(err, EINVAL, "ruleset %u: %s", r->id,
				      problem ? problem : "0 is no id");
	o = pend(memory(dp), RULESET, &r->id, sizeof(r->id), false, err);
	if (!o)
		return -EINVAL;
	o->ruleset = (struct sluice_dp_ruleset){ r->id, sluice_memdup(r->blob, r->blob->size) };
	return 0;
}

static int del_ruleset(struct sluice_dataplane *dp, const struct sluice_dp_ruleset *r,
		       struct sluice_err *err)
{
	return pend(memory(dp), RULESET, &r->id, sizeof(r->id), true, err) ? 0 : -EINVAL;
}

static int set_endpoint(struct sluice_dataplane *dp, const struct sluice_dp_endpoint *e,
			struct sluice_err *err)
{
	struct object *o;

	if (e->n_addrs > SLUICE_MAX_ENDPOINT_ADDRS)
		return sluice_err_set(err, E2BIG, "endpoint %s: too many addresses", e->name);
	o = pend(memory(dp), ENDPOINT, &e->ifindex, sizeof(e->ifindex), false, err);
	if (!o)
		return -EINVAL;
	o->endpoint = *e;
	o->endpoint.name = copy_text(e->name);
	o->endpoint.container = copy_text(e->container);
	o->endpoint.addrs = sluice_memdup(e->addrs, e->n_addrs * sizeof(*e->addrs));
	return 0;
}

static int del_endpoint(struct sluice_dataplane *dp, const struct sluice_dp_endpoint *e,
			struct sluice_err *err)
{
	return pend(memory(dp), ENDPOINT, &e->ifindex, sizeof(e->ifindex), true, err) ? 0 : -EINVAL;
}

static int set_uplink(struct sluice_dataplane *dp, const struct sluice_dp_uplink *u,
		      struct sluice_err *err)
{
	struct object *o = pend(memory(dp), UPLINK, &u->ifindex, sizeof(u->ifindex), false, err);

	if (o)
		o->uplink = *u;
	return o ? 0 : -EINVAL;
}

static int del_uplink(struct sluice_dataplane *dp, const struct sluice_dp_uplink *u,
		      struct sluice_err *err)
{
	return pend(memory(dp), UPLINK, &u->ifindex, sizeof(u->ifindex), true, err) ? 0 : -EINVAL;
}

/* ---- commit ---- */

static void count_service_addr(struct memory *m, const struct sluice_dp_service *s, int step)
{
	unsigned char key[ADDR_KEY];
	uintptr_t *slot;

	addr_key(&s->addr, s->family, key);
	slot = (uintptr_t *)sluice_map_slot(&m->service_addrs, key, sizeof(key));
	*slot += step;
	if (!*slot)
		sluice_map_del(&m->service_addrs, key, sizeof(key));
}

static void index_endpoint(struct memory *m, struct object *o, bool add)
{
	unsigned char key[ADDR_KEY];
	size_t i;

	for (i = 0; i < o->endpoint.n_addrs; i++) {
		addr_key(&o->endpoint.addrs[i].addr, o->endpoint.addrs[i].family, key);
		/* Within a transaction the next owner may be there before the last one leaves. */
		if (add)
			*sluice_map_slot(&m->endpoint_addrs, key, sizeof(key)) = o;
		else if (sluice_map_get(&m->endpoint_addrs, key, sizeof(key)) == o)
			sluice_map_del(&m->endpoint_addrs, key, sizeof(key));
	}
}

/* Takes the object of this key out of its table, if it is there, and frees it. */
static void take_out(struct memory *m, enum kind kind, const unsigned char *key, size_t len)
{
	struct object *o = sluice_map_del(&m->tables[kind], key, len);

	if (!o)
		return;
	if (kind == SERVICE)
		count_service_addr(m, &o->service, -1);
	else if (kind == PEER)
		m->peer_lengths[o->peer.family == SLUICE_IPV6][o->peer.plen]--;
	else if (kind == ENDPOINT)
		index_endpoint(m, o, false);
	free_object(o);
}

static void put_in(struct memory *m, struct object *o)
{
	take_out(m, o->kind, o->key, o->key_len);
	*sluice_map_slot(&m->tables[o->kind], o->key, o->key_len) = o;
	o->revision = m->revision;
	if (o->kind == SERVICE)
		count_service_addr(m, &o->service, 1);
	else if (o->kind == PEER)
		m->peer_lengths[o->peer.family == SLUICE_IPV6][o->peer.plen]++;
	else if (o->kind == ENDPOINT)
		index_endpoint(m, o, true);
}

/* Would there be a ruleset of this id after the commit? */
static bool will_have_ruleset(const struct memory *m, const struct sluice_map *after, uint32_t id,
			      bool sweep)
{
	const struct object *o = sluice_map_get(after, &id, sizeof(id));

	if (o)
		return !o->delete;
	return !sweep && sluice_map_get(&m->tables[RULESET], &id, sizeof(id));
}

/* seen: the addresses of the endpoints that were checked before. */
static int check_endpoint(const struct memory *m, const struct sluice_map *after,
			  struct sluice_map *seen, const struct object *o, bool sweep,
			  struct sluice_err *err)
{
	uint32_t ids[2] = { o->endpoint.ingress, o->endpoint.egress };
	unsigned char key[ADDR_KEY];
	size_t i;
	void **slot;

	for (i = 0; i < 2; i++)
		if (ids[i] && !will_have_ruleset(m, after, ids[i], sweep))
			return sluice_err_set(err, ENOENT, "endpoint %s: there is no ruleset %u",
					      o->endpoint.name, ids[i]);
	for (i = 0; i < o->endpoint.n_addrs; i++) {
		addr_key(&o->endpoint.addrs[i].addr, o->endpoint.addrs[i].family, key);
		slot = sluice_map_slot(seen, key, sizeof(key));
		if (*slot)
			return sluice_err_set(err, EADDRINUSE,
					      "endpoint %s: another one has its address",
					      o->endpoint.name);
		*slot = (void *)o;
	}
	return 0;
}

static int check(const struct memory *m, bool sweep, struct sluice_err *err)
{
	struct sluice_map rulesets = { 0 }, endpoints = { 0 }, seen = { 0 };
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	int ret = 0;
	size_t i;

	for (i = 0; i < m->n_pending; i++) {
		struct object *o = m->pending[i];

		if (o->kind == RULESET)
			*sluice_map_slot(&rulesets, o->key, o->key_len) = o;
		else if (o->kind == ENDPOINT)
			*sluice_map_slot(&endpoints, o->key, o->key_len) = o;
	}
	for (e = sluice_map_first(&endpoints, &it); e && !ret; e = sluice_map_next(&it))
		if (!((struct object *)e->value)->delete)
			ret = check_endpoint(m, &rulesets, &seen, e->value, sweep, err);
	for (e = sluice_map_first(&m->tables[ENDPOINT], &it); e && !ret && !sweep;
	     e = sluice_map_next(&it))
		if (!sluice_map_get(&endpoints, e->key, e->len))
			ret = check_endpoint(m, &rulesets, &seen, e->value, sweep, err);
	sluice_map_clear(&rulesets, NULL);
	sluice_map_clear(&endpoints, NULL);
	sluice_map_clear(&seen, NULL);
	return ret;
}

static int commit(struct sluice_dataplane *dp, bool sweep, struct sluice_err *err)
{
	struct memory *m = memory(dp);
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	size_t i;
	int ret, kind;

	if (!m->open)
		return sluice_err_set(err, EINVAL, "no transaction is open");
	ret = check(m, sweep, err);
	if (ret) {
		drop_pending(m);
		return ret;
	}
	m->revision++;
	for (i = 0; i < m->n_pending; i++) {
		struct object *o = m->pending[i];

		if (o->delete) {
			take_out(m, o->kind, o->key, o->key_len);
			free_object(o);
		} else {
			put_in(m, o);
		}
	}
	m->n_pending = 0;
	m->open = false;
	for (kind = 0; sweep && kind < KINDS; kind++) {
		for (e = sluice_map_first(&m->tables[kind], &it); e; e = sluice_map_next(&it)) {
			struct object *o = e->value;
			unsigned char key[MAX_KEY];

			if (o->revision == m->revision)
				continue;
			memcpy(key, o->key, o->key_len);
			take_out(m, kind, key, o->key_len);
		}
	}
	return 0;
}

static void close_memory(struct sluice_dataplane *dp)
{
	struct memory *m = memory(dp);
	int kind;

	drop_pending(m);
	for (kind = 0; kind < KINDS; kind++)
		sluice_map_clear(&m->tables[kind], free_object);
	sluice_map_clear(&m->service_addrs, NULL);
	sluice_map_clear(&m->endpoint_addrs, NULL);
	free(m->pending);
	free(m);
}

static const struct sluice_dataplane_ops memory_ops = {
	.name = "memory",
	.begin = begin,
	.commit = commit,
	.abort = abort_transaction,
	.set_service = set_service,
	.del_service = del_service,
	.set_peer = set_peer,
	.del_peer = del_peer,
	.set_rule = set_rule,
	.del_rule = del_rule,
	.set_ruleset = set_ruleset,
	.del_ruleset = del_ruleset,
	.set_endpoint = set_endpoint,
	.del_endpoint = del_endpoint,
	.set_uplink = set_uplink,
	.del_uplink = del_uplink,
	.close = close_memory,
};

struct sluice_dataplane *sluice_memory_new(void)
{
	struct memory *m = sluice_zalloc(sizeof(*m));

	m->dp.ops = &memory_ops;
	return &m->dp;
}

/* ---- questions ---- */

uint32_t sluice_memory_class(const struct sluice_dataplane *dp, const struct sluice_addr *addr,
			     uint8_t family)
{
	const struct memory *m = memory(dp);
	const unsigned int *lengths = m->peer_lengths[family == SLUICE_IPV6];
	int plen;

	for (plen = sluice_family_bits(family); plen >= 0; plen--) {
		unsigned char key[PREFIX_KEY];
		struct sluice_addr a = *addr;
		const struct object *o;

		if (!lengths[plen])
			continue;
		sluice_addr_mask(&a, plen);
		prefix_key(&a, family, plen, key);
		o = sluice_map_get(&m->tables[PEER], key, sizeof(key));
		if (o)
			return o->peer.class;
	}
	return 0;
}

const struct sluice_dp_rule *sluice_memory_rule(const struct sluice_dataplane *dp, uint32_t id)
{
	const struct object *o = sluice_map_get(&memory(dp)->tables[RULE], &id, sizeof(id));

	return o ? &o->rule : NULL;
}

static const struct sluice_dp_endpoint *
find_endpoint(const struct memory *m, const struct sluice_addr *addr, uint8_t family)
{
	unsigned char key[ADDR_KEY];
	const struct object *o;

	addr_key(addr, family, key);
	o = sluice_map_get(&m->endpoint_addrs, key, sizeof(key));
	return o ? &o->endpoint : NULL;
}

static const struct sluice_ruleset *find_ruleset(const struct memory *m, uint32_t id)
{
	const struct object *o = id ? sluice_map_get(&m->tables[RULESET], &id, sizeof(id)) : NULL;

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
	in.src_class = sluice_memory_class(&m->dp, &q->src, q->family);
	in.dst_class = sluice_memory_class(&m->dp, dst, q->family);
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
	unsigned char addr[ADDR_KEY];
	const struct object *o;

	memset(a, 0, sizeof(*a));
	service_key(&q->dst, q->family, q->proto, q->port, &key);
	o = sluice_map_get(&m->tables[SERVICE], &key, sizeof(key));
	if (o && o->service.n_backends) {
		sluice_memory_query_backend(dp, q, &o->service,
					    sluice_service_pick(q->random, o->service.n_backends),
					    a);
		return;
	}
	addr_key(&q->dst, q->family, addr);
	if (!o && !sluice_map_get(&m->service_addrs, addr, sizeof(addr))) {
		judge(m, q, &q->dst, q->port, a);
		return;
	}
	a->service = o ? &o->service : NULL;
	a->src = find_endpoint(m, &q->src, q->family);
	a->judgement.verdict = a->judgement.staged_verdict = SLUICE_VERDICT_REJECT;
	a->judgement.reason = o ? SLUICE_REASON_NO_ENDPOINTS : SLUICE_REASON_SERVICE_PORT;
}

/* ---- dump ---- */

static void dump_blob(FILE *f, const struct sluice_ruleset *rs)
{
	const unsigned char *p = (const unsigned char *)rs;
	uint64_t h = 0xcbf29ce484222325ULL;
	uint32_t i;

	for (i = 0; i < rs->size; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	fprintf(f, "%u rules %u classes %u ports %u rows %016llx", rs->nrules, rs->nclasses,
		rs->nports, rs->nrows, (unsigned long long)h);
}

static char *dump_object(const struct object *o)
{
	char *text = NULL, buf[SLUICE_ADDR_TEXT];
	struct sluice_cidr prefix;
	size_t len, i;
	FILE *f = sluice_alloc_check(open_memstream(&text, &len));

	switch (o->kind) {
	case SERVICE:
		fprintf(f, "service %s %s %s",
			sluice_address_port_format(&o->service.addr, o->service.family,
						   o->service.port, buf),
			sluice_protocol_name(o->service.proto), o->service.name);
		for (i = 0; i < o->service.n_backends; i++)
			fprintf(f, " %s",
				sluice_address_port_format(&o->service.backends[i].addr,
							   o->service.family,
							   o->service.backends[i].port, buf));
		break;
	case PEER:
		prefix = (struct sluice_cidr){ o->peer.addr, o->peer.plen, o->peer.family };
		fprintf(f, "peer %s %u %s", sluice_cidr_format(&prefix, buf), o->peer.class,
			o->peer.name);
		break;
	case RULE:
		fprintf(f, "rule %u %s %s", o->rule.id, o->rule.policy, o->rule.rule);
		break;
	case RULESET:
		fprintf(f, "ruleset %u ", o->ruleset.id);
		dump_blob(f, o->ruleset.blob);
		break;
	case ENDPOINT:
		fprintf(f, "endpoint %s %s ingress %u egress %u %s", o->endpoint.name,
			o->endpoint.container, o->endpoint.ingress, o->endpoint.egress,
			o->endpoint.open ? "open" : "closed");
		for (i = 0; i < o->endpoint.n_addrs; i++)
			fprintf(f, " %s",
				sluice_address_format(&o->endpoint.addrs[i].addr,
						      o->endpoint.addrs[i].family, buf));
		break;
	case UPLINK:
		fprintf(f, "uplink %u", o->uplink.ifindex);
		break;
	case KINDS:
		break;
	}
	fclose(f);
	return sluice_alloc_check(text);
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *sluice_memory_dump(const struct sluice_dataplane *dp)
{
	const struct memory *m = memory(dp);
	char **lines = NULL, *text = NULL;
	size_t n = 0, cap = 0, len, i;
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	FILE *f;
	int kind;

	for (kind = 0; kind < KINDS; kind++) {
		for (e = sluice_map_first(&m->tables[kind], &it); e; e = sluice_map_next(&it)) {
			sluice_grow(lines, n, cap);
			lines[n++] = dump_object(e->value);
		}
	}
	if (n)
		qsort(lines, n, sizeof(*lines), compare_text);
	f = sluice_alloc_check(open_memstream(&text, &len));
	for (i = 0; i < n; i++) {
		fprintf(f, "%s\n", lines[i]);
		free(lines[i]);
	}
	fclose(f);
	free(lines);
	return sluice_alloc_check(text);
}
