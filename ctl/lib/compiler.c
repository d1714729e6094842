// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the compiler works
 * ----------------------
 * A change in the model marks what it touches as stale, and does no more: a thousand changes in a
 * row cost one sync. A sync then goes through five steps, each looking only at what is stale:
 *
 *   1. services    stale services get their backends                   compiler_service.c
 *   2. policies    stale policies are compiled to questions about
 *                  peers; stale endpoints find their rulesets          compiler_policy.c
 *   3. peers       new and dropped questions, stale addresses: each
 *                  gets its peer class                                 compiler_peer.c
 *   4. rulesets    those whose policies changed, or whose questions
 *                  have other classes than before, are built           compiler_policy.c
 *   5. sending     one transaction with what differs from what was
 *                  sent before
 *
 * What a change costs, on a node with E endpoints, in a cluster of P pods:
 *
 *   endpoint of a service   that service
 *   label of a pod          that pod's addresses; rulesets only if a class appears or vanishes
 *   label of a namespace    the addresses of its pods; its endpoints, if there are ClusterNetworkPolicies
 *   policy                  its ruleset; the endpoints that it selects; one look at P pods for each
 *                           of up to 16 new questions
 *   node                    its addresses, if a policy asks for nodes
 *
 * Objects that vanish are kept, emptied, until their deletion has been sent. If a transaction
 * fails, nobody knows what the data plane holds, so the next one is a full one with sweep.
 */
#include "ctl/lib/compiler.h"

#include <time.h>

#include "ctl/lib/compiler_internal.h"
#include "uapi/sluice.h"

/* Made-up ifindexes begin here, far above what a kernel hands out. */
#define FIRST_MADE_UP_IFINDEX 1000000

struct pod *compiler_find_pod(const struct sluice_compiler *c, const char *ns, const char *name)
{
	struct name_key k;

	if (!make_name_key(&k, ns, name))
		return NULL;
	return sluice_map_get(&c->pods, k.text, k.len);
}

static void add_address(struct sluice_dp_addr *v, size_t *n, const struct sluice_dp_addr *a)
{
	size_t i;

	for (i = 0; i < *n; i++)
		if (!sluice_address_compare(&v[i], a))
			return;
	v[(*n)++] = *a;
}

struct sluice_dp_addr *compiler_pod_addrs(const struct sluice_compiler *c, const struct pod *pod,
					  size_t *n)
{
	bool attached = pod->endpoints.n && !c->all;
	struct sluice_dp_addr *v;
	size_t most, i, k;

	*n = 0;
	if (!pod->o || pod->o->host_network || (pod->o->finished && !attached))
		return NULL;
	most = pod->o->n_ips;
	for (i = 0; attached && i < pod->endpoints.n; i++)
		most += ((struct endpoint *)pod->endpoints.v[i])->n_addrs;
	v = sluice_zalloc(most * sizeof(*v));
	for (i = 0; attached && i < pod->endpoints.n; i++) {
		const struct endpoint *e = pod->endpoints.v[i];

		for (k = 0; k < e->n_addrs; k++)
			add_address(v, n, &e->addrs[k]);
	}
	for (i = 0; !attached && i < pod->o->n_ips; i++)
		add_address(v, n, &pod->o->ips[i]);
	return v;
}

static struct pod *get_pod(struct sluice_compiler *c, const char *ns, const char *name)
{
	struct name_key k;
	struct pod **slot;

	if (!make_name_key(&k, ns, name))
		return NULL;
	slot = (struct pod **)sluice_map_slot(&c->pods, k.text, k.len);
	if (!*slot) {
		*slot = sluice_zalloc(sizeof(**slot));
		(*slot)->ns = sluice_strdup(ns);
		(*slot)->name = sluice_strdup(name);
	}
	return *slot;
}

static void free_pod(void *value)
{
	struct pod *pod = value;

	sluice_object_put((struct sluice_object *)pod->o);
	list_clear(&pod->endpoints);
	free(pod->peers);
	free(pod->ns);
	free(pod->name);
	free(pod);
}

/* A record that is neither in the model nor attached has no reason to be. */
static void drop_pod_if_unused(struct sluice_compiler *c, struct pod *pod)
{
	struct name_key k;

	if (pod->o || pod->endpoints.n || pod->n_peers || !make_name_key(&k, pod->ns, pod->name))
		return;
	sluice_map_del(&c->pods, k.text, k.len);
	free_pod(pod);
}

/* One that is in the model, does not terminate, is newer; else the first by name. */
int compiler_compare_pods(const struct pod *a, const struct pod *b)
{
	int c;

	if (!a->o || !b->o)
		return !!a->o - !!b->o;
	c = (int)b->o->terminating - (int)a->o->terminating;
	if (!c)
		c = strcmp(a->o->o.created, b->o->o.created);
	if (!c)
		c = strcmp(b->ns, a->ns);
	return c ? c : strcmp(b->name, a->name);
}

/* ---- endpoints ---- */

void compiler_endpoint_stale(struct sluice_compiler *c, struct endpoint *e)
{
	if (e->stale)
		return;
	e->stale = true;
	list_add(&c->stale_endpoints, e);
}

static void endpoint_dirty(struct sluice_compiler *c, struct endpoint *e)
{
	if (e->dirty)
		return;
	e->dirty = true;
	list_add(&c->dirty_endpoints, e);
}

#define ADDR_KEY 17

static void addr_key(const struct sluice_dp_addr *a, unsigned char *key)
{
	memcpy(key, &a->addr, 16);
	key[16] = a->family;
}

/*
 * No data plane takes an address twice, but for a moment two endpoints may claim it: a pod's
 * address goes to the next before the first was detached. One of them has it, the other is sent
 * without. The pod decides, as for peers, so that both agree; else the later interface.
 */
static bool has_address(const struct sluice_compiler *c, const struct endpoint *e,
			const struct sluice_dp_addr *a)
{
	const struct list *claims;
	unsigned char key[ADDR_KEY];
	size_t i;

	addr_key(a, key);
	claims = sluice_map_get(&c->endpoint_addrs, key, sizeof(key));
	for (i = 0; claims && i < claims->n; i++) {
		const struct endpoint *other = claims->v[i];
		int order = 0;

		if (other == e)
			continue;
		if (e->pod && other->pod)
			order = compiler_compare_pods(other->pod, e->pod);
		else
			order = !!other->pod - !!e->pod;
		if (order > 0 || (!order && other->ifindex > e->ifindex))
			return false;
	}
	return true;
}

/* Whatever changes about one claim may change who has the address. */
static void claims_dirty(struct sluice_compiler *c, const struct endpoint *e)
{
	unsigned char key[ADDR_KEY];
	const struct list *claims;
	size_t i, k;

	for (i = 0; i < e->n_addrs; i++) {
		addr_key(&e->addrs[i], key);
		claims = sluice_map_get(&c->endpoint_addrs, key, sizeof(key));
		for (k = 0; claims && claims->n > 1 && k < claims->n; k++)
			endpoint_dirty(c, claims->v[k]);
	}
}

static void claim_addresses(struct sluice_compiler *c, struct endpoint *e)
{
	unsigned char key[ADDR_KEY];
	struct list **slot;
	size_t i;

	for (i = 0; i < e->n_addrs; i++) {
		addr_key(&e->addrs[i], key);
		slot = (struct list **)sluice_map_slot(&c->endpoint_addrs, key, sizeof(key));
		if (!*slot)
			*slot = sluice_zalloc(sizeof(**slot));
		list_add(*slot, e);
	}
	claims_dirty(c, e);
}

static void free_list(void *value)
{
	list_clear(value);
	free(value);
}

static void unclaim_addresses(struct sluice_compiler *c, struct endpoint *e)
{
	unsigned char key[ADDR_KEY];
	struct list *claims;
	size_t i;

	claims_dirty(c, e);
	for (i = 0; i < e->n_addrs; i++) {
		addr_key(&e->addrs[i], key);
		claims = sluice_map_get(&c->endpoint_addrs, key, sizeof(key));
		if (!claims)
			continue;
		list_remove(claims, e);
		if (!claims->n) {
			sluice_map_del(&c->endpoint_addrs, key, sizeof(key));
			free_list(claims);
		}
	}
}

static bool same_attachment(const struct endpoint *e, const struct sluice_attachment *a)
{
	size_t i;

	if (e->gone || strcmp(e->container, a->container) || e->n_addrs != a->n_addrs)
		return false;
	for (i = 0; i < a->n_addrs; i++)
		if (sluice_address_compare(&e->addrs[i], &a->addrs[i]))
			return false;
	if (!e->pod)
		return !*a->pod;
	return !strcmp(e->pod->ns, a->ns) && !strcmp(e->pod->name, a->pod);
}

static void leave_pod(struct sluice_compiler *c, struct endpoint *e)
{
	struct pod *pod = e->pod;

	if (!pod)
		return;
	e->pod = NULL;
	list_remove(&pod->endpoints, e);
	if (pod->o)
		compiler_service_pod(c, NULL, pod->o);
	compiler_peer_pod(c, pod);
	drop_pod_if_unused(c, pod);
}

void sluice_compiler_attach(struct sluice_compiler *c, const struct sluice_attachment *a)
{
	struct endpoint **slot =
		(struct endpoint **)sluice_map_slot(&c->endpoints, &a->ifindex, sizeof(a->ifindex));
	struct endpoint *e = *slot;
	size_t i;

	if (e && same_attachment(e, a))
		return;
	if (!e) {
		e = sluice_zalloc(sizeof(*e));
		*slot = e;
		e->ifindex = a->ifindex;
	}
	if (!e->gone)
		unclaim_addresses(c, e);
	c->complaints |= e->n_addrs > SLUICE_MAX_ENDPOINT_ADDRS;
	leave_pod(c, e);
	free(e->container);
	free(e->addrs);
	e->gone = false;
	e->container = sluice_strdup(a->container ? a->container : "");
	e->addrs = sluice_memdup(a->addrs, a->n_addrs * sizeof(*a->addrs));
	e->n_addrs = 0;
	for (i = 0; i < a->n_addrs; i++)
		add_address(e->addrs, &e->n_addrs, &a->addrs[i]);
	c->complaints |= e->n_addrs > SLUICE_MAX_ENDPOINT_ADDRS;
	if (*a->pod) {
		e->pod = get_pod(c, a->ns, a->pod);
		list_add(&e->pod->endpoints, e);
		compiler_peer_pod(c, e->pod);
		if (e->pod->o)
			compiler_service_pod(c, NULL, e->pod->o);
	}
	claim_addresses(c, e);
	compiler_endpoint_stale(c, e);
	endpoint_dirty(c, e);
}

void sluice_compiler_detach(struct sluice_compiler *c, uint32_t ifindex)
{
	struct endpoint *e = sluice_map_get(&c->endpoints, &ifindex, sizeof(ifindex));

	if (!e || e->gone)
		return;
	e->gone = true;
	c->complaints |= e->n_addrs > SLUICE_MAX_ENDPOINT_ADDRS;
	unclaim_addresses(c, e);
	leave_pod(c, e);
	compiler_endpoint_stale(c, e);
	endpoint_dirty(c, e);
}

/* Under attach_all: the pod's one made-up attachment follows its state. */
static void attach_made_up(struct sluice_compiler *c, struct pod *pod)
{
	struct endpoint *e = pod->endpoints.n ? pod->endpoints.v[0] : NULL;
	struct sluice_attachment a = { .ns = pod->ns, .pod = pod->name, .container = "" };
	bool want = pod->o && !pod->o->host_network && !pod->o->finished && pod->o->n_ips;

	if (!want) {
		if (e)
			sluice_compiler_detach(c, e->ifindex);
		return;
	}
	a.ifindex = e ? e->ifindex : c->next_ifindex++;
	a.addrs = pod->o->ips;
	a.n_addrs = pod->o->n_ips;
	sluice_compiler_attach(c, &a);
}

/* ---- the model's changes ---- */

static void pod_changed(struct sluice_compiler *c, const struct sluice_pod *before,
			const struct sluice_pod *after)
{
	const struct sluice_object *o = after ? &after->o : &before->o;
	struct pod *pod = get_pod(c, o->ns, o->name);
	size_t i;

	if (after)
		sluice_object_get((struct sluice_object *)&after->o);
	sluice_object_put((struct sluice_object *)pod->o);
	pod->o = after;
	compiler_peer_pod(c, pod);
	compiler_service_pod(c, before, after);
	for (i = 0; i < pod->endpoints.n; i++) {
		compiler_endpoint_stale(c, pod->endpoints.v[i]);
		claims_dirty(c, pod->endpoints.v[i]);
	}
	if (c->all)
		attach_made_up(c, pod);
	pod = compiler_find_pod(c, o->ns, o->name);
	if (pod)
		drop_pod_if_unused(c, pod);
}

static void changed(void *ctx, const struct sluice_object *before,
		    const struct sluice_object *after)
{
	const struct sluice_object *o = after ? after : before;
	struct sluice_compiler *c = ctx;

	switch (o->kind) {
	case SLUICE_KIND_NAMESPACE:
		compiler_peer_namespace(c, o->name);
		compiler_policy_namespace(c, o->name);
		break;
	case SLUICE_KIND_NODE:
		compiler_peer_nodes(c);
		break;
	case SLUICE_KIND_POD:
		pod_changed(c, sluice_to_pod(before), sluice_to_pod(after));
		break;
	case SLUICE_KIND_SERVICE:
	case SLUICE_KIND_ENDPOINTS:
		compiler_service_stale(c, o->ns, o->name);
		break;
	case SLUICE_KIND_ENDPOINT_SLICE:
		if (before)
			compiler_service_stale(c, o->ns, sluice_to_slice(before)->service);
		if (after)
			compiler_service_stale(c, o->ns, sluice_to_slice(after)->service);
		break;
	case SLUICE_KIND_NETWORK_POLICY:
	case SLUICE_KIND_CLUSTER_NETWORK_POLICY:
		compiler_policy_changed(c, before, after);
		break;
	case SLUICE_KIND_COUNT:
		break;
	}
}

static bool add_existing(void *ctx, const struct sluice_object *o)
{
	changed(ctx, NULL, o);
	return true;
}

struct sluice_compiler *sluice_compiler_new(struct sluice_model *model, const char *node)
{
	struct sluice_compiler *c = sluice_zalloc(sizeof(*c));
	int kind;

	c->model = model;
	c->node = sluice_strdup(node ? node : "");
	c->need_full = true;
	c->next_serial = 1;
	c->next_ifindex = FIRST_MADE_UP_IFINDEX;
	for (kind = 0; kind < SLUICE_KIND_COUNT; kind++)
		sluice_model_each(model, kind, NULL, add_existing, c);
	sluice_model_listen(model, changed, c);
	return c;
}

static void free_endpoint(void *value)
{
	struct endpoint *e = value;

	free(e->container);
	free(e->addrs);
	free(e);
}

static void clear_problems(struct sluice_compiler *c)
{
	size_t i;

	for (i = 0; i < c->n_problems; i++)
		free(c->problems[i].text);
	c->n_problems = 0;
}

void sluice_compiler_free(struct sluice_compiler *c)
{
	if (!c)
		return;
	sluice_model_unlisten(c->model, changed, c);
	compiler_service_free(c);
	compiler_policy_free(c);
	compiler_peer_free(c);
	sluice_map_clear(&c->endpoint_addrs, free_list);
	sluice_map_clear(&c->endpoints, free_endpoint);
	list_clear(&c->dirty_endpoints);
	sluice_map_clear(&c->pods, free_pod);
	clear_problems(c);
	free(c->problems);
	free(c->uplinks);
	free(c->sent_uplinks);
	free(c->node);
	free(c);
}

void sluice_compiler_attach_all(struct sluice_compiler *c)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	c->all = true;
	for (e = sluice_map_first(&c->pods, &it); e; e = sluice_map_next(&it))
		attach_made_up(c, e->value);
}

void sluice_compiler_set_uplinks(struct sluice_compiler *c, const uint32_t *ifindexes, size_t n)
{
	if (n == c->n_uplinks && (!n || !memcmp(c->uplinks, ifindexes, n * sizeof(*ifindexes))))
		return;
	free(c->uplinks);
	c->uplinks = sluice_memdup(ifindexes, n * sizeof(*ifindexes));
	c->n_uplinks = n;
	c->uplinks_dirty = true;
}

/* ---- sync ---- */

bool sluice_compiler_dirty(const struct sluice_compiler *c)
{
	return c->need_full || c->uplinks_dirty || c->stale_services.n || c->dirty_vips.n ||
	       c->stale_policies.n || c->stale_endpoints.n || c->dirty_endpoints.n ||
	       c->stale_peers.n || c->dirty_peers.n || c->fresh_atoms.n || c->loose_atoms.n ||
	       c->dirty_rulesets.n || c->dirty_names.n;
}

static int send_endpoint(struct sluice_compiler *c, struct endpoint *e, struct sluice_dataplane *dp,
			 bool full, struct sluice_err *err)
{
	char name[64 + 254] = "";
	struct sluice_dp_addr addrs[SLUICE_MAX_ENDPOINT_ADDRS];
	struct sluice_dp_endpoint out = { .ifindex = e->ifindex,
					  .name = name,
					  .container = e->container,
					  .addrs = addrs,
					  .open = e->open };
	size_t i;
	int ret;

	if (e->gone) {
		if (full || !e->sent)
			return 0;
		c->stats.sent++;
		return dp->ops->del_endpoint(dp, &out, err);
	}
	if (e->pod)
		snprintf(name, sizeof(name), "%s/%s", e->pod->ns, e->pod->name);
	for (i = 0; i < e->n_addrs && out.n_addrs < SLUICE_MAX_ENDPOINT_ADDRS; i++)
		if (has_address(c, e, &e->addrs[i]))
			addrs[out.n_addrs++] = e->addrs[i];
	if (e->rulesets[SLUICE_INGRESS])
		out.ingress = e->rulesets[SLUICE_INGRESS]->id;
	if (e->rulesets[SLUICE_EGRESS])
		out.egress = e->rulesets[SLUICE_EGRESS]->id;
	c->stats.sent++;
	ret = dp->ops->set_endpoint(dp, &out, err);
	e->sent |= !ret;
	return ret;
}

static int send_endpoints(struct sluice_compiler *c, struct sluice_dataplane *dp, bool full,
			  struct sluice_err *err)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	size_t i;
	int ret = 0;

	if (full) {
		for (e = sluice_map_first(&c->endpoints, &it); e && !ret; e = sluice_map_next(&it))
			ret = send_endpoint(c, e->value, dp, true, err);
		return ret;
	}
	for (i = 0; i < c->dirty_endpoints.n && !ret; i++)
		ret = send_endpoint(c, c->dirty_endpoints.v[i], dp, false, err);
	return ret;
}

static bool holds(const uint32_t *v, size_t n, uint32_t x)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (v[i] == x)
			return true;
	return false;
}

static int send_uplinks(struct sluice_compiler *c, struct sluice_dataplane *dp, bool full,
			struct sluice_err *err)
{
	int ret = 0;
	size_t i;

	if (!full && !c->uplinks_dirty)
		return 0;
	for (i = 0; i < c->n_uplinks && !ret; i++) {
		struct sluice_dp_uplink out = { c->uplinks[i] };

		if (!full && holds(c->sent_uplinks, c->n_sent_uplinks, c->uplinks[i]))
			continue;
		c->stats.sent++;
		ret = dp->ops->set_uplink(dp, &out, err);
	}
	for (i = 0; !full && i < c->n_sent_uplinks && !ret; i++) {
		struct sluice_dp_uplink out = { c->sent_uplinks[i] };

		if (holds(c->uplinks, c->n_uplinks, c->sent_uplinks[i]))
			continue;
		c->stats.sent++;
		ret = dp->ops->del_uplink(dp, &out, err);
	}
	return ret;
}

static void endpoints_sent(struct sluice_compiler *c)
{
	size_t i;

	for (i = 0; i < c->dirty_endpoints.n; i++) {
		struct endpoint *e = c->dirty_endpoints.v[i];

		e->dirty = false;
		if (!e->gone)
			continue;
		sluice_map_del(&c->endpoints, &e->ifindex, sizeof(e->ifindex));
		free_endpoint(e);
	}
	c->dirty_endpoints.n = 0;
	free(c->sent_uplinks);
	c->sent_uplinks = sluice_memdup(c->uplinks, c->n_uplinks * sizeof(*c->uplinks));
	c->n_sent_uplinks = c->n_uplinks;
	c->uplinks_dirty = false;
}

__attribute__((format(printf, 2, 3))) static void add_problem(struct sluice_compiler *c,
							      const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		sluice_alloc_check(NULL);
	va_end(ap);
	sluice_grow(c->problems, c->n_problems, c->cap_problems);
	c->problems[c->n_problems++] = (struct sluice_compiler_problem){ .text = text };
}

static bool add_unsupported(void *ctx, const struct sluice_object *o)
{
	const struct sluice_policy *p = sluice_to_policy(o);
	struct sluice_compiler *c = ctx;
	size_t dir, i;

	for (dir = 0; dir < 2; dir++) {
		for (i = 0; i < p->n_rules[dir]; i++) {
			const struct sluice_policy_rule *r = &p->rules[dir][i];

			if (r->unsupported)
				add_problem(c, "%s %s: %s: the rule %s", sluice_kind_name(o->kind),
					    o->name, r->unsupported,
					    r->matches_nothing ? "matches nothing" :
								 "denies everything");
		}
	}
	return true;
}

static int compare_problem(const void *va, const void *vb)
{
	const struct sluice_compiler_problem *a = va, *b = vb;

	return strcmp(a->text, b->text);
}

/* Walks all that may have a problem: only after one came, went or changed. */
static void complain(struct sluice_compiler *c)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	size_t i;

	c->complaints = false;
	c->problems_version++;
	clear_problems(c);
	for (e = sluice_map_first(&c->services, &it); e; e = sluice_map_next(&it)) {
		const struct service *s = e->value;

		if (s->problem)
			add_problem(c, "%s", s->problem);
	}
	for (e = sluice_map_first(&c->vips, &it); e; e = sluice_map_next(&it)) {
		const struct vip *v = e->value;

		for (i = 1; i < v->n_claims; i++) {
			char buf[SLUICE_ADDR_TEXT];

			sluice_address_port_format(&v->key.addr, v->key.family, v->key.port, buf);
			add_problem(c, "Service %s/%s: %s %s is Service %s/%s's, left out",
				    v->claims[i]->service->ns, v->claims[i]->service->name,
				    sluice_protocol_name(v->key.proto), buf,
				    v->claims[0]->service->ns, v->claims[0]->service->name);
		}
	}
	for (e = sluice_map_first(&c->endpoints, &it); e; e = sluice_map_next(&it)) {
		const struct endpoint *ep = e->value;

		if (ep->n_addrs > SLUICE_MAX_ENDPOINT_ADDRS)
			add_problem(c, "Pod %s/%s: only %d of its %zu addresses are used",
				    ep->pod ? ep->pod->ns : "", ep->pod ? ep->pod->name : "",
				    SLUICE_MAX_ENDPOINT_ADDRS, ep->n_addrs);
	}
	for (e = sluice_map_first(&c->rulesets, &it); e; e = sluice_map_next(&it)) {
		const struct ruleset *rs = e->value;

		if (!rs->problem)
			continue;
		add_problem(c, "%s", rs->problem);
		c->problems[c->n_problems - 1].local = true;
	}
	sluice_model_each(c->model, SLUICE_KIND_CLUSTER_NETWORK_POLICY, NULL, add_unsupported, c);
	if (c->n_problems)
		qsort(c->problems, c->n_problems, sizeof(*c->problems), compare_problem);
}

static void count(struct sluice_compiler *c)
{
	c->stats.services = c->vips.n;
	c->stats.peers = c->peers.n;
	c->stats.classes = c->classes.n;
	c->stats.rules = c->names.n;
	c->stats.rulesets = c->rulesets.n;
	c->stats.endpoints = c->endpoints.n;
}

static int send_all(struct sluice_compiler *c, struct sluice_dataplane *dp, bool full,
		    struct sluice_err *err)
{
	int ret = compiler_service_send(c, dp, full, err);

	if (!ret)
		ret = compiler_peer_send(c, dp, full, err);
	if (!ret)
		ret = compiler_policy_send(c, dp, full, err);
	if (!ret)
		ret = send_uplinks(c, dp, full, err);
	if (!ret)
		ret = send_endpoints(c, dp, full, err);
	return ret;
}

/* Nanoseconds of CLOCK_MONOTONIC. */
static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int sluice_compiler_sync(struct sluice_compiler *c, struct sluice_dataplane *dp, bool full,
			 struct sluice_err *err)
{
	int64_t began, compiled;
	int ret;

	full |= c->need_full;
	if (!full && !sluice_compiler_dirty(c))
		return 0;
	began = now();
	c->stats.sent = c->stats.built = c->stats.classified = c->stats.compiled_services = 0;
	compiler_service_update(c);
	compiler_policy_update(c);
	compiler_peer_update(c);
	compiler_policy_build(c);
	compiled = now();
	c->stats.compile_ns = compiled - began;

	ret = dp->ops->begin(dp, err);
	if (ret) {
		c->need_full = true;
		return ret;
	}
	ret = send_all(c, dp, full, err);
	if (ret)
		dp->ops->abort(dp);
	else
		ret = dp->ops->commit(dp, full, err);
	if (ret) {
		c->need_full = true;
		return ret;
	}
	c->need_full = false;
	c->stats.commit_ns = now() - compiled;
	compiler_service_sent(c);
	compiler_peer_sent(c);
	compiler_policy_sent(c);
	endpoints_sent(c);
	count(c);
	if (c->complaints)
		complain(c);
	return 0;
}

void sluice_compiler_stats(const struct sluice_compiler *c, struct sluice_compiler_stats *stats)
{
	*stats = c->stats;
}

unsigned long sluice_compiler_problems_version(const struct sluice_compiler *c)
{
	return c->problems_version;
}

size_t sluice_compiler_problems(const struct sluice_compiler *c,
				const struct sluice_compiler_problem **problems)
{
	*problems = c->problems;
	return c->n_problems;
}
