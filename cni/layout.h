/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a pod's interface looks like on the node: names, addresses and marks that ADD makes and DEL,
 * CHECK and GC look for.
 *
 *	   node                                   pod
 *	slXXXXXXXXXXX  ---------- veth ----------  eth0
 *	ee:ee:ee:ee:ee:ee                          10.1.0.5/32, fd00:1::5/128
 *	route 10.1.0.5 dev slXXXXXXXXXXX           default via 169.254.1.1 dev eth0 onlink
 *	route fd00:1::5 dev slXXXXXXXXXXX          default via fe80::1 dev eth0 onlink
 *	                                           neighbours 169.254.1.1 and fe80::1 permanent
 *
 * Nobody has the gateway addresses: the pod only needs a MAC to send to, and has it.
 *
 * The node's end carries an alias "sluice <network> <container id> <ifname>" (ip link shows it).
 * It is what GC goes by: the record of an interface cannot outlive it, nor be lost before it.
 */
#ifndef SLUICE_CNI_LAYOUT_H
#define SLUICE_CNI_LAYOUT_H

#include "cni/netdev.h"
#include "cni/request.h"

extern const uint8_t cni_host_mac[6];

struct cni_address cni_gateway(int family);
struct cni_address cni_default_route(int family);

/*
 * "sl" and 11 hex digits: 44 bits of the FNV-1a hash of "<container id>/<ifname>". Two of 250 pods
 * of a node share a name once in 5e8 nodes; then the second ADD fails with "exists", and the
 * runtime tries again with a new container id.
 */
void cni_host_name(const struct cni_attachment *a, char name[IFNAMSIZ]);

/* Does it look like one that cni_host_name() named and cni_veth_create() made? */
bool cni_is_host_end(const struct cni_link *link);

/* ENAMETOOLONG when the names do not fit. */
int cni_alias_write(const char *network, const struct cni_attachment *a,
		    char alias[CNI_ALIAS_MAX + 1], struct sluice_err *err);

/* Split an alias in place; false when it is none of ours. */
bool cni_alias_read(char *alias, const char **network, struct cni_attachment *a);

#endif
