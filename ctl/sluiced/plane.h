/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which data plane sluiced feeds: chosen once, when it first has something to say to it.
 *
 * auto takes the module where it answers in our network namespace, else the eBPF variant. Where neither can
 * be had it is asked again with each retry: the module may be loaded any moment.
 */
#ifndef SLUICED_PLANE_H
#define SLUICED_PLANE_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/lib/dataplane.h"
#include "ctl/lib/err.h"
#include "ctl/lib/loop.h"
#include "ctl/lib/nl_object.h"

enum plane_kind {
	PLANE_AUTO, /* as chosen: not yet */
	PLANE_MODULE,
	PLANE_BPF,
	PLANE_MEMORY, /* forgets: for tests */
};

struct options;

struct plane {
	enum plane_kind kind;
	struct sluice_dataplane *dp; /* NULL until it is chosen */
	char *why; /* it was; or NULL */
	struct loop *loop;
	struct timer tick; /* of the eBPF variant */
	char *trouble; /* of the last tick; or NULL */
	struct plane_ahead *ahead; /* opens the eBPF variant in the meantime; or NULL */
};

/* "module", "bpf", "memory"; "auto". */
const char *plane_name(enum plane_kind kind);
bool plane_parse(const char *name, enum plane_kind *kind);

/*
 * Begins to open the eBPF variant in a thread of its own, if it is going to be chosen: its programs take a second to be
 * verified, in which the API server makes its lists. Changes nothing of what the kernel has been told. What became of it
 * plane_open() says.
 */
void plane_open_ahead(struct plane *plane, const struct options *options);

/* Chooses and opens it; nothing to do if that has been done. */
int plane_open(struct plane *plane, const struct options *options, struct loop *loop,
	       struct sluice_err *err);
void plane_close(struct plane *plane);

/* What a data plane counts. */
struct plane_counters {
	uint32_t conns;
	uint64_t conn_bytes; /* memory of the connections */
	uint64_t conn_budget;
	struct sluice_nl_stats stats;
};

/*
 * Reads them, without a walk over anything. ENODATA: there is no data plane yet, or this one counts nothing; else the
 * errors of nl.h.
 */
int plane_count(const struct plane *plane, struct plane_counters *counters, struct sluice_err *err);

/* Of the last commit; 0 where it counts none. */
uint32_t plane_revision(const struct plane *plane);

/*
 * The module holds the whole state: what the eBPF variant left in this namespace goes, if there is anything. Logged.
 */
void plane_remove_other(const struct plane *plane);

#endif
