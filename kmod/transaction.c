// SPDX-License-Identifier: GPL-2.0-only
#include <linux/netdevice.h>

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
	bool policy, dying = false;
	unsigned int i;
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
	for (i = 0; i < TABLES; i++) {
		sluice_table_settle(sn, table(sn, i));
		dying |= sluice_table_changed(table(sn, i));
	}
	if (dying) {
		/* Until the last packet that works at the older revision is through. */
		synchronize_net();
		for (i = 0; i < TABLES; i++)
			sluice_table_bury(sn, table(sn, i));
	}
	sn->owner = 0;
	return 0;

abort:
	sluice_transaction_abort(sn);
	return err;
}
