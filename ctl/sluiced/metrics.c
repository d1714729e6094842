// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/conntrack.h"
#include "core/verdict.h"
#include "ctl/lib/alloc.h"
#include "ctl/lib/timestamp.h"
#include "ctl/sluiced/controller.h"
#include "ctl/sluiced/log.h"

#define NS 1e9
/* Slices of one transaction whose latency is told: 65,536 are more than a cluster's services change at once. */
#define TRIGGERED_MAX 65536

/* Buckets *********************************************************************************/

/* kube-proxy's, so that its panels and rules can be kept. */
static const double sync_bounds[] = { 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128,
				      0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384 };

/* Ours begin where one changed endpoint is. */
static const double work_bounds[] = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
				      0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,	   10 };

/* kube-proxy's as well: 0, 0.25, 0.5, each second to a minute, each five to two, each thirty to five. */
static double programming_bounds[82];

static size_t make_programming_bounds(void)
{
	size_t n = 0;

	programming_bounds[n++] = 0;
	programming_bounds[n++] = 0.25;
	programming_bounds[n++] = 0.5;
	for (int s = 1; s < 60; s++)
		programming_bounds[n++] = s;
	for (int s = 60; s < 120; s += 5)
		programming_bounds[n++] = s;
	for (int s = 120; s <= 300; s += 30)
		programming_bounds[n++] = s;
	return n;
}

#define HISTOGRAM(array)                                                   \
	(struct histogram)                                                 \
	{                                                                  \
		.bounds = (array), .n = sizeof(array) / sizeof((array)[0]) \
	}

static void observe(struct histogram *h, double value)
{
	size_t i = 0;

	while (i < h->n && value > h->bounds[i])
		i++;
	h->counts[i]++;
	h->sum += value;
}

/* Counting ********************************************************************************/

static void count_change(struct changes *changes)
{
	changes->total++;
	changes->pending++;
}

/*
 * Deleted slices tell no time, and those older than we are were programmed by another; as kube-proxy has it.
 */
static void on_change(void *ctx, const struct sluice_object *before,
		      const struct sluice_object *after)
{
	const struct sluice_object *any = after ?: before;
	struct metrics *m = ctx;
	int64_t time;

	switch (any->kind) {
	case SLUICE_KIND_SERVICE:
		count_change(&m->services);
		break;
	case SLUICE_KIND_ENDPOINTS:
		count_change(&m->endpoints);
		break;
	case SLUICE_KIND_ENDPOINT_SLICE:
		count_change(&m->endpoints);
		time = after ? sluice_to_slice(after)->triggered : 0;
		if (time <= m->started || m->n_triggered == TRIGGERED_MAX ||
		    (before && sluice_to_slice(before)->triggered == time))
			break;
		sluice_grow(m->triggered, m->n_triggered, m->cap_triggered);
		m->triggered[m->n_triggered++] = time;
		break;
	default:
		break;
	}
}

void metrics_init(struct metrics *m, struct sluice_model *model)
{
	*m = (struct metrics){
		.model = model,
		.started = sluice_timestamp_now(),
		.full = HISTOGRAM(sync_bounds),
		.partial = HISTOGRAM(sync_bounds),
		.compile = HISTOGRAM(work_bounds),
		.commit = HISTOGRAM(work_bounds),
		.programming = { .bounds = programming_bounds, .n = make_programming_bounds() },
	};
	sluice_model_listen(model, on_change, m);
}

void metrics_exit(struct metrics *m)
{
	sluice_model_unlisten(m->model, on_change, m);
	free(m->triggered);
}

void metrics_queued(struct metrics *m)
{
	m->queued = sluice_timestamp_now();
}

void metrics_synced(struct metrics *m, bool full, int64_t ns,
		    const struct sluice_compiler_stats *stats)
{
	observe(full ? &m->full : &m->partial, ns / NS);
	m->transactions++;
	if (!stats) {
		m->failures++;
		return;
	}
	m->synced = sluice_timestamp_now();
	observe(&m->compile, stats->compile_ns / NS);
	observe(&m->commit, stats->commit_ns / NS);
	for (size_t i = 0; i < m->n_triggered; i++)
		observe(&m->programming, (m->synced - m->triggered[i]) / NS);
	m->n_triggered = m->cap_triggered = 0;
	free(m->triggered);
	m->triggered = NULL;
	m->endpoints.pending = m->services.pending = 0;
}

/* Telling *********************************************************************************/

struct scrape {
	FILE *out;
	const char *name; /* of the metric */
	const struct controller *c;
	const struct metrics *m;
	struct sluice_compiler_stats compiled;
	struct plane_counters kernel;
	bool counted; /* kernel holds something */
	struct process {
		double cpu, start; /* seconds; start: since 1970 */
		double virtual, resident; /* bytes */
		double fds, max_fds;
	} process;
};

static void begin(struct scrape *s, const char *name, const char *type, const char *help)
{
	s->name = name;
	fprintf(s->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Numbers are written as doubles, which counters become in Prometheus anyhow. */
static void value(struct scrape *s, double number)
{
	fprintf(s->out, "%s %.15g\n", s->name, number);
}

/* Values of labels are words of ours, without anything that would have to be escaped. */
static void labelled(struct scrape *s, const char *label, const char *word, double number)
{
	fprintf(s->out, "%s{%s=\"%s\"} %.15g\n", s->name, label, word, number);
}

/* Of the data plane: nothing is told while it says nothing. */
static void counted(struct scrape *s, double number)
{
	if (s->counted)
		value(s, number);
}

static void counted_labelled(struct scrape *s, const char *label, const char *word, double number)
{
	if (s->counted)
		labelled(s, label, word, number);
}

static void time_of(struct scrape *s, int64_t ns)
{
	value(s, ns / NS);
}

static void histogram(struct scrape *s, const struct histogram *h, const struct histogram *more)
{
	double sum = h->sum + (more ? more->sum : 0);
	uint64_t n = 0;

	for (size_t i = 0; i <= h->n; i++) {
		n += h->counts[i] + (more ? more->counts[i] : 0);
		if (i < h->n)
			fprintf(s->out, "%s_bucket{le=\"%.15g\"} %" PRIu64 "\n", s->name,
				h->bounds[i], n);
	}
	fprintf(s->out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.15g\n%s_count %" PRIu64 "\n",
		s->name, n, s->name, sum, s->name, n);
}

static void build_info(struct scrape *s)
{
	fprintf(s->out, "%s{version=\"%s\",dataplane=\"%s\"} 1\n", s->name, SLUICE_VERSION,
		plane_name(s->c->plane.kind));
}

static void objects(struct scrape *s)
{
	for (int kind = 0; kind < SLUICE_KIND_COUNT; kind++)
		labelled(s, "kind", sluice_kind_name(kind), sluice_model_count(s->c->model, kind));
}

static void problems(struct scrape *s)
{
	const struct sluice_manifest_problem *v;
	const struct sluice_compiler_problem *compiled;
	size_t n, warnings = 0, refused = 0;
	const struct kube_reflector *r;

	v = sluice_manifests_problems(s->c->manifests, &n);
	for (size_t i = 0; i < n; i++)
		warnings += v[i].warning;
	for (size_t i = 0; s->c->kube && (r = kube_source_reflector(s->c->kube, i)); i++)
		refused += r->refusals.n;
	labelled(s, "kind", "refused", refused + n - warnings);
	labelled(s, "kind", "doubtful", warnings);
	labelled(s, "kind", "not-compiled", sluice_compiler_problems(s->c->compiler, &compiled));
}

static void problem_events(struct scrape *s)
{
	struct reporter_stats stats;

	if (!s->c->reporter)
		return;
	reporter_stats(s->c->reporter, &stats);
	labelled(s, "result", "created", stats.created);
	labelled(s, "result", "known", stats.known);
	labelled(s, "result", "counted", stats.counted);
	labelled(s, "result", "failed", stats.failed);
	labelled(s, "result", "left-out", stats.left_out);
}

static void problem_conditions(struct scrape *s)
{
	struct conditions_stats stats;

	if (!s->c->conditions)
		return;
	conditions_stats(s->c->conditions, &stats);
	labelled(s, "result", "written", stats.written);
	labelled(s, "result", "removed", stats.removed);
	labelled(s, "result", "known", stats.known);
	labelled(s, "result", "failed", stats.failed);
}

static void drops(struct scrape *s)
{
	for (int i = 1; i < SLUICE_REASON_COUNT; i++)
		counted_labelled(s, "reason", sluice_reason_name(i), s->kernel.stats.drops[i]);
	if (s->kernel.stats.drops_unknown)
		counted_labelled(s, "reason", "unknown", s->kernel.stats.drops_unknown);
}

static void evicted(struct scrape *s)
{
	for (int i = 0; i < SLUICE_EVICT_ESTABLISHED; i++) /* the last class never is */
		counted_labelled(s, "class", sluice_evict_name(i), s->kernel.stats.evicted[i]);
}

static void lookups(struct scrape *s)
{
	counted_labelled(s, "result", "hit", s->kernel.stats.hits);
	counted_labelled(s, "result", "miss", s->kernel.stats.misses);
}

static void packets(struct scrape *s)
{
	counted_labelled(s, "way", "pod", s->kernel.stats.fast_pod);
	counted_labelled(s, "way", "uplink", s->kernel.stats.fast_uplink);
	counted_labelled(s, "way", "stack", s->kernel.stats.stack);
	counted_labelled(s, "way", "foreign", s->kernel.stats.foreign);
}

/* Nothing is told of files: what they are wrong in is among the problems. */
#define each_source(s, number)                                                                   \
	do {                                                                                     \
		const struct kube_reflector *o;                                                  \
                                                                                                 \
		for (size_t i = 0; (s)->c->kube && (o = kube_source_reflector((s)->c->kube, i)); \
		     i++)                                                                        \
			labelled(s, "source", sluice_kind_word(o->kind), number);                \
	} while (0)

static void read_process(struct process *p)
{
	unsigned long user = 0, system = 0, size = 0;
	unsigned long long start = 0, boot = 0;
	char text[1024], line[256];
	struct rlimit limit;
	long pages = 0;
	const char *at;
	FILE *file;
	DIR *dir;

	*p = (struct process){ 0 };
	file = fopen("/proc/self/stat", "re");
	if (file) {
		/* The name may hold anything: what counts begins behind its last parenthesis, with field 3. */
		at = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
		if (at && sscanf(at + 1,
				 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d "
				 "%*d %*d %*d %llu %lu %ld",
				 &user, &system, &start, &size, &pages) == 5) {
			p->cpu = (double)(user + system) / sysconf(_SC_CLK_TCK);
			p->virtual = size;
			p->resident = (double)pages * sysconf(_SC_PAGESIZE);
		}
		fclose(file);
	}
	file = fopen("/proc/stat", "re");
	if (file) {
		while (fgets(line, sizeof(line), file) && sscanf(line, "btime %llu", &boot) != 1)
			;
		p->start = boot + (double)start / sysconf(_SC_CLK_TCK);
		fclose(file);
	}
	dir = opendir("/proc/self/fd");
	if (dir) {
		p->fds = -3; /* ".", "..", and the directory itself */
		while (readdir(dir))
			p->fds++;
		closedir(dir);
	}
	if (!getrlimit(RLIMIT_NOFILE, &limit))
		p->max_fds = limit.rlim_cur;
}

/*
 * X(name, type, help, what writes its samples). Names are an interface: kube-proxy's mean what they mean there, without
 * the label ip_family, since a transaction is one for both families.
 */
#define METRICS(X)                                                                                   \
	X("kubeproxy_sync_proxy_rules_duration_seconds", "histogram",                                \
	  "Transactions, from objects to the kernel", histogram(s, &m->full, &m->partial))           \
	X("kubeproxy_sync_full_proxy_rules_duration_seconds", "histogram",                           \
	  "Transactions that send everything", histogram(s, &m->full, NULL))                         \
	X("kubeproxy_sync_partial_proxy_rules_duration_seconds", "histogram",                        \
	  "Transactions that send what changed", histogram(s, &m->partial, NULL))                    \
	X("kubeproxy_sync_proxy_rules_last_timestamp_seconds", "gauge",                              \
	  "When the last transaction was committed", time_of(s, m->synced))                          \
	X("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "gauge",                       \
	  "When a transaction was last asked for", time_of(s, m->queued))                            \
	X("kubeproxy_network_programming_duration_seconds", "histogram",                             \
	  "From the change that an EndpointSlice tells of to the kernel",                            \
	  histogram(s, &m->programming, NULL))                                                       \
	X("kubeproxy_sync_proxy_rules_endpoint_changes_total", "counter",                            \
	  "Changes of EndpointSlices and Endpoints", value(s, m->endpoints.total))                   \
	X("kubeproxy_sync_proxy_rules_endpoint_changes_pending", "gauge",                            \
	  "Of these, not in the kernel yet", value(s, m->endpoints.pending))                         \
	X("kubeproxy_sync_proxy_rules_service_changes_total", "counter", "Changes of Services",      \
	  value(s, m->services.total))                                                               \
	X("kubeproxy_sync_proxy_rules_service_changes_pending", "gauge",                             \
	  "Of these, not in the kernel yet", value(s, m->services.pending))                          \
	X("kubeproxy_proxy_healthz_total", "counter", "Answers of /healthz by code",                 \
	  (labelled(s, "code", "200", m->healthz[0]), labelled(s, "code", "503", m->healthz[1])))    \
	X("kubeproxy_proxy_livez_total", "counter", "Answers of /livez by code",                     \
	  labelled(s, "code", "200", m->livez))                                                      \
	X("sluice_build_info", "gauge", "1, labelled with the version and the data plane",           \
	  build_info(s))                                                                             \
	X("sluice_ready", "gauge", "1 while the kernel holds a full state of this sluiced",          \
	  value(s, s->c->ready))                                                                     \
	X("sluice_dataplane_up", "gauge", "1 while the data plane tells its counters",               \
	  value(s, s->counted))                                                                      \
	X("sluice_objects", "gauge", "Kubernetes objects known, by kind", objects(s))                \
	X("sluice_object_problems", "gauge",                                                         \
	  "Objects of files that are refused (their last good version counts) or doubtful, and "     \
	  "what of good objects could not be compiled",                                              \
	  problems(s))                                                                               \
	X("sluice_attached_pods", "gauge", "Interfaces of pods attached to this node",               \
	  value(s, s->c->attachments.n))                                                             \
	X("sluice_endpoints", "gauge", "Endpoints in the data plane", value(s, k->endpoints))        \
	X("sluice_services", "gauge", "Service addresses with their port and protocol",              \
	  value(s, k->services))                                                                     \
	X("sluice_backends", "gauge", "Backends of these", value(s, k->backends))                    \
	X("sluice_peers", "gauge", "Addresses and prefixes that policy knows", value(s, k->peers))   \
	X("sluice_classes", "gauge", "Classes of these: what policy cannot tell apart",              \
	  value(s, k->classes))                                                                      \
	X("sluice_rules", "gauge", "Rules of policies in use on this node", value(s, k->rules))      \
	X("sluice_rulesets", "gauge", "Compiled rulesets", value(s, k->rulesets))                    \
	X("sluice_transactions_total", "counter", "Transactions, failed ones included",              \
	  value(s, m->transactions))                                                                 \
	X("sluice_transaction_failures_total", "counter", "Transactions that failed",                \
	  value(s, m->failures))                                                                     \
	X("sluice_compile_duration_seconds", "histogram", "Compiling, of each transaction",          \
	  histogram(s, &m->compile, NULL))                                                           \
	X("sluice_commit_duration_seconds", "histogram", "Sending and committing, of each",          \
	  histogram(s, &m->commit, NULL))                                                            \
	X("sluice_connections", "gauge", "Connections in the table, negative entries included",      \
	  counted(s, d->conns))                                                                      \
	X("sluice_connection_memory_bytes", "gauge", "Memory that connections use",                  \
	  counted(s, d->conn_bytes))                                                                 \
	X("sluice_connection_memory_budget_bytes", "gauge", "Memory that they may use",              \
	  counted(s, d->conn_budget))                                                                \
	X("sluice_connections_created_total", "counter", "Connections made",                         \
	  counted(s, d->stats.created))                                                              \
	X("sluice_connections_expired_total", "counter", "Of these, silent for too long",            \
	  counted(s, d->stats.expired))                                                              \
	X("sluice_connections_evicted_total", "counter",                                             \
	  "Of these, ended early to make room, by class", evicted(s))                                \
	X("sluice_connections_rejudged_total", "counter",                                            \
	  "Connections judged again after a change of policy", counted(s, d->stats.rejudged))        \
	X("sluice_connections_cut_total", "counter", "Of these, no longer allowed",                  \
	  counted(s, d->stats.cut))                                                                  \
	X("sluice_connections_remapped_total", "counter", "Connections with another source port",    \
	  counted(s, d->stats.remapped))                                                             \
	X("sluice_drops_total", "counter", "Packets dropped, by reason", drops(s))                   \
	X("sluice_lookups_total", "counter",                                                         \
	  "Packets that found their connection (hit), and first packets (miss)", lookups(s))         \
	X("sluice_packets_total", "counter",                                                         \
	  "Packets straight into a pod, out by a kept route, to the stack, and not ours, untouched", \
	  packets(s))                                                                                \
	X("sluice_fragments_total", "counter", "Fragments sent to reassembly",                       \
	  counted(s, d->stats.fragments))                                                            \
	X("sluice_events_lost_total", "counter", "Events for monitors that could not be sent",       \
	  counted(s, d->stats.events_lost))                                                          \
	X("sluice_problem_events_total", "counter",                                                  \
	  "Requests about Kubernetes Events of problems, by result", problem_events(s))              \
	X("sluice_problem_conditions_total", "counter",                                              \
	  "Requests about conditions of ClusterNetworkPolicies, by result", problem_conditions(s))   \
	X("sluice_source_synced", "gauge", "1 once all objects of a source were there",              \
	  each_source(s, o->synced))                                                                 \
	X("sluice_source_connected", "gauge",                                                        \
	  "1 while a watch is open, or the cluster does not have the kind",                          \
	  each_source(s, o->phase == KUBE_WATCHING || o->phase == KUBE_ABSENT))                      \
	X("sluice_source_silence_seconds", "gauge",                                                  \
	  "Since the last event or bookmark of a source",                                            \
	  each_source(s, o->heard ? (loop_now() - o->heard) / 1e3 : NAN))                            \
	X("sluice_source_lists_total", "counter", "Lists begun", each_source(s, o->lists))           \
	X("sluice_source_watches_total", "counter", "Watches begun", each_source(s, o->watches))     \
	X("sluice_source_events_total", "counter", "Objects that came, in lists and watches",        \
	  each_source(s, o->events))                                                                 \
	X("sluice_source_failures_total", "counter", "Lists and watches that failed",                \
	  each_source(s, o->errors))                                                                 \
	X("sluice_source_refused_total", "counter", "Objects that could not be read",                \
	  each_source(s, o->refused))                                                                \
	X("process_cpu_seconds_total", "counter", "Processor time", value(s, p->cpu))                \
	X("process_resident_memory_bytes", "gauge", "Resident memory", value(s, p->resident))        \
	X("process_virtual_memory_bytes", "gauge", "Virtual memory", value(s, p->virtual))           \
	X("process_start_time_seconds", "gauge", "When the process began", value(s, p->start))       \
	X("process_open_fds", "gauge", "Open file descriptors", value(s, p->fds))                    \
	X("process_max_fds", "gauge", "How many may be open", value(s, p->max_fds))

char *metrics_text(struct controller *c, size_t *len)
{
	struct scrape scrape = { .c = c, .m = &c->metrics }, *s = &scrape;
	const struct sluice_compiler_stats *k = &s->compiled;
	const struct plane_counters *d = &s->kernel;
	const struct process *p = &s->process;
	const struct metrics *m = s->m;
	char *text = NULL;
	SLUICE_ERR(err);

	s->counted = !plane_count(&c->plane, &s->kernel, &err);
	if (!s->counted && err.code != ENODATA)
		log_debug("no counters", "error", sluice_err_msg(&err));
	sluice_compiler_stats(c->compiler, &s->compiled);
	read_process(&s->process);
	s->out = sluice_alloc_check(open_memstream(&text, len));
#define X(name, type, help, samples) \
	begin(s, name, type, help);  \
	samples;
	METRICS(X)
#undef X
	if (fclose(s->out))
		sluice_alloc_check(NULL);
	return text;
}
