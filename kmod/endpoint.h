/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Endpoints: the pods of this node. A pod is the host side of its interface, its addresses, and the
 * two rulesets it obeys. Found by address, or by the device its packets arrive on (device.h).
 */
#ifndef SLUICE_KMOD_ENDPOINT_H
#define SLUICE_KMOD_ENDPOINT_H

#include "core/tuple.h"
#include "net.h"
#include "table.h"
#include "uapi/sluice.h"

struct netlink_ext_ack;
struct sluice_device;
struct sluice_endpoint;

struct sluice_endpoint_addr {
	struct sluice_link link; /* in sn->endpoint_addrs; as visible as its endpoint */
	struct sluice_endpoint *endpoint;
	struct sluice_addr addr;
	u8 family;
};

/* A version; immutable while visible. */
struct sluice_endpoint {
	struct sluice_node node;
	struct hlist_node on_device; /* device->endpoints; under sn->mutex, read under RCU */
	struct sluice_device *device; /* held while this version is linked */
	u32 ifindex;
	u32 ingress; /* ruleset id; 0: not isolated */
	u32 egress;
	bool open;
	u32 n_addrs;
	const char *name; /* "namespace/pod" */
	const char *container;
	struct sluice_endpoint_addr addrs[];
};

/* Under RCU. */
struct sluice_endpoint *sluice_endpoint_find_addr(struct sluice_net *sn, u32 revision,
						  const struct sluice_addr *addr, u8 family);

struct sluice_endpoint_args {
	u32 ifindex;
	u32 ingress;
	u32 egress;
	u32 flags; /* SLUICE_ENDPOINT_OPEN */
	const char *name; /* name_len bytes, without NUL */
	u32 name_len;
	const char *container;
	u32 container_len;
	u32 n_addrs;
	struct {
		struct sluice_addr addr;
		u8 family;
	} addrs[SLUICE_MAX_ENDPOINT_ADDRS];
};

/*
 * Inside a transaction, under RTNL and sn->mutex. The device is closed from here on, if it was not an
 * endpoint's before: also before the commit. -ENODEV, -EBUSY (it is an uplink), -EINVAL, with words
 * in *why.
 */
int sluice_endpoint_set(struct sluice_net *sn, const struct sluice_endpoint_args *args,
			const char **why);
/* -ENOENT */
int sluice_endpoint_del(struct sluice_net *sn, u32 ifindex);

/*
 * Would a commit leave every endpoint with rulesets that exist, and every address with one endpoint?
 * -ENOENT or -EADDRINUSE with words in *why.
 */
int sluice_endpoints_check(struct sluice_net *sn, const char **why);

/* All versions that stand on a device that goes. Under sn->mutex. */
void sluice_endpoints_evict(struct sluice_net *sn, struct sluice_device *d);

/* Endpoints that use a ruleset, for dumps. Under RCU. */
u32 sluice_endpoints_using(struct sluice_net *sn, u32 revision, u32 ruleset);

int sluice_endpoints_init(struct sluice_net *sn);
void sluice_endpoints_exit(struct sluice_net *sn);

#endif
