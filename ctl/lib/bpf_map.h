/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * BPF maps, as several files need them: the list of those that bpf/layout.h describes, and many
 * elements at a time. What is in them is in bpf/layout.h.
 *
 * Errors carry the map's name: E2BIG says that it is full.
 */
#ifndef SLUICE_CTL_LIB_BPF_MAP_H
#define SLUICE_CTL_LIB_BPF_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/lib/err.h"

/* X(symbol, name): the maps that userspace knows. Programs may have others of their own. */
#define SLUICE_BPF_MAPS(X)              \
	X(CONTROL, control)             \
	X(SERVICES, services)           \
	X(VIPS, vips)                   \
	X(BACKENDS, backends)           \
	X(BACKEND_REFS, backend_refs)   \
	X(ADDRS, addrs)                 \
	X(HOSTS, hosts)                 \
	X(ENDPOINTS, endpoints)         \
	X(UPLINKS, uplinks)             \
	X(PREFIXES4, prefixes4)         \
	X(PREFIXES6, prefixes6)         \
	X(RULESETS, rulesets)           \
	X(SERVICE_INFO, service_info)   \
	X(PEER_INFO, peer_info)         \
	X(RULE_INFO, rule_info)         \
	X(RULESET_INFO, ruleset_info)   \
	X(ENDPOINT_INFO, endpoint_info) \
	X(CONNS4, conns4)               \
	X(CONNS6, conns6)               \
	X(BUCKETS4, buckets4)           \
	X(BUCKETS6, buckets6)           \
	X(STATS, stats)                 \
	X(MONITORS, monitors)           \
	X(MONITOR_UNTIL, monitor_until) \
	X(SOCKETS, sockets)

enum sluice_bpf_which_map {
#define X(sym, name) SLUICE_BPF_MAP_##sym,
	SLUICE_BPF_MAPS(X)
#undef X
		SLUICE_BPF_MAP_COUNT
};

struct sluice_bpf_map {
	int fd; /* -1: not open */
	const char *name;
	uint32_t type; /* enum bpf_map_type */
	uint32_t key_size;
	uint32_t value_size;
	uint32_t max_entries;
	uint32_t flags;
};

const char *sluice_bpf_map_name(enum sluice_bpf_which_map id);

/* Opens a pin. Errors: ENOENT, EPERM, ... */
int sluice_bpf_map_open(struct sluice_bpf_map *map, const char *dir, const char *name,
			struct sluice_err *err);
void sluice_bpf_map_close(struct sluice_bpf_map *map);

/*
 * n elements, their keys and values one behind the other. Elements that are there are replaced, or with
 * BPF_F_LOCK in flags written in place. After an error some may have been written.
 */
int sluice_bpf_map_write(const struct sluice_bpf_map *map, const void *keys, const void *values,
			 uint32_t n, uint64_t flags, struct sluice_err *err);
/* Those that are not there are passed over. */
int sluice_bpf_map_erase(const struct sluice_bpf_map *map, const void *keys, uint32_t n,
			 struct sluice_err *err);
/* Each element once, as long as nobody adds or removes any. 0 to go on, else it ends with that. */
typedef int (*sluice_bpf_map_visit)(const void *key, const void *value, void *arg,
				    struct sluice_err *err);
int sluice_bpf_map_walk(const struct sluice_bpf_map *map, sluice_bpf_map_visit visit, void *arg,
			struct sluice_err *err);

/* The map in a place of a map of maps; a file descriptor, or -ENOENT (err is then set, too). */
int sluice_bpf_map_inner(const struct sluice_bpf_map *map, uint32_t index, struct sluice_err *err);

/* The memory of a BPF_F_MMAPABLE array, whole pages; NULL with err set. To be ended by munmap(). */
void *sluice_bpf_map_memory(int fd, size_t size, bool write, const char *name,
			    struct sluice_err *err);
/* "size" in whole pages: what munmap() wants to know. */
size_t sluice_bpf_map_pages(size_t size);

#endif
