// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/request.h"

#include <jansson.h>
#include <math.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/address.h"
#include "ctl/lib/alloc.h"
#include "ctl/sluiced/controller.h"
#include "ctl/sluiced/log.h"
#include "ctl/sluiced/server.h"
#include "uapi/sluice.h"

#define ATTACH_SECONDS 30 /* where the request names none */
#define ATTACH_SECONDS_MAX 3600
#define SYNC_MS 1500 /* that detach and gc wait for the kernel; sluice-cni waits 2 s */

/* Fields **********************************************************************************/

/* The name of a field that stands there and is not in the list. */
static const char *unknown_field(const json_t *json, const char *const *known)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)json, key, value) {
		const char *const *at = known;

		while (*at && strcmp(*at, key))
			at++;
		if (!*at)
			return key;
	}
	return NULL;
}

/* The text of a field; NULL when it is refused (and answered). An optional one that is absent is "". */
static const char *text_field(struct client *client, const json_t *json, const char *name,
			      bool optional)
{
	const json_t *value = json_object_get(json, name);
	const char *text;

	if (!value && optional)
		return "";
	if (!value) {
		client_refuse(client, "bad-request", "\"%s\" is missing", name);
		return NULL;
	}
	text = json_string_value(value);
	if (!text || json_string_length(value) != strlen(text)) {
		client_refuse(client, "bad-request", "\"%s\" is not a string", name);
		return NULL;
	}
	if (!*text && !optional) {
		client_refuse(client, "bad-request", "\"%s\" is empty", name);
		return NULL;
	}
	return text;
}

/* "containerID/ifname", to be freed; NULL when refused. */
static char *container_field(struct client *client, const json_t *json)
{
	const char *id = text_field(client, json, "containerID", false), *ifname;
	char *container;

	if (!id)
		return NULL;
	ifname = text_field(client, json, "ifname", false);
	if (!ifname)
		return NULL;
	if (strlen(ifname) >= IF_NAMESIZE || strchr(ifname, '/')) {
		client_refuse(client, "bad-request", "\"ifname\" is not the name of an interface");
		return NULL;
	}
	if (strlen(id) + 1 + strlen(ifname) >= SLUICE_NAME_LEN) {
		client_refuse(client, "bad-request", "\"containerID\" is longer than %zu bytes",
			      (size_t)SLUICE_NAME_LEN - IF_NAMESIZE - 1);
		return NULL;
	}
	if (asprintf(&container, "%s/%s", id, ifname) < 0)
		sluice_alloc_check(NULL);
	return container;
}

static void answer_ok(struct client *client)
{
	client_answer(client, json_pack("{s:b}", "ok", 1));
}

/* ready, status ***************************************************************************/

static void refuse_not_ready(struct client *client)
{
	char *why = controller_waits_for(client_controller(client));

	client_refuse(client, "not-ready", "%s", why ?: "");
	free(why);
}

static void handle_ready(struct client *client, json_t *json)
{
	(void)json;
	if (client_controller(client)->ready)
		answer_ok(client);
	else
		refuse_not_ready(client);
}

static void handle_status(struct client *client, json_t *json)
{
	json_t *answer = json_pack("{s:b}", "ok", 1);

	(void)json;
	json_object_update_new(answer, controller_status(client_controller(client)));
	client_answer(client, answer);
}

/* attach **********************************************************************************/

struct attach {
	struct waiting waiting;
	uint32_t ifindex;
	char container[SLUICE_NAME_LEN];
};

static struct attachment *find_attached(struct client *client, const struct attach *attach)
{
	struct attachment *a =
		attachments_by_ifindex(&client_controller(client)->attachments, attach->ifindex);

	return a && !strcmp(a->container, attach->container) ? a : NULL;
}

static void attach_again(struct client *client, struct waiting *waiting, bool expired)
{
	struct controller *c = client_controller(client);
	struct attach *attach = (struct attach *)waiting;
	struct attachment *a = find_attached(client, attach);

	if (!a) {
		client_refuse(client, "not-found", "%s was detached, or its interface vanished",
			      attach->container);
	} else if (controller_is_open(c, a)) {
		log_info("attached", "namespace", a->ns, "pod", a->pod, "container", a->container);
		answer_ok(client);
	} else if (expired) {
		if (!c->ready)
			refuse_not_ready(client);
		else if (*a->pod && !sluice_model_pod(c->model, a->ns, a->pod))
			client_refuse(client, "unknown-pod", "pod %s/%s is not known on node %s",
				      a->ns, a->pod, c->options->node);
		else if (c->failure)
			client_refuse(client, "kernel", "%s", c->failure);
		else
			client_refuse(client, "timeout", "the state is not in the kernel in time");
		controller_detach(c, a);
	}
}

/* Whoever wanted the pod is gone: an endpoint that nobody waits for must not open later. */
static void attach_cancel(struct client *client, struct waiting *waiting)
{
	struct attachment *a = find_attached(client, (struct attach *)waiting);

	if (!a)
		return;
	log_info("the client of an attach went away", "namespace", a->ns, "pod", a->pod,
		 "container", a->container);
	controller_detach(client_controller(client), a);
}

/* The addresses; false when refused. */
static bool addresses_field(struct client *client, const json_t *json,
			    struct sluice_dp_addr addrs[SLUICE_MAX_ENDPOINT_ADDRS], size_t *n)
{
	json_t *list = json_object_get(json, "ips"), *value;
	size_t i;

	*n = json_array_size(list);
	if (!json_is_array(list) || !*n || *n > SLUICE_MAX_ENDPOINT_ADDRS) {
		client_refuse(client, "bad-request", "\"ips\" is not a list of 1 to %d addresses",
			      SLUICE_MAX_ENDPOINT_ADDRS);
		return false;
	}
	json_array_foreach(list, i, value) {
		const char *text = json_string_value(value);

		if (!text || !sluice_address_parse(text, &addrs[i])) {
			client_refuse(client, "bad-request", "\"ips\"[%zu] is not an address", i);
			return false;
		}
		for (size_t j = 0; j < i; j++) {
			if (!sluice_address_compare(&addrs[i], &addrs[j])) {
				client_refuse(client, "bad-request", "\"ips\" has %s twice", text);
				return false;
			}
		}
	}
	return true;
}

/* The seconds to wait; negative when refused. */
static double timeout_field(struct client *client, const json_t *json)
{
	const json_t *value = json_object_get(json, "timeout");
	double seconds;

	if (!value)
		return ATTACH_SECONDS;
	seconds = json_number_value(value);
	if (!json_is_number(value) || !(seconds > 0) || seconds > ATTACH_SECONDS_MAX) {
		client_refuse(client, "bad-request",
			      "\"timeout\" is not a number of seconds up to %d",
			      ATTACH_SECONDS_MAX);
		return -1;
	}
	return seconds;
}

/* The interface; 0 when refused. */
static uint32_t interface_field(struct client *client, const json_t *json)
{
	const json_t *value = json_object_get(json, "ifindex");
	const char *name = text_field(client, json, "hostIfname", false);
	json_int_t ifindex = json_integer_value(value);
	char real[IF_NAMESIZE];

	if (!name)
		return 0;
	if (!json_is_integer(value) || ifindex <= 0 || ifindex > INT32_MAX) {
		client_refuse(client, "bad-request",
			      "\"ifindex\" is not the index of an interface");
		return 0;
	}
	if (client_controller(client)->options->dataplane == PLANE_MEMORY)
		return ifindex;
	if (!if_indextoname(ifindex, real)) {
		client_refuse(client, "bad-request", "\"ifindex\": there is no interface %lld",
			      (long long)ifindex);
		return 0;
	}
	if (strcmp(real, name)) {
		client_refuse(client, "bad-request", "\"hostIfname\": interface %lld is %s, not %s",
			      (long long)ifindex, real, name);
		return 0;
	}
	return ifindex;
}

static void handle_attach(struct client *client, json_t *json)
{
	struct controller *c = client_controller(client);
	struct sluice_dp_addr addrs[SLUICE_MAX_ENDPOINT_ADDRS];
	char *container, text[SLUICE_ADDR_TEXT];
	struct attachment a = { .addrs = addrs }, *other;
	struct attach *attach;
	double seconds;

	a.ns = (char *)text_field(client, json, "namespace", true);
	a.pod = a.ns ? (char *)text_field(client, json, "pod", true) : NULL;
	if (!a.pod)
		return;
	if (!*a.ns != !*a.pod) {
		client_refuse(client, "bad-request",
			      "\"namespace\" and \"pod\" are given together or not at all");
		return;
	}
	if (strlen(a.ns) + 1 + strlen(a.pod) >= SLUICE_NAME_LEN || strchr(a.ns, '/')) {
		client_refuse(client, "bad-request", "\"namespace\" and \"pod\" are not names");
		return;
	}
	container = container_field(client, json);
	if (!container)
		return;
	a.container = container;
	a.ifindex = interface_field(client, json);
	seconds = a.ifindex ? timeout_field(client, json) : -1;
	a.ifname = (char *)json_string_value(json_object_get(json, "hostIfname"));
	if (seconds < 0 || !addresses_field(client, json, addrs, &a.n_addrs))
		goto free;

	/* Again, or after an ADD whose DEL never came: the new one counts. */
	controller_check_attachments(c);
	other = attachments_by_container(&c->attachments, container);
	if (other)
		controller_detach(c, other);
	other = attachments_by_ifindex(&c->attachments, a.ifindex);
	if (other)
		controller_detach(c, other);
	for (size_t i = 0; i < a.n_addrs; i++) {
		other = attachments_by_addr(&c->attachments, &addrs[i]);
		if (!other)
			continue;
		client_refuse(client, "bad-request", "address %s belongs to %s%s%s (%s)",
			      sluice_address_format(&addrs[i].addr, addrs[i].family, text),
			      other->ns, *other->pod ? "/" : "", other->pod, other->container);
		goto free;
	}

	controller_attach(c, &a);
	attach = sluice_zalloc(sizeof(*attach));
	attach->waiting.again = attach_again;
	attach->waiting.cancel = attach_cancel;
	attach->ifindex = a.ifindex;
	memcpy(attach->container, container, strlen(container) + 1);
	client_wait(client, &attach->waiting, (int64_t)ceil(seconds * 1000));
free:
	free(container);
}

/* detach, gc ******************************************************************************/

/* The answer of a request that waits for what it changed to be in the kernel. */
struct removal {
	struct waiting waiting;
	json_t *answer;
};

static void removal_again(struct client *client, struct waiting *waiting, bool expired)
{
	struct controller *c = client_controller(client);
	struct removal *removal = (struct removal *)waiting;

	if (controller_is_settled(c))
		client_answer(client, json_incref(removal->answer));
	else if (c->failure || expired)
		client_refuse(client, "kernel", "%s",
			      c->failure ? c->failure : "the state is not in the kernel in time");
	else
		return;
	json_decref(removal->answer);
}

static void removal_cancel(struct client *client, struct waiting *waiting)
{
	(void)client;
	json_decref(((struct removal *)waiting)->answer);
}

static void wait_for_removal(struct client *client, json_t *answer)
{
	struct removal *removal = sluice_zalloc(sizeof(*removal));

	removal->waiting.again = removal_again;
	removal->waiting.cancel = removal_cancel;
	removal->answer = answer;
	client_wait(client, &removal->waiting, SYNC_MS);
}

static void handle_detach(struct client *client, json_t *json)
{
	struct controller *c = client_controller(client);
	char *container = container_field(client, json);
	struct attachment *a;

	if (!container)
		return;
	a = attachments_by_container(&c->attachments, container);
	free(container);
	if (!a) {
		answer_ok(client);
		return;
	}
	log_info("detached", "namespace", a->ns, "pod", a->pod, "container", a->container);
	controller_detach(c, a);
	wait_for_removal(client, json_pack("{s:b}", "ok", 1));
}

static void handle_gc(struct client *client, json_t *json)
{
	static const char *const known[] = { "containerID", "ifname", NULL };
	struct controller *c = client_controller(client);
	json_t *list = json_object_get(json, "keep"), *value;
	struct sluice_map keep = { 0 };
	const char *unknown;
	size_t removed = 0, i;

	if (!json_is_array(list)) {
		client_refuse(client, "bad-request",
			      list ? "\"keep\" is not a list" : "\"keep\" is missing");
		return;
	}
	json_array_foreach(list, i, value) {
		char *container = NULL;

		unknown = json_is_object(value) ? unknown_field(value, known) : NULL;
		if (!json_is_object(value))
			client_refuse(client, "bad-request", "\"keep\"[%zu] is not an object", i);
		else if (unknown)
			client_refuse(client, "bad-request", "\"keep\"[%zu]: unknown field \"%s\"",
				      i, unknown);
		else
			container = container_field(client, value);
		if (!container) {
			sluice_map_clear(&keep, NULL);
			return;
		}
		*sluice_map_slot(&keep, container, strlen(container)) = c;
		free(container);
	}
	for (i = c->attachments.n; i-- > 0;) {
		struct attachment *a = c->attachments.v[i];

		if (sluice_map_get(&keep, a->container, strlen(a->container)))
			continue;
		log_info("collected", "namespace", a->ns, "pod", a->pod, "container", a->container);
		controller_detach(c, a);
		removed++;
	}
	sluice_map_clear(&keep, NULL);
	value = json_pack("{s:b, s:I}", "ok", 1, "removed", (json_int_t)removed);
	if (removed)
		wait_for_removal(client, value);
	else
		client_answer(client, value);
}

/* check ***********************************************************************************/

static void handle_check(struct client *client, json_t *json)
{
	struct controller *c = client_controller(client);
	char *container = container_field(client, json);
	struct attachment *a;

	if (!container)
		return;
	a = attachments_by_container(&c->attachments, container);
	if (!c->ready)
		refuse_not_ready(client);
	else if (!a)
		client_refuse(client, "not-found", "%s is not attached", container);
	else if (!controller_is_open(c, a))
		client_refuse(client, "not-ready", "the endpoint of %s is closed", container);
	else
		answer_ok(client);
	free(container);
}

/* Dispatch ********************************************************************************/

static const struct {
	const char *op;
	void (*handle)(struct client *client, json_t *json);
	const char *fields[10]; /* that it knows, ended by NULL */
} requests[] = {
	{ "ready", handle_ready, { "op" } },
	{ "status", handle_status, { "op" } },
	{ "attach",
	  handle_attach,
	  { "op", "namespace", "pod", "containerID", "ifname", "hostIfname", "ifindex", "ips",
	    "timeout" } },
	{ "detach", handle_detach, { "op", "containerID", "ifname" } },
	{ "check", handle_check, { "op", "containerID", "ifname" } },
	{ "gc", handle_gc, { "op", "keep" } },
};

void request_handle(struct client *client, const char *line, size_t len)
{
	json_error_t why;
	json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	const char *op, *unknown;

	if (!json) {
		client_refuse(client, "bad-request", "not JSON: %s (at byte %d)", why.text,
			      why.position);
		return;
	}
	if (!json_is_object(json)) {
		client_refuse(client, "bad-request", "the request is not a JSON object");
		goto put;
	}
	op = text_field(client, json, "op", false);
	if (!op)
		goto put;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (strcmp(requests[i].op, op))
			continue;
		unknown = unknown_field(json, requests[i].fields);
		if (unknown)
			client_refuse(client, "bad-request", "\"%s\": unknown field \"%s\"", op,
				      unknown);
		else
			requests[i].handle(client, json);
		goto put;
	}
	client_refuse(client, "bad-request", "unknown op \"%s\"", op);
put:
	json_decref(json);
}
