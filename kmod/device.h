/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Network devices that Sluice stands on: the host sides of pods' interfaces, and uplinks.
 *
 * A device is attached, that is, has our ingress hook, as soon as a transaction names it, even before
 * the commit: a pod's device without a visible endpoint is closed. It stays so when its endpoint is
 * deleted, until the interface itself is gone: born closed, dead closed. (One that was named by an
 * aborted transaction alone is let go.) An uplink is let go when it is deleted, and a device may become
 * an uplink once it is no endpoint's: that is the way back for one that was named by mistake.
 *
 * Connections hold a device by reference; the memory outlives the interface, d->dev does not.
 */
#ifndef SLUICE_KMOD_DEVICE_H
#define SLUICE_KMOD_DEVICE_H

#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/refcount.h>

#include "net.h"
#include "table.h"

struct sluice_endpoint;

#define SLUICE_DEVICE_BUCKETS 256 /* a node has up to some hundred pods */

struct sluice_device {
	struct net_device
		*dev; /* NULL once it is let go; under sn->mutex, read under RCU: READ_ONCE */
	struct sluice_net *sn; /* written once; alive while dev is not NULL */
	u32 ifindex; /* written once */
	bool uplink; /* under sn->mutex, read under RCU; changes while nothing is visible on it */
	bool hooked; /* ops is registered; under sn->mutex */
	bool closed; /* an endpoint was committed on it: it stays closed without one; likewise */
	struct hlist_head endpoints; /* versions; under sn->mutex, read under RCU */
	struct hlist_node link; /* in sn->devices; likewise */
	u32 users; /* versions of endpoints and uplinks that stand on it; under sn->mutex */
	refcount_t refs; /* one of sn->devices, one of each connection's side */
	netdevice_tracker tracker;
	struct nf_hook_ops ops;
	struct rcu_head rcu;
};

void sluice_device_free_rcu(struct sluice_device *d);

static inline struct sluice_device *sluice_device_get(struct sluice_device *d)
{
	refcount_inc(&d->refs);
	return d;
}

/* Any context. */
static inline void sluice_device_put(struct sluice_device *d)
{
	if (refcount_dec_and_test(&d->refs))
		sluice_device_free_rcu(d);
}

/* Under RCU, or sn->mutex. NULL if it is neither a pod's nor an uplink. */
struct sluice_device *sluice_device_find(struct sluice_net *sn, const struct net_device *dev);

/* The endpoint that stands on a device, as of a revision; NULL: the device is closed. Under RCU. */
struct sluice_endpoint *sluice_device_endpoint(struct sluice_device *d, u32 revision);

/* Under RCU. */
static inline bool sluice_dev_is_uplink(struct sluice_net *sn, const struct net_device *dev)
{
	const struct sluice_device *d = sluice_device_find(sn, dev);

	return d && READ_ONCE(d->uplink);
}

/* An uplink, one version. */
struct sluice_uplink {
	struct sluice_node node;
	struct sluice_device *device;
	u32 ifindex;
};

/* Inside a transaction, under RTNL and sn->mutex. -ENODEV, -EBUSY with words in *why. */
int sluice_uplink_set(struct sluice_net *sn, u32 ifindex, const char **why);
/* Inside a transaction, under sn->mutex. -ENOENT */
int sluice_uplink_del(struct sluice_net *sn, u32 ifindex);

/*
 * For a version about to be put on it: finds or attaches the device and adds a user. Under RTNL and
 * sn->mutex. ERR_PTR as sluice_uplink_set().
 */
struct sluice_device *sluice_device_use(struct sluice_net *sn, u32 ifindex, bool uplink,
					const char **why);
/* A version has left it. Under sn->mutex. */
void sluice_device_unuse(struct sluice_net *sn, struct sluice_device *d);

/* A commit made the pending endpoints and uplinks visible. Under sn->mutex. */
void sluice_devices_settle(struct sluice_net *sn);

int sluice_devices_init(struct sluice_net *sn);
/* Takes all hooks away. Packets may be in them until a grace period has passed. Under sn->mutex. */
void sluice_devices_unhook(struct sluice_net *sn);
void sluice_devices_exit(struct sluice_net *sn);

int sluice_devices_module_init(void);
void sluice_devices_module_exit(void);

#endif
