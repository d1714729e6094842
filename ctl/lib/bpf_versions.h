/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A BPF map whose values have two versions, and what we know to be in it.
 *
 * bpf/layout.h says what versions are. All such values have one shape:
 *
 *	since[2]  words of version 0  words of version 1  [lock, pad]
 *
 * A transaction towards revision r + 1 stages cells, flushes them, which no packet of revision r sees, and
 * after the revision was stored settles them. What it leaves absent is dead then, and is taken out of
 * the map by bury(), which may be called once no program works at revision r any more.
 */
#ifndef SLUICE_CTL_LIB_BPF_VERSIONS_H
#define SLUICE_CTL_LIB_BPF_VERSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/lib/bpf_map.h"
#include "ctl/lib/err.h"
#include "ctl/lib/map.h"

#define SLUICE_BPF_WORDS 3 /* of a version, at most: an endpoint's */

struct sluice_bpf_cell {
	uint32_t since[2];
	uint32_t v[2][SLUICE_BPF_WORDS];
	bool staged;
	bool absent; /* its last version says "not there" */
};

struct sluice_bpf_versions {
	const struct sluice_bpf_map *map;
	uint32_t words;
	bool in_place; /* it has a lock: BPF_F_LOCK */
	struct sluice_map cells; /* key -> struct sluice_bpf_cell */
	unsigned char *staged; /* keys, one behind the other */
	size_t n_staged, cap_staged;
	unsigned char *dead; /* likewise */
	size_t n_dead, cap_dead;
};

void sluice_bpf_versions_init(struct sluice_bpf_versions *t, const struct sluice_bpf_map *map,
			      uint32_t words, bool in_place);
void sluice_bpf_versions_exit(struct sluice_bpf_versions *t);

/*
 * Reads the map, at the committed revision, and undoes what a transaction left there that was cut short. absent
 * says of a version whether it means "not there"; such cells, and those that have no version, are dead.
 */
int sluice_bpf_versions_learn(struct sluice_bpf_versions *t, uint32_t revision,
			      bool (*absent)(const uint32_t *words), struct sluice_err *err);

/* The words that packets of this revision see; NULL: none, or absent. */
const uint32_t *sluice_bpf_versions_find(const struct sluice_bpf_versions *t, const void *key,
					 uint32_t revision);

/*
 * The words for revision + 1; twice for one key: the last ones count. before: the words until then of a
 * cell that is new, NULL: it has none. E2BIG: the map takes no more.
 */
int sluice_bpf_versions_stage(struct sluice_bpf_versions *t, const void *key, uint32_t revision,
			      const uint32_t *words, bool absent, const uint32_t *before,
			      struct sluice_err *err);
int sluice_bpf_versions_flush(struct sluice_bpf_versions *t, struct sluice_err *err);
void sluice_bpf_versions_settle(struct sluice_bpf_versions *t);
/* Marks a cell as dead that learn() took for alive. */
void sluice_bpf_versions_kill(struct sluice_bpf_versions *t, const void *key);
int sluice_bpf_versions_bury(struct sluice_bpf_versions *t, bool *any, struct sluice_err *err);

#endif
