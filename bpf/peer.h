/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Peers: address -> class, by longest prefix. Whole addresses, which pods are, stand in a hash map; those
 * that are in none are looked for in a trie, which costs several times that (layout.h: hosts, prefixes4, prefixes6).
 */
#ifndef SLUICE_BPF_PEER_H
#define SLUICE_BPF_PEER_H

#include <bpf/bpf_helpers.h>

#include "bpf/layout.h"
#include "bpf/maps.h"

static __always_inline __u32 sluice_peer_prefix_class(const struct sluice_bpf_class *c,
						      __u32 revision)
{
	int v = c ? sluice_bpf_version(&c->since, revision) : -1;

	return v < 0 ? 0 : c->v[v & 1];
}

static __always_inline __u32 sluice_peer_class4(__u32 revision, const struct sluice_addr *addr)
{
	struct sluice_bpf_prefix4 key = { .plen = 32, .addr = addr->w[0] };

	return sluice_peer_prefix_class(bpf_map_lookup_elem(&prefixes4, &key), revision);
}

static __always_inline __u32 sluice_peer_class6(__u32 revision, const struct sluice_addr *addr)
{
	struct sluice_bpf_prefix6 key = {
		.plen = 128,
		.addr = { addr->w[0], addr->w[1], addr->w[2], addr->w[3] },
	};

	return sluice_peer_prefix_class(bpf_map_lookup_elem(&prefixes6, &key), revision);
}

/* The class of an address, 0 if no prefix holds it. Two call sites at least: not inlined. */
static __attribute__((noinline)) __u32 sluice_peer_class(__u32 revision,
							 const struct sluice_addr *addr,
							 __u32 family)
{
	struct sluice_bpf_addr_key key = { .addr = *addr, .family = family };
	const struct sluice_bpf_number *host = bpf_map_lookup_elem(&hosts, &key);

	if (host) {
		int v = sluice_bpf_version(&host->since, revision);

		if (v >= 0 && host->v[v & 1] != SLUICE_BPF_ABSENT)
			return host->v[v & 1];
	}
	if (family == SLUICE_IPV4)
		return sluice_peer_class4(revision, addr);
	return sluice_peer_class6(revision, addr);
}

#endif
