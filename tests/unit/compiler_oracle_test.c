// SPDX-License-Identifier: GPL-2.0-only
/*
 * The compiler and core against a naive oracle.
 *
 * A small random cluster changes at random, object by object. After each change
 *
 * 1. packets between random ends are judged twice: by the memory data plane that was kept up to
 *    date incrementally, and by an oracle that walks the JSON of NetworkPolicies and
 *    ClusterNetworkPolicies as their documentation words their meaning, sharing no code with the
 *    compiler, not even the decoder or the address arithmetic. Verdict, reason, the deciding rule and
 *    the backend must agree;
 * 2. that data plane must hold exactly what a compiler that starts from nothing makes.
 *
 * Some transactions fail half way, at a random message, and the next one must repair everything.
 */
#include "tap.h"

#include <arpa/inet.h>
#include <jansson.h>

#include "ctl/lib/compiler.h"
#include "ctl/lib/dataplane_memory.h"

#define NAMESPACES 4
#define PODS 14
#define NODES 3
#define POLICIES 7
#define CLUSTER_POLICIES 5
#define SERVICES 5
#define SLICES 3

enum { ROUNDS = 40, STEPS = 25, PROBES = 60 };

/* The cluster, as JSON; NULL: not there. */
static struct world {
	json_t *namespaces[NAMESPACES], *pods[PODS], *policies[POLICIES], *services[SERVICES];
	json_t *slices[SLICES], *nodes[NODES], *cluster[CLUSTER_POLICIES];
	bool attached[PODS]; /* on this node; meaningless under all */
	bool all;
} w;

/* ---- making things up ---- */

static const char *pick(const char *const *v, uint32_t n)
{
	return v[tap_below(n)];
}

#define PICK(...)                                  \
	pick((const char *const[]){ __VA_ARGS__ }, \
	     sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static json_t *random_labels(void)
{
	json_t *labels = json_object();

	if (!tap_one_in(4))
		json_object_set_new(labels, "app", json_string(PICK("a", "b", "c")));
	if (!tap_one_in(3))
		json_object_set_new(labels, "tier", json_string(PICK("x", "y")));
	if (tap_one_in(4))
		json_object_set_new(labels, "env", json_string(""));
	return labels;
}

static json_t *random_expression(void)
{
	json_t *e = json_object(), *values;
	uint32_t n = 1 + tap_below(2);

	json_object_set_new(e, "key", json_string(PICK("app", "tier", "env", "other")));
	json_object_set_new(e, "operator",
			    json_string(PICK("In", "NotIn", "Exists", "DoesNotExist")));
	if (strlen(json_string_value(json_object_get(e, "operator"))) > 5)
		return e;
	values = json_array();
	while (n--)
		json_array_append_new(values, json_string(PICK("a", "b", "x", "y", "")));
	json_object_set_new(e, "values", values);
	return e;
}

static json_t *random_selector(void)
{
	json_t *s = json_object(), *list;

	if (tap_one_in(4))
		return s;
	if (!tap_one_in(3)) {
		json_t *labels = random_labels();

		json_object_del(labels, tap_one_in(2) ? "app" : "tier");
		json_object_set_new(s, "matchLabels", labels);
	}
	if (tap_one_in(3)) {
		list = json_array();
		json_array_append_new(list, random_expression());
		if (tap_one_in(3))
			json_array_append_new(list, random_expression());
		json_object_set_new(s, "matchExpressions", list);
	}
	return s;
}

/* Pods have addresses from 10.0.0.0/22 and fd00::/109, so that blocks cut between them. */
static void pod_address(char *buf, uint32_t number, int family)
{
	if (family == 4)
		sprintf(buf, "10.0.%u.%u", number % 4, number * 7 % 32);
	else
		sprintf(buf, "fd00::%x:%x", 1 + number % 4, number * 7 % 32);
}

static json_t *random_block(void)
{
	json_t *b = json_object(), *except = json_array();
	int family = tap_one_in(3) ? 6 : 4;
	uint32_t base = tap_below(5) * 8, n = tap_below(3);
	const char *prefix = "";
	char cidr[64];

	if (family == 4) {
		static const uint32_t lengths[] = { 0, 8, 22, 23, 24, 28, 30, 32 };

		base = lengths[tap_below(8)];
		sprintf(cidr, "10.0.%u.%u/%u", tap_below(4), tap_below(32), base);
	} else {
		static const uint32_t lengths[] = { 0, 16, 111, 112, 124, 126, 128 };

		base = lengths[tap_below(7)];
		sprintf(cidr, "fd00::%x:%x/%u", 1 + tap_below(4), tap_below(32), base);
	}
	json_object_set_new(b, "cidr", json_string(cidr));
	/* Excepts inside it: the same address, perhaps its low bits flipped, with a longer prefix. */
	for (; n && base < (family == 4 ? 32u : 128u); n--) {
		uint32_t most = family == 4 ? 32 : 128;
		uint32_t plen = base + 1 + tap_below(most - base);
		char x[64];

		prefix = json_string_value(json_object_get(b, "cidr"));
		snprintf(x, sizeof(x), "%.*s/%u", (int)strcspn(prefix, "/"), prefix, plen);
		json_array_append_new(except, json_string(x));
	}
	if (json_array_size(except))
		json_object_set(b, "except", except);
	json_decref(except);
	return b;
}

static json_t *random_peer(void)
{
	json_t *p = json_object();
	uint32_t kind = tap_below(4);

	if (kind == 0) {
		json_object_set_new(p, "ipBlock", random_block());
		return p;
	}
	if (kind != 1)
		json_object_set_new(p, "podSelector", random_selector());
	if (kind != 2)
		json_object_set_new(p, "namespaceSelector", random_selector());
	return p;
}

static json_t *random_port(void)
{
	json_t *p = json_object();
	uint32_t kind = tap_below(4);

	if (!tap_one_in(3))
		json_object_set_new(p, "protocol", json_string(PICK("TCP", "UDP", "SCTP")));
	if (kind == 0)
		return p;
	if (kind == 1) {
		json_object_set_new(p, "port", json_string(PICK("http", "dns", "nowhere")));
		return p;
	}
	json_object_set_new(p, "port", json_integer(78 + tap_below(6)));
	if (kind == 2)
		json_object_set_new(p, "endPort", json_integer(83 + tap_below(3)));
	return p;
}

static json_t *random_list(json_t *(*make)(void), uint32_t most)
{
	json_t *list = json_array();
	uint32_t n = tap_below(most + 1);

	while (n--)
		json_array_append_new(list, make());
	return list;
}

static json_t *random_rules(const char *peers)
{
	json_t *list = json_array();
	uint32_t n = tap_below(4);

	while (n--) {
		json_t *r = json_object();

		if (!tap_one_in(5))
			json_object_set_new(r, peers, random_list(random_peer, 3));
		if (!tap_one_in(3))
			json_object_set_new(r, "ports", random_list(random_port, 3));
		json_array_append_new(list, r);
	}
	return list;
}

static json_t *make_object(const char *api, const char *kind, const char *name, int ns,
			   json_t *labels)
{
	json_t *o = json_pack("{s:s, s:s, s:{s:s, s:o}}", "apiVersion", api, "kind", kind,
			      "metadata", "name", name, "labels", labels);
	char text[16];

	if (ns >= 0) {
		sprintf(text, "n%d", ns);
		json_object_set_new(json_object_get(o, "metadata"), "namespace", json_string(text));
	}
	return o;
}

/* An object lives in the namespace of its number, so that its key stays the same. */
static int home(int number)
{
	return number % 3;
}

static json_t *random_policy(int i)
{
	json_t *spec = json_object(), *types = json_array(), *o;
	char name[16];

	json_object_set_new(spec, "podSelector", random_selector());
	if (!tap_one_in(4))
		json_object_set_new(spec, "ingress", random_rules("from"));
	if (!tap_one_in(4))
		json_object_set_new(spec, "egress", random_rules("to"));
	if (tap_one_in(2))
		json_array_append_new(types, json_string("Ingress"));
	if (tap_one_in(2))
		json_array_append_new(types, json_string("Egress"));
	if (!tap_one_in(3))
		json_object_set(spec, "policyTypes", types);
	json_decref(types);
	sprintf(name, "np%d", i);
	o = make_object("networking.k8s.io/v1", "NetworkPolicy", name, home(i), json_object());
	json_object_set_new(o, "spec", spec);
	return o;
}

static json_t *random_namespaced_pod(void)
{
	return json_pack("{s:o, s:o}", "namespaceSelector", random_selector(), "podSelector",
			 random_selector());
}

/* Empty: what only a newer definition of the API can have given. */
static json_t *random_cluster_peer(bool egress)
{
	json_t *p = json_object(), *networks;
	uint32_t n = 1 + tap_below(2);

	switch (tap_below(egress ? 16 : 10)) {
	case 0:
		if (tap_one_in(2))
			break;
		if (egress)
			json_object_set_new(p, "domainNames", json_pack("[s]", "example.org"));
		break;
	case 1:
	case 2:
	case 3:
	case 4:
		json_object_set_new(p, "namespaces", random_selector());
		break;
	case 10:
	case 11:
		json_object_set_new(p, "nodes", random_selector());
		break;
	case 12:
	case 13:
	case 14:
	case 15:
		networks = json_array();
		while (n--) {
			json_t *block = random_block();

			json_array_append(networks, json_object_get(block, "cidr"));
			json_decref(block);
		}
		json_object_set_new(p, "networks", networks);
		break;
	default:
		json_object_set_new(p, "pods", random_namespaced_pod());
		break;
	}
	return p;
}

static json_t *random_cluster_protocol(void)
{
	const char *proto = PICK("tcp", "udp", "sctp");
	int port = 78 + tap_below(6);

	if (tap_one_in(20))
		return json_object();
	if (tap_one_in(3))
		return json_pack("{s:s}", "destinationNamedPort", PICK("http", "dns", "nowhere"));
	if (tap_one_in(2))
		return json_pack("{s:{s:{s:i}}}", proto, "destinationPort", "number", port);
	return json_pack("{s:{s:{s:{s:i, s:i}}}}", proto, "destinationPort", "range", "start", port,
			 "end", port + 1 + (int)tap_below(3));
}

static json_t *random_cluster_rules(bool egress)
{
	json_t *list = json_array();
	uint32_t n = tap_below(4);

	while (n--) {
		json_t *r = json_object(), *peers = json_array(), *protocols = json_array();
		uint32_t k = 1 + tap_below(2);

		while (k--)
			json_array_append_new(peers, random_cluster_peer(egress));
		for (k = 1 + tap_below(2); k; k--)
			json_array_append_new(protocols, random_cluster_protocol());
		json_object_set_new(r, "action", json_string(PICK("Accept", "Deny", "Pass")));
		if (tap_one_in(3))
			json_object_set_new(r, "name", json_string(PICK("a", "two words")));
		json_object_set_new(r, egress ? "to" : "from", peers);
		if (tap_one_in(2))
			json_object_set(r, "protocols", protocols);
		json_decref(protocols);
		json_array_append_new(list, r);
	}
	return list;
}

static json_t *random_cluster_policy(int i)
{
	json_t *spec = json_object(), *subject = json_object(), *o;
	char name[16];

	json_object_set_new(spec, "tier", json_string(PICK("Admin", "Baseline")));
	json_object_set_new(spec, "priority", json_integer(tap_below(3) * 500));
	if (tap_one_in(2))
		json_object_set_new(subject, "namespaces", random_selector());
	else
		json_object_set_new(subject, "pods", random_namespaced_pod());
	json_object_set_new(spec, "subject", subject);
	if (!tap_one_in(4))
		json_object_set_new(spec, "ingress", random_cluster_rules(false));
	if (!tap_one_in(4))
		json_object_set_new(spec, "egress", random_cluster_rules(true));
	sprintf(name, "cnp%d", i);
	o = make_object("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", name, -1,
			json_object());
	json_object_set_new(o, "spec", spec);
	return o;
}

/* Its addresses are among those that packets go to. */
static json_t *random_node(int i)
{
	char name[16];
	json_t *o;

	sprintf(name, "node%d", i);
	o = make_object("v1", "Node", name, -1, random_labels());
	json_object_set_new(o, "status",
			    json_pack("{s:[{s:s, s:s}, {s:s, s:s}]}", "addresses", "type",
				      "InternalIP", "address",
				      PICK("192.0.2.1", "10.9.9.9", "10.0.3.255"), "type",
				      "ExternalIP", "address", PICK("2001:db8::1", "fd00::1")));
	return o;
}

static json_t *random_pod(int i)
{
	json_t *ports = json_array(), *ips = json_array(), *o, *status;
	char name[16], ip[64];
	/* Two places for each pod; now and then somebody else's, while an address moves on. */
	uint32_t number = tap_one_in(20) ? tap_below(PODS) :
					   (uint32_t)i + (tap_one_in(4) ? PODS : 0);

	if (!tap_one_in(4))
		json_array_append_new(ports, json_pack("{s:s, s:i}", "name", "http",
						       "containerPort", tap_one_in(2) ? 80 : 81));
	if (tap_one_in(2))
		json_array_append_new(ports, json_pack("{s:s, s:i, s:s}", "name", "dns",
						       "containerPort", tap_one_in(2) ? 79 : 82,
						       "protocol", PICK("UDP", "TCP")));
	if (!tap_one_in(10)) {
		pod_address(ip, number, 4);
		json_array_append_new(ips, json_pack("{s:s}", "ip", ip));
	}
	if (!tap_one_in(4)) {
		pod_address(ip, number, 6);
		json_array_append_new(ips, json_pack("{s:s}", "ip", ip));
	}
	sprintf(name, "p%d", i);
	o = make_object("v1", "Pod", name, home(i), random_labels());
	json_object_set_new(o, "spec",
			    json_pack("{s:[{s:o}], s:b}", "containers", "ports", ports,
				      "hostNetwork", (int)tap_one_in(15)));
	status = json_pack("{s:o, s:s}", "podIPs", ips, "phase",
			   tap_one_in(12) ? PICK("Succeeded", "Pending") : "Running");
	if (tap_one_in(3))
		json_object_set_new(status, "conditions",
				    json_pack("[{s:s, s:s}]", "type", "Ready", "status",
					      tap_one_in(3) ? "False" : "True"));
	json_object_set_new(o, "status", status);
	if (tap_one_in(8))
		json_object_set_new(json_object_get(o, "metadata"), "deletionTimestamp",
				    json_string("2025-01-01T00:00:00Z"));
	return o;
}

static json_t *random_service(int i)
{
	char name[16], v4[32], v6[32];
	json_t *o, *spec, *ips;

	sprintf(name, "s%d", i);
	/* Two services may want one address; the older one has it. */
	sprintf(v4, "10.96.0.%d", tap_one_in(6) ? 1 : i + 1);
	sprintf(v6, "fd00:96::%d", i + 1);
	o = make_object("v1", "Service", name, home(i), json_object());
	ips = json_pack("[s, s]", v4, v6);
	spec = json_pack("{s:s, s:o, s:[{s:s, s:i, s:s}, {s:s, s:i, s:i}]}", "clusterIP", v4,
			 "clusterIPs", ips, "ports", "name", "web", "port", 80, "targetPort",
			 "http", "name", "alt", "port", 81, "targetPort", 79);
	if (!tap_one_in(5)) {
		json_t *labels = random_labels();

		json_object_del(labels, "env");
		json_object_set_new(spec, "selector", labels);
	}
	if (tap_one_in(5))
		json_object_set_new(spec, "publishNotReadyAddresses", json_true());
	if (tap_one_in(10))
		json_object_set_new(spec, "clusterIP", json_string("None"));
	json_object_set_new(o, "spec", spec);
	return o;
}

static json_t *random_slice(int i)
{
	json_t *endpoints = json_array(), *o;
	uint32_t n = tap_below(4);
	char name[16], text[64];

	sprintf(name, "slice%d", i);
	while (n--) {
		json_t *c = json_object();

		pod_address(text, tap_below(PODS), 4);
		if (tap_one_in(2))
			json_object_set_new(c, "ready", json_boolean(tap_one_in(2)));
		if (tap_one_in(2))
			json_object_set_new(c, "serving", json_boolean(tap_one_in(2)));
		if (tap_one_in(3))
			json_object_set_new(c, "terminating", json_true());
		json_array_append_new(endpoints, json_pack("{s:[s], s:o}", "addresses", text,
							   "conditions", c));
	}
	sprintf(text, "s%d", home(i) + 3 * (int)tap_below(2));
	o = make_object("discovery.k8s.io/v1", "EndpointSlice", name, home(i),
			json_pack("{s:s}", "kubernetes.io/service-name", text));
	json_object_set_new(o, "addressType", json_string("IPv4"));
	json_object_set_new(o, "endpoints", endpoints);
	json_object_set_new(o, "ports",
			    json_pack("[{s:s, s:i}]", "name", PICK("web", "alt"), "port",
				      (int)(80 + tap_below(3))));
	return o;
}

static json_t *random_namespace(int i)
{
	char name[16];

	sprintf(name, "n%d", i);
	return make_object("v1", "Namespace", name, -1, random_labels());
}

/* ---- the oracle: JSON in, verdict out ---- */

static const char *meta(const json_t *o, const char *field)
{
	return json_string_value(json_object_get(json_object_get(o, "metadata"), field));
}

static json_t *get(const json_t *o, const char *a, const char *b)
{
	json_t *v = json_object_get(o, a);

	return b ? json_object_get(v, b) : v;
}

static bool oracle_selector(const json_t *sel, const json_t *labels)
{
	const char *key;
	json_t *v, *e, *x;
	size_t i, k;

	json_object_foreach(json_object_get(sel, "matchLabels"), key, v)
		if (!json_equal(v, json_object_get(labels, key)))
			return false;
	json_array_foreach(json_object_get(sel, "matchExpressions"), i, e) {
		const char *op = json_string_value(json_object_get(e, "operator"));
		json_t *has = json_object_get(labels, json_string_value(json_object_get(e, "key")));
		bool in = false;

		json_array_foreach(json_object_get(e, "values"), k, x)
			in |= has && json_equal(x, has);
		if ((!strcmp(op, "In") && !in) || (!strcmp(op, "NotIn") && in) ||
		    (!strcmp(op, "Exists") && !has) || (!strcmp(op, "DoesNotExist") && has))
			return false;
	}
	return true;
}

static bool oracle_cidr(const char *cidr, const char *address)
{
	int family = strchr(address, ':') ? AF_INET6 : AF_INET, bit, plen;
	unsigned char a[16], b[16];
	char base[64];

	snprintf(base, sizeof(base), "%.*s", (int)strcspn(cidr, "/"), cidr);
	plen = atoi(strchr(cidr, '/') + 1);
	if (inet_pton(family, base, a) != 1 || inet_pton(family, address, b) != 1)
		return false;
	for (bit = 0; bit < plen; bit++)
		if ((a[bit / 8] ^ b[bit / 8]) & (0x80 >> bit % 8))
			return false;
	return true;
}

static json_t *oracle_namespace_labels(const char *ns)
{
	json_t *labels = json_object();
	int i;

	for (i = 0; i < NAMESPACES; i++)
		if (w.namespaces[i] && !strcmp(meta(w.namespaces[i], "name"), ns))
			json_object_update(labels, get(w.namespaces[i], "metadata", "labels"));
	json_object_set_new(labels, "kubernetes.io/metadata.name", json_string(ns));
	return labels;
}

/* pod: who has this address, or NULL. */
static bool oracle_peer(const json_t *peer, const char *ns, const char *address, const json_t *pod)
{
	json_t *block = json_object_get(peer, "ipBlock"), *x, *labels;
	size_t i;
	bool ok;

	if (block) {
		if (!oracle_cidr(json_string_value(json_object_get(block, "cidr")), address))
			return false;
		json_array_foreach(json_object_get(block, "except"), i, x)
			if (oracle_cidr(json_string_value(x), address))
				return false;
		return true;
	}
	if (!pod)
		return false;
	if (json_object_get(peer, "namespaceSelector")) {
		labels = oracle_namespace_labels(meta(pod, "namespace"));
		ok = oracle_selector(json_object_get(peer, "namespaceSelector"), labels);
		json_decref(labels);
	} else {
		ok = !strcmp(meta(pod, "namespace"), ns);
	}
	return ok && (!json_object_get(peer, "podSelector") ||
		      oracle_selector(json_object_get(peer, "podSelector"),
				      get(pod, "metadata", "labels")));
}

static int oracle_pod_port(const json_t *pod, const char *name, const char *proto)
{
	json_t *container, *p;
	size_t i, k;

	json_array_foreach(get(pod, "spec", "containers"), i, container) {
		json_array_foreach(json_object_get(container, "ports"), k, p) {
			const char *own = json_string_value(json_object_get(p, "protocol"));

			if (!strcmp(json_string_value(json_object_get(p, "name")), name) &&
			    !strcmp(own ? own : "TCP", proto))
				return json_integer_value(json_object_get(p, "containerPort"));
		}
	}
	return -1;
}

/* target: the pod at the destination, or NULL. */
static bool oracle_port(const json_t *p, const char *proto, int port, const json_t *target)
{
	const char *own = json_string_value(json_object_get(p, "protocol"));
	json_t *number = json_object_get(p, "port"), *end = json_object_get(p, "endPort");

	if (strcmp(own ? own : "TCP", proto))
		return false;
	if (!number)
		return true;
	if (json_is_string(number))
		return target && oracle_pod_port(target, json_string_value(number), proto) == port;
	if (end)
		return port >= json_integer_value(number) && port <= json_integer_value(end);
	return port == json_integer_value(number);
}

static bool oracle_rule(const json_t *rule, bool egress, const char *ns, const char *other_address,
			const json_t *other, const json_t *target, const char *proto, int port)
{
	json_t *peers = json_object_get(rule, egress ? "to" : "from"), *v;
	json_t *ports = json_object_get(rule, "ports");
	bool ok = !json_array_size(peers);
	size_t i;

	json_array_foreach(peers, i, v)
		ok |= oracle_peer(v, ns, other_address, other);
	if (!ok)
		return false;
	ok = !json_array_size(ports);
	json_array_foreach(ports, i, v)
		ok |= oracle_port(v, proto, port, target);
	return ok;
}

static bool oracle_isolates(const json_t *policy, bool egress)
{
	json_t *types = get(policy, "spec", "policyTypes"), *v;
	size_t i;

	if (!json_array_size(types))
		return !egress || json_array_size(get(policy, "spec", "egress"));
	json_array_foreach(types, i, v)
		if (!strcmp(json_string_value(v), egress ? "Egress" : "Ingress"))
			return true;
	return false;
}

enum oracle_verdict { OPEN, ALLOWED, DENIED };

/* only: "n1/np3 ingress[2]" asks about that one rule. */
static enum oracle_verdict oracle_side(bool egress, const json_t *subject,
				       const char *other_address, const json_t *other,
				       const json_t *target, const char *proto, int port,
				       const char *only)
{
	enum oracle_verdict verdict = OPEN;
	json_t *rule;
	size_t k;
	int i;

	for (i = 0; i < POLICIES; i++) {
		const json_t *p = w.policies[i];

		if (!p || strcmp(meta(p, "namespace"), meta(subject, "namespace")) ||
		    !oracle_isolates(p, egress) ||
		    !oracle_selector(get(p, "spec", "podSelector"),
				     get(subject, "metadata", "labels")))
			continue;
		if (verdict == OPEN)
			verdict = DENIED;
		json_array_foreach(get(p, "spec", egress ? "egress" : "ingress"), k, rule) {
			char name[80];

			snprintf(name, sizeof(name), "%s/%s %s[%zu]", meta(p, "namespace"),
				 meta(p, "name"), egress ? "egress" : "ingress", k);
			if (only && strcmp(only, name))
				continue;
			if (oracle_rule(rule, egress, meta(p, "namespace"), other_address, other,
					target, proto, port))
				verdict = ALLOWED;
		}
	}
	return verdict;
}

static bool oracle_cluster_pods(const json_t *namespaces, const json_t *pods, const json_t *pod)
{
	json_t *labels;
	bool ok;

	if (!pod)
		return false;
	labels = oracle_namespace_labels(meta(pod, "namespace"));
	ok = oracle_selector(namespaces, labels) &&
	     (!pods || oracle_selector(pods, get(pod, "metadata", "labels")));
	json_decref(labels);
	return ok;
}

/* Of a subject or a peer. */
static bool oracle_cluster_selects(const json_t *s, const json_t *pod)
{
	json_t *namespaces = json_object_get(s, "namespaces"), *pods = json_object_get(s, "pods");

	if (namespaces)
		return oracle_cluster_pods(namespaces, NULL, pod);
	return pods && oracle_cluster_pods(json_object_get(pods, "namespaceSelector"),
					   json_object_get(pods, "podSelector"), pod);
}

static bool oracle_cluster_peer(const json_t *peer, const char *address, const json_t *pod)
{
	json_t *nodes = json_object_get(peer, "nodes"), *v;
	size_t k;
	int i;

	json_array_foreach(json_object_get(peer, "networks"), k, v)
		if (oracle_cidr(json_string_value(v), address))
			return true;
	for (i = 0; nodes && i < NODES; i++) {
		if (!w.nodes[i] || !oracle_selector(nodes, get(w.nodes[i], "metadata", "labels")))
			continue;
		json_array_foreach(get(w.nodes[i], "status", "addresses"), k, v)
			if (!strcmp(json_string_value(json_object_get(v, "address")), address))
				return true;
	}
	return oracle_cluster_selects(peer, pod);
}

static bool oracle_cluster_protocol(const json_t *p, const char *proto, int port,
				    const json_t *target)
{
	static const char *const words[] = { "tcp", "udp", "sctp" };
	json_t *name = json_object_get(p, "destinationNamedPort"), *d, *range;
	int i;

	if (name)
		return target && oracle_pod_port(target, json_string_value(name), proto) == port;
	for (i = 0; i < 3; i++) {
		if (strcasecmp(words[i], proto))
			continue;
		d = get(p, words[i], "destinationPort");
		range = json_object_get(d, "range");
		if (range)
			return port >= json_integer_value(json_object_get(range, "start")) &&
			       port <= json_integer_value(json_object_get(range, "end"));
		return d && port == json_integer_value(json_object_get(d, "number"));
	}
	return false;
}

/* "If an implementation sees no fields are set", and what cannot be done. */
static bool oracle_fails_closed(const json_t *rule, bool egress)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(rule, egress ? "to" : "from"), i, v)
		if (!json_object_size(v) || json_object_get(v, "domainNames"))
			return true;
	json_array_foreach(json_object_get(rule, "protocols"), i, v)
		if (!json_object_size(v))
			return true;
	return false;
}

/* The action that a rule takes on a packet, or NULL. */
static const char *oracle_cluster_rule(const json_t *rule, bool egress, const char *other_address,
				       const json_t *other, const json_t *target, const char *proto,
				       int port)
{
	const char *action = json_string_value(json_object_get(rule, "action"));
	json_t *protocols = json_object_get(rule, "protocols"), *v;
	bool ok = false;
	size_t i;

	if (oracle_fails_closed(rule, egress))
		return strcmp(action, "Accept") ? "Deny" : NULL;
	json_array_foreach(json_object_get(rule, egress ? "to" : "from"), i, v)
		ok |= oracle_cluster_peer(v, other_address, other);
	if (!ok)
		return NULL;
	ok = !protocols;
	json_array_foreach(protocols, i, v)
		ok |= oracle_cluster_protocol(v, proto, port, target);
	return ok ? action : NULL;
}

/* By priority, equal ones by name, which their numbers are. */
static const json_t *next_cluster_policy(const char *tier, const json_t *last)
{
	const json_t *best = NULL;
	int i;

#define ORDER(p)                                                             \
	(json_integer_value(get(p, "spec", "priority")) * CLUSTER_POLICIES + \
	 atoi(meta(p, "name") + 3))
	for (i = 0; i < CLUSTER_POLICIES; i++) {
		const json_t *p = w.cluster[i];

		if (p && !strcmp(json_string_value(get(p, "spec", "tier")), tier) &&
		    (!last || ORDER(p) > ORDER(last)) && (!best || ORDER(p) < ORDER(best)))
			best = p;
	}
#undef ORDER
	return best;
}

/* What a tier decides: ALLOWED or DENIED, by name; or OPEN. */
static enum oracle_verdict oracle_tier(const char *tier, bool egress, const json_t *subject,
				       const char *other_address, const json_t *other,
				       const json_t *target, const char *proto, int port,
				       char name[80])
{
	const json_t *p = NULL;
	json_t *rule;
	size_t k;

	while ((p = next_cluster_policy(tier, p))) {
		if (!oracle_cluster_selects(get(p, "spec", "subject"), subject))
			continue;
		json_array_foreach(get(p, "spec", egress ? "egress" : "ingress"), k, rule) {
			const char *action = oracle_cluster_rule(rule, egress, other_address, other,
								 target, proto, port);
			const char *own = json_string_value(json_object_get(rule, "name"));

			if (!action)
				continue;
			if (!strcmp(action, "Pass"))
				return OPEN;
			snprintf(name, 80, "%s %s[%zu]%s%s", meta(p, "name"),
				 egress ? "egress" : "ingress", k, own ? ":" : "",
				 !own	? "" :
				 own[1] ? "two_words" :
					  own);
			return strcmp(action, "Accept") ? DENIED : ALLOWED;
		}
	}
	return OPEN;
}

static bool oracle_finished(const json_t *pod)
{
	const char *phase = json_string_value(get(pod, "status", "phase"));

	return !strcmp(phase, "Succeeded");
}

static bool has_ip(const json_t *pod, const char *ip)
{
	json_t *v;
	size_t i;

	json_array_foreach(get(pod, "status", "podIPs"), i, v)
		if (!strcmp(json_string_value(json_object_get(v, "ip")), ip))
			return true;
	return false;
}

static bool is_here(int i)
{
	const json_t *p = w.pods[i];

	if (!w.all)
		return w.attached[i];
	return p && !oracle_finished(p) && !json_is_true(get(p, "spec", "hostNetwork")) &&
	       json_array_size(get(p, "status", "podIPs"));
}

/* The one pod that has this address. Returns -1: nobody; -2: not a question for this oracle. */
static int oracle_owner(const char *ip)
{
	int i, owner = -1;

	for (i = 0; i < PODS; i++) {
		if (!w.pods[i] || !has_ip(w.pods[i], ip))
			continue;
		if (json_is_true(get(w.pods[i], "spec", "hostNetwork")))
			return -2; /* who shares a node's address is nobody policy can see */
		if (oracle_finished(w.pods[i]))
			continue;
		if (owner != -1)
			return -2;
		owner = i;
	}
	return owner;
}

struct oracle_set {
	char v[PODS + 16][80];
	size_t n;
};

static void oracle_add(struct oracle_set *s, const char *ip, int port, int family)
{
	if ((strchr(ip, ':') ? 6 : 4) != family || s->n >= PODS + 16)
		return;
	snprintf(s->v[s->n++], 80, family == 4 ? "%s:%d" : "[%s]:%d", ip, port);
}

static void oracle_backends(const json_t *svc, const char *port_name, int family,
			    struct oracle_set *s)
{
	const char *ns = meta(svc, "namespace"), *name = meta(svc, "name");
	json_t *selector = get(svc, "spec", "selector"), *v;
	bool publish = json_is_true(get(svc, "spec", "publishNotReadyAddresses"));
	bool any_slice = false;
	size_t k;
	int i, pass;

	for (i = 0; i < SLICES; i++)
		any_slice |= w.slices[i] && !strcmp(meta(w.slices[i], "namespace"), ns) &&
			     !strcmp(json_string_value(
					     json_object_get(get(w.slices[i], "metadata", "labels"),
							     "kubernetes.io/service-name")),
				     name);
	s->n = 0;
	for (pass = 0; pass < 2 && !s->n; pass++) {
		for (i = 0; i < SLICES && any_slice; i++) {
			json_t *slice = w.slices[i], *port;

			if (!slice || strcmp(meta(slice, "namespace"), ns) ||
			    strcmp(json_string_value(
					   json_object_get(get(slice, "metadata", "labels"),
							   "kubernetes.io/service-name")),
				   name))
				continue;
			port = json_array_get(json_object_get(slice, "ports"), 0);
			if (strcmp(json_string_value(json_object_get(port, "name")), port_name))
				continue;
			json_array_foreach(json_object_get(slice, "endpoints"), k, v) {
				json_t *c = json_object_get(v, "conditions");
				json_t *r = json_object_get(c, "ready");
				json_t *sv = json_object_get(c, "serving");
				bool ready = !r || json_is_true(r);
				bool serving = sv ? json_is_true(sv) : ready;
				bool term = json_is_true(json_object_get(c, "terminating"));

				if (pass ? serving && term : ready)
					oracle_add(
						s,
						json_string_value(json_array_get(
							json_object_get(v, "addresses"), 0)),
						json_integer_value(json_object_get(port, "port")),
						family);
			}
		}
		for (i = 0; i < PODS && !any_slice && json_object_size(selector); i++) {
			const json_t *p = w.pods[i];
			json_t *sel, *c, *ip;
			bool ready, term;
			int port;

			if (!p || strcmp(meta(p, "namespace"), ns) || oracle_finished(p))
				continue;
			sel = json_pack("{s:O}", "matchLabels", selector);
			ready = oracle_selector(sel, get(p, "metadata", "labels"));
			json_decref(sel);
			if (!ready)
				continue;
			c = json_array_get(get(p, "status", "conditions"), 0);
			ready = !strcmp(json_string_value(get(p, "status", "phase")), "Running") &&
				(!c ||
				 !strcmp(json_string_value(json_object_get(c, "status")), "True"));
			term = meta(p, "deletionTimestamp");
			if (pass ? !(ready && term) : !(publish || (ready && !term)))
				continue;
			port = strcmp(port_name, "web") ? 79 : oracle_pod_port(p, "http", "TCP");
			if (port < 0)
				continue;
			json_array_foreach(get(p, "status", "podIPs"), k, ip)
				oracle_add(s, json_string_value(json_object_get(ip, "ip")), port,
					   family);
		}
	}
}

/* ---- comparing ---- */

static bool in_set(const struct oracle_set *s, const char *text)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (!strcmp(s->v[i], text))
			return true;
	return false;
}

static void compare_side(struct sluice_dataplane *dp, const char *what,
			 const struct sluice_judge_side *side, bool egress, int subject,
			 const char *other_ip, int other, const json_t *target, const char *proto,
			 int port)
{
	const struct sluice_dp_rule *rule = sluice_memory_rule(dp, side->rule);
	const json_t *o = other >= 0 ? w.pods[other] : NULL;
	char by[80];
	enum oracle_verdict want =
		oracle_side(egress, w.pods[subject], other_ip, o, target, proto, port, NULL);
	enum oracle_verdict cluster =
		oracle_tier("Admin", egress, w.pods[subject], other_ip, o, target, proto, port, by);
	char name[900];

	if (cluster == OPEN && want == OPEN)
		cluster = oracle_tier("Baseline", egress, w.pods[subject], other_ip, o, target,
				      proto, port, by);
	if (cluster != OPEN) {
		snprintf(name, sizeof(name), "%s %s", rule ? rule->policy : "-",
			 rule ? rule->rule : "-");
		check(side->verdict == (cluster == DENIED ? SLUICE_VERDICT_DENY :
							    SLUICE_VERDICT_ALLOW) &&
			      side->reason == (cluster == DENIED ? SLUICE_REASON_POLICY_DENY :
								   SLUICE_REASON_POLICY_ALLOW) &&
			      !strcmp(name, by),
		      "%s: decided by %s, to be by %s", what, name, by);
		return;
	}
	switch (want) {
	case OPEN:
		check(side->verdict == SLUICE_VERDICT_ALLOW &&
			      side->reason == SLUICE_REASON_NO_POLICY && !side->rule,
		      "%s: no policy isolates it", what);
		break;
	case DENIED:
		check(side->verdict == SLUICE_VERDICT_DENY &&
			      side->reason == SLUICE_REASON_DEFAULT_DENY && rule &&
			      !strcmp(rule->rule, "default-deny"),
		      "%s: to be denied by default, not by %s", what, rule ? rule->rule : "-");
		break;
	case ALLOWED:
		if (!check(side->verdict == SLUICE_VERDICT_ALLOW &&
				   side->reason == SLUICE_REASON_POLICY_ALLOW && rule,
			   "%s: to be allowed by policy", what))
			break;
		snprintf(name, sizeof(name), "%s %s", rule->policy, rule->rule);
		check(oracle_side(egress, w.pods[subject], other_ip, o, target, proto, port,
				  name) == ALLOWED,
		      "%s: %s does not allow it", what, name);
		break;
	}
}

static void random_end(char *ip, int family)
{
	uint32_t n = tap_below(2 * PODS);

	if (tap_one_in(8))
		strcpy(ip, family == 4 ? PICK("192.0.2.1", "10.9.9.9", "10.0.0.31", "10.0.3.255") :
					 PICK("2001:db8::1", "fd00::1", "fd00::4:1f"));
	else
		pod_address(ip, n, family);
}

/* The service that has this address and port: the first by name of those that want it. */
static const json_t *oracle_service(const char *ip, int port)
{
	const json_t *best = NULL;
	char key[64], best_key[64];
	json_t *v;
	size_t k;
	int i;

	for (i = 0; i < SERVICES; i++) {
		const json_t *s = w.services[i];

		if (!s || !strcmp(json_string_value(get(s, "spec", "clusterIP")), "None"))
			continue;
		json_array_foreach(get(s, "spec", "clusterIPs"), k, v) {
			if (strcmp(json_string_value(v), ip))
				continue;
			snprintf(key, sizeof(key), "%s/%s", meta(s, "namespace"), meta(s, "name"));
			if (!best || strcmp(key, best_key) < 0) {
				best = s;
				strcpy(best_key, key);
			}
		}
	}
	(void)port; /* all have the same ports */
	return best;
}

static void probe(struct sluice_dataplane *dp)
{
	static const struct {
		const char *name;
		uint8_t number;
	} protos[3] = { { "TCP", 6 }, { "UDP", 17 }, { "SCTP", 132 } };
	int family = tap_one_in(3) ? 6 : 4, p = tap_one_in(2) ? 0 : (int)tap_below(3);
	int port = 77 + tap_below(10), src, dst;
	char from[64], to[80], what[400], backend[SLUICE_ADDR_TEXT];
	struct sluice_memory_query q = { 0 };
	struct sluice_memory_answer a;
	struct sluice_dp_addr addr;
	const json_t *svc = NULL;
	bool to_service = tap_one_in(4);

	random_end(from, family);
	random_end(to, family);
	if (to_service) {
		sprintf(to, family == 4 ? "10.96.0.%u" : "fd00:96::%u", 1 + tap_below(SERVICES));
		port = 80 + tap_below(2);
	}
	if (tap_one_in(20))
		strcpy(to, from);
	sluice_address_parse(from, &addr);
	q.src = addr.addr;
	sluice_address_parse(to, &addr);
	q.dst = addr.addr;
	q.family = addr.family;
	q.proto = protos[p].number;
	q.port = port;
	q.random = tap_random();
	sluice_memory_query(dp, &q, &a);
	snprintf(what, sizeof(what), "%s to %s %s %d: %s %s", from, to, protos[p].name, port,
		 sluice_verdict_name(a.judgement.verdict), sluice_reason_name(a.judgement.reason));

	if (to_service)
		svc = oracle_service(to, port);
	if (svc && p) { /* their ports are all TCP */
		check(a.judgement.reason == SLUICE_REASON_SERVICE_PORT &&
			      a.judgement.verdict == SLUICE_VERDICT_REJECT,
		      "%s: the service has no such port", what);
		return;
	}
	if (svc) {
		struct oracle_set set;

		oracle_backends(svc, port == 80 ? "web" : "alt", family, &set);
		if (!set.n) {
			check(a.judgement.reason == SLUICE_REASON_NO_ENDPOINTS &&
				      a.judgement.verdict == SLUICE_VERDICT_REJECT,
			      "%s: the service has no endpoints", what);
			return;
		}
		if (!check(a.service && a.backend, "%s: a backend", what))
			return;
		sluice_address_port_format(&a.backend->addr, q.family, a.backend->port, backend);
		check(in_set(&set, backend), "%s: backend %s is none of %zu", what, backend, set.n);
		sluice_address_format(&a.backend->addr, q.family, to);
		port = a.backend->port;
	} else {
		check(!a.service && !a.backend, "%s: no service", what);
	}
	src = oracle_owner(from);
	dst = oracle_owner(to);
	if (src == -2 || dst == -2)
		return;
	check((src >= 0 && is_here(src)) == !!a.src, "%s: the source is here or not", what);
	check((dst >= 0 && is_here(dst)) == !!a.dst, "%s: the destination is here or not", what);
	if (src >= 0 && src == dst && is_here(src)) {
		check(a.judgement.verdict == SLUICE_VERDICT_ALLOW &&
			      a.judgement.reason == SLUICE_REASON_SELF,
		      "%s: itself", what);
		return;
	}
	if (src >= 0 && is_here(src))
		compare_side(dp, what, &a.judgement.egress, true, src, to, dst,
			     dst >= 0 ? w.pods[dst] : NULL, protos[p].name, port);
	else
		check(a.judgement.egress.verdict == SLUICE_VERDICT_NONE, "%s: no egress", what);
	if (a.judgement.egress.verdict == SLUICE_VERDICT_DENY) {
		check(a.judgement.verdict == SLUICE_VERDICT_DENY, "%s: denied at egress", what);
		return;
	}
	if (dst >= 0 && is_here(dst))
		compare_side(dp, what, &a.judgement.ingress, false, dst, from, src, w.pods[dst],
			     protos[p].name, port);
	else
		check(a.judgement.ingress.verdict == SLUICE_VERDICT_NONE, "%s: no ingress", what);
	check(a.judgement.verdict == (a.judgement.ingress.verdict == SLUICE_VERDICT_DENY ?
					      SLUICE_VERDICT_DENY :
					      SLUICE_VERDICT_ALLOW),
	      "%s: the verdict follows from both sides", what);
}

/* ---- a data plane that fails on demand ---- */

static struct flaky {
	struct sluice_dataplane dp;
	struct sluice_dataplane *inner;
	unsigned int countdown; /* 0: never fails */
} flaky;

static int trip(struct sluice_err *err)
{
	if (!flaky.countdown || --flaky.countdown)
		return 0;
	return sluice_err_set(err, EIO, "as asked for");
}

static int flaky_begin(struct sluice_dataplane *dp, struct sluice_err *err)
{
	int ret = trip(err);

	(void)dp;
	return ret ? ret : flaky.inner->ops->begin(flaky.inner, err);
}

static int flaky_commit(struct sluice_dataplane *dp, bool sweep, struct sluice_err *err)
{
	int ret = trip(err);

	(void)dp;
	if (!ret)
		return flaky.inner->ops->commit(flaky.inner, sweep, err);
	flaky.inner->ops->abort(flaky.inner);
	return ret;
}

static void flaky_abort(struct sluice_dataplane *dp)
{
	(void)dp;
	flaky.inner->ops->abort(flaky.inner);
}

#define FLAKY(name, type)                                                                      \
	static int flaky_##name(struct sluice_dataplane *dp, const struct sluice_dp_##type *o, \
				struct sluice_err *err)                                        \
	{                                                                                      \
		int ret = trip(err);                                                           \
                                                                                               \
		(void)dp;                                                                      \
		return ret ? ret : flaky.inner->ops->name(flaky.inner, o, err);                \
	}
FLAKY(set_service, service)
FLAKY(del_service, service)
FLAKY(set_peer, peer)
FLAKY(del_peer, peer)
FLAKY(set_rule, rule)
FLAKY(del_rule, rule)
FLAKY(set_ruleset, ruleset)
FLAKY(del_ruleset, ruleset)
FLAKY(set_endpoint, endpoint)
FLAKY(del_endpoint, endpoint)
FLAKY(set_uplink, uplink)
FLAKY(del_uplink, uplink)

static const struct sluice_dataplane_ops flaky_ops = {
	"flaky",
	flaky_begin,
	flaky_commit,
	flaky_abort,
	flaky_set_service,
	flaky_del_service,
	flaky_set_peer,
	flaky_del_peer,
	flaky_set_rule,
	flaky_del_rule,
	flaky_set_ruleset,
	flaky_del_ruleset,
	flaky_set_endpoint,
	flaky_del_endpoint,
	flaky_set_uplink,
	flaky_del_uplink,
	NULL,
};

/* ---- the run ---- */

static void apply(struct sluice_model *model, json_t *json)
{
	char *text = json_dumps(json, 0);
	const char *p = text;
	struct sluice_arena arena = { 0 };
	unsigned int line = 1;
	struct sluice_value value;
	struct sluice_object *o;
	SLUICE_ERR(err);

	if (check(!sluice_json_read(&arena, &p, p + strlen(p), &line, &value, &err) &&
			  !sluice_object_decode(&value, NULL, &o, NULL, &err),
		  "decode: %s", sluice_err_msg(&err))) {
		sluice_model_apply(model, o);
		sluice_object_put(o);
	}
	sluice_arena_clear(&arena);
	free(text);
}

static void change(struct sluice_model *model, enum sluice_kind kind, json_t **slot, json_t *to)
{
	if (*slot && !to) {
		const char *ns = meta(*slot, "namespace");

		sluice_model_delete(model, kind, ns ? ns : "", meta(*slot, "name"));
	}
	json_decref(*slot);
	*slot = to;
	if (to)
		apply(model, to);
}

static void attach(struct sluice_compiler *c, int i)
{
	struct sluice_attachment a = { .ifindex = i + 1, .container = "c/eth0" };
	struct sluice_dp_addr addrs[4];
	char ns[16], name[16];
	json_t *v;
	size_t k;

	sprintf(ns, "n%d", home(i));
	sprintf(name, "p%d", i);
	a.ns = ns;
	a.pod = name;
	a.addrs = addrs;
	json_array_foreach(w.pods[i] ? get(w.pods[i], "status", "podIPs") : NULL, k, v)
		sluice_address_parse(json_string_value(json_object_get(v, "ip")),
				     &addrs[a.n_addrs++]);
	sluice_compiler_attach(c, &a);
}

static void random_change(struct sluice_model *model, struct sluice_compiler *c)
{
	bool gone = tap_one_in(5);
	int i;

	switch (tap_below(14)) {
	case 0:
		i = tap_below(NAMESPACES);
		change(model, SLUICE_KIND_NAMESPACE, &w.namespaces[i],
		       gone ? NULL : random_namespace(i));
		break;
	case 1:
	case 2:
	case 3:
		i = tap_below(PODS);
		change(model, SLUICE_KIND_POD, &w.pods[i], gone ? NULL : random_pod(i));
		/* What a new pod's CNI plugin and kubelet agree on: its addresses. */
		if (!w.all && w.attached[i])
			attach(c, i);
		break;
	case 4:
		i = tap_below(SERVICES);
		change(model, SLUICE_KIND_SERVICE, &w.services[i], gone ? NULL : random_service(i));
		break;
	case 5:
		i = tap_below(SLICES);
		change(model, SLUICE_KIND_ENDPOINT_SLICE, &w.slices[i],
		       tap_one_in(2) ? NULL : random_slice(i));
		break;
	case 6:
		i = tap_below(PODS);
		if (w.all || !w.pods[i] || oracle_finished(w.pods[i]) ||
		    json_is_true(get(w.pods[i], "spec", "hostNetwork")))
			break;
		w.attached[i] = !w.attached[i];
		if (w.attached[i])
			attach(c, i);
		else
			sluice_compiler_detach(c, i + 1);
		break;
	case 7:
	case 8:
		i = tap_below(CLUSTER_POLICIES);
		change(model, SLUICE_KIND_CLUSTER_NETWORK_POLICY, &w.cluster[i],
		       gone ? NULL : random_cluster_policy(i));
		break;
	case 9:
		i = tap_below(NODES);
		change(model, SLUICE_KIND_NODE, &w.nodes[i], gone ? NULL : random_node(i));
		break;
	default:
		i = tap_below(POLICIES);
		change(model, SLUICE_KIND_NETWORK_POLICY, &w.policies[i],
		       gone ? NULL : random_policy(i));
		break;
	}
}

static void apply_all(struct sluice_model *model, json_t **v, int n)
{
	while (n--)
		if (v[n])
			apply(model, v[n]);
}

/* Attachments may outlive what makes them sensible for the oracle; then it is not asked. */
static bool oracle_can_tell(void)
{
	int i;

	for (i = 0; i < PODS && !w.all; i++)
		if (w.attached[i] && (!w.pods[i] || oracle_finished(w.pods[i]) ||
				      json_is_true(get(w.pods[i], "spec", "hostNetwork")) ||
				      !json_array_size(get(w.pods[i], "status", "podIPs"))))
			return false;
	return true;
}

static void compare_with_fresh(struct sluice_dataplane *dp)
{
	struct sluice_model *model = sluice_model_new();
	struct sluice_compiler *c = sluice_compiler_new(model, NULL);
	struct sluice_dataplane *fresh = sluice_memory_new();
	char *a, *b, *x, *y;
	SLUICE_ERR(err);
	int i;

	if (w.all)
		sluice_compiler_attach_all(c);
	for (i = 0; i < PODS && !w.all; i++)
		if (w.attached[i])
			attach(c, i);
	apply_all(model, w.policies, POLICIES);
	apply_all(model, w.cluster, CLUSTER_POLICIES);
	apply_all(model, w.nodes, NODES);
	apply_all(model, w.slices, SLICES);
	apply_all(model, w.services, SERVICES);
	apply_all(model, w.pods, PODS);
	apply_all(model, w.namespaces, NAMESPACES);
	check(!sluice_compiler_sync(c, fresh, true, &err), "fresh sync: %s", sluice_err_msg(&err));
	a = x = sluice_memory_dump(dp);
	b = y = sluice_memory_dump(fresh);
	if (strcmp(a, b)) {
		while (*x == *y) {
			if (*x == '\n') {
				a = memmove(a, x + 1, strlen(x + 1) + 1);
				b = memmove(b, y + 1, strlen(y + 1) + 1);
				x = a;
				y = b;
				continue;
			}
			x++;
			y++;
		}
		check(false, "incremental \"%.*s\", fresh \"%.*s\"", (int)strcspn(a, "\n"), a,
		      (int)strcspn(b, "\n"), b);
	} else {
		check(true, "same");
	}
	free(a);
	free(b);
	sluice_compiler_free(c);
	fresh->ops->close(fresh);
	sluice_model_free(model);
}

static void clear_world(json_t **v, int n)
{
	while (n--) {
		json_decref(v[n]);
		v[n] = NULL;
	}
}

static void run_round(bool all)
{
	struct sluice_model *model = sluice_model_new();
	struct sluice_compiler *c = sluice_compiler_new(model, NULL);
	struct sluice_dataplane *dp = sluice_memory_new();
	int step, i, n;

	memset(&w, 0, sizeof(w));
	w.all = all;
	flaky = (struct flaky){ { &flaky_ops }, dp, 0 };
	if (all)
		sluice_compiler_attach_all(c);
	for (step = 0; step < STEPS; step++) {
		SLUICE_ERR(err);

		for (n = step ? 1 + tap_below(4) : 60; n; n--)
			random_change(model, c);
		if (tap_one_in(4)) {
			flaky.countdown = 1 + tap_below(40);
			sluice_compiler_sync(c, &flaky.dp, tap_one_in(3), NULL);
			flaky.countdown = 0;
			if (tap_one_in(2))
				random_change(model, c);
		}
		check(!sluice_compiler_sync(c, &flaky.dp, tap_one_in(10), &err), "sync: %s",
		      sluice_err_msg(&err));
		check(!sluice_compiler_dirty(c), "nothing is left to send");
		compare_with_fresh(dp);
		for (i = 0; i < PROBES && oracle_can_tell(); i++)
			probe(dp);
	}
	sluice_compiler_free(c);
	dp->ops->close(dp);
	sluice_model_free(model);
	clear_world(w.namespaces, NAMESPACES);
	clear_world(w.pods, PODS);
	clear_world(w.policies, POLICIES);
	clear_world(w.cluster, CLUSTER_POLICIES);
	clear_world(w.nodes, NODES);
	clear_world(w.services, SERVICES);
	clear_world(w.slices, SLICES);
}

int main(void)
{
	int i;

	tap_seed();
	for (i = 0; i < ROUNDS; i++)
		run_round(true);
	ok_checks("all pods are here: verdicts as the oracle's, state as a fresh compiler's");
	for (i = 0; i < ROUNDS; i++)
		run_round(false);
	ok_checks("some pods are attached: verdicts as the oracle's, state as a fresh compiler's");
	return done_testing();
}
