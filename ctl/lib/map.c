// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/map.h"

#include "ctl/lib/alloc.h"
#include "ctl/lib/selector.h"

#define SEED 0x5eed

static struct sluice_map_entry *find(const struct sluice_map *map, uint64_t hash, const void *key,
				     size_t len)
{
	struct sluice_map_entry *e;

	if (!map->n_buckets)
		return NULL;
	for (e = map->buckets[hash & (map->n_buckets - 1)]; e; e = e->next)
		if (e->hash == hash && e->len == len && !memcmp(e->key, key, len))
			return e;
	return NULL;
}

void *sluice_map_get(const struct sluice_map *map, const void *key, size_t len)
{
	struct sluice_map_entry *e = find(map, sluice_hash_bytes(SEED, key, len), key, len);

	return e ? e->value : NULL;
}

static void grow(struct sluice_map *map)
{
	size_t n = map->n_buckets ? map->n_buckets * 2 : 16, i;
	struct sluice_map_entry **buckets = sluice_zalloc(n * sizeof(*buckets));

	for (i = 0; i < map->n_buckets; i++) {
		struct sluice_map_entry *e = map->buckets[i], *next;

		for (; e; e = next) {
			next = e->next;
			e->next = buckets[e->hash & (n - 1)];
			buckets[e->hash & (n - 1)] = e;
		}
	}
	free(map->buckets);
	map->buckets = buckets;
	map->n_buckets = n;
}

void **sluice_map_slot(struct sluice_map *map, const void *key, size_t len)
{
	uint64_t hash = sluice_hash_bytes(SEED, key, len);
	struct sluice_map_entry *e = find(map, hash, key, len), **head;

	if (e)
		return &e->value;
	if (map->n >= map->n_buckets)
		grow(map);
	e = sluice_zalloc(sizeof(*e) + len);
	e->hash = hash;
	e->len = len;
	if (len)
		memcpy(e->key, key, len);
	head = &map->buckets[hash & (map->n_buckets - 1)];
	e->next = *head;
	*head = e;
	map->n++;
	return &e->value;
}

void *sluice_map_del(struct sluice_map *map, const void *key, size_t len)
{
	uint64_t hash = sluice_hash_bytes(SEED, key, len);
	struct sluice_map_entry **p, *e;
	void *value;

	if (!map->n_buckets)
		return NULL;
	for (p = &map->buckets[hash & (map->n_buckets - 1)]; (e = *p); p = &e->next) {
		if (e->hash != hash || e->len != len || memcmp(e->key, key, len))
			continue;
		*p = e->next;
		value = e->value;
		free(e);
		map->n--;
		return value;
	}
	return NULL;
}

void sluice_map_clear(struct sluice_map *map, void (*free_value)(void *value))
{
	size_t i;

	for (i = 0; i < map->n_buckets; i++) {
		struct sluice_map_entry *e = map->buckets[i], *next;

		for (; e; e = next) {
			next = e->next;
			if (free_value && e->value)
				free_value(e->value);
			free(e);
		}
	}
	free(map->buckets);
	memset(map, 0, sizeof(*map));
}

struct sluice_map_entry *sluice_map_next(struct sluice_map_iter *it)
{
	struct sluice_map_entry *e = it->next;

	while (!e && it->bucket < it->map->n_buckets)
		e = it->map->buckets[it->bucket++];
	it->next = e ? e->next : NULL;
	return e;
}

struct sluice_map_entry *sluice_map_first(const struct sluice_map *map, struct sluice_map_iter *it)
{
	it->map = map;
	it->bucket = 0;
	it->next = NULL;
	return sluice_map_next(it);
}
