/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The maps, as the programs see them; layout.h says what is in them and who writes. Userspace pins all of them
 * under their names and hands them to the next version of the programs.
 */
#ifndef SLUICE_BPF_MAPS_H
#define SLUICE_BPF_MAPS_H

#include <bpf/bpf_helpers.h>

#include "bpf/layout.h"

#define SLUICE_HASH(name, n, k, v)                    \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_HASH);      \
		__uint(map_flags, BPF_F_NO_PREALLOC); \
		__uint(max_entries, n);               \
		__type(key, k);                       \
		__type(value, v);                     \
	} name SEC(".maps")

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_bpf_control);
} control SEC(".maps");

/* Limits: 16 bytes of bucket each are there from the start, elements as they come. */
SLUICE_HASH(services, 65536, struct sluice_service_key, struct sluice_bpf_service);
SLUICE_HASH(vips, 65536, struct sluice_bpf_addr_key, struct sluice_bpf_number);
SLUICE_HASH(backends, 524288, struct sluice_bpf_backend_key, struct sluice_bpf_backend);
SLUICE_HASH(backend_refs, 524288, struct sluice_bpf_backend_ref, __u32);
SLUICE_HASH(addrs, 16384, struct sluice_bpf_addr_key, struct sluice_bpf_number);
SLUICE_HASH(hosts, 262144, struct sluice_bpf_addr_key, struct sluice_bpf_number);
SLUICE_HASH(endpoints, 4096, __u32, struct sluice_bpf_endpoint);
SLUICE_HASH(uplinks, 64, __u32, __u32);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct sluice_bpf_prefix4);
	__type(value, struct sluice_bpf_class);
} prefixes4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct sluice_bpf_prefix6);
	__type(value, struct sluice_bpf_class);
} prefixes6 SEC(".maps");

struct sluice_ruleset_pieces {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP); /* each has its own length */
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, SLUICE_BLOB_PIECE);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLUICE_BPF_RULESETS);
	__type(key, __u32);
	__array(values, struct sluice_ruleset_pieces);
} rulesets SEC(".maps");

SLUICE_HASH(service_info, 65536, struct sluice_service_key, struct sluice_bpf_service_info);
SLUICE_HASH(peer_info, 524288, struct sluice_bpf_peer_key, struct sluice_bpf_peer_info);
SLUICE_HASH(rule_info, 1048576, __u32, struct sluice_bpf_rule_info);
SLUICE_HASH(ruleset_info, 65536, __u32, struct sluice_bpf_ruleset_info);
SLUICE_HASH(endpoint_info, 4096, __u32, struct sluice_bpf_endpoint_info);

/*
 * Connections. The number of buckets is set by the loader, before it creates them. Inner maps say sizes, not types:
 * clang leaves what is behind two pointers undefined in BTF.
 */
struct sluice_segment4 {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SLUICE_BPF_SEGMENT);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct sluice_bpf_conn4));
};

struct sluice_segment6 {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SLUICE_BPF_SEGMENT);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct sluice_bpf_conn6));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLUICE_BPF_SEGMENTS);
	__type(key, __u32);
	__array(values, struct sluice_segment4);
} conns4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLUICE_BPF_SEGMENTS);
	__type(key, __u32);
	__array(values, struct sluice_segment6);
} conns6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_bpf_buckets);
} buckets4 SEC(".maps"), buckets6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_bpf_sweeper);
} timers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_bpf_stats);
} stats SEC(".maps");

struct sluice_monitor_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SLUICE_BPF_MONITOR_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLUICE_BPF_MONITORS);
	__type(key, __u32);
	__array(values, struct sluice_monitor_ring);
} monitors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SLUICE_BPF_MONITORS);
	__type(key, __u32);
	__type(value, struct sluice_bpf_monitor);
} monitor_until SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct sluice_bpf_socket_key);
	__type(value, struct sluice_bpf_socket);
} sockets SEC(".maps");

#endif
