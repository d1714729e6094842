/* SPDX-License-Identifier: GPL-2.0-only */
/* What sluice-cni asks sluiced. Errors are those of ctl/lib/sock.h. */
#ifndef SLUICE_CNI_AGENT_H
#define SLUICE_CNI_AGENT_H

#include "cni/netdev.h"
#include "cni/request.h"

/* Returns when the pod's rulesets are in the kernel and its endpoint is open. */
int cni_agent_attach(const struct cni_request *req, const struct cni_link *host,
		     const struct cni_address *addresses, size_t n_addresses,
		     struct sluice_err *err);
int cni_agent_detach(const struct cni_request *req, struct sluice_err *err);
int cni_agent_check(const struct cni_request *req, struct sluice_err *err);
int cni_agent_gc(const struct cni_request *req, const struct cni_attachment *keep, size_t n_keep,
		 struct sluice_err *err);
int cni_agent_ready(const struct cni_request *req, struct sluice_err *err);

/* The pod CIDRs sluiced knows of its node; ENOENT when it knows none. The caller frees *cidrs. */
int cni_agent_cidrs(const struct cni_request *req, struct cni_address **cidrs, size_t *n_cidrs,
		    struct sluice_err *err);

#endif
