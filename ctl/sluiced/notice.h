/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel tells by itself: interfaces that come and go, default routes that change, and the
 * module being loaded or unloaded.
 */
#ifndef SLUICED_NOTICE_H
#define SLUICED_NOTICE_H

#include "ctl/lib/err.h"
#include "ctl/lib/loop.h"

struct controller;
struct nl_sock;

struct notices {
	struct controller *controller;
	struct nl_sock *route; /* rtnetlink */
	struct nl_sock *genl; /* notices of generic netlink about its families */
	struct watch route_watch;
	struct watch genl_watch;
	struct timer settle;
};

int notices_init(struct notices *n, struct controller *c, struct sluice_err *err);
void notices_exit(struct notices *n);

#endif
