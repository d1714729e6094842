/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How sluiced is, over HTTP: /healthz, /readyz, /livez at one address, /metrics at another.
 *
 *	/livez		the loop runs: that it answers at all
 *	/healthz	and the data plane is there, and no transaction has been failing for a minute
 *	/readyz		and the kernel holds a full state of ours, of objects that were all there
 *
 * 200 or 503, and JSON with kube-proxy's fields, and why. A cluster's load balancers ask /healthz whether a node
 * takes packets for services; restarting is worth it for /livez alone, since the kernel keeps enforcing.
 */
#ifndef SLUICED_HEALTH_H
#define SLUICED_HEALTH_H

#include "ctl/lib/err.h"
#include "ctl/sluiced/http.h"

struct controller;

struct health {
	struct http_server health;
	struct http_server metrics;
};

/* Listens where the options say, if they do. */
int health_init(struct health *h, struct controller *c, struct sluice_err *err);
void health_exit(struct health *h);

#endif
