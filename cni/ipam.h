/* SPDX-License-Identifier: GPL-2.0-only */
/* Delegation to the IPAM plugin that the configuration names. */
#ifndef SLUICE_CNI_IPAM_H
#define SLUICE_CNI_IPAM_H

#include "cni/request.h"

/*
 * Run ipam.type, found in CNI_PATH, with the same stdin and environment but for CNI_COMMAND.
 * answer and len may be NULL; else *answer is what it printed (the caller frees it). When the
 * plugin fails, failure has its code, message and details.
 */
int cni_ipam_run(const struct cni_request *req, const char *command, char **answer, size_t *len,
		 struct cni_failure *failure);

#endif
