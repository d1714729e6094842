/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SLUICE_KMOD_FAST_H
#define SLUICE_KMOD_FAST_H

#include <linux/skbuff.h>

#include "core/plain.h"

struct sluice_conn;
struct sluice_device;

/* What the attempt found out, for sluice_path(): it need not look again. */
struct sluice_known {
	struct sluice_conn *conn; /* when plain; NULL: there is none */
	struct sluice_plain pl; /* likewise */
	bool plain;
	u8 dir; /* with conn */
};

/*
 * At netdev ingress of d, under RCU. true: the packet is delivered. false: it is untouched, but for a
 * header that nobody shares any more.
 */
bool sluice_fast4(struct sluice_device *d, struct sk_buff *skb, struct sluice_known *known);
bool sluice_fast6(struct sluice_device *d, struct sk_buff *skb, struct sluice_known *known);

/* The same for the first packet of a connection that was just made, with known->conn set. */
bool sluice_fast_first(struct sluice_device *d, struct sk_buff *skb, u8 family,
		       const struct sluice_known *known);

#endif
