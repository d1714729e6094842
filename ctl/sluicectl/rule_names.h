/* SPDX-License-Identifier: GPL-2.0-only */
/* The names of rules by their ids, as the kernel knows them. */
#ifndef SLUICECTL_RULE_NAMES_H
#define SLUICECTL_RULE_NAMES_H

#include <jansson.h>
#include <stdint.h>

#include "ctl/lib/err.h"
#include "ctl/lib/map.h"
#include "ctl/lib/nl.h"

/* All zero is empty. */
struct rule_names {
	struct sluice_map by_id; /* owns the names */
	struct sluice_map by_name; /* key: policy, line feed, rule */
};

struct rule_name {
	uint32_t id;
	char *policy; /* "namespace/policy", several joined by ',' for a default deny */
	char *rule; /* "ingress[0]" */
};

/* Adds all rules that there are; those known from before stay (a rule may be gone, and in events). */
int rule_names_load(struct rule_names *names, struct sluice_nl *nl, struct sluice_err *err);
const struct rule_name *rule_names_find(const struct rule_names *names, uint32_t id);
/* 0: there is none of that name. */
uint32_t rule_names_id(const struct rule_names *names, const char *policy, const char *rule);
void rule_names_clear(struct rule_names *names);

/* {"id":..,"policy":..,"rule":..}; null for no rule. Names are null where not known. */
json_t *rule_names_json(const struct rule_names *names, uint32_t id);
/* "shop/web ingress[0]", "rule 7" where its name is not known. */
const char *rule_names_text(const struct rule_names *names, uint32_t id, char *buf, size_t size);

#endif
