// SPDX-License-Identifier: GPL-2.0-only
#include <linux/slab.h>

#include "device.h"
#include "endpoint.h"
#include "hash.h"
#include "ruleset.h"

static u32 addr_hash(const struct sluice_hash *h, const struct sluice_addr *addr, u8 family)
{
	return sluice_hash_addr(addr, family, family, h->seed);
}

struct sluice_endpoint *sluice_endpoint_find_addr(struct sluice_net *sn, u32 revision,
						  const struct sluice_addr *addr, u8 family)
{
	const struct sluice_hash *h = &sn->endpoint_addrs;
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	u32 hash = addr_hash(h, addr, family);
	struct sluice_link *link;

	sluice_hash_for_each(link, h, b, hash) {
		struct sluice_endpoint_addr *a =
			container_of(link, struct sluice_endpoint_addr, link);

		if (link->hash == hash && a->family == family &&
		    sluice_addr_equal(&a->addr, addr) &&
		    sluice_node_visible(&a->endpoint->node, revision))
			return a->endpoint;
	}
	return NULL;
}

struct sluice_endpoint *sluice_device_endpoint(struct sluice_device *d, u32 revision)
{
	struct sluice_endpoint *ep;

	hlist_for_each_entry_rcu(ep, &d->endpoints, on_device)
		if (sluice_node_visible(&ep->node, revision))
			return ep;
	return NULL;
}

static void find_versions(struct sluice_net *sn, u32 ifindex, struct sluice_versions *v)
{
	const struct sluice_hash *h = &sn->endpoints.hash;
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	struct sluice_link *link;

	memset(v, 0, sizeof(*v));
	sluice_hash_for_each(link, h, b, sluice_hash_u32(ifindex, h->seed)) {
		struct sluice_endpoint *ep = container_of(link, struct sluice_endpoint, node.link);

		if (ep->ifindex == ifindex)
			sluice_versions_add(sn, v, &ep->node);
	}
}

static bool string_same(const char *s, const char *bytes, u32 len)
{
	return strlen(s) == len && !memcmp(s, bytes, len);
}

static bool endpoint_same(const struct sluice_node *n, const struct sluice_endpoint_args *a)
{
	const struct sluice_endpoint *ep;
	u32 i;

	if (!n)
		return false;
	ep = container_of(n, struct sluice_endpoint, node);
	if (ep->ingress != a->ingress || ep->egress != a->egress ||
	    ep->open != !!(a->flags & SLUICE_ENDPOINT_OPEN) || ep->n_addrs != a->n_addrs ||
	    !string_same(ep->name, a->name, a->name_len) ||
	    !string_same(ep->container, a->container, a->container_len))
		return false;
	for (i = 0; i < a->n_addrs; i++)
		if (ep->addrs[i].family != a->addrs[i].family ||
		    !sluice_addr_equal(&ep->addrs[i].addr, &a->addrs[i].addr))
			return false;
	return true;
}

int sluice_endpoint_set(struct sluice_net *sn, const struct sluice_endpoint_args *a,
			const char **why)
{
	struct sluice_versions v;
	struct sluice_endpoint *ep;
	char *strings;
	u32 i, j;
	int err;

	for (i = 0; i < a->n_addrs; i++) {
		for (j = 0; j < i; j++) {
			if (a->addrs[i].family != a->addrs[j].family ||
			    !sluice_addr_equal(&a->addrs[i].addr, &a->addrs[j].addr))
				continue;
			*why = "an address is given twice";
			return -EINVAL;
		}
	}
	find_versions(sn, a->ifindex, &v);
	if (endpoint_same(v.pending, a))
		return 0;
	if (endpoint_same(v.committed, a)) {
		sluice_table_keep(sn, &sn->endpoints, &v);
		return 0;
	}
	ep = kzalloc(struct_size(ep, addrs, a->n_addrs) + a->name_len + a->container_len + 2,
		     GFP_KERNEL);
	if (!ep)
		return -ENOMEM;
	ep->device = sluice_device_use(sn, a->ifindex, false, why);
	if (IS_ERR(ep->device)) {
		err = PTR_ERR(ep->device);
		kfree(ep);
		return err;
	}
	ep->node.link.hash = sluice_hash_u32(a->ifindex, sn->endpoints.hash.seed);
	ep->ifindex = a->ifindex;
	ep->ingress = a->ingress;
	ep->egress = a->egress;
	ep->open = a->flags & SLUICE_ENDPOINT_OPEN;
	ep->n_addrs = a->n_addrs;
	strings = (char *)&ep->addrs[a->n_addrs];
	ep->name = memcpy(strings, a->name, a->name_len);
	strings += a->name_len + 1;
	ep->container = memcpy(strings, a->container, a->container_len);
	sluice_table_put(sn, &sn->endpoints, &v, &ep->node);
	for (i = 0; i < a->n_addrs; i++) {
		struct sluice_endpoint_addr *addr = &ep->addrs[i];

		addr->endpoint = ep;
		addr->addr = a->addrs[i].addr;
		addr->family = a->addrs[i].family;
		addr->link.hash = addr_hash(&sn->endpoint_addrs, &addr->addr, addr->family);
		sluice_hash_insert(&sn->endpoint_addrs, &addr->link);
	}
	hlist_add_head_rcu(&ep->on_device, &ep->device->endpoints);
	return 0;
}

int sluice_endpoint_del(struct sluice_net *sn, u32 ifindex)
{
	struct sluice_versions v;

	find_versions(sn, ifindex, &v);
	if (!sluice_versions_latest(&v))
		return -ENOENT;
	sluice_table_del(sn, &sn->endpoints, &v);
	return 0;
}

/* Does the running transaction leave another endpoint with one of its addresses? */
static bool address_taken(struct sluice_net *sn, const struct sluice_endpoint *ep)
{
	const struct sluice_hash *h = &sn->endpoint_addrs;
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	struct sluice_link *link;
	u32 i;

	for (i = 0; i < ep->n_addrs; i++) {
		const struct sluice_endpoint_addr *mine = &ep->addrs[i];

		sluice_hash_for_each(link, h, b, mine->link.hash) {
			const struct sluice_endpoint_addr *a =
				container_of(link, struct sluice_endpoint_addr, link);

			if (a->endpoint != ep && a->endpoint->node.died == SLUICE_ALIVE &&
			    a->family == mine->family && sluice_addr_equal(&a->addr, &mine->addr))
				return true;
		}
	}
	return false;
}

static bool ruleset_missing(struct sluice_net *sn, u32 id)
{
	return id && !sluice_ruleset_alive(sn, id);
}

static int check_rulesets(struct sluice_net *sn, const struct sluice_endpoint *ep, const char **why)
{
	if (ruleset_missing(sn, ep->ingress)) {
		*why = "an endpoint names an ingress ruleset that does not exist";
		return -ENOENT;
	}
	if (ruleset_missing(sn, ep->egress)) {
		*why = "an endpoint names an egress ruleset that does not exist";
		return -ENOENT;
	}
	return 0;
}

static int check_all_rulesets(struct sluice_net *sn, const char **why)
{
	const struct sluice_buckets *b = sluice_hash_buckets(&sn->endpoints.hash);
	struct sluice_link *link;
	int err;
	u32 i;

	for (i = 0; i <= b->mask; i++) {
		sluice_hash_for_each(link, &sn->endpoints.hash, b, i) {
			const struct sluice_endpoint *ep =
				container_of(link, struct sluice_endpoint, node.link);

			err = ep->node.died == SLUICE_ALIVE ? check_rulesets(sn, ep, why) : 0;
			if (err)
				return err;
		}
	}
	return 0;
}

/*
 * Looks at the endpoints that come: one that stays has the addresses it had, and whoever comes finds
 * that out. All are looked at only when a ruleset goes for good.
 */
int sluice_endpoints_check(struct sluice_net *sn, const char **why)
{
	struct sluice_node *n;
	int err;

	list_for_each_entry(n, &sn->endpoints.pending, txn) {
		const struct sluice_endpoint *ep = container_of(n, struct sluice_endpoint, node);

		err = check_rulesets(sn, ep, why);
		if (err)
			return err;
		if (address_taken(sn, ep)) {
			*why = "two endpoints have the same address";
			return -EADDRINUSE;
		}
	}
	if (sluice_rulesets_vanish(sn))
		return check_all_rulesets(sn, why);
	return 0;
}

void sluice_endpoints_evict(struct sluice_net *sn, struct sluice_device *d)
{
	struct sluice_endpoint *ep;
	struct hlist_node *next;

	hlist_for_each_entry_safe(ep, next, &d->endpoints, on_device)
		sluice_table_evict(sn, &sn->endpoints, &ep->node);
}

u32 sluice_endpoints_using(struct sluice_net *sn, u32 revision, u32 ruleset)
{
	struct sluice_cursor c = {};
	struct sluice_node *n;
	u32 users = 0;

	for (; (n = sluice_table_seek(&sn->endpoints, revision, &c)); c.index++) {
		const struct sluice_endpoint *ep = container_of(n, struct sluice_endpoint, node);

		users += ep->ingress == ruleset || ep->egress == ruleset;
	}
	return users;
}

static void endpoint_release(struct sluice_net *sn, struct sluice_node *n)
{
	struct sluice_endpoint *ep = container_of(n, struct sluice_endpoint, node);
	u32 i;

	hlist_del_rcu(&ep->on_device);
	for (i = 0; i < ep->n_addrs; i++)
		sluice_hash_remove(&sn->endpoint_addrs, &ep->addrs[i].link);
	sluice_device_unuse(sn, ep->device);
	kfree_rcu(ep, node.rcu);
}

static const struct sluice_table_ops endpoint_ops = {
	.release = endpoint_release,
};

int sluice_endpoints_init(struct sluice_net *sn)
{
	int err = sluice_hash_init(&sn->endpoint_addrs, &sn->mutex);

	if (err)
		return err;
	err = sluice_table_init(sn, &sn->endpoints, &endpoint_ops);
	if (err)
		sluice_hash_exit(&sn->endpoint_addrs);
	return err;
}

void sluice_endpoints_exit(struct sluice_net *sn)
{
	sluice_table_exit(sn, &sn->endpoints);
	sluice_hash_exit(&sn->endpoint_addrs);
}
