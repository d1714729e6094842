/* SPDX-License-Identifier: GPL-2.0-only */
/* Rulesets by slot. What they are and how they decide: core/ruleset.h. */
#ifndef SLUICE_BPF_RULESET_H
#define SLUICE_BPF_RULESET_H

#include <bpf/bpf_helpers.h>

#include "bpf/maps.h"
#include "core/ruleset.h"

/* A commit checks that those exist that endpoints name; where one does not, nothing may pass. Slot 0: none is asked for. */
static __always_inline bool sluice_ruleset_exists(__u32 slot)
{
	return !slot || bpf_map_lookup_elem(&rulesets, &slot);
}

/*
 * core/ruleset.h says what it does. A function of its own for the verifier, which looks at it once, knowing
 * nothing of its arguments. What is missing, the ruleset or a piece of it, denies. Returns 0; -1 without a place for
 * the answers.
 */
__attribute__((noinline)) int sluice_ruleset_classify(__u32 slot, __u32 class, __u32 key,
						      struct sluice_match *enforced,
						      struct sluice_match *staged)
{
	void *map = bpf_map_lookup_elem(&rulesets, &slot);
	struct sluice_blob b;

	if (!enforced || !staged)
		return -1;
	if (!map || !sluice_blob_open(&b, map)) {
		sluice_match_closed(enforced);
		sluice_match_closed(staged);
		return 0;
	}
	sluice_blob_classify(&b, class, key, enforced, staged);
	return 0;
}

#endif
