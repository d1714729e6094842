// SPDX-License-Identifier: GPL-2.0-only
#include "cni/result.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cni/layout.h"

static int no_memory(struct sluice_err *err)
{
	return sluice_err_set(err, ENOMEM, "out of memory");
}

/* The array under key, made when it is not there. */
static json_t *need_array(json_t *object, const char *key, struct sluice_err *err)
{
	json_t *array = json_object_get(object, key);

	if (json_is_array(array))
		return array;
	if (array && !json_is_null(array)) {
		sluice_err_set(err, EINVAL, "prevResult: %s must be a list", key);
		return NULL;
	}
	if (json_object_set_new(object, key, json_array())) {
		no_memory(err);
		return NULL;
	}
	return json_object_get(object, key);
}

static int add_interface(const struct cni_request *req, json_t *interfaces,
			 const struct cni_link *link, const char *sandbox)
{
	const uint8_t *m = link->mac;
	char mac[18];
	json_t *json;

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	json = json_pack("{s:s, s:s, s:s*}", "name", link->name, "mac", mac, "sandbox", sandbox);
	if (json && req->version_number >= 10100)
		json_object_set_new(json, "mtu", json_integer(link->mtu));
	return json_array_append_new(interfaces, json);
}

static int add_address(const struct cni_request *req, json_t *ips,
		       const struct cni_address *address, size_t interface)
{
	struct cni_address gateway = cni_gateway(address->family);
	char cidr[CNI_ADDRESS_TEXT], via[CNI_ADDRESS_TEXT];
	json_t *json;

	json = json_pack("{s:s, s:s, s:I}", "address", cni_address_cidr(address, cidr), "gateway",
			 cni_address_text(&gateway, via), "interface", (json_int_t)interface);
	if (json && req->version_number < 10000)
		json_object_set_new(json, "version",
				    json_string(address->family == AF_INET ? "4" : "6"));
	return json_array_append_new(ips, json);
}

static int add_default_route(json_t *routes, int family)
{
	struct cni_address dst = cni_default_route(family), gateway = cni_gateway(family);
	char cidr[CNI_ADDRESS_TEXT], via[CNI_ADDRESS_TEXT];

	return json_array_append_new(routes,
				     json_pack("{s:s, s:s}", "dst", cni_address_cidr(&dst, cidr),
					       "gw", cni_address_text(&gateway, via)));
}

int cni_result_make(const struct cni_request *req, const struct cni_link *host,
		    const struct cni_link *pod, const struct cni_address *addresses,
		    size_t n_addresses, json_t *dns, json_t **result, struct sluice_err *err)
{
	json_t *json = req->prev_result ? json_deep_copy(req->prev_result) : json_object();
	json_t *interfaces, *ips, *routes;
	bool four = false, six = false;
	int bad = 0;
	size_t base;

	interfaces = need_array(json, "interfaces", err);
	ips = interfaces ? need_array(json, "ips", err) : NULL;
	routes = ips ? need_array(json, "routes", err) : NULL;
	if (!routes)
		goto fail;

	bad |= json_object_set_new(json, "cniVersion", json_string(req->version));
	base = json_array_size(interfaces);
	bad |= add_interface(req, interfaces, host, NULL);
	bad |= add_interface(req, interfaces, pod, req->netns);
	for (size_t i = 0; i < n_addresses; i++) {
		bad |= add_address(req, ips, &addresses[i], base + 1);
		*(addresses[i].family == AF_INET ? &four : &six) = true;
	}
	if (four)
		bad |= add_default_route(routes, AF_INET);
	if (six)
		bad |= add_default_route(routes, AF_INET6);
	if (dns)
		bad |= json_object_set(json, "dns", dns);
	if (bad) {
		no_memory(err);
		goto fail;
	}
	*result = json;
	return 0;
fail:
	json_decref(json);
	return -err->code;
}

/* One address text into an array that grows by one. */
static int append_address(struct cni_address **array, size_t *n, const char *text, const char *what,
			  struct sluice_err *err)
{
	struct cni_address address, *more;
	int ret;

	if (!text)
		return sluice_err_set(err, EINVAL, "%s is missing or not a string", what);
	ret = cni_address_parse(&address, text, err);
	if (ret)
		return sluice_err_prefix(err, "%s", what);
	more = realloc(*array, (*n + 1) * sizeof(*more));
	if (!more)
		return no_memory(err);
	*array = more;
	more[(*n)++] = address;
	return 0;
}

int cni_result_from_ipam(const char *text, size_t len, struct cni_address **addresses,
			 size_t *n_addresses, json_t **dns, struct sluice_err *err)
{
	json_t *json, *ips, *item, *names;
	json_error_t why;
	size_t i;
	int ret = 0;

	*addresses = NULL;
	*n_addresses = 0;
	*dns = NULL;
	json = json_loadb(len ? text : "", len, JSON_REJECT_DUPLICATES, &why);
	if (!json)
		return sluice_err_set(err, EINVAL, "its result is not JSON: %s", why.text);
	ips = json_object_get(json, "ips");
	if (!json_array_size(ips) || json_array_size(ips) > 16)
		ret = sluice_err_set(err, EINVAL, "its result has no list of 1 to 16 \"ips\"");
	json_array_foreach(ips, i, item) {
		const char *address = json_string_value(json_object_get(item, "address"));

		if (ret)
			break;
		ret = append_address(addresses, n_addresses, address, "ips[].address", err);
		if (ret)
			break;
		(*addresses)[i] = cni_address_host(&(*addresses)[i]);
		for (size_t j = 0; j < i; j++)
			if (cni_address_equal(&(*addresses)[i], &(*addresses)[j]))
				ret = sluice_err_set(err, EINVAL, "its result has %s twice",
						     address);
	}
	names = json_object_get(json, "dns");
	if (!ret && json_is_object(names) && json_object_size(names))
		*dns = json_incref(names);
	if (ret) {
		free(*addresses);
		*addresses = NULL;
		*n_addresses = 0;
	}
	json_decref(json);
	return ret;
}

int cni_result_previous(const struct cni_request *req, struct cni_address **addresses,
			size_t *n_addresses, struct cni_address **routes, size_t *n_routes,
			struct sluice_err *err)
{
	const json_t *interfaces = json_object_get(req->prev_result, "interfaces");
	json_int_t index = -1;
	json_t *item;
	int ret = 0;
	size_t i;

	*addresses = *routes = NULL;
	*n_addresses = *n_routes = 0;
	json_array_foreach(interfaces, i, item) {
		const char *name = json_string_value(json_object_get(item, "name"));
		const char *sandbox = json_string_value(json_object_get(item, "sandbox"));

		if (name && sandbox && *sandbox && !strcmp(name, req->attachment.ifname))
			index = i;
	}
	if (index < 0)
		return sluice_err_set(err, EINVAL, "prevResult does not list interface %s",
				      req->attachment.ifname);

	json_array_foreach(json_object_get(req->prev_result, "ips"), i, item) {
		const json_t *interface = json_object_get(item, "interface");

		if (!json_is_integer(interface) || json_integer_value(interface) != index)
			continue;
		ret = append_address(addresses, n_addresses,
				     json_string_value(json_object_get(item, "address")),
				     "prevResult: ips[].address", err);
		if (ret)
			goto fail;
	}
	if (!*n_addresses) {
		ret = sluice_err_set(err, EINVAL, "prevResult lists no address of %s",
				     req->attachment.ifname);
		goto fail;
	}

	json_array_foreach(json_object_get(req->prev_result, "routes"), i, item) {
		const char *gw = json_string_value(json_object_get(item, "gw"));
		struct cni_address via, gateway;

		if (!gw || cni_address_parse(&via, gw, NULL))
			continue;
		gateway = cni_gateway(via.family);
		if (!cni_address_equal(&via, &gateway))
			continue;
		ret = append_address(routes, n_routes,
				     json_string_value(json_object_get(item, "dst")),
				     "prevResult: routes[].dst", err);
		if (!ret && (*routes)[*n_routes - 1].family != via.family)
			ret = sluice_err_set(err, EINVAL, "prevResult: routes[] mixes families");
		if (ret)
			goto fail;
	}
	return 0;
fail:
	free(*addresses);
	free(*routes);
	*addresses = *routes = NULL;
	*n_addresses = *n_routes = 0;
	return ret;
}

char *cni_result_error(const char *version, const struct cni_failure *failure)
{
	const char *msg = failure->msg ? failure->msg : "out of memory";
	char *text = NULL, *line = NULL;
	json_t *json;

	json = json_pack("{s:s, s:i, s:s, s:s*}", "cniVersion", version, "code", failure->code,
			 "msg", msg, "details", failure->details);
	/* Only a message with bytes that are no UTF-8 (of the environment) gets here. */
	if (!json)
		json = json_pack("{s:s, s:i, s:s}", "cniVersion", version, "code", failure->code,
				 "msg", "the message is not valid UTF-8");
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}

bool cni_result_read_error(const char *text, size_t len, struct cni_failure *failure)
{
	json_t *json = json_loadb(len ? text : "", len, 0, NULL);
	const json_t *code = json_object_get(json, "code");
	const char *msg = json_string_value(json_object_get(json, "msg"));
	const char *details = json_string_value(json_object_get(json, "details"));
	bool is_error = json_is_integer(code) && json_integer_value(code) > 0 &&
			json_integer_value(code) <= 0x7fffffff && msg;

	if (is_error) {
		/* An empty message would make ours an error object that says nothing. */
		cni_fail(failure, json_integer_value(code), "%s",
			 *msg ? msg : "the plugin's error has no message");
		if (details && *details)
			cni_failure_add(failure, "%s", details);
	}
	json_decref(json);
	return is_error;
}
