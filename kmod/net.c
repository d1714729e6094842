// SPDX-License-Identifier: GPL-2.0-only
#include "conn.h"
#include "device.h"
#include "endpoint.h"
#include "hooks.h"
#include "net.h"
#include "peer.h"
#include "proc.h"
#include "rule.h"
#include "ruleset.h"
#include "service.h"
#include "transaction.h"
#include "verdicts.h"

unsigned int sluice_net_id __read_mostly;

int sluice_net_activate(struct sluice_net *sn)
{
	int err;

	lockdep_assert_held(&sn->mutex);
	if (sn->active)
		return 0;
	err = sluice_stats_init(sn);
	if (err)
		return err;
	sn->verdicts = alloc_percpu(struct sluice_verdicts);
	if (!sn->verdicts) {
		err = -ENOMEM;
		goto exit_stats;
	}
	err = sluice_services_init(sn);
	if (err)
		goto free_verdicts;
	err = sluice_peers_init(sn);
	if (err)
		goto exit_services;
	err = sluice_rules_init(sn);
	if (err)
		goto exit_peers;
	err = sluice_rulesets_init(sn);
	if (err)
		goto exit_rules;
	err = sluice_devices_init(sn);
	if (err)
		goto exit_rulesets;
	err = sluice_endpoints_init(sn);
	if (err)
		goto exit_devices;
	err = sluice_conns_init(sn);
	if (err)
		goto exit_endpoints;
	err = sluice_hooks_register(sn);
	if (err)
		goto exit_conns;
	/* Pairs with the acquire in sluice_net_active(). */
	smp_store_release(&sn->active, true);
	return 0;

exit_conns:
	synchronize_net(); /* some hooks may have been there for a moment */
	sluice_conns_exit(sn);
exit_endpoints:
	sluice_endpoints_exit(sn);
exit_devices:
	sluice_devices_exit(sn);
exit_rulesets:
	sluice_rulesets_exit(sn);
exit_rules:
	sluice_rules_exit(sn);
exit_peers:
	sluice_peers_exit(sn);
exit_services:
	sluice_services_exit(sn);
free_verdicts:
	free_percpu(sn->verdicts);
exit_stats:
	sluice_stats_exit(sn);
	return err;
}

static int __net_init net_init(struct net *net)
{
	struct sluice_net *sn = sluice_net_get(net);

	mutex_init(&sn->mutex);
	sn->net = net;
	sluice_transactions_init(sn);
	return sluice_proc_init(sn);
}

/* All namespaces that go do this first; then a grace period passes; then net_exit(). */
static void __net_exit net_pre_exit(struct net *net)
{
	struct sluice_net *sn = sluice_net_get(net);

	sluice_proc_exit(sn);
	mutex_lock(&sn->mutex);
	WRITE_ONCE(sn->dying, true);
	if (sn->active) {
		if (sn->owner)
			sluice_transaction_abort(sn);
		sluice_hooks_unregister(sn);
		sluice_devices_unhook(sn);
	}
	mutex_unlock(&sn->mutex);
}

static void __net_exit net_exit(struct net *net)
{
	struct sluice_net *sn = sluice_net_get(net);

	sluice_transactions_exit(sn);
	mutex_lock(&sn->mutex);
	if (sn->active) {
		sluice_conns_exit(sn);
		sluice_endpoints_exit(sn);
		sluice_devices_exit(sn);
		sluice_rulesets_exit(sn);
		sluice_rules_exit(sn);
		sluice_peers_exit(sn);
		sluice_services_exit(sn);
		free_percpu(sn->verdicts);
		sluice_stats_exit(sn);
	}
	mutex_unlock(&sn->mutex);
	mutex_destroy(&sn->mutex);
}

static struct pernet_operations net_ops = {
	.init = net_init,
	.pre_exit = net_pre_exit,
	.exit = net_exit,
	.id = &sluice_net_id,
	.size = sizeof(struct sluice_net),
};

int sluice_net_init(void)
{
	return register_pernet_subsys(&net_ops);
}

void sluice_net_exit(void)
{
	unregister_pernet_subsys(&net_ops);
}
