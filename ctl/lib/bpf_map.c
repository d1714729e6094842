// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/bpf_map.h"

#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"

/*
 * Elements of one system call. The kernel copies them one by one; 1,024 are enough that the call itself
 * costs nothing beside.
 */
#define BATCH 1024U

/* A hash map's look-up takes whole buckets, of which the longest must fit: 16 times a load of 1 is no limit in practice. */
#define WALK 4096U

const char *sluice_bpf_map_name(enum sluice_bpf_which_map id)
{
	static const char *const names[] = {
#define X(sym, name) [SLUICE_BPF_MAP_##sym] = #name,
		SLUICE_BPF_MAPS(X)
#undef X
	};

	return names[id];
}

int sluice_bpf_map_open(struct sluice_bpf_map *map, const char *dir, const char *name,
			struct sluice_err *err)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	char path[512];
	int ret;

	*map = (struct sluice_bpf_map){ .fd = -1, .name = name };
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	map->fd = bpf_obj_get(path);
	if (map->fd < 0)
		return sluice_err_errno(err, errno, "map %s", path);
	if (bpf_obj_get_info_by_fd(map->fd, &info, &len)) {
		ret = sluice_err_errno(err, errno, "map %s", path);
		sluice_bpf_map_close(map);
		return ret;
	}
	map->type = info.type;
	map->key_size = info.key_size;
	map->value_size = info.value_size;
	map->max_entries = info.max_entries;
	map->flags = info.map_flags;
	return 0;
}

void sluice_bpf_map_close(struct sluice_bpf_map *map)
{
	if (map->fd >= 0)
		close(map->fd);
	map->fd = -1;
}

static int fail(const struct sluice_bpf_map *map, int code, struct sluice_err *err)
{
	if (code == E2BIG)
		return sluice_err_set(err, E2BIG, "map %s is full: it takes %u elements", map->name,
				      map->max_entries);
	return sluice_err_errno(err, code, "map %s", map->name);
}

int sluice_bpf_map_write(const struct sluice_bpf_map *map, const void *keys, const void *values,
			 uint32_t n, uint64_t flags, struct sluice_err *err)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = flags);

	for (uint32_t done = 0, count; done < n; done += count) {
		const char *key = (const char *)keys + (size_t)done * map->key_size;
		const char *value = (const char *)values + (size_t)done * map->value_size;

		count = n - done < BATCH ? n - done : BATCH;
		if (bpf_map_update_batch(map->fd, key, value, &count, &opts))
			return fail(map, errno, err);
	}
	return 0;
}

int sluice_bpf_map_erase(const struct sluice_bpf_map *map, const void *keys, uint32_t n,
			 struct sluice_err *err)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);

	for (uint32_t done = 0, count; done < n; done += count) {
		count = n - done < BATCH ? n - done : BATCH;
		if (!bpf_map_delete_batch(map->fd,
					  (const char *)keys + (size_t)done * map->key_size, &count,
					  &opts))
			continue;
		if (errno != ENOENT)
			return fail(map, errno, err);
		count++; /* the one that is not there, behind those that were */
	}
	return 0;
}

/* A hash map's place is a number, a trie's is a key. */
#define PLACE_BYTES 64

int sluice_bpf_map_walk(const struct sluice_bpf_map *map, sluice_bpf_map_visit visit, void *arg,
			struct sluice_err *err)
{
	char places[2][PLACE_BYTES], *at = NULL, *next = places[0];
	char *keys = sluice_realloc(NULL, WALK, map->key_size);
	char *values = sluice_realloc(NULL, WALK, map->value_size);
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	bool last = false;
	int ret = 0;

	while (!ret && !last) {
		uint32_t count = WALK;

		if (bpf_map_lookup_batch(map->fd, at, next, keys, values, &count, &opts)) {
			if (errno != ENOENT) {
				ret = fail(map, errno, err);
				break;
			}
			last = true;
		}
		for (uint32_t i = 0; i < count && !ret; i++)
			ret = visit(keys + (size_t)i * map->key_size,
				    values + (size_t)i * map->value_size, arg, err);
		at = next;
		next = next == places[0] ? places[1] : places[0];
	}
	free(keys);
	free(values);
	return ret;
}

int sluice_bpf_map_inner(const struct sluice_bpf_map *map, uint32_t index, struct sluice_err *err)
{
	uint32_t id;
	int fd;

	if (bpf_map_lookup_elem(map->fd, &index, &id))
		return sluice_err_errno(err, errno, "map %s, place %u", map->name, index);
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return sluice_err_errno(err, errno, "map %s, place %u", map->name, index);
	return fd;
}

size_t sluice_bpf_map_pages(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

void *sluice_bpf_map_memory(int fd, size_t size, bool write, const char *name,
			    struct sluice_err *err)
{
	void *p = mmap(NULL, sluice_bpf_map_pages(size), write ? PROT_READ | PROT_WRITE : PROT_READ,
		       MAP_SHARED, fd, 0);

	if (p == MAP_FAILED) {
		sluice_err_errno(err, errno, "mmap of map %s", name);
		return NULL;
	}
	return p;
}
