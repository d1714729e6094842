// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bytes from anywhere as a ruleset: refused, or every question is answered from inside the blob,
 * and as a reader of the same rows who knows no summary and no binary search answers it.
 *
 * Random bytes do not get past the first checks, so the mutator below repairs the header of most
 * inputs, and turns an input too small to be a ruleset into a good one.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/ruleset.h"
#include "tests/unit/ruleset_blob.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static bool mask_bit(const struct sluice_ruleset *rs, uint32_t mask, uint32_t i)
{
	const uint64_t *words = (const uint64_t *)((const char *)rs + rs->off_masks);

	return words[mask * rs->nwords + i / 64] >> (i % 64) & 1;
}

/* Word by word: how many are stored before the one that has the bit? */
static bool row_bit(const struct sluice_ruleset *rs, uint32_t row, uint32_t i)
{
	const uint32_t *rows = (const uint32_t *)((const char *)rs + rs->off_rows);
	const uint64_t *words = (const uint64_t *)((const char *)rs + rows[row]);
	uint32_t w, at = rs->nsummary;

	for (w = 0; w < i / 64; w++)
		at += words[w / 64] >> (w % 64) & 1;
	if (!(words[w / 64] >> (w % 64) & 1))
		return false;
	return words[at] >> (i % 64) & 1;
}

static void naive(const struct sluice_ruleset *rs, uint32_t class, uint32_t key, uint32_t mask,
		  struct sluice_match *m)
{
	const struct sluice_class_row *c = sluice_ruleset_classes(rs);
	const struct sluice_port_row *p = sluice_ruleset_ports(rs);
	const struct sluice_rule *r = sluice_ruleset_rules(rs);
	uint32_t crow = 0, prow = 1, i, steps = 0;

	for (i = 0; i < rs->nclasses; i++)
		if (c[i].class == class)
			crow = c[i].row;
	for (i = 0; i < rs->nports; i++)
		if (p[i].lo <= key && key <= p[i].hi)
			prow = p[i].row;
	memset(m, 0, sizeof(*m));
	m->rule = m->log = SLUICE_NO_RULE;
	m->action = rs->default_action;
	for (i = 0; i < rs->nrules; i++) {
		if (!row_bit(rs, crow, i) || !row_bit(rs, prow, i) || !mask_bit(rs, mask, i))
			continue;
		if (r[i].action == SLUICE_ACTION_LOG) {
			if (m->log == SLUICE_NO_RULE)
				m->log = i;
		} else if (r[i].action == SLUICE_ACTION_PASS) {
			i = rs->tiers[r[i].tier] - 1;
		} else {
			m->rule = i;
			m->rule_id = r[i].id;
			m->action = r[i].action;
			return;
		}
		if (++steps == 64) {
			m->action = SLUICE_ACTION_DENY;
			return;
		}
	}
}

static void ask(const struct sluice_ruleset *rs, uint32_t class, uint32_t key)
{
	struct sluice_match e, s, want;

	sluice_ruleset_classify(rs, class, key & 0xffffff, &e, &s);
	naive(rs, class, key & 0xffffff, SLUICE_MASK_ENFORCED, &want);
	if (e.rule != want.rule || e.action != want.action || e.log != want.log ||
	    e.rule_id != want.rule_id)
		abort();
	naive(rs, class, key & 0xffffff,
	      rs->flags & SLUICE_RULESET_HAS_STAGED ? SLUICE_MASK_STAGED : SLUICE_MASK_ENFORCED,
	      &want);
	if (s.rule != want.rule || s.action != want.action)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sluice_ruleset *rs = malloc(size ? size : 1);
	uint32_t i;

	memcpy(rs, data, size);
	if (!sluice_ruleset_validate(rs, size)) {
		for (i = 0; i < rs->nclasses && i < 32; i++)
			ask(rs, sluice_ruleset_classes(rs)[i].class, 6 << 16 | 80);
		for (i = 0; i < rs->nports && i < 32; i++) {
			ask(rs, 0, sluice_ruleset_ports(rs)[i].lo);
			ask(rs, 3, sluice_ruleset_ports(rs)[i].hi);
		}
		for (i = 0; i + 8 <= size && i < 64; i += 8) {
			uint32_t class, key;

			memcpy(&class, data + i, 4);
			memcpy(&key, data + i + 4, 4);
			ask(rs, class, key);
		}
	}
	free(rs);
	return 0;
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static size_t fresh(uint8_t *data, size_t max_size, uint32_t seed)
{
	struct blob_rules rules = { .n = next_random(&seed) % 140 };
	struct sluice_ruleset *rs;
	size_t size = 0;
	uint32_t i;

	rules.rules = calloc(rules.n + 1, sizeof(*rules.rules));
	for (i = 0; i < rules.n; i++) {
		struct blob_rule *r = &rules.rules[i];

		r->id = i + 1;
		r->action = next_random(&seed) % SLUICE_ACTION_COUNT;
		r->tier = i * SLUICE_TIERS / rules.n;
		r->enforced = next_random(&seed) % 4;
		r->staged = next_random(&seed) % 4;
		r->any_class = !(next_random(&seed) % 4);
		r->n_classes = 1;
		r->classes[0] = next_random(&seed) % 8;
		r->any_port = !(next_random(&seed) % 4);
		r->n_ranges = !r->any_port;
		r->ranges[0].lo = 6 << 16 | next_random(&seed) % 100;
		r->ranges[0].hi = r->ranges[0].lo + next_random(&seed) % 100;
	}
	rs = blob_build(&rules);
	if (rs->size <= max_size) {
		size = rs->size;
		memcpy(data, rs, size);
	}
	free(rs);
	free(rules.rules);
	return size;
}

/* Makes true again what follows from other fields; what is wrong then is worth looking at. */
static void repair(uint8_t *data, size_t size)
{
	struct sluice_ruleset rs;
	uint64_t i, at, v, sum, keep;
	uint32_t w;

	memcpy(&rs, data, sizeof(rs));
	rs.magic = SLUICE_RULESET_MAGIC;
	rs.size = (uint32_t)size;
	rs.nrules %= 200;
	rs.nwords = (rs.nrules + 63) / 64;
	rs.nsummary = (rs.nwords + 63) / 64;
	rs.default_action &= 1;
	rs.flags &= SLUICE_RULESET_HAS_STAGED;
	rs.pad = 0;
	memcpy(data, &rs, sizeof(rs));
	if (!rs.nrules || rs.off_masks + SLUICE_MASKS * rs.nwords * 8ULL > size ||
	    rs.off_rows + rs.nrows * 4ULL > size)
		return;
	keep = rs.nrules % 64 ? (1ULL << (rs.nrules % 64)) - 1 : ~0ULL;
	for (i = 0; i < SLUICE_MASKS; i++) {
		at = rs.off_masks + ((i + 1) * rs.nwords - 1) * 8;
		memcpy(&v, data + at, 8);
		v &= keep;
		memcpy(data + at, &v, 8);
	}
	/* At most 4 words of rules, so one of summary. */
	for (i = 0; i < rs.nrows; i++) {
		uint32_t row, stored = 0;

		memcpy(&row, data + rs.off_rows + i * 4, 4);
		if (size < 40 || row > size - 40)
			continue;
		memcpy(&sum, data + row, 8);
		sum &= (1ULL << rs.nwords) - 1;
		memcpy(data + row, &sum, 8);
		for (w = 0; w < rs.nwords; w++) {
			if (!(sum >> w & 1))
				continue;
			at = row + 8 + stored++ * 8;
			memcpy(&v, data + at, 8);
			if (w == rs.nwords - 1)
				v &= keep;
			v |= !v;
			memcpy(data + at, &v, 8);
		}
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	if (size < sizeof(struct sluice_ruleset))
		size = fresh(data, max_size, seed);
	size = LLVMFuzzerMutate(data, size, max_size);
	if (size >= sizeof(struct sluice_ruleset) && seed % 8)
		repair(data, size);
	return size;
}
