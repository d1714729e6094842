// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/uplink.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <stdlib.h>

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
	if (!options->n_uplinks && !options->memory) {
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
