/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where objects come from, as it tells of itself: for readiness and for metrics. Whoever feeds the model embeds
 * one for each kind of objects, adds it with controller_add_source(), and keeps it current. A source of files is
 * none: it is read before anything else happens.
 */
#ifndef SLUICED_SOURCE_H
#define SLUICED_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

struct source {
	const char *name; /* "pods"; goes into a label as it is */
	bool synced; /* the model has held all that there was, once */
	bool connected; /* a watch is open */
	int64_t heard; /* loop_now() of the last event, bookmark or list; 0: never */
	uint64_t lists; /* begun */
	uint64_t watches; /* begun */
	uint64_t events; /* objects added, modified and deleted */
	uint64_t failures; /* of lists and watches */
	uint64_t refused; /* objects that could not be read */
	uint64_t bytes; /* received, before decompression */
	struct source *next;
};

#endif
