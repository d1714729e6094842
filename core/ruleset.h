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
	__u16 pad;
};

/* port: host byte order; for ICMP and ICMPv6, type << 8 | code; 0 for protocols without ports. */
static __always_inline __u32 sluice_port_key(__u8 proto, __u16 port)
{
	return (__u32)proto << 16 | port;
}

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

static __always_inline const __u64 *sluice_ruleset_row(const struct sluice_ruleset *rs, __u32 row)
{
	const __u32 *rows = (const void *)((const char *)rs + rs->off_rows);

	return (const void *)((const char *)rs + rows[row]);
}

/*
 * Binary searches without a branch that depends on the data: each step halves what is left. 20 steps
 * reach SLUICE_MAX_CLASSES. The entry found is the last one that is not behind the key.
 */
static __always_inline __u32 sluice_ruleset_class_row(const struct sluice_ruleset *rs, __u32 class)
{
	const struct sluice_class_row *c = sluice_ruleset_classes(rs);
	__u32 n = rs->nclasses, i;

	for (i = 0; i < 21 && n > 1; i++) {
		__u32 half = n >> 1;

		c += c[half].class <= class ? half : 0;
		n -= half;
	}
	return n && c->class == class ? c->row : SLUICE_ROW_CLASS_DEFAULT;
}

static __always_inline __u32 sluice_ruleset_port_row(const struct sluice_ruleset *rs, __u32 key)
{
	const struct sluice_port_row *p = sluice_ruleset_ports(rs);
	__u32 n = rs->nports, i;

	for (i = 0; i < 21 && n > 1; i++) {
		__u32 half = n >> 1;

		p += p[half].lo <= key ? half : 0;
		n -= half;
	}
	return n && p->lo <= key && key <= p->hi ? p->row : SLUICE_ROW_PORT_DEFAULT;
}

/* Index of the first bit >= from that is set in both rows and in the mask, or SLUICE_NO_RULE. */
static __always_inline __u32 sluice_rows_first(const __u64 *a, const __u64 *b, const __u64 *mask,
					       __u32 nsummary, __u32 nwords, __u32 from)
{
	const __u64 *a_words = a + nsummary, *b_words = b + nsummary;
	__u32 s = 0;

	for (; s < nsummary && s < SLUICE_MAX_SUMMARY; s++) {
		__u64 sum = a[s] & b[s];
		__u32 i;

		/* Words before the one that holds "from" are none of ours. */
		if (s <= from >> 12)
			sum &= s == from >> 12 ? ~0ULL << ((from >> 6) & 63) : 0;
		for (i = 0; i < 64 && sum; i++) {
			__u64 below = (sum & -sum) - 1, bits;
			__u32 w = s * 64 + sluice_ctz64(sum);

			sum &= sum - 1;
			if (w >= nwords)
				break;
			bits = a_words[sluice_popcount64(a[s] & below)] &
			       b_words[sluice_popcount64(b[s] & below)] & mask[w];
			if (w == from >> 6)
				bits &= ~0ULL << (from & 63);
			if (bits)
				return w * 64 + sluice_ctz64(bits);
		}
		if (s + 1 == nsummary)
			break;
		a_words += sluice_popcount64(a[s]);
		b_words += sluice_popcount64(b[s]);
	}
	return SLUICE_NO_RULE;
}

/* One walk under one mask. Bounded: each step moves past a rule, pass and log steps to 64. */
static __always_inline void sluice_ruleset_walk(const struct sluice_ruleset *rs, const __u64 *crow,
						const __u64 *prow, const __u64 *mask,
						struct sluice_match *m)
{
	const struct sluice_rule *rules = sluice_ruleset_rules(rs);
	__u32 from = 0, step;

	m->rule = SLUICE_NO_RULE;
	m->log = SLUICE_NO_RULE;
	m->rule_id = 0;
	m->action = rs->default_action;
	m->reason = rs->default_action == SLUICE_ACTION_ALLOW ? SLUICE_REASON_NO_POLICY :
								SLUICE_REASON_DEFAULT_DENY;
	m->pad = 0;

	for (step = 0; step < 64; step++) {
		__u32 i = sluice_rows_first(crow, prow, mask, rs->nsummary, rs->nwords, from);
		const struct sluice_rule *r;

		if (i == SLUICE_NO_RULE || i >= rs->nrules)
			return;
		r = &rules[i];
		if (r->action == SLUICE_ACTION_LOG) {
			if (m->log == SLUICE_NO_RULE)
				m->log = i;
			from = i + 1;
			continue;
		}
		if (r->action == SLUICE_ACTION_PASS) {
			from = rs->tiers[r->tier & (SLUICE_TIERS - 1)];
			if (from <= i) /* a validated blob never gets here; never loop */
				return;
			continue;
		}
		m->rule = i;
		m->rule_id = r->id;
		m->action = r->action;
		if (r->action == SLUICE_ACTION_ALLOW)
			m->reason = SLUICE_REASON_POLICY_ALLOW;
		else if (r->flags & SLUICE_RULE_DEFAULT)
			m->reason = SLUICE_REASON_DEFAULT_DENY;
		else
			m->reason = SLUICE_REASON_POLICY_DENY;
		return;
	}
	/* More than 64 log and pass rules on one packet's way: fail closed. */
	m->action = SLUICE_ACTION_DENY;
	m->reason = SLUICE_REASON_DEFAULT_DENY;
}

/*
 * Classifies a first packet. class: of the peer; port: see sluice_port_key(). staged may be NULL;
 * it equals enforced where the ruleset has nothing staged.
 */
sluice_outline void sluice_ruleset_classify(const struct sluice_ruleset *rs, __u32 class,
					    __u8 proto, __u16 port, struct sluice_match *enforced,
					    struct sluice_match *staged)
{
	const __u64 *crow = sluice_ruleset_row(rs, sluice_ruleset_class_row(rs, class));
	__u32 key = sluice_port_key(proto, port);
	const __u64 *prow = sluice_ruleset_row(rs, sluice_ruleset_port_row(rs, key));

	sluice_ruleset_walk(rs, crow, prow, sluice_ruleset_mask(rs, SLUICE_MASK_ENFORCED),
			    enforced);
	if (!staged)
		return;
	if (rs->flags & SLUICE_RULESET_HAS_STAGED)
		sluice_ruleset_walk(rs, crow, prow, sluice_ruleset_mask(rs, SLUICE_MASK_STAGED),
				    staged);
	else
		*staged = *enforced;
}

#ifndef __bpf__
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
