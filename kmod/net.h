/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What Sluice keeps for one network namespace.
 *
 * It is there for every namespace, and small; all that costs memory or time, the hooks above all, comes
 * with the first transaction (sluice_net_activate) and stays until the namespace or the module goes.
 *
 * Lock order: genl_mutex (taken by the caller of our commands), RTNL, sn->mutex. The packet path takes
 * none of them.
 */
#ifndef SLUICE_KMOD_NET_H
#define SLUICE_KMOD_NET_H

#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "stats.h"
#include "table.h"

struct nf_hook_ops;
struct proc_dir_entry;
struct sluice_backend;
struct sluice_conns;
struct sluice_verdicts;

/* 32 bytes each: a segment is one page-friendly 32 KiB, 4,096 of them are 4 million backends. */
#define SLUICE_BACKENDS_PER_SEGMENT 1024
#define SLUICE_BACKEND_SEGMENTS 4096

struct sluice_backends {
	/*
	 * [SLUICE_BACKEND_SEGMENTS]; set under sn->mutex before an id in it is visible, never
	 * changed again until exit; read by packets.
	 */
	struct sluice_backend **segments;
	u32 used; /* ids ever given out; under sn->mutex, as the others */
	u32 free; /* id + 1 of the first free one, 0: none */
	u32 count; /* in use, also by versions that are dead */
	u32 alive; /* of the services that the running transaction would leave behind */
	u32 committed; /* as of the last commit; read without the lock for INFO */
};

#define SLUICE_PLENS 129

/* Prefix lengths in use, of one family. */
struct sluice_plens {
	/* Set before such a peer is linked, cleared after it is unlinked; read by packets. */
	DECLARE_BITMAP(used, SLUICE_PLENS);
	u32 count[SLUICE_PLENS]; /* linked versions; under sn->mutex */
};

struct sluice_net {
	/* Written by commits under mutex; read for each packet. */
	u32 revision;
	u32 policy_generation;

	/* Written once, when the namespace becomes active; read for each packet. */
	struct sluice_stats __percpu *stats; /* counters: stats.h */
	struct sluice_verdicts __percpu *verdicts; /* verdicts.h */
	struct sluice_conns *conns; /* conn.h */
	struct hlist_head *devices; /* [SLUICE_DEVICE_BUCKETS], device.h; lists under mutex and RCU */
	struct sluice_backends backends;

	/* Written by transactions under mutex; read by packets under RCU. */
	struct sluice_table services;
	struct sluice_hash vips; /* addresses of services: struct sluice_vip, service.c */
	struct sluice_table peers;
	struct sluice_plens *plens; /* [2]: IPv4, IPv6 */
	struct sluice_table rulesets;
	struct sluice_table endpoints;
	struct sluice_hash endpoint_addrs;
	struct sluice_table uplinks;

	/* Likewise, read by dumps alone. */
	struct sluice_table rules;

	/* Control alone, under mutex unless said. */
	struct mutex mutex;
	struct net *net; /* written once */
	bool active; /* written once; read by anybody: sluice_net_active() */
	bool dying; /* hooks are going, nobody is told anything any more; written once, read by anybody */
	u32 owner; /* portid of the socket whose transaction is running, 0: none */
	bool failed; /* ... one of its objects was refused */
	bool burying; /* burial is queued or runs; written under mutex */
	struct rcu_work burial; /* of what died in commits: transaction.c */
	struct list_head vips_touched; /* by the running transaction */
	struct list_head uploads; /* rulesets whose pieces are arriving */
	struct nf_hook_ops *hooks; /* hooks.c */
	atomic_t event_sequence; /* any context */
	struct proc_dir_entry *proc;
};

extern unsigned int sluice_net_id;

/* The state of a namespace. */
static inline struct sluice_net *sluice_net_get(const struct net *net)
{
	return net_generic(net, sluice_net_id);
}

static inline struct net *sluice_net_of(const struct sluice_net *sn)
{
	return sn->net;
}

/* Have tables, connections and counters been set up? Whoever sees true may use them. */
static inline bool sluice_net_active(const struct sluice_net *sn)
{
	/* Pairs with the release in sluice_net_activate(). */
	return smp_load_acquire(&sn->active);
}

/* Read once for each packet, inside its RCU section, and handed to each look-up. */
static inline u32 sluice_revision(const struct sluice_net *sn)
{
	/* Pairs with the release in sluice_transaction_commit(). */
	return smp_load_acquire(&sn->revision);
}

/*
 * Changes when policy does, after the revision: read this first. Whoever judges at a revision that is
 * newer than the generation it keeps is only judged once more.
 */
static inline u32 sluice_policy_generation(const struct sluice_net *sn)
{
	/* Likewise. */
	return smp_load_acquire(&sn->policy_generation);
}

/* Under sn->mutex: sets everything up. 0 if it is already. */
int sluice_net_activate(struct sluice_net *sn);

int sluice_net_init(void);
void sluice_net_exit(void);

#endif
