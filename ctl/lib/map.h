/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A hash table from bytes to a pointer, the only one in ctl.
 *
 * Keys are copied, values belong to the caller. Chained; grows by doubling at load 1, so an insert
 * costs O(1) over time. Nothing here can fail.
 */
#ifndef SLUICE_CTL_LIB_MAP_H
#define SLUICE_CTL_LIB_MAP_H

#include <stddef.h>
#include <stdint.h>

struct sluice_map_entry {
	struct sluice_map_entry *next;
	uint64_t hash;
	void *value;
	size_t len;
	unsigned char key[];
};

/* All zero is an empty map. */
struct sluice_map {
	struct sluice_map_entry **buckets;
	size_t n_buckets; /* 0 or a power of two */
	size_t n;
};

void *sluice_map_get(const struct sluice_map *map, const void *key, size_t len);
/* The place of the key's value, which is NULL for a key that was not there. */
void **sluice_map_slot(struct sluice_map *map, const void *key, size_t len);
/* Returns the value that was there, or NULL. */
void *sluice_map_del(struct sluice_map *map, const void *key, size_t len);
/* Frees keys and buckets; free_value may be NULL. */
void sluice_map_clear(struct sluice_map *map, void (*free_value)(void *value));

struct sluice_map_iter {
	const struct sluice_map *map;
	size_t bucket;
	struct sluice_map_entry *next;
};

/*
 * for (e = sluice_map_first(&map, &it); e; e = sluice_map_next(&it)). The entry last returned may
 * be deleted on the way; no key may be added.
 */
struct sluice_map_entry *sluice_map_first(const struct sluice_map *map, struct sluice_map_iter *it);
struct sluice_map_entry *sluice_map_next(struct sluice_map_iter *it);

#endif
