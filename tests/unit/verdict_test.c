// SPDX-License-Identifier: GPL-2.0-only
/* core/verdict.h: names are an interface, so they are pinned here; see the header before a change. */
#include <ctype.h>

#include "core/conntrack.h"
#include "core/verdict.h"
#include "tap.h"

static const char *const verdicts[] = { "none", "allow", "deny", "reject" };

static const char *const reasons[] = {
	"none",		  "no-policy",	  "policy-allow", "policy-deny",     "default-deny",
	"node",		  "self",	  "no-endpoints", "endpoint-closed", "spoofed-source",
	"martian",	  "malformed",	  "bad-checksum", "tcp-flags",	     "no-connection",
	"icmp-unrelated", "backend-gone", "table-full",	  "no-memory",	     "no-ports",
	"ttl-exceeded",	  "no-route",	  "fragment",	  "service-port",    "unsupported",
};

static void check_names(const char *what, const char *(*name)(uint32_t), uint32_t count)
{
	uint32_t i, j;

	for (i = 0; i < count; i++) {
		const char *c = name(i);

		check(*c, "%s %u has no name", what, i);
		for (; *c; c++)
			check(islower((unsigned char)*c) || *c == '-', "%s: %s", what, name(i));
		for (j = 0; j < i; j++)
			check(strcmp(name(i), name(j)), "%s %u and %u share a name", what, i, j);
	}
	check(!strcmp(name(count), "unknown"), "%s %u is unknown", what, count);
	check(!strcmp(name(~0U), "unknown"), "%s -1 is unknown", what);
	ok_checks("every %s has a name of its own, in lower case and hyphens", what);
}

static const char *verdict_name(uint32_t i)
{
	return sluice_verdict_name(i);
}

static const char *reason_name(uint32_t i)
{
	return sluice_reason_name(i);
}

static const char *state_name(uint32_t i)
{
	return sluice_state_name(i);
}

int main(void)
{
	const uint32_t n_reasons = sizeof(reasons) / sizeof(reasons[0]);
	uint32_t i;

	is_u64(SLUICE_VERDICT_COUNT, 4, "four verdicts");
	for (i = 0; i < 4; i++)
		check(!strcmp(verdicts[i], sluice_verdict_name(i)), "verdict %u", i);
	ok_checks("verdicts keep their numbers and names");
	for (i = 0; i < n_reasons && i < SLUICE_REASON_COUNT; i++)
		check(!strcmp(reasons[i], sluice_reason_name(i)), "reason %u is %s, not %s", i,
		      sluice_reason_name(i), reasons[i]);
	check(SLUICE_REASON_COUNT >= n_reasons, "a reason was taken away");
	ok_checks("reasons keep their numbers and names");
	for (i = 0; i < SLUICE_REASON_COUNT; i++)
		check(strlen(sluice_reason_help(i)) > 5 && strcmp(sluice_reason_help(i), "unknown"),
		      "reason %u", i);
	ok_checks("every reason is explained");
	check_names("verdict", verdict_name, SLUICE_VERDICT_COUNT);
	check_names("reason", reason_name, SLUICE_REASON_COUNT);
	check_names("state", state_name, SLUICE_STATE_COUNT);
	return done_testing();
}
