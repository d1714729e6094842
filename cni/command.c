// SPDX-License-Identifier: GPL-2.0-only
#include "cni/command.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cni/agent.h"
#include "cni/fault.h"
#include "cni/ipam.h"
#include "cni/layout.h"
#include "cni/netdev.h"
#include "cni/pool.h"
#include "cni/result.h"

/* An IPv6 interface has at least this MTU; below it the kernel turns IPv6 off. */
#define IPV6_MTU_MIN 1280

/* The carrier comes from a kernel work item: milliseconds, or much more on an emulated machine. */
#define RUNNING_TRIES 5000
#define RUNNING_INTERVAL 2000000 /* ns */

static bool env_is_true(const char *name)
{
	const char *value = getenv(name);

	return value && (!strcmp(value, "1") || !strcasecmp(value, "true"));
}

static int fail_same_netns(struct cni_failure *failure)
{
	return cni_fail(failure, CNI_BAD_NETNS,
			"plugin's netns and netns from CNI_NETNS should not be the same");
}

/* Does the interface's alias name this attachment, in whatever network? */
static bool link_belongs_to(const struct cni_link *link, const struct cni_attachment *a)
{
	char alias[CNI_ALIAS_MAX + 1];
	struct cni_attachment owner;
	const char *network;

	strcpy(alias, link->alias);
	return cni_alias_read(alias, &network, &owner) && cni_attachment_equal(&owner, a);
}

/* ---- ADD ---- */

/*
 * What an ADD has made so far. Order: addresses, veth pair with the node's end down, the pod's end
 * configured, sluiced (which returns once the rulesets are in the kernel), the node's end up and
 * routes to it. Until the node's end is up not one packet can pass, whatever sluiced does.
 * undo_add() takes it back in the opposite order.
 */
struct add {
	const struct cni_request *req;
	struct cni_netns node;
	struct cni_netns pod;
	bool reserved;
	struct cni_address *addresses;
	size_t n_addresses;
	json_t *dns;
	bool made; /* the pair; its index is known only a call later */
	struct cni_link host_end;
	struct cni_link pod_end;
	bool attached; /* or tried: sluiced may know of it */
};

static int fault(const char *step, struct cni_failure *failure)
{
	return cni_fault(step) ? cni_fail(failure, CNI_INTERNAL, "fault injected") : 0;
}

static int open_namespaces(struct add *add, struct cni_failure *failure)
{
	SLUICE_ERR(err);

	if (cni_netns_open(&add->node, NULL, &err))
		return cni_fail_because(failure, CNI_INTERNAL, &err, "own network namespace");
	if (cni_netns_open(&add->pod, add->req->netns, &err))
		return cni_fail_because(failure, CNI_BAD_NETNS, &err, "cannot use CNI_NETNS %s",
					add->req->netns);
	if (cni_netns_same(&add->node, &add->pod) && !env_is_true("CNI_NETNS_OVERRIDE"))
		return fail_same_netns(failure);
	return 0;
}

static int refuse_existing(const struct cni_netns *ns, const char *name, const char *where,
			   struct cni_failure *failure)
{
	struct cni_link link;
	SLUICE_ERR(err);
	int ret;

	ret = cni_link_get(ns, name, &link, &err);
	if (!ret)
		return cni_fail(failure, CNI_EXISTS, "interface %s exists already in %s", name,
				where);
	if (ret != -ENODEV)
		return cni_fail_because(failure, CNI_INTERFACE, &err, "cannot look for %s", name);
	return 0;
}

static int open_pool(struct cni_pool *pool, const struct cni_request *req, bool create,
		     struct cni_failure *failure)
{
	SLUICE_ERR(err);

	if (cni_pool_open(pool, req->data_dir, req->network, create, &err))
		return cni_fail_because(failure, CNI_NO_ADDRESS, &err,
					"cannot open the address store");
	return 0;
}

/* The CIDRs of the configuration, or sluiced's. The caller frees *own. */
static int find_cidrs(const struct cni_request *req, struct cni_address **own,
		      const struct cni_address **cidrs, size_t *n_cidrs,
		      struct cni_failure *failure)
{
	SLUICE_ERR(err);
	int ret;

	*own = NULL;
	*cidrs = req->cidrs;
	*n_cidrs = req->n_cidrs;
	if (*n_cidrs)
		return 0;
	ret = cni_agent_cidrs(req, own, n_cidrs, &err);
	*cidrs = *own;
	if (!ret)
		return 0;
	return cni_fail_because(failure,
				ret == -ENOENT || ret == -EINVAL ? CNI_BAD_CONFIG : CNI_TRY_LATER,
				&err, "no podCIDRs");
}

static int reserve_from_pool(struct add *add, struct cni_failure *failure)
{
	struct cni_pool pool = CNI_POOL_INIT;
	const struct cni_address *cidrs;
	struct cni_address *own;
	SLUICE_ERR(err);
	size_t n;
	int ret;

	if (find_cidrs(add->req, &own, &cidrs, &n, failure))
		return -1;
	ret = open_pool(&pool, add->req, true, failure);
	if (ret)
		goto out;
	add->addresses = calloc(2, sizeof(*add->addresses));
	if (!add->addresses) {
		ret = cni_fail(failure, CNI_INTERNAL, "out of memory");
		goto out;
	}
	ret = cni_pool_reserve(&pool, cidrs, n, &add->req->attachment, add->addresses,
			       &add->n_addresses, &err);
	if (ret)
		cni_fail_because(failure, ret == -EEXIST ? CNI_EXISTS : CNI_NO_ADDRESS, &err,
				 "cannot reserve an address");
	else
		add->reserved = true;
out:
	cni_pool_close(&pool);
	free(own);
	return ret ? -1 : 0;
}

static int reserve_from_plugin(struct add *add, struct cni_failure *failure)
{
	const char *type = add->req->ipam_type;
	char *answer = NULL;
	SLUICE_ERR(err);
	size_t len = 0;
	int ret;

	add->reserved = true; /* also when it fails: the specification wants DEL then */
	if (cni_ipam_run(add->req, "ADD", &answer, &len, failure))
		return -1;
	ret = cni_result_from_ipam(answer, len, &add->addresses, &add->n_addresses, &add->dns,
				   &err);
	free(answer);
	return ret ? cni_fail_because(failure, CNI_IPAM, &err, "cannot use the answer of %s",
				      type) :
		     0;
}

static int make_veth(struct add *add, struct cni_failure *failure)
{
	const struct cni_attachment *a = &add->req->attachment;
	char name[IFNAMSIZ], alias[CNI_ALIAS_MAX + 1];
	uint32_t mtu = add->req->mtu;
	SLUICE_ERR(err);
	int ret;

	cni_host_name(a, name);
	if (cni_alias_write(add->req->network, a, alias, &err))
		return cni_fail_because(failure, CNI_BAD_CONFIG, &err, "names are too long");
	if (!mtu && cni_uplink_mtu(&add->node, &mtu, &err))
		return cni_fail_because(failure, CNI_INTERFACE, &err,
					"cannot find the uplink's MTU");
	for (size_t i = 0; i < add->n_addresses; i++)
		if (add->addresses[i].family == AF_INET6 && mtu < IPV6_MTU_MIN)
			return cni_fail(failure, CNI_BAD_CONFIG,
					"mtu: IPv6 needs at least %d, not %u", IPV6_MTU_MIN, mtu);

	ret = cni_veth_create(&add->node, name, cni_host_mac, &add->pod, a->ifname, mtu, &err);
	if (ret)
		return cni_fail_because(failure, ret == -EEXIST ? CNI_EXISTS : CNI_INTERFACE, &err,
					"cannot make interface %s", a->ifname);
	add->made = true;
	if (fault("veth-created", failure))
		return -1;
	if (cni_link_get(&add->node, name, &add->host_end, &err) ||
	    cni_link_set_alias(&add->node, add->host_end.ifindex, alias, &err) ||
	    cni_link_get(&add->pod, a->ifname, &add->pod_end, &err))
		return cni_fail_because(failure, CNI_INTERFACE, &err, "cannot make interface %s",
					a->ifname);
	return fault("veth", failure);
}

/* A pod may be started with IPv6 off (net.ipv6.conf.default), and still be given an address. */
static int enable_ipv6(const struct cni_netns *ns, const char *ifname, struct sluice_err *err)
{
	char path[64];

	snprintf(path, sizeof(path), "ipv6/conf/%s/disable_ipv6", ifname);
	return cni_netns_sysctl(ns, path, "0", err);
}

static int configure_pod_end(struct add *add, struct cni_failure *failure)
{
	int index = add->pod_end.ifindex;
	SLUICE_ERR(err);
	int ret = 0;

	for (size_t i = 0; i < add->n_addresses && !ret; i++)
		if (add->addresses[i].family == AF_INET6)
			ret = enable_ipv6(&add->pod, add->pod_end.name, &err);
	if (!ret)
		ret = cni_link_set_up(&add->pod, index, &err);
	if (!ret && fault("pod-up", failure))
		return -1;
	for (size_t i = 0; i < add->n_addresses && !ret; i++) {
		ret = cni_address_add(&add->pod, index, &add->addresses[i], &err);
		if (!ret && fault("pod-address", failure))
			return -1;
	}
	for (int f = 0; f < 2 && !ret; f++) {
		int family = f ? AF_INET6 : AF_INET;
		struct cni_address gateway = cni_gateway(family), dst = cni_default_route(family);
		bool wanted = false;

		for (size_t i = 0; i < add->n_addresses; i++)
			wanted |= add->addresses[i].family == family;
		if (!wanted)
			continue;
		ret = cni_neighbour_add(&add->pod, index, &gateway, cni_host_mac, &err);
		if (!ret)
			ret = cni_route_add(&add->pod, index, &dst, &gateway, &err);
		if (!ret && fault("pod-route", failure))
			return -1;
	}
	if (ret)
		return cni_fail_because(failure, CNI_INTERFACE, &err, "cannot configure %s",
					add->pod_end.name);
	return 0;
}

static int attach(struct add *add, struct cni_failure *failure)
{
	SLUICE_ERR(err);
	int ret;

	if (fault("attach-before", failure))
		return -1;
	add->attached = true;
	ret = cni_agent_attach(add->req, &add->host_end, add->addresses, add->n_addresses, &err);
	if (!ret)
		return fault("attach", failure);
	switch (-ret) {
	case EAGAIN:
	case ESRCH:
	case ETIMEDOUT:
	case ECONNREFUSED:
	case ECONNRESET:
		return cni_fail_because(failure, CNI_TRY_LATER, &err,
					"sluiced did not open the endpoint");
	default:
		return cni_fail_because(failure, CNI_REFUSED, &err,
					"sluiced did not open the endpoint");
	}
}

static int wait_running(const struct cni_netns *ns, const char *name, struct cni_link *link,
			struct sluice_err *err)
{
	for (int i = 0; i < RUNNING_TRIES; i++) {
		int ret = cni_link_get(ns, name, link, err);

		if (ret || link->running)
			return ret;
		nanosleep(&(struct timespec){ .tv_nsec = RUNNING_INTERVAL }, NULL);
	}
	return sluice_err_set(err, ETIMEDOUT, "%s has no carrier", name);
}

static int configure_host_end(struct add *add, struct cni_failure *failure)
{
	const char *name = add->host_end.name;
	int index = add->host_end.ifindex;
	SLUICE_ERR(err);
	int ret = 0;

	for (size_t i = 0; i < add->n_addresses && !ret; i++) {
		char path[64];

		if (add->addresses[i].family != AF_INET6)
			continue;
		ret = enable_ipv6(&add->node, name, &err);
		/* A pod must not give the node routes by router advertisement. */
		snprintf(path, sizeof(path), "ipv6/conf/%s/accept_ra", name);
		if (!ret)
			ret = cni_netns_sysctl(&add->node, path, "0", &err);
	}
	if (!ret)
		ret = cni_link_set_up(&add->node, index, &err);
	if (!ret && fault("host-up", failure))
		return -1;
	for (size_t i = 0; i < add->n_addresses && !ret; i++) {
		ret = cni_route_add(&add->node, index, &add->addresses[i], NULL, &err);
		if (!ret && fault("host-route", failure))
			return -1;
	}
	if (!ret)
		ret = wait_running(&add->node, name, &add->host_end, &err);
	if (!ret)
		ret = wait_running(&add->pod, add->pod_end.name, &add->pod_end, &err);
	if (ret)
		return cni_fail_because(failure, CNI_INTERFACE, &err, "cannot configure %s", name);
	return fault("running", failure);
}

static int write_all(const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n > 0) {
			text += n;
			len -= n;
		} else if (errno != EINTR) {
			return -1;
		}
	}
	return 0;
}

static int print_json(const json_t *json, struct cni_failure *failure)
{
	char *text = json_dumps(json, JSON_COMPACT);
	int ret;

	if (!text)
		return cni_fail(failure, CNI_INTERNAL, "out of memory");
	ret = write_all(text, strlen(text)) || write_all("\n", 1);
	free(text);
	if (ret)
		return cni_fail(failure, CNI_IO, "cannot write the result: %s", strerror(errno));
	return 0;
}

static int print_result(struct add *add, struct cni_failure *failure)
{
	json_t *dns = add->req->dns ? add->req->dns : add->dns, *result;
	SLUICE_ERR(err);
	int ret;

	if (cni_result_make(add->req, &add->host_end, &add->pod_end, add->addresses,
			    add->n_addresses, dns, &result, &err))
		return cni_fail_because(failure, CNI_BAD_CONFIG, &err, "cannot make the result");
	if (fault("result", failure))
		ret = -1;
	else
		ret = print_json(result, failure);
	json_decref(result);
	return ret;
}

/* Give addresses back, to the pool or the plugin. */
static int release(const struct cni_request *req, struct cni_failure *failure)
{
	struct cni_pool pool = CNI_POOL_INIT;
	SLUICE_ERR(err);
	int ret = 0;

	if (req->ipam_type)
		return cni_ipam_run(req, "DEL", NULL, NULL, failure);
	if (open_pool(&pool, req, false, failure))
		return -1;
	if (cni_pool_release(&pool, &req->attachment, &err))
		ret = cni_fail_because(failure, CNI_NO_ADDRESS, &err, "cannot release the address");
	cni_pool_close(&pool);
	return ret;
}

/*
 * Take back what was made. The failure of ADD stays the answer; what goes wrong here is added to
 * its details. An address stays reserved while an interface that has it could not be removed.
 */
static void undo_add(struct add *add, struct cni_failure *failure)
{
	struct cni_failure second = { 0 };
	char name[IFNAMSIZ];
	SLUICE_ERR(err);
	int ret = 0;

	cni_host_name(&add->req->attachment, name);
	if (add->made && !add->host_end.ifindex)
		ret = cni_link_get(&add->node, name, &add->host_end, &err);
	if (add->made && !ret)
		ret = cni_link_delete(&add->node, add->host_end.ifindex, &err);
	if (ret) {
		cni_failure_add(failure, "cleaning up: %s", sluice_err_msg(&err));
		return;
	}
	if (add->attached && cni_agent_detach(add->req, &err))
		cni_log("detach: %s", sluice_err_msg(&err));
	if (add->reserved && release(add->req, &second))
		cni_failure_add(failure, "cleaning up: %s: %s", second.msg,
				second.details ? second.details : "");
	cni_failure_clear(&second);
}

int cni_add(const struct cni_request *req, struct cni_failure *failure)
{
	struct add add = { .req = req, .node = CNI_NETNS_INIT, .pod = CNI_NETNS_INIT };
	char host_name[IFNAMSIZ];
	int ret;

	/* The kernel takes '%' for a pattern: "eth%d" would make another name. */
	if (strchr(req->attachment.ifname, '%'))
		return cni_fail(failure, CNI_BAD_ENVIRONMENT, "interface name contains %%");
	cni_host_name(&req->attachment, host_name);
	ret = open_namespaces(&add, failure);
	if (!ret)
		ret = refuse_existing(&add.pod, req->attachment.ifname, "the container", failure);
	if (!ret)
		ret = refuse_existing(&add.node, host_name, "the node", failure);
	if (!ret)
		ret = req->ipam_type ? reserve_from_plugin(&add, failure) :
				       reserve_from_pool(&add, failure);
	if (!ret)
		ret = fault("reserve", failure);
	if (!ret)
		ret = make_veth(&add, failure);
	if (!ret)
		ret = configure_pod_end(&add, failure);
	if (!ret)
		ret = attach(&add, failure);
	if (!ret)
		ret = configure_host_end(&add, failure);
	if (!ret)
		ret = print_result(&add, failure);
	if (ret)
		undo_add(&add, failure);
	json_decref(add.dns);
	free(add.addresses);
	cni_netns_close(&add.pod);
	cni_netns_close(&add.node);
	return ret;
}

/* ---- DEL ---- */

static int delete_interface(const struct cni_request *req, const struct cni_netns *node,
			    struct cni_failure *failure)
{
	struct cni_link link;
	char name[IFNAMSIZ];
	SLUICE_ERR(err);
	int ret;

	cni_host_name(&req->attachment, name);
	ret = cni_link_get(node, name, &link, &err);
	if (ret == -ENODEV)
		return 0;
	/* No alias: an ADD killed right after it made the pair. */
	if (!ret && (!cni_is_host_end(&link) ||
		     (*link.alias && !link_belongs_to(&link, &req->attachment)))) {
		cni_log("%s is not this attachment's interface: left alone", name);
		return 0;
	}
	if (!ret)
		ret = cni_link_delete(node, link.ifindex, &err);
	if (ret)
		return cni_fail_because(failure, CNI_INTERFACE, &err, "cannot remove %s", name);
	return 0;
}

int cni_del(const struct cni_request *req, struct cni_failure *failure)
{
	struct cni_netns node = CNI_NETNS_INIT, pod = CNI_NETNS_INIT;
	SLUICE_ERR(err);
	int ret;

	if (cni_netns_open(&node, NULL, &err))
		return cni_fail_because(failure, CNI_INTERNAL, &err, "own network namespace");
	/*
	 * The pair goes first, by the node's end: the pod's end, all addresses, routes and the
	 * kernel's endpoint go with it, whether or not the pod's namespace or sluiced is still
	 * there. The address goes last: it must not be given to another pod while one still has it.
	 */
	ret = delete_interface(req, &node, failure);
	if (!ret) {
		if (cni_agent_detach(req, &err))
			cni_log("detach: %s", sluice_err_msg(&err));
		ret = release(req, failure);
	}
	if (!ret && req->netns && !cni_netns_open(&pod, req->netns, NULL) &&
	    cni_netns_same(&node, &pod) && !env_is_true("CNI_NETNS_OVERRIDE"))
		ret = fail_same_netns(failure);
	cni_netns_close(&pod);
	cni_netns_close(&node);
	return ret;
}

/* ---- CHECK ---- */

static int check_links(const struct cni_request *req, const struct cni_netns *node,
		       const struct cni_netns *pod, struct cni_link *host_end,
		       struct cni_link *pod_end, struct sluice_err *err)
{
	char name[IFNAMSIZ];
	int ret;

	ret = cni_link_get(pod, req->attachment.ifname, pod_end, err);
	if (ret)
		return sluice_err_prefix(err, "container");
	cni_host_name(&req->attachment, name);
	ret = cni_link_get(node, name, host_end, err);
	if (ret)
		return sluice_err_prefix(err, "node");
	if (!link_belongs_to(host_end, &req->attachment))
		return sluice_err_set(err, EINVAL, "%s belongs to another attachment", name);
	if (strcmp(pod_end->kind, "veth") || pod_end->peer != host_end->ifindex)
		return sluice_err_set(err, EINVAL, "%s is not the other end of %s", pod_end->name,
				      name);
	if (!pod_end->up || !host_end->up)
		return sluice_err_set(err, EINVAL, "%s is down",
				      pod_end->up ? name : pod_end->name);
	return 0;
}

static int check_kernel(const struct cni_request *req, const struct cni_netns *node,
			const struct cni_netns *pod, const struct cni_address *addresses,
			size_t n_addresses, const struct cni_address *routes, size_t n_routes,
			struct cni_failure *failure)
{
	struct cni_link host_end, pod_end;
	SLUICE_ERR(err);
	int ret;

	ret = check_links(req, node, pod, &host_end, &pod_end, &err);
	for (size_t i = 0; i < n_addresses && !ret; i++) {
		struct cni_address address = cni_address_host(&addresses[i]);

		ret = cni_address_find(pod, pod_end.ifindex, &addresses[i], &err);
		if (ret)
			sluice_err_prefix(&err, "container: %s", pod_end.name);
		else if ((ret = cni_route_find(node, host_end.ifindex, &address, NULL, &err)))
			sluice_err_prefix(&err, "node: %s", host_end.name);
	}
	for (size_t i = 0; i < n_routes && !ret; i++) {
		struct cni_address gateway = cni_gateway(routes[i].family);

		ret = cni_route_find(pod, pod_end.ifindex, &routes[i], &gateway, &err);
		if (ret)
			sluice_err_prefix(&err, "container: %s", pod_end.name);
	}
	if (ret)
		return cni_fail_because(failure, CNI_MISMATCH, &err,
					"the interface is not as ADD made it");
	return 0;
}

static int check_reservation(const struct cni_request *req, const struct cni_address *addresses,
			     size_t n_addresses, struct cni_failure *failure)
{
	struct cni_pool pool = CNI_POOL_INIT;
	SLUICE_ERR(err);
	int ret = 0;

	if (req->ipam_type)
		return cni_ipam_run(req, "CHECK", NULL, NULL, failure);
	if (open_pool(&pool, req, false, failure))
		return -1;
	for (size_t i = 0; i < n_addresses && !ret; i++)
		ret = cni_pool_check(&pool, &addresses[i], &req->attachment, &err);
	cni_pool_close(&pool);
	if (ret)
		return cni_fail_because(failure, CNI_MISMATCH, &err, "the address is not reserved");
	return 0;
}

int cni_check(const struct cni_request *req, struct cni_failure *failure)
{
	struct cni_netns node = CNI_NETNS_INIT, pod = CNI_NETNS_INIT;
	struct cni_address *addresses = NULL, *routes = NULL;
	size_t n_addresses = 0, n_routes = 0;
	SLUICE_ERR(err);
	int ret;

	if (!req->prev_result)
		return cni_fail(failure, CNI_BAD_CONFIG, "CHECK needs prevResult");
	if (cni_result_previous(req, &addresses, &n_addresses, &routes, &n_routes, &err))
		return cni_fail_because(failure, CNI_BAD_CONFIG, &err, "cannot use prevResult");

	ret = cni_netns_open(&node, NULL, &err);
	if (ret) {
		cni_fail_because(failure, CNI_INTERNAL, &err, "own network namespace");
	} else if ((ret = cni_netns_open(&pod, req->netns, &err))) {
		cni_fail_because(failure, ret == -ENOENT ? CNI_UNKNOWN_CONTAINER : CNI_BAD_NETNS,
				 &err, "cannot use CNI_NETNS %s", req->netns);
	} else {
		ret = check_kernel(req, &node, &pod, addresses, n_addresses, routes, n_routes,
				   failure);
		if (!ret)
			ret = check_reservation(req, addresses, n_addresses, failure);
		if (!ret && cni_agent_check(req, &err))
			ret = cni_fail_because(failure, CNI_MISMATCH, &err,
					       "sluiced does not enforce policy on it");
	}
	cni_netns_close(&pod);
	cni_netns_close(&node);
	free(addresses);
	free(routes);
	return ret ? -1 : 0;
}

/* ---- GC ---- */

/*
 * The attachments that stay: those the runtime lists; those of other networks, for sluiced has one
 * list for all; and those whose interface could not be removed, whose address must stay reserved.
 */
struct gc {
	const struct cni_request *req;
	const struct cni_netns *node;
	struct cni_attachment *keep;
	size_t n_keep;
	char **texts; /* what the entries after the runtime's point into */
	size_t n_texts;
	struct cni_failure *failure; /* the first error, with the others in its details */
	bool failed;
};

static void gc_failed(struct gc *gc, int code, const char *what, const char *why)
{
	if (!gc->failed)
		cni_fail(gc->failure, code, "garbage collection is not complete");
	gc->failed = true;
	cni_failure_add(gc->failure, "%s: %s", what, why ? why : "");
}

static int gc_keep(struct gc *gc, const char *alias, struct sluice_err *err)
{
	struct cni_attachment *keep;
	const char *network;
	char **texts, *text;

	keep = realloc(gc->keep, (gc->n_keep + 1) * sizeof(*keep));
	if (keep)
		gc->keep = keep;
	texts = realloc(gc->texts, (gc->n_texts + 1) * sizeof(*texts));
	if (texts)
		gc->texts = texts;
	text = strdup(alias);
	if (!keep || !texts || !text) {
		free(text);
		return sluice_err_set(err, ENOMEM, "out of memory");
	}
	texts[gc->n_texts++] = text;
	if (cni_alias_read(text, &network, &keep[gc->n_keep]))
		gc->n_keep++;
	return 0;
}

static int gc_link(const struct cni_link *link, void *arg, struct sluice_err *err)
{
	char alias[CNI_ALIAS_MAX + 1], name[IFNAMSIZ];
	struct gc *gc = arg;
	const struct cni_request *req = gc->req;
	struct cni_attachment owner;
	const char *network;
	SLUICE_ERR(why);

	if (!cni_is_host_end(link))
		return 0;
	strcpy(alias, link->alias);
	if (cni_alias_read(alias, &network, &owner)) {
		if (strcmp(network, req->network))
			return gc_keep(gc, link->alias, err);
		if (cni_attachment_listed(&owner, req->valid, req->n_valid))
			return 0;
	} else if (*link->alias) {
		return 0; /* somebody else's after all */
	} else {
		/* An ADD killed before the alias was there. GC and ADD never run together. */
		for (size_t i = 0; i < req->n_valid; i++) {
			cni_host_name(&req->valid[i], name);
			if (!strcmp(name, link->name))
				return 0;
		}
	}
	if (!cni_link_delete(gc->node, link->ifindex, &why))
		return 0;
	gc_failed(gc, CNI_INTERFACE, link->name, sluice_err_msg(&why));
	return gc_keep(gc, link->alias, err);
}

/* Addresses of stale attachments; those of other networks are in other stores. */
static void gc_addresses(struct gc *gc)
{
	const struct cni_request *req = gc->req;
	struct cni_pool pool = CNI_POOL_INIT;
	struct cni_failure failure = { 0 };
	SLUICE_ERR(err);

	if (req->ipam_type) {
		if (cni_ipam_run(req, "GC", NULL, NULL, &failure))
			gc_failed(gc, failure.code, failure.msg, failure.details);
	} else if (open_pool(&pool, req, false, &failure)) {
		gc_failed(gc, failure.code, failure.msg, failure.details);
	} else {
		if (cni_pool_sweep(&pool, gc->keep, gc->n_keep, &err))
			gc_failed(gc, CNI_NO_ADDRESS, "address store", sluice_err_msg(&err));
		cni_pool_close(&pool);
	}
	cni_failure_clear(&failure);
}

int cni_gc(const struct cni_request *req, struct cni_failure *failure)
{
	struct cni_netns node = CNI_NETNS_INIT;
	struct gc gc = { .req = req, .node = &node, .failure = failure };
	bool listed = false;
	SLUICE_ERR(err);

	/* No list is no knowledge, an empty list is the knowledge that nothing is valid. */
	if (!req->have_valid) {
		cni_log("GC without cni.dev/valid-attachments: nothing is removed");
		return 0;
	}
	gc.keep = calloc(req->n_valid + 1, sizeof(*gc.keep));
	if (!gc.keep)
		return cni_fail(failure, CNI_INTERNAL, "out of memory");
	memcpy(gc.keep, req->valid, req->n_valid * sizeof(*gc.keep));
	gc.n_keep = req->n_valid;

	if (cni_netns_open(&node, NULL, &err) || cni_link_each(&node, gc_link, &gc, &err))
		gc_failed(&gc, CNI_INTERFACE, "interfaces", sluice_err_msg(&err));
	else
		listed = true;
	/*
	 * Without the whole list of interfaces nobody knows what other networks have, nor whose
	 * interface still has its address: then only the next GC can go on.
	 */
	if (listed) {
		if (cni_agent_gc(req, gc.keep, gc.n_keep, &err))
			cni_log("gc: %s", sluice_err_msg(&err));
		gc_addresses(&gc);
	}
	cni_netns_close(&node);
	for (size_t i = 0; i < gc.n_texts; i++)
		free(gc.texts[i]);
	free(gc.texts);
	free(gc.keep);
	return gc.failed ? -1 : 0;
}

/* ---- STATUS and VERSION ---- */

int cni_status(const struct cni_request *req, struct cni_failure *failure)
{
	struct cni_pool pool = CNI_POOL_INIT;
	const struct cni_address *cidrs;
	struct cni_address *own = NULL;
	SLUICE_ERR(err);
	size_t n;
	int ret;

	/* 50 and not 51: the kernel goes on with what it has while sluiced is away. */
	if (cni_agent_ready(req, &err))
		return cni_fail_because(failure, CNI_NOT_AVAILABLE, &err, "sluiced is not ready");
	if (req->ipam_type)
		return cni_ipam_run(req, "STATUS", NULL, NULL, failure);

	ret = find_cidrs(req, &own, &cidrs, &n, failure);
	if (!ret)
		ret = open_pool(&pool, req, false, failure);
	if (ret)
		failure->code = CNI_NOT_AVAILABLE;
	else if (cni_pool_has_room(&pool, cidrs, n, &err))
		ret = cni_fail_because(failure, CNI_NOT_AVAILABLE, &err, "no address is free");
	cni_pool_close(&pool);
	free(own);
	return ret;
}

int cni_version(struct cni_failure *failure)
{
	json_t *list = json_array(), *json;
	int ret;

	for (const char *const *v = cni_supported_versions; *v; v++)
		json_array_append_new(list, json_string(*v));
	json = json_pack("{s:s, s:o}", "cniVersion", CNI_NEWEST_VERSION, "supportedVersions", list);
	ret = print_json(json, failure);
	json_decref(json);
	return ret;
}
