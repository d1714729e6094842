// SPDX-License-Identifier: GPL-2.0-only
#include "cni/request.h"

#include <ctype.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const cni_supported_versions[] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", NULL };

#define BIT(command) (1u << (command))
#define ATTACHMENT_COMMANDS (BIT(CNI_ADD) | BIT(CNI_DEL) | BIT(CNI_CHECK))
#define CONFIG_COMMANDS (ATTACHMENT_COMMANDS | BIT(CNI_GC) | BIT(CNI_STATUS))

/* ^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$; isalnum() would ask the locale. */
static bool is_plain_name(const char *s)
{
	for (const char *p = s; *p; p++) {
		bool alnum = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9');

		if (!alnum && (p == s || !strchr("_.-", *p)))
			return false;
	}
	return *s;
}

static int check_ifname(const char *name, struct cni_failure *failure)
{
	if (strlen(name) >= IFNAMSIZ)
		return cni_fail(failure, CNI_BAD_ENVIRONMENT, "interface name is too long");
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return cni_fail(failure, CNI_BAD_ENVIRONMENT, "interface name is . or ..");
	for (const char *p = name; *p; p++)
		if (*p == '/' || *p == ':' || isspace((unsigned char)*p))
			return cni_fail(failure, CNI_BAD_ENVIRONMENT,
					"interface name contains / or : or whitespace characters");
	return 0;
}

static char *take_arg(const char *key, const char *pair, size_t len)
{
	size_t n = strlen(key);

	if (len < n || strncmp(pair, key, n))
		return NULL;
	return strndup(pair + n, len - n);
}

/* CNI_ARGS, "K=V;K2=V2". Only ADD reads it. */
static int parse_args(struct cni_request *req, const char *args, struct cni_failure *failure)
{
	char unknown[64] = "";
	bool ignore = false;

	while (*args) {
		size_t len = strcspn(args, ";");
		const char *eq = memchr(args, '=', len);
		char *value;

		if (!eq || eq == args || memchr(eq + 1, '=', len - (eq + 1 - args)))
			return cni_fail(failure, CNI_BAD_ENVIRONMENT,
					"CNI_ARGS: invalid pair \"%.*s\"", (int)len, args);
		if ((value = take_arg("K8S_POD_NAMESPACE=", args, len))) {
			free(req->pod_namespace);
			req->pod_namespace = value;
		} else if ((value = take_arg("K8S_POD_NAME=", args, len))) {
			free(req->pod_name);
			req->pod_name = value;
		} else if ((value = take_arg("IgnoreUnknown=", args, len))) {
			ignore = !strcmp(value, "1") || !strcasecmp(value, "true");
			free(value);
		} else if ((value = take_arg("K8S_POD_INFRA_CONTAINER_ID=", args, len)) ||
			   (value = take_arg("K8S_POD_UID=", args, len))) {
			free(value);
		} else if (!*unknown) {
			snprintf(unknown, sizeof(unknown), "%.*s", (int)(eq - args), args);
		}
		args += len;
		if (*args == ';')
			args++;
	}
	if (*unknown && !ignore)
		return cni_fail(failure, CNI_BAD_ENVIRONMENT, "CNI_ARGS: unknown argument \"%s\"",
				unknown);
	if (req->pod_namespace && !*req->pod_namespace) {
		free(req->pod_namespace);
		req->pod_namespace = NULL;
	}
	if (req->pod_name && !*req->pod_name) {
		free(req->pod_name);
		req->pod_name = NULL;
	}
	if (!req->pod_namespace != !req->pod_name)
		return cni_fail(
			failure, CNI_BAD_ENVIRONMENT,
			"CNI_ARGS: %s is missing: K8S_POD_NAMESPACE and K8S_POD_NAME go together",
			req->pod_name ? "K8S_POD_NAMESPACE" : "K8S_POD_NAME");
	/* They go to sluiced as names of Kubernetes objects, which are of this alphabet. */
	if (req->pod_name && (!is_plain_name(req->pod_namespace) || !is_plain_name(req->pod_name)))
		return cni_fail(
			failure, CNI_BAD_ENVIRONMENT,
			"CNI_ARGS: invalid characters in K8S_POD_NAMESPACE or K8S_POD_NAME");
	return 0;
}

int cni_request_environment(struct cni_request *req, struct cni_failure *failure)
{
	static const char *const commands[] = { "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION" };
	static const struct {
		const char *name;
		unsigned int needed_by;
	} variables[] = {
		{ "CNI_COMMAND", ~0u },
		{ "CNI_CONTAINERID", ATTACHMENT_COMMANDS },
		{ "CNI_NETNS", BIT(CNI_ADD) | BIT(CNI_CHECK) },
		{ "CNI_IFNAME", ATTACHMENT_COMMANDS },
		{ "CNI_PATH", CONFIG_COMMANDS },
	};
	const size_t n_variables = sizeof(variables) / sizeof(variables[0]);
	const size_t n_commands = sizeof(commands) / sizeof(commands[0]);
	const char *value[sizeof(variables) / sizeof(variables[0])];
	char missing[128] = "";
	const char *args;
	unsigned int bit = 0;
	size_t command;

	for (size_t i = 0; i < n_variables; i++) {
		value[i] = getenv(variables[i].name);
		if (value[i] && !*value[i])
			value[i] = NULL;
	}
	for (command = 0; value[0] && command < n_commands; command++) {
		if (!strcmp(value[0], commands[command])) {
			bit = BIT(command);
			break;
		}
	}
	for (size_t i = 0; i < n_variables; i++) {
		if (value[i] || !(i == 0 || variables[i].needed_by & bit))
			continue;
		if (*missing)
			strcat(missing, ",");
		strcat(missing, variables[i].name);
	}
	if (*missing)
		return cni_fail(failure, CNI_BAD_ENVIRONMENT, "required env variables [%s] missing",
				missing);

	if (bit & ATTACHMENT_COMMANDS) {
		if (!is_plain_name(value[1])) {
			cni_fail(failure, CNI_BAD_ENVIRONMENT, "invalid characters in containerID");
			cni_failure_add(failure, "%s", value[1]);
			return -1;
		}
		if (check_ifname(value[3], failure))
			return -1;
		req->attachment.container_id = value[1];
		req->attachment.ifname = value[3];
		req->netns = value[2];
	}
	if (!bit)
		return cni_fail(failure, CNI_BAD_ENVIRONMENT, "unknown CNI_COMMAND: %s", value[0]);
	req->command = command;
	req->path = value[4];

	args = getenv("CNI_ARGS");
	return req->command == CNI_ADD && args ? parse_args(req, args, failure) : 0;
}

int cni_request_read(struct cni_request *req, int fd, struct cni_failure *failure)
{
	size_t cap = 0;

	for (;;) {
		ssize_t n;

		if (req->stdin_len == cap) {
			char *more;

			if (cap >= CNI_STDIN_MAX)
				return cni_fail(failure, CNI_IO,
						"error reading from stdin: more than %u bytes",
						CNI_STDIN_MAX);
			cap = cap ? cap * 2 : 4096;
			more = realloc(req->stdin_data, cap);
			if (!more)
				return cni_fail(failure, CNI_IO,
						"error reading from stdin: out of memory");
			req->stdin_data = more;
		}
		n = read(fd, req->stdin_data + req->stdin_len, cap - req->stdin_len);
		if (n == 0)
			return 0;
		if (n > 0)
			req->stdin_len += n;
		else if (errno != EINTR)
			return cni_fail(failure, CNI_IO, "error reading from stdin: %s",
					strerror(errno));
	}
}

/* "1.0.0" to 10000; -1 when it is not three small numbers. */
static int version_number(const char *text)
{
	int number = 0;

	for (int part = 0; part < 3; part++) {
		int value = 0, digits = 0;

		for (; *text >= '0' && *text <= '9' && digits < 2; text++, digits++)
			value = value * 10 + *text - '0';
		if (!digits || *text != (part < 2 ? '.' : '\0'))
			return -1;
		text += part < 2;
		number = number * 100 + value;
	}
	return number;
}

static int check_version(struct cni_request *req, struct cni_failure *failure)
{
	static const struct {
		const char *name;
		int since;
	} gates[] = {
		[CNI_CHECK] = { "CHECK", 400 },
		[CNI_GC] = { "GC", 10100 },
		[CNI_STATUS] = { "STATUS", 10100 },
	};
	char list[64] = "";

	if (gates[req->command].name) {
		const char *name = gates[req->command].name;

		if (req->version_number < 0)
			return cni_fail(failure, CNI_DECODE, "cniVersion \"%s\" is not a version",
					req->version);
		if (req->version_number < gates[req->command].since)
			return cni_fail(failure, CNI_INCOMPATIBLE_VERSION,
					"config version does not allow %s", name);
		if (req->version_number > version_number(CNI_NEWEST_VERSION))
			return cni_fail(failure, CNI_INCOMPATIBLE_VERSION,
					"plugin version does not allow %s", name);
	}
	for (const char *const *v = cni_supported_versions; *v; v++) {
		if (!strcmp(*v, req->version))
			return 0;
		strcat(strcat(list, *list ? " " : ""), *v);
	}
	cni_fail(failure, CNI_INCOMPATIBLE_VERSION, "incompatible CNI versions");
	cni_failure_add(failure, "config is \"%s\", plugin supports [%s]", req->version, list);
	return -1;
}

/* The value as one line of JSON for a message; the caller frees it. */
static char *value_text(const json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	if (text && strlen(text) > 200)
		strcpy(text + 197, "...");
	return text;
}

static int bad_value(struct cni_failure *failure, int code, const char *key, const json_t *value,
		     const char *want)
{
	char *text = value_text(value);

	cni_fail(failure, code, "%s: %s, not %s", key, want, text ? text : "this");
	free(text);
	return -1;
}

static int unsupported(struct cni_failure *failure, const char *key, const json_t *value)
{
	char *text = value_text(value);

	cni_fail(failure, CNI_UNSUPPORTED_FIELD, "unsupported field %s with value %s", key,
		 text ? text : "?");
	free(text);
	return -1;
}

static int take_path(const json_t *value, const char *key, const char **path,
		     struct cni_failure *failure)
{
	const char *text = json_string_value(value);

	if (!text || *text != '/' || strlen(text) >= PATH_MAX / 2)
		return bad_value(failure, CNI_BAD_CONFIG, key, value, "must be an absolute path");
	*path = text;
	return 0;
}

static int take_number(const json_t *value, const char *key, unsigned int *number, unsigned int min,
		       unsigned int max, struct cni_failure *failure)
{
	char want[64];

	if (json_is_integer(value) && json_integer_value(value) >= min &&
	    json_integer_value(value) <= max) {
		*number = json_integer_value(value);
		return 0;
	}
	snprintf(want, sizeof(want), "must be an integer from %u to %u", min, max);
	return bad_value(failure, CNI_BAD_CONFIG, key, value, want);
}

static bool is_string_list(const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (!json_is_string(item))
			return false;
	return json_is_array(list);
}

static int take_dns(struct cni_request *req, json_t *value, struct cni_failure *failure)
{
	const char *key;
	json_t *item;

	if (!json_is_object(value))
		return bad_value(failure, CNI_BAD_CONFIG, "dns", value, "must be an object");
	json_object_foreach(value, key, item) {
		if (!strcmp(key, "domain") && json_is_string(item))
			continue;
		if ((!strcmp(key, "nameservers") || !strcmp(key, "search") ||
		     !strcmp(key, "options")) &&
		    is_string_list(item))
			continue;
		return unsupported(failure, key, item);
	}
	req->dns = value;
	return 0;
}

static int take_ipam(struct cni_request *req, const json_t *value, struct cni_failure *failure)
{
	const json_t *type = json_object_get(value, "type");
	const char *name = json_string_value(type);

	if (!json_is_object(value))
		return bad_value(failure, CNI_BAD_CONFIG, "ipam", value, "must be an object");
	if (!type || (name && !*name)) {
		if (json_object_size(value) > (type ? 1u : 0u))
			return bad_value(failure, CNI_BAD_CONFIG, "ipam", value,
					 "must name its plugin in \"type\"");
		return 0;
	}
	/* It is looked up in CNI_PATH: a '/' would let a configuration run any file. */
	if (!name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return bad_value(failure, CNI_BAD_CONFIG, "ipam.type", type,
				 "must be the name of a binary");
	req->ipam_type = name;
	return 0;
}

int cni_request_cidrs(const json_t *list, const char *name, struct cni_address **cidrs,
		      size_t *n_cidrs, struct sluice_err *err)
{
	size_t n = json_array_size(list), i;
	struct cni_address *array;
	const json_t *item;
	int ret;

	if (!n || n > CNI_CIDRS_MAX || !is_string_list(list))
		return sluice_err_set(err, EINVAL, "%s: must be a list of 1 to %d CIDRs", name,
				      CNI_CIDRS_MAX);
	array = calloc(n, sizeof(*array));
	if (!array)
		return sluice_err_set(err, ENOMEM, "out of memory");
	json_array_foreach(list, i, item) {
		const char *text = json_string_value(item);
		struct cni_address *a = &array[i];
		const struct in6_addr *six = (const struct in6_addr *)a->bytes;

		ret = cni_address_parse(a, text, err);
		if (ret) {
			sluice_err_prefix(err, "%s", name);
			goto fail;
		}
		if (!strchr(text, '/')) {
			ret = sluice_err_set(err, EINVAL, "%s: \"%s\" has no prefix length", name,
					     text);
			goto fail;
		}
		if (cni_address_has_host_bits(a)) {
			ret = sluice_err_set(err, EINVAL, "%s: \"%s\" has bits after its prefix",
					     name, text);
			goto fail;
		}
		/* "This network", loopback, link-local, multicast and reserved are no pod's. */
		if (a->family == AF_INET ?
			    !a->bytes[0] || a->bytes[0] == 127 || a->bytes[0] >= 224 ||
				    (a->bytes[0] == 169 && a->bytes[1] == 254) :
			    !a->bytes[0] || IN6_IS_ADDR_LINKLOCAL(six) ||
				    IN6_IS_ADDR_MULTICAST(six)) {
			ret = sluice_err_set(err, EINVAL, "%s: \"%s\" is not a range for pods",
					     name, text);
			goto fail;
		}
		/* The address store walks them as one range: each address must be in it once. */
		for (size_t j = 0; j < i; j++) {
			if (!cni_address_within(a, &array[j]) && !cni_address_within(&array[j], a))
				continue;
			ret = sluice_err_set(err, EINVAL, "%s: \"%s\" overlaps another", name,
					     text);
			goto fail;
		}
	}
	*cidrs = array;
	*n_cidrs = n;
	return 0;
fail:
	free(array);
	return ret;
}

/* Keys DEL and GC need are parsed for all; strict is for the commands that may refuse. */
static int take_key(struct cni_request *req, const char *key, json_t *value, bool strict,
		    struct cni_failure *failure)
{
	SLUICE_ERR(err);

	if (!strcmp(key, "dataDir"))
		return take_path(value, key, &req->data_dir, failure);
	if (!strcmp(key, "socket"))
		return take_path(value, key, &req->socket, failure);
	if (!strcmp(key, "ipam"))
		return take_ipam(req, value, failure);
	if (!strict || !strcmp(key, "cniVersion") || !strcmp(key, "name") || !strcmp(key, "args") ||
	    !strncmp(key, "cni.dev/", 8))
		return 0;

	if (!strcmp(key, "type") && json_is_string(value))
		return 0;
	if (!strcmp(key, "capabilities") && json_is_object(value))
		return 0;
	if (!strcmp(key, "ipMasq") && json_is_false(value))
		return 0;
	if (!strcmp(key, "runtimeConfig")) {
		const char *name;
		json_t *item;

		if (!json_is_object(value))
			return bad_value(failure, CNI_BAD_CONFIG, key, value, "must be an object");
		json_object_foreach(value, name, item)
			if (strcmp(name, "ips") && strcmp(name, "ipRanges"))
				return unsupported(failure, name, item);
		return 0; /* whether an IPAM plugin takes the rest is known after the last key */
	}
	if (!strcmp(key, "prevResult")) {
		if (!json_is_object(value))
			return bad_value(failure, CNI_BAD_CONFIG, key, value, "must be an object");
		req->prev_result = value;
		return 0;
	}
	if (!strcmp(key, "mtu"))
		return json_integer_value(value) == 0 && json_is_integer(value) ?
			       0 :
			       take_number(value, key, &req->mtu, 68, 65535, failure);
	if (!strcmp(key, "attachTimeout"))
		return take_number(value, key, &req->attach_timeout, 1, 600, failure);
	if (!strcmp(key, "dns"))
		return take_dns(req, value, failure);
	if (!strcmp(key, "podCIDRs")) {
		if (cni_request_cidrs(value, key, &req->cidrs, &req->n_cidrs, &err))
			return cni_fail(failure, CNI_BAD_CONFIG, "%s", sluice_err_msg(&err));
		return 0;
	}
	return unsupported(failure, key, value);
}

/*
 * GC's list. An entry that cannot be read refuses the whole list: taking it for "not listed" would
 * remove a live pod.
 */
static int take_valid(struct cni_request *req, struct cni_failure *failure)
{
	const char *key = "cni.dev/valid-attachments";
	const json_t *list = json_object_get(req->config, key), *item;
	size_t i;

	if (!list) {
		key = "cni.dev/attachments"; /* its name before it was corrected */
		list = json_object_get(req->config, key);
	}
	if (!list)
		return 0;
	if (!json_is_array(list))
		return bad_value(failure, CNI_BAD_CONFIG, key, list, "must be a list");
	req->valid = calloc(json_array_size(list) + 1, sizeof(*req->valid));
	if (!req->valid)
		return cni_fail(failure, CNI_INTERNAL, "out of memory");
	json_array_foreach(list, i, item) {
		struct cni_attachment *a = &req->valid[i];

		a->container_id = json_string_value(json_object_get(item, "containerID"));
		a->ifname = json_string_value(json_object_get(item, "ifname"));
		if (!a->container_id || !*a->container_id || !a->ifname || !*a->ifname)
			return bad_value(failure, CNI_BAD_CONFIG, key, item,
					 "must have containerID and ifname");
	}
	req->n_valid = json_array_size(list);
	req->have_valid = true;
	return 0;
}

int cni_request_config(struct cni_request *req, struct cni_failure *failure)
{
	bool strict = req->command != CNI_DEL && req->command != CNI_GC;
	const json_t *name, *version, *runtime;
	json_error_t why;
	const char *key;
	json_t *value;

	req->version = CNI_NEWEST_VERSION; /* of the error message, until the real one is known */
	req->data_dir = CNI_DATA_DIR;
	req->attach_timeout = CNI_ATTACH_TIMEOUT;

	req->config = json_loadb(req->stdin_data ? req->stdin_data : "", req->stdin_len,
				 JSON_REJECT_DUPLICATES, &why);
	if (!req->config) {
		cni_fail(failure, CNI_DECODE, "error unmarshalling network config");
		cni_failure_add(failure, "line %d, column %d: %s", why.line, why.column, why.text);
		return -1;
	}
	if (!json_is_object(req->config))
		return cni_fail(failure, CNI_DECODE,
				"error unmarshalling network config: not a JSON object");

	name = json_object_get(req->config, "name");
	if (name && !json_is_string(name))
		return bad_value(failure, CNI_DECODE, "name", name, "must be a string");
	req->network = json_string_value(name);
	if (!req->network || !*req->network)
		return cni_fail(failure, CNI_BAD_CONFIG, "missing network name");
	if (!is_plain_name(req->network)) {
		cni_fail(failure, CNI_BAD_CONFIG, "invalid characters found in network name");
		cni_failure_add(failure, "%s", req->network);
		return -1;
	}

	version = json_object_get(req->config, "cniVersion");
	if (version && !json_is_string(version))
		return bad_value(failure, CNI_DECODE, "cniVersion", version, "must be a string");
	req->version = version && json_string_length(version) ? json_string_value(version) :
								"0.1.0";
	req->version_number = version_number(req->version);
	if (check_version(req, failure))
		return -1;

	json_object_foreach(req->config, key, value)
		if (take_key(req, key, value, strict, failure))
			return -1;
	if (req->command == CNI_GC && take_valid(req, failure))
		return -1;
	if (req->ipam_type && req->cidrs)
		return cni_fail(failure, CNI_BAD_CONFIG,
				"podCIDRs and ipam.type \"%s\" exclude each other", req->ipam_type);
	runtime = json_object_get(req->config, "runtimeConfig");
	if (strict && !req->ipam_type && json_object_size(runtime))
		return unsupported(failure, "runtimeConfig", runtime);
	return 0;
}

void cni_request_clear(struct cni_request *req)
{
	json_decref(req->config);
	free(req->stdin_data);
	free(req->pod_namespace);
	free(req->pod_name);
	free(req->cidrs);
	free(req->valid);
	*req = (struct cni_request){ 0 };
}

bool cni_attachment_equal(const struct cni_attachment *a, const struct cni_attachment *b)
{
	return !strcmp(a->container_id, b->container_id) && !strcmp(a->ifname, b->ifname);
}

bool cni_attachment_listed(const struct cni_attachment *a, const struct cni_attachment *list,
			   size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (cni_attachment_equal(a, &list[i]))
			return true;
	return false;
}
