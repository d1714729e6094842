/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random numbers of the suites that compare with an oracle. Each case prints its seed; with the
 * module's parameter kunit_seed=N all cases repeat it.
 */
#ifndef SLUICE_TESTS_KUNIT_RANDOM_H
#define SLUICE_TESTS_KUNIT_RANDOM_H

#include <kunit/test.h>
#include <linux/prandom.h>

/* Prints and returns the seed of this case. */
u64 sluice_test_seed(struct kunit *test, struct rnd_state *rnd);

/* In [0, n). */
static inline u32 below(struct rnd_state *rnd, u32 n)
{
	return prandom_u32_state(rnd) % n;
}

#endif
