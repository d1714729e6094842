// SPDX-License-Identifier: GPL-2.0-only
/*
 * From values to the model's objects, with the API server's validation.
 *
 * Every function that reads a value is given its path, a list of steps on the callers' stacks, and
 * reports with fail(), which names the object, the path and the line. Policies are read
 * strictly: a field that is not known is refused, for a misspelt "egres" would silently open what
 * its author meant to close. The other kinds carry much that has no meaning here and is skipped.
 *
 * As in Kubernetes, a field that is null is a field that is absent.
 */
#include <ctype.h>
#include <stdarg.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/model.h"
#include "ctl/lib/timestamp.h"

#define MAX_ITEMS 1000000 /* of one array: far above what etcd's 1.5 MiB for one object can hold */

struct decoder {
	char who[400]; /* "NetworkPolicy shop/api" */
	struct sluice_err *err;
	unsigned int *err_line;
};

struct path {
	const struct path *up;
	const char *field; /* or NULL: an element of an array */
	size_t index;
	const struct sluice_value *value; /* may be NULL */
};

static void print_path(FILE *f, const struct path *p)
{
	if (!p)
		return;
	print_path(f, p->up);
	if (!p->field)
		fprintf(f, "[%zu]", p->index);
	else if (*p->field)
		fprintf(f, "%s%s", p->up && p->up->up ? "." : "", p->field);
}

static unsigned int line_of(const struct path *p)
{
	for (; p; p = p->up)
		if (p->value)
			return p->value->line;
	return 0;
}

/* "spec.egress[0].to: must be a list"; of the object itself only the latter. To be freed. */
__attribute__((format(printf, 2, 0))) static char *text_at(const struct path *p, const char *fmt,
							   va_list ap)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = sluice_alloc_check(open_memstream(&text, &len));

	if (p && p->up) {
		print_path(f, p);
		fputs(": ", f);
	}
	vfprintf(f, fmt, ap);
	fclose(f);
	return sluice_alloc_check(text);
}

__attribute__((format(printf, 3, 4))) static bool fail(struct decoder *d, const struct path *p,
						       const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = text_at(p, fmt, ap);
	va_end(ap);
	if (d->err_line)
		*d->err_line = line_of(p);
	sluice_err_set(d->err, EINVAL, "%s: %s", d->who, text);
	free(text);
	return false;
}

static const char *type_name(const struct sluice_value *v)
{
	switch (v->type) {
	case SLUICE_VALUE_OBJECT:
		return "an object";
	case SLUICE_VALUE_LIST:
		return "a list";
	case SLUICE_VALUE_TEXT:
		return "a string";
	case SLUICE_VALUE_INTEGER:
	case SLUICE_VALUE_REAL:
		return "a number";
	case SLUICE_VALUE_BOOLEAN:
		return "a boolean";
	case SLUICE_VALUE_NULL:
		return "null";
	}
	return "?";
}

static bool is(const struct sluice_value *v, enum sluice_value_type type)
{
	return v && v->type == type;
}

/* Steps from p to one of its fields. The value is NULL when it is absent or null. */
static struct path step(const struct path *p, const char *name)
{
	const struct sluice_value *v = sluice_value_get(p->value, name);

	return (struct path){ p, name, 0, is(v, SLUICE_VALUE_NULL) ? NULL : v };
}

/* p is a list that has it. */
static struct path element(const struct path *p, size_t i)
{
	return (struct path){ p, NULL, i, &p->value->items[i] };
}

static bool want_object(struct decoder *d, const struct path *p)
{
	if (p->value && !is(p->value, SLUICE_VALUE_OBJECT))
		return fail(d, p, "must be an object, is %s", type_name(p->value));
	return true;
}

static bool want_list(struct decoder *d, const struct path *p, size_t *n)
{
	*n = 0;
	if (!p->value)
		return true;
	if (!is(p->value, SLUICE_VALUE_LIST))
		return fail(d, p, "must be a list, is %s", type_name(p->value));
	*n = p->value->n;
	if (*n > MAX_ITEMS)
		return fail(d, p, "has more than %d items", MAX_ITEMS);
	return true;
}

/* Absent: *out is untouched. */
static bool want_string(struct decoder *d, const struct path *p, const char **out)
{
	if (!p->value)
		return true;
	if (!is(p->value, SLUICE_VALUE_TEXT))
		return fail(d, p, "must be a string, is %s", type_name(p->value));
	*out = p->value->text;
	return true;
}

static bool want_bool(struct decoder *d, const struct path *p, bool *out)
{
	if (!p->value)
		return true;
	if (!is(p->value, SLUICE_VALUE_BOOLEAN))
		return fail(d, p, "must be true or false, is %s", type_name(p->value));
	*out = p->value->boolean;
	return true;
}

static bool want_port(struct decoder *d, const struct path *p, uint16_t *out)
{
	int64_t n;

	if (!is(p->value, SLUICE_VALUE_INTEGER))
		return fail(d, p, "must be a port number, is %s", type_name(p->value));
	n = p->value->integer;
	if (n < 1 || n > 65535)
		return fail(d, p, "port %lld is not between 1 and 65535", (long long)n);
	*out = n;
	return true;
}

static bool want_protocol(struct decoder *d, const struct path *p, uint8_t *out)
{
	const char *s = "TCP";

	if (!want_string(d, p, &s))
		return false;
	*out = sluice_protocol_parse(s);
	if (!*out)
		return fail(d, p, "protocol \"%.40s\" is not one of TCP, UDP, SCTP", s);
	return true;
}

/* IANA service names, as the API server checks them. */
static const char *port_name_problem(const char *s)
{
	size_t n = strlen(s), i;
	bool letter = false;

	if (!n || n > 15)
		return "must have 1 to 15 characters";
	for (i = 0; i < n; i++) {
		if (islower((unsigned char)s[i]))
			letter = true;
		else if (!isdigit((unsigned char)s[i]) && s[i] != '-')
			return "may hold lower-case letters, digits and '-' only";
		if (s[i] == '-' && s[i + 1] == '-')
			return "must not hold two '-' in a row";
	}
	if (!letter)
		return "must hold a letter";
	if (s[0] == '-' || s[n - 1] == '-')
		return "must not begin or end with '-'";
	return NULL;
}

static bool want_port_name(struct decoder *d, const struct path *p, const char *s)
{
	const char *problem = port_name_problem(s);

	return problem ? fail(d, p, "port name \"%.40s\" %s", s, problem) : true;
}

static bool want_address(struct decoder *d, const struct path *p, const char *s,
			 struct sluice_dp_addr *out)
{
	if (!sluice_address_parse(s, out))
		return fail(d, p, "\"%.60s\" is not an IP address", s);
	return true;
}

/* Refuses every field that is not in the NULL-ended list. */
static bool only(struct decoder *d, const struct path *p, const char *const *known)
{
	size_t i, k;

	for (k = 0; p->value && k < p->value->n; k++) {
		const struct sluice_member *m = &p->value->members[k];
		char name[64];
		struct path at = { p, name, 0, &m->value };

		for (i = 0; known[i] && strcmp(known[i], m->key); i++)
			;
		if (known[i])
			continue;
		snprintf(name, sizeof(name), "%s", m->key);
		return fail(d, &at, "unknown field");
	}
	return true;
}

#define ONLY(d, p, ...) only((d), (p), (const char *const[]){ __VA_ARGS__, NULL })

/* DNS-1123 subdomain, or label when max is 63. */
static const char *dns_problem(const char *s, size_t max)
{
	size_t n = strlen(s), i;

	if (!n)
		return "is empty";
	if (n > max)
		return max == 63 ? "is longer than 63 characters" : "is longer than 253 characters";
	for (i = 0; i < n; i++) {
		bool alnum = islower((unsigned char)s[i]) || isdigit((unsigned char)s[i]);
		bool edge = !i || i + 1 == n || s[i - 1] == '.' || s[i + 1] == '.';

		if (!alnum && (edge || (s[i] != '-' && (s[i] != '.' || max == 63))))
			return "is not a DNS name: lower-case letters, digits, '-' and '.' between them";
	}
	return NULL;
}

static bool decode_labels(struct decoder *d, const struct path *p, struct sluice_labels *labels)
{
	const char *problem;
	size_t i;

	if (!want_object(d, p))
		return false;
	for (i = 0; p->value && i < p->value->n; i++) {
		const struct sluice_member *m = &p->value->members[i];
		struct path at = { p, m->key, 0, &m->value };
		const char *value = "";

		problem = sluice_label_key_problem(m->key);
		if (problem)
			return fail(d, &at, "not a label key: %s", problem);
		if (!want_string(d, &at, &value))
			return false;
		problem = sluice_label_value_problem(value);
		if (problem)
			return fail(d, &at, "\"%.80s\" is not a label value: %s", value, problem);
		sluice_labels_add(labels, m->key, value);
	}
	return true;
}

static bool decode_expression(struct decoder *d, const struct path *p, struct sluice_selector *sel)
{
	struct path kp = step(p, "key"), op = step(p, "operator"), vp = step(p, "values");
	const char *key = "", *word = "", *problem;
	enum sluice_selector_op o;
	char **values;
	size_t n, i;
	bool ok = true;

	if (!p->value || !is(p->value, SLUICE_VALUE_OBJECT))
		return fail(d, p, "must be an object");
	if (!ONLY(d, p, "key", "operator", "values") || !want_string(d, &kp, &key) ||
	    !want_string(d, &op, &word) || !want_list(d, &vp, &n))
		return false;
	problem = sluice_label_key_problem(key);
	if (problem)
		return fail(d, &kp, "\"%.80s\" is not a label key: %s", key, problem);
	if (!strcmp(word, "In"))
		o = SLUICE_OP_IN;
	else if (!strcmp(word, "NotIn"))
		o = SLUICE_OP_NOT_IN;
	else if (!strcmp(word, "Exists"))
		o = SLUICE_OP_EXISTS;
	else if (!strcmp(word, "DoesNotExist"))
		o = SLUICE_OP_NOT_EXISTS;
	else
		return fail(d, &op, "\"%.40s\" is not one of In, NotIn, Exists, DoesNotExist",
			    word);
	if ((o == SLUICE_OP_IN || o == SLUICE_OP_NOT_IN) && !n)
		return fail(d, &vp, "operator %s needs at least one value", word);
	if ((o == SLUICE_OP_EXISTS || o == SLUICE_OP_NOT_EXISTS) && n)
		return fail(d, &vp, "operator %s takes no values", word);

	values = sluice_zalloc(n * sizeof(*values));
	for (i = 0; ok && i < n; i++) {
		struct path at = element(&vp, i);
		const char *s = NULL;

		ok = want_string(d, &at, &s);
		if (!ok)
			break;
		problem = s ? sluice_label_value_problem(s) : "";
		if (problem)
			ok = fail(d, &at, "\"%.80s\" is not a label value: %s", s ? s : "",
				  problem);
		values[i] = (char *)s;
	}
	if (ok)
		sluice_selector_add(sel, key, o, values, n);
	free(values);
	return ok;
}

static bool decode_match_labels(struct decoder *d, const struct path *p,
				struct sluice_selector *sel)
{
	struct sluice_labels labels = { 0 };
	bool ok = decode_labels(d, p, &labels);
	size_t i;

	for (i = 0; ok && i < labels.n; i++)
		sluice_selector_add(sel, labels.v[i].key, SLUICE_OP_IN, &labels.v[i].value, 1);
	sluice_labels_clear(&labels);
	return ok;
}

static bool decode_selector(struct decoder *d, const struct path *p, struct sluice_selector *sel)
{
	struct path ml, me;
	size_t n, i;

	if (!want_object(d, p))
		return false;
	if (!p->value)
		return true;
	ml = step(p, "matchLabels");
	me = step(p, "matchExpressions");
	if (!ONLY(d, p, "matchLabels", "matchExpressions") || !decode_match_labels(d, &ml, sel) ||
	    !want_list(d, &me, &n))
		return false;
	for (i = 0; i < n; i++) {
		struct path at = element(&me, i);

		if (!decode_expression(d, &at, sel))
			return false;
	}
	sluice_selector_seal(sel);
	return true;
}

/* ---- NetworkPolicy ---- */

static bool want_cidr(struct decoder *d, const struct path *p, struct sluice_cidr *out)
{
	const char *s = NULL;

	if (!want_string(d, p, &s))
		return false;
	if (!s)
		return fail(d, p, "is required");
	if (!sluice_cidr_parse(s, out))
		return fail(d, p, "\"%.60s\" is not a CIDR, as in 10.9.8.0/24 or 2001:db8::/64", s);
	return true;
}

static bool decode_block(struct decoder *d, const struct path *p, struct sluice_policy_peer *peer)
{
	struct path cp, xp;
	size_t n, i;

	if (!want_object(d, p))
		return false;
	cp = step(p, "cidr");
	xp = step(p, "except");
	peer->is_block = true;
	if (!ONLY(d, p, "cidr", "except") || !want_cidr(d, &cp, &peer->cidr) ||
	    !want_list(d, &xp, &n))
		return false;
	peer->except = sluice_zalloc(n * sizeof(*peer->except));
	for (i = 0; i < n; i++) {
		struct path at = element(&xp, i);
		struct sluice_cidr *x = &peer->except[i];

		if (!want_cidr(d, &at, x))
			return false;
		peer->n_except++;
		if (x->plen <= peer->cidr.plen ||
		    !sluice_cidr_contains(&peer->cidr, &x->addr, x->family))
			return fail(d, &at, "\"%.60s\" is not strictly inside cidr \"%.60s\"",
				    at.value->text, cp.value->text);
	}
	return true;
}

static bool decode_peer(struct decoder *d, const struct path *p, struct sluice_policy_peer *peer)
{
	struct path bp, pp, np;

	if (!p->value || !is(p->value, SLUICE_VALUE_OBJECT))
		return fail(d, p, "must be an object");
	bp = step(p, "ipBlock");
	pp = step(p, "podSelector");
	np = step(p, "namespaceSelector");
	if (!ONLY(d, p, "ipBlock", "podSelector", "namespaceSelector"))
		return false;
	if (!bp.value && !pp.value && !np.value)
		return fail(d, p, "a peer needs one of ipBlock, podSelector, namespaceSelector");
	if (bp.value && (pp.value || np.value))
		return fail(d, p,
			    "podSelector and namespaceSelector may not be given with ipBlock");
	if (bp.value)
		return decode_block(d, &bp, peer);
	peer->has_pods = pp.value;
	peer->has_namespaces = np.value;
	return decode_selector(d, &pp, &peer->pods) && decode_selector(d, &np, &peer->namespaces);
}

static bool decode_policy_port(struct decoder *d, const struct path *p,
			       struct sluice_policy_port *port)
{
	struct path prp, pp, ep;
	uint16_t end;

	if (!p->value || !is(p->value, SLUICE_VALUE_OBJECT))
		return fail(d, p, "must be an object");
	prp = step(p, "protocol");
	pp = step(p, "port");
	ep = step(p, "endPort");
	if (!ONLY(d, p, "protocol", "port", "endPort") || !want_protocol(d, &prp, &port->proto))
		return false;
	if (!pp.value) {
		if (ep.value)
			return fail(d, &ep, "may not be given without port");
		port->any = true;
		port->hi = 65535;
		return true;
	}
	if (is(pp.value, SLUICE_VALUE_TEXT)) {
		const char *s = "";

		if (!want_string(d, &pp, &s) || !want_port_name(d, &pp, s))
			return false;
		if (ep.value)
			return fail(d, &ep, "may not be given with a named port");
		port->name = sluice_strdup(s);
		return true;
	}
	if (!want_port(d, &pp, &port->lo))
		return false;
	port->hi = port->lo;
	if (!ep.value)
		return true;
	if (!want_port(d, &ep, &end))
		return false;
	if (end < port->lo)
		return fail(d, &ep, "%u is smaller than port %u", end, port->lo);
	port->hi = end;
	return true;
}

static bool decode_rule(struct decoder *d, const struct path *p, const char *peers,
			struct sluice_policy_rule *rule)
{
	struct path fp, pp;
	size_t n, i;

	if (!p->value || !is(p->value, SLUICE_VALUE_OBJECT))
		return fail(d, p, "must be an object; {} allows everything");
	rule->line = line_of(p);
	fp = step(p, peers);
	pp = step(p, "ports");
	if (!ONLY(d, p, peers, "ports") || !want_list(d, &fp, &n))
		return false;
	rule->peers = sluice_zalloc(n * sizeof(*rule->peers));
	for (i = 0; i < n; i++) {
		struct path at = element(&fp, i);

		rule->n_peers++;
		if (!decode_peer(d, &at, &rule->peers[i]))
			return false;
	}
	if (!want_list(d, &pp, &n))
		return false;
	rule->ports = sluice_zalloc(n * sizeof(*rule->ports));
	for (i = 0; i < n; i++) {
		struct path at = element(&pp, i);

		rule->n_ports++;
		if (!decode_policy_port(d, &at, &rule->ports[i]))
			return false;
	}
	return true;
}

static bool decode_policy(struct decoder *d, const struct path *root, struct sluice_object *o)
{
	static const char *const fields[2] = { "ingress", "egress" };
	static const char *const peers[2] = { "from", "to" };
	struct sluice_policy *policy = (struct sluice_policy *)o;
	struct path spec = step(root, "spec"), sp, tp;
	size_t n, i, dir;

	policy->tier = SLUICE_TIER_POLICY;
	if (!ONLY(d, root, "apiVersion", "kind", "metadata", "spec", "status"))
		return false;
	if (!spec.value)
		return fail(d, &spec, "is required");
	if (!want_object(d, &spec) ||
	    !ONLY(d, &spec, "podSelector", "ingress", "egress", "policyTypes"))
		return false;
	sp = step(&spec, "podSelector");
	if (!decode_selector(d, &sp, &policy->pods))
		return false;
	for (dir = 0; dir < 2; dir++) {
		struct path rp = step(&spec, fields[dir]);

		if (!want_list(d, &rp, &n))
			return false;
		policy->rules[dir] = sluice_zalloc(n * sizeof(*policy->rules[dir]));
		for (i = 0; i < n; i++) {
			struct path at = element(&rp, i);

			policy->n_rules[dir]++;
			if (!decode_rule(d, &at, peers[dir], &policy->rules[dir][i]))
				return false;
		}
	}
	tp = step(&spec, "policyTypes");
	if (!want_list(d, &tp, &n))
		return false;
	if (n > 2)
		return fail(d, &tp, "may not hold more than two types");
	for (i = 0; i < n; i++) {
		struct path at = element(&tp, i);
		const char *s = "";

		if (!want_string(d, &at, &s))
			return false;
		if (!strcmp(s, "Ingress"))
			policy->applies[SLUICE_INGRESS] = true;
		else if (!strcmp(s, "Egress"))
			policy->applies[SLUICE_EGRESS] = true;
		else
			return fail(d, &at, "\"%.40s\" is not one of Ingress, Egress", s);
	}
	if (!n) {
		policy->applies[SLUICE_INGRESS] = true;
		policy->applies[SLUICE_EGRESS] = policy->n_rules[SLUICE_EGRESS];
	}
	return true;
}

static void free_peers(struct sluice_policy_rule *r)
{
	size_t i;

	for (i = 0; i < r->n_peers; i++) {
		free(r->peers[i].except);
		sluice_selector_clear(&r->peers[i].pods);
		sluice_selector_clear(&r->peers[i].namespaces);
		sluice_selector_clear(&r->peers[i].nodes);
	}
	free(r->peers);
	r->peers = NULL;
	r->n_peers = 0;
}

static void free_ports(struct sluice_policy_rule *r)
{
	size_t i;

	for (i = 0; i < r->n_ports; i++)
		free(r->ports[i].name);
	free(r->ports);
	r->ports = NULL;
	r->n_ports = 0;
}

/* ---- ClusterNetworkPolicy ---- */

/*
 * Two kinds of trouble. What no API server would have stored is refused, as with the other kinds. What a
 * newer definition may allow and this does not know (a peer or a protocol without a field that is known) or
 * cannot do makes its rule fail closed, so that the rules around it still count: unsupported().
 */

#define MAX_PRIORITY 1000
#define MAX_CLUSTER_ITEMS 25 /* rules of a direction, peers, networks, protocols */
#define MAX_RULE_NAME 100 /* characters */

/* What the rule says from now on; whatever else it has is read, and checked, for nothing. */
__attribute__((format(printf, 3, 4))) static bool
unsupported(struct sluice_policy_rule *rule, const struct path *p, const char *fmt, ...)
{
	va_list ap;

	if (rule->unsupported)
		return true;
	va_start(ap, fmt);
	rule->unsupported = text_at(p, fmt, ap);
	va_end(ap);
	return true;
}

/* One field of those that an object may have; NULL: none, several, or one that is not known. */
static const char *only_field(const struct path *p, const char *const *known)
{
	const char *found = NULL;
	size_t i, k;

	for (k = 0; k < p->value->n; k++) {
		const struct sluice_member *m = &p->value->members[k];

		if (is(&m->value, SLUICE_VALUE_NULL))
			continue;
		for (i = 0; known[i] && strcmp(known[i], m->key); i++)
			;
		if (!known[i] || found)
			return NULL;
		found = known[i];
	}
	return found;
}

#define ONLY_FIELD(p, ...) only_field((p), (const char *const[]){ __VA_ARGS__, NULL })

static bool want_items(struct decoder *d, const struct path *p, size_t least, size_t *n)
{
	if (!want_list(d, p, n))
		return false;
	if (*n < least)
		return fail(d, p, "needs at least one item");
	if (*n > MAX_CLUSTER_ITEMS)
		return fail(d, p, "has more than %d items", MAX_CLUSTER_ITEMS);
	return true;
}

/* namespaceSelector and podSelector, both required. */
static bool decode_namespaced_pod(struct decoder *d, const struct path *p,
				  struct sluice_selector *namespaces, struct sluice_selector *pods)
{
	struct path np, pp;

	if (!want_object(d, p))
		return false;
	np = step(p, "namespaceSelector");
	pp = step(p, "podSelector");
	if (!ONLY(d, p, "namespaceSelector", "podSelector"))
		return false;
	if (!np.value)
		return fail(d, &np, "is required");
	if (!pp.value)
		return fail(d, &pp, "is required");
	return decode_selector(d, &np, namespaces) && decode_selector(d, &pp, pods);
}

static struct sluice_policy_peer *add_peer(struct sluice_policy_rule *rule)
{
	struct sluice_policy_peer *peer;

	rule->peers = sluice_realloc(rule->peers, rule->n_peers + 1, sizeof(*rule->peers));
	peer = &rule->peers[rule->n_peers++];
	memset(peer, 0, sizeof(*peer));
	return peer;
}

static bool decode_networks(struct decoder *d, const struct path *p,
			    struct sluice_policy_rule *rule)
{
	size_t n, i;

	if (!want_items(d, p, 1, &n))
		return false;
	for (i = 0; i < n; i++) {
		struct path at = element(p, i);
		struct sluice_policy_peer *peer = add_peer(rule);

		peer->is_block = true;
		if (!want_cidr(d, &at, &peer->cidr))
			return false;
	}
	return true;
}

static bool decode_cluster_peer(struct decoder *d, const struct path *p, size_t dir,
				struct sluice_policy_rule *rule)
{
	struct sluice_policy_peer *peer;
	const char *field;
	struct path at;

	if (!is(p->value, SLUICE_VALUE_OBJECT))
		return fail(d, p, "must be an object");
	if (dir == SLUICE_INGRESS)
		field = ONLY_FIELD(p, "namespaces", "pods");
	else
		field = ONLY_FIELD(p, "namespaces", "pods", "nodes", "networks", "domainNames");
	if (!field)
		return unsupported(rule, p, "not one kind of peer that is known");
	at = step(p, field);
	if (!strcmp(field, "domainNames"))
		return unsupported(rule, &at, "is not supported");
	if (!strcmp(field, "networks"))
		return decode_networks(d, &at, rule);
	peer = add_peer(rule);
	if (!strcmp(field, "nodes")) {
		peer->is_nodes = true;
		return decode_selector(d, &at, &peer->nodes);
	}
	peer->has_namespaces = true;
	if (!strcmp(field, "namespaces"))
		return decode_selector(d, &at, &peer->namespaces);
	peer->has_pods = true;
	return decode_namespaced_pod(d, &at, &peer->namespaces, &peer->pods);
}

static struct sluice_policy_port *add_port(struct sluice_policy_rule *rule, uint8_t proto)
{
	struct sluice_policy_port *port;

	rule->ports = sluice_realloc(rule->ports, rule->n_ports + 1, sizeof(*rule->ports));
	port = &rule->ports[rule->n_ports++];
	*port = (struct sluice_policy_port){ .proto = proto };
	return port;
}

/* destinationPort: one number, or a range. */
static bool decode_destination(struct decoder *d, const struct path *p, uint8_t proto,
			       struct sluice_policy_rule *rule)
{
	struct path np, rp, sp, ep;
	uint16_t lo, hi;
	const char *field;
	struct sluice_policy_port *port;

	if (!want_object(d, p))
		return false;
	field = ONLY_FIELD(p, "number", "range");
	if (!field)
		return unsupported(rule, p, "neither a number nor a range");
	np = step(p, "number");
	rp = step(p, "range");
	if (np.value) {
		if (!want_port(d, &np, &lo))
			return false;
		hi = lo;
	} else {
		if (!want_object(d, &rp) || !ONLY(d, &rp, "start", "end"))
			return false;
		sp = step(&rp, "start");
		ep = step(&rp, "end");
		if (!sp.value)
			return fail(d, &sp, "is required");
		if (!ep.value)
			return fail(d, &ep, "is required");
		if (!want_port(d, &sp, &lo) || !want_port(d, &ep, &hi))
			return false;
		if (lo >= hi)
			return fail(d, &ep, "%u is not larger than start %u", hi, lo);
	}
	port = add_port(rule, proto);
	port->lo = lo;
	port->hi = hi;
	return true;
}

static bool decode_cluster_protocol(struct decoder *d, const struct path *p,
				    struct sluice_policy_rule *rule)
{
	static const struct {
		const char *field;
		uint8_t proto;
	} protocols[] = {
		{ "tcp", SLUICE_PROTO_TCP },
		{ "udp", SLUICE_PROTO_UDP },
		{ "sctp", SLUICE_PROTO_SCTP },
	};
	struct path at, dp;
	const char *field, *name = "";
	size_t i;

	if (!is(p->value, SLUICE_VALUE_OBJECT))
		return fail(d, p, "must be an object");
	field = ONLY_FIELD(p, "tcp", "udp", "sctp", "destinationNamedPort");
	if (!field)
		return unsupported(rule, p, "not one protocol that is known");
	at = step(p, field);
	if (!strcmp(field, "destinationNamedPort")) {
		if (!want_string(d, &at, &name))
			return false;
		/* The API server takes any text here; no container can give its port another name. */
		if (port_name_problem(name))
			return unsupported(rule, &at, "port name \"%.40s\" %s", name,
					   port_name_problem(name));
		/* Whatever its protocol. */
		for (i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
			add_port(rule, protocols[i].proto)->name = sluice_strdup(name);
		return true;
	}
	if (!want_object(d, &at))
		return false;
	if (!ONLY_FIELD(&at, "destinationPort"))
		return unsupported(rule, &at, "not destinationPort, which alone is known");
	dp = step(&at, "destinationPort");
	for (i = 0; strcmp(protocols[i].field, field); i++)
		;
	return decode_destination(d, &dp, protocols[i].proto, rule);
}

static bool decode_cluster_action(struct decoder *d, const struct path *p, uint8_t *action)
{
	const char *s = NULL;

	if (!want_string(d, p, &s))
		return false;
	if (!s)
		return fail(d, p, "is required");
	if (!strcmp(s, "Accept"))
		*action = SLUICE_ACTION_ALLOW;
	else if (!strcmp(s, "Deny"))
		*action = SLUICE_ACTION_DENY;
	else if (!strcmp(s, "Pass"))
		*action = SLUICE_ACTION_PASS;
	else
		return fail(d, p, "\"%.40s\" is not one of Accept, Deny, Pass", s);
	return true;
}

static void fail_closed(struct sluice_policy_rule *rule)
{
	if (rule->action == SLUICE_ACTION_ALLOW) {
		rule->matches_nothing = true;
		return;
	}
	rule->action = SLUICE_ACTION_DENY;
	free_peers(rule);
	free_ports(rule);
}

static bool decode_cluster_rule(struct decoder *d, const struct path *p, size_t dir,
				struct sluice_policy_rule *rule)
{
	const char *peers = dir == SLUICE_INGRESS ? "from" : "to", *name = "";
	struct path np, ap, fp, pp;
	size_t n, i;

	if (!is(p->value, SLUICE_VALUE_OBJECT))
		return fail(d, p, "must be an object");
	rule->line = line_of(p);
	np = step(p, "name");
	ap = step(p, "action");
	fp = step(p, peers);
	pp = step(p, "protocols");
	if (!ONLY(d, p, "name", "action", peers, "protocols") || !want_string(d, &np, &name) ||
	    !decode_cluster_action(d, &ap, &rule->action) || !want_items(d, &fp, 1, &n))
		return false;
	if (strlen(name) > 4 * MAX_RULE_NAME)
		return fail(d, &np, "has more than %d characters", MAX_RULE_NAME);
	rule->name = *name ? sluice_strdup(name) : NULL;
	for (i = 0; i < n; i++) {
		struct path at = element(&fp, i);

		if (!decode_cluster_peer(d, &at, dir, rule))
			return false;
	}
	if (!want_items(d, &pp, pp.value ? 1 : 0, &n))
		return false;
	for (i = 0; i < n; i++) {
		struct path at = element(&pp, i);

		if (!decode_cluster_protocol(d, &at, rule))
			return false;
	}
	if (rule->unsupported)
		fail_closed(rule);
	return true;
}

static bool decode_subject(struct decoder *d, const struct path *p, struct sluice_policy *policy)
{
	struct path np, pp;

	if (!p->value)
		return fail(d, p, "is required");
	if (!want_object(d, p) || !ONLY(d, p, "namespaces", "pods"))
		return false;
	np = step(p, "namespaces");
	pp = step(p, "pods");
	if (!np.value == !pp.value)
		return fail(d, p, "needs one of namespaces, pods");
	if (np.value)
		return decode_selector(d, &np, &policy->namespaces);
	return decode_namespaced_pod(d, &pp, &policy->namespaces, &policy->pods);
}

static bool decode_tier(struct decoder *d, const struct path *spec, struct sluice_policy *policy)
{
	struct path tp = step(spec, "tier"), pp = step(spec, "priority");
	const char *tier = NULL;

	if (!want_string(d, &tp, &tier))
		return false;
	if (!tier)
		return fail(d, &tp, "is required");
	if (!strcmp(tier, "Admin"))
		policy->tier = SLUICE_TIER_ADMIN;
	else if (!strcmp(tier, "Baseline"))
		policy->tier = SLUICE_TIER_BASELINE;
	else
		return fail(d, &tp, "\"%.40s\" is not one of Admin, Baseline", tier);
	if (!pp.value)
		return fail(d, &pp, "is required");
	if (!is(pp.value, SLUICE_VALUE_INTEGER))
		return fail(d, &pp, "must be a whole number, is %s", type_name(pp.value));
	if (pp.value->integer < 0 || pp.value->integer > MAX_PRIORITY)
		return fail(d, &pp, "%lld is not between 0 and %d", (long long)pp.value->integer,
			    MAX_PRIORITY);
	policy->priority = pp.value->integer;
	return true;
}

static bool decode_cluster_policy(struct decoder *d, const struct path *root,
				  struct sluice_object *o)
{
	static const char *const fields[2] = { "ingress", "egress" };
	struct sluice_policy *policy = (struct sluice_policy *)o;
	struct path spec = step(root, "spec"), sp;
	size_t n, i, dir;

	if (!ONLY(d, root, "apiVersion", "kind", "metadata", "spec", "status"))
		return false;
	if (!spec.value)
		return fail(d, &spec, "is required");
	if (!want_object(d, &spec) ||
	    !ONLY(d, &spec, "tier", "priority", "subject", "ingress", "egress"))
		return false;
	sp = step(&spec, "subject");
	if (!decode_tier(d, &spec, policy) || !decode_subject(d, &sp, policy))
		return false;
	for (dir = 0; dir < 2; dir++) {
		struct path rp = step(&spec, fields[dir]);

		if (!want_items(d, &rp, 0, &n))
			return false;
		policy->rules[dir] = sluice_zalloc(n * sizeof(*policy->rules[dir]));
		for (i = 0; i < n; i++) {
			struct path at = element(&rp, i);

			policy->n_rules[dir]++;
			if (!decode_cluster_rule(d, &at, dir, &policy->rules[dir][i]))
				return false;
		}
		policy->applies[dir] = n;
	}
	return true;
}

/* ---- Node, Pod ---- */

static bool decode_node(struct decoder *d, const struct path *root, struct sluice_object *o)
{
	struct sluice_node *node = (struct sluice_node *)o;
	struct path status = step(root, "status"), spec = step(root, "spec"), ap, cp, one;
	size_t n, i;

	if (!want_object(d, &status) || !want_object(d, &spec))
		return false;
	ap = step(&status, "addresses");
	if (!want_list(d, &ap, &n))
		return false;
	node->addrs = sluice_zalloc(n * sizeof(*node->addrs));
	for (i = 0; i < n; i++) {
		struct path at = element(&ap, i), typ, adr;
		const char *type = "", *s = "";

		if (!is(at.value, SLUICE_VALUE_OBJECT))
			return fail(d, &at, "must be an object");
		typ = step(&at, "type");
		adr = step(&at, "address");
		if (!want_string(d, &typ, &type) || !want_string(d, &adr, &s))
			return false;
		if (strcmp(type, "InternalIP") && strcmp(type, "ExternalIP"))
			continue;
		if (!want_address(d, &adr, s, &node->addrs[node->n_addrs]))
			return false;
		node->n_addrs++;
	}
	cp = step(&spec, "podCIDRs");
	one = step(&spec, "podCIDR");
	if (!want_list(d, &cp, &n))
		return false;
	node->pod_cidrs = sluice_zalloc((n + 1) * sizeof(*node->pod_cidrs));
	for (i = 0; i < n; i++) {
		struct path at = element(&cp, i);

		if (!want_cidr(d, &at, &node->pod_cidrs[i]))
			return false;
		node->n_pod_cidrs++;
	}
	if (!n && one.value) {
		if (!want_cidr(d, &one, &node->pod_cidrs[0]))
			return false;
		node->n_pod_cidrs = 1;
	}
	return true;
}

static bool decode_pod_ports(struct decoder *d, const struct path *containers,
			     struct sluice_pod *pod, bool init)
{
	size_t n, m, i, k;

	if (!want_list(d, containers, &n))
		return false;
	for (i = 0; i < n; i++) {
		struct path at = element(containers, i), pp, rp;
		const char *restart = "";

		if (!is(at.value, SLUICE_VALUE_OBJECT))
			return fail(d, &at, "must be an object");
		pp = step(&at, "ports");
		rp = step(&at, "restartPolicy");
		if (!want_string(d, &rp, &restart) || !want_list(d, &pp, &m))
			return false;
		/* An init container goes on running, and may serve, only as a sidecar. */
		if (init && strcmp(restart, "Always"))
			continue;
		pod->ports = sluice_realloc(pod->ports, pod->n_ports + m, sizeof(*pod->ports));
		for (k = 0; k < m; k++) {
			struct path port = element(&pp, k), np, cp, prp;
			struct sluice_pod_port out = { 0 };
			const char *name = "";

			if (!is(port.value, SLUICE_VALUE_OBJECT))
				return fail(d, &port, "must be an object");
			np = step(&port, "name");
			cp = step(&port, "containerPort");
			prp = step(&port, "protocol");
			if (!cp.value)
				return fail(d, &cp, "is required");
			if (!want_port(d, &cp, &out.port) || !want_protocol(d, &prp, &out.proto) ||
			    !want_string(d, &np, &name))
				return false;
			if (*name && !want_port_name(d, &np, name))
				return false;
			out.name = sluice_strdup(name);
			pod->ports[pod->n_ports++] = out;
		}
	}
	return true;
}

static bool add_pod_ip(struct decoder *d, const struct path *p, const char *s,
		       struct sluice_pod *pod)
{
	struct sluice_dp_addr a;
	size_t i;

	if (!*s)
		return true;
	if (!want_address(d, p, s, &a))
		return false;
	for (i = 0; i < pod->n_ips; i++)
		if (!sluice_address_compare(&pod->ips[i], &a))
			return true;
	pod->ips = sluice_realloc(pod->ips, pod->n_ips + 1, sizeof(*pod->ips));
	pod->ips[pod->n_ips++] = a;
	return true;
}

static bool decode_pod_ips(struct decoder *d, const struct path *status, struct sluice_pod *pod)
{
	struct path ip = step(status, "podIP"), ips = step(status, "podIPs");
	const char *s = "";
	size_t n, i;

	if (!want_string(d, &ip, &s) || !add_pod_ip(d, &ip, s, pod) || !want_list(d, &ips, &n))
		return false;
	for (i = 0; i < n; i++) {
		struct path at = element(&ips, i), adr;

		s = "";
		if (is(at.value, SLUICE_VALUE_TEXT)) {
			if (!want_string(d, &at, &s) || !add_pod_ip(d, &at, s, pod))
				return false;
			continue;
		}
		if (!is(at.value, SLUICE_VALUE_OBJECT))
			return fail(d, &at, "must be an object");
		adr = step(&at, "ip");
		if (!want_string(d, &adr, &s) || !add_pod_ip(d, &adr, s, pod))
			return false;
	}
	return true;
}

static bool decode_pod(struct decoder *d, const struct path *root, struct sluice_object *o)
{
	struct sluice_pod *pod = (struct sluice_pod *)o;
	struct path meta = step(root, "metadata"), del = step(&meta, "deletionTimestamp");
	struct path spec = step(root, "spec"), status = step(root, "status");
	struct path np, hp, cp, ip, pp, cop;
	const char *node = "", *phase = "";
	size_t n, i;

	if (!want_object(d, &spec) || !want_object(d, &status))
		return false;
	pod->terminating = del.value;
	np = step(&spec, "nodeName");
	hp = step(&spec, "hostNetwork");
	cp = step(&spec, "containers");
	ip = step(&spec, "initContainers");
	if (!want_string(d, &np, &node) || !want_bool(d, &hp, &pod->host_network) ||
	    !decode_pod_ports(d, &cp, pod, false) || !decode_pod_ports(d, &ip, pod, true) ||
	    !decode_pod_ips(d, &status, pod))
		return false;
	pod->node = sluice_strdup(node);
	pp = step(&status, "phase");
	cop = step(&status, "conditions");
	if (!want_string(d, &pp, &phase) || !want_list(d, &cop, &n))
		return false;
	pod->finished = !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed");
	pod->ready = !*phase || !strcmp(phase, "Running");
	for (i = 0; i < n; i++) {
		struct path at = element(&cop, i), tp, sp;
		const char *type = "", *s = "";

		if (!is(at.value, SLUICE_VALUE_OBJECT))
			return fail(d, &at, "must be an object");
		tp = step(&at, "type");
		sp = step(&at, "status");
		if (!want_string(d, &tp, &type) || !want_string(d, &sp, &s))
			return false;
		if (!strcmp(type, "Ready") && strcmp(s, "True"))
			pod->ready = false;
	}
	return true;
}

/* ---- Service, EndpointSlice, Endpoints ---- */

static bool decode_service_ports(struct decoder *d, const struct path *p,
				 struct sluice_service *svc)
{
	size_t n, i, k;

	if (!want_list(d, p, &n))
		return false;
	if (!n && !svc->ignored)
		return fail(d, p, "is required");
	svc->ports = sluice_zalloc(n * sizeof(*svc->ports));
	for (i = 0; i < n; i++) {
		struct path at = element(p, i), np, pp, prp, tp;
		struct sluice_service_port *port = &svc->ports[i];
		const char *name = "", *target = "";

		if (!is(at.value, SLUICE_VALUE_OBJECT))
			return fail(d, &at, "must be an object");
		np = step(&at, "name");
		pp = step(&at, "port");
		prp = step(&at, "protocol");
		tp = step(&at, "targetPort");
		if (!pp.value)
			return fail(d, &pp, "is required");
		if (!want_port(d, &pp, &port->port) || !want_protocol(d, &prp, &port->proto) ||
		    !want_string(d, &np, &name))
			return false;
		if (*name && dns_problem(name, 63))
			return fail(d, &np, "\"%.80s\" %s", name, dns_problem(name, 63));
		if (!*name && n > 1)
			return fail(d, &np, "is required when there is more than one port");
		port->name = sluice_strdup(name);
		svc->n_ports++;
		port->target = port->port;
		if (is(tp.value, SLUICE_VALUE_TEXT)) {
			if (!want_string(d, &tp, &target) || !want_port_name(d, &tp, target))
				return false;
			port->target_name = sluice_strdup(target);
			port->target = 0;
		} else if (tp.value &&
			   !(is(tp.value, SLUICE_VALUE_INTEGER) && !tp.value->integer)) {
			/* 0 means the same as none: the server's default is the port itself. */
			if (!want_port(d, &tp, &port->target))
				return false;
		}
		for (k = 0; k < i; k++) {
			if (!strcmp(svc->ports[k].name, name))
				return fail(d, &np, "\"%s\" is the name of two ports", name);
			if (svc->ports[k].port == port->port && svc->ports[k].proto == port->proto)
				return fail(d, &at, "%s port %u is given twice",
					    sluice_protocol_name(port->proto), port->port);
		}
	}
	return true;
}

static bool decode_service(struct decoder *d, const struct path *root, struct sluice_object *o)
{
	struct sluice_service *svc = (struct sluice_service *)o;
	struct path spec = step(root, "spec"), tp, ip, ips, sp, pp, pn, it, af;
	const char *type = "ClusterIP", *ip1 = "", *policy = "", *affinity = "";
	size_t n, i;

	if (!spec.value)
		return fail(d, &spec, "is required");
	if (!want_object(d, &spec))
		return false;
	tp = step(&spec, "type");
	ip = step(&spec, "clusterIP");
	ips = step(&spec, "clusterIPs");
	sp = step(&spec, "selector");
	pp = step(&spec, "ports");
	pn = step(&spec, "publishNotReadyAddresses");
	it = step(&spec, "internalTrafficPolicy");
	af = step(&spec, "sessionAffinity");
	if (!want_string(d, &tp, &type) || !want_string(d, &ip, &ip1) || !want_list(d, &ips, &n) ||
	    !want_bool(d, &pn, &svc->publish_not_ready) || !want_string(d, &it, &policy) ||
	    !want_string(d, &af, &affinity))
		return false;
	if (strcmp(type, "ClusterIP") && strcmp(type, "NodePort") && strcmp(type, "LoadBalancer") &&
	    strcmp(type, "ExternalName"))
		return fail(d, &tp, "\"%.40s\" is not a type of service", type);
	svc->local_only = !strcmp(policy, "Local");
	svc->affinity = !strcmp(affinity, "ClientIP");
	svc->ignored = !strcmp(type, "ExternalName") || !strcmp(ip1, "None") ||
		       sluice_labels_get(&o->labels, "service.kubernetes.io/service-proxy-name") ||
		       sluice_labels_get(&o->labels, "service.kubernetes.io/headless");
	svc->ips = sluice_zalloc((n + 1) * sizeof(*svc->ips));
	for (i = 0; i < n; i++) {
		struct path at = element(&ips, i);
		const char *s = "";

		if (!want_string(d, &at, &s))
			return false;
		if (!strcmp(s, "None")) {
			svc->ignored = true;
			continue;
		}
		if (!want_address(d, &at, s, &svc->ips[svc->n_ips]))
			return false;
		svc->n_ips++;
	}
	if (*ip1 && strcmp(ip1, "None")) {
		struct sluice_dp_addr a;

		if (!want_address(d, &ip, ip1, &a))
			return false;
		if (!svc->n_ips)
			svc->ips[svc->n_ips++] = a;
		else if (sluice_address_compare(&svc->ips[0], &a))
			return fail(d, &ips, "its first must be clusterIP, %.60s", ip1);
	}
	if (!decode_match_labels(d, &sp, &svc->selector))
		return false;
	sluice_selector_seal(&svc->selector);
	svc->has_selector = svc->selector.n;
	return decode_service_ports(d, &pp, svc);
}

static bool decode_slice_ports(struct decoder *d, const struct path *p,
			       struct sluice_slice_group *g)
{
	size_t n, i;

	if (!want_list(d, p, &n))
		return false;
	g->ports = sluice_zalloc(n * sizeof(*g->ports));
	for (i = 0; i < n; i++) {
		struct path at = element(p, i), np, pp, prp;
		struct sluice_slice_port *port = &g->ports[g->n_ports];
		const char *name = "";

		if (!is(at.value, SLUICE_VALUE_OBJECT))
			return fail(d, &at, "must be an object");
		np = step(&at, "name");
		pp = step(&at, "port");
		prp = step(&at, "protocol");
		if (!want_string(d, &np, &name) || !want_protocol(d, &prp, &port->proto))
			return false;
		if (!pp.value) /* "all ports": nothing that a service port could be sent to */
			continue;
		if (!want_port(d, &pp, &port->port))
			return false;
		port->name = sluice_strdup(name);
		g->n_ports++;
	}
	return true;
}

static void add_slice_address(struct sluice_slice_group *g, const struct sluice_dp_addr *a,
			      const struct sluice_slice_address *conditions, const char *node)
{
	struct sluice_slice_address *out;

	g->addrs = sluice_realloc(g->addrs, g->n_addrs + 1, sizeof(*g->addrs));
	out = &g->addrs[g->n_addrs++];
	*out = *conditions;
	out->addr = *a;
	out->node = sluice_strdup(node);
}

static bool decode_slice_endpoint(struct decoder *d, const struct path *p, const char *type,
				  struct sluice_slice_group *g)
{
	struct path ap = step(p, "addresses"), cp = step(p, "conditions"), np = step(p, "nodeName");
	struct path rp, sp, tp;
	struct sluice_slice_address c = { .ready = true };
	const char *node = "";
	size_t n, i;

	if (!want_object(d, &cp) || !want_list(d, &ap, &n) || !want_string(d, &np, &node))
		return false;
	rp = step(&cp, "ready");
	sp = step(&cp, "serving");
	tp = step(&cp, "terminating");
	if (!want_bool(d, &rp, &c.ready))
		return false;
	c.serving = c.ready;
	if (!want_bool(d, &sp, &c.serving) || !want_bool(d, &tp, &c.terminating))
		return false;
	for (i = 0; i < n; i++) {
		struct path at = element(&ap, i);
		struct sluice_dp_addr a;
		const char *s = "";

		if (!want_string(d, &at, &s) || !want_address(d, &at, s, &a))
			return false;
		if ((a.family == SLUICE_IPV4) != !strcmp(type, "IPv4"))
			return fail(d, &at, "\"%.60s\" is not of addressType %s", s, type);
		add_slice_address(g, &a, &c, node);
	}
	return true;
}

/* For people who look at latencies: one that cannot be read is no reason to refuse the object. */
static int64_t trigger_time(const struct path *root)
{
	const struct sluice_value *meta = sluice_value_get(root->value, "metadata");
	const char *text = sluice_value_text(sluice_value_get(meta, "annotations"),
					     "endpoints.kubernetes.io/last-change-trigger-time");
	int64_t ns;

	return text && sluice_timestamp_parse(text, &ns) ? ns : 0;
}

static bool decode_slice(struct decoder *d, const struct path *root, struct sluice_object *o)
{
	struct sluice_slice *slice = (struct sluice_slice *)o;
	struct path tp = step(root, "addressType"), ep = step(root, "endpoints");
	struct path pp = step(root, "ports");
	const char *service = sluice_labels_get(&o->labels, "kubernetes.io/service-name");
	const char *type = "";
	size_t n, i;

	slice->service = sluice_strdup(service ? service : "");
	slice->triggered = trigger_time(root);
	slice->groups = sluice_zalloc(sizeof(*slice->groups));
	slice->n_groups = 1;
	if (!want_string(d, &tp, &type) || !want_list(d, &ep, &n))
		return false;
	if (strcmp(type, "IPv4") && strcmp(type, "IPv6") && strcmp(type, "FQDN"))
		return fail(d, &tp, "\"%.40s\" is not one of IPv4, IPv6, FQDN", type);
	if (!strcmp(type, "FQDN"))
		return true;
	for (i = 0; i < n; i++) {
		struct path at = element(&ep, i);

		if (!is(at.value, SLUICE_VALUE_OBJECT))
			return fail(d, &at, "must be an object");
		if (!decode_slice_endpoint(d, &at, type, &slice->groups[0]))
			return false;
	}
	return decode_slice_ports(d, &pp, &slice->groups[0]);
}

static bool decode_subset(struct decoder *d, const struct path *p, struct sluice_slice_group *g)
{
	static const char *const fields[2] = { "addresses", "notReadyAddresses" };
	struct path pp = step(p, "ports");
	size_t n, i, k;

	for (k = 0; k < 2; k++) {
		struct path ap = step(p, fields[k]);
		struct sluice_slice_address c = { .ready = !k, .serving = !k };

		if (!want_list(d, &ap, &n))
			return false;
		for (i = 0; i < n; i++) {
			struct path at = element(&ap, i), ip, np;
			const char *s = "", *node = "";
			struct sluice_dp_addr a;

			if (!is(at.value, SLUICE_VALUE_OBJECT))
				return fail(d, &at, "must be an object");
			ip = step(&at, "ip");
			np = step(&at, "nodeName");
			if (!want_string(d, &ip, &s) || !want_string(d, &np, &node) ||
			    !want_address(d, &ip, s, &a))
				return false;
			add_slice_address(g, &a, &c, node);
		}
	}
	return decode_slice_ports(d, &pp, g);
}

static bool decode_endpoints(struct decoder *d, const struct path *root, struct sluice_object *o)
{
	struct sluice_slice *slice = (struct sluice_slice *)o;
	struct path sp = step(root, "subsets");
	size_t n, i;

	slice->service = sluice_strdup(o->name);
	if (!want_list(d, &sp, &n))
		return false;
	slice->groups = sluice_zalloc(n * sizeof(*slice->groups));
	for (i = 0; i < n; i++) {
		struct path at = element(&sp, i);

		if (!is(at.value, SLUICE_VALUE_OBJECT))
			return fail(d, &at, "must be an object");
		slice->n_groups++;
		if (!decode_subset(d, &at, &slice->groups[i]))
			return false;
	}
	return true;
}

static bool decode_namespace(struct decoder *d, const struct path *root, struct sluice_object *o)
{
	(void)d;
	(void)root;
	/* The API server sets it on every namespace, whatever the manifest says. */
	sluice_labels_add(&o->labels, "kubernetes.io/metadata.name", o->name);
	return true;
}

/* ---- all kinds ---- */

struct kind_info {
	const char *name;
	const char *api;
	bool namespaced;
	size_t size;
	bool (*decode)(struct decoder *d, const struct path *root, struct sluice_object *o);
};

static const struct kind_info kinds[SLUICE_KIND_COUNT] = {
#define X(sym, kind, api, namespaced, word) [SLUICE_KIND_##sym] = { kind, api, namespaced },
	SLUICE_KINDS(X)
#undef X
};

/* What the X list cannot hold. */
static struct kind_info kind_info(enum sluice_kind kind)
{
	struct kind_info k = kinds[kind];

	switch (kind) {
	case SLUICE_KIND_NAMESPACE:
		k.size = sizeof(struct sluice_namespace);
		k.decode = decode_namespace;
		break;
	case SLUICE_KIND_NODE:
		k.size = sizeof(struct sluice_node);
		k.decode = decode_node;
		break;
	case SLUICE_KIND_POD:
		k.size = sizeof(struct sluice_pod);
		k.decode = decode_pod;
		break;
	case SLUICE_KIND_SERVICE:
		k.size = sizeof(struct sluice_service);
		k.decode = decode_service;
		break;
	case SLUICE_KIND_ENDPOINTS:
		k.size = sizeof(struct sluice_slice);
		k.decode = decode_endpoints;
		break;
	case SLUICE_KIND_ENDPOINT_SLICE:
		k.size = sizeof(struct sluice_slice);
		k.decode = decode_slice;
		break;
	case SLUICE_KIND_NETWORK_POLICY:
		k.size = sizeof(struct sluice_policy);
		k.decode = decode_policy;
		break;
	case SLUICE_KIND_CLUSTER_NETWORK_POLICY:
		k.size = sizeof(struct sluice_policy);
		k.decode = decode_cluster_policy;
		break;
	case SLUICE_KIND_COUNT:
		break;
	}
	return k;
}

static void hash_object(struct sluice_object *o, const struct sluice_value *value)
{
	static const char *const node[] = { "addresses", NULL };
	static const char *const pod[] = { "phase", "podIP", "podIPs", "conditions", NULL };
	static const char *const none[] = { NULL };
	const struct sluice_value *meta = sluice_value_get(value, "metadata");
	const struct sluice_value *status = sluice_value_get(value, "status");
	const char *const *f = o->kind == SLUICE_KIND_NODE ? node :
			       o->kind == SLUICE_KIND_POD  ? pod :
							     none;
	uint64_t h = 1;

	h = sluice_value_hash(h, sluice_value_get(meta, "labels"));
	h = sluice_value_hash(h, sluice_value_get(meta, "creationTimestamp"));
	h = sluice_value_hash(h, sluice_value_get(meta, "deletionTimestamp"));
	h = sluice_value_hash(h, sluice_value_get(value, "spec"));
	h = sluice_value_hash(h, sluice_value_get(value, "subsets"));
	h = sluice_value_hash(h, sluice_value_get(value, "addressType"));
	h = sluice_value_hash(h, sluice_value_get(value, "endpoints"));
	h = sluice_value_hash(h, sluice_value_get(value, "ports"));
	for (; *f; f++)
		h = sluice_value_hash(h, sluice_value_get(status, *f));
	o->hash = h;
}

static int find_kind(struct decoder *d, const struct path *root, enum sluice_kind *kind)
{
	struct path ap = step(root, "apiVersion"), kp = step(root, "kind");
	const char *api = "", *name = "";
	int i;

	snprintf(d->who, sizeof(d->who), "object");
	if (!want_string(d, &ap, &api) || !want_string(d, &kp, &name))
		return -EINVAL;
	if (!*name) {
		fail(d, &kp, "is required");
		return -EINVAL;
	}
	snprintf(d->who, sizeof(d->who), "%.100s", name);
	for (i = 0; i < SLUICE_KIND_COUNT; i++)
		if (!strcmp(kinds[i].name, name))
			break;
	if (i == SLUICE_KIND_COUNT) {
		fail(d, root, "this kind is not handled");
		return -ENOTSUP;
	}
	*kind = i;
	return 0;
}

static bool decode_metadata(struct decoder *d, const struct path *root,
			    const struct kind_info *info, struct sluice_object *o)
{
	struct path meta = step(root, "metadata"), np, nsp, cp;
	const char *name = "", *ns = "", *created = "", *problem;

	if (!meta.value)
		return fail(d, &meta, "is required");
	if (!want_object(d, &meta))
		return false;
	np = step(&meta, "name");
	nsp = step(&meta, "namespace");
	cp = step(&meta, "creationTimestamp");
	if (!want_string(d, &np, &name) || !want_string(d, &nsp, &ns) ||
	    !want_string(d, &cp, &created))
		return false;
	if (!*name)
		return fail(d, &np, "is required");
	problem = dns_problem(name, o->kind == SLUICE_KIND_NAMESPACE ? 63 : 253);
	if (problem)
		return fail(d, &np, "\"%.80s\" %s", name, problem);
	if (!info->namespaced)
		ns = "";
	else if (!*ns)
		ns = "default";
	if (*ns && dns_problem(ns, 63))
		return fail(d, &nsp, "\"%.80s\" %s", ns, dns_problem(ns, 63));
	o->name = sluice_strdup(name);
	o->ns = sluice_strdup(ns);
	o->created = sluice_strdup(created);
	snprintf(d->who, sizeof(d->who), "%s %s%s%s", info->name, ns, *ns ? "/" : "", name);
	return true;
}

static bool decode_rest(struct decoder *d, const struct path *root, const struct kind_info *info,
			struct sluice_object *o)
{
	struct path ap = step(root, "apiVersion"), meta = step(root, "metadata");
	struct path lp = step(&meta, "labels");
	const char *api = "";

	if (!want_string(d, &ap, &api))
		return false;
	if (strcmp(api, info->api))
		return fail(d, &ap, "\"%.80s\" is not understood, only %s", api, info->api);
	return decode_labels(d, &lp, &o->labels) && info->decode(d, root, o);
}

int sluice_object_decode(const struct sluice_value *value, const char *file,
			 struct sluice_object **out, unsigned int *err_line, struct sluice_err *err)
{
	struct decoder d = { "object", err, err_line };
	struct path root = { NULL, "", 0, value };
	struct sluice_object *o;
	struct kind_info info;
	enum sluice_kind kind;
	int ret;

	*out = NULL;
	if (!is(value, SLUICE_VALUE_OBJECT)) {
		fail(&d, &root, "must be an object, is %s", type_name(value));
		return -EINVAL;
	}
	ret = find_kind(&d, &root, &kind);
	if (ret) {
		if (ret == -ENOTSUP && err)
			err->code = ENOTSUP;
		return ret;
	}
	info = kind_info(kind);
	o = sluice_zalloc(info.size);
	o->kind = kind;
	o->refs = 1;
	o->file = file ? sluice_strdup(file) : NULL;
	o->line = value->line;
	if (!decode_metadata(&d, &root, &info, o) || !decode_rest(&d, &root, &info, o)) {
		sluice_object_put(o);
		return -EINVAL;
	}
	hash_object(o, value);
	*out = o;
	return 0;
}

struct sluice_object *sluice_object_get(struct sluice_object *o)
{
	o->refs++;
	return o;
}

static void free_policy(struct sluice_policy *p)
{
	size_t dir, i;

	for (dir = 0; dir < 2; dir++) {
		for (i = 0; i < p->n_rules[dir]; i++) {
			struct sluice_policy_rule *r = &p->rules[dir][i];

			free_peers(r);
			free_ports(r);
			free(r->name);
			free(r->unsupported);
		}
		free(p->rules[dir]);
	}
	sluice_selector_clear(&p->namespaces);
	sluice_selector_clear(&p->pods);
}

static void free_service(struct sluice_service *s)
{
	size_t i;

	for (i = 0; i < s->n_ports; i++) {
		free(s->ports[i].name);
		free(s->ports[i].target_name);
	}
	free(s->ports);
	free(s->ips);
	sluice_selector_clear(&s->selector);
}

static void free_slice(struct sluice_slice *s)
{
	size_t i, k;

	for (i = 0; i < s->n_groups; i++) {
		for (k = 0; k < s->groups[i].n_addrs; k++)
			free(s->groups[i].addrs[k].node);
		for (k = 0; k < s->groups[i].n_ports; k++)
			free(s->groups[i].ports[k].name);
		free(s->groups[i].addrs);
		free(s->groups[i].ports);
	}
	free(s->groups);
	free(s->service);
}

static void free_pod(struct sluice_pod *p)
{
	size_t i;

	for (i = 0; i < p->n_ports; i++)
		free(p->ports[i].name);
	free(p->ports);
	free(p->ips);
	free(p->node);
}

void sluice_object_put(struct sluice_object *o)
{
	if (!o || --o->refs)
		return;
	switch (o->kind) {
	case SLUICE_KIND_NODE:
		free(((struct sluice_node *)o)->addrs);
		free(((struct sluice_node *)o)->pod_cidrs);
		break;
	case SLUICE_KIND_POD:
		free_pod((struct sluice_pod *)o);
		break;
	case SLUICE_KIND_SERVICE:
		free_service((struct sluice_service *)o);
		break;
	case SLUICE_KIND_ENDPOINTS:
	case SLUICE_KIND_ENDPOINT_SLICE:
		free_slice((struct sluice_slice *)o);
		break;
	case SLUICE_KIND_NETWORK_POLICY:
	case SLUICE_KIND_CLUSTER_NETWORK_POLICY:
		free_policy((struct sluice_policy *)o);
		break;
	case SLUICE_KIND_NAMESPACE:
	case SLUICE_KIND_COUNT:
		break;
	}
	sluice_labels_clear(&o->labels);
	free(o->ns);
	free(o->name);
	free(o->created);
	free(o->file);
	free(o);
}
