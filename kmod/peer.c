// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitmap.h>
#include <linux/slab.h>

#include "hash.h"
#include "peer.h"

static __always_inline u32 peer_hash(const struct sluice_hash *h, const struct sluice_addr *addr,
				     u8 family, u8 plen)
{
	return sluice_hash_addr(addr, family, (u32)family << 8 | plen, h->seed);
}

static bool peer_is(const struct sluice_peer *p, const struct sluice_addr *addr, u8 family, u8 plen)
{
	return p->plen == plen && p->family == family && sluice_addr_equal(&p->addr, addr);
}

static const struct sluice_peer *find_exact6(const struct sluice_hash *h, u32 revision,
					     const struct sluice_addr *addr, u8 plen)
{
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	u32 hash = peer_hash(h, addr, SLUICE_IPV6, plen);
	struct sluice_link *link;

	sluice_hash_for_each(link, h, b, hash) {
		const struct sluice_peer *p = container_of(link, struct sluice_peer, node.link);

		if (link->hash == hash && peer_is(p, addr, SLUICE_IPV6, plen) &&
		    sluice_node_visible(&p->node, revision))
			return p;
	}
	return NULL;
}

static struct sluice_plens *plens_of(struct sluice_net *sn, u8 family)
{
	return &sn->plens[family == SLUICE_IPV6];
}

static __always_inline const struct sluice_peer *find_exact4(const struct sluice_hash *h,
							     u32 revision, __be32 addr, u8 plen)
{
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	struct sluice_addr a = { .w = { addr } };
	u32 hash = peer_hash(h, &a, SLUICE_IPV4, plen);
	struct sluice_link *link;

	sluice_hash_for_each(link, h, b, hash) {
		const struct sluice_peer *p = container_of(link, struct sluice_peer, node.link);

		if (link->hash == hash && p->addr.w[0] == addr && p->plen == plen &&
		    p->family == SLUICE_IPV4 && sluice_node_visible(&p->node, revision))
			return p;
	}
	return NULL;
}

/* An IPv4 address is one word. Longest first, each step masks what the one before left. */
static noinline u32 peer_class4(struct sluice_net *sn, u32 revision, __be32 addr)
{
	unsigned long bits = READ_ONCE(sn->plens[0].used[0]);
	const struct sluice_peer *p;

	for (; bits; bits &= ~BIT(__fls(bits))) {
		u32 plen = __fls(bits);

		if (plen < 32)
			addr &= plen ? htonl(~0U << (32 - plen)) : 0;
		p = find_exact4(&sn->peers.hash, revision, addr, plen);
		if (p)
			return p->class;
	}
	return 0;
}

static noinline u32 peer_class6(struct sluice_net *sn, u32 revision, const struct sluice_addr *addr)
{
	int word = BITS_TO_LONGS(SLUICE_PLENS) - 1;
	struct sluice_addr masked = *addr;

	/* Longest first. Each step masks what the one before left. */
	for (; word >= 0; word--) {
		unsigned long bits = READ_ONCE(sn->plens[1].used[word]);

		for (; bits; bits &= ~BIT(__fls(bits))) {
			u32 plen = word * BITS_PER_LONG + __fls(bits);
			const struct sluice_peer *p;

			sluice_addr_mask(&masked, plen);
			p = find_exact6(&sn->peers.hash, revision, &masked, plen);
			if (p)
				return p->class;
		}
	}
	return 0;
}

/* Apart, so that an IPv4 address does not pay for the stack of the other. */
u32 sluice_peer_class(struct sluice_net *sn, u32 revision, const struct sluice_addr *addr,
		      u8 family)
{
	if (family == SLUICE_IPV4)
		return peer_class4(sn, revision, addr->w[0]);
	return peer_class6(sn, revision, addr);
}

static void find_versions(struct sluice_net *sn, const struct sluice_peer_args *a, u32 hash,
			  struct sluice_versions *v)
{
	const struct sluice_hash *h = &sn->peers.hash;
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	struct sluice_link *link;

	memset(v, 0, sizeof(*v));
	sluice_hash_for_each(link, h, b, hash) {
		struct sluice_peer *p = container_of(link, struct sluice_peer, node.link);

		if (link->hash == hash && peer_is(p, &a->addr, a->family, a->plen))
			sluice_versions_add(sn, v, &p->node);
	}
}

static bool peer_same(const struct sluice_node *n, const struct sluice_peer_args *a)
{
	const struct sluice_peer *p;

	if (!n)
		return false;
	p = container_of(n, struct sluice_peer, node);
	return p->class == a->class && strlen(p->name) == a->name_len &&
	       !memcmp(p->name, a->name, a->name_len);
}

int sluice_peer_set(struct sluice_net *sn, const struct sluice_peer_args *a)
{
	u32 hash = peer_hash(&sn->peers.hash, &a->addr, a->family, a->plen);
	struct sluice_plens *plens = plens_of(sn, a->family);
	struct sluice_versions v;
	struct sluice_peer *p;

	find_versions(sn, a, hash, &v);
	if (peer_same(v.pending, a))
		return 0;
	if (peer_same(v.committed, a)) {
		sluice_table_keep(sn, &sn->peers, &v);
		return 0;
	}
	p = kzalloc(struct_size(p, name, a->name_len + 1), GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	p->node.link.hash = hash;
	p->addr = a->addr;
	p->class = a->class;
	p->family = a->family;
	p->plen = a->plen;
	memcpy(p->name, a->name, a->name_len);
	if (!plens->count[a->plen]++)
		set_bit(a->plen, plens->used);
	sluice_table_put(sn, &sn->peers, &v, &p->node);
	return 0;
}

int sluice_peer_del(struct sluice_net *sn, const struct sluice_peer_args *a)
{
	u32 hash = peer_hash(&sn->peers.hash, &a->addr, a->family, a->plen);
	struct sluice_versions v;

	find_versions(sn, a, hash, &v);
	if (!sluice_versions_latest(&v))
		return -ENOENT;
	sluice_table_del(sn, &sn->peers, &v);
	return 0;
}

static void peer_release(struct sluice_net *sn, struct sluice_node *n)
{
	struct sluice_peer *p = container_of(n, struct sluice_peer, node);
	struct sluice_plens *plens = plens_of(sn, p->family);

	if (!--plens->count[p->plen])
		clear_bit(p->plen, plens->used);
	kfree_rcu(p, node.rcu);
}

static const struct sluice_table_ops peer_ops = {
	.release = peer_release,
};

int sluice_peers_init(struct sluice_net *sn)
{
	int err;

	sn->plens = kcalloc(2, sizeof(*sn->plens), GFP_KERNEL);
	if (!sn->plens)
		return -ENOMEM;
	err = sluice_table_init(sn, &sn->peers, &peer_ops);
	if (err) {
		kfree(sn->plens);
		sn->plens = NULL;
	}
	return err;
}

void sluice_peers_exit(struct sluice_net *sn)
{
	sluice_table_exit(sn, &sn->peers);
	kfree(sn->plens);
	sn->plens = NULL;
}
