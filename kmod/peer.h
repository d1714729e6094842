/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Peers: address -> peer class, by longest prefix.
 *
 * One hash of (family, prefix length, masked address), and for each family a bitmap of the prefix
 * lengths in use. A look-up tries the lengths in use, longest first: pods are /32 or /128, and
 * found first; an address that is no pod's costs one probe for each length that some policy names,
 * which are few (a handful of CIDRs), however many peers there are.
 *
 * Worked example: 10.1.0.2/32 class 5, 10.0.0.0/8 class 7, 0.0.0.0/0 class 9: lengths {32, 8, 0}.
 * 10.1.0.2: found at 32. 10.9.9.9: not at 32, masked to 10.0.0.0 found at 8. 8.8.8.8: found at 0.
 */
#ifndef SLUICE_KMOD_PEER_H
#define SLUICE_KMOD_PEER_H

#include "core/tuple.h"
#include "net.h"
#include "table.h"

struct sluice_peer {
	struct sluice_node node;
	struct sluice_addr addr;
	u32 class;
	u8 family;
	u8 plen;
	char name[];
};

/* The class of an address, 0 if no prefix holds it. Under RCU. */
u32 sluice_peer_class(struct sluice_net *sn, u32 revision, const struct sluice_addr *addr,
		      u8 family);

struct sluice_peer_args {
	struct sluice_addr addr;
	u32 class;
	const char *name; /* name_len bytes, without NUL */
	u32 name_len;
	u8 family;
	u8 plen;
};

/* Inside a transaction, under sn->mutex. */
int sluice_peer_set(struct sluice_net *sn, const struct sluice_peer_args *args);
/* Reads the key alone: addr, family, plen. -ENOENT */
int sluice_peer_del(struct sluice_net *sn, const struct sluice_peer_args *args);

int sluice_peers_init(struct sluice_net *sn);
void sluice_peers_exit(struct sluice_net *sn);

#endif
