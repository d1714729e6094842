/* SPDX-License-Identifier: GPL-2.0-only */
/* The one transaction of a namespace. See table.h for how it becomes visible. */
#ifndef SLUICE_KMOD_TRANSACTION_H
#define SLUICE_KMOD_TRANSACTION_H

#include "net.h"

/* All under sn->mutex. owner: portid of the socket. */

/* Opens it. -EBUSY: there is one; -EOVERFLOW: revisions are used up; -ENOMEM. */
int sluice_transaction_begin(struct sluice_net *sn, u32 owner);

/* Is the running transaction this socket's? */
static inline bool sluice_transaction_owned(const struct sluice_net *sn, u32 owner)
{
	return owner && sn->owner == owner;
}

/* The revision that it would bring. */
static inline u32 sluice_transaction_revision(const struct sluice_net *sn)
{
	return sn->revision + 1;
}

/*
 * Ends it, either way: after an error, with words in *why, nothing has changed. -ECANCELED: one of
 * its objects was refused.
 */
int sluice_transaction_commit(struct sluice_net *sn, u32 flags, const char **why);
void sluice_transaction_abort(struct sluice_net *sn);

#endif
