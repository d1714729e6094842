// SPDX-License-Identifier: GPL-2.0-only
#include <linux/netdevice.h>
#include <linux/workqueue.h>

#include "device.h"
#include "endpoint.h"
#include "ruleset.h"
#include "service.h"
#include "transaction.h"
#include "uapi/sluice.h"

#define TABLES 6

/* The i-th table, endpoints and uplinks (which let go of devices) last. */
static struct sluice_table *table(struct sluice_net *sn, unsigned int i)
{
	struct sluice_table *const tables[TABLES] = {
		&sn->services, &sn->peers, &sn->rules, &sn->rulesets, &sn->endpoints, &sn->uplinks,
	};

	return tables[i];
}

/*
 * Burial
 * ------
 * What dies in a commit rests until a grace period has passed that began after it. One is under way for
 * all tables at a time (rcu_work counts one request, and so do we): what died before it began is in the
 * graves, what died since rests, and moves into the graves when they are empty. Example, with commits c1,
 * c2 and c3 and grace periods as lines:
 *
 *     c1          c2    c3
 *     |-----------------------|-----------------------|
 *     c1's: graves            buried
 *                 c2's, c3's: resting, then graves    buried
 *
 * So a version is buried at most two grace periods after it died.
 */
static bool dig(struct sluice_net *sn)
{
	bool any = false;
	unsigned int i;

	for (i = 0; i < TABLES; i++)
		any |= sluice_table_dig(table(sn, i));
	return any;
}

static void bury(struct sluice_net *sn)
{
	unsigned int i;

	for (i = 0; i < TABLES; i++)
		sluice_table_bury(sn, table(sn, i));
}

/* Puts the resting on their way. */
static void start_burial(struct sluice_net *sn)
{
	sn->burying = dig(sn);
	if (sn->burying)
		queue_rcu_work(system_unbound_wq, &sn->burial);
}

static void burial(struct work_struct *work)
{
	struct sluice_net *sn = container_of(to_rcu_work(work), struct sluice_net, burial);

	mutex_lock(&sn->mutex);
	bury(sn);
	start_burial(sn);
	mutex_unlock(&sn->mutex);
}

void sluice_transaction_bury(struct sluice_net *sn)
{
	lockdep_assert_held(&sn->mutex);
	if (!dig(sn))
		return;
	synchronize_net();
	bury(sn);
}

void sluice_transactions_init(struct sluice_net *sn)
{
	INIT_RCU_WORK(&sn->burial, burial);
}

void sluice_transactions_exit(struct sluice_net *sn)
{
	/* Until it is through, and has not started another one. */
	do {
		flush_rcu_work(&sn->burial);
	} while (READ_ONCE(sn->burying));
}

int sluice_transaction_begin(struct sluice_net *sn, u32 owner)
{
	int err;

	if (sn->owner)
		return -EBUSY;
	if (sn->revision >= SLUICE_ALIVE - 2)
		return -EOVERFLOW;
	err = sluice_net_activate(sn);
	if (err)
		return err;
	sn->owner = owner;
	sn->failed = false;
	return 0;
}

void sluice_transaction_abort(struct sluice_net *sn)
{
	unsigned int i;

	for (i = 0; i < TABLES; i++)
		sluice_table_abort(sn, table(sn, i));
	sluice_services_settle(sn);
	sluice_rulesets_abort(sn);
	sn->owner = 0;
	sn->failed = false;
}

int sluice_transaction_commit(struct sluice_net *sn, u32 flags, const char **why)
{
	unsigned int i;
	bool policy;
	int err;

	if (sn->failed) {
		*why = "an object of this transaction was refused";
		err = -ECANCELED;
		goto abort;
	}
	if (sluice_ruleset_unfinished(sn)) {
		*why = "a ruleset has not arrived whole";
		err = -EINVAL;
		goto abort;
	}
	if (flags & SLUICE_COMMIT_SWEEP)
		for (i = 0; i < TABLES; i++)
			sluice_table_sweep(sn, table(sn, i));
	err = sluice_endpoints_check(sn, why);
	if (err)
		goto abort;

	policy = sluice_table_changed(&sn->peers) || sluice_table_changed(&sn->rules) ||
		 sluice_table_changed(&sn->rulesets) || sluice_table_changed(&sn->endpoints);
	sluice_services_seal(sn);
	/* Here it becomes visible. Pairs with the acquire in sluice_revision(). */
	smp_store_release(&sn->revision, sn->revision + 1);
	if (policy) {
		/* After the revision. Pairs with the acquire in sluice_policy_generation(). */
		smp_store_release(&sn->policy_generation, sn->policy_generation + 1);
	}

	sluice_services_settle(sn);
	sluice_devices_settle(sn);
	for (i = 0; i < TABLES; i++)
		sluice_table_settle(sn, table(sn, i));
	if (!sn->burying)
		start_burial(sn);
	sn->owner = 0;
	return 0;

abort:
	sluice_transaction_abort(sn);
	return err;
}
