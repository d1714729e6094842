/* SPDX-License-Identifier: GPL-2.0-only */
/* What the table tells others of its connections: flat copies, no pointers into it. */
#ifndef SLUICE_KMOD_CONN_VIEW_H
#define SLUICE_KMOD_CONN_VIEW_H

#include <linux/rhashtable-types.h>

#include "core/conntrack.h"
#include "core/judge.h"
#include "core/tuple.h"
#include "uapi/sluice.h"

struct sluice_net;

/* Fields as SLUICE_CONN_A_*. */
struct sluice_conn_view {
	struct sluice_tuple original;
	struct sluice_tuple reply;
	struct sluice_tcp_dir tcp[2];
	u64 packets[2];
	u64 bytes[2];
	u32 flags; /* SLUICE_CONN_* */
	u32 timeout; /* seconds */
	u32 age; /* seconds */
	u32 egress_rule;
	u32 ingress_rule;
	u32 staged_egress_rule;
	u32 staged_ingress_rule;
	u8 state;
	u8 verdict;
	u8 reason;
	u8 staged_verdict;
};

/* Connections whose original tuple and state have the given values. All zero: every one. */
struct sluice_conn_filter {
	struct sluice_tuple tuple;
	u8 state;
	bool has_src;
	bool has_dst;
	bool has_sport;
	bool has_dport;
	bool has_proto;
	bool has_state;
};

/* A walk over all connections that may be interrupted and go on. Process context. */
struct sluice_conns_walk {
	struct rhashtable_iter iter;
	int table; /* 0, 1, or 2: over */
	bool entered;
};

void sluice_conns_walk_start(struct sluice_net *sn, struct sluice_conns_walk *w);
/*
 * Calls show() for each connection until it answers non-zero, which is returned (that connection
 * comes again at the next call), or 0 at the end. A table that is resized meanwhile may show a
 * connection twice.
 */
int sluice_conns_walk(struct sluice_net *sn, struct sluice_conns_walk *w,
		      const struct sluice_conn_filter *f,
		      int (*show)(const struct sluice_conn_view *v, void *arg), void *arg);
void sluice_conns_walk_stop(struct sluice_conns_walk *w);

/* Kills those that match; returns how many. */
u32 sluice_conns_flush(struct sluice_net *sn, const struct sluice_conn_filter *f);

/* Puts a saved connection back. 0, -EEXIST, -ENOMEM, -ENOSPC, -EINVAL. */
int sluice_conns_restore(struct sluice_net *sn, const struct sluice_conn_view *v);

struct sluice_trace_result {
	struct sluice_judgement judgement;
	const char *service; /* NULL if none; valid under RCU */
	struct sluice_addr backend;
	__be16 backend_port;
};

/* What would happen to a first packet. t->dport of ICMP: type << 8 | code. Under RCU. */
void sluice_trace(struct sluice_net *sn, const struct sluice_tuple *t,
		  struct sluice_trace_result *r);

#endif
