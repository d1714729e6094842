/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What sluiced does: it keeps the kernel in step with its source of objects, which is the Kubernetes API or
 * manifests, and with the attached pods.
 *
 * Theory of operation
 * -------------------
 * Everything that may change what the kernel shall hold (an object, an attached pod, an interface, a signal) changes the model or the compiler's attachments, and calls controller_want_sync(). When
 * the event loop has nothing else to do, controller_work() makes one transaction of all of it.
 *
 *     waiting for all kinds of objects, each complete once
 *          v
 *     waiting for a data plane -> learn the attached pods -> full transaction, with sweep -> ready
 *          ^                                                          |      ^
 *          +---- the module is unloaded ------------------------------+      | each change: one
 *                (not ready, no state is lost: ours is whole)                +-- small transaction
 *
 * No transaction is made before every kind of object has been complete once, since the first one sweeps:
 * what the kernel has from the last sluiced is all there is until then. Whatever the API server does later,
 * objects go away one by one, by its word (kube_reflector.h).
 *
 * The attached pods are learned before anything is swept, so that a restart closes no pod: the union
 * of the kernel's endpoints, and of what the last sluiced wrote into its file, which is what is left
 * if the module was loaded again while none ran. Where the two disagree the kernel is right. The file
 * is written before the transaction it goes with, and so before anybody is answered. A transaction
 * that fails leaves the kernel as it was; it is tried again after 100 ms, then 200 ms, ... up to 10
 * s, and the compiler makes the next one a full one.
 */
#ifndef SLUICED_CONTROLLER_H
#define SLUICED_CONTROLLER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/lib/compiler.h"
#include "ctl/lib/manifest.h"
#include "ctl/lib/loop.h"
#include "ctl/lib/map.h"
#include "ctl/lib/model.h"
#include "ctl/sluiced/attachment.h"
#include "ctl/sluiced/condition.h"
#include "ctl/sluiced/event.h"
#include "ctl/sluiced/kube.h"
#include "ctl/sluiced/metrics.h"
#include "ctl/sluiced/plane.h"

struct options {
	const char *node;
	const char *const
		*manifests; /* files and directories; none: the Kubernetes API is the source */
	size_t n_manifests;
	const char *kubeconfig; /* NULL: in-cluster, if there are no manifests */
	const char *socket;
	const char *const *uplinks; /* none: the interfaces of the default routes */
	size_t n_uplinks;
	uint64_t conn_budget; /* bytes; 0: the data plane's own */
	unsigned int resync; /* seconds between full transactions; 0: never */
	enum plane_kind dataplane;
	const char *metrics_address; /* ADDRESS:PORT; NULL: none */
	const char *health_address;
	const char *cni_conflist; /* to be installed while ready; NULL: none */
	const char *cni_conf_dir; /* where */
	const char *cgroup; /* whose processes reach services by eBPF; NULL: the root of cgroup2 */
};

struct controller {
	struct loop *loop;
	const struct options *options;
	struct sluice_model *model;
	struct sluice_manifests *manifests;
	struct kube_source *kube; /* NULL: the manifests are the source */
	struct sluice_compiler *compiler;
	struct plane plane;
	struct attachments attachments;

	char *file; /* of the attachments */
	char *file_problem; /* it cannot be written; or NULL */
	bool unsaved; /* the attachments are not what was last written there */
	bool learned; /* the kernel's endpoints and the file have been read, once */
	bool ready; /* the kernel holds a full state of ours, and is there */
	bool configured; /* the kernel has what --conn-budget says */
	bool wanted; /* a transaction */
	bool full; /* a full one */
	uint64_t syncs; /* transactions committed */
	unsigned int failures; /* of transactions, in a row */
	char *failure; /* why the last transaction failed; NULL: it did not */
	int64_t failing; /* loop_now() since which it does */
	struct sluice_addr masquerade[2]; /* the node's addresses towards others: IPv4, IPv6 */
	char *uplink_problem; /* an uplink that is not there; or NULL */
	struct sluice_map told; /* problems that have been logged, and still stand */
	unsigned long reported_version; /* of all that the reporter was told */
	unsigned long told_versions[2]; /* of the manifests' and the compiler's problems in it */
	struct timer retry;
	struct timer resync;
	struct metrics metrics;
	struct conditions *conditions; /* of ClusterNetworkPolicies; NULL as reporter is */
	struct reporter *reporter; /* of problems, to the API server; NULL: there is none */

	/* Called after each attempt at a transaction; for those who wait for one. */
	void (*settled)(void *arg);
	void *settled_arg;
};

/*
 * Loads the manifests, or begins to ask the Kubernetes API. Errors: one of the paths cannot be read, or the
 * kubeconfig cannot be used.
 */
int controller_init(struct controller *c, struct loop *loop, const struct options *options,
		    struct sluice_err *err);
void controller_exit(struct controller *c);

/* Soon: when the loop has nothing else to do. */
void controller_want_sync(struct controller *c, bool full);
bool controller_work(struct controller *c); /* whether there was anything to do */

/* Why there is no transaction yet; to be freed. NULL: nothing is waited for. */
char *controller_waits_for(const struct controller *c);

/* Looks for changed manifests. */
void controller_refresh(struct controller *c);
/* Looks at one that is said to have changed; false if that tells too little: all are to be looked at. */
bool controller_refresh_file(struct controller *c, const char *path);

/* The interface may not be attached yet. */
struct attachment *controller_attach(struct controller *c, const struct attachment *a);
void controller_detach(struct controller *c, struct attachment *a);
/* Is it in the kernel and open? False while its pod is not known, or a transaction is due. */
bool controller_is_open(const struct controller *c, const struct attachment *a);
/* Is all that was asked for in the kernel? */
bool controller_is_settled(const struct controller *c);

/* Detaches those whose interface is gone. */
void controller_check_attachments(struct controller *c);
/* That, and looks again which interfaces are uplinks. */
void controller_check_interfaces(struct controller *c);

/* The module was loaded, or went away; family is its number of that life. */
void controller_module_changed(struct controller *c, bool loaded, int family);

/* What the status request answers; without "ok". */
json_t *controller_status(struct controller *c);

#endif
