/* SPDX-License-Identifier: GPL-2.0-only */
/* The generic netlink family. Its manual is uapi/sluice.h. */
#ifndef SLUICE_KMOD_NETLINK_H
#define SLUICE_KMOD_NETLINK_H

#include <linux/types.h>
#include <net/genetlink.h>

struct sluice_conn_view;
struct sluice_net;

/* Does anybody listen to events? Any context. Ask before a view is built. */
bool sluice_events_wanted(struct sluice_net *sn);

/* Any context. type: enum sluice_event_type. What cannot be built or sent counts as lost. */
void sluice_event_send(struct sluice_net *sn, u8 type, const struct sluice_conn_view *v);

int sluice_netlink_init(void);
void sluice_netlink_exit(void);

#endif
