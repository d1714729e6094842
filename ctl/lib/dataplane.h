/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one interface between the compiler and a data plane.
 *
 * The compiler says what this node shall hold; a data plane makes it so. Three implement it: the
 * kernel module over generic netlink (dataplane_netlink.c), memory for offline trace and tests
 * (dataplane_memory.c), and later the eBPF maps. None of them knows Kubernetes.
 *
 * A transaction is begin, any number of set and del, commit. Everything becomes visible at once, or
 * (abort, or any error up to and including commit) nothing does. With sweep, whatever the
 * transaction did not set is removed: a full resync.
 *
 * Addresses are struct sluice_addr (network byte order), ports are in host byte order. All structs
 * and what they point to belong to the caller and are only read during the call.
 */
#ifndef SLUICE_CTL_DATAPLANE_H
#define SLUICE_CTL_DATAPLANE_H

#include <stdint.h>
#include <string.h>

#include "core/ruleset.h"
#include "core/tuple.h"
#include "ctl/lib/err.h"

struct sluice_dp_backend {
	struct sluice_addr addr;
	uint16_t port;
};

/* For qsort(): by address, then by port. */
static inline int sluice_dp_compare_backends(const void *a, const void *b)
{
	const struct sluice_dp_backend *x = a, *y = b;
	int diff = memcmp(&x->addr, &y->addr, sizeof(x->addr));

	return diff ? diff : (int)x->port - (int)y->port;
}

struct sluice_dp_service {
	struct sluice_addr addr; /* key: addr, port, proto, family */
	uint16_t port;
	uint8_t proto;
	uint8_t family; /* SLUICE_IPV4 or SLUICE_IPV6, of the backends too */
	const char *name; /* "namespace/name:port-name-or-number" */
	const struct sluice_dp_backend *backends;
	uint32_t n_backends; /* 0: connections are refused */
};

struct sluice_dp_peer {
	struct sluice_addr addr; /* key: addr, plen, family */
	uint8_t plen;
	uint8_t family;
	uint32_t class;
	const char *name; /* may be NULL */
};

struct sluice_dp_rule {
	uint32_t id; /* key */
	const char *policy; /* "namespace/policy" */
	const char *rule; /* "ingress[0]", "egress[1]", "default-deny" */
};

struct sluice_dp_ruleset {
	uint32_t id; /* key */
	const struct sluice_ruleset *blob; /* NULL in del */
};

struct sluice_dp_addr {
	struct sluice_addr addr;
	uint8_t family;
};

struct sluice_dp_endpoint {
	uint32_t ifindex; /* key */
	const char *name; /* "namespace/pod" */
	const char *container; /* "containerID/ifname" */
	const struct sluice_dp_addr *addrs;
	uint32_t n_addrs;
	uint32_t ingress; /* ruleset ids; 0: not isolated */
	uint32_t egress;
	bool open;
};

struct sluice_dp_uplink {
	uint32_t ifindex; /* key */
};

struct sluice_dataplane;

/* Each returns 0 or a negative errno with *err set. del reads the keys alone. */
struct sluice_dataplane_ops {
	const char *name;
	int (*begin)(struct sluice_dataplane *dp, struct sluice_err *err);
	int (*commit)(struct sluice_dataplane *dp, bool sweep, struct sluice_err *err);
	void (*abort)(struct sluice_dataplane *dp);
	int (*set_service)(struct sluice_dataplane *dp, const struct sluice_dp_service *o,
			   struct sluice_err *err);
	int (*del_service)(struct sluice_dataplane *dp, const struct sluice_dp_service *o,
			   struct sluice_err *err);
	int (*set_peer)(struct sluice_dataplane *dp, const struct sluice_dp_peer *o,
			struct sluice_err *err);
	int (*del_peer)(struct sluice_dataplane *dp, const struct sluice_dp_peer *o,
			struct sluice_err *err);
	int (*set_rule)(struct sluice_dataplane *dp, const struct sluice_dp_rule *o,
			struct sluice_err *err);
	int (*del_rule)(struct sluice_dataplane *dp, const struct sluice_dp_rule *o,
			struct sluice_err *err);
	int (*set_ruleset)(struct sluice_dataplane *dp, const struct sluice_dp_ruleset *o,
			   struct sluice_err *err);
	int (*del_ruleset)(struct sluice_dataplane *dp, const struct sluice_dp_ruleset *o,
			   struct sluice_err *err);
	int (*set_endpoint)(struct sluice_dataplane *dp, const struct sluice_dp_endpoint *o,
			    struct sluice_err *err);
	int (*del_endpoint)(struct sluice_dataplane *dp, const struct sluice_dp_endpoint *o,
			    struct sluice_err *err);
	int (*set_uplink)(struct sluice_dataplane *dp, const struct sluice_dp_uplink *o,
			  struct sluice_err *err);
	int (*del_uplink)(struct sluice_dataplane *dp, const struct sluice_dp_uplink *o,
			  struct sluice_err *err);
	void (*close)(struct sluice_dataplane *dp);
};

/* Embedded as the first member by each implementation. */
struct sluice_dataplane {
	const struct sluice_dataplane_ops *ops;
};

#endif
