/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel module as a data plane.
 *
 * Objects are collected into UPDATE and DELETE messages of up to SLUICE_NL_MESSAGE_BYTES. An error
 * in one of them therefore shows at a later set or del, or at commit; its message names the object.
 *
 * The socket is opened by begin, when there is none. A begin that finds the module gone (or loaded
 * anew since) fails with ENOPROTOOPT and closes it: all that the kernel held is lost, so that what
 * follows must be a full transaction, which opens a new socket.
 */
#ifndef SLUICE_CTL_LIB_DATAPLANE_NETLINK_H
#define SLUICE_CTL_LIB_DATAPLANE_NETLINK_H

#include "ctl/lib/dataplane.h"
#include "ctl/lib/err.h"

/* To be ended with ops->close. */
struct sluice_dataplane *sluice_dataplane_netlink_new(void);

/* The revision of the last commit. */
uint32_t sluice_dataplane_netlink_revision(const struct sluice_dataplane *dp);
/*
 * The number of the family that its socket speaks to, 0 without one. Each load of the module has
 * another.
 */
int sluice_dataplane_netlink_family(const struct sluice_dataplane *dp);

#endif
