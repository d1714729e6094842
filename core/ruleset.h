/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Rulesets: policy compiled to bit vectors, and their classification.
 *
 * Theory of operation
 * -------------------
 * A ruleset is what one endpoint obeys in one direction: an ordered list of rules. A rule matches
 * a set of peer classes and a set of (protocol, port) ranges. Instead of walking the rules, two
 * rows of bits are looked up, one bit a rule: one row for the class of the peer ("which rules
 * could this peer match?") and one for the port ("which rules could this port match?"). The first
 * bit set in their AND, also ANDed with the mask of enforced rules, is the first rule that
 * matches. ICMP types take part as ports: key = type << 8 | code.
 *
 * Rows are interned: equal rows stand once. Each row begins with a summary, one bit for each 64-bit
 * word of rules that is not 0, and stores those words alone: a row that has one bit among 12,500 rules
 * is 5 words, not 200, and 12,500 such rows are 0.5 MB, not 20. Word w of a row is behind as many words
 * as the summary has bits below bit w. The masks of enforced and staged rules are full, for they are.
 *
 * Actions: allow and deny end the walk. log notes the rule and goes on. pass goes on at the first
 * rule of the next tier, tiers[rule.tier]. When no rule is left, the default action of the
 * ruleset decides.
 *
 * Staged rules take part in the mask of staged rules alone: the staged verdict is what would be
 * if they were enforced, found by the same walk with the other mask.
 *
 * Worked example: three rules, in order
 *     0  allow  class {5}     TCP 80
 *     1  allow  class {5,6}   any port
 *     2  deny   any class     any port
 * Class rows (bit 0 right): default 100, class 5 111, class 6 110. Port rows: default 110, TCP 80
 * 111. A packet from class 6 to TCP 80: 110 & 111 = 110, the first bit is 1: rule 1 allows. A
 * packet from class 9 to TCP 80: 100 & 111 = 100: rule 2 denies. A packet from class 5 to UDP
 * 53: 111 & 110 = 110: rule 1 allows.
 *
 * The blob
 * --------
 * One position-independent run of bytes, the same on the wire, in the kernel, in a BPF map and
 * in userspace; host byte order; every offset is in bytes from the start and 8-byte aligned:
 *
 *     struct sluice_ruleset   header
 *     struct sluice_rule      rules[nrules]
 *     __u64                   masks[SLUICE_MASKS][nwords]  enforced, staged
 *     struct sluice_class_row classes[nclasses]            sorted by class, no duplicates
 *     struct sluice_port_row  ports[nports]                sorted by lo, disjoint, inclusive
 *     __u32                   rows[nrows]                  where each row stands: an offset, too
 *     __u64                   words[]                      the rows: summary, then its non-zero words
 *
 * Rows 0 and 1 are fixed: default class row, default port row. The producer owns the blob until it
 * is handed over; from then on it is immutable.
 */
#ifndef SLUICE_CORE_RULESET_H
#define SLUICE_CORE_RULESET_H

#include "verdict.h"

#define SLUICE_RULESET_MAGIC 0x534c5232U /* "SLR2": the layout's version */

#define SLUICE_MAX_RULES 65536U
#define SLUICE_MAX_CLASSES 1048576U
#define SLUICE_MAX_PORT_RANGES 131072U
#define SLUICE_MAX_ROWS 1048576U
#define SLUICE_MAX_RULESET_BYTES (256U << 20)

/* Most words a row of SLUICE_MAX_RULES has, and most words of summary. */
#define SLUICE_MAX_WORDS (SLUICE_MAX_RULES / 64)
#define SLUICE_MAX_SUMMARY (SLUICE_MAX_WORDS / 64)

#define SLUICE_TIERS 4
enum sluice_tier {
	SLUICE_TIER_ADMIN, /* ClusterNetworkPolicy, tier Admin */
	SLUICE_TIER_POLICY, /* NetworkPolicy */
	SLUICE_TIER_BASELINE, /* ClusterNetworkPolicy, tier Baseline */
	SLUICE_TIER_LAST,
};

/* X(symbol, name) */
#define SLUICE_ACTIONS(X) \
	X(ALLOW, "allow") \
	X(DENY, "deny")   \
	X(PASS, "pass")   \
	X(LOG, "log")

enum sluice_action {
#define X(sym, name) SLUICE_ACTION_##sym,
	SLUICE_ACTIONS(X)
#undef X
		SLUICE_ACTION_COUNT
};

#define SLUICE_RULE_STAGED 0x01 /* takes part in the staged verdict alone */
#define SLUICE_RULE_DEFAULT 0x02 /* the closing deny of an isolated pod: reason default-deny */

#define SLUICE_ROW_CLASS_DEFAULT 0
#define SLUICE_ROW_PORT_DEFAULT 1
#define SLUICE_ROWS_FIXED 2

#define SLUICE_MASK_ENFORCED 0
#define SLUICE_MASK_STAGED 1
#define SLUICE_MASKS 2

#define SLUICE_RULESET_HAS_STAGED 0x01 /* the staged mask differs from the enforced one */

struct sluice_ruleset {
	__u32 magic;
	__u32 size; /* of the whole blob, bytes */
	__u32 nrules;
	__u32 nwords; /* (nrules + 63) / 64 */
	__u32 nsummary; /* (nwords + 63) / 64 */
	__u32 nclasses;
	__u32 nports;
	__u32 nrows;
	__u32 off_rules;
	__u32 off_masks;
	__u32 off_classes;
	__u32 off_ports;
	__u32 off_rows;
	__u8 default_action; /* SLUICE_ACTION_ALLOW or _DENY */
	__u8 flags; /* SLUICE_RULESET_* */
	__u16 pad;
	__u32 tiers[SLUICE_TIERS]; /* index of the first rule behind each tier */
};
SLUICE_ASSERT_SIZE(struct sluice_ruleset, 72);

struct sluice_rule {
	__u32 id; /* names the rule in events, /proc and trace; 0 is no rule */
	__u8 action;
	__u8 tier;
	__u8 flags; /* SLUICE_RULE_* */
	__u8 pad;
};
SLUICE_ASSERT_SIZE(struct sluice_rule, 8);

struct sluice_class_row {
	__u32 class;
	__u32 row;
};
SLUICE_ASSERT_SIZE(struct sluice_class_row, 8);

struct sluice_port_row {
	__u32 lo; /* sluice_port_key() */
	__u32 hi;
	__u32 row;
	__u32 pad;
};
SLUICE_ASSERT_SIZE(struct sluice_port_row, 16);

/* What a classification says. Both rule fields are indexes, or SLUICE_NO_RULE. */
#define SLUICE_NO_RULE 0xffffffffU
struct sluice_match {
	__u32 rule; /* the rule that decided */
	__u32 log; /* the first log rule passed on the way */
	__u32 rule_id; /* its id, or 0 */
	__u8 action; /* SLUICE_ACTION_ALLOW or _DENY */
	__u8 reason; /* enum sluice_reason */
	__u8 tier; /* of that rule; SLUICE_TIER_POLICY where none decided */
	__u8 pad;
};

/* port: host byte order; for ICMP and ICMPv6, type << 8 | code; 0 for protocols without ports. */
static __always_inline __u32 sluice_port_key(__u8 proto, __u16 port)
{
	return (__u32)proto << 16 | port;
}

/*
 * The fields below are read through the platform (env.h, "blobs"), and so is the rest of the blob: in a
 * BPF program it is in a map, and no pointer of ours can go everywhere in it.
 */
#define sluice_ruleset_u32(b, field) sluice_blob_u32(b, offsetof(struct sluice_ruleset, field))

/* Where a row stands. */
static __always_inline __u32 sluice_ruleset_row(struct sluice_blob *b, __u32 row)
{
	return sluice_blob_u32(b, sluice_ruleset_u32(b, off_rows) + row * sizeof(__u32));
}

/*
 * Binary searches without a branch that depends on the data: each step halves what is left. 20 steps
 * reach SLUICE_MAX_CLASSES. The entry found is the last one that is not behind the key.
 */
static __always_inline __u32 sluice_ruleset_class_row(struct sluice_blob *b, __u32 class)
{
	__u32 c = sluice_ruleset_u32(b, off_classes);
	__u32 n = sluice_ruleset_u32(b, nclasses), i;

	for (i = 0; i < 21 && n > 1; i++) {
		__u32 half = n >> 1, at = c + half * sizeof(struct sluice_class_row);

		c = sluice_blob_u32(b, at) <= class ? at : c;
		n -= half;
	}
	if (!n || sluice_blob_u32(b, c) != class)
		return SLUICE_ROW_CLASS_DEFAULT;
	return sluice_blob_u32(b, c + offsetof(struct sluice_class_row, row));
}

static __always_inline __u32 sluice_ruleset_port_row(struct sluice_blob *b, __u32 key)
{
	__u32 p = sluice_ruleset_u32(b, off_ports);
	__u32 n = sluice_ruleset_u32(b, nports), i;

	for (i = 0; i < 21 && n > 1; i++) {
		__u32 half = n >> 1, at = p + half * sizeof(struct sluice_port_row);

		p = sluice_blob_u32(b, at) <= key ? at : p;
		n -= half;
	}
	if (!n || sluice_blob_u32(b, p) > key ||
	    sluice_blob_u32(b, p + offsetof(struct sluice_port_row, hi)) < key)
		return SLUICE_ROW_PORT_DEFAULT;
	return sluice_blob_u32(b, p + offsetof(struct sluice_port_row, row));
}

/* Of log and pass rules on one packet's way; more are denied. */
#define SLUICE_WALK_PASSED 64

/* A step looks at one word of rules, or goes on to the next word of summary. */
#define SLUICE_WALK_STEPS (SLUICE_MAX_WORDS + SLUICE_MAX_SUMMARY + SLUICE_WALK_PASSED)

/* Where a walk over the rules stands. Offsets are in the blob. */
struct sluice_walk {
	struct sluice_blob *blob;
	__u64 a; /* this word of the two rows' summaries */
	__u64 b;
	__u64 sum; /* of both: words of rules still to look at */
	__u32 a_summary; /* where the summaries stand */
	__u32 b_summary;
	__u32 a_words; /* where the words of rules stand that a and b speak of */
	__u32 b_words;
	__u32 mask;
	__u32 s; /* index of this word of summary */
	__u32 nsummary;
	__u32 from; /* rules before this one are none of ours any more */
	__u32 passed; /* log and pass rules so far */
	__u32 log; /* the first log rule, or SLUICE_NO_RULE */
	__u32 rule; /* the one that decides, or SLUICE_NO_RULE */
	struct sluice_rule decides; /* its content */
	bool ended; /* all that there is was looked at */
};

/* Words before the one that holds "from" are none of ours. */
static __always_inline void sluice_walk_skip(struct sluice_walk *w)
{
	if (w->s <= w->from >> 12)
		w->sum &= w->s == w->from >> 12 ? ~0ULL << ((w->from >> 6) & 63) : 0;
}

static __always_inline void sluice_walk_summary(struct sluice_walk *w)
{
	w->a = sluice_blob_u64(w->blob, w->a_summary + w->s * sizeof(__u64));
	w->b = sluice_blob_u64(w->blob, w->b_summary + w->s * sizeof(__u64));
	w->sum = w->a & w->b;
	sluice_walk_skip(w);
}

/* Rule i matches. Is that all? */
static __always_inline long sluice_walk_rule(struct sluice_walk *w, __u32 i)
{
	struct sluice_blob *b = w->blob;
	__u64 content;

	content = sluice_blob_u64(b, sluice_ruleset_u32(b, off_rules) + i * sizeof(w->decides));
	memcpy(&w->decides, &content, sizeof(w->decides));
	switch (w->decides.action) {
	case SLUICE_ACTION_LOG:
		if (w->log == SLUICE_NO_RULE)
			w->log = i;
		w->from = i + 1;
		break;
	case SLUICE_ACTION_PASS:
		w->from = sluice_blob_u32(b, offsetof(struct sluice_ruleset, tiers) +
						     (w->decides.tier & (SLUICE_TIERS - 1)) *
							     sizeof(__u32));
		if (w->from <= i) { /* a validated blob never gets here; never loop */
			w->ended = true;
			return 1;
		}
		break;
	default:
		w->rule = i;
		w->ended = true;
		return 1;
	}
	sluice_add(&w->passed, 1);
	if (w->passed == SLUICE_WALK_PASSED)
		return 1;
	sluice_walk_skip(w);
	return 0;
}

sluice_step sluice_walk_step(__u32 step, void *ctx)
{
	struct sluice_walk *w = ctx;
	struct sluice_blob *b = w->blob;
	__u64 below, bits;
	__u32 word, i;

	(void)step;
	if (!w->sum) {
		if (w->s + 1 >= w->nsummary) {
			w->ended = true;
			return 1;
		}
		w->a_words += sluice_popcount64(w->a) * sizeof(__u64);
		w->b_words += sluice_popcount64(w->b) * sizeof(__u64);
		sluice_add(&w->s, 1);
		sluice_walk_summary(w);
		return 0;
	}
	below = (w->sum & -w->sum) - 1;
	word = w->s * 64 + sluice_ctz64(w->sum);
	bits = sluice_blob_u64(b, w->mask + word * sizeof(__u64)) &
	       sluice_blob_u64(b, w->a_words + sluice_popcount64(w->a & below) * sizeof(__u64)) &
	       sluice_blob_u64(b, w->b_words + sluice_popcount64(w->b & below) * sizeof(__u64));
	if (word == w->from >> 6)
		bits &= ~0ULL << (w->from & 63);
	if (!bits) {
		w->sum &= w->sum - 1;
		return 0;
	}
	i = word * 64 + sluice_ctz64(bits);
	if (i >= sluice_ruleset_u32(b, nrules)) { /* nor here */
		w->ended = true;
		return 1;
	}
	return sluice_walk_rule(w, i);
}

/* No rule decides. */
static __always_inline void sluice_match_default(struct sluice_match *m, __u8 action)
{
	m->rule = SLUICE_NO_RULE;
	m->rule_id = 0;
	m->action = action;
	m->reason = action == SLUICE_ACTION_ALLOW ? SLUICE_REASON_NO_POLICY :
						    SLUICE_REASON_DEFAULT_DENY;
	m->tier = SLUICE_TIER_POLICY;
	m->pad = 0;
}

/* The ruleset cannot be read. */
static __always_inline void sluice_match_closed(struct sluice_match *m)
{
	m->log = SLUICE_NO_RULE;
	sluice_match_default(m, SLUICE_ACTION_DENY);
}

/* One walk under one mask. crow, prow: where the rows stand. */
static __always_inline void sluice_ruleset_walk(struct sluice_blob *b, __u32 crow, __u32 prow,
						__u32 which, struct sluice_match *m)
{
	__u32 nsummary = sluice_ruleset_u32(b, nsummary);
	struct sluice_walk w;

	w.blob = b;
	w.a_summary = crow;
	w.b_summary = prow;
	w.a_words = crow + nsummary * sizeof(__u64);
	w.b_words = prow + nsummary * sizeof(__u64);
	w.mask = sluice_ruleset_u32(b, off_masks) +
		 which * sluice_ruleset_u32(b, nwords) * sizeof(__u64);
	w.nsummary = nsummary;
	w.s = 0;
	w.from = 0;
	w.passed = 0;
	w.log = SLUICE_NO_RULE;
	w.rule = SLUICE_NO_RULE;
	w.ended = !nsummary;
	if (nsummary) {
		sluice_walk_summary(&w);
		sluice_repeat(SLUICE_WALK_STEPS, sluice_walk_step, &w);
	}
	m->log = w.log;
	if (!w.ended || sluice_blob_failed(b)) {
		sluice_match_default(m, SLUICE_ACTION_DENY);
		return;
	}
	if (w.rule == SLUICE_NO_RULE) {
		sluice_match_default(
			m, sluice_blob_u8(b, offsetof(struct sluice_ruleset, default_action)));
		return;
	}
	m->rule = w.rule;
	m->rule_id = w.decides.id;
	m->action = w.decides.action;
	m->tier = w.decides.tier;
	m->pad = 0;
	if (w.decides.action == SLUICE_ACTION_ALLOW)
		m->reason = SLUICE_REASON_POLICY_ALLOW;
	else if (w.decides.flags & SLUICE_RULE_DEFAULT)
		m->reason = SLUICE_REASON_DEFAULT_DENY;
	else
		m->reason = SLUICE_REASON_POLICY_DENY;
}

/*
 * Classifies a first packet. class: of the peer; key: sluice_port_key(). staged may be NULL; it equals
 * enforced where the ruleset has nothing staged.
 */
static __always_inline void sluice_blob_classify(struct sluice_blob *b, __u32 class, __u32 key,
						 struct sluice_match *enforced,
						 struct sluice_match *staged)
{
	__u32 crow = sluice_ruleset_row(b, sluice_ruleset_class_row(b, class));
	__u32 prow = sluice_ruleset_row(b, sluice_ruleset_port_row(b, key));

	sluice_ruleset_walk(b, crow, prow, SLUICE_MASK_ENFORCED, enforced);
	if (!staged)
		return;
	if (sluice_blob_u8(b, offsetof(struct sluice_ruleset, flags)) & SLUICE_RULESET_HAS_STAGED)
		sluice_ruleset_walk(b, crow, prow, SLUICE_MASK_STAGED, staged);
	else
		*staged = *enforced;
}

#ifdef __bpf__
/* The same. Whoever has the map of rulesets defines it: bpf/ruleset.h. */
int sluice_ruleset_classify(sluice_ruleset_ref rs, __u32 class, __u32 key,
			    struct sluice_match *enforced, struct sluice_match *staged);
#else
sluice_outline int sluice_ruleset_classify(sluice_ruleset_ref rs, __u32 class, __u32 key,
					   struct sluice_match *enforced,
					   struct sluice_match *staged)
{
	struct sluice_blob b = { (const char *)rs };

	sluice_blob_classify(&b, class, key, enforced, staged);
	return 0;
}

/* For those who have the whole blob in memory. */
static __always_inline const struct sluice_rule *
sluice_ruleset_rules(const struct sluice_ruleset *rs)
{
	return (const void *)((const char *)rs + rs->off_rules);
}

/* which: SLUICE_MASK_* */
static __always_inline const __u64 *sluice_ruleset_mask(const struct sluice_ruleset *rs,
							__u32 which)
{
	const __u64 *masks = (const void *)((const char *)rs + rs->off_masks);

	return masks + which * rs->nwords;
}

static __always_inline const struct sluice_class_row *
sluice_ruleset_classes(const struct sluice_ruleset *rs)
{
	return (const void *)((const char *)rs + rs->off_classes);
}

static __always_inline const struct sluice_port_row *
sluice_ruleset_ports(const struct sluice_ruleset *rs)
{
	return (const void *)((const char *)rs + rs->off_ports);
}

static inline bool sluice_ruleset_section_ok(__u32 size, __u32 off, __u64 count, __u32 each)
{
	return !(off & 7) && off >= sizeof(struct sluice_ruleset) &&
	       (__u64)off + count * each <= size;
}

/* One row of a ruleset whose sections are known to be inside it. NULL, or what is wrong. */
static inline const char *sluice_ruleset_validate_row(const struct sluice_ruleset *rs, __u32 off)
{
	const __u64 *row = (const void *)((const char *)rs + off);
	__u32 s, w, stored = 0;

	if (!sluice_ruleset_section_ok(rs->size, off, rs->nsummary, sizeof(*row)))
		return "row lies outside the blob";
	for (s = 0; s < rs->nsummary; s++)
		stored += sluice_popcount64(row[s]);
	if (!sluice_ruleset_section_ok(rs->size, off, rs->nsummary + stored, sizeof(*row)))
		return "row lies outside the blob";
	for (w = 0; w < stored; w++)
		if (!row[rs->nsummary + w])
			return "row stores a word that is empty";
	if ((rs->nwords & 63) && row[rs->nsummary - 1] >> (rs->nwords & 63))
		return "row has a bit behind its last rule";
	w = rs->nwords - 1;
	if ((rs->nrules & 63) && (row[w >> 6] >> (w & 63) & 1) &&
	    row[rs->nsummary + stored - 1] >> (rs->nrules & 63))
		return "row has a bit behind its last rule";
	return NULL;
}

/*
 * Checks a blob of len bytes that nobody trusts: after this, classify() stays inside it and ends.
 * Returns NULL, or what is wrong, in words for the extended ack.
 */
static inline const char *sluice_ruleset_validate(const void *blob, __u64 len)
{
	const struct sluice_ruleset *rs = blob;
	const struct sluice_class_row *c;
	const struct sluice_port_row *p;
	const struct sluice_rule *r;
	const char *wrong;
	const __u32 *rows;
	__u32 i, tier = 0;

	if (len < sizeof(*rs) || len > SLUICE_MAX_RULESET_BYTES || rs->size != len)
		return "ruleset size does not match its header";
	if (rs->magic != SLUICE_RULESET_MAGIC)
		return "ruleset layout is not the one this build understands";
	if (rs->nrules > SLUICE_MAX_RULES || rs->nclasses > SLUICE_MAX_CLASSES ||
	    rs->nports > SLUICE_MAX_PORT_RANGES || rs->nrows > SLUICE_MAX_ROWS ||
	    rs->nrows < SLUICE_ROWS_FIXED)
		return "ruleset counts are over their limits";
	if (rs->nwords != (rs->nrules + 63) / 64 || rs->nsummary != (rs->nwords + 63) / 64)
		return "ruleset word counts do not follow from its rules";
	if (rs->default_action > SLUICE_ACTION_DENY)
		return "ruleset default action is neither allow nor deny";
	if ((rs->flags & ~SLUICE_RULESET_HAS_STAGED) || rs->pad)
		return "ruleset has flags or padding that are not defined";
	if (!sluice_ruleset_section_ok(rs->size, rs->off_rules, rs->nrules, sizeof(*r)) ||
	    !sluice_ruleset_section_ok(rs->size, rs->off_masks, SLUICE_MASKS * rs->nwords,
				       sizeof(__u64)) ||
	    !sluice_ruleset_section_ok(rs->size, rs->off_classes, rs->nclasses, sizeof(*c)) ||
	    !sluice_ruleset_section_ok(rs->size, rs->off_ports, rs->nports, sizeof(*p)) ||
	    !sluice_ruleset_section_ok(rs->size, rs->off_rows, rs->nrows, sizeof(*rows)))
		return "ruleset section lies outside the blob";

	r = sluice_ruleset_rules(rs);
	for (i = 0; i < rs->nrules; i++) {
		if (r[i].action >= SLUICE_ACTION_COUNT)
			return "rule has an unknown action";
		if ((r[i].flags & ~(SLUICE_RULE_STAGED | SLUICE_RULE_DEFAULT)) || r[i].pad)
			return "rule has flags or padding that are not defined";
		if (r[i].tier >= SLUICE_TIERS || r[i].tier < tier)
			return "rules are not ordered by tier";
		tier = r[i].tier;
		if (rs->tiers[tier] <= i || rs->tiers[tier] > rs->nrules)
			return "tier ends before one of its rules";
	}
	c = sluice_ruleset_classes(rs);
	for (i = 0; i < rs->nclasses; i++) {
		if (c[i].row >= rs->nrows)
			return "class names a row that does not exist";
		if (i && c[i].class <= c[i - 1].class)
			return "classes are not sorted";
	}
	p = sluice_ruleset_ports(rs);
	for (i = 0; i < rs->nports; i++) {
		if (p[i].row >= rs->nrows)
			return "port range names a row that does not exist";
		if (p[i].pad)
			return "port range has padding that is not zero";
		if (p[i].lo > p[i].hi || (i && p[i].lo <= p[i - 1].hi))
			return "port ranges are not sorted and disjoint";
	}
	for (i = 0; i < SLUICE_MASKS; i++)
		if ((rs->nrules & 63) &&
		    sluice_ruleset_mask(rs, i)[rs->nwords - 1] >> (rs->nrules & 63))
			return "mask has a bit behind its last rule";
	rows = (const void *)((const char *)rs + rs->off_rows);
	for (i = 0; i < rs->nrows; i++) {
		wrong = sluice_ruleset_validate_row(rs, rows[i]);
		if (wrong)
			return wrong;
	}
	return NULL;
}
#endif

#endif
