/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The CNI configuration that tells the node's runtime to attach pods by Sluice: it appears last and disappears first.
 *
 * Written into the runtime's directory once sluiced is ready, so that no pod is started before its packets can be
 * judged; removed when sluiced is told to end, before anything else ends. Half of it is never seen: it is written
 * beside its place, synced, and renamed. A sluiced that is killed leaves it behind, and with it all that enforces;
 * pods wait until the next one answers.
 *
 *	--cni-conflist /etc/sluice/10-sluice.conflist --cni-conf-dir /etc/cni/net.d
 *	ready:		/etc/cni/net.d/.10-sluice.conflist.new, then /etc/cni/net.d/10-sluice.conflist
 *	SIGTERM:	gone
 */
#ifndef SLUICED_CONFLIST_H
#define SLUICED_CONFLIST_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/lib/err.h"

struct conflist {
	char *text; /* NULL: none is to be installed */
	size_t len;
	char *place; /* where it goes */
	char *beside; /* where it is written first */
	bool installed;
	bool ended; /* it shall not come back */
	bool told; /* that it cannot be installed */
};

/* file NULL: nothing will be installed. Errors: it cannot be read, or is no list of plugins with sluice-cni in it. */
int conflist_init(struct conflist *l, const char *file, const char *dir, struct sluice_err *err);
void conflist_exit(struct conflist *l);

/* To be called whenever sluiced may have become ready: installs it, if that has not been done. */
void conflist_install(struct conflist *l);
/* sluiced ends: takes it away, for good. */
void conflist_remove(struct conflist *l);

#endif
