// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/nl_object.h"

#include <stdio.h>
#include <string.h>

#include "ctl/lib/address.h"
#include "ctl/lib/nl.h"

/*
 * One description per nest drives everything: the checks of the lengths, the names in errors. An
 * attribute with kind 0 is skipped.
 */
enum kind {
	KIND_U8 = 1,
	KIND_BE16,
	KIND_U32,
	KIND_U64,
	KIND_TEXT,
	KIND_ADDR,
	KIND_BINARY,
	KIND_NEST
};

struct attr_spec {
	const char *name;
	enum kind kind;
	int nest; /* KIND_NEST: which */
};

#define NEST_TOP 0
#define NEST_TUPLE (SLUICE_A_MAX + 1) /* stands in connections and traces */

#define ATTR(prefix, attr, k) [SLUICE_##prefix##_A_##attr] = { #attr, KIND_##k, 0 }
#define TUPLE(prefix, attr) [SLUICE_##prefix##_A_##attr] = { #attr, KIND_NEST, NEST_TUPLE }
#define TOP(attr) [SLUICE_A_##attr] = { #attr, KIND_NEST, SLUICE_A_##attr }

static const struct attr_spec top_specs[SLUICE_A_MAX + 1] = {
	[SLUICE_A_REVISION] = { "REVISION", KIND_U32, 0 },
	[SLUICE_A_FLAGS] = { "FLAGS", KIND_U32, 0 },
	[SLUICE_A_COUNT] = { "COUNT", KIND_U32, 0 },
	TOP(INFO),
	TOP(SERVICE),
	TOP(PEER),
	TOP(RULE),
	TOP(RULESET),
	TOP(ENDPOINT),
	TOP(UPLINK),
	TOP(CONN),
	TOP(STATS),
	TOP(CONFIG),
	TOP(TRACE),
	TOP(EVENT),
};

static const struct attr_spec info_specs[SLUICE_INFO_A_MAX + 1] = {
	ATTR(INFO, VERSION, TEXT), ATTR(INFO, REVISION, U32),	ATTR(INFO, SERVICES, U32),
	ATTR(INFO, BACKENDS, U32), ATTR(INFO, PEERS, U32),	ATTR(INFO, RULES, U32),
	ATTR(INFO, RULESETS, U32), ATTR(INFO, ENDPOINTS, U32),	ATTR(INFO, UPLINKS, U32),
	ATTR(INFO, CONNS, U32),	   ATTR(INFO, CONN_BYTES, U64), ATTR(INFO, CONN_BUDGET, U64),
	ATTR(INFO, BUCKETS, U32),  ATTR(INFO, CONN_SIZE4, U32), ATTR(INFO, CONN_SIZE6, U32),
};

static const struct attr_spec service_specs[SLUICE_SERVICE_A_MAX + 1] = {
	ATTR(SERVICE, ADDR, ADDR),    ATTR(SERVICE, PORT, BE16), ATTR(SERVICE, PROTO, U8),
	ATTR(SERVICE, NAME, TEXT),    ATTR(SERVICE, FLAGS, U32), ATTR(SERVICE, BACKENDS, BINARY),
	ATTR(SERVICE, REVISION, U32),
};

static const struct attr_spec peer_specs[SLUICE_PEER_A_MAX + 1] = {
	ATTR(PEER, ADDR, ADDR), ATTR(PEER, PLEN, U8),	   ATTR(PEER, CLASS, U32),
	ATTR(PEER, NAME, TEXT), ATTR(PEER, REVISION, U32),
};

static const struct attr_spec rule_specs[SLUICE_RULE_A_MAX + 1] = {
	ATTR(RULE, ID, U32),
	ATTR(RULE, POLICY, TEXT),
	ATTR(RULE, RULE, TEXT),
	ATTR(RULE, REVISION, U32),
};

static const struct attr_spec ruleset_specs[SLUICE_RULESET_A_MAX + 1] = {
	ATTR(RULESET, ID, U32),	       ATTR(RULESET, SIZE, U32),
	ATTR(RULESET, OFFSET, U32),    ATTR(RULESET, DATA, BINARY),
	ATTR(RULESET, RULES, U32),     ATTR(RULESET, CLASSES, U32),
	ATTR(RULESET, ENDPOINTS, U32), ATTR(RULESET, RULE_IDS, BINARY),
	ATTR(RULESET, REVISION, U32),
};

static const struct attr_spec endpoint_specs[SLUICE_ENDPOINT_A_MAX + 1] = {
	ATTR(ENDPOINT, IFINDEX, U32),  ATTR(ENDPOINT, IFNAME, TEXT),
	ATTR(ENDPOINT, NAME, TEXT),    ATTR(ENDPOINT, CONTAINER, TEXT),
	ATTR(ENDPOINT, ADDR, ADDR),    ATTR(ENDPOINT, INGRESS, U32),
	ATTR(ENDPOINT, EGRESS, U32),   ATTR(ENDPOINT, FLAGS, U32),
	ATTR(ENDPOINT, REVISION, U32),
};

static const struct attr_spec uplink_specs[SLUICE_UPLINK_A_MAX + 1] = {
	ATTR(UPLINK, IFINDEX, U32),
	ATTR(UPLINK, IFNAME, TEXT),
	ATTR(UPLINK, REVISION, U32),
};

static const struct attr_spec tuple_specs[SLUICE_TUPLE_A_MAX + 1] = {
	ATTR(TUPLE, SRC, ADDR),	  ATTR(TUPLE, DST, ADDR), ATTR(TUPLE, SPORT, BE16),
	ATTR(TUPLE, DPORT, BE16), ATTR(TUPLE, PROTO, U8),
};

static const struct attr_spec conn_specs[SLUICE_CONN_A_MAX + 1] = {
	TUPLE(CONN, ORIGINAL),
	TUPLE(CONN, REPLY),
	ATTR(CONN, STATE, U8),
	ATTR(CONN, FLAGS, U32),
	ATTR(CONN, TIMEOUT, U32),
	ATTR(CONN, VERDICT, U8),
	ATTR(CONN, REASON, U8),
	ATTR(CONN, STAGED_VERDICT, U8),
	ATTR(CONN, EGRESS_RULE, U32),
	ATTR(CONN, INGRESS_RULE, U32),
	ATTR(CONN, STAGED_EGRESS_RULE, U32),
	ATTR(CONN, STAGED_INGRESS_RULE, U32),
	ATTR(CONN, PACKETS_ORIGINAL, U64),
	ATTR(CONN, PACKETS_REPLY, U64),
	ATTR(CONN, BYTES_ORIGINAL, U64),
	ATTR(CONN, BYTES_REPLY, U64),
	ATTR(CONN, TCP, BINARY),
	ATTR(CONN, AGE, U32),
};

static const struct attr_spec stats_specs[SLUICE_STATS_A_MAX + 1] = {
	ATTR(STATS, DROPS, BINARY), ATTR(STATS, HITS, U64),	   ATTR(STATS, MISSES, U64),
	ATTR(STATS, CREATED, U64),  ATTR(STATS, EXPIRED, U64),	   ATTR(STATS, EVICTED, BINARY),
	ATTR(STATS, REJUDGED, U64), ATTR(STATS, CUT, U64),	   ATTR(STATS, REMAPPED, U64),
	ATTR(STATS, FAST_POD, U64), ATTR(STATS, FAST_UPLINK, U64), ATTR(STATS, STACK, U64),
	ATTR(STATS, FOREIGN, U64),  ATTR(STATS, FRAGMENTS, U64),   ATTR(STATS, EVENTS_LOST, U64),
};

static const struct attr_spec config_specs[SLUICE_CONFIG_A_MAX + 1] = {
	ATTR(CONFIG, CONN_BUDGET, U64),
};

static const struct attr_spec trace_specs[SLUICE_TRACE_A_MAX + 1] = {
	TUPLE(TRACE, TUPLE),
	ATTR(TRACE, VERDICT, U8),
	ATTR(TRACE, REASON, U8),
	ATTR(TRACE, STAGED_VERDICT, U8),
	ATTR(TRACE, EGRESS_VERDICT, U8),
	ATTR(TRACE, EGRESS_REASON, U8),
	ATTR(TRACE, EGRESS_RULE, U32),
	ATTR(TRACE, INGRESS_VERDICT, U8),
	ATTR(TRACE, INGRESS_REASON, U8),
	ATTR(TRACE, INGRESS_RULE, U32),
	ATTR(TRACE, SERVICE, TEXT),
	TUPLE(TRACE, BACKEND),
};

static const struct attr_spec event_specs[SLUICE_EVENT_A_MAX + 1] = {
	ATTR(EVENT, TYPE, U8),
	ATTR(EVENT, SEQUENCE, U32),
	ATTR(EVENT, TIME, U64),
	[SLUICE_EVENT_A_CONN] = { "CONN", KIND_NEST, SLUICE_A_CONN },
};

static const struct {
	const struct attr_spec *specs;
	int max;
} nests[] = {
	[NEST_TOP] = { top_specs, SLUICE_A_MAX },
	[SLUICE_A_INFO] = { info_specs, SLUICE_INFO_A_MAX },
	[SLUICE_A_SERVICE] = { service_specs, SLUICE_SERVICE_A_MAX },
	[SLUICE_A_PEER] = { peer_specs, SLUICE_PEER_A_MAX },
	[SLUICE_A_RULE] = { rule_specs, SLUICE_RULE_A_MAX },
	[SLUICE_A_RULESET] = { ruleset_specs, SLUICE_RULESET_A_MAX },
	[SLUICE_A_ENDPOINT] = { endpoint_specs, SLUICE_ENDPOINT_A_MAX },
	[SLUICE_A_UPLINK] = { uplink_specs, SLUICE_UPLINK_A_MAX },
	[SLUICE_A_CONN] = { conn_specs, SLUICE_CONN_A_MAX },
	[SLUICE_A_STATS] = { stats_specs, SLUICE_STATS_A_MAX },
	[SLUICE_A_CONFIG] = { config_specs, SLUICE_CONFIG_A_MAX },
	[SLUICE_A_TRACE] = { trace_specs, SLUICE_TRACE_A_MAX },
	[SLUICE_A_EVENT] = { event_specs, SLUICE_EVENT_A_MAX },
	[NEST_TUPLE] = { tuple_specs, SLUICE_TUPLE_A_MAX },
};

/* The most attributes that any nest has. */
#define MAX_ATTRS 24
_Static_assert(SLUICE_CONN_A_MAX < MAX_ATTRS && SLUICE_STATS_A_MAX < MAX_ATTRS &&
		       SLUICE_INFO_A_MAX < MAX_ATTRS && SLUICE_TRACE_A_MAX < MAX_ATTRS,
	       "a nest outgrew MAX_ATTRS");

static const struct attr_spec *find_spec(int nest, int type)
{
	if (nest < 0 || (size_t)nest >= sizeof(nests) / sizeof(nests[0]) || !nests[nest].specs ||
	    type < 0 || type > nests[nest].max || !nests[nest].specs[type].name)
		return NULL;
	return &nests[nest].specs[type];
}

const char *sluice_nl_attr_name(int nest, int type)
{
	const struct attr_spec *spec = find_spec(nest, type);

	return spec ? spec->name : "unknown";
}

int sluice_nl_attr_nest(int nest, int type)
{
	const struct attr_spec *spec = find_spec(nest, type);

	return spec && spec->kind == KIND_NEST ? spec->nest : -1;
}

/* Parsing ********************************************************************************/

static bool length_good(enum kind kind, const struct nlattr *nla)
{
	int len = nla_len(nla);

	switch (kind) {
	case KIND_U8:
		return len == 1;
	case KIND_BE16:
		return len == 2;
	case KIND_U32:
		return len == 4;
	case KIND_U64:
		return len == 8;
	case KIND_ADDR:
		return len == 4 || len == 16;
	case KIND_TEXT:
		return len > 0 && !((const char *)nla_data(nla))[len - 1];
	case KIND_BINARY:
	case KIND_NEST:
		return true;
	}
	return true;
}

/* The attributes of a nest by type, checked; of a repeated one the last. */
static int parse_nest(int nest, struct nlattr *nla, struct nlattr *attrs[MAX_ATTRS],
		      struct sluice_err *err)
{
	struct nlattr *at = nla_data(nla);
	int left = nla_len(nla);

	memset(attrs, 0, MAX_ATTRS * sizeof(*attrs));
	for (; nla_ok(at, left); at = nla_next(at, &left)) {
		const struct attr_spec *spec = find_spec(nest, nla_type(at));

		if (!spec)
			continue;
		if (!length_good(spec->kind, at))
			return sluice_err_set(err, EPROTO,
					      "the kernel sent attribute %s with a length of %d",
					      spec->name, nla_len(at));
		attrs[nla_type(at)] = at;
	}
	if (left > 0)
		return sluice_err_set(err, EPROTO, "the kernel sent attributes that end too early");
	return 0;
}

static uint8_t get_u8(struct nlattr *nla)
{
	return nla ? nla_get_u8(nla) : 0;
}

static uint32_t get_u32(struct nlattr *nla)
{
	return nla ? nla_get_u32(nla) : 0;
}

static uint64_t get_u64(struct nlattr *nla)
{
	return nla ? nla_get_u64(nla) : 0;
}

static uint16_t get_port(struct nlattr *nla)
{
	return nla ? ntohs(nla_get_u16(nla)) : 0;
}

static const char *get_text(struct nlattr *nla)
{
	return nla ? nla_data(nla) : "";
}

static uint8_t get_addr(struct nlattr *nla, struct sluice_addr *addr)
{
	memset(addr, 0, sizeof(*addr));
	if (!nla)
		return 0;
	memcpy(addr, nla_data(nla), nla_len(nla));
	return nla_len(nla) == 4 ? SLUICE_IPV4 : SLUICE_IPV6;
}

static int missing(struct sluice_err *err, const char *name)
{
	return sluice_err_set(err, EPROTO, "the kernel sent no attribute %s", name);
}

int sluice_nl_parse_info(struct nlattr *nest, struct sluice_nl_info *o, struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS];
	int ret = parse_nest(SLUICE_A_INFO, nest, a, err);

	if (ret)
		return ret;
	*o = (struct sluice_nl_info){
		.version = get_text(a[SLUICE_INFO_A_VERSION]),
		.revision = get_u32(a[SLUICE_INFO_A_REVISION]),
		.services = get_u32(a[SLUICE_INFO_A_SERVICES]),
		.backends = get_u32(a[SLUICE_INFO_A_BACKENDS]),
		.peers = get_u32(a[SLUICE_INFO_A_PEERS]),
		.rules = get_u32(a[SLUICE_INFO_A_RULES]),
		.rulesets = get_u32(a[SLUICE_INFO_A_RULESETS]),
		.endpoints = get_u32(a[SLUICE_INFO_A_ENDPOINTS]),
		.uplinks = get_u32(a[SLUICE_INFO_A_UPLINKS]),
		.conns = get_u32(a[SLUICE_INFO_A_CONNS]),
		.conn_bytes = get_u64(a[SLUICE_INFO_A_CONN_BYTES]),
		.conn_budget = get_u64(a[SLUICE_INFO_A_CONN_BUDGET]),
		.buckets = get_u32(a[SLUICE_INFO_A_BUCKETS]),
		.conn_size4 = get_u32(a[SLUICE_INFO_A_CONN_SIZE4]),
		.conn_size6 = get_u32(a[SLUICE_INFO_A_CONN_SIZE6]),
	};
	return 0;
}

static size_t backend_size(uint8_t family)
{
	return family == SLUICE_IPV4 ? sizeof(struct sluice_backend4) :
				       sizeof(struct sluice_backend6);
}

int sluice_nl_parse_service(struct nlattr *nest, struct sluice_nl_service *o,
			    struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS], *backends;
	int ret = parse_nest(SLUICE_A_SERVICE, nest, a, err);

	if (ret)
		return ret;
	*o = (struct sluice_nl_service){
		.port = get_port(a[SLUICE_SERVICE_A_PORT]),
		.proto = get_u8(a[SLUICE_SERVICE_A_PROTO]),
		.name = get_text(a[SLUICE_SERVICE_A_NAME]),
		.flags = get_u32(a[SLUICE_SERVICE_A_FLAGS]),
		.revision = get_u32(a[SLUICE_SERVICE_A_REVISION]),
	};
	o->family = get_addr(a[SLUICE_SERVICE_A_ADDR], &o->addr);
	if (!o->family)
		return missing(err, "SERVICE.ADDR");
	backends = a[SLUICE_SERVICE_A_BACKENDS];
	if (backends) {
		if (nla_len(backends) % backend_size(o->family))
			return sluice_err_set(
				err, EPROTO,
				"the kernel sent attribute BACKENDS with a length of %d",
				nla_len(backends));
		o->backends = nla_data(backends);
		o->n_backends = nla_len(backends) / backend_size(o->family);
	}
	return 0;
}

struct sluice_dp_backend sluice_nl_backend(const struct sluice_nl_service *o, uint32_t i)
{
	struct sluice_dp_backend b = { 0 };

	if (o->family == SLUICE_IPV4) {
		struct sluice_backend4 wire;

		memcpy(&wire, (const char *)o->backends + i * sizeof(wire), sizeof(wire));
		b.addr.w[0] = wire.addr;
		b.port = ntohs(wire.port);
	} else {
		struct sluice_backend6 wire;

		memcpy(&wire, (const char *)o->backends + i * sizeof(wire), sizeof(wire));
		memcpy(&b.addr, wire.addr, sizeof(wire.addr));
		b.port = ntohs(wire.port);
	}
	return b;
}

int sluice_nl_parse_peer(struct nlattr *nest, struct sluice_nl_peer *o, struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS];
	int ret = parse_nest(SLUICE_A_PEER, nest, a, err);

	if (ret)
		return ret;
	*o = (struct sluice_nl_peer){
		.plen = get_u8(a[SLUICE_PEER_A_PLEN]),
		.class = get_u32(a[SLUICE_PEER_A_CLASS]),
		.name = get_text(a[SLUICE_PEER_A_NAME]),
		.revision = get_u32(a[SLUICE_PEER_A_REVISION]),
	};
	o->family = get_addr(a[SLUICE_PEER_A_ADDR], &o->addr);
	return o->family ? 0 : missing(err, "PEER.ADDR");
}

int sluice_nl_parse_rule(struct nlattr *nest, struct sluice_nl_rule *o, struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS];
	int ret = parse_nest(SLUICE_A_RULE, nest, a, err);

	if (ret)
		return ret;
	*o = (struct sluice_nl_rule){
		.id = get_u32(a[SLUICE_RULE_A_ID]),
		.policy = get_text(a[SLUICE_RULE_A_POLICY]),
		.rule = get_text(a[SLUICE_RULE_A_RULE]),
		.revision = get_u32(a[SLUICE_RULE_A_REVISION]),
	};
	return o->id ? 0 : missing(err, "RULE.ID");
}

int sluice_nl_parse_ruleset(struct nlattr *nest, struct sluice_nl_ruleset *o,
			    struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS], *ids;
	int ret = parse_nest(SLUICE_A_RULESET, nest, a, err);

	if (ret)
		return ret;
	*o = (struct sluice_nl_ruleset){
		.id = get_u32(a[SLUICE_RULESET_A_ID]),
		.size = get_u32(a[SLUICE_RULESET_A_SIZE]),
		.rules = get_u32(a[SLUICE_RULESET_A_RULES]),
		.classes = get_u32(a[SLUICE_RULESET_A_CLASSES]),
		.endpoints = get_u32(a[SLUICE_RULESET_A_ENDPOINTS]),
		.revision = get_u32(a[SLUICE_RULESET_A_REVISION]),
	};
	ids = a[SLUICE_RULESET_A_RULE_IDS];
	if (ids) {
		if (nla_len(ids) % sizeof(uint32_t))
			return sluice_err_set(
				err, EPROTO,
				"the kernel sent attribute RULE_IDS with a length of %d",
				nla_len(ids));
		o->rule_ids = nla_data(ids);
		o->n_rule_ids = nla_len(ids) / sizeof(uint32_t);
	}
	return o->id ? 0 : missing(err, "RULESET.ID");
}

uint32_t sluice_nl_rule_id(const struct sluice_nl_ruleset *o, uint32_t i)
{
	uint32_t id;

	memcpy(&id, (const char *)o->rule_ids + i * sizeof(id), sizeof(id));
	return id;
}

int sluice_nl_parse_endpoint(struct nlattr *nest, struct sluice_nl_endpoint *o,
			     struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS], *at = nla_data(nest);
	int ret = parse_nest(SLUICE_A_ENDPOINT, nest, a, err), left = nla_len(nest);

	if (ret)
		return ret;
	*o = (struct sluice_nl_endpoint){
		.ifindex = get_u32(a[SLUICE_ENDPOINT_A_IFINDEX]),
		.ifname = get_text(a[SLUICE_ENDPOINT_A_IFNAME]),
		.name = get_text(a[SLUICE_ENDPOINT_A_NAME]),
		.container = get_text(a[SLUICE_ENDPOINT_A_CONTAINER]),
		.ingress = get_u32(a[SLUICE_ENDPOINT_A_INGRESS]),
		.egress = get_u32(a[SLUICE_ENDPOINT_A_EGRESS]),
		.flags = get_u32(a[SLUICE_ENDPOINT_A_FLAGS]),
		.revision = get_u32(a[SLUICE_ENDPOINT_A_REVISION]),
	};
	for (; nla_ok(at, left); at = nla_next(at, &left)) {
		struct sluice_dp_addr *addr = &o->addrs[o->n_addrs];

		if (nla_type(at) != SLUICE_ENDPOINT_A_ADDR)
			continue;
		if (o->n_addrs == SLUICE_MAX_ENDPOINT_ADDRS)
			return sluice_err_set(
				err, EPROTO,
				"the kernel sent an endpoint with more than %d addresses",
				SLUICE_MAX_ENDPOINT_ADDRS);
		addr->family = get_addr(at, &addr->addr);
		o->n_addrs++;
	}
	return o->ifindex ? 0 : missing(err, "ENDPOINT.IFINDEX");
}

int sluice_nl_parse_uplink(struct nlattr *nest, struct sluice_nl_uplink *o, struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS];
	int ret = parse_nest(SLUICE_A_UPLINK, nest, a, err);

	if (ret)
		return ret;
	*o = (struct sluice_nl_uplink){
		.ifindex = get_u32(a[SLUICE_UPLINK_A_IFINDEX]),
		.ifname = get_text(a[SLUICE_UPLINK_A_IFNAME]),
		.revision = get_u32(a[SLUICE_UPLINK_A_REVISION]),
	};
	return o->ifindex ? 0 : missing(err, "UPLINK.IFINDEX");
}

static uint32_t present(struct nlattr *a[MAX_ATTRS])
{
	uint32_t has = 0;

	for (int i = 0; i < MAX_ATTRS; i++)
		if (a[i])
			has |= SLUICE_NL_HAS(i);
	return has;
}

int sluice_nl_parse_tuple(struct nlattr *nest, struct sluice_nl_tuple *o, struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS];
	int ret = parse_nest(NEST_TUPLE, nest, a, err);
	uint8_t src, dst;

	if (ret)
		return ret;
	*o = (struct sluice_nl_tuple){ .has = present(a) };
	src = get_addr(a[SLUICE_TUPLE_A_SRC], &o->t.src);
	dst = get_addr(a[SLUICE_TUPLE_A_DST], &o->t.dst);
	if (src && dst && src != dst)
		return sluice_err_set(err, EPROTO, "the kernel sent a tuple of two families");
	o->t.family = src ? src : dst;
	o->t.sport = htons(get_port(a[SLUICE_TUPLE_A_SPORT]));
	o->t.dport = htons(get_port(a[SLUICE_TUPLE_A_DPORT]));
	o->t.proto = get_u8(a[SLUICE_TUPLE_A_PROTO]);
	return 0;
}

int sluice_nl_parse_conn_filter(struct nlattr *nest, struct sluice_nl_conn *o,
				struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS];
	int ret = parse_nest(SLUICE_A_CONN, nest, a, err);

	if (ret)
		return ret;
	*o = (struct sluice_nl_conn){
		.has = present(a),
		.state = get_u8(a[SLUICE_CONN_A_STATE]),
		.verdict = get_u8(a[SLUICE_CONN_A_VERDICT]),
		.reason = get_u8(a[SLUICE_CONN_A_REASON]),
		.staged_verdict = get_u8(a[SLUICE_CONN_A_STAGED_VERDICT]),
		.flags = get_u32(a[SLUICE_CONN_A_FLAGS]),
		.timeout = get_u32(a[SLUICE_CONN_A_TIMEOUT]),
		.age = get_u32(a[SLUICE_CONN_A_AGE]),
		.rule = { get_u32(a[SLUICE_CONN_A_EGRESS_RULE]),
			  get_u32(a[SLUICE_CONN_A_INGRESS_RULE]) },
		.staged_rule = { get_u32(a[SLUICE_CONN_A_STAGED_EGRESS_RULE]),
				 get_u32(a[SLUICE_CONN_A_STAGED_INGRESS_RULE]) },
		.packets = { get_u64(a[SLUICE_CONN_A_PACKETS_ORIGINAL]),
			     get_u64(a[SLUICE_CONN_A_PACKETS_REPLY]) },
		.bytes = { get_u64(a[SLUICE_CONN_A_BYTES_ORIGINAL]),
			   get_u64(a[SLUICE_CONN_A_BYTES_REPLY]) },
	};
	if (a[SLUICE_CONN_A_TCP]) {
		if (nla_len(a[SLUICE_CONN_A_TCP]) != sizeof(o->tcp))
			return sluice_err_set(err, EPROTO,
					      "the kernel sent attribute TCP with a length of %d",
					      nla_len(a[SLUICE_CONN_A_TCP]));
		memcpy(o->tcp, nla_data(a[SLUICE_CONN_A_TCP]), sizeof(o->tcp));
	}
	if (a[SLUICE_CONN_A_ORIGINAL])
		ret = sluice_nl_parse_tuple(a[SLUICE_CONN_A_ORIGINAL], &o->original, err);
	if (!ret && a[SLUICE_CONN_A_REPLY])
		ret = sluice_nl_parse_tuple(a[SLUICE_CONN_A_REPLY], &o->reply, err);
	return ret;
}

int sluice_nl_parse_conn(struct nlattr *nest, struct sluice_nl_conn *o, struct sluice_err *err)
{
	int ret = sluice_nl_parse_conn_filter(nest, o, err);

	if (!ret && !(o->has & SLUICE_NL_HAS(SLUICE_CONN_A_ORIGINAL)))
		ret = missing(err, "CONN.ORIGINAL");
	return ret;
}

bool sluice_nl_conn_matches(const struct sluice_nl_conn *conn, const struct sluice_nl_conn *filter)
{
	const struct sluice_tuple *have = &conn->original.t, *want = &filter->original.t;
	uint32_t has = filter->original.has;

	return (!want->family || have->family == want->family) &&
	       (!(has & SLUICE_NL_HAS(SLUICE_TUPLE_A_SRC)) ||
		sluice_addr_equal(&have->src, &want->src)) &&
	       (!(has & SLUICE_NL_HAS(SLUICE_TUPLE_A_DST)) ||
		sluice_addr_equal(&have->dst, &want->dst)) &&
	       (!(has & SLUICE_NL_HAS(SLUICE_TUPLE_A_SPORT)) || have->sport == want->sport) &&
	       (!(has & SLUICE_NL_HAS(SLUICE_TUPLE_A_DPORT)) || have->dport == want->dport) &&
	       (!(has & SLUICE_NL_HAS(SLUICE_TUPLE_A_PROTO)) || have->proto == want->proto) &&
	       (!(filter->has & SLUICE_NL_HAS(SLUICE_CONN_A_STATE)) ||
		conn->state == filter->state) &&
	       (!(filter->has & SLUICE_NL_HAS(SLUICE_CONN_A_VERDICT)) ||
		conn->verdict == filter->verdict);
}

/* Arrays of counters may be longer in a newer kernel, and shorter in an older one. */
static uint64_t get_counters(struct nlattr *nla, uint64_t *counters, size_t n)
{
	size_t given = nla ? nla_len(nla) / sizeof(uint64_t) : 0;
	uint64_t rest = 0, value;

	for (size_t i = 0; i < given; i++) {
		memcpy(&value, (char *)nla_data(nla) + i * sizeof(value), sizeof(value));
		if (i < n)
			counters[i] = value;
		else
			rest += value;
	}
	return rest;
}

int sluice_nl_parse_stats(struct nlattr *nest, struct sluice_nl_stats *o, struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS];
	int ret = parse_nest(SLUICE_A_STATS, nest, a, err);

	if (ret)
		return ret;
	*o = (struct sluice_nl_stats){
		.hits = get_u64(a[SLUICE_STATS_A_HITS]),
		.misses = get_u64(a[SLUICE_STATS_A_MISSES]),
		.created = get_u64(a[SLUICE_STATS_A_CREATED]),
		.expired = get_u64(a[SLUICE_STATS_A_EXPIRED]),
		.rejudged = get_u64(a[SLUICE_STATS_A_REJUDGED]),
		.cut = get_u64(a[SLUICE_STATS_A_CUT]),
		.remapped = get_u64(a[SLUICE_STATS_A_REMAPPED]),
		.fast_pod = get_u64(a[SLUICE_STATS_A_FAST_POD]),
		.fast_uplink = get_u64(a[SLUICE_STATS_A_FAST_UPLINK]),
		.stack = get_u64(a[SLUICE_STATS_A_STACK]),
		.foreign = get_u64(a[SLUICE_STATS_A_FOREIGN]),
		.fragments = get_u64(a[SLUICE_STATS_A_FRAGMENTS]),
		.events_lost = get_u64(a[SLUICE_STATS_A_EVENTS_LOST]),
	};
	o->drops_unknown = get_counters(a[SLUICE_STATS_A_DROPS], o->drops, SLUICE_REASON_COUNT);
	get_counters(a[SLUICE_STATS_A_EVICTED], o->evicted, SLUICE_EVICT_COUNT);
	return 0;
}

int sluice_nl_parse_trace(struct nlattr *nest, struct sluice_nl_trace *o, struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS];
	struct sluice_nl_tuple backend;
	int ret = parse_nest(SLUICE_A_TRACE, nest, a, err);

	if (ret)
		return ret;
	*o = (struct sluice_nl_trace){
		.verdict = get_u8(a[SLUICE_TRACE_A_VERDICT]),
		.reason = get_u8(a[SLUICE_TRACE_A_REASON]),
		.staged_verdict = get_u8(a[SLUICE_TRACE_A_STAGED_VERDICT]),
		.service = a[SLUICE_TRACE_A_SERVICE] ? get_text(a[SLUICE_TRACE_A_SERVICE]) : NULL,
	};
	if (!a[SLUICE_TRACE_A_VERDICT])
		return missing(err, "TRACE.VERDICT");
	o->dir[0].judged = a[SLUICE_TRACE_A_EGRESS_VERDICT];
	o->dir[0].verdict = get_u8(a[SLUICE_TRACE_A_EGRESS_VERDICT]);
	o->dir[0].reason = get_u8(a[SLUICE_TRACE_A_EGRESS_REASON]);
	o->dir[0].rule = get_u32(a[SLUICE_TRACE_A_EGRESS_RULE]);
	o->dir[1].judged = a[SLUICE_TRACE_A_INGRESS_VERDICT];
	o->dir[1].verdict = get_u8(a[SLUICE_TRACE_A_INGRESS_VERDICT]);
	o->dir[1].reason = get_u8(a[SLUICE_TRACE_A_INGRESS_REASON]);
	o->dir[1].rule = get_u32(a[SLUICE_TRACE_A_INGRESS_RULE]);
	if (a[SLUICE_TRACE_A_BACKEND]) {
		ret = sluice_nl_parse_tuple(a[SLUICE_TRACE_A_BACKEND], &backend, err);
		if (ret)
			return ret;
		o->has_backend = true;
		o->backend = backend.t.dst;
		o->backend_port = ntohs(backend.t.dport);
		o->family = backend.t.family;
	}
	return 0;
}

int sluice_nl_parse_event(struct nlattr *nest, struct sluice_nl_event *o, struct sluice_err *err)
{
	struct nlattr *a[MAX_ATTRS];
	int ret = parse_nest(SLUICE_A_EVENT, nest, a, err);

	if (ret)
		return ret;
	*o = (struct sluice_nl_event){
		.type = get_u8(a[SLUICE_EVENT_A_TYPE]),
		.sequence = get_u32(a[SLUICE_EVENT_A_SEQUENCE]),
		.time = get_u64(a[SLUICE_EVENT_A_TIME]),
	};
	if (!a[SLUICE_EVENT_A_CONN])
		return missing(err, "EVENT.CONN");
	return sluice_nl_parse_conn(a[SLUICE_EVENT_A_CONN], &o->conn, err);
}

/* Putting ********************************************************************************/

/*
 * The kernel's strict validation wants the flag, and libnl sets it in some versions alone. On
 * failure of any put in between, close_nest() takes the message back to where it was.
 */
static struct nlattr *open_nest(struct nl_msg *msg, int type)
{
	return nla_nest_start(msg, type | NLA_F_NESTED);
}

static bool close_nest(struct nl_msg *msg, struct nlattr *nest, bool good)
{
	if (!nest)
		return false;
	if (good && !nla_nest_end(msg, nest))
		return true;
	nla_nest_cancel(msg, nest);
	return false;
}

/*
 * What nla_put() does in a dozen calls: a connection has 30 attributes, and there may be millions of
 * connections. len: at most 16.
 */
static inline bool put_small(struct nl_msg *msg, int type, const void *data, uint16_t len)
{
	struct nlmsghdr *hdr = nlmsg_hdr(msg);
	uint32_t at = NLMSG_ALIGN(hdr->nlmsg_len), need = NLA_HDRLEN + NLA_ALIGN(len);
	struct nlattr *nla = (void *)((char *)hdr + at);

	if (at + need > nlmsg_get_max_size(msg))
		return false;
	nla->nla_type = (uint16_t)type;
	nla->nla_len = NLA_HDRLEN + len;
	memset((char *)nla + need - NLA_ALIGNTO, 0, NLA_ALIGNTO); /* the padding */
	memcpy((char *)nla + NLA_HDRLEN, data, len);
	hdr->nlmsg_len = at + need;
	return true;
}

static bool put_addr(struct nl_msg *msg, int type, const struct sluice_addr *addr, uint8_t family)
{
	return put_small(msg, type, addr, family == SLUICE_IPV4 ? 4 : 16);
}

static bool put_u8(struct nl_msg *msg, int type, uint8_t value)
{
	return put_small(msg, type, &value, sizeof(value));
}

static bool put_u32(struct nl_msg *msg, int type, uint32_t value)
{
	return put_small(msg, type, &value, sizeof(value));
}

static bool put_u64(struct nl_msg *msg, int type, uint64_t value)
{
	return put_small(msg, type, &value, sizeof(value));
}

static bool put_port(struct nl_msg *msg, int type, uint16_t port)
{
	port = htons(port);
	return put_small(msg, type, &port, sizeof(port));
}

/*
 * Text that is too long is cut, and ends in "...": the default deny of a pod that many policies isolate
 * names them all.
 */
static bool put_text(struct nl_msg *msg, int type, const char *text)
{
	char cut[SLUICE_NAME_LEN];

	if (!text)
		text = "";
	if (strlen(text) >= sizeof(cut)) {
		memcpy(cut, text, sizeof(cut) - 4);
		memcpy(cut + sizeof(cut) - 4, "...", 4);
		text = cut;
	}
	return !nla_put_string(msg, type, text);
}

static bool put_backends(struct nl_msg *msg, const struct sluice_dp_service *o)
{
	size_t len = o->n_backends * backend_size(o->family);
	struct nlattr *nla;

	/* The length of an attribute has 16 bits; the nest around it is checked when it is closed. */
	if (len > SLUICE_NL_ATTR_MAX)
		return false;
	nla = nla_reserve(msg, SLUICE_SERVICE_A_BACKENDS, (int)len);
	if (!nla)
		return false;
	for (uint32_t i = 0; i < o->n_backends; i++) {
		char *at = (char *)nla_data(nla) + i * backend_size(o->family);

		if (o->family == SLUICE_IPV4) {
			struct sluice_backend4 wire = { .addr = o->backends[i].addr.w[0],
							.port = htons(o->backends[i].port) };

			memcpy(at, &wire, sizeof(wire));
		} else {
			struct sluice_backend6 wire = { .port = htons(o->backends[i].port) };

			memcpy(wire.addr, &o->backends[i].addr, sizeof(wire.addr));
			memcpy(at, &wire, sizeof(wire));
		}
	}
	return true;
}

static bool put_service_key(struct nl_msg *msg, const struct sluice_dp_service *o)
{
	return put_addr(msg, SLUICE_SERVICE_A_ADDR, &o->addr, o->family) &&
	       put_port(msg, SLUICE_SERVICE_A_PORT, o->port) &&
	       put_u8(msg, SLUICE_SERVICE_A_PROTO, o->proto);
}

static bool put_service(struct nl_msg *msg, const struct sluice_dp_service *o)
{
	return put_service_key(msg, o) && put_text(msg, SLUICE_SERVICE_A_NAME, o->name) &&
	       put_backends(msg, o);
}

bool sluice_nl_put_service(struct nl_msg *msg, const struct sluice_dp_service *o, bool key_only)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_SERVICE);

	return close_nest(msg, nest,
			  nest && (key_only ? put_service_key(msg, o) : put_service(msg, o)));
}

bool sluice_nl_put_dumped_service(struct nl_msg *msg, const struct sluice_dp_service *o,
				  uint32_t revision)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_SERVICE);

	return close_nest(msg, nest,
			  nest && put_service(msg, o) && put_u32(msg, SLUICE_SERVICE_A_FLAGS, 0) &&
				  put_u32(msg, SLUICE_SERVICE_A_REVISION, revision));
}

static bool put_peer_key(struct nl_msg *msg, const struct sluice_dp_peer *o)
{
	return put_addr(msg, SLUICE_PEER_A_ADDR, &o->addr, o->family) &&
	       put_u8(msg, SLUICE_PEER_A_PLEN, o->plen);
}

static bool put_peer(struct nl_msg *msg, const struct sluice_dp_peer *o)
{
	return put_peer_key(msg, o) && put_u32(msg, SLUICE_PEER_A_CLASS, o->class) &&
	       (!o->name || put_text(msg, SLUICE_PEER_A_NAME, o->name));
}

bool sluice_nl_put_peer(struct nl_msg *msg, const struct sluice_dp_peer *o, bool key_only)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_PEER);

	return close_nest(msg, nest, nest && (key_only ? put_peer_key(msg, o) : put_peer(msg, o)));
}

bool sluice_nl_put_dumped_peer(struct nl_msg *msg, const struct sluice_dp_peer *o,
			       uint32_t revision)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_PEER);

	return close_nest(msg, nest,
			  nest && put_peer(msg, o) &&
				  put_u32(msg, SLUICE_PEER_A_REVISION, revision));
}

static bool put_rule(struct nl_msg *msg, const struct sluice_dp_rule *o)
{
	return put_u32(msg, SLUICE_RULE_A_ID, o->id) &&
	       put_text(msg, SLUICE_RULE_A_POLICY, o->policy) &&
	       put_text(msg, SLUICE_RULE_A_RULE, o->rule);
}

bool sluice_nl_put_rule(struct nl_msg *msg, const struct sluice_dp_rule *o, bool key_only)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_RULE);

	return close_nest(msg, nest,
			  nest && (key_only ? put_u32(msg, SLUICE_RULE_A_ID, o->id) :
					      put_rule(msg, o)));
}

bool sluice_nl_put_dumped_rule(struct nl_msg *msg, const struct sluice_dp_rule *o,
			       uint32_t revision)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_RULE);

	return close_nest(msg, nest,
			  nest && put_rule(msg, o) &&
				  put_u32(msg, SLUICE_RULE_A_REVISION, revision));
}

static bool put_endpoint(struct nl_msg *msg, const struct sluice_dp_endpoint *o, uint32_t flags)
{
	bool good = put_u32(msg, SLUICE_ENDPOINT_A_IFINDEX, o->ifindex) &&
		    put_text(msg, SLUICE_ENDPOINT_A_NAME, o->name) &&
		    put_text(msg, SLUICE_ENDPOINT_A_CONTAINER, o->container) &&
		    put_u32(msg, SLUICE_ENDPOINT_A_INGRESS, o->ingress) &&
		    put_u32(msg, SLUICE_ENDPOINT_A_EGRESS, o->egress) &&
		    put_u32(msg, SLUICE_ENDPOINT_A_FLAGS, flags);

	for (uint32_t i = 0; good && i < o->n_addrs; i++)
		good = put_addr(msg, SLUICE_ENDPOINT_A_ADDR, &o->addrs[i].addr, o->addrs[i].family);
	return good;
}

bool sluice_nl_put_endpoint(struct nl_msg *msg, const struct sluice_dp_endpoint *o, bool key_only)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_ENDPOINT);
	bool good = nest;

	if (good && key_only)
		good = put_u32(msg, SLUICE_ENDPOINT_A_IFINDEX, o->ifindex);
	else if (good)
		good = put_endpoint(msg, o, o->open ? SLUICE_ENDPOINT_OPEN : 0);
	return close_nest(msg, nest, good);
}

bool sluice_nl_put_dumped_endpoint(struct nl_msg *msg, const struct sluice_dp_endpoint *o,
				   const char *ifname, uint32_t revision)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_ENDPOINT);
	uint32_t flags = (o->open ? SLUICE_ENDPOINT_OPEN : 0) |
			 (o->ingress ? SLUICE_ENDPOINT_INGRESS : 0) |
			 (o->egress ? SLUICE_ENDPOINT_EGRESS : 0);

	return close_nest(msg, nest,
			  nest && put_endpoint(msg, o, flags) &&
				  put_text(msg, SLUICE_ENDPOINT_A_IFNAME, ifname) &&
				  put_u32(msg, SLUICE_ENDPOINT_A_REVISION, revision));
}

bool sluice_nl_put_uplink(struct nl_msg *msg, const struct sluice_dp_uplink *o)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_UPLINK);

	return close_nest(msg, nest, nest && put_u32(msg, SLUICE_UPLINK_A_IFINDEX, o->ifindex));
}

bool sluice_nl_put_dumped_uplink(struct nl_msg *msg, const struct sluice_nl_uplink *o)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_UPLINK);

	return close_nest(msg, nest,
			  nest && put_u32(msg, SLUICE_UPLINK_A_IFINDEX, o->ifindex) &&
				  put_text(msg, SLUICE_UPLINK_A_IFNAME, o->ifname) &&
				  put_u32(msg, SLUICE_UPLINK_A_REVISION, o->revision));
}

bool sluice_nl_put_ruleset(struct nl_msg *msg, uint32_t id, uint32_t size, uint32_t offset,
			   const void *data, uint32_t len)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_RULESET);
	bool good = nest && put_u32(msg, SLUICE_RULESET_A_ID, id);

	if (good && len)
		good = put_u32(msg, SLUICE_RULESET_A_SIZE, size) &&
		       put_u32(msg, SLUICE_RULESET_A_OFFSET, offset) &&
		       !nla_put(msg, SLUICE_RULESET_A_DATA, (int)len, data);
	return close_nest(msg, nest, good);
}

bool sluice_nl_put_dumped_ruleset(struct nl_msg *msg, const struct sluice_nl_ruleset *o)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_RULESET);

	return close_nest(msg, nest,
			  nest && put_u32(msg, SLUICE_RULESET_A_ID, o->id) &&
				  put_u32(msg, SLUICE_RULESET_A_SIZE, o->size) &&
				  put_u32(msg, SLUICE_RULESET_A_RULES, o->rules) &&
				  put_u32(msg, SLUICE_RULESET_A_CLASSES, o->classes) &&
				  put_u32(msg, SLUICE_RULESET_A_ENDPOINTS, o->endpoints) &&
				  !nla_put(msg, SLUICE_RULESET_A_RULE_IDS,
					   (int)(o->n_rule_ids * sizeof(uint32_t)), o->rule_ids) &&
				  put_u32(msg, SLUICE_RULESET_A_REVISION, o->revision));
}

static bool put_tuple(struct nl_msg *msg, int type, const struct sluice_nl_tuple *o)
{
	struct nlattr *nest = open_nest(msg, type);
	uint32_t has = o->has;
	bool good = nest;

	if (good && has & SLUICE_NL_HAS(SLUICE_TUPLE_A_SRC))
		good = put_addr(msg, SLUICE_TUPLE_A_SRC, &o->t.src, o->t.family);
	if (good && has & SLUICE_NL_HAS(SLUICE_TUPLE_A_DST))
		good = put_addr(msg, SLUICE_TUPLE_A_DST, &o->t.dst, o->t.family);
	if (good && has & SLUICE_NL_HAS(SLUICE_TUPLE_A_SPORT))
		good = put_port(msg, SLUICE_TUPLE_A_SPORT, ntohs(o->t.sport));
	if (good && has & SLUICE_NL_HAS(SLUICE_TUPLE_A_DPORT))
		good = put_port(msg, SLUICE_TUPLE_A_DPORT, ntohs(o->t.dport));
	if (good && has & SLUICE_NL_HAS(SLUICE_TUPLE_A_PROTO))
		good = put_u8(msg, SLUICE_TUPLE_A_PROTO, o->t.proto);
	return close_nest(msg, nest, good);
}

static bool put_conn(struct nl_msg *msg, int type, const struct sluice_nl_conn *o)
{
	struct nlattr *nest = open_nest(msg, type);
	bool good = nest;

#define PUT(attr, expr)                                   \
	do {                                              \
		if (good && o->has & SLUICE_NL_HAS(attr)) \
			good = (expr);                    \
	} while (0)
#define PUT_U8(attr, value) PUT(attr, put_u8(msg, attr, value))
#define PUT_U32(attr, value) PUT(attr, put_u32(msg, attr, value))
#define PUT_U64(attr, value) PUT(attr, put_u64(msg, attr, value))
	PUT(SLUICE_CONN_A_ORIGINAL, put_tuple(msg, SLUICE_CONN_A_ORIGINAL, &o->original));
	PUT(SLUICE_CONN_A_REPLY, put_tuple(msg, SLUICE_CONN_A_REPLY, &o->reply));
	PUT_U8(SLUICE_CONN_A_STATE, o->state);
	PUT_U32(SLUICE_CONN_A_FLAGS, o->flags);
	PUT_U32(SLUICE_CONN_A_TIMEOUT, o->timeout);
	PUT_U8(SLUICE_CONN_A_VERDICT, o->verdict);
	PUT_U8(SLUICE_CONN_A_REASON, o->reason);
	PUT_U8(SLUICE_CONN_A_STAGED_VERDICT, o->staged_verdict);
	PUT_U32(SLUICE_CONN_A_EGRESS_RULE, o->rule[0]);
	PUT_U32(SLUICE_CONN_A_INGRESS_RULE, o->rule[1]);
	PUT_U32(SLUICE_CONN_A_STAGED_EGRESS_RULE, o->staged_rule[0]);
	PUT_U32(SLUICE_CONN_A_STAGED_INGRESS_RULE, o->staged_rule[1]);
	PUT_U64(SLUICE_CONN_A_PACKETS_ORIGINAL, o->packets[0]);
	PUT_U64(SLUICE_CONN_A_PACKETS_REPLY, o->packets[1]);
	PUT_U64(SLUICE_CONN_A_BYTES_ORIGINAL, o->bytes[0]);
	PUT_U64(SLUICE_CONN_A_BYTES_REPLY, o->bytes[1]);
	PUT(SLUICE_CONN_A_TCP, !nla_put(msg, SLUICE_CONN_A_TCP, sizeof(o->tcp), o->tcp));
	PUT_U32(SLUICE_CONN_A_AGE, o->age);
#undef PUT_U64
#undef PUT_U32
#undef PUT_U8
#undef PUT
	return close_nest(msg, nest, good);
}

bool sluice_nl_put_conn(struct nl_msg *msg, const struct sluice_nl_conn *o)
{
	return put_conn(msg, SLUICE_A_CONN, o);
}

bool sluice_nl_put_event(struct nl_msg *msg, const struct sluice_nl_event *o)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_EVENT);

	return close_nest(msg, nest,
			  nest && put_u8(msg, SLUICE_EVENT_A_TYPE, o->type) &&
				  put_u32(msg, SLUICE_EVENT_A_SEQUENCE, o->sequence) &&
				  put_u64(msg, SLUICE_EVENT_A_TIME, o->time) &&
				  put_conn(msg, SLUICE_EVENT_A_CONN, &o->conn));
}

bool sluice_nl_put_trace(struct nl_msg *msg, const struct sluice_tuple *t)
{
	struct sluice_nl_tuple tuple = { .t = *t, .has = ~0U };
	struct nlattr *nest = open_nest(msg, SLUICE_A_TRACE);

	return close_nest(msg, nest, nest && put_tuple(msg, SLUICE_TRACE_A_TUPLE, &tuple));
}

bool sluice_nl_put_traced(struct nl_msg *msg, const struct sluice_tuple *t,
			  const struct sluice_nl_trace *o)
{
	static const int sides[2][3] = {
		{ SLUICE_TRACE_A_EGRESS_VERDICT, SLUICE_TRACE_A_EGRESS_REASON,
		  SLUICE_TRACE_A_EGRESS_RULE },
		{ SLUICE_TRACE_A_INGRESS_VERDICT, SLUICE_TRACE_A_INGRESS_REASON,
		  SLUICE_TRACE_A_INGRESS_RULE },
	};
	struct sluice_nl_tuple asked = { .t = *t, .has = ~0U };
	struct sluice_nl_tuple backend = {
		.t = { .dst = o->backend, .dport = htons(o->backend_port), .family = o->family },
		.has = SLUICE_NL_HAS(SLUICE_TUPLE_A_DST) | SLUICE_NL_HAS(SLUICE_TUPLE_A_DPORT),
	};
	struct nlattr *nest = open_nest(msg, SLUICE_A_TRACE);
	bool good = nest && put_tuple(msg, SLUICE_TRACE_A_TUPLE, &asked) &&
		    put_u8(msg, SLUICE_TRACE_A_VERDICT, o->verdict) &&
		    put_u8(msg, SLUICE_TRACE_A_REASON, o->reason) &&
		    put_u8(msg, SLUICE_TRACE_A_STAGED_VERDICT, o->staged_verdict);

	for (int i = 0; good && i < 2; i++)
		if (o->dir[i].judged)
			good = put_u8(msg, sides[i][0], o->dir[i].verdict) &&
			       put_u8(msg, sides[i][1], o->dir[i].reason) &&
			       put_u32(msg, sides[i][2], o->dir[i].rule);
	if (good && o->service)
		good = put_text(msg, SLUICE_TRACE_A_SERVICE, o->service);
	if (good && o->has_backend)
		good = put_tuple(msg, SLUICE_TRACE_A_BACKEND, &backend);
	return close_nest(msg, nest, good);
}

bool sluice_nl_put_info(struct nl_msg *msg, const struct sluice_nl_info *o)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_INFO);

	return close_nest(msg, nest,
			  nest && put_text(msg, SLUICE_INFO_A_VERSION, o->version) &&
				  put_u32(msg, SLUICE_INFO_A_REVISION, o->revision) &&
				  put_u32(msg, SLUICE_INFO_A_SERVICES, o->services) &&
				  put_u32(msg, SLUICE_INFO_A_BACKENDS, o->backends) &&
				  put_u32(msg, SLUICE_INFO_A_PEERS, o->peers) &&
				  put_u32(msg, SLUICE_INFO_A_RULES, o->rules) &&
				  put_u32(msg, SLUICE_INFO_A_RULESETS, o->rulesets) &&
				  put_u32(msg, SLUICE_INFO_A_ENDPOINTS, o->endpoints) &&
				  put_u32(msg, SLUICE_INFO_A_UPLINKS, o->uplinks) &&
				  put_u32(msg, SLUICE_INFO_A_CONNS, o->conns) &&
				  put_u64(msg, SLUICE_INFO_A_CONN_BYTES, o->conn_bytes) &&
				  put_u64(msg, SLUICE_INFO_A_CONN_BUDGET, o->conn_budget) &&
				  put_u32(msg, SLUICE_INFO_A_BUCKETS, o->buckets) &&
				  put_u32(msg, SLUICE_INFO_A_CONN_SIZE4, o->conn_size4) &&
				  put_u32(msg, SLUICE_INFO_A_CONN_SIZE6, o->conn_size6));
}

bool sluice_nl_put_stats(struct nl_msg *msg, const struct sluice_nl_stats *o)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_STATS);

	return close_nest(msg, nest,
			  nest && !nla_put(msg, SLUICE_STATS_A_DROPS, sizeof(o->drops), o->drops) &&
				  put_u64(msg, SLUICE_STATS_A_HITS, o->hits) &&
				  put_u64(msg, SLUICE_STATS_A_MISSES, o->misses) &&
				  put_u64(msg, SLUICE_STATS_A_CREATED, o->created) &&
				  put_u64(msg, SLUICE_STATS_A_EXPIRED, o->expired) &&
				  !nla_put(msg, SLUICE_STATS_A_EVICTED, sizeof(o->evicted),
					   o->evicted) &&
				  put_u64(msg, SLUICE_STATS_A_REJUDGED, o->rejudged) &&
				  put_u64(msg, SLUICE_STATS_A_CUT, o->cut) &&
				  put_u64(msg, SLUICE_STATS_A_REMAPPED, o->remapped) &&
				  put_u64(msg, SLUICE_STATS_A_FAST_POD, o->fast_pod) &&
				  put_u64(msg, SLUICE_STATS_A_FAST_UPLINK, o->fast_uplink) &&
				  put_u64(msg, SLUICE_STATS_A_STACK, o->stack) &&
				  put_u64(msg, SLUICE_STATS_A_FOREIGN, o->foreign) &&
				  put_u64(msg, SLUICE_STATS_A_FRAGMENTS, o->fragments) &&
				  put_u64(msg, SLUICE_STATS_A_EVENTS_LOST, o->events_lost));
}

bool sluice_nl_put_conn_budget(struct nl_msg *msg, uint64_t bytes)
{
	struct nlattr *nest = open_nest(msg, SLUICE_A_CONFIG);

	return close_nest(msg, nest, nest && put_u64(msg, SLUICE_CONFIG_A_CONN_BUDGET, bytes));
}

/* Text ***********************************************************************************/

bool sluice_nl_object_text(const struct nlattr *nla, char *text)
{
	struct nlattr *nest = (struct nlattr *)nla;
	char addr[SLUICE_ADDR_TEXT];
	struct nlattr *a[MAX_ATTRS];
	const char *name;

	switch (nla_type(nla)) {
	case SLUICE_A_SERVICE:
		if (parse_nest(SLUICE_A_SERVICE, nest, a, NULL))
			return false;
		name = get_text(a[SLUICE_SERVICE_A_NAME]);
		if (!*name) {
			struct sluice_addr ip;
			uint8_t family = get_addr(a[SLUICE_SERVICE_A_ADDR], &ip);

			if (!family)
				return false;
			name = sluice_address_port_format(&ip, family,
							  get_port(a[SLUICE_SERVICE_A_PORT]), addr);
		}
		snprintf(text, SLUICE_NL_OBJECT_TEXT, "service %s", name);
		return true;
	case SLUICE_A_PEER: {
		struct sluice_nl_peer peer;
		struct sluice_cidr cidr;

		if (sluice_nl_parse_peer(nest, &peer, NULL))
			return false;
		cidr = (struct sluice_cidr){ peer.addr, peer.plen, peer.family };
		snprintf(text, SLUICE_NL_OBJECT_TEXT, "peer %s", sluice_cidr_format(&cidr, addr));
		return true;
	}
	case SLUICE_A_RULE: {
		struct sluice_nl_rule rule;

		if (sluice_nl_parse_rule(nest, &rule, NULL))
			return false;
		if (*rule.policy)
			snprintf(text, SLUICE_NL_OBJECT_TEXT, "rule %u (%.300s %.100s)", rule.id,
				 rule.policy, rule.rule);
		else
			snprintf(text, SLUICE_NL_OBJECT_TEXT, "rule %u", rule.id);
		return true;
	}
	case SLUICE_A_RULESET:
		if (parse_nest(SLUICE_A_RULESET, nest, a, NULL) || !a[SLUICE_RULESET_A_ID])
			return false;
		snprintf(text, SLUICE_NL_OBJECT_TEXT, "ruleset %u",
			 get_u32(a[SLUICE_RULESET_A_ID]));
		return true;
	case SLUICE_A_ENDPOINT:
		if (parse_nest(SLUICE_A_ENDPOINT, nest, a, NULL))
			return false;
		snprintf(text, SLUICE_NL_OBJECT_TEXT, "endpoint %.400s (interface %u)",
			 get_text(a[SLUICE_ENDPOINT_A_NAME]),
			 get_u32(a[SLUICE_ENDPOINT_A_IFINDEX]));
		return true;
	case SLUICE_A_UPLINK:
		if (parse_nest(SLUICE_A_UPLINK, nest, a, NULL))
			return false;
		snprintf(text, SLUICE_NL_OBJECT_TEXT, "uplink (interface %u)",
			 get_u32(a[SLUICE_UPLINK_A_IFINDEX]));
		return true;
	}
	return false;
}
