// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/dataplane_objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/address.h"
#include "ctl/lib/alloc.h"
#include "uapi/sluice.h"

/* One object ******************************************************************************/

static void free_object(void *value)
{
	struct sluice_dp_object *o = value;

	if (!o)
		return;
	switch (o->kind) {
	case SLUICE_DP_SERVICE:
		free((char *)o->service.name);
		free((void *)o->service.backends);
		break;
	case SLUICE_DP_PEER:
		free((char *)o->peer.name);
		break;
	case SLUICE_DP_RULE:
		free((char *)o->rule.policy);
		free((char *)o->rule.rule);
		break;
	case SLUICE_DP_RULESET:
		free((void *)o->ruleset.blob);
		break;
	case SLUICE_DP_ENDPOINT:
		free((char *)o->endpoint.name);
		free((char *)o->endpoint.container);
		free((void *)o->endpoint.addrs);
		break;
	case SLUICE_DP_UPLINK:
	case SLUICE_DP_KINDS:
		break;
	}
	free(o);
}

/* What is longer than a name may be is cut, as in a netlink message. */
static char *copy_text(const char *s)
{
	return sluice_alloc_check(strndup(s ? s : "", SLUICE_NAME_LEN - 1));
}

void sluice_dp_service_key(const struct sluice_dp_service *o, struct sluice_service_key *key)
{
	memset(key, 0, sizeof(*key));
	key->addr = o->addr;
	key->port = sluice_htons(o->port);
	key->proto = o->proto;
	key->family = o->family;
}

void sluice_dp_prefix_key(const struct sluice_addr *addr, uint8_t family, uint8_t plen,
			  struct sluice_dp_prefix *key)
{
	*key = (struct sluice_dp_prefix){ *addr, family, plen, 0 };
}

static struct sluice_dp_object *new_object(enum sluice_dp_kind kind, const void *key, size_t len)
{
	struct sluice_dp_object *o = sluice_zalloc(sizeof(*o));

	o->kind = kind;
	memcpy(o->key, key, len);
	o->key_len = len;
	return o;
}

static struct sluice_dp_object *copy_service(const struct sluice_dp_service *s)
{
	struct sluice_dp_backend *backends =
		sluice_memdup(s->backends, s->n_backends * sizeof(*s->backends));
	struct sluice_service_key key;
	struct sluice_dp_object *o;

	sluice_dp_service_key(s, &key);
	o = new_object(SLUICE_DP_SERVICE, &key, sizeof(key));
	if (s->n_backends)
		qsort(backends, s->n_backends, sizeof(*backends), sluice_dp_compare_backends);
	o->service = *s;
	o->service.name = copy_text(s->name);
	o->service.backends = backends;
	return o;
}

static struct sluice_dp_object *copy_peer(const struct sluice_dp_peer *p)
{
	struct sluice_dp_prefix key;
	struct sluice_dp_object *o;

	sluice_dp_prefix_key(&p->addr, p->family, p->plen, &key);
	o = new_object(SLUICE_DP_PEER, &key, sizeof(key));
	o->peer = *p;
	o->peer.name = copy_text(p->name);
	return o;
}

static struct sluice_dp_object *copy_rule(const struct sluice_dp_rule *r)
{
	struct sluice_dp_object *o = new_object(SLUICE_DP_RULE, &r->id, sizeof(r->id));

	o->rule = (struct sluice_dp_rule){ r->id, copy_text(r->policy), copy_text(r->rule) };
	return o;
}

static struct sluice_dp_object *copy_ruleset(const struct sluice_dp_ruleset *r)
{
	struct sluice_dp_object *o = new_object(SLUICE_DP_RULESET, &r->id, sizeof(r->id));

	o->ruleset = (struct sluice_dp_ruleset){ r->id, sluice_memdup(r->blob, r->blob->size) };
	return o;
}

static struct sluice_dp_object *copy_endpoint(const struct sluice_dp_endpoint *e)
{
	struct sluice_dp_object *o =
		new_object(SLUICE_DP_ENDPOINT, &e->ifindex, sizeof(e->ifindex));

	o->endpoint = *e;
	o->endpoint.name = copy_text(e->name);
	o->endpoint.container = copy_text(e->container);
	o->endpoint.addrs = sluice_memdup(e->addrs, e->n_addrs * sizeof(*e->addrs));
	return o;
}

static struct sluice_dp_object *copy_uplink(const struct sluice_dp_uplink *u)
{
	struct sluice_dp_object *o = new_object(SLUICE_DP_UPLINK, &u->ifindex, sizeof(u->ifindex));

	o->uplink = *u;
	return o;
}

bool sluice_dp_same_backends(const struct sluice_dp_service *a, const struct sluice_dp_service *b)
{
	if (a->n_backends != b->n_backends)
		return false;
	for (uint32_t i = 0; i < a->n_backends; i++)
		if (sluice_dp_compare_backends(&a->backends[i], &b->backends[i]))
			return false;
	return true;
}

static bool same_addrs(const struct sluice_dp_endpoint *a, const struct sluice_dp_endpoint *b)
{
	if (a->n_addrs != b->n_addrs)
		return false;
	for (uint32_t i = 0; i < a->n_addrs; i++)
		if (a->addrs[i].family != b->addrs[i].family ||
		    !sluice_addr_equal(&a->addrs[i].addr, &b->addrs[i].addr))
			return false;
	return true;
}

static bool same(const struct sluice_dp_object *a, const struct sluice_dp_object *b)
{
	switch (a->kind) {
	case SLUICE_DP_SERVICE:
		return !strcmp(a->service.name, b->service.name) &&
		       sluice_dp_same_backends(&a->service, &b->service);
	case SLUICE_DP_PEER:
		return a->peer.class == b->peer.class && !strcmp(a->peer.name, b->peer.name);
	case SLUICE_DP_RULE:
		return !strcmp(a->rule.policy, b->rule.policy) &&
		       !strcmp(a->rule.rule, b->rule.rule);
	case SLUICE_DP_RULESET:
		return a->ruleset.blob->size == b->ruleset.blob->size &&
		       !memcmp(a->ruleset.blob, b->ruleset.blob, a->ruleset.blob->size);
	case SLUICE_DP_ENDPOINT:
		return a->endpoint.ingress == b->endpoint.ingress &&
		       a->endpoint.egress == b->endpoint.egress &&
		       a->endpoint.open == b->endpoint.open &&
		       !strcmp(a->endpoint.name, b->endpoint.name) &&
		       !strcmp(a->endpoint.container, b->endpoint.container) &&
		       same_addrs(&a->endpoint, &b->endpoint);
	case SLUICE_DP_UPLINK:
	case SLUICE_DP_KINDS:
		break;
	}
	return true;
}

/* Collecting ******************************************************************************/

static struct sluice_dp_objects *objects(struct sluice_dataplane *dp)
{
	return (struct sluice_dp_objects *)dp;
}

static bool good_family(uint8_t family)
{
	return family == SLUICE_IPV4 || family == SLUICE_IPV6;
}

static int check_open(const struct sluice_dp_objects *o, struct sluice_err *err)
{
	return o->open ? 0 : sluice_err_set(err, EINVAL, "no transaction is open");
}

/* Takes over the object. */
static void pend(struct sluice_dp_objects *o, struct sluice_dp_object *object)
{
	sluice_grow(o->pending, o->n_pending, o->cap_pending);
	o->pending[o->n_pending++] = object;
}

static int pend_delete(struct sluice_dp_objects *o, enum sluice_dp_kind kind, const void *key,
		       size_t len, struct sluice_err *err)
{
	struct sluice_dp_object *object;
	int ret = check_open(o, err);

	if (ret)
		return ret;
	object = new_object(kind, key, len);
	object->delete = true;
	pend(o, object);
	return 0;
}

static int check_service_key(const struct sluice_dp_service *s, struct sluice_err *err)
{
	if (!good_family(s->family) || !s->port)
		return sluice_err_set(err, EINVAL, "service without family or port");
	if (s->proto != SLUICE_PROTO_TCP && s->proto != SLUICE_PROTO_UDP &&
	    s->proto != SLUICE_PROTO_SCTP)
		return sluice_err_set(err, EINVAL, "protocol %u has no services", s->proto);
	return 0;
}

int sluice_dp_set_service(struct sluice_dataplane *dp, const struct sluice_dp_service *s,
			  struct sluice_err *err)
{
	size_t size = s->family == SLUICE_IPV4 ? sizeof(struct sluice_backend4) :
						 sizeof(struct sluice_backend6);
	struct sluice_dp_object *o;
	int ret = check_open(objects(dp), err);

	if (ret)
		return ret;
	ret = check_service_key(s, err);
	if (ret)
		return ret;
	if (s->n_backends > SLUICE_MAX_BACKENDS_BYTES / size)
		return sluice_err_set(err, E2BIG, "service %s: too many backends", s->name);
	o = copy_service(s);
	for (uint32_t i = 0; i < s->n_backends && !ret; i++) {
		const struct sluice_dp_backend *b = &o->service.backends[i];

		if (!b->port)
			ret = sluice_err_set(err, EINVAL, "service %s: a backend has port 0",
					     s->name);
		else if (i && !sluice_dp_compare_backends(b - 1, b))
			ret = sluice_err_set(err, EINVAL, "service %s: a backend is given twice",
					     s->name);
	}
	if (ret)
		free_object(o);
	else
		pend(objects(dp), o);
	return ret;
}

int sluice_dp_del_service(struct sluice_dataplane *dp, const struct sluice_dp_service *s,
			  struct sluice_err *err)
{
	struct sluice_service_key key;
	int ret = check_service_key(s, err);

	if (ret)
		return ret;
	sluice_dp_service_key(s, &key);
	return pend_delete(objects(dp), SLUICE_DP_SERVICE, &key, sizeof(key), err);
}

static int check_peer_key(const struct sluice_dp_peer *p, struct sluice_err *err)
{
	struct sluice_addr masked = p->addr;

	if (!good_family(p->family) || p->plen > sluice_family_bits(p->family))
		return sluice_err_set(err, EINVAL, "peer without family or prefix length");
	sluice_addr_mask(&masked, p->plen);
	if (!sluice_addr_equal(&masked, &p->addr))
		return sluice_err_set(err, EINVAL, "peer has bits behind its prefix");
	return 0;
}

int sluice_dp_set_peer(struct sluice_dataplane *dp, const struct sluice_dp_peer *p,
		       struct sluice_err *err)
{
	int ret = check_open(objects(dp), err);

	if (!ret)
		ret = check_peer_key(p, err);
	if (!ret)
		pend(objects(dp), copy_peer(p));
	return ret;
}

int sluice_dp_del_peer(struct sluice_dataplane *dp, const struct sluice_dp_peer *p,
		       struct sluice_err *err)
{
	struct sluice_dp_prefix key;
	int ret = check_peer_key(p, err);

	if (ret)
		return ret;
	sluice_dp_prefix_key(&p->addr, p->family, p->plen, &key);
	return pend_delete(objects(dp), SLUICE_DP_PEER, &key, sizeof(key), err);
}

int sluice_dp_set_rule(struct sluice_dataplane *dp, const struct sluice_dp_rule *r,
		       struct sluice_err *err)
{
	int ret = check_open(objects(dp), err);

	if (ret)
		return ret;
	if (!r->id || strlen(r->policy) >= SLUICE_NAME_LEN || strlen(r->rule) >= SLUICE_NAME_LEN)
		return sluice_err_set(err, EINVAL, "rule without an id, or its name is too long");
	pend(objects(dp), copy_rule(r));
	return 0;
}

int sluice_dp_del_rule(struct sluice_dataplane *dp, const struct sluice_dp_rule *r,
		       struct sluice_err *err)
{
	return pend_delete(objects(dp), SLUICE_DP_RULE, &r->id, sizeof(r->id), err);
}

int sluice_dp_set_ruleset(struct sluice_dataplane *dp, const struct sluice_dp_ruleset *r,
			  struct sluice_err *err)
{
	const char *problem = sluice_ruleset_validate(r->blob, r->blob->size);
	int ret = check_open(objects(dp), err);

	if (ret)
		return ret;
	if (problem || !r->id)
		return sluice_err_set(err, EINVAL, "ruleset %u: %s", r->id,
				      problem ? problem : "0 is no id");
	pend(objects(dp), copy_ruleset(r));
	return 0;
}

int sluice_dp_del_ruleset(struct sluice_dataplane *dp, const struct sluice_dp_ruleset *r,
			  struct sluice_err *err)
{
	return pend_delete(objects(dp), SLUICE_DP_RULESET, &r->id, sizeof(r->id), err);
}

int sluice_dp_set_endpoint(struct sluice_dataplane *dp, const struct sluice_dp_endpoint *e,
			   struct sluice_err *err)
{
	int ret = check_open(objects(dp), err);

	if (ret)
		return ret;
	if (!e->ifindex)
		return sluice_err_set(err, EINVAL, "endpoint %s: 0 is no interface", e->name);
	if (e->n_addrs > SLUICE_MAX_ENDPOINT_ADDRS)
		return sluice_err_set(err, E2BIG, "endpoint %s: too many addresses", e->name);
	for (uint32_t i = 0; i < e->n_addrs; i++)
		for (uint32_t j = 0; j < i; j++)
			if (e->addrs[i].family == e->addrs[j].family &&
			    sluice_addr_equal(&e->addrs[i].addr, &e->addrs[j].addr))
				return sluice_err_set(err, EINVAL,
						      "endpoint %s: an address is given twice",
						      e->name);
	pend(objects(dp), copy_endpoint(e));
	return 0;
}

int sluice_dp_del_endpoint(struct sluice_dataplane *dp, const struct sluice_dp_endpoint *e,
			   struct sluice_err *err)
{
	return pend_delete(objects(dp), SLUICE_DP_ENDPOINT, &e->ifindex, sizeof(e->ifindex), err);
}

int sluice_dp_set_uplink(struct sluice_dataplane *dp, const struct sluice_dp_uplink *u,
			 struct sluice_err *err)
{
	int ret = check_open(objects(dp), err);

	if (ret)
		return ret;
	if (!u->ifindex)
		return sluice_err_set(err, EINVAL, "uplink: 0 is no interface");
	pend(objects(dp), copy_uplink(u));
	return 0;
}

int sluice_dp_del_uplink(struct sluice_dataplane *dp, const struct sluice_dp_uplink *u,
			 struct sluice_err *err)
{
	return pend_delete(objects(dp), SLUICE_DP_UPLINK, &u->ifindex, sizeof(u->ifindex), err);
}

/* Transactions ****************************************************************************/

int sluice_dp_begin(struct sluice_dp_objects *o, struct sluice_err *err)
{
	if (o->open)
		return sluice_err_set(err, EBUSY, "a transaction is open");
	o->open = true;
	return 0;
}

struct sluice_dp_object *sluice_dp_before(const struct sluice_dp_objects *o,
					  enum sluice_dp_kind kind, const void *key, size_t len)
{
	return sluice_map_get(&o->tables[kind], key, len);
}

struct sluice_dp_object *sluice_dp_after(const struct sluice_dp_objects *o,
					 enum sluice_dp_kind kind, const void *key, size_t len)
{
	const struct sluice_dp_change *c = sluice_map_get(&o->changed[kind], key, len);

	return c ? c->new : sluice_dp_before(o, kind, key, len);
}

/* The pending object, whose key may have been written before in this transaction, becomes a change. */
static void seal_one(struct sluice_dp_objects *o, struct sluice_dp_object *object)
{
	void **slot = sluice_map_slot(&o->changed[object->kind], object->key, object->key_len);
	struct sluice_dp_change *c = *slot;

	if (!c) {
		*slot = c = sluice_zalloc(sizeof(*c));
		c->kind = object->kind;
		c->old = sluice_dp_before(o, object->kind, object->key, object->key_len);
	}
	free_object(c->new);
	c->new = NULL;
	if (object->delete)
		free_object(object);
	else
		c->new = object;
	c->same = c->old && c->new && same(c->old, c->new);
}

/* Whatever was not written goes. */
static void seal_sweep(struct sluice_dp_objects *o)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (int kind = 0; kind < SLUICE_DP_KINDS; kind++) {
		for (e = sluice_map_first(&o->tables[kind], &it); e; e = sluice_map_next(&it)) {
			void **slot = sluice_map_slot(&o->changed[kind], e->key, e->len);
			struct sluice_dp_change *c;

			if (*slot)
				continue;
			*slot = c = sluice_zalloc(sizeof(*c));
			c->kind = kind;
			c->old = e->value;
		}
	}
}

/* seen: the addresses of the endpoints that were checked before. */
static int check_endpoint(const struct sluice_dp_objects *o, struct sluice_map *seen,
			  const struct sluice_dp_endpoint *e, struct sluice_err *err)
{
	uint32_t ids[2] = { e->ingress, e->egress };
	struct sluice_dp_prefix key;
	void **slot;

	for (size_t i = 0; i < 2; i++)
		if (ids[i] && !sluice_dp_after(o, SLUICE_DP_RULESET, &ids[i], sizeof(ids[i])))
			return sluice_err_set(err, ENOENT, "endpoint %s: there is no ruleset %u",
					      e->name, ids[i]);
	for (size_t i = 0; i < e->n_addrs; i++) {
		sluice_dp_prefix_key(&e->addrs[i].addr, e->addrs[i].family, 0, &key);
		slot = sluice_map_slot(seen, &key, sizeof(key));
		if (*slot)
			return sluice_err_set(err, EADDRINUSE,
					      "endpoint %s: another one has its address", e->name);
		*slot = (void *)e;
	}
	return 0;
}

static int check(const struct sluice_dp_objects *o, struct sluice_err *err)
{
	const struct sluice_map *changed = &o->changed[SLUICE_DP_ENDPOINT];
	struct sluice_map seen = { 0 };
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	int ret = 0;

	for (e = sluice_map_first(changed, &it); e && !ret; e = sluice_map_next(&it)) {
		const struct sluice_dp_change *c = e->value;

		if (c->new)
			ret = check_endpoint(o, &seen, &c->new->endpoint, err);
	}
	for (e = sluice_map_first(&o->tables[SLUICE_DP_ENDPOINT], &it); e && !ret;
	     e = sluice_map_next(&it)) {
		const struct sluice_dp_object *old = e->value;

		if (!sluice_map_get(changed, e->key, e->len))
			ret = check_endpoint(o, &seen, &old->endpoint, err);
	}
	sluice_map_clear(&seen, NULL);
	return ret;
}

int sluice_dp_seal(struct sluice_dp_objects *o, bool sweep, struct sluice_err *err)
{
	int ret = check_open(o, err);

	if (ret)
		return ret;
	for (size_t i = 0; i < o->n_pending; i++)
		seal_one(o, o->pending[i]);
	o->n_pending = 0;
	if (sweep)
		seal_sweep(o);
	return check(o, err);
}

static void apply_one(struct sluice_dp_objects *o, struct sluice_dp_change *c, uint32_t revision)
{
	struct sluice_map *table = &o->tables[c->kind];

	if (c->same) {
		c->old->revision = revision;
		free_object(c->new);
	} else if (c->new) {
		c->new->revision = revision;
		*sluice_map_slot(table, c->new->key, c->new->key_len) = c->new;
		free_object(c->old);
	} else if (c->old) {
		sluice_map_del(table, c->old->key, c->old->key_len);
		free_object(c->old);
	}
	free(c);
}

void sluice_dp_apply(struct sluice_dp_objects *o, uint32_t revision)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (int kind = 0; kind < SLUICE_DP_KINDS; kind++) {
		for (e = sluice_map_first(&o->changed[kind], &it); e; e = sluice_map_next(&it))
			apply_one(o, e->value, revision);
		sluice_map_clear(&o->changed[kind], NULL);
	}
	o->open = false;
}

static void drop_change(void *value)
{
	struct sluice_dp_change *c = value;

	free_object(c->new);
	free(c);
}

void sluice_dp_drop(struct sluice_dp_objects *o)
{
	for (size_t i = 0; i < o->n_pending; i++)
		free_object(o->pending[i]);
	o->n_pending = 0;
	for (int kind = 0; kind < SLUICE_DP_KINDS; kind++)
		sluice_map_clear(&o->changed[kind], drop_change);
	o->open = false;
}

void sluice_dp_clear(struct sluice_dp_objects *o)
{
	sluice_dp_drop(o);
	for (int kind = 0; kind < SLUICE_DP_KINDS; kind++)
		sluice_map_clear(&o->tables[kind], free_object);
	free(o->pending);
	o->pending = NULL;
	o->cap_pending = 0;
}

struct sluice_dp_object *sluice_dp_learn(struct sluice_dp_objects *o, enum sluice_dp_kind kind,
					 const void *object, uint32_t revision)
{
	struct sluice_dp_object *copy = NULL;
	void **slot;

	switch (kind) {
	case SLUICE_DP_SERVICE:
		copy = copy_service(object);
		break;
	case SLUICE_DP_PEER:
		copy = copy_peer(object);
		break;
	case SLUICE_DP_RULE:
		copy = copy_rule(object);
		break;
	case SLUICE_DP_RULESET:
		copy = copy_ruleset(object);
		break;
	case SLUICE_DP_ENDPOINT:
		copy = copy_endpoint(object);
		break;
	case SLUICE_DP_UPLINK:
		copy = copy_uplink(object);
		break;
	case SLUICE_DP_KINDS:
		return NULL;
	}
	copy->revision = revision;
	slot = sluice_map_slot(&o->tables[kind], copy->key, copy->key_len);
	free_object(*slot);
	*slot = copy;
	return copy;
}

/* Dump ************************************************************************************/

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

static char *dump_object(const struct sluice_dp_object *o)
{
	char *text = NULL, buf[SLUICE_ADDR_TEXT];
	struct sluice_cidr prefix;
	size_t len, i;
	FILE *f = sluice_alloc_check(open_memstream(&text, &len));

	switch (o->kind) {
	case SLUICE_DP_SERVICE:
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
	case SLUICE_DP_PEER:
		prefix = (struct sluice_cidr){ o->peer.addr, o->peer.plen, o->peer.family };
		fprintf(f, "peer %s %u %s", sluice_cidr_format(&prefix, buf), o->peer.class,
			o->peer.name);
		break;
	case SLUICE_DP_RULE:
		fprintf(f, "rule %u %s %s", o->rule.id, o->rule.policy, o->rule.rule);
		break;
	case SLUICE_DP_RULESET:
		fprintf(f, "ruleset %u ", o->ruleset.id);
		dump_blob(f, o->ruleset.blob);
		break;
	case SLUICE_DP_ENDPOINT:
		fprintf(f, "endpoint %s %s ingress %u egress %u %s", o->endpoint.name,
			o->endpoint.container, o->endpoint.ingress, o->endpoint.egress,
			o->endpoint.open ? "open" : "closed");
		for (i = 0; i < o->endpoint.n_addrs; i++)
			fprintf(f, " %s",
				sluice_address_format(&o->endpoint.addrs[i].addr,
						      o->endpoint.addrs[i].family, buf));
		break;
	case SLUICE_DP_UPLINK:
		fprintf(f, "uplink %u", o->uplink.ifindex);
		break;
	case SLUICE_DP_KINDS:
		break;
	}
	fclose(f);
	return sluice_alloc_check(text);
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *sluice_dp_dump(const struct sluice_dp_objects *o)
{
	char **lines = NULL, *text = NULL;
	size_t n = 0, cap = 0, len, i;
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	FILE *f;
	int kind;

	for (kind = 0; kind < SLUICE_DP_KINDS; kind++) {
		for (e = sluice_map_first(&o->tables[kind], &it); e; e = sluice_map_next(&it)) {
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
