// SPDX-License-Identifier: GPL-2.0-only
#include <linux/jhash.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "ruleset.h"

const struct sluice_ruleset *sluice_ruleset_find(struct sluice_net *sn, u32 revision, u32 id)
{
	const struct sluice_hash *h = &sn->rulesets.hash;
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	struct sluice_link *link;

	sluice_hash_for_each(link, h, b, jhash_1word(id, h->seed)) {
		const struct sluice_ruleset_entry *e =
			container_of(link, struct sluice_ruleset_entry, node.link);

		if (e->id == id && sluice_node_visible(&e->node, revision))
			return (const void *)e->blob;
	}
	return NULL;
}

static void find_versions(struct sluice_net *sn, u32 id, struct sluice_versions *v)
{
	const struct sluice_hash *h = &sn->rulesets.hash;
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	struct sluice_link *link;

	memset(v, 0, sizeof(*v));
	sluice_hash_for_each(link, h, b, jhash_1word(id, h->seed)) {
		struct sluice_ruleset_entry *e =
			container_of(link, struct sluice_ruleset_entry, node.link);

		if (e->id == id)
			sluice_versions_add(sn, v, &e->node);
	}
}

bool sluice_ruleset_alive(struct sluice_net *sn, u32 id)
{
	struct sluice_versions v;

	find_versions(sn, id, &v);
	return sluice_versions_latest(&v);
}

bool sluice_rulesets_vanish(struct sluice_net *sn)
{
	struct sluice_node *n;

	list_for_each_entry(n, &sn->rulesets.dying, txn)
		if (!sluice_ruleset_alive(sn,
					  container_of(n, struct sluice_ruleset_entry, node)->id))
			return true;
	return false;
}

static struct sluice_ruleset_entry *find_upload(struct sluice_net *sn, u32 id)
{
	struct sluice_ruleset_entry *e;

	list_for_each_entry(e, &sn->uploads, node.txn)
		if (e->id == id)
			return e;
	return NULL;
}

/* Uploads are in no table: nobody else knows them. */
static void upload_free(struct sluice_ruleset_entry *e)
{
	list_del(&e->node.txn);
	kvfree(e);
}

static bool ruleset_same(const struct sluice_node *n, const struct sluice_ruleset_entry *e)
{
	const struct sluice_ruleset_entry *old;

	if (!n)
		return false;
	old = container_of(n, struct sluice_ruleset_entry, node);
	return old->size == e->size && !memcmp(old->blob, e->blob, e->size);
}

static int upload_complete(struct sluice_net *sn, struct sluice_ruleset_entry *e, const char **why)
{
	struct sluice_versions v;

	*why = sluice_ruleset_validate(e->blob, e->size);
	if (*why) {
		upload_free(e);
		return -EINVAL;
	}
	find_versions(sn, e->id, &v);
	if (ruleset_same(v.pending, e)) {
		upload_free(e);
	} else if (ruleset_same(v.committed, e)) {
		upload_free(e);
		sluice_table_keep(sn, &sn->rulesets, &v);
	} else {
		list_del(&e->node.txn);
		e->node.link.hash = jhash_1word(e->id, sn->rulesets.hash.seed);
		sluice_table_put(sn, &sn->rulesets, &v, &e->node);
	}
	return 0;
}

int sluice_ruleset_piece(struct sluice_net *sn, const struct sluice_ruleset_args *a,
			 const char **why)
{
	struct sluice_ruleset_entry *e = find_upload(sn, a->id);

	if (!a->offset && e) {
		/* It starts over. */
		upload_free(e);
		e = NULL;
	}
	if (!e) {
		if (a->offset) {
			*why = "the first piece of a ruleset has offset 0";
			return -EINVAL;
		}
		if (a->size < sizeof(struct sluice_ruleset) || a->size > SLUICE_MAX_RULESET_BYTES) {
			*why = "ruleset size is out of range";
			return -EINVAL;
		}
		e = kvmalloc(sizeof(*e) + a->size, GFP_KERNEL);
		if (!e)
			return -ENOMEM;
		memset(e, 0, sizeof(*e));
		e->id = a->id;
		e->size = a->size;
		list_add(&e->node.txn, &sn->uploads);
	}
	if (a->size != e->size) {
		*why = "ruleset size differs from that of its first piece";
		return -EINVAL;
	}
	if (a->offset != e->received || !a->len || a->len > e->size - e->received) {
		*why = "ruleset pieces do not follow one another";
		return -EINVAL;
	}
	memcpy((char *)e->blob + a->offset, a->data, a->len);
	e->received += a->len;
	return e->received == e->size ? upload_complete(sn, e, why) : 0;
}

int sluice_ruleset_del(struct sluice_net *sn, u32 id)
{
	struct sluice_ruleset_entry *e = find_upload(sn, id);
	struct sluice_versions v;

	if (e)
		upload_free(e);
	find_versions(sn, id, &v);
	if (!sluice_versions_latest(&v))
		return e ? 0 : -ENOENT;
	sluice_table_del(sn, &sn->rulesets, &v);
	return 0;
}

u32 sluice_ruleset_unfinished(struct sluice_net *sn)
{
	struct sluice_ruleset_entry *e =
		list_first_entry_or_null(&sn->uploads, struct sluice_ruleset_entry, node.txn);

	return e ? e->id : 0;
}

void sluice_rulesets_abort(struct sluice_net *sn)
{
	struct sluice_ruleset_entry *e, *next;

	list_for_each_entry_safe(e, next, &sn->uploads, node.txn)
		upload_free(e);
}

static void ruleset_release(struct sluice_net *sn, struct sluice_node *n)
{
	kvfree_rcu(container_of(n, struct sluice_ruleset_entry, node), node.rcu);
}

static const struct sluice_table_ops ruleset_ops = {
	.release = ruleset_release,
};

int sluice_rulesets_init(struct sluice_net *sn)
{
	INIT_LIST_HEAD(&sn->uploads);
	return sluice_table_init(sn, &sn->rulesets, &ruleset_ops);
}

void sluice_rulesets_exit(struct sluice_net *sn)
{
	sluice_rulesets_abort(sn);
	sluice_table_exit(sn, &sn->rulesets);
}
