/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Verdicts that policy gave lately: kmod/verdicts.h, in a per-CPU map. Its key has the slots of rulesets where
 * the module has their ids: a slot means another ruleset only after a commit that changed policy, which
 * made a new generation.
 */
#ifndef SLUICE_BPF_VERDICTS_H
#define SLUICE_BPF_VERDICTS_H

#include <bpf/bpf_helpers.h>

#include "bpf/layout.h"

#define SLUICE_VERDICT_SLOTS 128
#define SLUICE_VERDICT_VALID 0x80 /* in flags, beside SLUICE_JUDGE_* */

struct sluice_verdict_key {
	union {
		struct {
			__u32 generation;
			__u32 egress; /* slots of rulesets, 0: none */
			__u32 ingress;
			__u32 src_class;
			__u32 dst_class;
			__u16 port;
			__u8 proto;
			__u8 flags;
		};
		__u64 words[3];
	};
};

struct sluice_kept_verdict {
	struct sluice_verdict_key key;
	struct sluice_judgement judgement;
};

/*
 * Read and written by programs of this CPU that run with bottom halves off: tc programs, and runs of them for
 * tests. Not pinned and not kept: new programs start with an empty one.
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
	__u64 h = sluice_bpf_mix(k->words[0] ^ k->words[2], k->words[1] ^ k->words[2] << 32);
	__u32 slot = h % SLUICE_VERDICT_SLOTS;

	return bpf_map_lookup_elem(&verdicts, &slot);
}

static __always_inline bool sluice_verdict_is(const struct sluice_kept_verdict *v,
					      const struct sluice_verdict_key *k)
{
	return !((v->key.words[0] ^ k->words[0]) | (v->key.words[1] ^ k->words[1]) |
		 (v->key.words[2] ^ k->words[2]));
}

#endif
