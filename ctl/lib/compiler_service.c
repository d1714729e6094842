// SPDX-License-Identifier: GPL-2.0-only
/*
 * Services as this node sees them
 * -------------------------------
 * Each (cluster IP, port, protocol) of a service is a claim on a vip. Normally there is one claim;
 * when two services want the same, the older one has it (then the first by name), the other is
 * reported and gets it when the first goes.
 *
 * Backends come from the service's EndpointSlices; without any, from the Endpoints object of its
 * name; without that, from the pods that its selector selects, as the endpoint controller would
 * derive them. Of these kube-proxy's choice is taken: the ready ones, and only if there are none,
 * those that still serve while they terminate.
 */
#include "ctl/lib/compiler_internal.h"

#include "core/service.h"
#include "uapi/sluice.h"

static size_t most_backends(uint8_t family)
{
	return SLUICE_MAX_BACKENDS_BYTES / (family == SLUICE_IPV4 ? sizeof(struct sluice_backend4) :
								    sizeof(struct sluice_backend6));
}

static void key_of(const struct sluice_dp_service *s, struct sluice_service_key *key)
{
	memset(key, 0, sizeof(*key));
	key->addr = s->addr;
	key->port = sluice_htons(s->port);
	key->proto = s->proto;
	key->family = s->family;
}

static void make_dirty(struct sluice_compiler *c, struct vip *v)
{
	if (v->dirty)
		return;
	v->dirty = true;
	list_add(&c->dirty_vips, v);
}

/* ---- where backends come from ---- */

struct candidate {
	struct sluice_dp_addr addr;
	uint16_t port;
	bool ready, serving, terminating;
	const char *node;
};

struct candidates {
	const struct sluice_compiler *c;
	const struct sluice_service *svc;
	const struct sluice_service_port *port; /* the one that is looked for */
	struct candidate *v;
	size_t n, cap;
};

static bool from_slice(void *ctx, const struct sluice_object *o)
{
	const struct sluice_slice *slice = sluice_to_slice(o);
	struct candidates *out = ctx;
	size_t i, k, m;

	for (i = 0; i < slice->n_groups; i++) {
		const struct sluice_slice_group *g = &slice->groups[i];

		for (k = 0; k < g->n_ports; k++) {
			if (g->ports[k].proto != out->port->proto ||
			    strcmp(g->ports[k].name, out->port->name))
				continue;
			for (m = 0; m < g->n_addrs; m++) {
				const struct sluice_slice_address *a = &g->addrs[m];

				sluice_grow(out->v, out->n, out->cap);
				out->v[out->n++] =
					(struct candidate){ a->addr,	g->ports[k].port, a->ready,
							    a->serving, a->terminating,	  a->node };
			}
		}
	}
	return true;
}

static bool from_pod(void *ctx, const struct sluice_object *o)
{
	const struct sluice_pod *pod = sluice_to_pod(o);
	struct candidates *out = ctx;
	uint16_t port = out->port->target;
	struct sluice_dp_addr *addrs, *own = NULL;
	struct pod *record;
	size_t n, i;

	if (pod->finished || !sluice_selector_matches(&out->svc->selector, &o->labels))
		return true;
	if (out->port->target_name &&
	    !sluice_pod_port_number(pod, out->port->target_name, out->port->proto, &port))
		return true;
	record = compiler_find_pod(out->c, o->ns, o->name);
	if (pod->host_network || !record) {
		addrs = pod->ips;
		n = pod->n_ips;
	} else {
		addrs = own = compiler_pod_addrs(out->c, record, &n);
	}
	for (i = 0; i < n; i++) {
		sluice_grow(out->v, out->n, out->cap);
		out->v[out->n++] = (struct candidate){
			addrs[i],
			port,
			out->svc->publish_not_ready || (pod->ready && !pod->terminating),
			pod->ready,
			pod->terminating,
			pod->node,
		};
	}
	free(own);
	return true;
}

static bool found(void *ctx, const struct sluice_object *o)
{
	(void)o;
	*(bool *)ctx = true;
	return false;
}

static bool has_slices(const struct sluice_compiler *c, const char *ns, const char *name)
{
	bool any = false;

	sluice_model_each_slice(c->model, ns, name, found, &any);
	return any;
}

/* From all candidates of one family those that get traffic, sorted, no duplicates. */
static struct sluice_dp_backend *choose(const struct sluice_compiler *c,
					const struct candidates *from, uint8_t family, size_t *n)
{
	struct sluice_dp_backend *v = sluice_zalloc(from->n * sizeof(*v));
	size_t i, m;
	int pass;

	*n = 0;
	for (pass = 0; pass < 2 && !*n; pass++) {
		for (i = 0; i < from->n; i++) {
			const struct candidate *a = &from->v[i];

			if (a->addr.family != family)
				continue;
			if (from->svc->local_only && *c->node && strcmp(a->node, c->node))
				continue;
			if (pass ? a->serving && a->terminating : a->ready)
				v[(*n)++] = (struct sluice_dp_backend){ a->addr.addr, a->port };
		}
	}
	if (*n)
		qsort(v, *n, sizeof(*v), sluice_dp_compare_backends);
	for (i = m = 0; i < *n; i++)
		if (!m || sluice_dp_compare_backends(&v[m - 1], &v[i]))
			v[m++] = v[i];
	*n = m;
	return v;
}

/* ---- claims ---- */

static int compare_claims(const struct vip_claim *a, const struct vip_claim *b)
{
	int c = strcmp(a->service->created, b->service->created);

	if (!c)
		c = strcmp(a->service->ns, b->service->ns);
	return c ? c : strcmp(a->service->name, b->service->name);
}

static void add_claim(struct sluice_compiler *c, struct service *s, struct vip_claim *claim,
		      const struct sluice_dp_service *like)
{
	struct sluice_service_key key;
	struct vip **slot, *v;
	size_t i;

	key_of(like, &key);
	slot = (struct vip **)sluice_map_slot(&c->vips, &key, sizeof(key));
	if (!*slot) {
		*slot = sluice_zalloc(sizeof(**slot));
		(*slot)->key = *like;
	}
	v = *slot;
	claim->vip = v;
	claim->service = s;
	v->claims = sluice_realloc(v->claims, v->n_claims + 1, sizeof(*v->claims));
	for (i = v->n_claims++; i && compare_claims(v->claims[i - 1], claim) > 0; i--)
		v->claims[i] = v->claims[i - 1];
	v->claims[i] = claim;
	c->complaints |= v->n_claims > 1;
	make_dirty(c, v);
}

static void drop_claims(struct sluice_compiler *c, struct service *s)
{
	size_t i, k, n;

	for (i = 0; i < s->n_claims; i++) {
		struct vip_claim *claim = s->claims[i];
		struct vip *v = claim->vip;

		c->complaints |= v->n_claims > 1;
		for (k = n = 0; k < v->n_claims; k++)
			if (v->claims[k] != claim)
				v->claims[n++] = v->claims[k];
		v->n_claims = n;
		make_dirty(c, v);
		free(claim->name);
		free(claim->backends);
		free(claim);
	}
	free(s->claims);
	s->claims = NULL;
	s->n_claims = 0;
}

static void add_problem(struct service *s, const char *text)
{
	free(s->problem);
	if (asprintf(&s->problem, "Service %s/%s: %s", s->ns, s->name, text) < 0)
		sluice_alloc_check(NULL);
}

static void compile_port(struct sluice_compiler *c, struct service *s,
			 const struct sluice_service *svc, const struct sluice_service_port *port,
			 const struct sluice_dp_addr *ips, size_t n_ips)
{
	struct candidates from = { .c = c, .svc = svc, .port = port };
	const struct sluice_object *endpoints;
	size_t i;

	endpoints = sluice_model_find(c->model, SLUICE_KIND_ENDPOINTS, s->ns, s->name);
	if (has_slices(c, s->ns, s->name))
		sluice_model_each_slice(c->model, s->ns, s->name, from_slice, &from);
	else if (endpoints)
		from_slice(&from, endpoints);
	else if (svc->has_selector)
		sluice_model_each(c->model, SLUICE_KIND_POD, s->ns, from_pod, &from);

	for (i = 0; i < n_ips; i++) {
		struct vip_claim *claim = sluice_zalloc(sizeof(*claim));
		struct sluice_dp_service like = { .addr = ips[i].addr,
						  .port = port->port,
						  .proto = port->proto,
						  .family = ips[i].family };
		int len;

		if (*port->name)
			len = asprintf(&claim->name, "%s/%s:%s", s->ns, s->name, port->name);
		else
			len = asprintf(&claim->name, "%s/%s:%u", s->ns, s->name, port->port);
		if (len < 0)
			sluice_alloc_check(NULL);
		claim->backends = choose(c, &from, like.family, &claim->n_backends);
		if (claim->n_backends > most_backends(like.family)) {
			claim->n_backends = most_backends(like.family);
			add_problem(s, "it has more backends than a data plane takes, the others "
				       "get no traffic");
		}
		s->claims = sluice_realloc(s->claims, s->n_claims + 1, sizeof(*s->claims));
		s->claims[s->n_claims++] = claim;
		add_claim(c, s, claim, &like);
	}
	free(from.v);
}

static void free_service(void *value)
{
	struct service *s = value;

	free(s->ns);
	free(s->name);
	free(s->created);
	free(s->problem);
	free(s);
}

static void make_claims(struct sluice_compiler *c, struct service *s,
			const struct sluice_service *svc)
{
	const struct sluice_dp_addr *ips = svc->ips;
	struct sluice_dp_addr made_up[2];
	size_t n_ips = svc->n_ips, i;

	free(s->created);
	s->created = sluice_strdup(svc->o.created);
	if (!n_ips && c->all) {
		sluice_service_made_up_ips(svc, made_up);
		ips = made_up;
		n_ips = 2;
	}
	if (!n_ips)
		add_problem(s, "it has no clusterIP, nothing is programmed");
	else if (svc->affinity)
		add_problem(s, "sessionAffinity ClientIP is not supported, backends are random");
	for (i = 0; i < svc->n_ports; i++)
		compile_port(c, s, svc, &svc->ports[i], ips, n_ips);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static void compile_service(struct sluice_compiler *c, struct service *s)
{
	const struct sluice_service *svc =
		sluice_to_service(sluice_model_find(c->model, SLUICE_KIND_SERVICE, s->ns, s->name));
	char *problem = s->problem;
	struct name_key k;

	c->stats.compiled_services++;
	s->stale = false;
	s->problem = NULL;
	drop_claims(c, s);
	if (svc && !svc->ignored)
		make_claims(c, s, svc);
	c->complaints |= !same_text(problem, s->problem);
	free(problem);
	if (svc && !svc->ignored)
		return;
	make_name_key(&k, s->ns, s->name);
	sluice_map_del(&c->services, k.text, k.len);
	free_service(s);
}

void compiler_service_stale(struct sluice_compiler *c, const char *ns, const char *name)
{
	struct service **slot, *s;
	struct name_key k;

	if (!make_name_key(&k, ns, name))
		return;
	slot = (struct service **)sluice_map_slot(&c->services, k.text, k.len);
	if (!*slot) {
		*slot = sluice_zalloc(sizeof(**slot));
		(*slot)->ns = sluice_strdup(ns);
		(*slot)->name = sluice_strdup(name);
		(*slot)->created = sluice_strdup("");
	}
	s = *slot;
	if (s->stale)
		return;
	s->stale = true;
	list_add(&c->stale_services, s);
}

struct change {
	struct sluice_compiler *c;
	const struct sluice_pod *before, *after;
};

static bool touch_service(void *ctx, const struct sluice_object *o)
{
	const struct sluice_service *svc = sluice_to_service(o);
	struct change *ch = ctx;

	if (svc->ignored || !svc->has_selector)
		return true;
	if ((ch->before && sluice_selector_matches(&svc->selector, &ch->before->o.labels)) ||
	    (ch->after && sluice_selector_matches(&svc->selector, &ch->after->o.labels))) {
		if (!has_slices(ch->c, o->ns, o->name))
			compiler_service_stale(ch->c, o->ns, o->name);
	}
	return true;
}

void compiler_service_pod(struct sluice_compiler *c, const struct sluice_pod *before,
			  const struct sluice_pod *after)
{
	struct change ch = { c, before, after };

	/*
	 * Until the first of them is compiled all are stale, and there is nothing to ask: at the start 150,000
	 * pods come in, each of which would ask 250 services of its namespace.
	 */
	if (!c->services_compiled)
		return;
	sluice_model_each(c->model, SLUICE_KIND_SERVICE, after ? after->o.ns : before->o.ns,
			  touch_service, &ch);
}

void compiler_service_update(struct sluice_compiler *c)
{
	size_t i;

	c->services_compiled = true;
	for (i = 0; i < c->stale_services.n; i++)
		compile_service(c, c->stale_services.v[i]);
	c->stale_services.n = 0;
}

/* ---- to the data plane ---- */

static int send_vip(struct sluice_compiler *c, struct vip *v, struct sluice_dataplane *dp,
		    bool full, struct sluice_err *err)
{
	struct sluice_dp_service out = v->key;
	const struct vip_claim *claim;
	uint64_t hash;
	size_t i;
	int ret;

	if (!v->n_claims) {
		if (full || !v->sent)
			return 0;
		c->stats.sent++;
		return dp->ops->del_service(dp, &out, err);
	}
	claim = v->claims[0];
	out.name = claim->name;
	out.backends = claim->backends;
	out.n_backends = claim->n_backends;
	hash = sluice_hash_text(0, out.name);
	for (i = 0; i < claim->n_backends; i++) {
		hash = sluice_hash_bytes(hash, &claim->backends[i].addr,
					 sizeof(struct sluice_addr));
		hash = sluice_hash_bytes(hash, &claim->backends[i].port, sizeof(uint16_t));
	}
	if (!full && v->sent && v->hash == hash)
		return 0;
	c->stats.sent++;
	ret = dp->ops->set_service(dp, &out, err);
	if (!ret) {
		v->sent = true;
		v->hash = hash;
	}
	return ret;
}

int compiler_service_send(struct sluice_compiler *c, struct sluice_dataplane *dp, bool full,
			  struct sluice_err *err)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	size_t i;
	int ret = 0;

	if (full) {
		for (e = sluice_map_first(&c->vips, &it); e && !ret; e = sluice_map_next(&it))
			ret = send_vip(c, e->value, dp, true, err);
		return ret;
	}
	for (i = 0; i < c->dirty_vips.n && !ret; i++)
		ret = send_vip(c, c->dirty_vips.v[i], dp, false, err);
	return ret;
}

static void free_vip(void *value)
{
	free(((struct vip *)value)->claims);
	free(value);
}

void compiler_service_sent(struct sluice_compiler *c)
{
	struct sluice_service_key key;
	size_t i;

	for (i = 0; i < c->dirty_vips.n; i++) {
		struct vip *v = c->dirty_vips.v[i];
		size_t now = v->n_claims ? v->claims[0]->n_backends : 0;

		v->dirty = false;
		c->stats.backends += now - v->counted;
		v->counted = now;
		if (v->n_claims)
			continue;
		key_of(&v->key, &key);
		sluice_map_del(&c->vips, &key, sizeof(key));
		free_vip(v);
	}
	c->dirty_vips.n = 0;
}

void compiler_service_free(struct sluice_compiler *c)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&c->services, &it); e; e = sluice_map_next(&it))
		drop_claims(c, e->value);
	sluice_map_clear(&c->services, free_service);
	sluice_map_clear(&c->vips, free_vip);
	list_clear(&c->stale_services);
	list_clear(&c->dirty_vips);
}
