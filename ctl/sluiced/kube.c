// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/kube.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/kube_reflector.h"
#include "ctl/sluiced/log.h"

#define MAX_ERRORS 100 /* refused objects of a kind that status lists */

/* In the order in which they are asked for. */
static const enum sluice_kind kinds[] = {
	SLUICE_KIND_NAMESPACE,
	SLUICE_KIND_NODE,
	SLUICE_KIND_SERVICE,
	SLUICE_KIND_POD,
	SLUICE_KIND_ENDPOINT_SLICE,
	SLUICE_KIND_NETWORK_POLICY,
	SLUICE_KIND_CLUSTER_NETWORK_POLICY,
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct kube_source {
	struct kube_client *client;
	char *config; /* which one, for people */
	struct kube_reflector reflectors[N_KINDS];
	void (*changed)(void *ctx);
	void *ctx;
	int64_t began;
	bool synced;
};

static void changed(void *ctx)
{
	struct kube_source *source = ctx;

	source->changed(source->ctx);
}

static void kind_synced(void *ctx)
{
	struct kube_source *source = ctx;

	for (size_t i = 0; i < N_KINDS; i++)
		if (!source->reflectors[i].synced)
			return;
	source->synced = true;
	log_info("synced with the Kubernetes API", "server", kube_client_server(source->client),
		 "ms", LOG_NUM(loop_now() - source->began));
	source->changed(source->ctx);
}

static void note(void *ctx, enum kube_note note, enum sluice_kind kind, const char *what,
		 const char *detail)
{
	static const enum log_level levels[] = {
		[KUBE_DEBUG] = LOG_DEBUG,
		[KUBE_INFO] = LOG_INFO,
		[KUBE_WARNING] = LOG_WARNING,
		[KUBE_ERROR] = LOG_ERROR,
	};

	(void)ctx;
	log_write(levels[note], what, "kind", sluice_kind_name(kind), "detail", detail);
}

static const struct kube_reflector_ops ops = {
	.changed = changed,
	.synced = kind_synced,
	.note = note,
};

int kube_source_new(struct loop *loop, struct sluice_model *model, const char *kubeconfig,
		    const char *node, void (*fn)(void *ctx), void *ctx, struct kube_source **out,
		    struct sluice_err *err)
{
	struct kube_source *source;
	struct kube_config *config;
	struct kube_client *client;
	char *name;
	int ret;

	ret = kube_config_load(kubeconfig, &config, err);
	if (ret)
		return ret;
	name = sluice_strdup(config->source);
	ret = kube_client_new(loop, config, &client, err);
	if (ret) {
		free(name);
		return ret;
	}
	source = sluice_zalloc(sizeof(*source));
	source->client = client;
	source->config = name;
	source->changed = fn;
	source->ctx = ctx;
	source->began = loop_now();
	for (size_t i = 0; i < N_KINDS; i++) {
		kube_reflector_init(&source->reflectors[i], kinds[i], loop, client, model, node,
				    NULL, &ops, source);
		kube_reflector_start(&source->reflectors[i]);
	}
	*out = source;
	return 0;
}

void kube_source_free(struct kube_source *source)
{
	if (!source)
		return;
	for (size_t i = 0; i < N_KINDS; i++)
		kube_reflector_exit(&source->reflectors[i]);
	kube_client_free(source->client);
	free(source->config);
	free(source);
}

bool kube_source_synced(const struct kube_source *source)
{
	return source->synced;
}

char *kube_source_waits_for(const struct kube_source *source)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = sluice_alloc_check(open_memstream(&text, &len));
	const char *separator = "", *problem = NULL;

	fputs("waiting for the Kubernetes API: ", f);
	for (size_t i = 0; i < N_KINDS; i++) {
		const struct kube_reflector *r = &source->reflectors[i];

		if (r->synced)
			continue;
		fprintf(f, "%s%s", separator, sluice_kind_word(r->kind));
		separator = ", ";
		problem = problem ?: r->problem;
	}
	if (problem)
		fprintf(f, " (%s)", problem);
	fclose(f);
	return text;
}

const struct kube_reflector *kube_source_reflector(const struct kube_source *source, size_t i)
{
	return i < N_KINDS ? &source->reflectors[i] : NULL;
}

struct kube_client *kube_source_client(struct kube_source *source)
{
	return source->client;
}

static json_t *reflector_status(const struct kube_reflector *r)
{
	static const char *const phases[] = {
		[KUBE_WAITING] = "waiting",
		[KUBE_LISTING] = "listing",
		[KUBE_WATCHING] = "watching",
		[KUBE_ABSENT] = "absent",
	};

	return json_pack("{s:b, s:s, s:s*, s:s*, s:o*, s:I, s:I, s:I, s:I, s:I}", "synced",
			 r->synced, "phase", phases[r->phase], "resourceVersion", r->version,
			 "problem", r->problem, "heardMs",
			 r->heard ? json_integer(loop_now() - r->heard) : NULL, "lists",
			 (json_int_t)r->lists, "watches", (json_int_t)r->watches, "errors",
			 (json_int_t)r->errors, "events", (json_int_t)r->events, "refused",
			 (json_int_t)r->refused);
}

json_t *kube_source_status(const struct kube_source *source)
{
	json_t *list = json_object();

	for (size_t i = 0; i < N_KINDS; i++)
		json_object_set_new(list, sluice_kind_word(kinds[i]),
				    reflector_status(&source->reflectors[i]));
	return json_pack("{s:s, s:s, s:s, s:b, s:I, s:o}", "type", "kubernetes", "config",
			 source->config, "server", kube_client_server(source->client), "synced",
			 source->synced, "connections",
			 (json_int_t)kube_client_connections(source->client), "kinds", list);
}

static void add_error(json_t *errors, const char *severity, const char *message)
{
	json_array_append_new(errors, json_pack("{s:s, s:s, s:s}", "severity", severity, "source",
						"kubernetes", "message", message));
}

void kube_source_errors(const struct kube_source *source, json_t *errors)
{
	struct sluice_map_entry *e;
	struct sluice_map_iter it;
	char text[600];

	for (size_t i = 0; i < N_KINDS; i++) {
		const struct kube_reflector *r = &source->reflectors[i];
		size_t n = 0;

		if (r->problem) {
			snprintf(text, sizeof(text), "%s: %s", sluice_kind_word(r->kind),
				 r->problem);
			add_error(errors, r->synced ? "warning" : "error", text);
		}
		for (e = sluice_map_first(&r->refusals, &it); e && n < MAX_ERRORS;
		     e = sluice_map_next(&it), n++)
			add_error(errors, "error", e->value);
		if (r->refusals.n > n) {
			snprintf(text, sizeof(text), "%s: %zu more are refused",
				 sluice_kind_word(r->kind), r->refusals.n - n);
			add_error(errors, "error", text);
		}
	}
}
