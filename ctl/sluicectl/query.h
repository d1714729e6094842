/* SPDX-License-Identifier: GPL-2.0-only */
/* Questions with one answer, for the commands that ask them. */
#ifndef SLUICECTL_QUERY_H
#define SLUICECTL_QUERY_H

#include <jansson.h>

#include "ctl/lib/nl.h"
#include "ctl/lib/nl_object.h"

/* What GET_INFO answers; version is copied. */
struct kernel_info {
	struct sluice_nl_info info;
	char version[64];
	const char *dataplane; /* that has answered: "module" or "bpf" */
};

int query_info(struct sluice_nl *nl, struct kernel_info *info, struct sluice_err *err);
int query_stats(struct sluice_nl *nl, struct sluice_nl_stats *stats, struct sluice_err *err);

json_t *info_json(const struct kernel_info *info);

#endif
