/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SLUICE_KMOD_FAST_H
#define SLUICE_KMOD_FAST_H

#include <linux/skbuff.h>

struct sluice_conn;
struct sluice_device;

/* What the attempt found out, for sluice_path(): it need not look again. */
struct sluice_known {
	struct sluice_conn *conn; /* valid when looked is set; NULL: there is none */
	bool looked;
	u8 dir;
};

/*
 * At netdev ingress of d, under RCU. true: the packet is delivered. false: it is untouched, but for a
 * header that nobody shares any more.
 */
bool sluice_fast4(struct sluice_device *d, struct sk_buff *skb, struct sluice_known *known);
bool sluice_fast6(struct sluice_device *d, struct sk_buff *skb, struct sluice_known *known);

#endif
