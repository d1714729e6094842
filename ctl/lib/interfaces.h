/* SPDX-License-Identifier: GPL-2.0-only */
/* Network interfaces of the network namespace that we are in, and what they are. */
#ifndef SLUICE_CTL_LIB_INTERFACES_H
#define SLUICE_CTL_LIB_INTERFACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of them; v is the owner's to free. */
struct sluice_interfaces {
	uint32_t *v; /* ifindexes */
	size_t n;
	size_t cap;
};

void sluice_interfaces_add(struct sluice_interfaces *set, uint32_t ifindex);

/* Adds those that the main table's default routes lead to, of either family. false: the routes cannot be read. */
bool sluice_interfaces_of_default_routes(struct sluice_interfaces *set);

bool sluice_interface_is_loopback(uint32_t ifindex);

/* Do its packets stand in Ethernet frames? Those of WireGuard and tun do not. Also true of one that is not there. */
bool sluice_interface_has_frames(uint32_t ifindex);

#endif
