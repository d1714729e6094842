/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections on the wire: SLUICE_CONN_A_*, SLUICE_TUPLE_A_*, traces and events. */
#ifndef SLUICE_KMOD_NETLINK_CONN_H
#define SLUICE_KMOD_NETLINK_CONN_H

#include <net/genetlink.h>

#include "uapi/sluice.h"

struct sluice_addr;
struct sluice_conn_filter;
struct sluice_conn_view;

extern struct genl_family sluice_genl_family;
extern const struct nla_policy sluice_conn_policy[SLUICE_CONN_A_MAX + 1];
extern const struct nla_policy sluice_trace_policy[SLUICE_TRACE_A_MAX + 1];

/* Reads an address of 4 or 16 bytes. -EINVAL with its words in the extended ack. */
int sluice_get_addr(const struct nlattr *attr, struct sluice_addr *addr, u8 *family,
		    struct netlink_ext_ack *extack);
int sluice_put_addr(struct sk_buff *skb, int type, const struct sluice_addr *addr, u8 family);

/* Refuses an attribute in words that need not be a literal. Returns err. */
int sluice_refuse(struct netlink_ext_ack *extack, const struct nlattr *attr, const char *why,
		  int err);

/* The namespace of a socket. */
struct sluice_net *sluice_net_of_skb(const struct sk_buff *skb);

/* A nested attribute. -EMSGSIZE: it does not fit, and nothing was added. */
int sluice_put_conn(struct sk_buff *skb, int type, const struct sluice_conn_view *v);

int sluice_cmd_flush_conn(struct sk_buff *skb, struct genl_info *info);
int sluice_cmd_set_conn(struct sk_buff *skb, struct genl_info *info);
int sluice_cmd_trace(struct sk_buff *skb, struct genl_info *info);
int sluice_dump_conn_start(struct netlink_callback *cb);
int sluice_dump_conn(struct sk_buff *skb, struct netlink_callback *cb);
int sluice_dump_conn_done(struct netlink_callback *cb);

/* Answers with one u32 attribute. */
int sluice_reply_u32(struct genl_info *info, int type, u32 value);

#endif
