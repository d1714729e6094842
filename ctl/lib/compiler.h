/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The compiler: from the model to what this node's data plane shall hold.
 *
 * It listens to a model, remembers what a change touches, and on sync sends the differences to a
 * data plane as one transaction. See compiler.c for how it works.
 *
 * One thread owns the model and its compilers. The model must outlive the compiler.
 */
#ifndef SLUICE_CTL_LIB_COMPILER_H
#define SLUICE_CTL_LIB_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/lib/dataplane.h"
#include "ctl/lib/err.h"
#include "ctl/lib/model.h"

struct sluice_compiler;

/* A pod's interface on this node. Everything is copied. */
struct sluice_attachment {
	uint32_t ifindex; /* of the host end; key */
	const char *ns; /* "" and "": no pod is known behind it; selected by nothing */
	const char *pod;
	const char *container; /* "containerID/ifname" */
	const struct sluice_dp_addr *addrs;
	size_t n_addrs;
};

/* node may be NULL or "": services with internalTrafficPolicy Local then keep all backends. */
struct sluice_compiler *sluice_compiler_new(struct sluice_model *model, const char *node);
void sluice_compiler_free(struct sluice_compiler *compiler);

/*
 * An endpoint is open in the data plane if its pod is in the model (or it names no pod), else it is
 * closed; a pod that comes later opens it with the next sync. While the pod is attached, its
 * addresses are the ones given here, whatever its status says. Replaces an attachment of the same
 * ifindex.
 */
void sluice_compiler_attach(struct sluice_compiler *compiler, const struct sluice_attachment *a);
void sluice_compiler_detach(struct sluice_compiler *compiler, uint32_t ifindex);
/*
 * Instead of attachments, for trace without a node: every pod of the model that has addresses and
 * not the host's network is attached, under made-up ifindexes. A service without a clusterIP gets
 * sluice_service_made_up_ips(). To be called before the first sync.
 */
void sluice_compiler_attach_all(struct sluice_compiler *compiler);

/* The node's uplinks, replacing those given before. */
void sluice_compiler_set_uplinks(struct sluice_compiler *compiler, const uint32_t *ifindexes,
				 size_t n);

/* Whether a sync would send anything. */
bool sluice_compiler_dirty(const struct sluice_compiler *compiler);
/*
 * Sends what changed since the last sync that worked, or everything (full: with sweep, so that what
 * else is there goes away). After an error nothing has changed in the data plane, and the next sync
 * is a full one by itself. Nothing to send: no transaction is made.
 */
int sluice_compiler_sync(struct sluice_compiler *compiler, struct sluice_dataplane *dp, bool full,
			 struct sluice_err *err);

struct sluice_compiler_stats {
	size_t services; /* (address, port, protocol) entries */
	size_t backends;
	size_t peers;
	size_t classes;
	size_t rules;
	size_t rulesets;
	size_t endpoints;
	/* Work of the last sync: */
	size_t sent; /* messages, set and del */
	size_t built; /* rulesets compiled */
	size_t classified; /* addresses whose class was computed */
	size_t compiled_services;
	int64_t compile_ns; /* from objects to what the data plane shall hold */
	int64_t commit_ns; /* the transaction */
};
void sluice_compiler_stats(const struct sluice_compiler *compiler,
			   struct sluice_compiler_stats *stats);

/* Changes whenever the problems have. */
unsigned long sluice_compiler_problems_version(const struct sluice_compiler *compiler);
struct sluice_compiler_problem {
	char *text; /* "Service a/b: ..." */
	bool local; /* only nodes with certain pods find it: the others do not compile for them */
};
/* What was left out or refused, as of the last sync, sorted. Owned by the compiler. */
size_t sluice_compiler_problems(const struct sluice_compiler *compiler,
				const struct sluice_compiler_problem **problems);

/* "ingress[0]" of "namespace/policy" by rule id; false if there is none. Owned by the compiler. */
bool sluice_compiler_rule(const struct sluice_compiler *compiler, uint32_t id, const char **policy,
			  const char **rule);

#endif
