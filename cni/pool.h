/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The built-in IPAM: which address of this node's pod CIDRs belongs to which attachment.
 *
 * Theory of operation. A network has a directory <dataDir>/<network>/ with
 *
 *	lock		flock(2)ed by whoever reads or writes the rest; the kernel unlocks it when
 *			its holder dies, so a killed plugin blocks nobody
 *	10.1.0.5	one file for each reserved address, named by it, holding two lines: the
 *	fd00:1::5	container id and the interface name
 *	last.4, last.6	the address reserved last: where the next search starts, so that a freed
 *			address rests as long as possible before another pod has it
 *	new		the file being written
 *
 * A reservation is written to "new", fsync()ed, and then link(2)ed to its address: the file has its
 * whole content from the moment it exists under that name, and link() fails where the name is
 * taken, so one address cannot be given twice even if the lock failed us. A plugin killed between
 * any two steps leaves either no reservation, or a whole one with its owner's name in it, which the
 * runtime's DEL (it scans for the owner) or GC takes back. "new" is unlinked before it is
 * created, never truncated: a plugin killed after link() leaves it as a second name of a live
 * reservation. "last.*" is a hint: lost, the search starts at the beginning.
 *
 * Worked example, CIDR 10.1.0.0/29 (usable .2 to .6, see cni_address_usable()), .2 and .3 taken,
 * last.4 says .3: the search tries .4 and takes it. When .6 was last it tries .2 first; when it
 * meets its starting point again, the pool is exhausted. Several CIDRs of a family are one range,
 * in the order given. The cost is one link(2) for each taken address stepped over.
 *
 * Errors: negative errno and err set. EEXIST: the attachment holds an address already; ENOSPC:
 * no address is free.
 */
#ifndef SLUICE_CNI_POOL_H
#define SLUICE_CNI_POOL_H

#include "cni/request.h"

struct cni_pool {
	int dir; /* -1: closed, or the network has no store */
	int lock;
	char *path; /* owned; for messages */
};

#define CNI_POOL_INIT { -1, -1, NULL }

/* Open and lock. With create false a missing store is no error: it is empty. */
int cni_pool_open(struct cni_pool *pool, const char *data_dir, const char *network, bool create,
		  struct sluice_err *err);
void cni_pool_close(struct cni_pool *pool);

/* One address of each family among the CIDRs, all or none; at most two. */
int cni_pool_reserve(struct cni_pool *pool, const struct cni_address *cidrs, size_t n_cidrs,
		     const struct cni_attachment *owner, struct cni_address addresses[2],
		     size_t *n_addresses, struct sluice_err *err);

/* Is there a free address of each family? -ENOSPC when not. */
int cni_pool_has_room(struct cni_pool *pool, const struct cni_address *cidrs, size_t n_cidrs,
		      struct sluice_err *err);

/* Does the attachment hold the address? -ENOENT: nobody does; -EEXIST: another one. */
int cni_pool_check(struct cni_pool *pool, const struct cni_address *address,
		   const struct cni_attachment *owner, struct sluice_err *err);

/* Give back what the attachment holds; nothing is fine. */
int cni_pool_release(struct cni_pool *pool, const struct cni_attachment *owner,
		     struct sluice_err *err);

/*
 * Give back what none of these attachments holds. A file whose owner cannot be read belongs to
 * none. It goes on after an error and returns the first.
 */
int cni_pool_sweep(struct cni_pool *pool, const struct cni_attachment *keep, size_t n_keep,
		   struct sluice_err *err);

#endif
