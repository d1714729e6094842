// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/controller.h"

#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/address.h"
#include "ctl/lib/alloc.h"
#include "ctl/lib/dataplane_bpf.h"
#include "ctl/lib/dataplane_netlink.h"
#include "ctl/lib/nl.h"
#include "ctl/lib/nl_object.h"
#include "ctl/lib/timestamp.h"
#include "ctl/sluiced/attachment_file.h"
#include "ctl/sluiced/log.h"
#include "ctl/sluiced/uplink.h"

#define RETRY_MIN 100 /* ms */
#define RETRY_MAX 10000

/* Problems ********************************************************************************/

/* Remembered in "now"; logged if it did not stand before. */
static void tell(struct controller *c, struct sluice_map *now, bool warning, const char *source,
		 const char *message)
{
	size_t source_len = strlen(source) + 1, len = source_len + strlen(message);
	char *key = sluice_zalloc(len);

	memcpy(key, source, source_len);
	memcpy(key + source_len, message, len - source_len);
	if (!*sluice_map_slot(now, key, len) && !sluice_map_get(&c->told, key, len))
		log_write(warning ? LOG_WARNING : LOG_ERROR, "object", "source", source, "problem",
			  message);
	*sluice_map_slot(now, key, len) = c;
	free(key);
}

/* Logs what is new since the last time. */
static void tell_problems(struct controller *c)
{
	const struct sluice_manifest_problem *problems;
	unsigned long versions[2] = { sluice_manifests_problems_version(c->manifests),
				      sluice_compiler_problems_version(c->compiler) };
	const struct sluice_compiler_problem *compiled;
	struct sluice_map now = { 0 };
	size_t n;

	if (!memcmp(c->told_versions, versions, sizeof(versions)))
		return;
	memcpy(c->told_versions, versions, sizeof(versions));
	problems = sluice_manifests_problems(c->manifests, &n);
	for (size_t i = 0; i < n; i++)
		tell(c, &now, problems[i].warning, problems[i].source, problems[i].message);
	n = sluice_compiler_problems(c->compiler, &compiled);
	for (size_t i = 0; i < n; i++)
		tell(c, &now, true, "compiler", compiled[i].text);
	sluice_map_clear(&c->told, NULL);
	c->told = now;
}

/* The same to the owners of objects. Those of files have none. */
static void report_problems(struct controller *c)
{
	unsigned long version = sluice_compiler_problems_version(c->compiler);
	const struct sluice_compiler_problem *compiled;
	const struct kube_reflector *r;
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	size_t n;

	if (!c->reporter)
		return;
	if (c->ready)
		conditions_look(c->conditions);
	for (size_t i = 0; (r = kube_source_reflector(c->kube, i)); i++)
		version += r->refusals_version;
	if (version == c->reported_version)
		return;
	c->reported_version = version;
	reporter_begin(c->reporter);
	for (size_t i = 0; (r = kube_source_reflector(c->kube, i)); i++)
		for (e = sluice_map_first(&r->refusals, &it); e; e = sluice_map_next(&it))
			reporter_add(c->reporter, EVENT_REFUSED, e->value, true);
	n = sluice_compiler_problems(c->compiler, &compiled);
	for (size_t i = 0; i < n; i++)
		reporter_add(c->reporter, EVENT_NOT_COMPILED, compiled[i].text, !compiled[i].local);
	reporter_end(c->reporter);
}

static void set_text(char **slot, const char *text)
{
	free(*slot);
	*slot = text ? sluice_strdup(text) : NULL;
}

/* The kernel ******************************************************************************/

static void split_name(const char *name, char **ns, char **pod)
{
	const char *slash = strchr(name, '/');

	*ns = slash ? strndup(name, slash - name) : sluice_strdup("");
	*pod = sluice_strdup(slash ? slash + 1 : "");
}

static int learn_endpoint(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct sluice_nl_endpoint endpoint;
	struct controller *c = arg;
	struct attachment a = { 0 };
	int ret;

	if (!attrs[SLUICE_A_ENDPOINT])
		return 0;
	ret = sluice_nl_parse_endpoint(attrs[SLUICE_A_ENDPOINT], &endpoint, err);
	if (ret)
		return ret;
	if (attachments_by_ifindex(&c->attachments, endpoint.ifindex) ||
	    (*endpoint.container && attachments_by_container(&c->attachments, endpoint.container)))
		return 0; /* attached while we waited for the module */
	a.ifindex = endpoint.ifindex;
	a.ifname = (char *)endpoint.ifname;
	a.container = (char *)endpoint.container;
	a.addrs = endpoint.addrs;
	a.n_addrs = endpoint.n_addrs;
	split_name(endpoint.name, &a.ns, &a.pod);
	controller_attach(c, &a);
	log_debug("learned an endpoint", "interface", endpoint.ifname, "pod", endpoint.name,
		  "container", endpoint.container);
	free(a.ns);
	free(a.pod);
	return 0;
}

static int learn_from_kernel(struct controller *c, struct sluice_err *err)
{
	struct sluice_nl nl;
	int ret;

	ret = sluice_nl_open(&nl, err);
	if (ret)
		return ret;
	ret = sluice_nl_dump(&nl, sluice_nl_message(&nl, SLUICE_CMD_GET_ENDPOINT, 0, err),
			     learn_endpoint, c, err);
	sluice_nl_close(&nl);
	if (ret)
		return sluice_err_prefix(err, "read the endpoints");
	if (c->attachments.n)
		log_info("learned the attached pods from the kernel", "endpoints",
			 LOG_NUM(c->attachments.n));
	return 0;
}

/* Is it known already, by any of what makes it unique? */
static bool is_known(const struct controller *c, const struct attachment *a)
{
	if (attachments_by_ifindex(&c->attachments, a->ifindex) ||
	    (*a->container && attachments_by_container(&c->attachments, a->container)))
		return true;
	for (size_t i = 0; i < a->n_addrs; i++)
		if (attachments_by_addr(&c->attachments, &a->addrs[i]))
			return true;
	return false;
}

/* What the kernel does not know any more. Nothing that is wrong with the file stops the start. */
static void learn_from_file(struct controller *c)
{
	struct attachments saved = { 0 };
	char name[IF_NAMESIZE];
	size_t learned = 0;
	SLUICE_ERR(err);

	if (attachments_load(&saved, c->file, &err))
		log_warning("the file of the attached pods is ignored", "file", c->file, "error",
			    sluice_err_msg(&err));
	for (size_t i = 0; i < saved.n; i++) {
		const struct attachment *a = saved.v[i];

		if (is_known(c, a))
			continue;
		/* The index may be another interface's by now: after a reboot they count anew. */
		if (!if_indextoname(a->ifindex, name) || strcmp(name, a->ifname)) {
			log_info("the interface of an attached pod is gone", "namespace", a->ns,
				 "pod", a->pod, "container", a->container);
			continue;
		}
		controller_attach(c, a);
		learned++;
	}
	attachments_clear(&saved);
	if (learned)
		log_info("learned attached pods from the file", "endpoints", LOG_NUM(learned),
			 "file", c->file);
}

static int learn(struct controller *c, struct sluice_err *err)
{
	int ret = c->plane.kind == PLANE_MEMORY ? 0 : learn_from_kernel(c, err);

	if (ret)
		return ret;
	learn_from_file(c);
	c->learned = c->unsaved = true;
	return 0;
}

/* Not before all is learned: what the file has from the last sluiced must not be lost. */
static void save(struct controller *c)
{
	SLUICE_ERR(err);

	if (!c->unsaved || !c->learned)
		return;
	c->unsaved = false;
	if (!attachments_save(&c->attachments, c->file, &err)) {
		set_text(&c->file_problem, NULL);
		return;
	}
	/* Tried again with the next change. Told once, and as long as it stands by status. */
	if (!c->file_problem || strcmp(c->file_problem, sluice_err_msg(&err)))
		log_error("cannot save the attached pods", "error", sluice_err_msg(&err));
	set_text(&c->file_problem, sluice_err_msg(&err));
}

/* The module takes it once it has state, that is after a transaction; so does the eBPF variant. */
static int configure(struct controller *c, struct sluice_err *err)
{
	struct sluice_nl nl;
	struct nl_msg *msg;
	int ret;

	if (!c->options->conn_budget || c->plane.kind == PLANE_MEMORY) {
		c->configured = true;
		return 0;
	}
	if (c->plane.kind == PLANE_BPF) {
		ret = sluice_dataplane_bpf_budget(c->plane.dp, c->options->conn_budget, err);
	} else {
		ret = sluice_nl_open_module(&nl, err);
		if (ret)
			return ret;
		msg = sluice_nl_message(&nl, SLUICE_CMD_SET_CONFIG, 0, err);
		if (msg)
			sluice_nl_put_conn_budget(msg, c->options->conn_budget);
		ret = sluice_nl_call(&nl, msg, NULL, NULL, err);
		sluice_nl_close(&nl);
	}
	if (ret)
		return sluice_err_prefix(err, "set the memory budget of connections");
	c->configured = true;
	log_info("set the memory budget of connections", "bytes", LOG_NUM(c->options->conn_budget));
	return 0;
}

/* The module finds the node's address by itself. */
static void tell_addresses(struct controller *c)
{
	if (c->plane.kind == PLANE_BPF)
		sluice_dataplane_bpf_masquerade(c->plane.dp, c->masquerade);
}

static void set_ready(struct controller *c, bool ready)
{
	if (c->ready == ready)
		return;
	c->ready = ready;
	if (ready)
		log_info("ready");
	else
		log_warning("not ready");
}

static void fail(struct controller *c, int code, const struct sluice_err *err)
{
	int64_t delay = RETRY_MIN << (c->failures < 7 ? c->failures : 7);

	if (delay > RETRY_MAX)
		delay = RETRY_MAX;
	/* The same failure again and again is told once, and as long as it stands by status. */
	if (!c->failure || strcmp(c->failure, sluice_err_msg(err)))
		log_error("cannot bring the state into the kernel", "error", sluice_err_msg(err),
			  "retry_ms", LOG_NUM(delay));
	if (!c->failure)
		c->failing = loop_now();
	set_text(&c->failure, sluice_err_msg(err));
	c->failures++;
	c->wanted = false;
	c->full = true;
	if (code == -ENOPROTOOPT || code == -EPERM) {
		set_ready(c, false);
		c->configured = false;
	}
	/* An interface that vanished takes its endpoint with it: nothing to wait for. */
	if (code == -ENODEV) {
		size_t before = c->attachments.n;

		controller_check_interfaces(c);
		if (c->attachments.n != before) {
			c->wanted = true;
			return;
		}
	}
	loop_arm(c->loop, &c->retry, delay);
}

static void sync(struct controller *c)
{
	struct sluice_compiler_stats stats;
	bool full = c->full, dirty;
	int64_t began = sluice_timestamp_now();
	int ret = 0;
	SLUICE_ERR(err);

	loop_disarm(c->loop, &c->retry);
	ret = plane_open(&c->plane, c->options, c->loop, &err);
	if (!ret && !c->learned)
		ret = learn(c, &err);
	save(c);
	dirty = full || sluice_compiler_dirty(c->compiler);
	if (!ret)
		ret = sluice_compiler_sync(c->compiler, c->plane.dp, full, &err);
	if (!ret)
		tell_addresses(c);
	if (!ret && full)
		plane_remove_other(&c->plane);
	if (!ret && !c->configured)
		ret = configure(c, &err);
	tell_problems(c);
	if (ret) {
		metrics_synced(&c->metrics, full, sluice_timestamp_now() - began, NULL);
		fail(c, ret, &err);
		return;
	}
	if (c->failures)
		log_info("the kernel takes the state again", "failures", LOG_NUM(c->failures));
	c->failures = 0;
	set_text(&c->failure, NULL);
	c->wanted = c->full = false;
	if (dirty) {
		c->syncs++;
		sluice_compiler_stats(c->compiler, &stats);
		began = sluice_timestamp_now() - began;
		metrics_synced(&c->metrics, full, began, &stats);
		/* A busy cluster has a hundred a second; metrics count them. */
		log_write(full ? LOG_INFO : LOG_DEBUG, "state is in the kernel", "full",
			  full ? "true" : NULL, "sent", LOG_NUM(stats.sent), "services",
			  LOG_NUM(stats.services), "peers", LOG_NUM(stats.peers), "rulesets",
			  LOG_NUM(stats.rulesets), "endpoints", LOG_NUM(stats.endpoints), "ms",
			  LOG_NUM(began / 1000000));
	}
	set_ready(c, true);
	/* What lists and loading have used goes back to the system: 2 MB at 16,000 pods. */
	if (full)
		malloc_trim(0);
}

void controller_want_sync(struct controller *c, bool full)
{
	c->wanted = true;
	c->full |= full;
	metrics_queued(&c->metrics);
}

bool controller_work(struct controller *c)
{
	save(c);
	report_problems(c);
	/* While one is due after a failure, what comes in between waits for it too. */
	if (!c->wanted || c->retry.at || (c->kube && !kube_source_synced(c->kube)))
		return false;
	sync(c);
	c->settled(c->settled_arg);
	return true;
}

static void retry(struct timer *timer)
{
	struct controller *c = container_of(timer, struct controller, retry);

	c->wanted = true;
}

static void resync(struct timer *timer)
{
	struct controller *c = container_of(timer, struct controller, resync);

	controller_want_sync(c, true);
	loop_arm(c->loop, &c->resync, c->options->resync * 1000LL);
}

void controller_refresh(struct controller *c)
{
	if (sluice_manifests_refresh(c->manifests))
		controller_want_sync(c, false);
}

bool controller_refresh_file(struct controller *c, const char *path)
{
	bool done;

	if (sluice_manifests_refresh_file(c->manifests, path, &done))
		controller_want_sync(c, false);
	return done;
}

void controller_module_changed(struct controller *c, bool loaded, int family)
{
	if (!c->plane.dp) {
		loop_disarm(c->loop, &c->retry);
		controller_want_sync(c, true);
		return;
	}
	if (c->plane.kind != PLANE_MODULE) {
		if (loaded && c->options->dataplane == PLANE_AUTO)
			log_info(
				"the module was loaded; sluiced takes it when it is started again");
		return;
	}
	/* News of what a retry has found out already: it is the one we speak to, or was another. */
	if (c->ready && loaded == (family == sluice_dataplane_netlink_family(c->plane.dp)))
		return;
	if (loaded)
		log_info("the module was loaded");
	else
		log_warning("the module was unloaded");
	set_ready(c, false);
	c->configured = false;
	/* What the kernel held is lost. After an unload this fails, and goes on trying. */
	loop_disarm(c->loop, &c->retry);
	controller_want_sync(c, true);
}

char *controller_waits_for(const struct controller *c)
{
	if (c->kube && !kube_source_synced(c->kube))
		return kube_source_waits_for(c->kube);
	return c->ready ? NULL : sluice_strdup(c->failure ?: "the first transaction is under way");
}

static void objects_changed(void *arg)
{
	controller_want_sync(arg, false);
}

/* Attachments *****************************************************************************/

struct attachment *controller_attach(struct controller *c, const struct attachment *a)
{
	struct sluice_attachment compiled = {
		.ifindex = a->ifindex,
		.ns = a->ns,
		.pod = a->pod,
		.container = a->container,
		.addrs = a->addrs,
		.n_addrs = a->n_addrs,
	};

	sluice_compiler_attach(c->compiler, &compiled);
	c->unsaved = true;
	controller_want_sync(c, false);
	return attachments_add(&c->attachments, a);
}

void controller_detach(struct controller *c, struct attachment *a)
{
	sluice_compiler_detach(c->compiler, a->ifindex);
	attachments_remove(&c->attachments, a);
	c->unsaved = true;
	controller_want_sync(c, false);
}

bool controller_is_settled(const struct controller *c)
{
	return c->ready && !c->wanted && !c->failure && !sluice_compiler_dirty(c->compiler);
}

bool controller_is_open(const struct controller *c, const struct attachment *a)
{
	return controller_is_settled(c) && (!*a->pod || sluice_model_pod(c->model, a->ns, a->pod));
}

void controller_check_attachments(struct controller *c)
{
	char name[IF_NAMESIZE];

	for (size_t i = c->attachments.n; i-- > 0;) {
		struct attachment *a = c->attachments.v[i];

		if (c->options->dataplane == PLANE_MEMORY || if_indextoname(a->ifindex, name) ||
		    errno != ENXIO)
			continue;
		log_info("the interface of an attached pod is gone", "namespace", a->ns, "pod",
			 a->pod, "container", a->container);
		controller_detach(c, a);
	}
}

void controller_check_interfaces(struct controller *c)
{
	uint32_t *indexes;
	char *problem;
	size_t n;

	controller_check_attachments(c);
	n = uplinks_find(c->options, &indexes, &problem);
	if (problem && (!c->uplink_problem || strcmp(problem, c->uplink_problem)))
		log_warning(problem);
	set_text(&c->uplink_problem, problem);
	sluice_compiler_set_uplinks(c->compiler, indexes, n);
	uplinks_addresses(indexes, n, c->masquerade);
	tell_addresses(c);
	if (sluice_compiler_dirty(c->compiler))
		controller_want_sync(c, false);
	free(problem);
	free(indexes);
}

/* Life ************************************************************************************/

int controller_init(struct controller *c, struct loop *loop, const struct options *options,
		    struct sluice_err *err)
{
	int ret;

	*c = (struct controller){ .loop = loop, .options = options };
	if (asprintf(&c->file, "%s.attachments", options->socket) < 0)
		sluice_alloc_check(NULL);
	c->retry.expired = retry;
	c->resync.expired = resync;
	c->model = sluice_model_new();
	metrics_init(&c->metrics, c->model);
	c->manifests = sluice_manifests_new(c->model);
	c->compiler = sluice_compiler_new(c->model, options->node);
	if (!options->n_manifests) {
		ret = kube_source_new(loop, c->model, options->kubeconfig, options->node,
				      objects_changed, c, &c->kube, err);
		if (ret) {
			controller_exit(c);
			return ret;
		}
		c->conditions = conditions_new(loop, kube_source_client(c->kube));
		c->reporter = reporter_new(loop, kube_source_client(c->kube), options->node,
					   c->conditions);
		plane_open_ahead(&c->plane, options);
	}
	for (size_t i = 0; i < options->n_manifests; i++) {
		ret = sluice_manifests_load(c->manifests, options->manifests[i], err);
		if (ret) {
			sluice_err_prefix(err, "--manifests %s", options->manifests[i]);
			controller_exit(c);
			return ret;
		}
	}
	controller_check_interfaces(c);
	controller_want_sync(c, true);
	if (options->resync)
		loop_arm(loop, &c->resync, options->resync * 1000LL);
	return 0;
}

void controller_exit(struct controller *c)
{
	save(c); /* without those whose clients went away with the server */
	/* The kernel's state stays: nothing is taken back. */
	loop_disarm(c->loop, &c->retry);
	loop_disarm(c->loop, &c->resync);
	reporter_free(c->reporter);
	conditions_free(c->conditions);
	kube_source_free(c->kube);
	plane_close(&c->plane);
	sluice_compiler_free(c->compiler);
	sluice_manifests_free(c->manifests);
	metrics_exit(&c->metrics);
	sluice_model_free(c->model);
	attachments_clear(&c->attachments);
	sluice_map_clear(&c->told, NULL);
	free(c->failure);
	free(c->uplink_problem);
	free(c->file_problem);
	free(c->file);
}

/* Status **********************************************************************************/

static void add_error(json_t *errors, const char *severity, const char *source, const char *message)
{
	json_array_append_new(errors, json_pack("{s:s, s:s, s:s}", "severity", severity, "source",
						source, "message", message));
}

static json_t *status_errors(struct controller *c)
{
	const struct sluice_compiler_problem *compiled;
	const struct sluice_manifest_problem *problems;
	json_t *errors = json_array();
	size_t n;

	if (c->failure)
		add_error(errors, "error", "kernel", c->failure);
	if (c->file_problem)
		add_error(errors, "error", "attachments", c->file_problem);
	if (c->uplink_problem)
		add_error(errors, "warning", "uplink", c->uplink_problem);
	if (c->kube)
		kube_source_errors(c->kube, errors);
	problems = sluice_manifests_problems(c->manifests, &n);
	for (size_t i = 0; i < n; i++)
		add_error(errors, problems[i].warning ? "warning" : "error", problems[i].source,
			  problems[i].message);
	n = sluice_compiler_problems(c->compiler, &compiled);
	for (size_t i = 0; i < n; i++)
		add_error(errors, "warning", "compiler", compiled[i].text);
	return errors;
}

static json_t *manifests_status(const struct controller *c)
{
	json_t *paths = json_array();

	for (size_t i = 0; i < c->options->n_manifests; i++)
		json_array_append_new(paths, json_string(c->options->manifests[i]));
	return json_pack("{s:s, s:o}", "type", "manifests", "paths", paths);
}

json_t *controller_status(struct controller *c)
{
	const struct sluice_node *node;
	struct sluice_compiler_stats stats;
	char text[SLUICE_ADDR_TEXT];
	json_t *objects, *compiled, *cidrs;

	objects = json_object();
	for (int kind = 0; kind < SLUICE_KIND_COUNT; kind++)
		json_object_set_new(objects, sluice_kind_word(kind),
				    json_integer(sluice_model_count(c->model, kind)));
	sluice_compiler_stats(c->compiler, &stats);
	compiled = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "services",
			     (json_int_t)stats.services, "backends", (json_int_t)stats.backends,
			     "peers", (json_int_t)stats.peers, "classes", (json_int_t)stats.classes,
			     "rules", (json_int_t)stats.rules, "rulesets",
			     (json_int_t)stats.rulesets, "endpoints", (json_int_t)stats.endpoints);

	cidrs = json_array();
	node = sluice_to_node(sluice_model_find(c->model, SLUICE_KIND_NODE, "", c->options->node));
	for (size_t i = 0; node && i < node->n_pod_cidrs; i++)
		json_array_append_new(cidrs,
				      json_string(sluice_cidr_format(&node->pod_cidrs[i], text)));

	return json_pack(
		"{s:s, s:o, s:s, s:s*, s:b, s:I, s:o, s:o, s:I, s:o, s:o}", "node",
		c->options->node, "source",
		c->kube ? kube_source_status(c->kube) : manifests_status(c), "dataplane",
		plane_name(c->plane.kind), "dataplaneReason", c->plane.why, "ready", c->ready,
		"revision",
		(json_int_t)(c->plane.kind == PLANE_MEMORY ? c->syncs : plane_revision(&c->plane)),
		"objects", objects, "compiled", compiled, "attached", (json_int_t)c->attachments.n,
		"podCIDRs", cidrs, "errors", status_errors(c));
}
