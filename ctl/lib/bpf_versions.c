// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/bpf_versions.h"

#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/layout.h"
#include "ctl/lib/alloc.h"

void sluice_bpf_versions_init(struct sluice_bpf_versions *t, const struct sluice_bpf_map *map,
			      uint32_t words, bool in_place)
{
	*t = (struct sluice_bpf_versions){ .map = map, .words = words, .in_place = in_place };
}

void sluice_bpf_versions_exit(struct sluice_bpf_versions *t)
{
	sluice_map_clear(&t->cells, free);
	free(t->staged);
	free(t->dead);
	*t = (struct sluice_bpf_versions){ 0 };
}

static void add_key(const struct sluice_bpf_versions *t, unsigned char **list, size_t *n,
		    size_t *cap, const void *key)
{
	size_t len = t->map->key_size;

	if (*n == *cap) {
		*cap += *cap / 2 + 16;
		*list = sluice_realloc(*list, *cap, len);
	}
	memcpy(*list + (*n)++ * len, key, len);
}

static const unsigned char *nth_key(const struct sluice_bpf_versions *t, const unsigned char *list,
				    size_t i)
{
	return list + i * t->map->key_size;
}

static void die(struct sluice_bpf_versions *t, const void *key)
{
	add_key(t, &t->dead, &t->n_dead, &t->cap_dead, key);
}

static struct sluice_bpf_cell *find_cell(const struct sluice_bpf_versions *t, const void *key)
{
	return sluice_map_get(&t->cells, key, t->map->key_size);
}

static int version(const struct sluice_bpf_cell *c, uint32_t revision)
{
	struct sluice_bpf_since since = { { c->since[0], c->since[1] } };

	return sluice_bpf_version(&since, revision);
}

/* To and from the map's form *************************************************************/

static void pack(const struct sluice_bpf_versions *t, const struct sluice_bpf_cell *c, char *value)
{
	size_t bytes = t->words * sizeof(uint32_t);

	memset(value, 0, t->map->value_size);
	memcpy(value, c->since, sizeof(c->since));
	memcpy(value + sizeof(c->since), c->v[0], bytes);
	memcpy(value + sizeof(c->since) + bytes, c->v[1], bytes);
}

static void unpack(const struct sluice_bpf_versions *t, const char *value,
		   struct sluice_bpf_cell *c)
{
	size_t bytes = t->words * sizeof(uint32_t);

	memset(c, 0, sizeof(*c));
	memcpy(c->since, value, sizeof(c->since));
	memcpy(c->v[0], value + sizeof(c->since), bytes);
	memcpy(c->v[1], value + sizeof(c->since) + bytes, bytes);
}

/* Transactions ***************************************************************************/

const uint32_t *sluice_bpf_versions_find(const struct sluice_bpf_versions *t, const void *key,
					 uint32_t revision)
{
	const struct sluice_bpf_cell *c = find_cell(t, key);
	int v = c && !(c->absent && !c->staged) ? version(c, revision) : -1;

	return v < 0 ? NULL : c->v[v];
}

int sluice_bpf_versions_stage(struct sluice_bpf_versions *t, const void *key, uint32_t revision,
			      const uint32_t *words, bool absent, const uint32_t *before,
			      struct sluice_err *err)
{
	size_t bytes = t->words * sizeof(uint32_t);
	struct sluice_bpf_cell *c = find_cell(t, key);
	int now, next;

	if (!c) {
		if (t->cells.n >= t->map->max_entries)
			return sluice_err_set(err, E2BIG, "map %s is full: it takes %u elements",
					      t->map->name, t->map->max_entries);
		c = sluice_zalloc(sizeof(*c));
		c->since[0] = c->since[1] = SLUICE_BPF_NEVER;
		if (before) {
			c->since[0] = 0;
			memcpy(c->v[0], before, bytes);
		}
		*sluice_map_slot(&t->cells, key, t->map->key_size) = c;
	}
	now = version(c, revision);
	next = now < 0 ? 1 : !now;
	c->since[next] = revision + 1;
	memcpy(c->v[next], words, bytes);
	c->absent = absent;
	if (!c->staged)
		add_key(t, &t->staged, &t->n_staged, &t->cap_staged, key);
	c->staged = true;
	return 0;
}

int sluice_bpf_versions_flush(struct sluice_bpf_versions *t, struct sluice_err *err)
{
	char *values = sluice_realloc(NULL, t->n_staged, t->map->value_size);
	int ret;

	for (size_t i = 0; i < t->n_staged; i++)
		pack(t, find_cell(t, nth_key(t, t->staged, i)), values + i * t->map->value_size);
	ret = sluice_bpf_map_write(t->map, t->staged, values, t->n_staged,
				   t->in_place ? BPF_F_LOCK : 0, err);
	free(values);
	return ret;
}

void sluice_bpf_versions_settle(struct sluice_bpf_versions *t)
{
	for (size_t i = 0; i < t->n_staged; i++) {
		const unsigned char *key = nth_key(t, t->staged, i);
		struct sluice_bpf_cell *c = find_cell(t, key);

		c->staged = false;
		if (c->absent)
			die(t, key);
	}
	t->n_staged = 0;
}

void sluice_bpf_versions_kill(struct sluice_bpf_versions *t, const void *key)
{
	struct sluice_bpf_cell *c = find_cell(t, key);

	if (!c || c->absent)
		return;
	c->absent = true;
	die(t, key);
}

int sluice_bpf_versions_bury(struct sluice_bpf_versions *t, bool *any, struct sluice_err *err)
{
	int ret;

	if (!t->n_dead)
		return 0;
	ret = sluice_bpf_map_erase(t->map, t->dead, t->n_dead, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < t->n_dead; i++)
		free(sluice_map_del(&t->cells, nth_key(t, t->dead, i), t->map->key_size));
	t->n_dead = 0;
	*any = true;
	return 0;
}

/* Learning *******************************************************************************/

struct lesson {
	struct sluice_bpf_versions *t;
	uint32_t revision;
	bool (*absent)(const uint32_t *words);
};

static int learn_cell(const void *key, const void *value, void *arg, struct sluice_err *err)
{
	struct lesson *l = arg;
	struct sluice_bpf_versions *t = l->t;
	struct sluice_bpf_cell *c = sluice_zalloc(sizeof(*c));
	int now;

	(void)err;
	unpack(t, value, c);
	for (int i = 0; i < 2; i++) {
		if (c->since[i] <= l->revision || c->since[i] == SLUICE_BPF_NEVER)
			continue;
		c->since[i] = SLUICE_BPF_NEVER;
		if (!c->staged)
			add_key(t, &t->staged, &t->n_staged, &t->cap_staged, key);
		c->staged = true;
	}
	now = version(c, l->revision);
	c->absent = now < 0 || l->absent(c->v[now]);
	*sluice_map_slot(&t->cells, key, t->map->key_size) = c;
	/* The staged ones are added when they are settled. */
	if (c->absent && !c->staged)
		die(t, key);
	return 0;
}

int sluice_bpf_versions_learn(struct sluice_bpf_versions *t, uint32_t revision,
			      bool (*absent)(const uint32_t *words), struct sluice_err *err)
{
	struct lesson l = { t, revision, absent };
	int ret = sluice_bpf_map_walk(t->map, learn_cell, &l, err);

	if (!ret)
		ret = sluice_bpf_versions_flush(t, err);
	if (!ret)
		sluice_bpf_versions_settle(t);
	return ret;
}
