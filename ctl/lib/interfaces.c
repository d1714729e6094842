// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/interfaces.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"

void sluice_interfaces_add(struct sluice_interfaces *set, uint32_t ifindex)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->v[i] == ifindex)
			return;
	sluice_grow(set->v, set->n, set->cap);
	set->v[set->n++] = ifindex;
}

static void add_next_hop(struct rtnl_nexthop *hop, void *arg)
{
	int ifindex = rtnl_route_nh_get_ifindex(hop);

	if (ifindex > 0)
		sluice_interfaces_add(arg, ifindex);
}

static void add_route(struct nl_object *object, void *arg)
{
	struct rtnl_route *route = (struct rtnl_route *)object;
	struct nl_addr *dst = rtnl_route_get_dst(route);

	if (rtnl_route_get_type(route) == RTN_UNICAST &&
	    rtnl_route_get_table(route) == RT_TABLE_MAIN && (!dst || !nl_addr_get_prefixlen(dst)))
		rtnl_route_foreach_nexthop(route, add_next_hop, arg);
}

bool sluice_interfaces_of_default_routes(struct sluice_interfaces *set)
{
	struct nl_sock *sock = nl_socket_alloc();
	struct nl_cache *routes;
	bool good = false;

	if (sock && !nl_connect(sock, NETLINK_ROUTE) &&
	    !rtnl_route_alloc_cache(sock, AF_UNSPEC, 0, &routes)) {
		nl_cache_foreach(routes, add_route, set);
		nl_cache_free(routes);
		good = true;
	}
	if (sock)
		nl_socket_free(sock);
	return good;
}

/* Asks the kernel about an interface; false: there is no such one. */
static bool ask(uint32_t ifindex, unsigned long what, struct ifreq *answer)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool good;

	*answer = (struct ifreq){ 0 };
	good = fd >= 0 && if_indextoname(ifindex, answer->ifr_name) && !ioctl(fd, what, answer);
	if (fd >= 0)
		close(fd);
	return good;
}

bool sluice_interface_is_loopback(uint32_t ifindex)
{
	struct ifreq answer;

	return ask(ifindex, SIOCGIFFLAGS, &answer) && answer.ifr_flags & IFF_LOOPBACK;
}

bool sluice_interface_has_frames(uint32_t ifindex)
{
	struct ifreq answer;

	return !ask(ifindex, SIOCGIFHWADDR, &answer) || answer.ifr_hwaddr.sa_family == ARPHRD_ETHER;
}
