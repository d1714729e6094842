/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The eBPF variant as a data plane: writes the maps of bpf/layout.h.
 *
 * Theory of operation
 * -------------------
 * We know what the maps hold (dataplane_objects.h: the objects; bpf_versions.h: the cells that packets
 * see). It is read from them when the data plane is opened. A transaction is collected in memory alone; commit
 *
 *	1. seals it: what changes, and is it allowed at all
 *	2. stages the versions of revision r + 1, in memory
 *	3. attaches programs to the interfaces that are new (no endpoint of revision r: they are closed)
 *	4. writes backends, rulesets and versions into the maps, where packets of r do not look
 *	5. stores r + 1, then the policy generation
 *	6. takes away what is not needed any more, and writes the names for people
 *
 * Up to 5 an error, or being killed, changes nothing for packets: the next begin, or the next process, reads the
 * maps again and undoes what it finds of r + 1. After a commit whose names could not be written it fails, but
 * holds for packets; the full transaction that has to follow a failed one writes the names, too.
 *
 * begin, or sluice_dataplane_bpf_tick() if it comes first, waits for a grace period after each commit. What died
 * in it is taken out of the maps then, and a second grace period passes before anything is put in: a
 * program that is just looking at a dead element must not see another one's value in its memory.
 *
 * An endpoint that goes leaves its programs behind on the interface, which drop everything; like the module's
 * hooks they go with the interface, or become an uplink's.
 */
#ifndef SLUICE_CTL_LIB_DATAPLANE_BPF_H
#define SLUICE_CTL_LIB_DATAPLANE_BPF_H

#include "ctl/lib/bpf_object.h"
#include "ctl/lib/dataplane.h"
#include "ctl/lib/err.h"

/* To be ended with ops->close. Opened by open(), else by the first begin. The options are copied, but not what they point to. */
struct sluice_dataplane *sluice_dataplane_bpf_new(const struct sluice_bpf_options *options);
/* Loads, pins, or takes what is there; 0 if it is open already. Errors: see sluice_bpf_open(). */
int sluice_dataplane_bpf_open(struct sluice_dataplane *dp, struct sluice_err *err);

/*
 * To be called every 100 to 200 ms: grows the connection table ahead of need, takes down the connections of pods that
 * went, attaches well what was attached in haste, and waits for the grace period of the last commit, so that the next one need not. Nothing is lost by an error: it tries again.
 */
int sluice_dataplane_bpf_tick(struct sluice_dataplane *dp, struct sluice_err *err);

/* Another memory budget of connections, once it is open. */
int sluice_dataplane_bpf_budget(struct sluice_dataplane *dp, uint64_t bytes,
				struct sluice_err *err);

/*
 * The node's address towards other nodes, by family; all zero: none. Has to be told again when it
 * changes.
 */
void sluice_dataplane_bpf_masquerade(struct sluice_dataplane *dp, const struct sluice_addr addr[2]);

uint32_t sluice_dataplane_bpf_revision(const struct sluice_dataplane *dp);
/* NULL while it is not open. */
const struct sluice_bpf *sluice_dataplane_bpf_object(const struct sluice_dataplane *dp);
/* As sluice_memory_dump(). */
char *sluice_dataplane_bpf_dump(const struct sluice_dataplane *dp);

#endif
