// SPDX-License-Identifier: GPL-2.0-only
/* core/service.h: the choice of a backend is uniform and never outside the array. */
#include <math.h>

#include "core/service.h"
#include "tap.h"

/*
 * Pearson's chi-square over n bins. For n - 1 degrees of freedom its mean is n - 1 and its standard
 * deviation sqrt(2 (n - 1)); six deviations above the mean happen less than once in 10^6 runs, also
 * for the skewed distribution of few bins (n = 2: P(chi2 > 9.5) is 2 in 1000, hence the 25).
 */
static void test_uniform(uint32_t n)
{
	uint32_t draws = 200 * n < 100000 ? 100000 : 200 * n, i;
	uint32_t *bins = calloc(n, sizeof(*bins));
	double expected = (double)draws / n, chi2 = 0, bound;

	for (i = 0; i < draws; i++) {
		uint32_t pick = sluice_service_pick((uint32_t)tap_random(), n);

		if (pick >= n) {
			ok(false, "pick %u of %u", pick, n);
			free(bins);
			return;
		}
		bins[pick]++;
	}
	for (i = 0; i < n; i++)
		chi2 += (bins[i] - expected) * (bins[i] - expected) / expected;
	bound = n - 1 + 6 * sqrt(2.0 * (n - 1)) + 25;
	diag("n %u, %u draws: chi-square %.1f, bound %.1f", n, draws, chi2, bound);
	/* Too even is as suspicious as too uneven: the numbers would not be random. */
	ok(chi2 <= bound && (n < 100 || chi2 > (n - 1) - 6 * sqrt(2.0 * (n - 1))),
	   "%u backends are picked evenly", n);
	free(bins);
}

int main(void)
{
	uint32_t i;

	tap_seed();
	test_uniform(2);
	test_uniform(3);
	test_uniform(7);
	test_uniform(100);
	test_uniform(1000);
	for (i = 1; i <= 65535; i += 1 + tap_below(64)) {
		check(sluice_service_pick(0, i) == 0, "the lowest number picks the first");
		check(sluice_service_pick(~0U, i) == i - 1, "the highest picks the last of %u", i);
		check(sluice_service_pick((uint32_t)tap_random(), i) < i, "outside of %u", i);
	}
	ok_checks("the ends of the range, 1 to 65,535 backends");
	return done_testing();
}
