/* SPDX-License-Identifier: GPL-2.0-only */
/* Questions to the data plane that have one answer. Errors: those of nl.h. */
#ifndef SLUICE_CTL_LIB_NL_QUERY_H
#define SLUICE_CTL_LIB_NL_QUERY_H

#include "ctl/lib/nl.h"
#include "ctl/lib/nl_object.h"

/* What GET_INFO answers; version is copied. */
struct sluice_nl_kernel {
	struct sluice_nl_info info;
	char version[64];
	const char *dataplane; /* that has answered: "module" or "bpf" */
};

int sluice_nl_query_info(struct sluice_nl *nl, struct sluice_nl_kernel *info,
			 struct sluice_err *err);
int sluice_nl_query_stats(struct sluice_nl *nl, struct sluice_nl_stats *stats,
			  struct sluice_err *err);

#endif
