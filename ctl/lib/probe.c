// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/probe.h"

#include <strings.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/map.h"

struct sluice_prober {
	struct sluice_model *model;
	const struct sluice_dataplane *memory;
	const char *node;
	struct sluice_map node_addrs; /* address and family -> struct sluice_node */
	size_t n_nodes;
	const struct sluice_node *any_node;
};

#define ADDR_KEY 17

static void addr_key(const struct sluice_addr *addr, uint8_t family, unsigned char *key)
{
	memcpy(key, addr, 16);
	key[16] = family;
}

static bool index_node(void *ctx, const struct sluice_object *o)
{
	const struct sluice_node *node = sluice_to_node(o);
	struct sluice_prober *p = ctx;
	unsigned char key[ADDR_KEY];
	size_t i;

	p->n_nodes++;
	p->any_node = node;
	for (i = 0; i < node->n_addrs; i++) {
		addr_key(&node->addrs[i].addr, node->addrs[i].family, key);
		*sluice_map_slot(&p->node_addrs, key, sizeof(key)) = (void *)node;
	}
	return true;
}

struct sluice_prober *sluice_prober_new(struct sluice_model *model,
					const struct sluice_dataplane *memory, const char *node)
{
	struct sluice_prober *p = sluice_zalloc(sizeof(*p));

	p->model = model;
	p->memory = memory;
	p->node = node && *node ? node : NULL;
	sluice_model_each(model, SLUICE_KIND_NODE, NULL, index_node, p);
	return p;
}

void sluice_prober_free(struct sluice_prober *p)
{
	if (!p)
		return;
	sluice_map_clear(&p->node_addrs, NULL);
	free(p);
}

/* ---- words to a packet ---- */

/* What one end of a probe may be. */
struct end {
	const struct sluice_dp_addr *addrs;
	size_t n;
	struct sluice_dp_addr own[2];
	const struct sluice_pod *pod;
	const struct sluice_service *svc;
};

static bool split_name(const char *text, char *ns, size_t ns_size, const char **name)
{
	const char *slash = strchr(text, '/');

	if (!slash || slash == text || !slash[1] || strchr(slash + 1, '/') ||
	    (size_t)(slash - text) >= ns_size)
		return false;
	memcpy(ns, text, slash - text);
	ns[slash - text] = 0;
	*name = slash + 1;
	return true;
}

static int resolve_service(const struct sluice_prober *p, const char *text, struct end *end,
			   struct sluice_err *err)
{
	const char *name;
	char ns[64];

	if (!split_name(text, ns, sizeof(ns), &name))
		return sluice_err_set(err, EINVAL, "\"svc:%s\" is not svc:namespace/name", text);
	end->svc = sluice_to_service(sluice_model_find(p->model, SLUICE_KIND_SERVICE, ns, name));
	if (!end->svc)
		return sluice_err_set(err, ENOENT, "there is no service %s", text);
	if (end->svc->ignored)
		return sluice_err_set(err, ENOENT, "service %s has no cluster IP", text);
	end->addrs = end->svc->ips;
	end->n = end->svc->n_ips;
	if (!end->n) {
		sluice_service_made_up_ips(end->svc, end->own);
		end->addrs = end->own;
		end->n = 2;
	}
	return 0;
}

static int resolve_end(const struct sluice_prober *p, const char *field, const char *text,
		       struct end *end, struct sluice_err *err)
{
	const char *name;
	char ns[64];

	memset(end, 0, sizeof(*end));
	if (!text || !*text)
		return sluice_err_set(err, EINVAL, "\"%s\" is missing", field);
	if (!strncmp(text, "svc:", 4) && !strcmp(field, "to"))
		return resolve_service(p, text + 4, end, err);
	if (sluice_address_parse(text, &end->own[0])) {
		end->addrs = end->own;
		end->n = 1;
		return 0;
	}
	if (!split_name(text, ns, sizeof(ns), &name))
		return sluice_err_set(err, EINVAL, "%s: \"%s\" is no namespace/pod%s, no address",
				      field, text,
				      strcmp(field, "to") ? "" : ", no svc:namespace/name");
	end->pod = sluice_model_pod(p->model, ns, name);
	if (!end->pod)
		return sluice_err_set(err, ENOENT, "%s: there is no pod %s", field, text);
	if (!end->pod->n_ips)
		return sluice_err_set(err, ENOENT, "%s: pod %s has no address", field, text);
	end->addrs = end->pod->ips;
	end->n = end->pod->n_ips;
	return 0;
}

static const struct sluice_addr *of_family(const struct end *end, uint8_t family)
{
	size_t i;

	for (i = 0; i < end->n; i++)
		if (end->addrs[i].family == family)
			return &end->addrs[i].addr;
	return NULL;
}

static int resolve_port(const struct end *to, const struct sluice_probe *probe, uint8_t proto,
			uint16_t *port, struct sluice_err *err)
{
	const char *text = probe->port;
	unsigned long n;
	char *rest;
	size_t i;

	if (!text || !*text)
		return sluice_err_set(err, EINVAL, "\"port\" is missing");
	n = strtoul(text, &rest, 10);
	if (text[0] >= '0' && text[0] <= '9' && !*rest) {
		if (n < 1 || n > 65535)
			return sluice_err_set(err, EINVAL, "port %s is not between 1 and 65535",
					      text);
		*port = n;
		return 0;
	}
	if (to->pod && sluice_pod_port_number(to->pod, text, proto, port))
		return 0;
	for (i = 0; to->svc && i < to->svc->n_ports; i++) {
		if (to->svc->ports[i].proto != proto || strcmp(to->svc->ports[i].name, text))
			continue;
		*port = to->svc->ports[i].port;
		return 0;
	}
	return sluice_err_set(err, ENOENT, "%s has no %s port named \"%s\"", probe->to,
			      sluice_protocol_name(proto), text);
}

static uint8_t any_case_protocol(const char *s)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} known[] = {
		{ "TCP", SLUICE_PROTO_TCP },	   { "UDP", SLUICE_PROTO_UDP },
		{ "SCTP", SLUICE_PROTO_SCTP },	   { "ICMP", SLUICE_PROTO_ICMP },
		{ "ICMPv6", SLUICE_PROTO_ICMPV6 },
	};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcasecmp(s, known[i].name))
			return known[i].proto;
	return 0;
}

int sluice_probe_resolve(const struct sluice_prober *p, const struct sluice_probe *probe,
			 struct sluice_memory_query *q, struct sluice_err *err)
{
	static const uint8_t families[2] = { SLUICE_IPV4, SLUICE_IPV6 };
	const char *protocol = probe->protocol && *probe->protocol ? probe->protocol : "TCP";
	const struct sluice_addr *src = NULL, *dst = NULL;
	struct end from, to;
	uint64_t hash;
	int ret, i;

	memset(q, 0, sizeof(*q));
	q->proto = any_case_protocol(protocol);
	if (!q->proto)
		return sluice_err_set(err, EINVAL, "protocol \"%s\" is not TCP, UDP, SCTP or ICMP",
				      protocol);
	ret = resolve_end(p, "from", probe->from, &from, err);
	if (!ret)
		ret = resolve_end(p, "to", probe->to, &to, err);
	if (ret)
		return ret;
	for (i = 0; i < 2 && !(src && dst); i++) {
		src = of_family(&from, families[i]);
		dst = of_family(&to, families[i]);
		q->family = families[i];
	}
	if (!src || !dst)
		return sluice_err_set(err, EINVAL, "%s and %s have no address family in common",
				      probe->from, probe->to);
	q->src = *src;
	q->dst = *dst;
	if (q->proto == SLUICE_PROTO_ICMP || q->proto == SLUICE_PROTO_ICMPV6) {
		/* An echo request: type << 8 | code. */
		q->proto = q->family == SLUICE_IPV4 ? SLUICE_PROTO_ICMP : SLUICE_PROTO_ICMPV6;
		q->port = (q->family == SLUICE_IPV4 ? 8 : 128) << 8;
	} else {
		ret = resolve_port(&to, probe, q->proto, &q->port, err);
		if (ret)
			return ret;
	}
	/* The same probe always gets the same backend. */
	hash = sluice_hash_bytes(q->proto, &q->src, sizeof(q->src));
	hash = sluice_hash_bytes(hash ^ q->port, &q->dst, sizeof(q->dst));
	q->random = hash >> 32;
	return 0;
}

/* ---- a packet to an answer ---- */

static const struct sluice_pod *pod_of(const struct sluice_prober *p,
				       const struct sluice_dp_endpoint *e)
{
	const char *name;
	char ns[64];

	return e && split_name(e->name, ns, sizeof(ns), &name) ?
		       sluice_model_pod(p->model, ns, name) :
		       NULL;
}

/* Is this address the node's on which that pod runs? */
static bool is_own_node(const struct sluice_prober *p, const struct sluice_addr *addr,
			uint8_t family, const struct sluice_dp_endpoint *other_end)
{
	const struct sluice_node *node;
	const struct sluice_pod *pod;
	unsigned char key[ADDR_KEY];

	addr_key(addr, family, key);
	node = sluice_map_get(&p->node_addrs, key, sizeof(key));
	if (!node)
		return false;
	if (p->node)
		return !strcmp(node->o.name, p->node);
	pod = pod_of(p, other_end);
	if (!pod)
		return false;
	return *pod->node ? !strcmp(pod->node, node->o.name) : p->n_nodes == 1;
}

static void fill_side(const struct sluice_prober *p, const struct sluice_judge_side *side,
		      struct sluice_probe_side *out)
{
	const struct sluice_dp_rule *rule = sluice_memory_rule(p->memory, side->rule);

	out->verdict = side->verdict;
	out->reason = side->reason;
	out->policy = rule ? rule->policy : NULL;
	out->rule = rule ? rule->rule : NULL;
}

void sluice_probe_fill(const struct sluice_prober *p, const struct sluice_memory_query *q,
		       const struct sluice_memory_answer *a, struct sluice_probe_result *r)
{
	memset(r, 0, sizeof(*r));
	r->verdict = a->judgement.verdict;
	r->reason = a->judgement.reason;
	fill_side(p, &a->judgement.egress, &r->egress);
	fill_side(p, &a->judgement.ingress, &r->ingress);
	r->service = a->service ? a->service->name : NULL;
	if (a->backend)
		sluice_address_port_format(&a->backend->addr, q->family, a->backend->port,
					   r->backend);
}

int sluice_probe_run(const struct sluice_prober *p, const struct sluice_probe *probe,
		     struct sluice_probe_result *result, struct sluice_memory_query *query,
		     struct sluice_memory_answer *answer, struct sluice_err *err)
{
	struct sluice_memory_answer own_answer, *a = answer ? answer : &own_answer;
	struct sluice_memory_query own_query, *q = query ? query : &own_query;
	int ret = sluice_probe_resolve(p, probe, q, err);

	if (ret)
		return ret;
	sluice_memory_query(p->memory, q, a);
	if (p->n_nodes) {
		const struct sluice_addr *dst = a->backend ? &a->backend->addr : &q->dst;

		if (is_own_node(p, &q->src, q->family, a->dst))
			q->flags |= SLUICE_JUDGE_SRC_NODE;
		if (is_own_node(p, dst, q->family, a->src))
			q->flags |= SLUICE_JUDGE_DST_NODE;
		if (q->flags)
			sluice_memory_query(p->memory, q, a);
	}
	sluice_probe_fill(p, q, a, result);
	return 0;
}

/* ---- JSON ---- */

static int text_field(const json_t *json, const char *name, const char **out,
		      struct sluice_err *err)
{
	const json_t *v = json_object_get(json, name);

	*out = NULL;
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return sluice_err_set(err, EINVAL, "\"%s\" must be a string", name);
	*out = json_string_value(v);
	return 0;
}

int sluice_probe_from_json(const json_t *json, struct sluice_probe *probe, char port_text[16],
			   struct sluice_err *err)
{
	const json_t *port = json_object_get(json, "port");

	memset(probe, 0, sizeof(*probe));
	if (!json_is_object(json))
		return sluice_err_set(err, EINVAL, "a probe must be an object");
	if (text_field(json, "from", &probe->from, err) ||
	    text_field(json, "to", &probe->to, err) ||
	    text_field(json, "protocol", &probe->protocol, err))
		return -EINVAL;
	if (json_is_integer(port)) {
		json_int_t n = json_integer_value(port);

		if (n < 1 || n > 65535)
			return sluice_err_set(err, EINVAL, "port %lld is not between 1 and 65535",
					      (long long)n);
		snprintf(port_text, 16, "%d", (int)n);
		probe->port = port_text;
	} else if (json_is_string(port)) {
		probe->port = json_string_value(port);
	} else if (port && !json_is_null(port)) {
		return sluice_err_set(err, EINVAL, "\"port\" must be a number or a name");
	}
	return 0;
}

static json_t *side_json(const struct sluice_probe_side *s)
{
	if (s->verdict == SLUICE_VERDICT_NONE)
		return json_null();
	return json_pack("{s:s, s:s, s:s?, s:s?}", "verdict", sluice_verdict_name(s->verdict),
			 "reason", sluice_reason_name(s->reason), "policy", s->policy, "rule",
			 s->rule);
}

json_t *sluice_probe_result_json(const struct sluice_probe_result *r)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:s?, s:s?}", "verdict",
			 sluice_verdict_name(r->verdict), "reason", sluice_reason_name(r->reason),
			 "egress", side_json(&r->egress), "ingress", side_json(&r->ingress),
			 "service", r->service, "backend", *r->backend ? r->backend : NULL);
}
