/* SPDX-License-Identifier: GPL-2.0-only */
/* Names of rules, for people: no packet ever looks here. */
#ifndef SLUICE_KMOD_RULE_H
#define SLUICE_KMOD_RULE_H

#include "net.h"
#include "table.h"

struct sluice_rule_name {
	struct sluice_node node;
	u32 id;
	const char *policy; /* "namespace/policy" */
	const char *rule; /* its place in it */
};

/* Under RCU. */
const struct sluice_rule_name *sluice_rule_find(struct sluice_net *sn, u32 revision, u32 id);

struct sluice_rule_args {
	u32 id;
	const char *policy; /* policy_len bytes, without NUL */
	u32 policy_len;
	const char *rule;
	u32 rule_len;
};

/* Inside a transaction, under sn->mutex. */
int sluice_rule_set(struct sluice_net *sn, const struct sluice_rule_args *args);
/* -ENOENT */
int sluice_rule_del(struct sluice_net *sn, u32 id);

int sluice_rules_init(struct sluice_net *sn);
void sluice_rules_exit(struct sluice_net *sn);

#endif
