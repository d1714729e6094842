/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the suites share: random numbers for those that compare with an oracle, and parameters. Each
 * random case prints its seed; with the module's parameter kunit_seed=N all cases repeat it.
 */
#ifndef SLUICE_TESTS_KUNIT_SUITE_H
#define SLUICE_TESTS_KUNIT_SUITE_H

#include <kunit/test.h>
#include <linux/prandom.h>

/* Prints and returns the seed of this case. */
u64 sluice_test_seed(struct kunit *test, struct rnd_state *rnd);

/*
 * Parameter kunit_failslab: allocations may be made to fail. Each failure has the kernel print a call
 * trace, and spares GFP_KERNEL, unless "0" was written to /sys/kernel/debug/failslab/verbose and "N" to
 * ignore-gfp-wait beside it: whoever sets the parameter does that first.
 */
extern bool sluice_test_failslab;

/* In [0, n). */
static inline u32 below(struct rnd_state *rnd, u32 n)
{
	return prandom_u32_state(rnd) % n;
}

#endif
