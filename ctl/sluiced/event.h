/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Problems with objects, told to their owners as Kubernetes Events: kubectl describe shows them with the object.
 *
 * Theory of operation
 * -------------------
 * Every node finds the same mistake in the same policy. So an Event's name is made of what it says (object, reason,
 * text): the first node creates it, the others are told that it exists, and leave it at that. The node that has
 * created it counts, as a series, each time that the problem comes back, and each half hour that it still
 * stands; the API server forgets Events after an hour without. Then whoever asks first creates it anew.
 *
 *	10:00	policy shop/web is refused	node1 creates web.5f1c..., node2 is answered 409
 *	10:01	it is mended, and broken again	node1: series.count 2
 *	10:31	it still stands			node1: series.count 3; node2: 409
 *	10:40	node1 is removed		at 11:31 the API server forgets it, then node2 creates it
 *
 * A problem is told after it has stood for two seconds, and another three at random. One request runs at a
 * time; 25 may follow each other, then there is one every five seconds. 1,000 problems are remembered, the others are
 * in the log and in sluicectl status alone. What fails is tried again after 5 s, doubled up to 5 minutes; a
 * refused one after an hour.
 */
#ifndef SLUICED_EVENT_H
#define SLUICED_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/lib/kube_client.h"
#include "ctl/lib/loop.h"

/* The list of what is told. X(symbol, reason, action); what they mean is in docs/metrics.md. */
#define EVENT_REASONS(X)                 \
	X(REFUSED, "Refused", "Reading") \
	X(NOT_COMPILED, "NotCompiled", "Compiling")

enum event_reason {
#define X(sym, reason, action) EVENT_##sym,
	EVENT_REASONS(X)
#undef X
		EVENT_REASON_COUNT
};

#define EVENT_CONTROLLER "sluice.io/sluiced"

struct conditions;
struct reporter;

struct reporter_stats {
	uint64_t created;
	uint64_t known; /* another node has told it */
	uint64_t counted; /* series */
	uint64_t failed; /* requests */
	uint64_t left_out; /* problems that were too many */
};

/* The client must outlive it, as must the conditions, which get the problems of ClusterNetworkPolicies. */
struct reporter *reporter_new(struct loop *loop, struct kube_client *client, const char *node,
			      struct conditions *conditions);
void reporter_free(struct reporter *r); /* NULL: nothing */

/*
 * The problems that stand now, all of them, between begin and end. A text begins with its object, as all
 * problems' texts do: "NetworkPolicy shop/web: spec...". One that does not is nobody's. everywhere: each node finds
 * it, whatever pods it has.
 */
void reporter_begin(struct reporter *r);
void reporter_add(struct reporter *r, enum event_reason reason, const char *text, bool everywhere);
void reporter_end(struct reporter *r);

void reporter_stats(const struct reporter *r, struct reporter_stats *stats);

#endif
