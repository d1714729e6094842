// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/nl.h"
#include "ctl/lib/sock.h"
#include "ctl/sluicectl/command.h"
#include "ctl/sluicectl/output.h"
#include "ctl/sluicectl/query.h"

#define ANSWER_MS 10000

static int ask_controller(const char *path, json_t **answer, struct sluice_err *err)
{
	json_t *request = json_pack("{s:s}", "op", "status");
	int ret = sluice_sock_call(sluice_sock_path(path), request, answer, ANSWER_MS, err);

	json_decref(request);
	return ret;
}

static int ask_kernel(struct kernel_info *info, struct sluice_err *err)
{
	struct sluice_nl nl;
	int ret;

	ret = sluice_nl_open(&nl, err);
	if (ret)
		return ret;
	ret = query_info(&nl, info, err);
	sluice_nl_close(&nl);
	return ret;
}

/* "https://10.0.0.1:6443, synced", or what it waits for. */
static void print_source(const json_t *source)
{
	const json_t *kinds = json_object_get(source, "kinds"), *value;
	const char *server = json_string_value(json_object_get(source, "server"));
	const char *separator = ", waiting for ", *key;

	if (!server)
		return;
	printf("Source      %s", server);
	if (json_is_true(json_object_get(source, "synced")))
		printf(", synced");
	json_object_foreach((json_t *)kinds, key, value) {
		if (json_is_true(json_object_get(value, "synced")))
			continue;
		printf("%s%s", separator, key);
		separator = ", ";
	}
	puts("");
}

static void print_controller(const json_t *answer)
{
	const json_t *objects = json_object_get(answer, "objects");
	const json_t *errors = json_object_get(answer, "errors"), *value;
	const char *key, *separator = "";
	size_t i;

	printf("Node        %s\n", json_string_value(json_object_get(answer, "node")));
	printf("Controller  %s, revision %lld\n",
	       json_is_true(json_object_get(answer, "ready")) ? "ready" : "not ready",
	       (long long)json_integer_value(json_object_get(answer, "revision")));
	print_source(json_object_get(answer, "source"));
	printf("Objects     ");
	json_object_foreach((json_t *)objects, key, value) {
		if (!json_integer_value(value))
			continue;
		printf("%s%lld %s", separator, (long long)json_integer_value(value), key);
		separator = ", ";
	}
	puts(*separator ? "" : "none");
	json_array_foreach((json_t *)errors, i, value)
		printf("%-11s %s: %s\n",
		       json_string_value(json_object_get(value, "severity")) ?: "error",
		       json_string_value(json_object_get(value, "source")) ?: "?",
		       json_string_value(json_object_get(value, "message")) ?: "?");
}

static void print_kernel(const struct kernel_info *info)
{
	const struct sluice_nl_info *i = &info->info;
	char used[32], budget[32];

	printf("Data plane  %s %s, revision %u\n", info->dataplane, info->version, i->revision);
	printf("State       %u services with %u backends, %u peers, %u rules, %u rulesets, "
	       "%u endpoints, %u uplinks\n",
	       i->services, i->backends, i->peers, i->rules, i->rulesets, i->endpoints, i->uplinks);
	printf("Connections %u, %s of %s\n", i->conns, bytes_text(used, i->conn_bytes),
	       bytes_text(budget, i->conn_budget));
}

int run_status(const struct invocation *inv, struct sluice_err *err)
{
	struct kernel_info info;
	json_t *answer = NULL;
	int controller, kernel;
	bool ready;
	SLUICE_ERR(kernel_err);

	controller = ask_controller(option_value(inv, "socket"), &answer, err);
	kernel = ask_kernel(&info, &kernel_err);
	ready = !controller && json_is_true(json_object_get(answer, "ready"));
	if (inv->json) {
		if (answer)
			json_object_del(answer, "ok");
		json_print(json_pack("{s:o?, s:o?}", "controller",
				     answer ? json_incref(answer) : NULL, "kernel",
				     kernel ? NULL : info_json(&info)));
	} else {
		if (!controller)
			print_controller(answer);
		if (!kernel)
			print_kernel(&info);
	}
	json_decref(answer);
	if (kernel && controller)
		sluice_err_prefix(err, "%s; and", sluice_err_msg(&kernel_err));
	else if (kernel)
		return sluice_err_move(err, &kernel_err);
	if (controller)
		return controller;
	return ready ? 0 : sluice_err_set(err, EAGAIN, "the controller is not ready");
}
