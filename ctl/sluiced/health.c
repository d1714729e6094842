// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/health.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/timestamp.h"
#include "ctl/sluiced/controller.h"

/* kube-proxy's default: twice its sync period of 30 s. */
#define FAILING_MS 60000

/* NULL if it is well, else why not. */
static const char *check_healthy(const struct controller *c)
{
	if (!c->plane.dp)
		return c->failure ?: "the data plane has not been opened yet";
	if (c->failure && (!c->ready || loop_now() - c->failing >= FAILING_MS))
		return c->failure;
	return NULL;
}

static void answer(struct controller *c, const char *why, struct http_reply *reply)
{
	char now[SLUICE_TIMESTAMP_TEXT], updated[SLUICE_TIMESTAMP_TEXT];
	int64_t time = sluice_timestamp_now();
	json_t *json;

	json = json_pack("{s:b, s:s, s:s, s:s*}", "healthy", !why, "lastUpdated",
			 sluice_timestamp_format(why ? c->metrics.synced : time, updated),
			 "currentTime", sluice_timestamp_format(time, now), "reason", why);
	reply->status = why ? 503 : 200;
	reply->type = "application/json";
	reply->body = sluice_alloc_check(json_dumps(json, JSON_COMPACT));
	reply->len = strlen(reply->body);
	json_decref(json);
}

static void healthz(void *arg, struct http_reply *reply)
{
	struct controller *c = arg;
	const char *why = check_healthy(c);

	c->metrics.healthz[!!why]++;
	answer(c, why, reply);
}

static void livez(void *arg, struct http_reply *reply)
{
	struct controller *c = arg;

	c->metrics.livez++;
	answer(c, NULL, reply);
}

static void readyz(void *arg, struct http_reply *reply)
{
	const char *unhealthy = check_healthy(arg);
	char *waits = unhealthy ? NULL : controller_waits_for(arg);

	answer(arg, unhealthy ?: waits, reply);
	free(waits);
}

static void metrics(void *arg, struct http_reply *reply)
{
	reply->type = "text/plain; version=0.0.4; charset=utf-8";
	reply->body = metrics_text(arg, &reply->len);
}

int health_init(struct health *h, struct controller *c, struct sluice_err *err)
{
	static const struct http_route health_routes[] = {
		{ "/healthz", healthz }, { "/livez", livez }, { "/readyz", readyz }, { 0 }
	};
	static const struct http_route metrics_routes[] = { { "/metrics", metrics }, { 0 } };
	const struct options *o = c->options;
	int ret;

	*h = (struct health){ 0 };
	if (o->health_address) {
		ret = http_init(&h->health, c->loop, o->health_address, health_routes, c, err);
		if (ret)
			return sluice_err_prefix(err, "--health-address");
	}
	if (o->metrics_address) {
		ret = http_init(&h->metrics, c->loop, o->metrics_address, metrics_routes, c, err);
		if (ret) {
			health_exit(h);
			return sluice_err_prefix(err, "--metrics-address");
		}
	}
	return 0;
}

void health_exit(struct health *h)
{
	http_exit(&h->metrics);
	http_exit(&h->health);
}
