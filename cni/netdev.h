/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interfaces, addresses, routes and neighbours of a network namespace, through libnl-route.
 *
 * A netlink socket belongs to the namespace it was opened in, for good: the plugin enters the pod's
 * namespace only to open one (and to write a sysctl), and is back before anything can fail.
 *
 * All functions return 0 or a negative errno with err set. ENODEV and ENOENT mean "there is none",
 * EEXIST "there is one already".
 */
#ifndef SLUICE_CNI_NETDEV_H
#define SLUICE_CNI_NETDEV_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "cni/address.h"

#define CNI_ALIAS_MAX 255 /* IFALIASZ without its terminator */

struct nl_sock;

struct cni_netns {
	int fd; /* of the namespace; -1 closed */
	struct nl_sock *sock;
};

#define CNI_NETNS_INIT { -1, NULL }

struct cni_link {
	int ifindex;
	char name[IFNAMSIZ];
	char kind[16]; /* "veth"; empty for hardware */
	char alias[CNI_ALIAS_MAX + 1];
	uint8_t mac[6];
	uint32_t mtu;
	int peer; /* ifindex of a veth's other end, in that end's namespace */
	bool up; /* administratively */
	bool running; /* operational state is UP: packets pass */
};

/* path NULL: the namespace of this process. EINVAL: the path is no network namespace. */
int cni_netns_open(struct cni_netns *ns, const char *path, struct sluice_err *err);
void cni_netns_close(struct cni_netns *ns);
bool cni_netns_same(const struct cni_netns *a, const struct cni_netns *b);

/* Write /proc/sys/net/<path> as that namespace sees it. */
int cni_netns_sysctl(const struct cni_netns *ns, const char *path, const char *value,
		     struct sluice_err *err);

int cni_link_get(const struct cni_netns *ns, const char *name, struct cni_link *link,
		 struct sluice_err *err);
/* Call fn for every link; stops where it returns non-zero and returns that. */
int cni_link_each(const struct cni_netns *ns,
		  int (*fn)(const struct cni_link *link, void *arg, struct sluice_err *err),
		  void *arg, struct sluice_err *err);

/*
 * One veth pair: one end in host with this name and MAC, the other in pod. Both are down. The pod's
 * end is made where it belongs under its final name: no moment in which it has another.
 */
int cni_veth_create(const struct cni_netns *host, const char *host_name, const uint8_t mac[6],
		    const struct cni_netns *pod, const char *pod_name, uint32_t mtu,
		    struct sluice_err *err);
int cni_link_set_up(const struct cni_netns *ns, int ifindex, struct sluice_err *err);
int cni_link_set_alias(const struct cni_netns *ns, int ifindex, const char *alias,
		       struct sluice_err *err);
/* No such interface is success. */
int cni_link_delete(const struct cni_netns *ns, int ifindex, struct sluice_err *err);

/* Without duplicate address detection: it would keep an IPv6 address unusable for a second. */
int cni_address_add(const struct cni_netns *ns, int ifindex, const struct cni_address *address,
		    struct sluice_err *err);
int cni_address_find(const struct cni_netns *ns, int ifindex, const struct cni_address *address,
		     struct sluice_err *err);

/* A permanent entry: never resolved, never aged. */
int cni_neighbour_add(const struct cni_netns *ns, int ifindex, const struct cni_address *address,
		      const uint8_t mac[6], struct sluice_err *err);

/* In the main table. gateway NULL: the destination is on the link; else on-link by decree. */
int cni_route_add(const struct cni_netns *ns, int ifindex, const struct cni_address *dst,
		  const struct cni_address *gateway, struct sluice_err *err);
int cni_route_find(const struct cni_netns *ns, int ifindex, const struct cni_address *dst,
		   const struct cni_address *gateway, struct sluice_err *err);

/* The smallest MTU of the devices that default routes lead to; 1500 where there is none. */
int cni_uplink_mtu(const struct cni_netns *ns, uint32_t *mtu, struct sluice_err *err);

#endif
