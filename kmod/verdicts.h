/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Verdicts that policy gave lately, so that the next connection like the last one is not judged anew.
 *
 * Theory of operation
 * -------------------
 * What policy says depends on the two rulesets, the two peer classes, the protocol, the port, and a
 * few flags: on the generation of policy and 20 bytes. Connections repeat them: each request of a client to
 * a service is a new connection between the same classes. So each CPU keeps the judgements it made
 * last, by a hash of those bytes, and compares all of them: a hit is as good as judging. Rulesets are
 * immutable, and any commit that changes policy makes a new generation, so nothing is ever removed:
 * what is old just never compares equal again.
 *
 * Worked example: ruleset 7 (egress), ruleset 9 (ingress), classes 3 and 4, TCP 80, generation 12: allowed
 * by rule 21 and rule 30. The next client of class 3 finds that in 60 instructions; two classifications
 * take 300 to 800. Generation 13: the slot holds 12, is judged again, and overwritten.
 */
#ifndef SLUICE_KMOD_VERDICTS_H
#define SLUICE_KMOD_VERDICTS_H

#include "core/judge.h"
#include "hash.h"

/* 64 bytes each: 8 KiB a CPU and namespace that is active. */
#define SLUICE_VERDICT_SLOTS 128
#define SLUICE_VERDICT_VALID 0x80 /* in flags, beside SLUICE_JUDGE_* */

struct sluice_verdict_key {
	union {
		struct {
			u32 generation;
			u32 egress; /* ids of rulesets, 0: none */
			u32 ingress;
			u32 src_class;
			u32 dst_class;
			u16 port;
			u8 proto;
			u8 flags;
		};
		u64 words[3];
	};
};

struct sluice_kept_verdict {
	struct sluice_verdict_key key;
	struct sluice_judgement judgement;
};
static_assert(sizeof(struct sluice_kept_verdict) <= 64);

/* One a CPU; read and written by that CPU alone, with bottom halves off. */
struct sluice_verdicts {
	struct sluice_kept_verdict slots[SLUICE_VERDICT_SLOTS];
};

static __always_inline struct sluice_kept_verdict *
sluice_verdict_slot(struct sluice_verdicts __percpu *verdicts, const struct sluice_verdict_key *k)
{
	u64 h = sluice_hash_mix(k->words[0] ^ k->words[2] ^ sluice_hash_secret[0],
				k->words[1] ^ sluice_hash_secret[1]);

	return &this_cpu_ptr(verdicts)->slots[h % SLUICE_VERDICT_SLOTS];
}

static __always_inline bool sluice_verdict_is(const struct sluice_kept_verdict *v,
					      const struct sluice_verdict_key *k)
{
	return !((v->key.words[0] ^ k->words[0]) | (v->key.words[1] ^ k->words[1]) |
		 (v->key.words[2] ^ k->words[2]));
}

#endif
