// SPDX-License-Identifier: GPL-2.0-only
/* core/ruleset.h: classification against a linear rule walk, validation against corruption. */
#include <arpa/inet.h>

#include "ruleset_blob.h"
#include "tap.h"

static const uint8_t protos[] = { 1, 6, 17, 58, 132, 50 };

/* A key with the edges of the range likely: 0, 65535, and few ports so that ranges overlap. */
static uint32_t random_key(void)
{
	uint32_t proto = protos[tap_below(sizeof(protos))], port;

	switch (tap_below(4)) {
	case 0:
		port = tap_one_in(2) ? 0 : 65535;
		break;
	case 1:
		port = tap_below(65536);
		break;
	default:
		port = 80 + tap_below(8);
	}
	return proto << 16 | port;
}

/* Most of the classes that are asked for are named by some rule, some by none. */
static uint32_t random_class(uint32_t n_classes)
{
	return tap_one_in(16) ? (uint32_t)tap_random() : tap_below(n_classes + 2) * 3;
}

static void random_rule(struct blob_rule *r, uint32_t id, uint8_t tier, uint32_t n_classes,
			uint32_t log_one_in)
{
	uint32_t i;

	memset(r, 0, sizeof(*r));
	r->id = id;
	r->tier = tier;
	r->action = tap_one_in(3) ? SLUICE_ACTION_DENY : SLUICE_ACTION_ALLOW;
	if (tap_one_in(log_one_in))
		r->action = SLUICE_ACTION_LOG;
	else if (tap_one_in(log_one_in))
		r->action = SLUICE_ACTION_PASS;
	if (tap_one_in(8))
		r->flags |= SLUICE_RULE_DEFAULT;
	r->enforced = !tap_one_in(8);
	r->staged = tap_one_in(8) ? !r->enforced : r->enforced;
	if (!r->enforced)
		r->flags |= SLUICE_RULE_STAGED;
	r->any_class = tap_one_in(6);
	r->n_classes = tap_below(BLOB_MAX_CLASSES + 1);
	for (i = 0; i < r->n_classes; i++)
		r->classes[i] = random_class(n_classes);
	r->any_port = tap_one_in(4);
	r->n_ranges = r->any_port ? 0 : tap_below(BLOB_MAX_RANGES + 1);
	for (i = 0; i < r->n_ranges; i++) {
		uint32_t a = random_key(), b = random_key();

		if ((a >> 16) != (b >> 16))
			b = a; /* one port of its protocol */
		r->ranges[i].lo = a < b ? a : b;
		r->ranges[i].hi = a < b ? b : a;
	}
}

static void random_rules(struct blob_rules *rs, uint32_t n, uint32_t n_classes, uint32_t log_one_in)
{
	uint32_t i, tier = 0;

	rs->n = n;
	rs->rules = calloc(n + 1, sizeof(*rs->rules));
	rs->default_action = tap_one_in(2) ? SLUICE_ACTION_ALLOW : SLUICE_ACTION_DENY;
	for (i = 0; i < n; i++) {
		while (tier + 1 < SLUICE_TIERS && tap_one_in(n / SLUICE_TIERS + 1))
			tier++;
		random_rule(&rs->rules[i], i + 1000, tier, n_classes, log_one_in);
	}
}

static bool same_match(const struct sluice_match *a, const struct sluice_match *b)
{
	return a->rule == b->rule && a->log == b->log && a->rule_id == b->rule_id &&
	       a->action == b->action && a->reason == b->reason;
}

static void compare(const struct blob_rules *rules, const struct sluice_ruleset *blob,
		    uint32_t class, uint8_t proto, uint16_t port)
{
	struct sluice_match want, got, got_staged;

	memset(&got, 0xaa, sizeof(got));
	memset(&got_staged, 0xaa, sizeof(got_staged));
	sluice_ruleset_classify(blob, class, sluice_port_key(proto, port), &got, &got_staged);

	blob_oracle(rules, class, proto, port, false, &want);
	check(same_match(&got, &want),
	      "%u rules, class %u, proto %u, port %u: rule %d action %u reason %u log %d, "
	      "expected rule %d action %u reason %u log %d",
	      rules->n, class, proto, port, (int)got.rule, got.action, got.reason, (int)got.log,
	      (int)want.rule, want.action, want.reason, (int)want.log);
	blob_oracle(rules, class, proto, port, true, &want);
	check(same_match(&got_staged, &want),
	      "%u rules, class %u, proto %u, port %u: staged rule %d action %u, expected %d %u",
	      rules->n, class, proto, port, (int)got_staged.rule, got_staged.action, (int)want.rule,
	      want.action);

	sluice_ruleset_classify(blob, class, sluice_port_key(proto, port), &got_staged, NULL);
	check(same_match(&got, &got_staged), "asking for no staged verdict changes the other");
}

static void test_random(uint32_t n, uint32_t n_classes, uint32_t log_one_in, uint32_t rounds,
			uint32_t probes)
{
	const char *wrong;
	uint32_t i, j;

	for (i = 0; i < rounds; i++) {
		uint32_t size = n > 200 ? n : tap_below(n + 1);
		struct sluice_ruleset *blob;
		struct blob_rules rules;

		random_rules(&rules, size, n_classes, log_one_in);
		blob = blob_build(&rules);
		wrong = sluice_ruleset_validate(blob, blob->size);
		check(!wrong, "a good blob of %u rules is refused: %s", size, wrong);
		for (j = 0; j < probes; j++) {
			uint32_t key = random_key();

			compare(&rules, blob, random_class(n_classes), key >> 16, key & 0xffff);
		}
		free(blob);
		free(rules.rules);
	}
	ok_checks("classify equals a rule walk: %u rules, %u classes", n, n_classes);
}

/* Rules that match nobody fill whole words and summary words before, between and behind. */
static void test_sparse(void)
{
	static const uint32_t places[] = { 0,	 1,	63,    64,    65,    4095,  4096,  4097,
					   8191, 12499, 32767, 61439, 61440, 65471, 65534, 65535 };
	const uint32_t n_places = sizeof(places) / sizeof(places[0]);
	struct blob_rules rules = { .n = SLUICE_MAX_RULES, .default_action = SLUICE_ACTION_DENY };
	struct sluice_ruleset *blob;
	const char *wrong;
	uint32_t i;

	rules.rules = calloc(rules.n, sizeof(*rules.rules));
	for (i = 0; i < rules.n; i++) {
		rules.rules[i].id = i + 1;
		rules.rules[i].enforced = rules.rules[i].staged = true;
	}
	for (i = 0; i < n_places; i++) {
		struct blob_rule *r = &rules.rules[places[i]];

		r->n_classes = 1;
		r->classes[0] = i + 1;
		r->any_port = true;
	}
	/* Class 100 is logged by every one of them but the last, which allows it. */
	for (i = 0; i < n_places; i++) {
		struct blob_rule *r = &rules.rules[places[i]];

		r->classes[r->n_classes++] = 100;
		r->action = i + 1 < n_places ? SLUICE_ACTION_LOG : SLUICE_ACTION_ALLOW;
	}
	/* Classes 101 to 150 jump between a few random ones, which log or decide. */
	for (i = 0; i < 50 * 4; i++) {
		struct blob_rule *r = &rules.rules[tap_below(rules.n)];

		if (r->n_classes)
			continue;
		r->any_port = true;
		r->n_classes = 1;
		r->classes[0] = 101 + i % 50;
		r->action = tap_one_in(3) ? SLUICE_ACTION_DENY : SLUICE_ACTION_LOG;
	}
	blob = blob_build(&rules);
	wrong = sluice_ruleset_validate(blob, blob->size);
	ok(!wrong, "65,536 rules are valid");
	is_u64(blob->nsummary, SLUICE_MAX_SUMMARY, "and have 16 words of summary");
	for (i = 0; i <= n_places + 1; i++)
		compare(&rules, blob, i, 6, 80);
	for (i = 100; i <= 150; i++)
		compare(&rules, blob, i, 6, 80);
	ok_checks("a lone rule is found in its word, first, last and in between");
	free(blob);

	/* The same places, now deciding. */
	for (i = 0; i < n_places; i++)
		rules.rules[places[i]].action = SLUICE_ACTION_ALLOW;
	blob = blob_build(&rules);
	for (i = 0; i <= n_places + 1; i++)
		compare(&rules, blob, i, 6, 80);
	compare(&rules, blob, 100, 6, 80);
	ok_checks("and decides from there");
	free(blob);
	free(rules.rules);
}

/* The worked example in core/ruleset.h, word by word. */
static void test_worked_example(void)
{
	struct blob_rule r[3] = {
		{ .id = 1,
		  .action = SLUICE_ACTION_ALLOW,
		  .tier = 1,
		  .enforced = true,
		  .staged = true,
		  .n_classes = 1,
		  .classes = { 5 },
		  .n_ranges = 1,
		  .ranges = { { 6 << 16 | 80, 6 << 16 | 80 } } },
		{ .id = 2,
		  .action = SLUICE_ACTION_ALLOW,
		  .tier = 1,
		  .enforced = true,
		  .staged = true,
		  .n_classes = 2,
		  .classes = { 5, 6 },
		  .any_port = true },
		{ .id = 3,
		  .action = SLUICE_ACTION_DENY,
		  .tier = 1,
		  .enforced = true,
		  .staged = true,
		  .any_class = true,
		  .any_port = true },
	};
	struct blob_rules rules = { .n = 3, .rules = r };
	struct sluice_ruleset *blob = blob_build(&rules);
	struct sluice_match m;

	ok(!sluice_ruleset_validate(blob, blob->size), "the worked example is valid");
	sluice_ruleset_classify(blob, 6, sluice_port_key(6, 80), &m, NULL);
	is_u64(m.rule, 1, "class 6 to TCP 80: rule 1");
	is_u64(m.action, SLUICE_ACTION_ALLOW, "allows");
	is_u64(m.reason, SLUICE_REASON_POLICY_ALLOW, "because a policy does");
	is_u64(m.rule_id, 2, "and the rule has its id");
	sluice_ruleset_classify(blob, 9, sluice_port_key(6, 80), &m, NULL);
	is_u64(m.rule, 2, "class 9 to TCP 80: rule 2");
	is_u64(m.reason, SLUICE_REASON_POLICY_DENY, "denies");
	sluice_ruleset_classify(blob, 5, sluice_port_key(17, 53), &m, NULL);
	is_u64(m.rule, 1, "class 5 to UDP 53: rule 1");
	sluice_ruleset_classify(blob, 5, sluice_port_key(6, 80), &m, NULL);
	is_u64(m.rule, 0, "class 5 to TCP 80: rule 0");
	free(blob);
}

static void test_tiers(void)
{
	struct blob_rule r[4] = {
		{ .id = 1,
		  .action = SLUICE_ACTION_PASS,
		  .tier = SLUICE_TIER_ADMIN,
		  .n_classes = 1,
		  .classes = { 1 } },
		{ .id = 2,
		  .action = SLUICE_ACTION_DENY,
		  .tier = SLUICE_TIER_ADMIN,
		  .any_class = true },
		{ .id = 3,
		  .action = SLUICE_ACTION_LOG,
		  .tier = SLUICE_TIER_POLICY,
		  .any_class = true },
		{ .id = 4,
		  .action = SLUICE_ACTION_DENY,
		  .tier = SLUICE_TIER_BASELINE,
		  .n_classes = 1,
		  .classes = { 1 },
		  .flags = SLUICE_RULE_DEFAULT },
	};
	struct blob_rules rules = { .n = 4, .rules = r, .default_action = SLUICE_ACTION_ALLOW };
	struct sluice_ruleset *blob;
	struct sluice_match e, s;
	uint32_t i;

	for (i = 0; i < 4; i++)
		r[i].any_port = r[i].enforced = r[i].staged = true;
	r[3].enforced = false;
	r[3].flags |= SLUICE_RULE_STAGED;
	blob = blob_build(&rules);
	ok(!sluice_ruleset_validate(blob, blob->size), "rules of three tiers are valid");
	sluice_ruleset_classify(blob, 2, sluice_port_key(6, 80), &e, &s);
	is_u64(e.rule_id, 2, "without pass, the admin tier denies");
	sluice_ruleset_classify(blob, 1, sluice_port_key(6, 80), &e, &s);
	is_u64(e.rule, SLUICE_NO_RULE, "pass skips the rest of its tier");
	is_u64(e.log, 2, "log is noted and does not decide");
	is_u64(e.action, SLUICE_ACTION_ALLOW, "then the default action does");
	is_u64(e.reason, SLUICE_REASON_NO_POLICY, "with its reason");
	is_u64(s.rule_id, 4, "a staged rule decides in the staged verdict alone");
	is_u64(s.reason, SLUICE_REASON_DEFAULT_DENY, "the closing deny has a reason of its own");
	free(blob);
}

/* Where a packet meets more than 64 rules that do not decide, the walk ends closed. */
static void test_log_limit(void)
{
	struct blob_rules rules = { .default_action = SLUICE_ACTION_ALLOW };
	struct sluice_ruleset *blob;
	uint32_t i;

	rules.rules = calloc(100, sizeof(*rules.rules));
	for (i = 0; i < 100; i++)
		rules.rules[i] = (struct blob_rule){ .id = i + 1,
						     .action = SLUICE_ACTION_LOG,
						     .enforced = true,
						     .staged = true,
						     .any_class = true,
						     .any_port = true };
	for (rules.n = 60; rules.n < 70; rules.n++) {
		blob = blob_build(&rules);
		compare(&rules, blob, 1, 6, 80);
		free(blob);
	}
	ok_checks("60 to 69 log rules: beyond 63 on one packet's way it is denied");
	free(rules.rules);
}

/* One rule a type and code; the neighbours of each key stay out. */
static void test_icmp(void)
{
	struct blob_rules rules = { .n = 3, .default_action = SLUICE_ACTION_DENY };
	struct sluice_ruleset *blob;
	uint32_t port;

	is_u64(sluice_port_key(58, 0x8001), 58 << 16 | 0x8001, "an ICMP key holds type and code");
	rules.rules = calloc(3, sizeof(*rules.rules));
	rules.rules[0] = (struct blob_rule){ .id = 1,
					     .any_class = true,
					     .n_ranges = 1,
					     .ranges = { { sluice_port_key(1, 8 << 8),
							   sluice_port_key(1, 8 << 8 | 255) } } };
	rules.rules[1] = (struct blob_rule){ .id = 2,
					     .any_class = true,
					     .n_ranges = 1,
					     .ranges = { { sluice_port_key(1, 3 << 8 | 4),
							   sluice_port_key(1, 3 << 8 | 4) } } };
	rules.rules[2] = (struct blob_rule){ .id = 3,
					     .any_class = true,
					     .n_ranges = 1,
					     .ranges = { { sluice_port_key(58, 0),
							   sluice_port_key(58, 65535) } } };
	for (port = 0; port < 3; port++)
		rules.rules[port].enforced = rules.rules[port].staged = true;
	blob = blob_build(&rules);
	for (port = 0; port < 65536; port += 1 + tap_below(3)) {
		compare(&rules, blob, 1, 1, port);
		compare(&rules, blob, 1, 58, port);
		compare(&rules, blob, 1, 6, port);
	}
	ok_checks("ICMP types and codes are matched as ports");
	free(blob);
	free(rules.rules);
}

/* --- validation ------------------------------------------------------------------------------ */

static struct sluice_ruleset *sample(uint32_t n)
{
	struct blob_rules rules;
	struct sluice_ruleset *blob;

	do {
		random_rules(&rules, n, 12, 6);
		rules.rules[n - 1].tier = SLUICE_TIER_LAST;
		blob = blob_build(&rules);
		free(rules.rules);
		if (blob->nclasses > 3 && blob->nports > 3)
			return blob;
		free(blob);
	} while (1);
}

#define SECTION(rs, off, type) ((type *)((char *)(rs) + (rs)->off))
#define RULES(rs) SECTION(rs, off_rules, struct sluice_rule)
#define CLASSES(rs) SECTION(rs, off_classes, struct sluice_class_row)
#define PORTS(rs) SECTION(rs, off_ports, struct sluice_port_row)
#define MASK(rs, which) (SECTION(rs, off_masks, uint64_t) + (rs)->nwords * (which))
#define ROWS(rs) SECTION(rs, off_rows, uint32_t)
#define ROW(rs, row) ((uint64_t *)((char *)(rs) + ROWS(rs)[row]))

#define SIZE "ruleset size does not match its header"
#define MAGIC "ruleset layout is not the one this build understands"
#define COUNTS "ruleset counts are over their limits"
#define WORDS "ruleset word counts do not follow from its rules"
#define DEFAULT "ruleset default action is neither allow nor deny"
#define FLAGS "ruleset has flags or padding that are not defined"
#define OUTSIDE "ruleset section lies outside the blob"
#define ACTION "rule has an unknown action"
#define RULE_FLAGS "rule has flags or padding that are not defined"
#define TIER_ORDER "rules are not ordered by tier"
#define TIER_END "tier ends before one of its rules"
#define CLASS_ROW "class names a row that does not exist"
#define CLASS_ORDER "classes are not sorted"
#define PORT_ROW "port range names a row that does not exist"
#define PORT_ORDER "port ranges are not sorted and disjoint"
#define PORT_PAD "port range has padding that is not zero"
#define MASK_END "mask has a bit behind its last rule"
#define ROW_OUTSIDE "row lies outside the blob"
#define ROW_EMPTY "row stores a word that is empty"
#define ROW_END "row has a bit behind its last rule"

/* The last word of rules, in a row that stores it. */
static uint64_t *last_word(struct sluice_ruleset *rs)
{
	uint32_t i, w;

	for (i = 0; i < rs->nrows; i++) {
		uint64_t *row = ROW(rs, i), *word = row;

		for (w = 0; w < rs->nwords; w++)
			word += row[0] >> w & 1;
		if (row[0] >> (rs->nwords - 1) & 1)
			return word;
	}
	abort();
}

/* One statement that spoils a good blob of 200 rules, and the words that refuse it. */
#define SPOILS(X)                                                                          \
	X("one byte more", rs->size++, SIZE)                                               \
	X("one byte less", rs->size--, SIZE)                                               \
	X("no size", rs->size = 0, SIZE)                                                   \
	X("another layout", rs->magic++, MAGIC)                                            \
	X("the other byte order", rs->magic = __builtin_bswap32(rs->magic), MAGIC)         \
	X("one rule above the limit", rs->nrules = SLUICE_MAX_RULES + 1, COUNTS)           \
	X("a count of rules that wraps", rs->nrules = ~0U, COUNTS)                         \
	X("too many classes", rs->nclasses = SLUICE_MAX_CLASSES + 1, COUNTS)               \
	X("too many port ranges", rs->nports = SLUICE_MAX_PORT_RANGES + 1, COUNTS)         \
	X("too many rows", rs->nrows = SLUICE_MAX_ROWS + 1, COUNTS)                        \
	X("less rows than the fixed ones", rs->nrows = 1, COUNTS)                          \
	X("one word more", rs->nwords++, WORDS)                                            \
	X("no summary", rs->nsummary = 0, WORDS)                                           \
	X("64 rules more", rs->nrules += 64, WORDS)                                        \
	X("pass as default", rs->default_action = SLUICE_ACTION_PASS, DEFAULT)             \
	X("an unknown flag", rs->flags |= 2, FLAGS)                                        \
	X("header padding", rs->pad = 1, FLAGS)                                            \
	X("rules inside the header", rs->off_rules = 48, OUTSIDE)                          \
	X("rules off alignment", rs->off_rules += 4, OUTSIDE)                              \
	X("rules behind the end", rs->off_rules = (rs->size & ~7U) - 8, OUTSIDE)           \
	X("rules at an offset that wraps", rs->off_rules = ~7U, OUTSIDE)                   \
	X("masks behind the end", rs->off_masks = (rs->size & ~7U) - 56, OUTSIDE)          \
	X("masks off alignment", rs->off_masks += 4, OUTSIDE)                              \
	X("classes behind the end", rs->off_classes = rs->size & ~7U, OUTSIDE)             \
	X("more classes than bytes", rs->nclasses = SLUICE_MAX_CLASSES, OUTSIDE)           \
	X("ports behind the end", rs->off_ports = rs->size & ~7U, OUTSIDE)                 \
	X("more ports than bytes", rs->nports = SLUICE_MAX_PORT_RANGES, OUTSIDE)           \
	X("rows behind the end", rs->off_rows = rs->size & ~7U, OUTSIDE)                   \
	X("as many rows as there may be", rs->nrows = SLUICE_MAX_ROWS, OUTSIDE)            \
	X("an unknown action", RULES(rs)[7].action = SLUICE_ACTION_COUNT, ACTION)          \
	X("an unknown rule flag", RULES(rs)[7].flags |= 0x04, RULE_FLAGS)                  \
	X("rule padding", RULES(rs)[7].pad = 1, RULE_FLAGS)                                \
	X("an unknown tier", RULES(rs)[199].tier = SLUICE_TIERS, TIER_ORDER)               \
	X("a tier out of order", RULES(rs)[0].tier = SLUICE_TIER_LAST, TIER_ORDER)         \
	X("a tier that ends early", rs->tiers[3] = 199, TIER_END)                          \
	X("a tier that ends late", rs->tiers[3] = 201, TIER_END)                           \
	X("a tier that never starts", rs->tiers[RULES(rs)[0].tier] = 0, TIER_END)          \
	X("a class's row", CLASSES(rs)[1].row = rs->nrows, CLASS_ROW)                      \
	X("a class twice", CLASSES(rs)[1].class = CLASSES(rs)[0].class, CLASS_ORDER)       \
	X("a class out of order", CLASSES(rs)[0].class = ~0U, CLASS_ORDER)                 \
	X("a port range's row", PORTS(rs)[1].row = rs->nrows, PORT_ROW)                    \
	X("a range backwards", PORTS(rs)[0].lo = PORTS(rs)[0].hi + 1, PORT_ORDER)          \
	X("ranges that touch", PORTS(rs)[1].lo = PORTS(rs)[0].hi, PORT_ORDER)              \
	X("port padding", PORTS(rs)[1].pad = 1, PORT_PAD)                                  \
	X("a mask's bit behind the last rule", MASK(rs, 1)[3] |= 1ULL << 8, MASK_END)      \
	X("a row inside the header", ROWS(rs)[2] = 8, ROW_OUTSIDE)                         \
	X("a row off alignment", ROWS(rs)[2] += 4, ROW_OUTSIDE)                            \
	X("a row behind the end", ROWS(rs)[2] = rs->size, ROW_OUTSIDE)                     \
	X("a row that begins too late", ROWS(rs)[2] = rs->size - 8, ROW_OUTSIDE)           \
	X("a row of more words than there are rules", ROW(rs, 0)[0] |= 1ULL << 4, ROW_END) \
	X("a word that became empty", ROW(rs, 0)[1] = 0, ROW_EMPTY)                        \
	X("a bit behind the last rule", *last_word(rs) |= 1ULL << 8, ROW_END)

static void test_validate_names(void)
{
	struct sluice_ruleset *good = sample(200);

	is_str(sluice_ruleset_validate(good, good->size), NULL, "the sample is valid");
#define X(what, spoil, words)                                                         \
	{                                                                             \
		struct sluice_ruleset *rs = malloc(good->size);                       \
		uint32_t len = good->size;                                            \
		memcpy(rs, good, len);                                                \
		spoil;                                                                \
		is_str(sluice_ruleset_validate(rs, len), words, "refused: %s", what); \
		free(rs);                                                             \
	}
	SPOILS(X)
#undef X
	free(good);
}

static void test_validate_truncation(void)
{
	struct sluice_ruleset *good = sample(70);
	uint32_t len, exact;

	for (len = 0; len < good->size; len++) {
		/* Both the plain truncation and one whose header agrees with what is left. */
		for (exact = 0; exact < 2; exact++) {
			char *cut = malloc(len ? len : 1);

			memcpy(cut, good, len);
			if (exact && len >= 8)
				memcpy(cut + 4, &len, 4);
			check(sluice_ruleset_validate(cut, len), "%u of %u bytes are accepted", len,
			      good->size);
			free(cut);
		}
	}
	ok_checks("no beginning of a blob is a blob");
	free(good);
}

/* Runs every kind of question past a blob that validate() let through. */
static void classify_all(const struct sluice_ruleset *rs)
{
	uint32_t i;

	for (i = 0; i < 24; i++) {
		uint32_t class = i < rs->nclasses ? CLASSES(rs)[i].class : (uint32_t)tap_random();
		uint32_t key = i < rs->nports ? PORTS(rs)[i].lo : random_key();
		struct sluice_match e, s;

		sluice_ruleset_classify(rs, class, key & 0xffffff, &e, &s);
		check(e.action <= SLUICE_ACTION_DENY && s.action <= SLUICE_ACTION_DENY,
		      "the verdict is neither allow nor deny");
		check((e.rule == SLUICE_NO_RULE || e.rule < rs->nrules) &&
			      (s.rule == SLUICE_NO_RULE || s.rule < rs->nrules) &&
			      (e.log == SLUICE_NO_RULE || e.log < rs->nrules),
		      "the verdict names a rule that does not exist");
		check(e.reason < SLUICE_REASON_COUNT && e.reason != SLUICE_REASON_NONE,
		      "the verdict has no reason");
	}
}

/*
 * Random corruption: refused, or harmless. The address sanitizer sees any byte that is read
 * outside (the allocation has the blob's exact size), an alarm ends a loop without end.
 */
static void test_mutations(uint32_t rounds)
{
	static const uint32_t odd[] = { 0, 1, 2, 7, 8, 0x7fffffff, 0x80000000, 0xfffffff8, ~0U };
	uint32_t i, j, accepted = 0;

	alarm(60);
	for (i = 0; i < rounds; i++) {
		struct sluice_ruleset *rs = sample(1 + tap_below(150));
		uint32_t len = rs->size, hits = 1 + tap_below(4);

		for (j = 0; j < 30; j++) {
			struct sluice_ruleset *bad = malloc(len);
			uint32_t k;

			memcpy(bad, rs, len);
			for (k = 0; k < hits; k++) {
				uint32_t header = tap_one_in(2) ? sizeof(*bad) : len;
				uint32_t at = tap_below(header / 4) * 4;

				switch (tap_below(4)) {
				case 0:
					((uint8_t *)bad)[tap_below(len)] ^= 1U << tap_below(8);
					break;
				case 1:
					memcpy((char *)bad + at, &odd[tap_below(9)], 4);
					break;
				case 2:
					*(uint32_t *)((char *)bad + at) += tap_one_in(2) ? 8 : -8U;
					break;
				default:
					*(uint32_t *)((char *)bad + at) = tap_below(len * 2);
				}
			}
			if (!sluice_ruleset_validate(bad, len)) {
				accepted++;
				classify_all(bad);
			} else {
				check(true, "refused");
			}
			free(bad);
		}
		free(rs);
	}
	alarm(0);
	diag("%u of %u corrupted blobs were accepted", accepted, rounds * 30);
	ok_checks("a corrupted blob is refused or harmless");
	ok(accepted > 0 && accepted < rounds * 30, "and both happened");
}

int main(void)
{
	tap_seed();
	test_worked_example();
	test_tiers();
	test_log_limit();
	test_icmp();
	test_random(6, 3, 4, 400, 50);
	test_random(64, 20, 4, 60, 100);
	test_random(150, 20, 10, 60, 100);
	test_random(1000, 60, 50, 3, 300);
	test_random(5000, 100, 500, 1, 300);
	test_random(12500, 200, 2000, 1, 300);
	test_sparse();
	test_validate_names();
	test_validate_truncation();
	test_mutations(400);
	return done_testing();
}
