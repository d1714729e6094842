// SPDX-License-Identifier: GPL-2.0-only
/*
 * core/judge.h: the whole truth table. Every combination of flags, of five rulesets on either side
 * (none, and what a side may say enforced and staged), of the tiers that these are of, beside the rules of the
 * header in order.
 */
#include "core/judge.h"
#include "ruleset_blob.h"
#include "tap.h"

#define SRC_CLASS 7
#define DST_CLASS 9

/* What a side says: no ruleset; or a verdict by enforced rules and one with the staged rules. */
enum side { OPEN, ALLOW_ALLOW, ALLOW_DENY, DENY_ALLOW, DENY_DENY, SIDES };

static bool enforced_allows(enum side s)
{
	return s == OPEN || s == ALLOW_ALLOW || s == ALLOW_DENY;
}

static bool staged_allows(enum side s)
{
	return s == OPEN || s == ALLOW_ALLOW || s == DENY_ALLOW;
}

/* Four rules, all for this one class and TCP 80; the staged ones stand first. */
static struct sluice_ruleset *ruleset(enum side s, uint8_t tier, uint32_t class, uint32_t id)
{
	struct blob_rule r[2] = { { .id = id, .action = SLUICE_ACTION_ALLOW },
				  { .id = id + 1, .action = SLUICE_ACTION_DENY } };
	struct blob_rules rules = { .n = 2, .rules = r, .default_action = SLUICE_ACTION_DENY };
	uint32_t i;

	for (i = 0; i < 2; i++) {
		r[i].tier = tier;
		r[i].n_classes = 1;
		r[i].classes[0] = class;
		r[i].n_ranges = 1;
		r[i].ranges[0].lo = r[i].ranges[0].hi = sluice_port_key(6, 80);
		r[i].enforced = enforced_allows(s) == !i;
		r[i].staged = staged_allows(s) == !i;
	}
	return s == OPEN ? NULL : blob_build(&rules);
}

/* A side that is judged must have looked for this class and port, and say what its ruleset says. */
static void check_side(const struct sluice_judge_side *side, enum side s, uint32_t id,
		       const char *name)
{
	check(side->verdict == (enforced_allows(s) ? SLUICE_VERDICT_ALLOW : SLUICE_VERDICT_DENY),
	      "%s verdict", name);
	check(side->staged_verdict ==
		      (staged_allows(s) ? SLUICE_VERDICT_ALLOW : SLUICE_VERDICT_DENY),
	      "%s staged verdict", name);
	check(side->reason == (s == OPEN	  ? SLUICE_REASON_NO_POLICY :
			       enforced_allows(s) ? SLUICE_REASON_POLICY_ALLOW :
						    SLUICE_REASON_POLICY_DENY),
	      "%s reason", name);
	check(side->rule == (s == OPEN ? 0 : enforced_allows(s) ? id : id + 1), "%s rule", name);
	check(side->staged_rule == (s == OPEN	     ? 0 :
				    staged_allows(s) ? id :
						       id + 1),
	      "%s staged rule", name);
}

/* A pod sends to its own node, and a ClusterNetworkPolicy has a say. */
static void check_own_node(const struct sluice_judgement *j, enum side s)
{
	struct sluice_judge_side none = { 0 };

	check(!memcmp(&j->ingress, &none, sizeof(none)), "ingress is judged in vain");
	check(j->verdict == j->egress.verdict && j->staged_verdict == j->egress.staged_verdict &&
		      j->reason == j->egress.reason,
	      "egress says all");
	check_side(&j->egress, s, 10, "egress to the own node");
}

static void judge_one(uint32_t flags, uint8_t tier, enum side out, enum side in_,
		      const struct sluice_ruleset *e, const struct sluice_ruleset *i)
{
	struct sluice_judge_in in = {
		.egress = e,
		.ingress = i,
		.src_class = SRC_CLASS,
		.dst_class = DST_CLASS,
		.flags = flags,
		.port = 80,
		.proto = 6,
	};
	bool src = flags & SLUICE_JUDGE_SRC_LOCAL, dst = flags & SLUICE_JUDGE_DST_LOCAL;
	struct sluice_judge_side none = { 0 };
	bool allow, staged, reached;
	struct sluice_judgement j;
	uint8_t fixed = 0;

	memset(&j, 0xaa, sizeof(j));
	sluice_judge(&in, &j);

	if (flags & (SLUICE_JUDGE_SRC_CLOSED | SLUICE_JUDGE_DST_CLOSED))
		fixed = SLUICE_REASON_ENDPOINT_CLOSED;
	else if (flags & SLUICE_JUDGE_SELF)
		fixed = SLUICE_REASON_SELF;
	else if (flags & (SLUICE_JUDGE_SRC_NODE | SLUICE_JUDGE_DST_NODE))
		fixed = SLUICE_REASON_NODE;
	if (fixed == SLUICE_REASON_NODE && src && out != OPEN && tier != SLUICE_TIER_POLICY) {
		check_own_node(&j, out);
		return;
	}
	if (fixed) {
		uint8_t want = fixed == SLUICE_REASON_ENDPOINT_CLOSED ? SLUICE_VERDICT_DENY :
									SLUICE_VERDICT_ALLOW;

		check(j.reason == fixed && j.verdict == want && j.staged_verdict == want,
		      "flags %02x: %s %s", flags, sluice_verdict_name(j.verdict),
		      sluice_reason_name(j.reason));
		check(!memcmp(&j.egress, &none, sizeof(none)) &&
			      !memcmp(&j.ingress, &none, sizeof(none)),
		      "flags %02x: a side was judged", flags);
		return;
	}

	allow = (!src || enforced_allows(out)) && (!dst || enforced_allows(in_));
	staged = (!src || staged_allows(out)) && (!dst || staged_allows(in_));
	check(j.verdict == (allow ? SLUICE_VERDICT_ALLOW : SLUICE_VERDICT_DENY),
	      "flags %02x, %u out, %u in: %s", flags, out, in_, sluice_verdict_name(j.verdict));
	check(j.staged_verdict == (staged ? SLUICE_VERDICT_ALLOW : SLUICE_VERDICT_DENY),
	      "flags %02x, %u out, %u in: staged %s", flags, out, in_,
	      sluice_verdict_name(j.staged_verdict));
	if (!allow)
		check(j.reason == SLUICE_REASON_POLICY_DENY, "denied because of %s",
		      sluice_reason_name(j.reason));
	else if ((src && out != OPEN) || (dst && in_ != OPEN))
		check(j.reason == SLUICE_REASON_POLICY_ALLOW, "allowed because of %s",
		      sluice_reason_name(j.reason));
	else
		check(j.reason == SLUICE_REASON_NO_POLICY, "allowed because of %s",
		      sluice_reason_name(j.reason));

	if (src)
		check_side(&j.egress, out, 10, "egress");
	else
		check(!memcmp(&j.egress, &none, sizeof(none)),
		      "egress of a pod elsewhere is judged");
	/* Where both of egress's verdicts are deny, nothing that ingress says could matter. */
	reached = dst && !(src && out == DENY_DENY);
	if (reached)
		check_side(&j.ingress, in_, 20, "ingress");
	else
		check(!memcmp(&j.ingress, &none, sizeof(none)), "ingress is judged in vain");
}

static void judge_sides(uint8_t tier, enum side out, enum side in)
{
	/* Egress looks at the destination's class, ingress at the source's. */
	struct sluice_ruleset *e = ruleset(out, tier, DST_CLASS, 10);
	struct sluice_ruleset *i = ruleset(in, tier, SRC_CLASS, 20);
	uint32_t flags;

	check(!e || !sluice_ruleset_validate(e, e->size), "egress blob");
	check(!i || !sluice_ruleset_validate(i, i->size), "ingress blob");
	for (flags = 0; flags < 128; flags++)
		judge_one(flags, tier, out, in, e, i);
	free(e);
	free(i);
}

int main(void)
{
	uint32_t tier, out, in;

	for (tier = SLUICE_TIER_ADMIN; tier <= SLUICE_TIER_BASELINE; tier++)
		for (out = 0; out < SIDES; out++)
			for (in = 0; in < SIDES; in++)
				judge_sides(tier, out, in);
	ok_checks("every combination of flags and of rulesets on both sides");
	return done_testing();
}
