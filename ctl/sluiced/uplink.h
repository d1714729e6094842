/* SPDX-License-Identifier: GPL-2.0-only */
/* Which interfaces lead to other nodes. */
#ifndef SLUICED_UPLINK_H
#define SLUICED_UPLINK_H

#include <stddef.h>
#include <stdint.h>

#include "core/tuple.h"

struct options;

/*
 * The interfaces that --uplink names and that exist, or those of the default routes (of the main
 * table, both families). *indexes and *problem (NULL: there is none) are to be freed.
 */
size_t uplinks_find(const struct options *options, uint32_t **indexes, char **problem);

/*
 * The node's address towards others, IPv4 and IPv6: of the first uplink that has one which is not link-local. All
 * zero: there is none.
 */
void uplinks_addresses(const uint32_t *indexes, size_t n, struct sluice_addr masquerade[2]);

#endif
