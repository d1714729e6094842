// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies to rulesets
 * --------------------
 * An endpoint that at least one policy applies to in a direction obeys a ruleset made of all that
 * do, tier after tier:
 *
 *   admin      the rules of ClusterNetworkPolicies, by priority, equal ones by name
 *   policy     those of NetworkPolicies, each an allow, in the order of the policies' names, then one
 *              default deny: who is selected by a NetworkPolicy is decided here
 *   baseline   as admin
 *
 * and what no rule decides is allowed. Endpoints with the same policies share the ruleset. Ingress
 * rules with named ports mean something else for a pod that numbers its ports differently, so what
 * the names in use resolve to is part of a ruleset's key:
 *
 *     ingress | shop | api-allow, default-deny | TCP http=8080 | tenants | everybody
 *
 * (the last two, of the admin and the baseline tier, only if there are any). The order of policies is
 * part of it, too: a priority that changes it makes another ruleset.
 *
 * For egress the name is resolved by each destination: a rule "to app=web, port http" becomes one
 * rule for each number that classes of peers resolve http to, all with the same name and id.
 *
 * The id of a ruleset is a hash of that key and the id of a rule is one of its name: both are the
 * same after a restart. A changed policy therefore replaces the ruleset's content under its id, and
 * the endpoints that use it need no message.
 */
#include "ctl/lib/compiler_internal.h"
#include "ctl/lib/ruleset_builder.h"
#include "uapi/sluice.h"

static const char *const directions[2] = { "ingress", "egress" };

static uint32_t fnv1a(const void *p, size_t len)
{
	const unsigned char *c = p;
	uint32_t h = 0x811c9dc5;

	for (; len; len--)
		h = (h ^ *c++) * 0x01000193;
	return h;
}

/* The first number from the hash on that is not taken and not 0. */
static uint32_t free_id(const struct sluice_map *taken, const void *key, size_t len)
{
	uint32_t id = fnv1a(key, len);

	while (!id || sluice_map_get(taken, &id, sizeof(id)))
		id++;
	return id;
}

/* ---- names of rules ---- */

static void name_key(const struct rule_name *n, char *key, size_t *len)
{
	size_t a = strlen(n->policy), b = strlen(n->rule);

	memcpy(key, n->policy, a + 1);
	memcpy(key + a + 1, n->rule, b);
	*len = a + 1 + b;
}

#define NAME_KEY (SLUICE_NAME_LEN + sizeof(((struct compiled_rule *)0)->name))

static struct rule_name *name_get(struct sluice_compiler *c, const char *policy, const char *rule)
{
	struct rule_name like = { .policy = (char *)policy, .rule = (char *)rule }, **slot, *n;
	char key[NAME_KEY];
	size_t len;

	name_key(&like, key, &len);
	slot = (struct rule_name **)sluice_map_slot(&c->names, key, len);
	n = *slot;
	if (!n) {
		n = sluice_zalloc(sizeof(*n));
		*slot = n;
		n->policy = sluice_strdup(policy);
		n->rule = sluice_strdup(rule);
		n->id = free_id(&c->name_ids, key, len);
		*sluice_map_slot(&c->name_ids, &n->id, sizeof(n->id)) = n;
	}
	if (!n->refs++ && !n->dirty) {
		n->dirty = true;
		list_add(&c->dirty_names, n);
	}
	return n;
}

static void name_put(struct sluice_compiler *c, struct rule_name *n)
{
	if (--n->refs || n->dirty)
		return;
	n->dirty = true;
	list_add(&c->dirty_names, n);
}

static void free_name(void *value)
{
	struct rule_name *n = value;

	free(n->policy);
	free(n->rule);
	free(n);
}

bool sluice_compiler_rule(const struct sluice_compiler *c, uint32_t id, const char **policy,
			  const char **rule)
{
	const struct rule_name *n = sluice_map_get(&c->name_ids, &id, sizeof(id));

	if (!n)
		return false;
	*policy = n->policy;
	*rule = n->rule;
	return true;
}

/* ---- policies ---- */

static struct atom *peer_atom(struct sluice_compiler *c, const struct sluice_policy *o,
			      const struct sluice_policy_peer *peer)
{
	struct atom like = { 0 };

	if (peer->is_block) {
		like.type = ATOM_BLOCK;
		like.cidr = peer->cidr;
		like.except = peer->except;
		like.n_except = peer->n_except;
		return compiler_atom_get(c, &like);
	}
	if (peer->is_nodes) {
		like.type = ATOM_NODES;
		like.nodes = peer->nodes;
		return compiler_atom_get(c, &like);
	}
	like.type = ATOM_SELECTOR;
	if (peer->has_namespaces)
		like.namespaces = peer->namespaces;
	else
		like.ns = o->o.ns;
	if (peer->has_pods)
		like.pods = peer->pods;
	return compiler_atom_get(c, &like);
}

/*
 * "egress[2]", or with what its author calls it: "egress[2]:no-metadata". It stands in tables: blanks and
 * what would break a line become '_'.
 */
static void name_rule(const struct sluice_policy_rule *r, int dir, size_t index, char *out,
		      size_t size)
{
	size_t n = snprintf(out, size, "%s[%zu]", directions[dir], index), i;

	if (!r->name)
		return;
	snprintf(out + n, size - n, ":%s", r->name);
	for (i = n; out[i]; i++)
		if ((unsigned char)out[i] <= ' ' || out[i] == 0x7f)
			out[i] = '_';
	/* Cut at the end of a character. */
	while (i > n + 1 && ((unsigned char)r->name[i - n - 1] & 0xc0) == 0x80)
		i--;
	out[i] = 0;
}

static void compile_rule(struct sluice_compiler *c, const struct sluice_policy *o, int dir,
			 size_t index, struct compiled_rule *out)
{
	const struct sluice_policy_rule *r = &o->rules[dir][index];
	size_t i;

	out->source = r;
	name_rule(r, dir, index, out->name, sizeof(out->name));
	out->any_peer = !r->n_peers;
	out->atoms = sluice_zalloc(r->n_peers * sizeof(*out->atoms));
	for (i = 0; i < r->n_peers; i++)
		out->atoms[out->n_atoms++] = peer_atom(c, o, &r->peers[i]);
	out->port_atoms = sluice_zalloc(r->n_ports * sizeof(*out->port_atoms));
	for (i = 0; i < r->n_ports && dir == SLUICE_EGRESS; i++) {
		struct atom like = { .type = ATOM_PORT,
				     .port_name = r->ports[i].name,
				     .proto = r->ports[i].proto };

		if (r->ports[i].name)
			out->port_atoms[i] = compiler_atom_get(c, &like);
	}
}

struct compiled_rules {
	struct compiled_rule *v[2];
	size_t n[2];
	const struct sluice_policy *o;
};

static struct compiled_rules take_rules(struct policy *p)
{
	struct compiled_rules old = { { p->rules[0], p->rules[1] },
				      { p->n_rules[0], p->n_rules[1] },
				      p->o };

	return old;
}

static void drop_rules(struct sluice_compiler *c, struct compiled_rules *r)
{
	size_t dir, i, k;

	for (dir = 0; dir < 2; dir++) {
		for (i = 0; i < r->n[dir]; i++) {
			struct compiled_rule *rule = &r->v[dir][i];

			for (k = 0; k < rule->n_atoms; k++)
				compiler_atom_put(c, rule->atoms[k]);
			for (k = 0; k < rule->source->n_ports; k++)
				if (rule->port_atoms[k])
					compiler_atom_put(c, rule->port_atoms[k]);
			free(rule->atoms);
			free(rule->port_atoms);
		}
		free(r->v[dir]);
	}
	sluice_object_put((struct sluice_object *)r->o);
}

static void compile_policy(struct sluice_compiler *c, struct policy *p,
			   const struct sluice_policy *o)
{
	struct compiled_rules old = take_rules(p);
	size_t dir, i;

	p->o = sluice_to_policy(sluice_object_get((struct sluice_object *)&o->o));
	for (dir = 0; dir < 2; dir++) {
		p->n_rules[dir] = o->applies[dir] ? o->n_rules[dir] : 0;
		p->rules[dir] = sluice_zalloc(p->n_rules[dir] * sizeof(*p->rules[dir]));
		for (i = 0; i < p->n_rules[dir]; i++)
			compile_rule(c, o, dir, i, &p->rules[dir][i]);
	}
	if (!p->changed) {
		p->changed = true;
		list_add(&c->changed_policies, p);
	}
	/* After the new ones were taken: a question that both ask is never dropped in between. */
	if (old.o)
		drop_rules(c, &old);
}

static struct policy *policy_get(struct sluice_compiler *c, const struct sluice_policy *o)
{
	struct policy **slot, *p;
	struct name_key k;

	make_name_key(&k, o->o.ns, o->o.name);
	slot = (struct policy **)sluice_map_slot(&c->policies, k.text, k.len);
	p = *slot;
	if (!p) {
		p = sluice_zalloc(sizeof(*p));
		*slot = p;
		p->ns = sluice_strdup(o->o.ns);
		p->name = sluice_strdup(o->o.name);
		compile_policy(c, p, o);
	}
	p->refs++;
	return p;
}

static void free_policy(void *value)
{
	struct policy *p = value;

	free(p->ns);
	free(p->name);
	free(p);
}

static void policy_put(struct sluice_compiler *c, struct policy *p)
{
	struct compiled_rules old;
	struct name_key k;

	if (--p->refs)
		return;
	old = take_rules(p);
	drop_rules(c, &old);
	make_name_key(&k, p->ns, p->name);
	sluice_map_del(&c->policies, k.text, k.len);
	if (p->stale)
		list_remove(&c->stale_policies, p);
	if (p->changed)
		list_remove(&c->changed_policies, p);
	free_policy(p);
}

/* ---- rulesets ---- */

static void make_dirty(struct sluice_compiler *c, struct ruleset *rs)
{
	if (rs->dirty)
		return;
	rs->dirty = true;
	list_add(&c->dirty_rulesets, rs);
}

static struct port_resolution *resolve_ports(const struct sluice_policy *const *policies,
					     size_t n_policies, const struct sluice_pod *pod,
					     size_t *n)
{
	struct port_resolution *v = NULL;
	size_t cap = 0, i, k, m, q;

	*n = 0;
	for (i = 0; i < n_policies; i++) {
		const struct sluice_policy *o = policies[i];

		for (k = 0; k < o->n_rules[SLUICE_INGRESS]; k++) {
			const struct sluice_policy_rule *r = &o->rules[SLUICE_INGRESS][k];

			for (m = 0; m < r->n_ports; m++) {
				const struct sluice_policy_port *port = &r->ports[m];
				struct port_resolution *out;

				if (!port->name)
					continue;
				for (q = 0; q < *n; q++)
					if (v[q].proto == port->proto &&
					    !strcmp(v[q].name, port->name))
						break;
				if (q < *n)
					continue;
				sluice_grow(v, *n, cap);
				out = &v[(*n)++];
				*out = (struct port_resolution){ port->name, port->proto, 0 };
				sluice_pod_port_number(pod, port->name, port->proto, &out->port);
			}
		}
	}
	return v;
}

/* The names of a tier's policies; they are sorted by tier. */
static void print_tier(FILE *f, const struct sluice_policy *const *policies, size_t n, uint8_t tier)
{
	const char *separator = "";
	size_t i;

	for (i = 0; i < n; i++) {
		if (policies[i]->tier != tier)
			continue;
		fprintf(f, "%s%s", separator, policies[i]->o.name);
		separator = ",";
	}
}

static char *ruleset_key(int dir, const struct sluice_policy *const *policies, size_t n,
			 const struct port_resolution *ports, size_t n_ports, size_t *len)
{
	const char *ns = "";
	bool cluster = false;
	char *key = NULL;
	FILE *f = sluice_alloc_check(open_memstream(&key, len));
	size_t i;

	for (i = 0; i < n; i++) {
		if (policies[i]->tier == SLUICE_TIER_POLICY)
			ns = policies[i]->o.ns;
		else
			cluster = true;
	}
	fprintf(f, "%s|%s|", directions[dir], ns);
	print_tier(f, policies, n, SLUICE_TIER_POLICY);
	fputc('|', f);
	for (i = 0; i < n_ports; i++)
		fprintf(f, "%s%u %s=%u", i ? "," : "", ports[i].proto, ports[i].name,
			ports[i].port);
	if (cluster) {
		fputc('|', f);
		print_tier(f, policies, n, SLUICE_TIER_ADMIN);
		fputc('|', f);
		print_tier(f, policies, n, SLUICE_TIER_BASELINE);
	}
	fclose(f);
	return sluice_alloc_check(key);
}

static struct ruleset *ruleset_get(struct sluice_compiler *c, int dir,
				   const struct sluice_policy *const *policies, size_t n,
				   const struct sluice_pod *pod)
{
	struct port_resolution *ports = NULL;
	struct ruleset **slot, *rs;
	size_t n_ports = 0, len, i;
	char *key;

	if (dir == SLUICE_INGRESS)
		ports = resolve_ports(policies, n, pod, &n_ports);
	key = ruleset_key(dir, policies, n, ports, n_ports, &len);
	slot = (struct ruleset **)sluice_map_slot(&c->rulesets, key, len);
	rs = *slot;
	if (!rs) {
		rs = sluice_zalloc(sizeof(*rs));
		*slot = rs;
		rs->dir = dir;
		rs->key = key;
		rs->key_len = len;
		rs->id = free_id(&c->ruleset_ids, key, len);
		*sluice_map_slot(&c->ruleset_ids, &rs->id, sizeof(rs->id)) = rs;
	} else {
		free(key);
	}
	if (!rs->n_policies) { /* new, or dropped and not yet deleted from the data plane */
		rs->policies = sluice_zalloc(n * sizeof(*rs->policies));
		for (i = 0; i < n; i++)
			rs->policies[rs->n_policies++] = policy_get(c, policies[i]);
		for (i = 0; i < n_ports; i++)
			ports[i].name = sluice_strdup(ports[i].name);
		rs->ports = ports;
		rs->n_ports = n_ports;
		rs->build = true;
		make_dirty(c, rs);
	} else {
		free(ports);
	}
	rs->refs++;
	return rs;
}

/* Keeps what del needs. */
static void empty_ruleset(struct sluice_compiler *c, struct ruleset *rs)
{
	size_t i;

	for (i = 0; i < rs->n_policies; i++)
		policy_put(c, rs->policies[i]);
	for (i = 0; i < rs->n_ports; i++)
		free((char *)rs->ports[i].name);
	for (i = 0; i < rs->names.n; i++)
		name_put(c, rs->names.v[i]);
	list_clear(&rs->names);
	free(rs->policies);
	free(rs->ports);
	free(rs->blob);
	c->complaints |= !!rs->problem;
	free(rs->problem);
	rs->policies = NULL;
	rs->n_policies = 0;
	rs->ports = NULL;
	rs->n_ports = 0;
	rs->blob = NULL;
	rs->problem = NULL;
	rs->build = false;
}

void compiler_ruleset_put(struct sluice_compiler *c, struct ruleset *rs)
{
	if (rs && !--rs->refs)
		make_dirty(c, rs);
}

static void free_ruleset(void *value)
{
	struct ruleset *rs = value;

	free(rs->key);
	free(rs);
}

/* ---- endpoints ---- */

struct selection {
	const struct sluice_pod *pod;
	const struct sluice_labels *namespace; /* its labels */
	const struct sluice_policy **v;
	size_t n, cap;
};

static bool selects(const struct sluice_policy *p, const struct sluice_pod *pod,
		    const struct sluice_labels *namespace)
{
	return sluice_selector_matches(&p->pods, &pod->o.labels) &&
	       (p->o.kind == SLUICE_KIND_NETWORK_POLICY ?
			!strcmp(p->o.ns, pod->o.ns) :
			sluice_selector_matches(&p->namespaces, namespace));
}

static bool select_policy(void *ctx, const struct sluice_object *o)
{
	const struct sluice_policy *p = sluice_to_policy(o);
	struct selection *s = ctx;

	if (!selects(p, s->pod, s->namespace))
		return true;
	sluice_grow(s->v, s->n, s->cap);
	s->v[s->n++] = p;
	return true;
}

/* By tier, priority and name. */
static int compare_policies(const void *x, const void *y)
{
	const struct sluice_policy *a = *(const struct sluice_policy *const *)x;
	const struct sluice_policy *b = *(const struct sluice_policy *const *)y;

	if (a->tier != b->tier)
		return (int)a->tier - (int)b->tier;
	if (a->priority != b->priority)
		return (int)a->priority - (int)b->priority;
	return strcmp(a->o.name, b->o.name);
}

static void resolve_endpoint(struct sluice_compiler *c, struct endpoint *e, struct selection *s)
{
	const struct sluice_pod *pod = e->pod ? e->pod->o : NULL;
	struct ruleset *found[2] = { NULL, NULL };
	const struct sluice_policy **some;
	bool open = !e->gone && (!e->pod || pod);
	size_t i, n;
	int dir;

	s->n = 0;
	s->pod = pod;
	if (pod && !e->gone) {
		s->namespace = sluice_model_namespace_labels(c->model, pod->o.ns);
		sluice_model_each(c->model, SLUICE_KIND_NETWORK_POLICY, pod->o.ns, select_policy,
				  s);
		sluice_model_each(c->model, SLUICE_KIND_CLUSTER_NETWORK_POLICY, NULL, select_policy,
				  s);
		if (s->n)
			qsort(s->v, s->n, sizeof(*s->v), compare_policies);
	}
	some = sluice_zalloc(s->n * sizeof(*some));
	for (dir = 0; dir < 2; dir++) {
		for (i = n = 0; i < s->n; i++)
			if (s->v[i]->applies[dir])
				some[n++] = s->v[i];
		if (n)
			found[dir] = ruleset_get(c, dir, some, n, pod);
	}
	free(some);
	if (found[0] == e->rulesets[0] && found[1] == e->rulesets[1] && open == e->open &&
	    !e->gone) {
		compiler_ruleset_put(c, found[0]);
		compiler_ruleset_put(c, found[1]);
		return;
	}
	for (dir = 0; dir < 2; dir++) {
		compiler_ruleset_put(c, e->rulesets[dir]);
		e->rulesets[dir] = found[dir];
	}
	e->open = open;
	if (!e->dirty) {
		e->dirty = true;
		list_add(&c->dirty_endpoints, e);
	}
}

static void endpoints_stale(struct sluice_compiler *c, const struct pod *pod)
{
	size_t i;

	for (i = 0; i < pod->endpoints.n; i++)
		compiler_endpoint_stale(c, pod->endpoints.v[i]);
}

struct change {
	struct sluice_compiler *c;
	const struct sluice_policy *before, *after;
};

static void pod_stale(struct change *ch, const struct pod *pod)
{
	const struct sluice_labels *namespace;

	if (!pod || !pod->endpoints.n || !pod->o)
		return;
	namespace = sluice_model_namespace_labels(ch->c->model, pod->ns);
	if ((ch->before && selects(ch->before, pod->o, namespace)) ||
	    (ch->after && selects(ch->after, pod->o, namespace)))
		endpoints_stale(ch->c, pod);
}

static bool stale_pods(void *ctx, const struct sluice_object *o)
{
	struct change *ch = ctx;

	pod_stale(ch, compiler_find_pod(ch->c, o->ns, o->name));
	return true;
}

bool compiler_policy_unsupported(const struct sluice_policy *o)
{
	size_t dir, i;

	for (dir = 0; o && dir < 2; dir++)
		for (i = 0; i < o->n_rules[dir]; i++)
			if (o->rules[dir][i].unsupported)
				return true;
	return false;
}

void compiler_policy_changed(struct sluice_compiler *c, const struct sluice_object *before,
			     const struct sluice_object *after)
{
	const struct sluice_object *o = after ? after : before;
	struct change ch = { c, sluice_to_policy(before), sluice_to_policy(after) };
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	struct name_key k;
	struct policy *p;

	if (o->kind == SLUICE_KIND_NETWORK_POLICY) {
		sluice_model_each(c->model, SLUICE_KIND_POD, o->ns, stale_pods, &ch);
	} else {
		/* Of all namespaces, but only those that are here. */
		for (e = sluice_map_first(&c->endpoints, &it); e; e = sluice_map_next(&it))
			pod_stale(&ch, ((struct endpoint *)e->value)->pod);
		c->complaints |= compiler_policy_unsupported(ch.before) ||
				 compiler_policy_unsupported(ch.after);
	}
	make_name_key(&k, o->ns, o->name);
	p = sluice_map_get(&c->policies, k.text, k.len);
	if (p && !p->stale) {
		p->stale = true;
		list_add(&c->stale_policies, p);
	}
}

static bool stale_in_namespace(void *ctx, const struct sluice_object *o)
{
	struct sluice_compiler *c = ctx;
	const struct pod *pod = compiler_find_pod(c, o->ns, o->name);

	if (pod)
		endpoints_stale(c, pod);
	return true;
}

void compiler_policy_namespace(struct sluice_compiler *c, const char *ns)
{
	if (sluice_model_count(c->model, SLUICE_KIND_CLUSTER_NETWORK_POLICY))
		sluice_model_each(c->model, SLUICE_KIND_POD, ns, stale_in_namespace, c);
}

void compiler_policy_update(struct sluice_compiler *c)
{
	struct selection s = { 0 };
	size_t i;

	for (i = 0; i < c->stale_policies.n; i++) {
		struct policy *p = c->stale_policies.v[i];
		const struct sluice_object *o =
			sluice_model_find(c->model, p->o->o.kind, p->ns, p->name);

		p->stale = false;
		/* One that is gone is let go by its endpoints below. */
		if (o)
			compile_policy(c, p, sluice_to_policy(o));
	}
	c->stale_policies.n = 0;
	for (i = 0; i < c->stale_endpoints.n; i++) {
		struct endpoint *e = c->stale_endpoints.v[i];

		e->stale = false;
		resolve_endpoint(c, e, &s);
	}
	c->stale_endpoints.n = 0;
	free(s.v);
	for (i = 0; i < c->dirty_rulesets.n; i++) {
		struct ruleset *rs = c->dirty_rulesets.v[i];

		if (!rs->refs && rs->n_policies)
			empty_ruleset(c, rs);
	}
}

/* ---- building ---- */

struct build {
	struct sluice_build_rule *rules;
	size_t n, cap;
	struct list memory; /* what the rules point to */
	struct list names;
};

static void *keep(struct build *b, void *p)
{
	list_add(&b->memory, p);
	return p;
}

static struct sluice_build_rule *add_rule(struct build *b, uint32_t id, uint8_t tier,
					  uint8_t action)
{
	struct sluice_build_rule *r;

	sluice_grow(b->rules, b->n, b->cap);
	r = &b->rules[b->n++];
	memset(r, 0, sizeof(*r));
	r->id = id;
	r->action = action;
	r->tier = tier;
	return r;
}

static uint32_t *rule_classes(struct build *b, const struct compiled_rule *rule, size_t *n)
{
	uint32_t *ids;
	size_t i, k;

	*n = 0;
	for (i = 0; i < rule->n_atoms; i++)
		*n += rule->atoms[i]->n_classes;
	ids = keep(b, sluice_zalloc(*n * sizeof(*ids)));
	*n = 0;
	for (i = 0; i < rule->n_atoms; i++)
		for (k = 0; k < rule->atoms[i]->n_classes; k++)
			ids[(*n)++] = rule->atoms[i]->classes[k].class->id;
	return ids;
}

static const struct port_resolution *resolution(const struct ruleset *rs,
						const struct sluice_policy_port *port)
{
	size_t i;

	for (i = 0; i < rs->n_ports; i++)
		if (rs->ports[i].proto == port->proto && !strcmp(rs->ports[i].name, port->name))
			return &rs->ports[i];
	return NULL;
}

static int compare_u32(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

	return a < b ? -1 : a > b;
}

static int compare_atom_classes(const void *x, const void *y)
{
	const struct atom_class *a = x, *b = y;

	if (a->value != b->value)
		return a->value < b->value ? -1 : 1;
	return a->class->id < b->class->id ? -1 : a->class->id > b->class->id;
}

/* "to these peers at their port http": one rule for each number that http is somewhere. */
static void add_named_egress(struct build *b, const struct compiled_rule *rule, uint32_t id,
			     uint8_t tier, const struct atom *name, uint32_t *peers, size_t n_peers)
{
	struct atom_class *v = sluice_memdup(name->classes, name->n_classes * sizeof(*v));
	size_t i, first;

	qsort(v, name->n_classes, sizeof(*v), compare_atom_classes);
	for (i = 0; i < name->n_classes;) {
		uint32_t value = v[i].value, *ids;
		struct sluice_port_range *range;
		struct sluice_build_rule *r;
		size_t n = 0;

		for (first = i; i < name->n_classes && v[i].value == value; i++)
			;
		ids = keep(b, sluice_zalloc((i - first) * sizeof(*ids)));
		for (; first < i; first++)
			if (rule->any_peer || bsearch(&v[first].class->id, peers, n_peers,
						      sizeof(*peers), compare_u32))
				ids[n++] = v[first].class->id;
		if (!n)
			continue;
		range = keep(b, sluice_zalloc(sizeof(*range)));
		range->lo = range->hi = sluice_port_key(name->proto, value);
		r = add_rule(b, id, tier, rule->source->action);
		r->classes = ids;
		r->n_classes = n;
		r->ports = range;
		r->n_ports = 1;
	}
	free(v);
}

static void add_compiled_rule(struct build *b, const struct ruleset *rs,
			      const struct compiled_rule *rule, uint32_t id, uint8_t tier)
{
	const struct sluice_policy_rule *src = rule->source;
	struct sluice_port_range *ranges = keep(b, sluice_zalloc(src->n_ports * sizeof(*ranges)));
	size_t n_ranges = 0, n_peers, i;
	struct sluice_build_rule *r;
	uint32_t *peers = rule_classes(b, rule, &n_peers);

	if (src->matches_nothing || (!rule->any_peer && !n_peers))
		return; /* nobody, now or ever */
	for (i = 0; i < src->n_ports; i++) {
		const struct sluice_policy_port *p = &src->ports[i];
		uint16_t lo = p->lo, hi = p->hi;

		if (p->name) {
			const struct port_resolution *res = resolution(rs, p);

			if (rule->port_atoms[i] || !res || !res->port)
				continue;
			lo = hi = res->port;
		}
		ranges[n_ranges++] = (struct sluice_port_range){ sluice_port_key(p->proto, lo),
								 sluice_port_key(p->proto, hi) };
	}
	if (!src->n_ports || n_ranges) {
		r = add_rule(b, id, tier, src->action);
		r->any_class = rule->any_peer;
		r->classes = peers;
		r->n_classes = n_peers;
		r->any_port = !src->n_ports;
		r->ports = ranges;
		r->n_ports = n_ranges;
	}
	if (n_peers)
		qsort(peers, n_peers, sizeof(*peers), compare_u32);
	for (i = 0; i < src->n_ports; i++)
		if (rule->port_atoms[i])
			add_named_egress(b, rule, id, tier, rule->port_atoms[i], peers, n_peers);
}

/* Where the policies of a tier begin, or would. */
static size_t first_of(const struct ruleset *rs, uint8_t tier)
{
	size_t i;

	for (i = 0; i < rs->n_policies && rs->policies[i]->o->tier < tier; i++)
		;
	return i;
}

/* "shop/a,shop/b,shop/c", or as many as fit and how many more there are: "shop/a,+2". */
static void join_names(struct policy *const *policies, size_t n, char *out, size_t size)
{
	size_t len = 0, i;

	for (i = 0; i < n; i++) {
		const struct policy *p = policies[i];
		const char *slash = *p->ns ? "/" : "";
		size_t need = strlen(p->ns) + strlen(slash) + strlen(p->name) + !!i;
		/* Room for ",+65535" unless this is the last. */
		size_t spare = i + 1 < n ? 8 : 0;

		if (len + need + spare >= size) {
			snprintf(out + len, size - len, "%s+%zu", i ? "," : "", n - i);
			return;
		}
		len += snprintf(out + len, size - len, "%s%s%s%s", i ? "," : "", p->ns, slash,
				p->name);
	}
}

static void add_default_deny(struct sluice_compiler *c, struct build *b,
			     struct policy *const *policies, size_t n)
{
	char names[SLUICE_NAME_LEN];
	struct sluice_build_rule *r;
	struct rule_name *name;

	join_names(policies, n, names, sizeof(names));
	name = name_get(c, names, "default-deny");
	list_add(&b->names, name);
	r = add_rule(b, name->id, SLUICE_TIER_POLICY, SLUICE_ACTION_DENY);
	r->flags = SLUICE_RULE_DEFAULT;
	r->any_class = true;
	r->any_port = true;
}

static void add_policy(struct sluice_compiler *c, struct build *b, const struct ruleset *rs,
		       const struct policy *p)
{
	char policy[64 + 254];
	size_t i;

	snprintf(policy, sizeof(policy), "%s%s%s", p->ns, *p->ns ? "/" : "", p->name);
	for (i = 0; i < p->n_rules[rs->dir]; i++) {
		const struct compiled_rule *rule = &p->rules[rs->dir][i];
		struct rule_name *name = name_get(c, policy, rule->name);

		list_add(&b->names, name);
		add_compiled_rule(b, rs, rule, name->id, p->o->tier);
	}
}

/* Too large for any data plane: fail closed, and say so. */
static struct sluice_ruleset *closed_ruleset(struct sluice_compiler *c, struct build *b,
					     struct ruleset *rs, const char *why)
{
	const struct policy *p = rs->policies[0];
	struct sluice_ruleset *blob;

	if (asprintf(&rs->problem, "%s %s%s%s%s: %s ruleset denies everything: %s",
		     sluice_kind_name(p->o->o.kind), p->ns, *p->ns ? "/" : "", p->name,
		     rs->n_policies > 1 ? " and others" : "", directions[rs->dir], why) < 0)
		sluice_alloc_check(NULL);
	c->complaints = true;
	add_default_deny(c, b, rs->policies, rs->n_policies);
	if (sluice_ruleset_build(&b->rules[b->n - 1], 1, SLUICE_ACTION_DENY, &blob, NULL))
		abort();
	return blob;
}

static void build_ruleset(struct sluice_compiler *c, struct ruleset *rs)
{
	size_t first = first_of(rs, SLUICE_TIER_POLICY),
	       behind = first_of(rs, SLUICE_TIER_BASELINE);
	struct sluice_ruleset *blob;
	struct build b = { 0 };
	SLUICE_ERR(err);
	size_t i;

	c->stats.built++;
	rs->build = false;
	c->complaints |= !!rs->problem;
	free(rs->problem);
	rs->problem = NULL;
	for (i = 0; i < rs->n_policies; i++) {
		add_policy(c, &b, rs, rs->policies[i]);
		if (i + 1 == behind && first < behind)
			add_default_deny(c, &b, rs->policies + first, behind - first);
	}
	if (sluice_ruleset_build(b.rules, b.n,
				 first < behind ? SLUICE_ACTION_DENY : SLUICE_ACTION_ALLOW, &blob,
				 &err))
		blob = closed_ruleset(c, &b, rs, sluice_err_msg(&err));
	for (i = 0; i < b.memory.n; i++)
		free(b.memory.v[i]);
	list_clear(&b.memory);
	free(b.rules);
	for (i = 0; i < rs->names.n; i++)
		name_put(c, rs->names.v[i]);
	list_clear(&rs->names);
	rs->names = b.names;
	if (rs->blob && rs->blob->size == blob->size && !memcmp(rs->blob, blob, blob->size)) {
		free(blob);
		return;
	}
	free(rs->blob);
	rs->blob = blob;
	make_dirty(c, rs);
}

static bool rule_changed(const struct compiled_rule *rule)
{
	size_t i;

	for (i = 0; i < rule->n_atoms; i++)
		if (rule->atoms[i]->changed)
			return true;
	for (i = 0; i < rule->source->n_ports; i++)
		if (rule->port_atoms[i] && rule->port_atoms[i]->changed)
			return true;
	return false;
}

static bool needs_build(const struct ruleset *rs)
{
	size_t i, k;

	if (rs->build)
		return true;
	for (i = 0; i < rs->n_policies; i++) {
		const struct policy *p = rs->policies[i];

		if (p->changed)
			return true;
		for (k = 0; k < p->n_rules[rs->dir]; k++)
			if (rule_changed(&p->rules[rs->dir][k]))
				return true;
	}
	return false;
}

void compiler_policy_build(struct sluice_compiler *c)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	size_t i;

	if (!c->dirty_rulesets.n && !c->changed_atoms.n && !c->changed_policies.n)
		return;
	for (e = sluice_map_first(&c->rulesets, &it); e; e = sluice_map_next(&it)) {
		struct ruleset *rs = e->value;

		if (rs->refs && needs_build(rs))
			build_ruleset(c, rs);
	}
	for (i = 0; i < c->changed_atoms.n; i++)
		((struct atom *)c->changed_atoms.v[i])->changed = false;
	c->changed_atoms.n = 0;
	for (i = 0; i < c->changed_policies.n; i++)
		((struct policy *)c->changed_policies.v[i])->changed = false;
	c->changed_policies.n = 0;
}

/* ---- to the data plane ---- */

static int send_name(struct sluice_compiler *c, struct rule_name *n, struct sluice_dataplane *dp,
		     bool full, struct sluice_err *err)
{
	struct sluice_dp_rule out = { n->id, n->policy, n->rule };
	int ret;

	if (!n->refs) {
		if (full || !n->sent)
			return 0;
		c->stats.sent++;
		return dp->ops->del_rule(dp, &out, err);
	}
	if (!full && n->sent) /* its text never changes */
		return 0;
	c->stats.sent++;
	ret = dp->ops->set_rule(dp, &out, err);
	n->sent |= !ret;
	return ret;
}

static int send_ruleset(struct sluice_compiler *c, struct ruleset *rs, struct sluice_dataplane *dp,
			bool full, struct sluice_err *err)
{
	struct sluice_dp_ruleset out = { rs->id, rs->blob };
	int ret;

	if (!rs->refs) {
		out.blob = NULL;
		if (full || !rs->sent)
			return 0;
		c->stats.sent++;
		return dp->ops->del_ruleset(dp, &out, err);
	}
	c->stats.sent++;
	ret = dp->ops->set_ruleset(dp, &out, err);
	rs->sent |= !ret;
	return ret;
}

int compiler_policy_send(struct sluice_compiler *c, struct sluice_dataplane *dp, bool full,
			 struct sluice_err *err)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	size_t i;
	int ret = 0;

	if (full) {
		for (e = sluice_map_first(&c->names, &it); e && !ret; e = sluice_map_next(&it))
			ret = send_name(c, e->value, dp, true, err);
		for (e = sluice_map_first(&c->rulesets, &it); e && !ret; e = sluice_map_next(&it))
			ret = send_ruleset(c, e->value, dp, true, err);
		return ret;
	}
	for (i = 0; i < c->dirty_names.n && !ret; i++)
		ret = send_name(c, c->dirty_names.v[i], dp, false, err);
	for (i = 0; i < c->dirty_rulesets.n && !ret; i++)
		ret = send_ruleset(c, c->dirty_rulesets.v[i], dp, false, err);
	return ret;
}

void compiler_policy_sent(struct sluice_compiler *c)
{
	char key[NAME_KEY];
	size_t i, len;

	for (i = 0; i < c->dirty_names.n; i++) {
		struct rule_name *n = c->dirty_names.v[i];

		n->dirty = false;
		if (n->refs)
			continue;
		name_key(n, key, &len);
		sluice_map_del(&c->names, key, len);
		sluice_map_del(&c->name_ids, &n->id, sizeof(n->id));
		free_name(n);
	}
	c->dirty_names.n = 0;
	for (i = 0; i < c->dirty_rulesets.n; i++) {
		struct ruleset *rs = c->dirty_rulesets.v[i];

		rs->dirty = false;
		if (rs->refs)
			continue;
		sluice_map_del(&c->rulesets, rs->key, rs->key_len);
		sluice_map_del(&c->ruleset_ids, &rs->id, sizeof(rs->id));
		free_ruleset(rs);
	}
	c->dirty_rulesets.n = 0;
}

void compiler_policy_free(struct sluice_compiler *c)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;

	for (e = sluice_map_first(&c->rulesets, &it); e; e = sluice_map_next(&it))
		empty_ruleset(c, e->value);
	sluice_map_clear(&c->rulesets, free_ruleset);
	sluice_map_clear(&c->ruleset_ids, NULL);
	sluice_map_clear(&c->policies, free_policy);
	sluice_map_clear(&c->names, free_name);
	sluice_map_clear(&c->name_ids, NULL);
	list_clear(&c->dirty_names);
	list_clear(&c->dirty_rulesets);
	list_clear(&c->stale_policies);
	list_clear(&c->changed_policies);
	list_clear(&c->stale_endpoints);
}
