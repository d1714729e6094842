/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Problems with ClusterNetworkPolicies, told by a condition in their status as well. (Of what sluiced reads, Services have
 * conditions too, but no problems that would be theirs for long; NetworkPolicies have no status.)
 *
 * Theory of operation
 * -------------------
 * The condition is there while there is a problem, and is True; a policy without a problem has none, so a cluster
 * without problems costs no write. Its text is made of the problems, in order, hence the same on every node.
 * A node acts when its own view of a policy changes, and asks for the policy first: it writes only if that says something else.
 * Nodes of different versions, that do not agree, thereby write once each for a change, and never against each other.
 * The write is a server-side apply of the field manager CONDITION_MANAGER: it adds, replaces or removes this one condition, and
 * leaves those of others alone.
 *
 *	10:00:00	a policy is broken		all nodes see it, and wait up to half a minute
 *	10:00:03	node1 asks, writes		node2 asks at 10:00:07, and has nothing to write
 *	10:05:00	it is mended			the first node that asks takes the condition away
 *
 * A node that starts cannot know what was told before: it asks once for all policies, when its own view is complete.
 */
#ifndef SLUICED_CONDITION_H
#define SLUICED_CONDITION_H

#include <stdint.h>

#include "ctl/lib/kube_client.h"
#include "ctl/lib/loop.h"

#define CONDITION_TYPE "sluice.io/Problem"
#define CONDITION_MANAGER "sluiced"

struct conditions;

struct conditions_stats {
	uint64_t written;
	uint64_t removed;
	uint64_t known; /* another node was faster */
	uint64_t failed; /* requests */
};

/* The client must outlive it. */
struct conditions *conditions_new(struct loop *loop, struct kube_client *client);
void conditions_free(struct conditions *c); /* NULL: nothing */

/* This node's view is complete: what was told before may be asked for. Again: nothing. */
void conditions_look(struct conditions *c);

/*
 * The problems that stand now, all of them, between begin and end. policy: a name. reason: a word as conditions have it. The
 * order of what is added does not matter.
 */
void conditions_begin(struct conditions *c);
void conditions_add(struct conditions *c, const char *policy, const char *reason, const char *text);
void conditions_end(struct conditions *c);

void conditions_stats(const struct conditions *c, struct conditions_stats *stats);

#endif
