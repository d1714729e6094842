/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Verdicts that policy gave lately, so that the next connection like the last one is not judged anew.
 *
 * Theory of operation
 * -------------------
 * What policy says of a connection follows from its addresses, the interfaces of our pods at its ends, protocol,
 * port, a few flags, and the revision: values of a revision do not change while a packet looks at them
 * (layout.h). Connections repeat all that: each request of a client to a service is a new connection to one of a
 * few backends. So each CPU keeps the judgements it made last, by a hash of those bytes, and compares all of
 * them: a hit is as good as judging. Nothing is ever removed: what is old never compares equal again.
 *
 * The module keeps them by the classes of the ends instead (kmod/verdicts.h), which more connections share. There, a
 * class costs 100 instructions; here, to find the endpoints and classes of both ends costs five hundred.
 *
 * Worked example: 10.1.0.1 of interface 7 asks 10.1.0.2 of interface 9, TCP 80, at revision 12: allowed by
 * rule 21 and rule 30. The next time it finds that in a hundred instructions. Revision 13: the slot holds 12, is
 * judged again, and overwritten.
 */
#ifndef SLUICE_BPF_VERDICTS_H
#define SLUICE_BPF_VERDICTS_H

#include <bpf/bpf_helpers.h>

#include "bpf/layout.h"

/* 80 bytes each: 40 KiB a CPU. */
#define SLUICE_VERDICT_SLOTS 512

struct sluice_verdict_key {
	union {
		struct {
			__u32 revision; /* 0: nothing is kept here */
			__u16 port;
			__u8 proto;
			__u8 flags; /* SLUICE_JUDGE_* that the caller knew */
			__u32 src_ifindex; /* | 1 << 31: IPv6 */
			__u32 dst_ifindex;
			struct sluice_addr src;
			struct sluice_addr dst;
		};
		__u64 words[6];
	};
};

struct sluice_kept_verdict {
	struct sluice_verdict_key key;
	__u32 flags; /* SLUICE_JUDGE_*, all */
	struct sluice_judgement judgement;
};

/*
 * Read and written by programs of this CPU that run with bottom halves off: tc programs, and runs of them for
 * tests. Not kept: new programs start with an empty one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLUICE_VERDICT_SLOTS);
	__type(key, __u32);
	__type(value, struct sluice_kept_verdict);
} verdicts SEC(".maps");

static __always_inline struct sluice_kept_verdict *
sluice_verdict_slot(const struct sluice_verdict_key *k)
{
	const __u64 *w = k->words;
	__u64 h = sluice_bpf_mix(w[0] ^ w[2] ^ w[4] << 7, w[1] ^ w[3] ^ w[5] << 7);
	__u32 slot = h % SLUICE_VERDICT_SLOTS;

	return bpf_map_lookup_elem(&verdicts, &slot);
}

static __always_inline bool sluice_verdict_is(const struct sluice_kept_verdict *v,
					      const struct sluice_verdict_key *k)
{
	const __u64 *a = v->key.words, *b = k->words;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]) |
		 (a[5] ^ b[5]));
}

#endif
