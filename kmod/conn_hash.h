/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How connections are found: keys, their hash, the look-up. Inline, because each packet does it once.
 */
#ifndef SLUICE_KMOD_CONN_HASH_H
#define SLUICE_KMOD_CONN_HASH_H

#include <linux/rhashtable.h>

#include "conn.h"
#include "hash.h"

static __always_inline u32 sluice_hash4(const struct sluice_key4 *k, u32 seed)
{
	u64 rest = (u64)k->proto << 32 | k->ports;
	u64 h = sluice_hash_mix(k->addrs ^ sluice_hash_secret[0],
				rest ^ sluice_hash_secret[1] ^ seed);

	return sluice_hash_fold(h);
}

static __always_inline u32 sluice_hash6(const struct sluice_key6 *k, u32 seed)
{
	u64 rest = (u64)k->proto << 32 | k->ports, h;

	h = sluice_hash_mix(k->addrs[0] ^ sluice_hash_secret[0],
			    k->addrs[1] ^ sluice_hash_secret[1]);
	h = sluice_hash_mix(h ^ k->addrs[2] ^ sluice_hash_secret[0],
			    k->addrs[3] ^ sluice_hash_secret[1]);
	h = sluice_hash_mix(h ^ sluice_hash_secret[1], rest ^ sluice_hash_secret[0] ^ seed);
	return sluice_hash_fold(h);
}

static inline u32 sluice_key4_hashfn(const void *data, u32 len, u32 seed)
{
	return sluice_hash4(data, seed);
}

static inline u32 sluice_entry4_hashfn(const void *data, u32 len, u32 seed)
{
	return sluice_hash4(&((const struct sluice_entry4 *)data)->key, seed);
}

static inline int sluice_entry4_cmpfn(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct sluice_key4 *a = arg->key;
	const struct sluice_key4 *b = &((const struct sluice_entry4 *)obj)->key;

	return a->addrs != b->addrs || a->ports != b->ports || a->proto != b->proto;
}

static inline u32 sluice_key6_hashfn(const void *data, u32 len, u32 seed)
{
	return sluice_hash6(data, seed);
}

static inline u32 sluice_entry6_hashfn(const void *data, u32 len, u32 seed)
{
	return sluice_hash6(&((const struct sluice_entry6 *)data)->key, seed);
}

static inline int sluice_entry6_cmpfn(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct sluice_key6 *a = arg->key;
	const struct sluice_key6 *b = &((const struct sluice_entry6 *)obj)->key;

	return ((a->addrs[0] ^ b->addrs[0]) | (a->addrs[1] ^ b->addrs[1]) |
		(a->addrs[2] ^ b->addrs[2]) | (a->addrs[3] ^ b->addrs[3]) | (a->ports ^ b->ports) |
		(a->proto ^ b->proto)) != 0;
}

/*
 * The least a table has: 128 KiB of buckets for IPv4 in a namespace that is active, half of what
 * nf_conntrack takes on a machine of 1 GiB. It spares the first 12,000 connections any growth.
 */
static const struct rhashtable_params sluice_params4 = {
	.nelem_hint = 12288,
	.min_size = 16384,
	.head_offset = offsetof(struct sluice_entry4, node),
	.key_offset = offsetof(struct sluice_entry4, key),
	.key_len = offsetof(struct sluice_key4, dir),
	.hashfn = sluice_key4_hashfn,
	.obj_hashfn = sluice_entry4_hashfn,
	.obj_cmpfn = sluice_entry4_cmpfn,
	.automatic_shrinking = true,
};

static const struct rhashtable_params sluice_params6 = {
	.nelem_hint = 3072,
	.min_size = 4096,
	.head_offset = offsetof(struct sluice_entry6, node),
	.key_offset = offsetof(struct sluice_entry6, key),
	.key_len = offsetof(struct sluice_key6, dir),
	.hashfn = sluice_key6_hashfn,
	.obj_hashfn = sluice_entry6_hashfn,
	.obj_cmpfn = sluice_entry6_cmpfn,
	.automatic_shrinking = true,
};

/* Under RCU. NULL, or the connection with *dir set. */
static __always_inline struct sluice_conn *sluice_conn_find4(struct sluice_conns *cs,
							     const struct sluice_key4 *k, u8 *dir)
{
	struct sluice_entry4 *e = rhashtable_lookup(&cs->ht[0], k, sluice_params4);

	if (!e)
		return NULL;
	*dir = e->key.dir;
	return sluice_conn_of4(e);
}

static __always_inline struct sluice_conn *sluice_conn_find6(struct sluice_conns *cs,
							     const struct sluice_key6 *k, u8 *dir)
{
	struct sluice_entry6 *e = rhashtable_lookup(&cs->ht[1], k, sluice_params6);

	if (!e)
		return NULL;
	*dir = e->key.dir;
	return sluice_conn_of6(e);
}

#endif
