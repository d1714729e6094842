// SPDX-License-Identifier: GPL-2.0-only
/*
 * Traces through the running data plane. It knows addresses, and names of pods, services and rules for
 * people to read: by these the words of a probe are turned into a packet, which the data plane then judges
 * as it would judge a real one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctl/lib/address.h"
#include "ctl/lib/alloc.h"
#include "ctl/lib/nl.h"
#include "ctl/lib/nl_object.h"
#include "ctl/sluicectl/rule_names.h"
#include "ctl/sluicectl/trace.h"

/* The addresses behind a name; one a family counts, the first that came. */
struct named {
	struct sluice_dp_addr addr[2]; /* IPv4, IPv6; family 0: none */
};

struct service {
	struct sluice_dp_addr addr;
	uint16_t port;
	uint8_t proto;
	char *name; /* "namespace/name:port" */
};

struct trace_running {
	struct sluice_nl nl;
	struct rule_names rules;
	struct sluice_map pods; /* "namespace/pod": struct named */
	struct service *services;
	size_t n_services;
	size_t cap_services;
	struct sluice_nl_trace answer; /* the last one */
	char service[SLUICE_NAME_LEN]; /* its service */
};

/* A packet before it is known which family it will have. */
struct packet {
	struct named src;
	struct named dst;
	uint8_t proto; /* ICMP stands for both */
	uint16_t port;
};

static void add_pod(struct trace_running *t, const char *name, const struct sluice_addr *addr,
		    uint8_t family)
{
	struct named **slot, *pod;

	if (!*name)
		return;
	slot = (struct named **)sluice_map_slot(&t->pods, name, strlen(name));
	if (!*slot)
		*slot = sluice_zalloc(sizeof(**slot));
	pod = *slot;
	if (!pod->addr[family == SLUICE_IPV6].family)
		pod->addr[family == SLUICE_IPV6] = (struct sluice_dp_addr){ *addr, family };
}

static int take_endpoint(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct sluice_nl_endpoint o;
	int ret;

	if (!attrs[SLUICE_A_ENDPOINT])
		return 0;
	ret = sluice_nl_parse_endpoint(attrs[SLUICE_A_ENDPOINT], &o, err);
	for (uint32_t i = 0; !ret && i < o.n_addrs; i++)
		add_pod(arg, o.name, &o.addrs[i].addr, o.addrs[i].family);
	return ret;
}

static int take_peer(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct sluice_nl_peer o;
	int ret;

	if (!attrs[SLUICE_A_PEER])
		return 0;
	ret = sluice_nl_parse_peer(attrs[SLUICE_A_PEER], &o, err);
	if (!ret && o.plen == sluice_family_bits(o.family))
		add_pod(arg, o.name, &o.addr, o.family);
	return ret;
}

static int take_service(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct trace_running *t = arg;
	struct sluice_nl_service o;
	int ret;

	if (!attrs[SLUICE_A_SERVICE])
		return 0;
	ret = sluice_nl_parse_service(attrs[SLUICE_A_SERVICE], &o, err);
	if (ret)
		return ret;
	sluice_grow(t->services, t->n_services, t->cap_services);
	t->services[t->n_services++] =
		(struct service){ { o.addr, o.family }, o.port, o.proto, sluice_strdup(o.name) };
	return 0;
}

struct trace_running *trace_running_open(struct sluice_err *err)
{
	static const struct {
		uint8_t cmd;
		sluice_nl_handler handle;
	} dumps[] = {
		/* Endpoints first: the addresses that a pod of this node has count, not what is planned. */
		{ SLUICE_CMD_GET_ENDPOINT, take_endpoint },
		{ SLUICE_CMD_GET_PEER, take_peer },
		{ SLUICE_CMD_GET_SERVICE, take_service },
	};
	struct trace_running *t = sluice_zalloc(sizeof(*t));
	int ret;

	ret = sluice_nl_open(&t->nl, err);
	if (!ret)
		ret = rule_names_load(&t->rules, &t->nl, err);
	for (size_t i = 0; !ret && i < sizeof(dumps) / sizeof(dumps[0]); i++)
		ret = sluice_nl_dump(&t->nl, sluice_nl_message(&t->nl, dumps[i].cmd, 0, err),
				     dumps[i].handle, t, err);
	if (!ret)
		return t;
	trace_running_close(t);
	return NULL;
}

void trace_running_close(struct trace_running *t)
{
	for (size_t i = 0; i < t->n_services; i++)
		free(t->services[i].name);
	free(t->services);
	sluice_map_clear(&t->pods, free);
	rule_names_clear(&t->rules);
	sluice_nl_close(&t->nl);
	free(t);
}

/* An address or "namespace/pod". */
static int resolve_host(const struct trace_running *t, const char *text, const char *field,
			struct named *host, struct sluice_err *err)
{
	struct sluice_dp_addr addr;
	const struct named *pod;

	if (sluice_address_parse(text, &addr)) {
		host->addr[addr.family == SLUICE_IPV6] = addr;
		return 0;
	}
	pod = sluice_map_get(&t->pods, text, strlen(text));
	if (!pod)
		return sluice_err_set(
			err, ENOENT,
			"\"%s\": %s is neither an address nor a pod that this node knows", field,
			text);
	*host = *pod;
	return 0;
}

static bool parse_port(const char *text, uint16_t *port)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || !value || value > 65535)
		return false;
	*port = value;
	return true;
}

/* "svc:namespace/name", by the number or the name of the port, or the only one there is. */
static int resolve_service(const struct trace_running *t, const struct sluice_probe *probe,
			   struct packet *packet, struct sluice_err *err)
{
	const char *want = probe->to + strlen("svc:");
	size_t len = strlen(want);
	uint16_t port = 0;
	bool named = probe->port && !parse_port(probe->port, &port), known = false;

	for (size_t i = 0; i < t->n_services; i++) {
		const struct service *s = &t->services[i];

		if (strncmp(s->name, want, len) || s->name[len] != ':')
			continue;
		known = true;
		if (s->proto != packet->proto ||
		    (probe->port &&
		     (named ? strcmp(s->name + len + 1, probe->port) != 0 : s->port != port)))
			continue;
		if (packet->port && packet->port != s->port)
			return sluice_err_set(err, EINVAL, "service %s has several ports: name one",
					      want);
		packet->port = s->port;
		packet->dst.addr[s->addr.family == SLUICE_IPV6] = s->addr;
	}
	if (!known)
		return sluice_err_set(err, ENOENT, "\"to\": there is no service %s on this node",
				      want);
	if (packet->port)
		return 0;
	if (named)
		return sluice_err_set(err, ENOENT, "service %s has no %s port %s", want,
				      sluice_protocol_name(packet->proto), probe->port);
	if (!port)
		return sluice_err_set(err, EINVAL, "service %s has no %s port", want,
				      sluice_protocol_name(packet->proto));
	/* The address, and a port that the service does not have: as a client might try it. */
	for (size_t i = 0; i < t->n_services; i++) {
		const struct service *s = &t->services[i];

		if (!strncmp(s->name, want, len) && s->name[len] == ':')
			packet->dst.addr[s->addr.family == SLUICE_IPV6] = s->addr;
	}
	packet->port = port;
	return 0;
}

static int resolve(const struct trace_running *t, const struct sluice_probe *probe,
		   struct packet *packet, struct sluice_err *err)
{
	const char *protocol = probe->protocol ?: "TCP";
	bool icmp = !strcasecmp(protocol, "ICMP") || !strcasecmp(protocol, "ICMPv6");
	int ret;

	*packet = (struct packet){ 0 };
	if (!probe->from || !probe->to)
		return sluice_err_set(err, EINVAL, "\"%s\" is missing",
				      probe->from ? "to" : "from");
	if (icmp)
		packet->proto = SLUICE_PROTO_ICMP;
	else if (!strcasecmp(protocol, "TCP"))
		packet->proto = SLUICE_PROTO_TCP;
	else if (!strcasecmp(protocol, "UDP"))
		packet->proto = SLUICE_PROTO_UDP;
	else if (!strcasecmp(protocol, "SCTP"))
		packet->proto = SLUICE_PROTO_SCTP;
	else
		return sluice_err_set(err, EINVAL, "\"protocol\": %s is not TCP, UDP, SCTP or ICMP",
				      protocol);
	ret = resolve_host(t, probe->from, "from", &packet->src, err);
	if (ret)
		return ret;
	if (!strncmp(probe->to, "svc:", 4) && !icmp)
		return resolve_service(t, probe, packet, err);
	ret = resolve_host(t, probe->to, "to", &packet->dst, err);
	if (ret || icmp)
		return ret;
	if (!probe->port)
		return sluice_err_set(err, EINVAL, "\"port\" is missing");
	if (!parse_port(probe->port, &packet->port))
		return sluice_err_set(err, EINVAL,
				      "\"port\": %s is not a number, and names of pods' ports are "
				      "not known here",
				      probe->port);
	return 0;
}

/* The packet in a family that both ends have, IPv4 first. */
static int choose_family(const struct sluice_probe *probe, const struct packet *packet,
			 struct sluice_tuple *tuple, struct sluice_err *err)
{
	for (int i = 0; i < 2; i++) {
		if (!packet->src.addr[i].family || !packet->dst.addr[i].family)
			continue;
		*tuple = (struct sluice_tuple){
			.src = packet->src.addr[i].addr,
			.dst = packet->dst.addr[i].addr,
			.dport = htons(packet->port),
			.proto = packet->proto,
			.family = packet->src.addr[i].family,
		};
		if (packet->proto == SLUICE_PROTO_ICMP) {
			/* An echo request: type << 8 | code. */
			tuple->proto = i ? SLUICE_PROTO_ICMPV6 : SLUICE_PROTO_ICMP;
			tuple->dport = htons(i ? 128 << 8 : 8 << 8);
		}
		return 0;
	}
	return sluice_err_set(err, EINVAL, "%s and %s have no address family in common",
			      probe->from, probe->to);
}

static int take_trace(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct trace_running *t = arg;
	int ret;

	if (!attrs[SLUICE_A_TRACE])
		return 0;
	ret = sluice_nl_parse_trace(attrs[SLUICE_A_TRACE], &t->answer, err);
	if (ret)
		return ret;
	/* The message is gone when the call returns. */
	snprintf(t->service, sizeof(t->service), "%s", t->answer.service ?: "");
	t->answer.service = NULL;
	return 0;
}

static void fill_side(const struct trace_running *t, int dir, struct sluice_probe_side *side)
{
	const struct sluice_nl_trace *trace = &t->answer;
	const struct rule_name *name = rule_names_find(&t->rules, trace->dir[dir].rule);

	*side = (struct sluice_probe_side){ .verdict = SLUICE_VERDICT_NONE };
	if (!trace->dir[dir].judged)
		return;
	side->verdict = trace->dir[dir].verdict;
	side->reason = trace->dir[dir].reason;
	side->policy = name ? name->policy : NULL;
	side->rule = name ? name->rule : NULL;
}

int trace_running_probe(struct trace_running *t, const struct sluice_probe *probe,
			struct sluice_probe_result *result, struct sluice_err *err)
{
	const struct sluice_nl_trace *trace = &t->answer;
	struct sluice_tuple tuple;
	struct packet packet;
	struct nl_msg *msg;
	int ret;

	ret = resolve(t, probe, &packet, err);
	if (!ret)
		ret = choose_family(probe, &packet, &tuple, err);
	if (ret)
		return ret;
	t->answer = (struct sluice_nl_trace){ 0 };
	msg = sluice_nl_message(&t->nl, SLUICE_CMD_TRACE, 0, err);
	if (msg)
		sluice_nl_put_trace(msg, &tuple);
	ret = sluice_nl_call(&t->nl, msg, take_trace, t, err);
	if (ret)
		return ret;
	*result =
		(struct sluice_probe_result){ .verdict = trace->verdict, .reason = trace->reason };
	fill_side(t, 0, &result->egress);
	fill_side(t, 1, &result->ingress);
	result->service = *t->service ? t->service : NULL;
	if (trace->has_backend)
		sluice_address_port_format(&trace->backend, trace->family, trace->backend_port,
					   result->backend);
	return 0;
}
