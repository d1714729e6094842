// SPDX-License-Identifier: GPL-2.0-only
#include <linux/slab.h>

#include "hash.h"
#include "rule.h"

const struct sluice_rule_name *sluice_rule_find(struct sluice_net *sn, u32 revision, u32 id)
{
	const struct sluice_hash *h = &sn->rules.hash;
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	u32 hash = sluice_hash_u32(id, h->seed);
	struct sluice_link *link;

	sluice_hash_for_each(link, h, b, hash) {
		const struct sluice_rule_name *r =
			container_of(link, struct sluice_rule_name, node.link);

		if (r->id == id && sluice_node_visible(&r->node, revision))
			return r;
	}
	return NULL;
}

static void find_versions(struct sluice_net *sn, u32 id, struct sluice_versions *v)
{
	const struct sluice_hash *h = &sn->rules.hash;
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	struct sluice_link *link;

	memset(v, 0, sizeof(*v));
	sluice_hash_for_each(link, h, b, sluice_hash_u32(id, h->seed)) {
		struct sluice_rule_name *r = container_of(link, struct sluice_rule_name, node.link);

		if (r->id == id)
			sluice_versions_add(sn, v, &r->node);
	}
}

static bool rule_same(const struct sluice_node *n, const struct sluice_rule_args *a)
{
	const struct sluice_rule_name *r;

	if (!n)
		return false;
	r = container_of(n, struct sluice_rule_name, node);
	return strlen(r->policy) == a->policy_len && strlen(r->rule) == a->rule_len &&
	       !memcmp(r->policy, a->policy, a->policy_len) &&
	       !memcmp(r->rule, a->rule, a->rule_len);
}

int sluice_rule_set(struct sluice_net *sn, const struct sluice_rule_args *a)
{
	struct sluice_rule_name *r;
	struct sluice_versions v;
	char *strings;

	find_versions(sn, a->id, &v);
	if (rule_same(v.pending, a))
		return 0;
	if (rule_same(v.committed, a)) {
		sluice_table_keep(sn, &sn->rules, &v);
		return 0;
	}
	r = kzalloc(sizeof(*r) + a->policy_len + a->rule_len + 2, GFP_KERNEL);
	if (!r)
		return -ENOMEM;
	strings = (char *)(r + 1);
	memcpy(strings, a->policy, a->policy_len);
	r->policy = strings;
	strings += a->policy_len + 1;
	memcpy(strings, a->rule, a->rule_len);
	r->rule = strings;
	r->id = a->id;
	r->node.link.hash = sluice_hash_u32(a->id, sn->rules.hash.seed);
	sluice_table_put(sn, &sn->rules, &v, &r->node);
	return 0;
}

int sluice_rule_del(struct sluice_net *sn, u32 id)
{
	struct sluice_versions v;

	find_versions(sn, id, &v);
	if (!sluice_versions_latest(&v))
		return -ENOENT;
	sluice_table_del(sn, &sn->rules, &v);
	return 0;
}

static void rule_release(struct sluice_net *sn, struct sluice_node *n)
{
	kfree_rcu(container_of(n, struct sluice_rule_name, node), node.rcu);
}

static const struct sluice_table_ops rule_ops = {
	.release = rule_release,
};

int sluice_rules_init(struct sluice_net *sn)
{
	return sluice_table_init(sn, &sn->rules, &rule_ops);
}

void sluice_rules_exit(struct sluice_net *sn)
{
	sluice_table_exit(sn, &sn->rules);
}
