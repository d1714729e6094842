// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything sluice-cni reads from others. The first byte says what the rest is:
 *
 *	'e'	environment: lines "<command>", "<container id>", "<ifname>", "<CNI_ARGS>"
 *	'A' 'D' 'C' 'G' 'S'	the configuration on stdin of that command
 *	'i'	the answer of an IPAM plugin, or its error
 *	'a'	an address or a CIDR
 *
 * Beyond not crashing, what is accepted must be what the specification allows (checked by regular
 * expressions, which the plugin does not use), and what is written must read back as the same.
 */
#include <regex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cni/layout.h"
#include "cni/request.h"
#include "cni/result.h"

#define NAME_RULE "^[a-zA-Z0-9][a-zA-Z0-9_.-]*$"
#define IFNAME_RULE "^[^/:[:space:]]{1,15}$"

static void require(int condition)
{
	if (!condition)
		abort();
}

static bool matches(const char *text, const char *rule)
{
	regex_t regex;
	bool match;

	require(!regcomp(&regex, rule, REG_EXTENDED | REG_NOSUB));
	match = !regexec(&regex, text, 0, NULL, 0);
	regfree(&regex);
	return match;
}

/* A failure is complete: a code, a message, and one line of JSON that reads back as the same. */
static void check_failure(struct cni_failure *failure)
{
	char *line = cni_result_error(CNI_NEWEST_VERSION, failure);
	struct cni_failure read = { 0 };

	require(failure->code > 0 && failure->msg && *failure->msg && line);
	require(strchr(line, '\n') == line + strlen(line) - 1);
	require(cni_result_read_error(line, strlen(line), &read) && read.code == failure->code);
	free(line);
	cni_failure_clear(&read);
	cni_failure_clear(failure);
}

static void fuzz_environment(char *text)
{
	static const char *const names[] = { "CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME",
					     "CNI_ARGS" };
	struct cni_failure failure = { 0 };
	struct cni_request req = { 0 };

	setenv("CNI_NETNS", "/run/netns/x", 1);
	setenv("CNI_PATH", "/opt/cni/bin", 1);
	for (size_t i = 0; i < 4; i++) {
		const char *line = strsep(&text, "\n");

		setenv(names[i], line ? line : "", 1);
	}
	if (cni_request_environment(&req, &failure)) {
		check_failure(&failure);
	} else if (req.attachment.ifname) {
		const char *name = req.attachment.ifname;

		require(matches(req.attachment.container_id, NAME_RULE));
		require(matches(name, IFNAME_RULE) && strcmp(name, ".") && strcmp(name, ".."));
		require(!req.pod_name == !req.pod_namespace);
	}
	cni_request_clear(&req);
}

/* The result of an ADD with this configuration, given to CHECK as its prevResult. */
static void fuzz_result(struct cni_request *req)
{
	struct cni_link host = { .name = "sl00000000000" }, pod = { .name = "eth0", .mtu = 1500 };
	struct cni_address given[2] = { { AF_INET, { 10, 1, 0, 5 }, 32 },
					{ AF_INET6, { 0xfd, [15] = 5 }, 128 } };
	struct cni_address *addresses, *routes;
	struct cni_request check = *req;
	size_t n_addresses, n_routes;
	SLUICE_ERR(err);

	if (cni_result_make(req, &host, &pod, given, 2, req->dns, &check.prev_result, &err)) {
		require(sluice_err_is_set(&err));
		return;
	}
	require(!strcmp(json_string_value(json_object_get(check.prev_result, "cniVersion")),
			req->version));
	/* It may fail on entries that the fuzzed prevResult brought along; not on our own. */
	if (!cni_result_previous(&check, &addresses, &n_addresses, &routes, &n_routes, &err)) {
		require(n_addresses >= 2 && n_routes >= 2);
		require(cni_address_equal(&addresses[n_addresses - 2], &given[0]));
		require(cni_address_equal(&addresses[n_addresses - 1], &given[1]));
		free(addresses);
		free(routes);
	} else {
		require(req->prev_result && sluice_err_is_set(&err));
	}
	json_decref(check.prev_result);
}

static void fuzz_config(enum cni_command command, const uint8_t *data, size_t size)
{
	struct cni_failure failure = { 0 };
	struct cni_request req = {
		.command = command,
		.attachment = { "c1", "eth0" },
		.netns = "/run/netns/x",
		.stdin_len = size,
	};

	req.stdin_data = malloc(size + !size);
	require(req.stdin_data != NULL);
	memcpy(req.stdin_data, data, size);
	if (cni_request_config(&req, &failure)) {
		check_failure(&failure);
	} else {
		require(matches(req.network, NAME_RULE) && *req.data_dir == '/');
		require(!req.socket || *req.socket == '/');
		require(!req.ipam_type || (*req.ipam_type && !strchr(req.ipam_type, '/')));
		require(!req.mtu || (req.mtu >= 68 && req.mtu <= 65535));
		require(req.attach_timeout >= 1 && req.attach_timeout <= 600);
		for (size_t i = 0; i < req.n_cidrs; i++) {
			struct cni_address first, last;

			cni_address_usable(&req.cidrs[i], &first, &last);
			require(cni_address_within(&first, &req.cidrs[i]));
			require(cni_address_within(&last, &req.cidrs[i]));
			require(cni_address_compare(&first, &last) <= 0);
		}
		for (size_t i = 0; i < req.n_valid; i++)
			require(cni_attachment_listed(&req.valid[i], req.valid, req.n_valid));
		if (command == CNI_ADD)
			fuzz_result(&req);
	}
	cni_request_clear(&req);
}

static void fuzz_ipam(const char *text, size_t size)
{
	struct cni_failure failure = { 0 };
	struct cni_address *addresses;
	SLUICE_ERR(err);
	json_t *dns;
	size_t n;

	if (cni_result_read_error(text, size, &failure))
		check_failure(&failure);
	if (cni_result_from_ipam(text, size, &addresses, &n, &dns, &err)) {
		require(sluice_err_is_set(&err) && !addresses && !dns);
		return;
	}
	require(n >= 1 && n <= 16);
	for (size_t i = 0; i < n; i++)
		require(addresses[i].prefix == cni_address_bits(&addresses[i]));
	free(addresses);
	json_decref(dns);
}

static void fuzz_address(const char *text)
{
	struct cni_address a, b;
	char out[CNI_ADDRESS_TEXT];
	SLUICE_ERR(err);

	if (cni_address_parse(&a, text, &err))
		return;
	require(a.prefix <= cni_address_bits(&a));
	require(!cni_address_parse(&b, cni_address_cidr(&a, out), &err));
	require(cni_address_equal(&a, &b) && a.prefix == b.prefix);
	require(cni_address_within(&a, &a));
	b = a;
	cni_address_increment(&b);
	require(!cni_address_equal(&a, &b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char letters[] = "ADCGS";
	const char *command;
	char *text;

	if (!size)
		return 0;
	command = *data ? strchr(letters, *data) : NULL;
	text = strndup((const char *)data + 1, size - 1);
	require(text != NULL);
	if (command)
		fuzz_config(command - letters, data + 1, size - 1);
	else if (*data == 'e')
		fuzz_environment(text);
	else if (*data == 'i')
		fuzz_ipam((const char *)data + 1, size - 1);
	else if (*data == 'a')
		fuzz_address(text);
	free(text);
	return 0;
}
