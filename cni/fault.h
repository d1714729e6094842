/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fault points: the tests fail or kill the plugin after each of its steps and look at what is
 * left. They exist only in the test build (-DSLUICE_FAULTS), where
 *
 *	SLUICE_CNI_FAIL_AT=<step>	makes cni_fault("<step>") true
 *	SLUICE_CNI_KILL_AT=<step>	makes it end the process with SIGKILL
 *
 * The tests find the steps by reading the sources: a new one is tested without being listed.
 */
#ifndef SLUICE_CNI_FAULT_H
#define SLUICE_CNI_FAULT_H

#include <stdbool.h>

#ifdef SLUICE_FAULTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline bool cni_fault(const char *step)
{
	const char *kill_at = getenv("SLUICE_CNI_KILL_AT");
	const char *fail_at = getenv("SLUICE_CNI_FAIL_AT");

	if (kill_at && !strcmp(kill_at, step))
		kill(getpid(), SIGKILL);
	return fail_at && !strcmp(fail_at, step);
}
#else
static inline bool cni_fault(const char *step)
{
	(void)step;
	return false;
}
#endif

#endif
