// SPDX-License-Identifier: GPL-2.0-only
#include "cni/netdev.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/magic.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define NO_UPLINK_MTU 1500

/* libnl folds the kernel's errno into numbers of its own. */
static int errno_of_nl(int nle)
{
	switch (abs(nle)) {
	case NLE_EXIST:
		return EEXIST;
	case NLE_NODEV:
		return ENODEV;
	case NLE_OBJ_NOTFOUND:
		return ENOENT;
	case NLE_NOMEM:
		return ENOMEM;
	case NLE_PERM:
	case NLE_NOACCESS:
		return EPERM;
	case NLE_INVAL:
	case NLE_RANGE:
		return EINVAL;
	case NLE_BUSY:
		return EBUSY;
	case NLE_OPNOTSUPP:
		return EOPNOTSUPP;
	default:
		return EIO;
	}
}

#define fail_nl(err, nle, fmt, ...) \
	sluice_err_set(err, errno_of_nl(nle), fmt ": %s", ##__VA_ARGS__, nl_geterror(nle))

static int no_memory(struct sluice_err *err)
{
	return sluice_err_set(err, ENOMEM, "out of memory");
}

/*
 * Run fn in the namespace. Coming back cannot fail (the process was there), short of a broken
 * kernel; then nothing more may be done in the wrong place.
 */
static int run_inside(int fd, int (*fn)(void *arg, struct sluice_err *err), void *arg,
		      struct sluice_err *err)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int ret;

	if (home < 0)
		return sluice_err_errno(err, errno, "open /proc/self/ns/net");
	if (setns(fd, CLONE_NEWNET)) {
		ret = sluice_err_errno(err, errno, "enter the network namespace");
	} else {
		ret = fn(arg, err);
		if (setns(home, CLONE_NEWNET)) {
			perror("sluice-cni: leave the pod's network namespace");
			abort();
		}
	}
	close(home);
	return ret;
}

static int open_socket(void *arg, struct sluice_err *err)
{
	struct cni_netns *ns = arg;
	int nle;

	ns->sock = nl_socket_alloc();
	if (!ns->sock)
		return no_memory(err);
	nle = nl_connect(ns->sock, NETLINK_ROUTE);
	return nle ? fail_nl(err, nle, "open a netlink socket") : 0;
}

int cni_netns_open(struct cni_netns *ns, const char *path, struct sluice_err *err)
{
	struct statfs fs;
	int ret;

	*ns = (struct cni_netns)CNI_NETNS_INIT;
	/* O_NONBLOCK: the path may turn out to be a FIFO nobody writes to. */
	ns->fd = open(path ? path : "/proc/self/ns/net", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (ns->fd < 0)
		return sluice_err_errno(err, errno, "open %s", path ? path : "/proc/self/ns/net");
	if (fstatfs(ns->fd, &fs) || fs.f_type != NSFS_MAGIC)
		ret = sluice_err_set(err, EINVAL, "%s is not a network namespace", path);
	else
		ret = run_inside(ns->fd, open_socket, ns, err);
	if (ret)
		cni_netns_close(ns);
	return ret;
}

void cni_netns_close(struct cni_netns *ns)
{
	if (ns->sock)
		nl_socket_free(ns->sock);
	if (ns->fd >= 0)
		close(ns->fd);
	*ns = (struct cni_netns)CNI_NETNS_INIT;
}

bool cni_netns_same(const struct cni_netns *a, const struct cni_netns *b)
{
	struct stat x, y;

	return !fstat(a->fd, &x) && !fstat(b->fd, &y) && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

struct sysctl {
	const char *path;
	const char *value;
};

static int write_sysctl(void *arg, struct sluice_err *err)
{
	const struct sysctl *sysctl = arg;
	char path[256];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", sysctl->path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return sluice_err_errno(err, errno, "open %s", path);
	if (write(fd, sysctl->value, strlen(sysctl->value)) < 0)
		ret = sluice_err_errno(err, errno, "write %s", path);
	close(fd);
	return ret;
}

int cni_netns_sysctl(const struct cni_netns *ns, const char *path, const char *value,
		     struct sluice_err *err)
{
	struct sysctl sysctl = { path, value };

	return run_inside(ns->fd, write_sysctl, &sysctl, err);
}

static struct nl_addr *nl_of(const struct cni_address *a)
{
	struct nl_addr *nl = nl_addr_build(a->family, a->bytes, cni_address_bytes(a));

	if (nl)
		nl_addr_set_prefixlen(nl, a->prefix);
	return nl;
}

static bool nl_is(const struct nl_addr *nl, const struct cni_address *a)
{
	if (!nl)
		return false;
	/* The default destination of a dumped route is an address of length 0. */
	if (!a->prefix)
		return !nl_addr_get_prefixlen(nl);
	return nl_addr_get_family(nl) == a->family && nl_addr_get_prefixlen(nl) == a->prefix &&
	       nl_addr_get_len(nl) == (unsigned int)cni_address_bytes(a) &&
	       !memcmp(nl_addr_get_binary_addr(nl), a->bytes, cni_address_bytes(a));
}

static void copy_text(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

static void read_link(struct rtnl_link *nl, struct cni_link *link)
{
	struct nl_addr *mac = rtnl_link_get_addr(nl);

	*link = (struct cni_link){
		.ifindex = rtnl_link_get_ifindex(nl),
		.mtu = rtnl_link_get_mtu(nl),
		.peer = rtnl_link_get_link(nl),
		.up = rtnl_link_get_flags(nl) & IFF_UP,
		.running = rtnl_link_get_operstate(nl) == IF_OPER_UP,
	};
	copy_text(link->name, sizeof(link->name), rtnl_link_get_name(nl));
	copy_text(link->kind, sizeof(link->kind), rtnl_link_get_type(nl));
	copy_text(link->alias, sizeof(link->alias), rtnl_link_get_ifalias(nl));
	if (mac && nl_addr_get_len(mac) == sizeof(link->mac))
		memcpy(link->mac, nl_addr_get_binary_addr(mac), sizeof(link->mac));
}

int cni_link_get(const struct cni_netns *ns, const char *name, struct cni_link *link,
		 struct sluice_err *err)
{
	struct rtnl_link *nl;
	int nle;

	nle = rtnl_link_get_kernel(ns->sock, 0, name, &nl);
	if (nle == -NLE_OBJ_NOTFOUND || nle == -NLE_NODEV)
		return sluice_err_set(err, ENODEV, "there is no interface %s", name);
	if (nle)
		return fail_nl(err, nle, "read interface %s", name);
	read_link(nl, link);
	rtnl_link_put(nl);
	return 0;
}

int cni_link_each(const struct cni_netns *ns,
		  int (*fn)(const struct cni_link *link, void *arg, struct sluice_err *err),
		  void *arg, struct sluice_err *err)
{
	struct nl_cache *cache;
	int nle, ret = 0;

	nle = rtnl_link_alloc_cache(ns->sock, AF_UNSPEC, &cache);
	if (nle)
		return fail_nl(err, nle, "list interfaces");
	for (struct nl_object *o = nl_cache_get_first(cache); o && !ret; o = nl_cache_get_next(o)) {
		struct cni_link link;

		read_link((struct rtnl_link *)o, &link);
		ret = fn(&link, arg, err);
	}
	nl_cache_free(cache);
	return ret;
}

int cni_veth_create(const struct cni_netns *host, const char *host_name, const uint8_t mac[6],
		    const struct cni_netns *pod, const char *pod_name, uint32_t mtu,
		    struct sluice_err *err)
{
	struct rtnl_link *veth = rtnl_link_veth_alloc();
	struct nl_addr *addr = nl_addr_build(AF_LLC, mac, 6);
	struct rtnl_link *peer = veth ? rtnl_link_veth_get_peer(veth) : NULL;
	int nle = -NLE_NOMEM;

	if (veth && addr && peer) {
		rtnl_link_set_name(veth, host_name);
		rtnl_link_set_addr(veth, addr);
		rtnl_link_set_mtu(veth, mtu);
		rtnl_link_set_name(peer, pod_name);
		rtnl_link_set_mtu(peer, mtu);
		rtnl_link_set_ns_fd(peer, pod->fd);
		nle = rtnl_link_add(host->sock, veth, NLM_F_CREATE | NLM_F_EXCL);
	}
	if (peer)
		rtnl_link_put(peer);
	if (veth)
		rtnl_link_put(veth);
	nl_addr_put(addr);
	return nle ? fail_nl(err, nle, "create the veth pair %s and %s", host_name, pod_name) : 0;
}

/* Apply what is set in change to the interface; takes ownership of change. */
static int change_link(const struct cni_netns *ns, int ifindex, struct rtnl_link *change,
		       const char *what, struct sluice_err *err)
{
	struct rtnl_link *link = rtnl_link_alloc();
	int nle = -NLE_NOMEM;

	if (link && change) {
		rtnl_link_set_ifindex(link, ifindex);
		nle = rtnl_link_change(ns->sock, link, change, 0);
	}
	if (link)
		rtnl_link_put(link);
	if (change)
		rtnl_link_put(change);
	return nle ? fail_nl(err, nle, "%s interface %d", what, ifindex) : 0;
}

int cni_link_set_up(const struct cni_netns *ns, int ifindex, struct sluice_err *err)
{
	struct rtnl_link *change = rtnl_link_alloc();

	if (change)
		rtnl_link_set_flags(change, IFF_UP);
	return change_link(ns, ifindex, change, "set up", err);
}

int cni_link_set_alias(const struct cni_netns *ns, int ifindex, const char *alias,
		       struct sluice_err *err)
{
	struct rtnl_link *change = rtnl_link_alloc();

	if (change)
		rtnl_link_set_ifalias(change, alias);
	return change_link(ns, ifindex, change, "set the alias of", err);
}

int cni_link_delete(const struct cni_netns *ns, int ifindex, struct sluice_err *err)
{
	struct rtnl_link *link = rtnl_link_alloc();
	int nle;

	if (!link)
		return no_memory(err);
	rtnl_link_set_ifindex(link, ifindex);
	nle = rtnl_link_delete(ns->sock, link);
	rtnl_link_put(link);
	if (!nle || nle == -NLE_NODEV || nle == -NLE_OBJ_NOTFOUND)
		return 0;
	return fail_nl(err, nle, "delete interface %d", ifindex);
}

int cni_address_add(const struct cni_netns *ns, int ifindex, const struct cni_address *address,
		    struct sluice_err *err)
{
	struct rtnl_addr *addr = rtnl_addr_alloc();
	struct nl_addr *local = nl_of(address);
	char text[CNI_ADDRESS_TEXT];
	int nle = -NLE_NOMEM;

	if (addr && local) {
		rtnl_addr_set_ifindex(addr, ifindex);
		rtnl_addr_set_local(addr, local);
		rtnl_addr_set_prefixlen(addr, address->prefix);
		if (address->family == AF_INET6)
			rtnl_addr_set_flags(addr, IFA_F_NODAD);
		nle = rtnl_addr_add(ns->sock, addr, NLM_F_EXCL);
	}
	if (addr)
		rtnl_addr_put(addr);
	nl_addr_put(local);
	return nle ? fail_nl(err, nle, "add address %s", cni_address_cidr(address, text)) : 0;
}

int cni_address_find(const struct cni_netns *ns, int ifindex, const struct cni_address *address,
		     struct sluice_err *err)
{
	char text[CNI_ADDRESS_TEXT];
	struct nl_cache *cache;
	bool found = false;
	int nle;

	nle = rtnl_addr_alloc_cache(ns->sock, &cache);
	if (nle)
		return fail_nl(err, nle, "list addresses");
	for (struct nl_object *o = nl_cache_get_first(cache); o && !found;
	     o = nl_cache_get_next(o)) {
		struct rtnl_addr *addr = (struct rtnl_addr *)o;

		found = rtnl_addr_get_ifindex(addr) == ifindex &&
			nl_is(rtnl_addr_get_local(addr), address);
	}
	nl_cache_free(cache);
	return found ? 0 :
		       sluice_err_set(err, ENOENT, "there is no address %s",
				      cni_address_cidr(address, text));
}

int cni_neighbour_add(const struct cni_netns *ns, int ifindex, const struct cni_address *address,
		      const uint8_t mac[6], struct sluice_err *err)
{
	struct rtnl_neigh *neigh = rtnl_neigh_alloc();
	struct nl_addr *lladdr = nl_addr_build(AF_LLC, mac, 6);
	struct nl_addr *dst = nl_of(address);
	char text[CNI_ADDRESS_TEXT];
	int nle = -NLE_NOMEM;

	if (neigh && lladdr && dst) {
		rtnl_neigh_set_ifindex(neigh, ifindex);
		rtnl_neigh_set_dst(neigh, dst);
		rtnl_neigh_set_lladdr(neigh, lladdr);
		rtnl_neigh_set_state(neigh, NUD_PERMANENT);
		nle = rtnl_neigh_add(ns->sock, neigh, NLM_F_CREATE | NLM_F_REPLACE);
	}
	if (neigh)
		rtnl_neigh_put(neigh);
	nl_addr_put(lladdr);
	nl_addr_put(dst);
	return nle ? fail_nl(err, nle, "add neighbour %s", cni_address_text(address, text)) : 0;
}

int cni_route_add(const struct cni_netns *ns, int ifindex, const struct cni_address *dst,
		  const struct cni_address *gateway, struct sluice_err *err)
{
	struct nl_addr *to = nl_of(dst), *via = gateway ? nl_of(gateway) : NULL;
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	struct rtnl_route *route = rtnl_route_alloc();
	char text[CNI_ADDRESS_TEXT];
	int nle = -NLE_NOMEM;

	if (to && hop && route && (via || !gateway)) {
		rtnl_route_set_family(route, dst->family);
		rtnl_route_set_dst(route, to);
		rtnl_route_set_table(route, RT_TABLE_MAIN);
		rtnl_route_set_protocol(route, RTPROT_BOOT);
		rtnl_route_set_scope(route, !gateway && dst->family == AF_INET ? RT_SCOPE_LINK :
										 RT_SCOPE_UNIVERSE);
		rtnl_route_nh_set_ifindex(hop, ifindex);
		if (via) {
			rtnl_route_nh_set_gateway(hop, via);
			rtnl_route_nh_set_flags(hop, RTNH_F_ONLINK);
			rtnl_route_set_flags(route, RTNH_F_ONLINK);
		}
		rtnl_route_add_nexthop(route, hop);
		hop = NULL; /* now the route's */
		nle = rtnl_route_add(ns->sock, route, NLM_F_EXCL);
	}
	if (hop)
		rtnl_route_nh_free(hop);
	if (route)
		rtnl_route_put(route);
	nl_addr_put(to);
	nl_addr_put(via);
	return nle ? fail_nl(err, nle, "add route %s", cni_address_cidr(dst, text)) : 0;
}

int cni_route_find(const struct cni_netns *ns, int ifindex, const struct cni_address *dst,
		   const struct cni_address *gateway, struct sluice_err *err)
{
	char text[CNI_ADDRESS_TEXT];
	struct nl_cache *cache;
	bool found = false;
	int nle;

	nle = rtnl_route_alloc_cache(ns->sock, dst->family, 0, &cache);
	if (nle)
		return fail_nl(err, nle, "list routes");
	for (struct nl_object *o = nl_cache_get_first(cache); o && !found;
	     o = nl_cache_get_next(o)) {
		struct rtnl_route *route = (struct rtnl_route *)o;

		if (rtnl_route_get_family(route) != dst->family ||
		    rtnl_route_get_table(route) != RT_TABLE_MAIN ||
		    !nl_is(rtnl_route_get_dst(route), dst))
			continue;
		for (int i = 0; i < rtnl_route_get_nnexthops(route); i++) {
			struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route, i);

			if (rtnl_route_nh_get_ifindex(hop) == ifindex &&
			    (!gateway || nl_is(rtnl_route_nh_get_gateway(hop), gateway)))
				found = true;
		}
	}
	nl_cache_free(cache);
	return found ? 0 :
		       sluice_err_set(err, ENOENT, "there is no route %s",
				      cni_address_cidr(dst, text));
}

int cni_uplink_mtu(const struct cni_netns *ns, uint32_t *mtu, struct sluice_err *err)
{
	struct nl_cache *routes;
	int nle, ret = 0;

	*mtu = 0;
	nle = rtnl_route_alloc_cache(ns->sock, AF_UNSPEC, 0, &routes);
	if (nle)
		return fail_nl(err, nle, "list routes");
	for (struct nl_object *o = nl_cache_get_first(routes); o && !ret;
	     o = nl_cache_get_next(o)) {
		struct rtnl_route *route = (struct rtnl_route *)o;
		struct nl_addr *dst = rtnl_route_get_dst(route);
		int family = rtnl_route_get_family(route);

		if ((family != AF_INET && family != AF_INET6) ||
		    rtnl_route_get_table(route) != RT_TABLE_MAIN ||
		    rtnl_route_get_type(route) != RTN_UNICAST ||
		    (dst && nl_addr_get_prefixlen(dst)))
			continue;
		for (int i = 0; i < rtnl_route_get_nnexthops(route) && !ret; i++) {
			int ifindex = rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, i));
			struct rtnl_link *link;

			if (!ifindex)
				continue;
			nle = rtnl_link_get_kernel(ns->sock, ifindex, NULL, &link);
			if (nle) {
				ret = fail_nl(err, nle, "read uplink %d", ifindex);
				continue;
			}
			if (!*mtu || rtnl_link_get_mtu(link) < *mtu)
				*mtu = rtnl_link_get_mtu(link);
			rtnl_link_put(link);
		}
	}
	nl_cache_free(routes);
	/* A tunnel or loopback may have more than a veth can. */
	if (!*mtu)
		*mtu = NO_UPLINK_MTU;
	if (*mtu > 65535)
		*mtu = 65535;
	return ret;
}
