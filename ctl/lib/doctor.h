/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this machine allows: looked at, and where that is the only way to know, tried.
 *
 * Nothing is left behind by what is tried: programs and maps go with their file descriptors.
 */
#ifndef SLUICE_CTL_LIB_DOCTOR_H
#define SLUICE_CTL_LIB_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

enum sluice_finding_level {
	SLUICE_FINDING_OK,
	SLUICE_FINDING_NOTE, /* good to know */
	SLUICE_FINDING_WARNING, /* works, but not as well as it could */
	SLUICE_FINDING_PROBLEM, /* keeps a data plane from running */
};

struct sluice_finding {
	enum sluice_finding_level level;
	const char *name; /* "tcx", "secure-boot": never renamed, programs read it */
	char *text;
	const char *remedy; /* NULL: there is none, or none is needed */
};

struct sluice_doctor {
	struct sluice_finding *findings;
	size_t n, cap;
	bool module_answers; /* it is loaded, and speaks in this network namespace */
	bool module_can_load;
	bool bpf_works; /* our programs were loaded */
	bool tcx;
	bool cgroup2;
	bool jit;
};

void sluice_doctor_look(struct sluice_doctor *d);
void sluice_doctor_free(struct sluice_doctor *d);

/* What --dataplane=auto would take: "module", "bpf"; NULL: nothing can run. */
const char *sluice_doctor_choice(const struct sluice_doctor *d);

struct sluice_bpf_limit {
	const char *what;
	const char *effect;
	bool here; /* it holds on this machine */
};

/* The i-th limit of the eBPF variant; false behind the last one. */
bool sluice_doctor_limit(const struct sluice_doctor *d, size_t i, struct sluice_bpf_limit *limit);

const char *sluice_finding_level_name(enum sluice_finding_level level);

#endif
