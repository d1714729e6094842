// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/uplink.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/sluiced/controller.h"

struct indexes {
	uint32_t *v;
	size_t n;
	size_t cap;
};

static void add_index(struct indexes *list, uint32_t ifindex)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->v[i] == ifindex)
			return;
	sluice_grow(list->v, list->n, list->cap);
	list->v[list->n++] = ifindex;
}

static void add_next_hop(struct rtnl_nexthop *hop, void *arg)
{
	int ifindex = rtnl_route_nh_get_ifindex(hop);

	if (ifindex > 0)
		add_index(arg, ifindex);
}

static void add_route(struct nl_object *object, void *arg)
{
	struct rtnl_route *route = (struct rtnl_route *)object;
	struct nl_addr *dst = rtnl_route_get_dst(route);

	if (rtnl_route_get_type(route) == RTN_UNICAST &&
	    rtnl_route_get_table(route) == RT_TABLE_MAIN && (!dst || !nl_addr_get_prefixlen(dst)))
		rtnl_route_foreach_nexthop(route, add_next_hop, arg);
}

static bool find_default_routes(struct indexes *list)
{
	struct nl_sock *sock = nl_socket_alloc();
	struct nl_cache *routes;
	bool good = false;

	if (sock && !nl_connect(sock, NETLINK_ROUTE) &&
	    !rtnl_route_alloc_cache(sock, AF_UNSPEC, 0, &routes)) {
		nl_cache_foreach(routes, add_route, list);
		nl_cache_free(routes);
		good = true;
	}
	if (sock)
		nl_socket_free(sock);
	return good;
}

size_t uplinks_find(const struct options *options, uint32_t **indexes, char **problem)
{
	struct indexes list = { 0 };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	sluice_alloc_check(out);
	for (size_t i = 0; i < options->n_uplinks; i++) {
		uint32_t ifindex = if_nametoindex(options->uplinks[i]);

		if (ifindex)
			add_index(&list, ifindex);
		else
			fprintf(out, "%suplink %s: there is no such interface", len ? "; " : "",
				options->uplinks[i]);
		fflush(out);
	}
	if (!options->n_uplinks && options->dataplane != PLANE_MEMORY) {
		if (!find_default_routes(&list))
			fputs("the routes cannot be read, so that no uplink is known", out);
		else if (!list.n)
			fputs("there is no default route, and no --uplink is given", out);
	}
	fclose(out);
	if (!*text) {
		free(text);
		text = NULL;
	}
	*problem = text;
	*indexes = list.v;
	return list.n;
}

/* An address that other nodes may answer to; the kernel lists an interface's first one first. */
static bool take_address(const struct ifaddrs *i, struct sluice_addr masquerade[2])
{
	const struct sockaddr_in6 *in6 = (const void *)i->ifa_addr;
	const struct sockaddr_in *in = (const void *)i->ifa_addr;
	struct sluice_addr addr = { 0 };
	bool ipv6 = i->ifa_addr->sa_family == AF_INET6;

	if (ipv6)
		memcpy(&addr, &in6->sin6_addr, sizeof(in6->sin6_addr));
	else
		memcpy(&addr, &in->sin_addr, sizeof(in->sin_addr));
	if (sluice_addr_link_local(&addr, ipv6 ? SLUICE_IPV6 : SLUICE_IPV4))
		return false;
	masquerade[ipv6] = addr;
	return true;
}

void uplinks_addresses(const uint32_t *indexes, size_t n, struct sluice_addr masquerade[2])
{
	bool has[2] = { false, false };
	struct ifaddrs *all;

	memset(masquerade, 0, 2 * sizeof(*masquerade));
	if (getifaddrs(&all))
		return;
	for (size_t k = 0; k < n; k++) {
		for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
			int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
			bool *known = &has[family == AF_INET6];

			if ((family == AF_INET || family == AF_INET6) && !*known &&
			    if_nametoindex(i->ifa_name) == indexes[k])
				*known = take_address(i, masquerade);
		}
	}
	freeifaddrs(all);
}
