// SPDX-License-Identifier: GPL-2.0-only
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "conn.h"
#include "device.h"
#include "endpoint.h"
#include "hash.h"
#include "hooks.h"
#include "transaction.h"

/* Before everything else at ingress: nothing else may see what a closed pod sends. */
#define SLUICE_INGRESS_PRIORITY INT_MIN

static struct hlist_head *bucket(struct sluice_net *sn, u32 ifindex)
{
	/* The kernel counts ifindexes up: they spread by themselves. */
	return &sn->devices[ifindex % SLUICE_DEVICE_BUCKETS];
}

static struct sluice_device *find_index(struct sluice_net *sn, u32 ifindex)
{
	struct sluice_device *d;

	hlist_for_each_entry_rcu(d, bucket(sn, ifindex), link, lockdep_is_held(&sn->mutex))
		if (d->ifindex == ifindex)
			return d;
	return NULL;
}

struct sluice_device *sluice_device_find(struct sluice_net *sn, const struct net_device *dev)
{
	return find_index(sn, dev->ifindex);
}

void sluice_device_free_rcu(struct sluice_device *d)
{
	kfree_rcu(d, rcu);
}

/* The module goes, and every connection with it: no need to look for those of one interface. */
static bool leaving;

static void unhook(struct sluice_net *sn, struct sluice_device *d)
{
	if (d->hooked)
		nf_unregister_net_hook(sluice_net_of(sn), &d->ops);
	d->hooked = false;
}

static struct sluice_device *attach(struct sluice_net *sn, struct net_device *dev, bool uplink)
{
	struct sluice_device *d;
	int err;

	d = kzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return ERR_PTR(-ENOMEM);
	d->dev = dev;
	d->sn = sn;
	d->ifindex = dev->ifindex;
	d->uplink = uplink;
	refcount_set(&d->refs, 1);
	d->ops.hook = sluice_hook_ingress;
	d->ops.priv = d;
	d->ops.dev = dev;
	d->ops.pf = NFPROTO_NETDEV;
	d->ops.hooknum = NF_NETDEV_INGRESS;
	d->ops.priority = SLUICE_INGRESS_PRIORITY;
	netdev_hold(dev, &d->tracker, GFP_KERNEL);
	hlist_add_head_rcu(&d->link, bucket(sn, d->ifindex));
	err = nf_register_net_hook(sluice_net_of(sn), &d->ops);
	if (err) {
		hlist_del_rcu(&d->link);
		netdev_put(dev, &d->tracker);
		sluice_device_put(d);
		return ERR_PTR(err);
	}
	d->hooked = true;
	return d;
}

/* Lets it go. Nothing stands on it any more, or will. */
static void detach(struct sluice_net *sn, struct sluice_device *d)
{
	struct net_device *dev = d->dev;

	unhook(sn, d);
	hlist_del_rcu(&d->link);
	/* A packet that read it before is inside of RCU, for which the interface itself waits. */
	WRITE_ONCE(d->dev, NULL);
	netdev_put(dev, &d->tracker);
	if (!sn->dying && !READ_ONCE(leaving))
		sluice_conns_device_gone(sn);
	sluice_device_put(d);
}

struct sluice_device *sluice_device_use(struct sluice_net *sn, u32 ifindex, bool uplink,
					const char **why)
{
	struct net_device *dev;
	struct sluice_device *d;

	ASSERT_RTNL();
	d = find_index(sn, ifindex);
	if (d && d->uplink != uplink && d->users) {
		/* Perhaps by dead versions alone. It may go with them. */
		sluice_transaction_bury(sn);
		d = find_index(sn, ifindex);
	}
	if (!d) {
		dev = __dev_get_by_index(sluice_net_of(sn), ifindex);
		if (!dev) {
			*why = "no such interface";
			return ERR_PTR(-ENODEV);
		}
		if (dev->flags & IFF_LOOPBACK) {
			*why = "the loopback interface is neither an endpoint nor an uplink";
			return ERR_PTR(-EINVAL);
		}
		d = attach(sn, dev, uplink);
		if (IS_ERR(d))
			return d;
	} else if (d->uplink != uplink) {
		if (d->users) {
			*why = uplink ? "the interface is an endpoint's" :
					"the interface is an uplink";
			return ERR_PTR(-EBUSY);
		}
		WRITE_ONCE(d->uplink, uplink);
	}
	d->users++;
	return d;
}

void sluice_device_unuse(struct sluice_net *sn, struct sluice_device *d)
{
	if (--d->users)
		return;
	if (d->closed)
		WRITE_ONCE(d->uplink, false); /* it stays, and drops whatever comes */
	else
		detach(sn, d);
}

static void find_uplink(struct sluice_net *sn, u32 ifindex, struct sluice_versions *v)
{
	const struct sluice_hash *h = &sn->uplinks.hash;
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	struct sluice_link *link;

	memset(v, 0, sizeof(*v));
	sluice_hash_for_each(link, h, b, sluice_hash_u32(ifindex, h->seed)) {
		struct sluice_uplink *u = container_of(link, struct sluice_uplink, node.link);

		if (u->ifindex == ifindex)
			sluice_versions_add(sn, v, &u->node);
	}
}

int sluice_uplink_set(struct sluice_net *sn, u32 ifindex, const char **why)
{
	struct sluice_versions v;
	struct sluice_uplink *u;
	int err;

	find_uplink(sn, ifindex, &v);
	if (v.pending)
		return 0;
	if (v.committed) {
		sluice_table_keep(sn, &sn->uplinks, &v);
		return 0;
	}
	u = kzalloc(sizeof(*u), GFP_KERNEL);
	if (!u)
		return -ENOMEM;
	u->device = sluice_device_use(sn, ifindex, true, why);
	if (IS_ERR(u->device)) {
		err = PTR_ERR(u->device);
		kfree(u);
		return err;
	}
	u->ifindex = ifindex;
	u->node.link.hash = sluice_hash_u32(ifindex, sn->uplinks.hash.seed);
	sluice_table_put(sn, &sn->uplinks, &v, &u->node);
	return 0;
}

int sluice_uplink_del(struct sluice_net *sn, u32 ifindex)
{
	struct sluice_versions v;

	find_uplink(sn, ifindex, &v);
	if (!sluice_versions_latest(&v))
		return -ENOENT;
	sluice_table_del(sn, &sn->uplinks, &v);
	return 0;
}

static void uplink_release(struct sluice_net *sn, struct sluice_node *n)
{
	struct sluice_uplink *u = container_of(n, struct sluice_uplink, node);

	sluice_device_unuse(sn, u->device);
	kfree_rcu(u, node.rcu);
}

static const struct sluice_table_ops uplink_ops = {
	.release = uplink_release,
};

void sluice_devices_settle(struct sluice_net *sn)
{
	struct sluice_node *n;

	list_for_each_entry(n, &sn->endpoints.pending, txn)
		container_of(n, struct sluice_endpoint, node)->device->closed = true;
	list_for_each_entry(n, &sn->uplinks.pending, txn)
		container_of(n, struct sluice_uplink, node)->device->closed = false;
}

/* Also those that are dead and not buried. */
static void evict_uplinks(struct sluice_net *sn, const struct sluice_device *d)
{
	const struct sluice_hash *h = &sn->uplinks.hash;
	struct sluice_buckets *b = sluice_hash_buckets(h);
	struct hlist_head *head = &b->heads[sluice_hash_u32(d->ifindex, h->seed) & b->mask];
	struct sluice_link *link;
	struct hlist_node *next;

	hlist_for_each_entry_safe(link, next, head, slot[b->slot]) {
		struct sluice_uplink *u = container_of(link, struct sluice_uplink, node.link);

		if (u->device == d)
			sluice_table_evict(sn, &sn->uplinks, &u->node);
	}
}

/* The interface goes, or moves to another namespace: so does whatever stands on it. Under RTNL. */
static void device_gone(struct sluice_net *sn, struct sluice_device *d)
{
	unhook(sn, d);
	/* One user more until all are gone: it is let go once, and here. */
	d->users++;
	sluice_endpoints_evict(sn, d);
	evict_uplinks(sn, d);
	d->closed = false;
	sluice_device_unuse(sn, d);
}

static int device_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	struct net_device *dev = netdev_notifier_info_to_dev(ptr);
	struct sluice_net *sn = sluice_net_get(dev_net(dev));
	struct sluice_device *d;

	if (event != NETDEV_UNREGISTER || !sluice_net_active(sn))
		return NOTIFY_DONE;
	mutex_lock(&sn->mutex);
	d = find_index(sn, dev->ifindex);
	if (d)
		device_gone(sn, d);
	mutex_unlock(&sn->mutex);
	return NOTIFY_DONE;
}

static struct notifier_block device_notifier = {
	.notifier_call = device_event,
};

int sluice_devices_init(struct sluice_net *sn)
{
	int err;

	sn->devices = kcalloc(SLUICE_DEVICE_BUCKETS, sizeof(*sn->devices), GFP_KERNEL);
	if (!sn->devices)
		return -ENOMEM;
	err = sluice_table_init(sn, &sn->uplinks, &uplink_ops);
	if (err) {
		kfree(sn->devices);
		sn->devices = NULL;
	}
	return err;
}

void sluice_devices_unhook(struct sluice_net *sn)
{
	struct sluice_device *d;
	int i;

	for (i = 0; i < SLUICE_DEVICE_BUCKETS; i++)
		hlist_for_each_entry(d, &sn->devices[i], link)
			unhook(sn, d);
}

/* After the endpoints: what is left are uplinks, and devices that are closed for good. */
void sluice_devices_exit(struct sluice_net *sn)
{
	struct sluice_device *d;
	struct hlist_node *next;
	int i;

	sluice_table_exit(sn, &sn->uplinks);
	for (i = 0; i < SLUICE_DEVICE_BUCKETS; i++)
		hlist_for_each_entry_safe(d, next, &sn->devices[i], link)
			detach(sn, d);
	kfree(sn->devices);
	sn->devices = NULL;
}

int sluice_devices_module_init(void)
{
	return register_netdevice_notifier(&device_notifier);
}

/*
 * Taking the notifier away says "gone" for every interface of every namespace: all are let go while
 * that is still possible. Were one kept, a namespace that is being dismantled would wait for it for
 * ever, and unregistering our namespaces would wait for that one.
 */
void sluice_devices_module_exit(void)
{
	WRITE_ONCE(leaving, true);
	unregister_netdevice_notifier(&device_notifier);
}
