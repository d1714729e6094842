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

static __always_inline const struct sluice_peer *find_exact(const struct sluice_hash *h,
							    u32 revision,
							    const struct sluice_addr *addr,
							    u8 family, u8 plen)
{
	const struct sluice_buckets *b = sluice_hash_buckets(h);
	u32 hash = peer_hash(h, addr, family, plen);
	struct sluice_link *link;

	sluice_hash_for_each(link, h, b, hash) {
		const struct sluice_peer *p = container_of(link, struct sluice_peer, node.link);

		if (link->hash == hash && p->plen == plen && p->family == family &&
		    p->addr.w[0] == addr->w[0] &&
		    (family == SLUICE_IPV4 || sluice_addr_equal(&p->addr, addr)) &&
		    sluice_node_visible(&p->node, revision))
			return p;
	}
	return NULL;
}

static struct sluice_plens *plens_of(struct sluice_net *sn, u8 family)
{
	return &sn->plens[family == SLUICE_IPV6];
}

static __always_inline u32 peer_class(struct sluice_net *sn, u32 revision, struct sluice_addr addr,
				      u8 family)
{
	const struct sluice_plens *plens = plens_of(sn, family);
	int word = family == SLUICE_IPV4 ? 0 : BITS_TO_LONGS(SLUICE_PLENS) - 1;

	/* Longest first. Each step masks what the one before left. */
	for (; word >= 0; word--) {
		unsigned long bits = READ_ONCE(plens->used[word]);

		while (bits) {
			u32 bit = __fls(bits), plen = word * BITS_PER_LONG + bit;
			const struct sluice_peer *p;

			if (plen < sluice_family_bits(family))
				sluice_addr_mask(&addr, plen);
			p = find_exact(&sn->peers.hash, revision, &addr, family, plen);
			if (p)
				return p->class;
			bits &= ~BIT(bit);
		}
	}
	return 0;
}

/* One copy for each family: where the compiler knows it, an IPv4 address is one word. */
static noinline u32 peer_class6(struct sluice_net *sn, u32 revision, const struct sluice_addr *addr)
{
	return peer_class(sn, revision, *addr, SLUICE_IPV6);
}

u32 sluice_peer_class(struct sluice_net *sn, u32 revision, const struct sluice_addr *addr,
		      u8 family)
{
	if (family != SLUICE_IPV4)
		return peer_class6(sn, revision, addr);
	return peer_class(sn, revision, (struct sluice_addr){ .w = { addr->w[0] } }, SLUICE_IPV4);
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
