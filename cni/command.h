/* SPDX-License-Identifier: GPL-2.0-only */
/* The CNI commands. Each returns 0, or -1 with failure set. */
#ifndef SLUICE_CNI_COMMAND_H
#define SLUICE_CNI_COMMAND_H

#include "cni/request.h"

int cni_add(const struct cni_request *req, struct cni_failure *failure);
int cni_del(const struct cni_request *req, struct cni_failure *failure);
int cni_check(const struct cni_request *req, struct cni_failure *failure);
int cni_gc(const struct cni_request *req, struct cni_failure *failure);
int cni_status(const struct cni_request *req, struct cni_failure *failure);
int cni_version(struct cni_failure *failure);

#endif
