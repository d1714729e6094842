// SPDX-License-Identifier: GPL-2.0-only
/* Manifests: what YAML scalars mean, what is refused and how it is said, what stays when files go bad. */
#include "tap.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#include "ctl/lib/manifest.h"

/* ---- scalars ---- */

static json_t *last;

static json_t *to_json(const struct sluice_value *v)
{
	json_t *out;
	size_t i;

	switch (v->type) {
	case SLUICE_VALUE_NULL:
		return json_null();
	case SLUICE_VALUE_BOOLEAN:
		return json_boolean(v->boolean);
	case SLUICE_VALUE_INTEGER:
		return json_integer(v->integer);
	case SLUICE_VALUE_REAL:
		return json_real(v->real);
	case SLUICE_VALUE_TEXT:
		return json_stringn(v->text, v->n);
	case SLUICE_VALUE_LIST:
		out = json_array();
		for (i = 0; i < v->n; i++)
			json_array_append_new(out, to_json(&v->items[i]));
		return out;
	case SLUICE_VALUE_OBJECT:
		out = json_object();
		for (i = 0; i < v->n; i++)
			json_object_set_new(out, v->members[i].key, to_json(&v->members[i].value));
		return out;
	}
	return NULL;
}

static void keep(void *ctx, const struct sluice_value *value)
{
	(void)ctx;
	json_decref(last);
	last = to_json(value);
}

static char complaint[600];

static void complain(void *ctx, unsigned int line, const char *message)
{
	(void)ctx;
	snprintf(complaint, sizeof(complaint), "%u: %s", line, message);
}

static const struct sluice_manifest_reader reader = { NULL, keep, complain };

static void is_json(const char *yaml, const char *json)
{
	char *text = NULL, name[64], *p;

	complaint[0] = 0;
	json_decref(last);
	last = NULL;
	sluice_manifest_read("t.yaml", yaml, strlen(yaml), &reader);
	if (last)
		text = json_dumps(last, JSON_COMPACT | JSON_ENCODE_ANY);
	snprintf(name, sizeof(name), "%.60s", yaml);
	for (p = name; *p; p++)
		if (*p == '\n')
			*p = ' ';
	is_str(text ? text : complaint, json, "%s", name);
	free(text);
	json_decref(last);
	last = NULL;
}

static void test_scalars(void)
{
	is_json("{a: true, b: yes, c: Off, d: n, e: TRUE}",
		"{\"a\":true,\"b\":true,\"c\":false,\"d\":false,\"e\":true}");
	is_json("{a: 'true', b: \"1\", c: !!str 5, d: ! on}",
		"{\"a\":\"true\",\"b\":\"1\",\"c\":\"5\",\"d\":\"on\"}");
	is_json("{a: 80, b: 0x50, c: 0120, d: 0b11, e: 0o17, f: -7, g: 1_000}",
		"{\"a\":80,\"b\":80,\"c\":80,\"d\":3,\"e\":15,\"f\":-7,\"g\":1000}");
	is_json("{a: 1.5, b: 1e3, c: 1.2.3.4, d: 2001-01-01, e: 10.0.0.0/8, f: 08}",
		"{\"a\":1.5,\"b\":1000.0,\"c\":\"1.2.3.4\",\"d\":\"2001-01-01\","
		"\"e\":\"10.0.0.0/8\",\"f\":8.0}");
	is_json("a: ~\nb:\nc: null\nd: 'null'\n",
		"{\"a\":null,\"b\":null,\"c\":null,\"d\":\"null\"}");
	is_json("80: x\ntrue: z\n", "{\"80\":\"x\",\"true\":\"z\"}");
	is_json("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n",
		"{\"a\":{\"b\":1},\"c\":{\"b\":1},\"d\":{\"e\":2,\"b\":1}}");
	is_json("a: |\n  x\n  y\nb: >-\n  p\n  q\n", "{\"a\":\"x\\ny\\n\",\"b\":\"p q\"}");
	is_json("{\"a\": [1, true, null, \"x\\u00e4\"]}", "{\"a\":[1,true,null,\"x\u00e4\"]}");

	is_json("a: 1\na: 2\n", "2: key \"a\" is given twice");
	is_json("{\"a\": 1, \"a\": 2}", "1: not JSON: key \"a\" is given twice");
	is_json("a: *nobody\n", "1: alias *nobody has no anchor before it");
	is_json("a: &x [*x]\n", "1: alias *x has no anchor before it");
	is_json("\n\na: !!binary x\n", "3: tag tag:yaml.org,2002:binary is not understood");
	is_json("? [a, b]\n: c\n", "1: a key of a mapping must be a plain word");
}

#define MANY_KEYS(last)                                                                      \
	"{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"j\":10," \
	"\"k\":11,\"l\":12,\"m\":13,\"n\":14,\"o\":15,\"p\":16,\"q\":17,\"" last "\":18}"

/* The reader beside jansson: the same values of what is JSON, and no others. */
static void test_json(void)
{
	static const char *const good[] = {
		"{}",
		"[]",
		"[[],{},[{}]]",
		"[0,-0,1,-1,9223372036854775807,-9223372036854775807]",
		"[1.5,-0.25,1e3,1E+2,12e-1,0.0]",
		"[\"\",\"a\",\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"\\u00e4\\u20AC\\ud83d\\ude00\"]",
		"[\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\",\"\x7f\"]",
		"[true,false,null]",
		" { \"a\" : [ 1 , 2 ] ,\n\t\"b\":{\"c\":\"d\"}\r\n} ",
		MANY_KEYS("r"),
	};
	static const char *const bad[] = {
		"{",
		"[",
		"[1,]",
		"[,1]",
		"[1 2]",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{a:1}",
		"{\"a\":1 \"b\":2}",
		"[01]",
		"[1.]",
		"[.5]",
		"[1e]",
		"[-]",
		"[+1]",
		"[9223372036854775808]",
		"[1e999]",
		"[\"\\x\"]",
		"[\"\\u12\"]",
		"[\"\\u12g4\"]",
		"[\"\\u0000\"]",
		"[\"\n\"]",
		"[\"\x01\"]",
		"[\"\xff\"]",
		"[\"\xc0\x80\"]",
		"[\"\xed\xa0\x80\"]",
		"[\"\xf4\x90\x80\x80\"]",
		"[\"\xe2\x82\"]",
		"[\"abc",
		"[\"abc\\",
		"[tru]",
		"[nul]",
		"[truefalse]",
		MANY_KEYS("a"),
	};
	struct sluice_arena arena = { 0 };
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
		const char *p = good[i];
		unsigned int line = 1;
		struct sluice_value v;
		SLUICE_ERR(err);
		json_t *mine, *theirs;

		ok(!sluice_json_read(&arena, &p, p + strlen(p), &line, &v, &err), "%zu is read: %s",
		   i, sluice_err_msg(&err));
		mine = to_json(&v);
		theirs = json_loads(good[i], 0, NULL);
		ok(theirs && json_equal(mine, theirs), "%zu is what jansson reads", i);
		json_decref(mine);
		json_decref(theirs);
		sluice_arena_reset(&arena);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *p = bad[i];
		unsigned int line = 1;
		struct sluice_value v;
		SLUICE_ERR(err);

		ok(sluice_json_read(&arena, &p, p + strlen(p), &line, &v, &err) == -EINVAL,
		   "refused: %s", sluice_err_msg(&err));
		ok(!json_loads(bad[i], JSON_REJECT_DUPLICATES, NULL), "as jansson does");
	}
	sluice_arena_clear(&arena);
	is_json("[\"\\ud800\"]", "[\"?\"]");
	is_json("{\"a\": 1,\n\"b\": [1,\n2,\n x]}",
		"4: not JSON: lexical error: invalid char in json text.");
}

/* All on one line, as programs write it: each value's line is found without looking at the others again. */
static void test_json_long_line(void)
{
	enum { ITEMS = 2000000 };
	char *text = malloc(2 * ITEMS + 2), *to = text;
	struct sluice_arena arena = { 0 };
	const char *p = text;
	unsigned int line = 1;
	struct sluice_value v;
	SLUICE_ERR(err);
	int i;

	*to++ = '[';
	for (i = 0; i < ITEMS; i++) {
		*to++ = '1';
		*to++ = i + 1 < ITEMS ? ',' : ']';
	}
	alarm(30); /* it takes a second or two; minutes if each value looks at all before it */
	ok(!sluice_json_read(&arena, &p, to, &line, &v, &err) && v.n == ITEMS,
	   "a long line is read");
	alarm(0);
	sluice_arena_clear(&arena);
	free(text);
}

static void test_limits(void)
{
	char bomb[2000] = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n", deep[1000];
	int i, k;

	for (i = 1; i < 12; i++) {
		char *p = bomb + strlen(bomb);

		p += sprintf(p, "a%d: &a%d [", i, i);
		for (k = 0; k < 9; k++)
			p += sprintf(p, "%s*a%d", k ? "," : "", i - 1);
		sprintf(p, "]\n");
	}
	is_json(bomb, "7: aliases expand to more than 1000000 values");
	memset(deep, '[', 400);
	memset(deep + 400, ']', 400);
	deep[800] = 0;
	is_json(deep, "1: nested more than 100 levels deep");
}

/* ---- refusals ---- */

#define POLICY(spec)                          \
	"apiVersion: networking.k8s.io/v1\n"  \
	"kind: NetworkPolicy\n"               \
	"metadata: {name: p, namespace: x}\n" \
	"spec:\n" spec

static void is_refused(const char *text, const char *want)
{
	struct sluice_model *model = sluice_model_new();
	struct sluice_manifests *set = sluice_manifests_new(model);
	const struct sluice_manifest_problem *v;
	char got[800] = "accepted";
	size_t n;

	sluice_manifests_load_text(set, "f.yaml", text, strlen(text));
	v = sluice_manifests_problems(set, &n);
	if (n)
		snprintf(got, sizeof(got), "%s: %s", v[0].source, v[0].message);
	is_str(got, want, "%s", want);
	sluice_manifests_free(set);
	sluice_model_free(model);
}

static void test_refusals(void)
{
	static const char p[] = "NetworkPolicy x/p: ";
	static const struct {
		const char *text, *line, *want;
	} cases[] = {
		{ POLICY("  podSelector: {}\n  egres: []\n"), "6", "spec.egres: unknown field" },
		{ POLICY("  podSelector: {}\n  ingress:\n  - from:\n    - {}\n"), "8",
		  "spec.ingress[0].from[0]: a peer needs one of ipBlock, podSelector, "
		  "namespaceSelector" },
		{ POLICY("  podSelector: {}\n  ingress:\n  - from:\n    - podSelector: {}\n"
			 "      ipBlock: {cidr: 10.0.0.0/8}\n"),
		  "8",
		  "spec.ingress[0].from[0]: podSelector and namespaceSelector may not be given with "
		  "ipBlock" },
		{ POLICY("  podSelector: {}\n  ingress:\n  - from:\n    - ipBlock:\n"
			 "        cidr: 10.0.0.0/33\n"),
		  "9",
		  "spec.ingress[0].from[0].ipBlock.cidr: \"10.0.0.0/33\" is not a CIDR, as in "
		  "10.9.8.0/24 or 2001:db8::/64" },
		{ POLICY("  egress:\n  - to:\n    - ipBlock:\n        cidr: 10.0.0.0/8\n"
			 "        except:\n        - 10.0.0.0/9\n        - 11.0.0.0/9\n"),
		  "11",
		  "spec.egress[0].to[0].ipBlock.except[1]: \"11.0.0.0/9\" is not strictly inside "
		  "cidr \"10.0.0.0/8\"" },
		{ POLICY("  egress:\n  - to:\n    - ipBlock:\n        cidr: 10.0.0.0/8\n"
			 "        except: [10.0.0.0/8]\n"),
		  "9",
		  "spec.egress[0].to[0].ipBlock.except[0]: \"10.0.0.0/8\" is not strictly inside "
		  "cidr \"10.0.0.0/8\"" },
		{ POLICY("  ingress: [{ports: [{port: 0}]}]\n"), "5",
		  "spec.ingress[0].ports[0].port: port 0 is not between 1 and 65535" },
		{ POLICY("  ingress: [{ports: [{port: '80'}]}]\n"), "5",
		  "spec.ingress[0].ports[0].port: port name \"80\" must hold a letter" },
		{ POLICY("  ingress: [{ports: [{port: 80, protocol: tcp}]}]\n"), "5",
		  "spec.ingress[0].ports[0].protocol: protocol \"tcp\" is not one of TCP, UDP, "
		  "SCTP" },
		{ POLICY("  ingress: [{ports: [{endPort: 80}]}]\n"), "5",
		  "spec.ingress[0].ports[0].endPort: may not be given without port" },
		{ POLICY("  ingress: [{ports: [{port: web, endPort: 80}]}]\n"), "5",
		  "spec.ingress[0].ports[0].endPort: may not be given with a named port" },
		{ POLICY("  ingress: [{ports: [{port: 81, endPort: 80}]}]\n"), "5",
		  "spec.ingress[0].ports[0].endPort: 80 is smaller than port 81" },
		{ POLICY("  policyTypes: [Ingres]\n"), "5",
		  "spec.policyTypes[0]: \"Ingres\" is not one of Ingress, Egress" },
		{ POLICY("  podSelector:\n    matchExpressions:\n    - {key: a, operator: In}\n"),
		  "7",
		  "spec.podSelector.matchExpressions[0].values: operator In needs at least one "
		  "value" },
		{ POLICY("  podSelector:\n    matchExpressions:\n"
			 "    - {key: a, operator: Exists, values: [b]}\n"),
		  "7",
		  "spec.podSelector.matchExpressions[0].values: operator Exists takes no values" },
		{ POLICY("  podSelector:\n    matchExpressions:\n    - {key: a, operator: is}\n"),
		  "7",
		  "spec.podSelector.matchExpressions[0].operator: \"is\" is not one of In, NotIn, "
		  "Exists, DoesNotExist" },
		{ POLICY("  podSelector: {matchLabels: {-a: b}}\n"), "5",
		  "spec.podSelector.matchLabels.-a: not a label key: it must begin and end with a "
		  "letter or digit" },
		{ POLICY("  podSelector: {matchLabels: {env: yes}}\n"), "5",
		  "spec.podSelector.matchLabels.env: must be a string, is a boolean" },
		{ POLICY("  ingress: [null]\n"), "5",
		  "spec.ingress[0]: must be an object; {} allows everything" },
	};
	char want[800];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(want, sizeof(want), "f.yaml:%s: %s%s", cases[i].line, p, cases[i].want);
		is_refused(cases[i].text, want);
	}
	is_refused("apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: p}\n",
		   "f.yaml:1: NetworkPolicy default/p: apiVersion: \"extensions/v1beta1\" is not "
		   "understood, only networking.k8s.io/v1");
	is_refused("kind: CiliumNetworkPolicy\nmetadata: {name: p}\n",
		   "f.yaml:1: CiliumNetworkPolicy: this kind is not handled");
	is_refused(
		"apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 1}, "
		"{port: 2}]}\n",
		"f.yaml:4: Service default/s: spec.ports[0].name: is required when there is more "
		"than one port");
	is_refused("apiVersion: v1\nkind: Pod\nmetadata: {name: A}\n",
		   "f.yaml:3: Pod: metadata.name: \"A\" is not a DNS name: lower-case "
		   "letters, digits, '-' and '.' between them");
	is_refused("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n", "accepted");
	is_refused(POLICY("  podSelector: {matchLabels: null}\n  ingress: null\n"), "accepted");
}

/* ---- ClusterNetworkPolicy ---- */

#define CLUSTER_POLICY(spec)                              \
	"apiVersion: policy.networking.k8s.io/v1alpha2\n" \
	"kind: ClusterNetworkPolicy\n"                    \
	"metadata: {name: p}\n"                           \
	"spec:\n" spec
#define CLUSTER_RULES(rules) \
	CLUSTER_POLICY("  tier: Admin\n  priority: 7\n  subject: {namespaces: {}}\n" rules)

static void test_cluster_refusals(void)
{
	static const struct {
		const char *text, *line, *want;
	} cases[] = {
		{ CLUSTER_POLICY("  priority: 7\n  subject: {namespaces: {}}\n"), "5",
		  "spec.tier: is required" },
		{ CLUSTER_POLICY("  tier: admin\n  priority: 7\n"), "5",
		  "spec.tier: \"admin\" is not one of Admin, Baseline" },
		{ CLUSTER_POLICY("  tier: Admin\n  subject: {namespaces: {}}\n"), "5",
		  "spec.priority: is required" },
		{ CLUSTER_POLICY("  tier: Admin\n  priority: 1001\n"), "6",
		  "spec.priority: 1001 is not between 0 and 1000" },
		{ CLUSTER_POLICY("  tier: Admin\n  priority: -1\n"), "6",
		  "spec.priority: -1 is not between 0 and 1000" },
		{ CLUSTER_POLICY("  tier: Admin\n  priority: \"7\"\n"), "6",
		  "spec.priority: must be a whole number, is a string" },
		{ CLUSTER_POLICY("  tier: Admin\n  priority: 7\n"), "5",
		  "spec.subject: is required" },
		{ CLUSTER_POLICY("  tier: Admin\n  priority: 7\n  subject: {}\n"), "7",
		  "spec.subject: needs one of namespaces, pods" },
		{ CLUSTER_POLICY("  tier: Admin\n  priority: 7\n"
				 "  subject: {pods: {podSelector: {}}}\n"),
		  "7", "spec.subject.pods.namespaceSelector: is required" },
		{ CLUSTER_RULES("  egres: []\n"), "8", "spec.egres: unknown field" },
		{ CLUSTER_RULES("  ingress: [{from: [{namespaces: {}}]}]\n"), "8",
		  "spec.ingress[0].action: is required" },
		{ CLUSTER_RULES("  ingress: [{action: Allow, from: [{namespaces: {}}]}]\n"), "8",
		  "spec.ingress[0].action: \"Allow\" is not one of Accept, Deny, Pass" },
		{ CLUSTER_RULES("  ingress: [{action: Deny}]\n"), "8",
		  "spec.ingress[0].from: needs at least one item" },
		{ CLUSTER_RULES("  ingress: [{action: Deny, to: [{namespaces: {}}]}]\n"), "8",
		  "spec.ingress[0].to: unknown field" },
		{ CLUSTER_RULES("  ingress:\n  - action: Deny\n    from: [{namespaces: {}}]\n"
				"    protocols: []\n"),
		  "11", "spec.ingress[0].protocols: needs at least one item" },
		{ CLUSTER_RULES("  egress: [{action: Deny, to: [{networks: [10.0.0.0]}]}]\n"), "8",
		  "spec.egress[0].to[0].networks[0]: \"10.0.0.0\" is not a CIDR, as in "
		  "10.9.8.0/24 or 2001:db8::/64" },
		{ CLUSTER_RULES(
			  "  egress:\n  - action: Deny\n    to: [{nodes: {}}]\n    protocols:\n"
			  "    - tcp: {destinationPort: {number: 70000}}\n"),
		  "12",
		  "spec.egress[0].protocols[0].tcp.destinationPort.number: port 70000 is not "
		  "between 1 and 65535" },
		{ CLUSTER_RULES(
			  "  egress:\n  - action: Deny\n    to: [{nodes: {}}]\n    protocols:\n"
			  "    - udp: {destinationPort: {range: {start: 9, end: 9}}}\n"),
		  "12",
		  "spec.egress[0].protocols[0].udp.destinationPort.range.end: 9 is not larger than "
		  "start 9" },
	};
	char want[800];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(want, sizeof(want), "f.yaml:%s: ClusterNetworkPolicy p: %s", cases[i].line,
			 cases[i].want);
		is_refused(cases[i].text, want);
	}
	is_refused("apiVersion: policy.networking.k8s.io/v1alpha1\nkind: ClusterNetworkPolicy\n"
		   "metadata: {name: p}\n",
		   "f.yaml:1: ClusterNetworkPolicy p: apiVersion: "
		   "\"policy.networking.k8s.io/v1alpha1\" is not understood, only "
		   "policy.networking.k8s.io/v1alpha2");
	is_refused("apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\n"
		   "metadata: {name: p}\n",
		   "f.yaml:1: AdminNetworkPolicy: this kind is not handled");
	is_refused(CLUSTER_RULES("  ingress: null\n") "status: {conditions: []}\n", "accepted");
}

static void test_too_many_rules(void)
{
	char text[4000] = CLUSTER_RULES("  ingress:\n");
	int i;

	for (i = 0; i < 25; i++)
		strcat(text, "  - {action: Deny, from: [{namespaces: {}}]}\n");
	is_refused(text, "accepted");
	strcat(text, "  - {action: Deny, from: [{namespaces: {}}]}\n");
	is_refused(text, "f.yaml:9: ClusterNetworkPolicy p: spec.ingress: has more than 25 items");
}

/* What a rule has become that has something this does not know, or cannot do. */
static void test_fails_closed(void)
{
	static const struct {
		const char *rest, *want;
	} cases[] = {
		{ "to: [{namespaces: {}}, {}]",
		  "spec.egress[0].to[1]: not one kind of peer that is known" },
		{ "to: [{services: {}}]",
		  "spec.egress[0].to[0]: not one kind of peer that is known" },
		{ "to: [{namespaces: {}, nodes: {}}]",
		  "spec.egress[0].to[0]: not one kind of peer that is known" },
		{ "to: [{domainNames: [example.org]}]",
		  "spec.egress[0].to[0].domainNames: is not supported" },
		{ "to: [{namespaces: {}}], protocols: [{}]",
		  "spec.egress[0].protocols[0]: not one protocol that is known" },
		{ "to: [{namespaces: {}}], protocols: [{tcp: {}}]",
		  "spec.egress[0].protocols[0].tcp: not destinationPort, which alone is known" },
		{ "to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {}}}]",
		  "spec.egress[0].protocols[0].tcp.destinationPort: neither a number nor a range" },
		{ "to: [{namespaces: {}}], protocols: [{destinationNamedPort: HTTP}]",
		  "spec.egress[0].protocols[0].destinationNamedPort: port name \"HTTP\" may hold "
		  "lower-case letters, digits and '-' only" },
		{ "to: [{nodes: {}}, {networks: [\"::/0\"]}], protocols: [{destinationNamedPort: web}]",
		  NULL },
	};
	static const char *const actions[] = { "Accept", "Deny", "Pass" };
	char text[800];
	size_t i, k;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (k = 0; k < 3; k++) {
			struct sluice_model *model = sluice_model_new();
			struct sluice_manifests *set = sluice_manifests_new(model);
			const struct sluice_policy_rule *r;
			const struct sluice_policy *p;
			const char *want = cases[i].want ? cases[i].want : "supported";

			snprintf(text, sizeof(text),
				 CLUSTER_RULES("  egress: [{action: %s, %s}]\n"), actions[k],
				 cases[i].rest);
			sluice_manifests_load_text(set, "f.yaml", text, strlen(text));
			p = sluice_to_policy(sluice_model_find(
				model, SLUICE_KIND_CLUSTER_NETWORK_POLICY, "", "p"));
			r = p ? &p->rules[SLUICE_EGRESS][0] : NULL;
			is_str(!r	      ? "refused" :
			       r->unsupported ? r->unsupported :
						"supported",
			       want, "%s: %s", actions[k], want);
			if (r && cases[i].want && !k)
				ok(r->matches_nothing, "it matches nothing");
			else if (r && cases[i].want)
				ok(r->action == SLUICE_ACTION_DENY && !r->n_peers && !r->n_ports &&
					   !r->matches_nothing,
				   "it denies everything");
			sluice_manifests_free(set);
			sluice_model_free(model);
		}
	}
}

/* ---- the last good state stays ---- */

static char folder[] = "/tmp/sluice-manifest-XXXXXX";

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	unlink(path); /* a new inode: a change within one clock tick must be seen as well */
	f = fopen(path, "w");
	if (!f)
		abort();
	fputs(text, f);
	fclose(f);
}

static const char *app_of(struct sluice_model *model, const char *name)
{
	const struct sluice_object *o = sluice_model_find(model, SLUICE_KIND_POD, "default", name);
	const char *app = o ? sluice_labels_get(&o->labels, "app") : NULL;

	return o ? (app ? app : "none") : "absent";
}

static size_t errors(struct sluice_manifests *set)
{
	const struct sluice_manifest_problem *v;
	size_t n, i, bad = 0;

	v = sluice_manifests_problems(set, &n);
	for (i = 0; i < n; i++)
		bad += !v[i].warning;
	return bad;
}

#define POD(name, labels) \
	"apiVersion: v1\nkind: Pod\nmetadata: {name: " name ", labels: " labels "}\n"

static unsigned int told;

static void listener(void *ctx, const struct sluice_object *before,
		     const struct sluice_object *after)
{
	(void)ctx;
	(void)before;
	(void)after;
	told++;
}

static void test_files(void)
{
	struct sluice_model *model = sluice_model_new();
	struct sluice_manifests *set = sluice_manifests_new(model);
	unsigned long version;
	char path[128];
	bool done;
	SLUICE_ERR(err);

	if (!mkdtemp(folder))
		abort();
	sluice_model_listen(model, listener, NULL);
	write_file("a.yaml", POD("a", "{app: '1'}") "---\n" POD("b", "{app: '1'}"));
	is_u64(sluice_manifests_load(set, folder, &err), 0, "a folder is read");
	is_u64(told, 2, "two changes are told");
	ok(!sluice_manifests_refresh(set), "nothing changed, nothing is read");

	write_file("a.yaml", POD("a", "{app: '2'}") "---\n" POD("b", "{app: [2]}"));
	ok(sluice_manifests_refresh(set), "a changed file is read");
	is_str(app_of(model, "a"), "2", "its good object is applied");
	is_str(app_of(model, "b"), "1", "its bad object stays as it was");
	is_u64(errors(set), 1, "and is reported");

	write_file("a.yaml", POD("a", "{app: '3'}") "---\nb: [\n");
	sluice_manifests_refresh(set);
	is_str(app_of(model, "a"), "3", "a document with broken syntax spoils no other");
	is_str(app_of(model, "b"), "1", "what may be in it stays");

	write_file("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {labels: {app: x}}\n");
	sluice_manifests_refresh(set);
	is_str(app_of(model, "a"), "3", "an object without a name takes nothing away");

	write_file("a.yaml", POD("a", "{app: '3'}"));
	told = 0;
	sluice_manifests_refresh(set);
	is_str(app_of(model, "b"), "absent", "an object that left a good file is gone");
	is_u64(told, 1, "only that is told, not the one that stayed the same");
	is_u64(errors(set), 0, "no error is left");

	write_file("b.yaml", POD("a", "{app: 'b'}"));
	sluice_manifests_refresh(set);
	is_str(app_of(model, "a"), "b", "of two files, the last one counts");
	snprintf(path, sizeof(path), "%s/b.yaml", folder);
	unlink(path);
	sluice_manifests_refresh(set);
	is_str(app_of(model, "a"), "3", "when it goes, the other one counts");

	write_file("c.json", "{\"apiVersion\":\"v1\",\"kind\":\"PodList\",\"items\":[{\"metadata\":"
			     "{\"name\":\"l\"}}]}\n{\"apiVersion\":\"v1\",\"kind\":\"Pod\","
			     "\"metadata\":{\"name\":\"m\"}}");
	sluice_manifests_refresh(set);
	is_str(app_of(model, "l"), "none", "items of a PodList need no kind");
	is_str(app_of(model, "m"), "none", "a stream of JSON values is read to its end");

	/* One file, by whoever knows that it changed. */
	snprintf(path, sizeof(path), "%s/c.json", folder);
	write_file("c.json", "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"m\","
			     "\"labels\":{\"app\":\"7\"}}}");
	ok(sluice_manifests_refresh_file(set, path, &done) && done, "a changed file is read alone");
	is_str(app_of(model, "m"), "7", "its objects change");
	is_str(app_of(model, "l"), "absent", "and go");
	write_file("c.json", "{\"apiVersion\":\"v1\",\"kind\":");
	version = sluice_manifests_problems_version(set);
	ok(sluice_manifests_refresh_file(set, path, &done) && done, "half a file is read");
	is_str(app_of(model, "m"), "7", "and takes nothing away");
	is_u64(errors(set), 1, "it is reported");
	ok(sluice_manifests_problems_version(set) != version, "by another version of the problems");
	version = sluice_manifests_problems_version(set);
	snprintf(path, sizeof(path), "%s/d.yaml", folder);
	write_file("d.yaml", POD("k", "{app: '8'}"));
	ok(sluice_manifests_refresh_file(set, path, &done) && done, "a new file is read alone");
	is_str(app_of(model, "k"), "8", "its object comes");
	ok(sluice_manifests_problems_version(set) == version, "the problems stay as they are");
	unlink(path);
	ok(sluice_manifests_refresh_file(set, path, &done) && done, "a vanished one is missed");
	is_str(app_of(model, "k"), "absent", "and its object goes");
	ok(!sluice_manifests_refresh_file(set, path, &done) && done, "once");
	snprintf(path, sizeof(path), "%s/.e.yaml", folder);
	write_file(".e.yaml", POD("k", "{app: '8'}"));
	ok(!sluice_manifests_refresh_file(set, path, &done) && done, "a hidden file is none");
	unlink(path);
	ok(!sluice_manifests_refresh_file(set, "/etc/hostname", &done) && done,
	   "nor is one elsewhere");
	ok(!sluice_manifests_refresh_file(set, folder, &done) && !done,
	   "a folder takes a look at everything");

	ok(sluice_manifests_load(set, "/nonexistent/x", &err),
	   "a path that is not there is an error");

	snprintf(path, sizeof(path), "%s/a.yaml", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/c.json", folder);
	unlink(path);
	sluice_manifests_refresh(set);
	is_u64(sluice_model_count(model, SLUICE_KIND_POD), 0, "no files, no objects");
	rmdir(folder);
	sluice_manifests_free(set);
	sluice_model_free(model);
}

int main(void)
{
	test_scalars();
	test_json();
	test_json_long_line();
	test_limits();
	test_refusals();
	test_cluster_refusals();
	test_too_many_rules();
	test_fails_closed();
	test_files();
	return done_testing();
}
