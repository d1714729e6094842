// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluicectl/trace.h"

#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/compiler.h"
#include "ctl/lib/manifest.h"

const struct option_spec trace_options[] = {
	{ "manifests", "FILE|DIR...", "answer from these instead of the running data plane", NULL },
	{ "from", "X", "where the packet comes from: namespace/pod or an address", NULL },
	{ "to", "Y", "where it goes: namespace/pod, an address, svc:namespace/name", NULL },
	{ "protocol", "PROTOCOL", "TCP (the default), UDP, SCTP or ICMP", "TCP UDP SCTP ICMP" },
	{ "port", "PORT", "the destination port, a number or a name", NULL },
	{ "probes", "FILE|-", "answer every probe of a file of JSON lines", NULL },
	{ "node", "NAME", "with manifests: take this node's view", NULL },
	{ NULL, NULL, NULL, NULL },
};

/* Where answers come from: one of the two. */
struct source {
	struct sluice_model *model;
	struct sluice_manifests *manifests;
	struct sluice_compiler *compiler;
	struct sluice_dataplane *dp;
	struct sluice_prober *prober;
	struct trace_running *running;
	size_t n_bad; /* objects that were refused */
};

static void close_source(struct source *s)
{
	if (s->running)
		trace_running_close(s->running);
	sluice_prober_free(s->prober);
	sluice_compiler_free(s->compiler);
	sluice_manifests_free(s->manifests);
	sluice_model_free(s->model);
	if (s->dp)
		s->dp->ops->close(s->dp);
}

static void print_problems(struct source *s)
{
	const struct sluice_manifest_problem *v;
	const struct sluice_compiler_problem *problems;
	size_t n, i;

	v = sluice_manifests_problems(s->manifests, &n);
	for (i = 0; i < n; i++) {
		fprintf(stderr, "%s: %s%s\n", v[i].source, v[i].warning ? "warning: " : "",
			v[i].message);
		s->n_bad += !v[i].warning;
	}
	n = sluice_compiler_problems(s->compiler, &problems);
	for (i = 0; i < n; i++)
		fprintf(stderr, "warning: %s\n", problems[i].text);
}

static int open_manifests(const struct invocation *inv, struct source *s, struct sluice_err *err)
{
	size_t i;
	int ret;

	s->model = sluice_model_new();
	s->manifests = sluice_manifests_new(s->model);
	for (i = 0; i < inv->n_uses; i++) {
		if (strcmp(inv->uses[i].spec->name, "manifests"))
			continue;
		ret = sluice_manifests_load(s->manifests, inv->uses[i].value, err);
		if (ret)
			return ret;
	}
	for (i = 0; i < inv->n_args; i++) {
		ret = sluice_manifests_load(s->manifests, inv->args[i], err);
		if (ret)
			return ret;
	}
	s->compiler = sluice_compiler_new(s->model, option_value(inv, "node"));
	sluice_compiler_attach_all(s->compiler);
	s->dp = sluice_memory_new();
	ret = sluice_compiler_sync(s->compiler, s->dp, true, err);
	if (ret)
		return ret;
	s->prober = sluice_prober_new(s->model, s->dp, option_value(inv, "node"));
	print_problems(s);
	return 0;
}

static int ask(const struct source *s, const struct sluice_probe *probe,
	       struct sluice_probe_result *result, struct sluice_memory_query *q,
	       struct sluice_memory_answer *a, struct sluice_err *err)
{
	if (s->running)
		return trace_running_probe(s->running, probe, result, err);
	return sluice_probe_run(s->prober, probe, result, q, a, err);
}

/* ---- for people ---- */

/* "shop/api", or "tenants" of the cluster, and "ingress[1]" to the place of that rule in the manifests. */
static void print_place(const struct source *s, const struct sluice_probe_side *side)
{
	const struct sluice_policy *p;
	unsigned int index, line = 0;
	const char *slash = side->policy ? strchr(side->policy, '/') : NULL;
	size_t len = slash ? slash - side->policy : 0;
	char ns[64] = "";
	int dir;

	if (!s->model || !side->policy || len >= sizeof(ns))
		return;
	memcpy(ns, side->policy, len);
	p = sluice_to_policy(sluice_model_find(
		s->model, slash ? SLUICE_KIND_NETWORK_POLICY : SLUICE_KIND_CLUSTER_NETWORK_POLICY,
		ns, slash ? slash + 1 : side->policy));
	if (!p)
		return;
	dir = side->rule[0] == 'e' ? SLUICE_EGRESS : SLUICE_INGRESS;
	if (sscanf(side->rule, "%*[a-z][%u]", &index) == 1 && index < p->n_rules[dir])
		line = p->rules[dir][index].line;
	if (p->o.file)
		printf(", %s:%u", p->o.file, line ? line : p->o.line);
}

static void print_side(const struct source *s, const char *word,
		       const struct sluice_probe_side *side)
{
	printf("%-8s ", word);
	if (side->verdict == SLUICE_VERDICT_NONE) {
		printf("not judged here\n");
		return;
	}
	printf("%s: ", sluice_verdict_name(side->verdict));
	if (side->policy) {
		printf("%s of %s", side->rule, side->policy);
		print_place(s, side);
		if (side->reason == SLUICE_REASON_DEFAULT_DENY)
			printf(" (no rule allows it)");
	} else {
		printf("%s", sluice_reason_help(side->reason));
	}
	putchar('\n');
}

static void print_other_backends(const struct source *s, const struct sluice_memory_query *q,
				 const struct sluice_memory_answer *a)
{
	size_t same = 0, i;

	if (!a->backend || a->service->n_backends < 2)
		return;
	for (i = 0; i < a->service->n_backends; i++) {
		struct sluice_memory_answer other;

		sluice_memory_query_backend(s->dp, q, a->service, i, &other);
		same += other.judgement.verdict == a->judgement.verdict;
	}
	printf("%-8s %u; the verdict is the same for %zu of them\n", "backends",
	       a->service->n_backends, same);
}

static void print_answer(const struct source *s, const struct sluice_probe *probe,
			 const struct sluice_probe_result *r, const struct sluice_memory_query *q,
			 const struct sluice_memory_answer *a)
{
	char src[SLUICE_ADDR_TEXT], dst[SLUICE_ADDR_TEXT];

	if (s->prober) {
		sluice_address_format(&q->src, q->family, src);
		if (q->proto == SLUICE_PROTO_ICMP || q->proto == SLUICE_PROTO_ICMPV6)
			sluice_address_format(&q->dst, q->family, dst);
		else
			sluice_address_port_format(&q->dst, q->family, q->port, dst);
		printf("%-8s %s (%s) to %s (%s), %s\n", "packet", probe->from, src, probe->to, dst,
		       sluice_protocol_name(q->proto));
	}
	if (r->service)
		printf("%-8s %s%s%s\n", "service", r->service, *r->backend ? ", backend " : "",
		       r->backend);
	if (s->prober)
		print_other_backends(s, q, a);
	if (r->verdict != SLUICE_VERDICT_REJECT) {
		print_side(s, "egress", &r->egress);
		print_side(s, "ingress", &r->ingress);
	}
	printf("%-8s %s: %s (%s)\n", "verdict", sluice_verdict_name(r->verdict),
	       sluice_reason_name(r->reason), sluice_reason_help(r->reason));
}

/* ---- for programs ---- */

static void print_json(json_t *json)
{
	json_dumpf(json, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(json);
}

static int answer_line(const struct source *s, const char *line, size_t len, struct sluice_err *err)
{
	struct sluice_probe_result result;
	struct sluice_probe probe;
	char port_text[16];
	json_error_t je;
	json_t *json;
	int ret;

	json = json_loadb(line, len, JSON_REJECT_DUPLICATES, &je);
	if (!json)
		return sluice_err_set(err, EINVAL, "not JSON: %s", je.text);
	ret = sluice_probe_from_json(json, &probe, port_text, err);
	if (!ret)
		ret = ask(s, &probe, &result, NULL, NULL, err);
	json_decref(json);
	if (!ret)
		print_json(sluice_probe_result_json(&result));
	return ret;
}

static int answer_file(const struct source *s, const char *path, struct sluice_err *err)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	size_t cap = 0, n = 0, n_bad = 0;
	char *line = NULL;
	ssize_t len;

	if (!f)
		return sluice_err_errno(err, errno, "%s", path);
	while ((len = getline(&line, &cap, f)) >= 0) {
		SLUICE_ERR(bad);

		while (len && strchr(" \t\r\n", line[len - 1]))
			len--;
		if (!len)
			continue;
		n++;
		if (!answer_line(s, line, len, &bad))
			continue;
		n_bad++;
		print_json(json_pack("{s:s}", "error", sluice_err_msg(&bad)));
	}
	free(line);
	if (f != stdin)
		fclose(f);
	if (n_bad)
		return sluice_err_set(err, EINVAL, "%zu of %zu probes have no answer", n_bad, n);
	return 0;
}

static int answer_one(const struct invocation *inv, const struct source *s, struct sluice_err *err)
{
	struct sluice_probe probe = { option_value(inv, "from"), option_value(inv, "to"),
				      option_value(inv, "protocol"), option_value(inv, "port") };
	struct sluice_probe_result result;
	struct sluice_memory_query q;
	struct sluice_memory_answer a;
	int ret;

	if (!probe.from || !probe.to)
		return sluice_err_set(err, EINVAL, "give --from and --to, or --probes");
	ret = ask(s, &probe, &result, &q, &a, err);
	if (ret)
		return ret;
	if (inv->json)
		print_json(sluice_probe_result_json(&result));
	else
		print_answer(s, &probe, &result, &q, &a);
	return 0;
}

int run_trace(const struct invocation *inv, struct sluice_err *err)
{
	const char *probes = option_value(inv, "probes");
	struct source s = { 0 };
	int ret = 0;

	if (option_given(inv, "manifests")) {
		ret = open_manifests(inv, &s, err);
	} else {
		s.running = trace_running_open(err);
		ret = s.running ? 0 : -EIO;
	}
	if (!ret)
		ret = probes ? answer_file(&s, probes, err) : answer_one(inv, &s, err);
	if (!ret && s.n_bad)
		ret = sluice_err_set(err, EINVAL, "%zu parts of the manifests were refused",
				     s.n_bad);
	close_source(&s);
	return ret;
}
