/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules as a test states them, the blob they become, and what they mean.
 *
 * This shares nothing with the compiler's builder: what both got wrong in the same way would have
 * to be thought of twice. The meaning is a walk over all rules, one after the other, that asks each
 * whether it matches; it knows neither bits nor rows.
 */
#ifndef SLUICE_TESTS_RULESET_BLOB_H
#define SLUICE_TESTS_RULESET_BLOB_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/ruleset.h"

#define BLOB_MAX_CLASSES 8 /* named by one rule */
#define BLOB_MAX_RANGES 4

struct blob_range {
	uint32_t lo; /* keys, inclusive */
	uint32_t hi;
};

struct blob_rule {
	uint32_t id;
	uint8_t action;
	uint8_t tier;
	uint8_t flags;
	bool enforced; /* its bits in the two masks */
	bool staged;
	bool any_class; /* the classes below are the exceptions then */
	uint32_t n_classes;
	uint32_t classes[BLOB_MAX_CLASSES];
	bool any_port; /* ranges are not looked at then */
	uint32_t n_ranges;
	struct blob_range ranges[BLOB_MAX_RANGES];
};

struct blob_rules {
	uint32_t n;
	struct blob_rule *rules; /* sorted by tier */
	uint8_t default_action;
};

static bool blob_rule_has_class(const struct blob_rule *r, uint32_t class)
{
	uint32_t i;

	for (i = 0; i < r->n_classes; i++)
		if (r->classes[i] == class)
			return !r->any_class;
	return r->any_class;
}

static bool blob_rule_has_port(const struct blob_rule *r, uint32_t key)
{
	uint32_t i;

	for (i = 0; i < r->n_ranges; i++)
		if (key >= r->ranges[i].lo && key <= r->ranges[i].hi)
			return true;
	return r->any_port;
}

/* The oracle: what core/ruleset.h says of classify(), in the most naive way. */
__attribute__((unused)) static void blob_oracle(const struct blob_rules *rs, uint32_t class,
						uint8_t proto, uint16_t port, bool staged,
						struct sluice_match *m)
{
	uint32_t key = (uint32_t)proto * 65536 + port, i, steps = 0;

	memset(m, 0, sizeof(*m));
	m->rule = SLUICE_NO_RULE;
	m->log = SLUICE_NO_RULE;
	m->action = rs->default_action;
	m->reason = rs->default_action == SLUICE_ACTION_ALLOW ? SLUICE_REASON_NO_POLICY :
								SLUICE_REASON_DEFAULT_DENY;
	for (i = 0; i < rs->n; i++) {
		const struct blob_rule *r = &rs->rules[i];

		if (staged ? !r->staged : !r->enforced)
			continue;
		if (!blob_rule_has_class(r, class) || !blob_rule_has_port(r, key))
			continue;
		switch (r->action) {
		case SLUICE_ACTION_ALLOW:
			m->action = SLUICE_ACTION_ALLOW;
			m->reason = SLUICE_REASON_POLICY_ALLOW;
			break;
		case SLUICE_ACTION_DENY:
			m->action = SLUICE_ACTION_DENY;
			m->reason = r->flags & SLUICE_RULE_DEFAULT ? SLUICE_REASON_DEFAULT_DENY :
								     SLUICE_REASON_POLICY_DENY;
			break;
		case SLUICE_ACTION_LOG:
			if (m->log == SLUICE_NO_RULE)
				m->log = i;
			break;
		case SLUICE_ACTION_PASS:
			while (i + 1 < rs->n && rs->rules[i + 1].tier == r->tier)
				i++;
			break;
		}
		if (r->action == SLUICE_ACTION_ALLOW || r->action == SLUICE_ACTION_DENY) {
			m->rule = i;
			m->rule_id = r->id;
			return;
		}
		if (++steps == 64) { /* the documented limit: fail closed */
			m->action = SLUICE_ACTION_DENY;
			m->reason = SLUICE_REASON_DEFAULT_DENY;
			return;
		}
	}
}

static int blob_compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t blob_sort_unique(uint32_t *v, uint32_t n)
{
	uint32_t i, k = 0;

	qsort(v, n, sizeof(*v), blob_compare_u32);
	for (i = 0; i < n; i++)
		if (!i || v[i] != v[k - 1])
			v[k++] = v[i];
	return k;
}

static void blob_set_bit(uint64_t *row, uint32_t bit)
{
	row[bit / 64] |= 1ULL << (bit % 64);
}

/* The row equal to row nrows, if there is one; else that row itself stays. */
static uint32_t blob_intern(const uint64_t *rows, uint32_t *nrows, uint32_t words)
{
	uint32_t i;

	for (i = 0; i < *nrows; i++)
		if (!memcmp(rows + (size_t)i * words, rows + (size_t)*nrows * words,
			    words * sizeof(*rows)))
			return i;
	return (*nrows)++;
}

/* Writes one row of nwords words as it stands in a blob; returns how many words it takes there. */
static uint32_t blob_pack(uint64_t *to, const uint64_t *row, uint32_t nwords)
{
	uint32_t nsummary = (nwords + 63) / 64, n = nsummary, w;

	memset(to, 0, nsummary * sizeof(*to));
	for (w = 0; w < nwords; w++) {
		if (!row[w])
			continue;
		to[w / 64] |= 1ULL << (w % 64);
		to[n++] = row[w];
	}
	return n;
}

/*
 * The blob of these rules; free() it. Its allocation is exactly its size, so that the address
 * sanitizer sees the first byte read behind it. Rows are interned against all earlier ones, the
 * two fixed ones included.
 */
__attribute__((unused)) static struct sluice_ruleset *blob_build(const struct blob_rules *in)
{
	uint32_t *classes = calloc((size_t)in->n * BLOB_MAX_CLASSES + 1, sizeof(*classes));
	uint32_t *edges = calloc((size_t)in->n * BLOB_MAX_RANGES * 2 + 1, sizeof(*edges));
	uint32_t nclasses = 0, nedges = 0, nports = 0, nrows = SLUICE_ROWS_FIXED;
	uint32_t nwords = (in->n + 63) / 64, nsummary = (nwords + 63) / 64;
	uint32_t i, j, size, off = sizeof(struct sluice_ruleset);
	uint64_t *rows, *masks, *packed;
	bool has_staged = false;
	size_t n_packed = 0;
	struct sluice_port_row *ports;
	struct sluice_class_row *crows;
	struct sluice_ruleset *rs;
	uint32_t *starts;

	for (i = 0; i < in->n; i++) {
		const struct blob_rule *r = &in->rules[i];

		for (j = 0; j < r->n_classes; j++)
			classes[nclasses++] = r->classes[j];
		for (j = 0; j < r->n_ranges; j++) {
			edges[nedges++] = r->ranges[j].lo;
			edges[nedges++] = r->ranges[j].hi + 1;
		}
	}
	nclasses = blob_sort_unique(classes, nclasses);
	nedges = blob_sort_unique(edges, nedges);

	rows = calloc(((size_t)SLUICE_ROWS_FIXED + nclasses + nedges + 1) * (nwords + 1),
		      sizeof(*rows));
	masks = calloc((size_t)SLUICE_MASKS * nwords + 1, sizeof(*masks));
	ports = calloc(nedges + 1, sizeof(*ports));
	crows = calloc(nclasses + 1, sizeof(*crows));
	for (i = 0; i < in->n; i++) {
		const struct blob_rule *r = &in->rules[i];

		if (r->any_class)
			blob_set_bit(rows + SLUICE_ROW_CLASS_DEFAULT * nwords, i);
		if (r->any_port)
			blob_set_bit(rows + SLUICE_ROW_PORT_DEFAULT * nwords, i);
		if (r->enforced)
			blob_set_bit(masks + SLUICE_MASK_ENFORCED * nwords, i);
		if (r->staged)
			blob_set_bit(masks + SLUICE_MASK_STAGED * nwords, i);
		has_staged |= r->enforced != r->staged;
	}
	for (j = 0; j < nclasses; j++) {
		uint64_t *row = rows + (size_t)nrows * nwords;

		memset(row, 0, nwords * sizeof(*row));
		for (i = 0; i < in->n; i++)
			if (blob_rule_has_class(&in->rules[i], classes[j]))
				blob_set_bit(row, i);
		crows[j].class = classes[j];
		crows[j].row = blob_intern(rows, &nrows, nwords);
	}
	/* Between two edges no rule changes its mind. */
	for (j = 0; j + 1 < nedges; j++) {
		uint64_t *row = rows + (size_t)nrows * nwords;
		bool covered = false;
		uint32_t k;

		memset(row, 0, nwords * sizeof(*row));
		for (i = 0; i < in->n; i++) {
			if (blob_rule_has_port(&in->rules[i], edges[j]))
				blob_set_bit(row, i);
			for (k = 0; k < in->rules[i].n_ranges; k++)
				covered |= edges[j] >= in->rules[i].ranges[k].lo &&
					   edges[j] <= in->rules[i].ranges[k].hi;
		}
		if (!covered) /* a gap: the default row is right for it */
			continue;
		ports[nports].lo = edges[j];
		ports[nports].hi = edges[j + 1] - 1;
		ports[nports++].row = blob_intern(rows, &nrows, nwords);
	}

	packed = calloc((size_t)nrows * (nwords + nsummary) + 1, sizeof(*packed));
	starts = calloc(nrows, sizeof(*starts));
	for (i = 0; i < nrows; i++) {
		starts[i] = n_packed * sizeof(*packed);
		n_packed += blob_pack(packed + n_packed, rows + (size_t)i * nwords, nwords);
	}

	size = off + (in->n + 1) * sizeof(struct sluice_rule) +
	       SLUICE_MASKS * nwords * sizeof(*masks) + nclasses * sizeof(*crows) +
	       nports * sizeof(*ports) + (nrows + nrows % 2) * sizeof(*starts) +
	       n_packed * sizeof(*packed);
	rs = malloc(size);
	memset(rs, 0, size);
	rs->magic = SLUICE_RULESET_MAGIC;
	rs->size = size;
	rs->nrules = in->n;
	rs->nwords = nwords;
	rs->nsummary = nsummary;
	rs->nclasses = nclasses;
	rs->nports = nports;
	rs->nrows = nrows;
	rs->default_action = in->default_action;
	rs->flags = has_staged ? SLUICE_RULESET_HAS_STAGED : 0;
	rs->off_rules = off;
	off += in->n * sizeof(struct sluice_rule);
	rs->off_masks = off;
	off += SLUICE_MASKS * nwords * sizeof(*masks);
	rs->off_classes = off;
	off += nclasses * sizeof(*crows);
	rs->off_ports = off;
	off += nports * sizeof(*ports);
	rs->off_rows = off;
	/* The spare rule's room stands before the words: a gap is legal, and the words end the blob. */
	off = size - n_packed * sizeof(*packed);
	for (i = 0; i < nrows; i++)
		((uint32_t *)((char *)rs + rs->off_rows))[i] = off + starts[i];

	for (i = 0; i < in->n; i++) {
		struct sluice_rule *r = (struct sluice_rule *)((char *)rs + rs->off_rules) + i;
		uint32_t t;

		r->id = in->rules[i].id;
		r->action = in->rules[i].action;
		r->tier = in->rules[i].tier;
		r->flags = in->rules[i].flags;
		for (t = r->tier; t < SLUICE_TIERS; t++)
			rs->tiers[t] = i + 1;
	}
	memcpy((char *)rs + rs->off_classes, crows, nclasses * sizeof(*crows));
	memcpy((char *)rs + rs->off_ports, ports, nports * sizeof(*ports));
	memcpy((char *)rs + rs->off_masks, masks, SLUICE_MASKS * nwords * sizeof(*masks));
	memcpy((char *)rs + off, packed, n_packed * sizeof(*packed));
	free(classes);
	free(edges);
	free(rows);
	free(masks);
	free(packed);
	free(starts);
	free(ports);
	free(crows);
	return rs;
}

#endif
