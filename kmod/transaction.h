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
 * its objects was refused. Does not wait: packets that come from now on work at the new revision, those
 * under way finish at theirs.
 */
int sluice_transaction_commit(struct sluice_net *sn, u32 flags, const char **why);
void sluice_transaction_abort(struct sluice_net *sn);

/*
 * Waits until nobody works at an older revision, and buries what died in earlier commits. For those few
 * whom the dead are in the way of; inside or outside of a transaction, under sn->mutex.
 */
void sluice_transaction_bury(struct sluice_net *sn);

/* Of a namespace, as it comes and goes. exit: not under sn->mutex, after the last commit. */
void sluice_transactions_init(struct sluice_net *sn);
void sluice_transactions_exit(struct sluice_net *sn);

#endif
