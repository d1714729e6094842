/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Builds the blob of core/ruleset.h from an ordered list of rules.
 */
#ifndef SLUICE_CTL_LIB_RULESET_BUILDER_H
#define SLUICE_CTL_LIB_RULESET_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ruleset.h"
#include "ctl/lib/err.h"

struct sluice_port_range {
	uint32_t lo; /* sluice_port_key(), inclusive */
	uint32_t hi;
};

struct sluice_build_rule {
	uint32_t id;
	uint8_t action; /* enum sluice_action */
	uint8_t tier; /* enum sluice_tier; may not go down along the list */
	uint8_t flags; /* SLUICE_RULE_* */
	bool any_class; /* else: only the classes listed, perhaps none */
	bool any_port; /* else: only the ranges listed, perhaps none */
	const uint32_t *classes; /* in any order, duplicates allowed */
	size_t n_classes;
	const struct sluice_port_range *ports; /* likewise, may overlap */
	size_t n_ports;
};

/*
 * On success *out is the blob, to be freed. Equal input gives equal bytes. Error: E2BIG when a limit
 * of core/ruleset.h is passed.
 */
int sluice_ruleset_build(const struct sluice_build_rule *rules, size_t n, uint8_t default_action,
			 struct sluice_ruleset **out, struct sluice_err *err);

#endif
