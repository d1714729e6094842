// SPDX-License-Identifier: GPL-2.0-only
/* Points in time as Kubernetes writes them. */
#include "tap.h"

#include "ctl/lib/timestamp.h"

static void parses(const char *text, int64_t want)
{
	int64_t ns = -1;

	ok(sluice_timestamp_parse(text, &ns) && ns == want, "%s is %" PRId64 ", got %" PRId64, text,
	   want, ns);
}

static void refuses(const char *text)
{
	int64_t ns;

	ok(!sluice_timestamp_parse(text, &ns), "refused: \"%s\"", text);
}

int main(void)
{
	char buf[SLUICE_TIMESTAMP_TEXT];
	int64_t ns;

	tap_seed();
	parses("1970-01-01T00:00:00Z", 0);
	parses("2026-01-02T03:04:05Z", 1767323045000000000);
	parses("2026-01-02T03:04:05.5Z", 1767323045500000000);
	parses("2026-01-02T03:04:05.123456789Z", 1767323045123456789);
	parses("2026-01-02T03:04:05.1234567899999Z", 1767323045123456789);
	parses("2026-01-02T05:34:05+02:30", 1767323045000000000);
	parses("2026-01-01T19:04:05-08:00", 1767323045000000000);
	parses("2024-02-29t12:00:00z", 1709208000000000000);
	refuses("");
	refuses("yesterday");
	refuses("2026-01-02");
	refuses("2026-01-02T03:04:05");
	refuses("2026-01-02T03:04:05.Z");
	refuses("2026-13-02T03:04:05Z");
	refuses("2026-01-02T24:04:05Z");
	refuses("2026-01-02T03:04:05Zx");
	refuses("2026-01-02T03:04:05+0200");
	refuses("1969-12-31T23:59:59Z");
	refuses("9999-01-01T00:00:00Z");
	is_str(sluice_timestamp_format(1767323045123456789, buf), "2026-01-02T03:04:05.123456Z",
	       "microseconds are what the API server takes");

	for (int i = 0; i < 10000; i++) {
		int64_t time = tap_random() % 7000000000000000000ULL;

		check(sluice_timestamp_parse(sluice_timestamp_format(time, buf), &ns) &&
			      ns == time / 1000 * 1000,
		      "%" PRId64 " comes back from %s as %" PRId64, time, buf, ns);
	}
	ok_checks("what is written is read again");
	return done_testing();
}
