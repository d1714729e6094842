/* SPDX-License-Identifier: GPL-2.0-only */
/* What the commands that dump a table have in common. */
#ifndef SLUICECTL_GET_H
#define SLUICECTL_GET_H

#include <stdint.h>

#include "ctl/lib/nl.h"
#include "ctl/sluicectl/command.h"
#include "ctl/sluicectl/output.h"

/* What a handler of one of these dumps gets as its arg. */
struct get {
	bool json;
	struct json_list list;
	struct table table;
};

/*
 * Opens a socket, dumps one table through a handler, and prints what it collected: in get->list, or
 * in get->table (whose headings the caller has set).
 */
int get_objects(const struct invocation *inv, uint8_t cmd, sluice_nl_handler handle,
		struct get *get, struct sluice_err *err);

#endif
