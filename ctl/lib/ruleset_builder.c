// SPDX-License-Identifier: GPL-2.0-only
/*
 * Theory of operation
 * -------------------
 * Classes: all (class, rule) pairs are sorted by class; each run of one class gives its row, on top
 * of the bits of the rules that match any class. Cost: pairs * log(pairs) + classes * words.
 *
 * Ports: each range of each rule opens at lo and closes behind hi. The points are sorted, and one
 * sweep over them keeps the row of the rules that are open now; between two points the row is the
 * same for all keys. Ranges of one rule may overlap, so each rule counts how often it is open.
 * Example: rule 0 TCP 80, rule 1 TCP 80-90. Points 80 (+0 +1), 81 (-0), 91 (-1). Rows: 80 11b,
 * 81-90 10b.
 *
 * Rows are interned: equal ones stand once. Each is packed (summary, then the words that are not 0)
 * behind the last one; if one like it stands already, what was packed is dropped again.
 */
#include "ctl/lib/ruleset_builder.h"

#include "ctl/lib/alloc.h"
#include "ctl/lib/selector.h"

struct pair {
	uint32_t class;
	uint32_t rule;
};

struct point {
	uint32_t key;
	uint32_t rule;
	int32_t step; /* +1 opens, -1 closes */
};

struct builder {
	const struct sluice_build_rule *rules;
	size_t n;
	uint32_t nwords, nsummary;
	uint64_t *words; /* the packed rows, one behind the other */
	size_t n_words, cap_words;
	size_t *starts; /* of each row in words, and of what follows the last one */
	uint64_t *hashes; /* of each row */
	size_t n_rows, cap_rows;
	uint32_t *interned; /* index of a row plus one, 0: free; by its hash */
	size_t n_interned; /* 0 or a power of two */
	struct sluice_class_row *classes;
	size_t n_classes;
	struct sluice_port_row *ports;
	size_t n_ports, cap_ports;
};

static void set_bit(uint64_t *words, uint32_t bit)
{
	words[bit >> 6] |= 1ULL << (bit & 63);
}

static void clear_bit(uint64_t *words, uint32_t bit)
{
	words[bit >> 6] &= ~(1ULL << (bit & 63));
}

static size_t row_bytes(const struct builder *b, size_t row)
{
	return (b->starts[row + 1] - b->starts[row]) * sizeof(*b->words);
}

/* Where the row that was packed last stands in the table, or would. */
static uint32_t *find_row(const struct builder *b)
{
	uint64_t hash = b->hashes[b->n_rows];
	size_t i = hash & (b->n_interned - 1);

	for (; b->interned[i]; i = (i + 1) & (b->n_interned - 1)) {
		uint32_t row = b->interned[i] - 1;

		if (b->hashes[row] == hash && row_bytes(b, row) == row_bytes(b, b->n_rows) &&
		    !memcmp(b->words + b->starts[row], b->words + b->starts[b->n_rows],
			    row_bytes(b, row)))
			break;
	}
	return &b->interned[i];
}

/* More than "most": a ruleset without rules has rows without words, which stand somewhere too. */
static void grow_words(struct builder *b, size_t most)
{
	while (b->cap_words <= most)
		b->cap_words = b->cap_words * 2 + 256;
	b->words = sluice_realloc(b->words, b->cap_words, sizeof(*b->words));
}

static void grow_rows(struct builder *b)
{
	size_t i, k;

	b->cap_rows = b->cap_rows * 2 + 8;
	b->starts = sluice_realloc(b->starts, b->cap_rows + 1, sizeof(*b->starts));
	b->hashes = sluice_realloc(b->hashes, b->cap_rows, sizeof(*b->hashes));
	free(b->interned);
	for (b->n_interned = 16; b->n_interned < 2 * b->cap_rows; b->n_interned *= 2)
		;
	b->interned = sluice_zalloc(b->n_interned * sizeof(*b->interned));
	for (i = 0; i < b->n_rows; i++) {
		k = b->hashes[i] & (b->n_interned - 1);
		while (b->interned[k])
			k = (k + 1) & (b->n_interned - 1);
		b->interned[k] = i + 1;
	}
}

/* Behind the last row, which is where starts[n_rows] points; not counted yet. */
static void pack_row(struct builder *b, const uint64_t *dense)
{
	uint64_t *row;
	size_t n = b->nsummary, most = b->n_words + b->nsummary + b->nwords;
	uint32_t w;

	if (most >= b->cap_words)
		grow_words(b, most);
	if (b->n_rows == b->cap_rows)
		grow_rows(b);
	row = b->words + b->n_words;
	memset(row, 0, b->nsummary * sizeof(*row));
	for (w = 0; w < b->nwords; w++) {
		if (dense[w]) {
			set_bit(row, w);
			row[n++] = dense[w];
		}
	}
	b->starts[b->n_rows] = b->n_words;
	b->starts[b->n_rows + 1] = b->n_words + n;
	b->hashes[b->n_rows] = sluice_hash_bytes(0, row, n * sizeof(*row));
}

/* Keeps what was packed last as a row. */
static uint32_t keep_row(struct builder *b)
{
	b->n_words = b->starts[b->n_rows + 1];
	return b->n_rows++;
}

static uint32_t intern_row(struct builder *b, const uint64_t *dense)
{
	uint32_t *place;

	pack_row(b, dense);
	place = find_row(b);
	if (!*place)
		*place = keep_row(b) + 1;
	return *place - 1;
}

/* Always a row of its own: the first ones have fixed places. */
static void fixed_row(struct builder *b, const uint64_t *dense)
{
	uint32_t *place;

	pack_row(b, dense);
	place = find_row(b);
	if (!*place)
		*place = b->n_rows + 1;
	keep_row(b);
}

static int compare_pairs(const void *x, const void *y)
{
	const struct pair *a = x, *b = y;

	if (a->class != b->class)
		return a->class < b->class ? -1 : 1;
	return a->rule < b->rule ? -1 : a->rule > b->rule;
}

static void build_classes(struct builder *b, const uint64_t *any, uint64_t *scratch)
{
	struct pair *pairs;
	size_t n = 0, i, k;

	for (i = 0; i < b->n; i++)
		n += b->rules[i].any_class ? 0 : b->rules[i].n_classes;
	pairs = sluice_zalloc(n * sizeof(*pairs));
	b->classes = sluice_zalloc(n * sizeof(*b->classes));
	for (i = 0, n = 0; i < b->n; i++) {
		if (b->rules[i].any_class)
			continue;
		for (k = 0; k < b->rules[i].n_classes; k++)
			pairs[n++] = (struct pair){ b->rules[i].classes[k], i };
	}
	qsort(pairs, n, sizeof(*pairs), compare_pairs);
	for (i = 0; i < n;) {
		uint32_t class = pairs[i].class;

		memcpy(scratch, any, b->nwords * sizeof(*any));
		for (; i < n && pairs[i].class == class; i++)
			set_bit(scratch, pairs[i].rule);
		b->classes[b->n_classes].class = class;
		b->classes[b->n_classes++].row = intern_row(b, scratch);
	}
	free(pairs);
}

static int compare_points(const void *x, const void *y)
{
	const struct point *a = x, *b = y;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->rule < b->rule ? -1 : a->rule > b->rule;
}

static void add_port_row(struct builder *b, uint32_t lo, uint32_t hi, uint32_t row)
{
	struct sluice_port_row *last = b->n_ports ? &b->ports[b->n_ports - 1] : NULL;

	if (last && last->row == row && last->hi + 1 == lo) {
		last->hi = hi;
		return;
	}
	sluice_grow(b->ports, b->n_ports, b->cap_ports);
	b->ports[b->n_ports++] = (struct sluice_port_row){ lo, hi, row, 0 };
}

static void build_ports(struct builder *b, const uint64_t *any, uint64_t *scratch)
{
	int32_t *open = sluice_zalloc(b->n * sizeof(*open));
	size_t n = 0, i, k, active = 0;
	struct point *points;

	for (i = 0; i < b->n; i++)
		n += b->rules[i].any_port ? 0 : 2 * b->rules[i].n_ports;
	points = sluice_zalloc(n * sizeof(*points));
	for (i = 0, n = 0; i < b->n; i++) {
		if (b->rules[i].any_port)
			continue;
		for (k = 0; k < b->rules[i].n_ports; k++) {
			const struct sluice_port_range *r = &b->rules[i].ports[k];

			points[n++] = (struct point){ r->lo, i, 1 };
			points[n++] = (struct point){ r->hi + 1, i, -1 };
		}
	}
	qsort(points, n, sizeof(*points), compare_points);
	memcpy(scratch, any, b->nwords * sizeof(*any));
	for (i = 0; i < n;) {
		uint32_t key = points[i].key;

		for (; i < n && points[i].key == key; i++) {
			uint32_t rule = points[i].rule;
			bool was = open[rule];

			open[rule] += points[i].step;
			if (was == !!open[rule])
				continue;
			if (open[rule]) {
				set_bit(scratch, rule);
				active++;
			} else {
				clear_bit(scratch, rule);
				active--;
			}
		}
		if (active)
			add_port_row(b, key, points[i].key - 1, intern_row(b, scratch));
	}
	free(points);
	free(open);
}

static uint32_t align8(uint64_t n)
{
	return (n + 7) & ~7ULL;
}

/* masks: enforced and staged, as they stand in the blob. */
static struct sluice_ruleset *assemble(const struct builder *b, const uint64_t *masks,
				       uint8_t default_action, bool staged, struct sluice_err *err)
{
	uint64_t rules = sizeof(struct sluice_ruleset);
	uint64_t mask = align8(rules + b->n * sizeof(struct sluice_rule));
	uint64_t classes = mask + SLUICE_MASKS * b->nwords * sizeof(*masks);
	uint64_t ports = align8(classes + b->n_classes * sizeof(*b->classes));
	uint64_t rows = align8(ports + b->n_ports * sizeof(*b->ports));
	uint64_t words = align8(rows + b->n_rows * sizeof(uint32_t));
	uint64_t size = words + b->n_words * sizeof(*b->words);
	struct sluice_ruleset *rs;
	struct sluice_rule *r;
	uint32_t *row;
	size_t i;
	int tier;

	if (b->n_classes > SLUICE_MAX_CLASSES || b->n_ports > SLUICE_MAX_PORT_RANGES ||
	    b->n_rows > SLUICE_MAX_ROWS || size > SLUICE_MAX_RULESET_BYTES) {
		sluice_err_set(err, E2BIG,
			       "%zu rules, %zu peer classes and %zu port ranges take %llu MiB",
			       b->n, b->n_classes, b->n_ports, (unsigned long long)size >> 20);
		return NULL;
	}
	rs = sluice_zalloc(size);
	*rs = (struct sluice_ruleset){
		.magic = SLUICE_RULESET_MAGIC,
		.size = size,
		.nrules = b->n,
		.nwords = b->nwords,
		.nsummary = b->nsummary,
		.nclasses = b->n_classes,
		.nports = b->n_ports,
		.nrows = b->n_rows,
		.off_rules = rules,
		.off_masks = mask,
		.off_classes = classes,
		.off_ports = ports,
		.off_rows = rows,
		.default_action = default_action,
		.flags = staged ? SLUICE_RULESET_HAS_STAGED : 0,
	};
	r = (struct sluice_rule *)((char *)rs + rules);
	for (i = 0; i < b->n; i++) {
		r[i] = (struct sluice_rule){ b->rules[i].id, b->rules[i].action, b->rules[i].tier,
					     b->rules[i].flags, 0 };
		for (tier = b->rules[i].tier; tier < SLUICE_TIERS; tier++)
			rs->tiers[tier] = i + 1;
	}
	if (b->nwords)
		memcpy((char *)rs + mask, masks, SLUICE_MASKS * b->nwords * sizeof(*masks));
	if (b->n_classes)
		memcpy((char *)rs + classes, b->classes, b->n_classes * sizeof(*b->classes));
	if (b->n_ports)
		memcpy((char *)rs + ports, b->ports, b->n_ports * sizeof(*b->ports));
	row = (uint32_t *)((char *)rs + rows);
	for (i = 0; i < b->n_rows; i++)
		row[i] = words + b->starts[i] * sizeof(*b->words);
	if (b->n_words)
		memcpy((char *)rs + words, b->words, b->n_words * sizeof(*b->words));
	return rs;
}

int sluice_ruleset_build(const struct sluice_build_rule *rules, size_t n, uint8_t default_action,
			 struct sluice_ruleset **out, struct sluice_err *err)
{
	struct builder b = { .rules = rules, .n = n };
	uint64_t *any_class, *any_port, *enforced, *staged, *scratch;
	bool has_staged = false;
	size_t i;

	*out = NULL;
	if (n > SLUICE_MAX_RULES)
		return sluice_err_set(err, E2BIG, "%zu rules are more than %u", n,
				      SLUICE_MAX_RULES);
	b.nwords = (n + 63) / 64;
	b.nsummary = (b.nwords + 63) / 64;
	any_class = sluice_zalloc(5 * b.nwords * sizeof(uint64_t));
	any_port = any_class + b.nwords;
	enforced = any_port + b.nwords;
	staged = enforced + b.nwords;
	scratch = staged + b.nwords;
	for (i = 0; i < n; i++) {
		if (rules[i].any_class)
			set_bit(any_class, i);
		if (rules[i].any_port)
			set_bit(any_port, i);
		if (rules[i].flags & SLUICE_RULE_STAGED)
			has_staged = true;
		else
			set_bit(enforced, i);
		set_bit(staged, i);
	}
	fixed_row(&b, any_class);
	fixed_row(&b, any_port);
	build_classes(&b, any_class, scratch);
	build_ports(&b, any_port, scratch);
	/* enforced and staged stand one behind the other. */
	*out = assemble(&b, enforced, default_action, has_staged, err);
	free(b.interned);
	free(any_class);
	free(b.hashes);
	free(b.words);
	free(b.starts);
	free(b.classes);
	free(b.ports);
	return *out ? 0 : -E2BIG;
}
