/* SPDX-License-Identifier: GPL-2.0-only */
/* Rulesets by id. What they are and how they decide: core/ruleset.h. */
#ifndef SLUICE_KMOD_RULESET_H
#define SLUICE_KMOD_RULESET_H

#include "core/ruleset.h"
#include "net.h"
#include "table.h"

struct netlink_ext_ack;

struct sluice_ruleset_entry {
	struct sluice_node node;
	u32 id;
	u32 size;
	u32 received; /* bytes so far, while it is uploaded; under sn->mutex */
	u64 blob[]; /* struct sluice_ruleset; validated before it is linked */
};

/* Under RCU. NULL if there is none. */
const struct sluice_ruleset *sluice_ruleset_find(struct sluice_net *sn, u32 revision, u32 id);

/* One piece of a ruleset. */
struct sluice_ruleset_args {
	u32 id;
	u32 size; /* of the whole */
	u32 offset;
	u32 len;
	const void *data;
};

/*
 * Inside a transaction, under sn->mutex. -EINVAL with words in *why: out of order, or the completed
 * blob is not valid.
 */
int sluice_ruleset_piece(struct sluice_net *sn, const struct sluice_ruleset_args *args,
			 const char **why);
/* -ENOENT */
int sluice_ruleset_del(struct sluice_net *sn, u32 id);

/* Would it be there if the transaction were committed now? Under sn->mutex. */
bool sluice_ruleset_alive(struct sluice_net *sn, u32 id);

/* Does one go, and none of its id come? Under sn->mutex. */
bool sluice_rulesets_vanish(struct sluice_net *sn);

/* Id of a ruleset whose upload has begun and not ended, or 0. Under sn->mutex. */
u32 sluice_ruleset_unfinished(struct sluice_net *sn);
void sluice_rulesets_abort(struct sluice_net *sn);

int sluice_rulesets_init(struct sluice_net *sn);
void sluice_rulesets_exit(struct sluice_net *sn);

#endif
