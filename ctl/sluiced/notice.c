// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/notice.h"

#include <linux/genetlink.h>
#include <linux/rtnetlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "ctl/sluiced/controller.h"
#include "ctl/sluiced/log.h"
#include "uapi/sluice.h"

/* A node that starts creates and renames interfaces by the dozen. */
#define SETTLE_MS 20

/* One datagram, or 0 when none waits; one that was too long or got lost counts as one of length 1. */
static ssize_t receive(struct nl_sock *sock, void *buf, size_t size)
{
	ssize_t n = recv(nl_socket_get_fd(sock), buf, size, MSG_DONTWAIT);

	if (n < 0 && errno == ENOBUFS)
		return 1;
	return n < 0 ? 0 : n;
}

static void on_route(struct watch *watch, uint32_t events)
{
	struct notices *n = container_of(watch, struct notices, route_watch);
	char buf[32768];

	(void)events;
	/* Which one it was does not matter: there are few, and all are looked at. */
	if (!receive(n->route, buf, sizeof(buf)))
		return;
	if (!n->settle.at)
		loop_arm(n->controller->loop, &n->settle, SETTLE_MS);
}

static void settle(struct timer *timer)
{
	controller_check_interfaces(container_of(timer, struct notices, settle)->controller);
}

static void on_family(struct watch *watch, uint32_t events)
{
	struct notices *n = container_of(watch, struct notices, genl_watch);
	char buf[32768];
	struct nlmsghdr *hdr = (void *)buf;
	int left = receive(n->genl, buf, sizeof(buf));

	(void)events;
	for (; nlmsg_ok(hdr, left); hdr = nlmsg_next(hdr, &left)) {
		struct genlmsghdr *genl = nlmsg_data(hdr);
		struct nlattr *name, *id;

		if (nlmsg_datalen(hdr) < (int)sizeof(*genl) ||
		    (genl->cmd != CTRL_CMD_NEWFAMILY && genl->cmd != CTRL_CMD_DELFAMILY))
			continue;
		name = nlmsg_find_attr(hdr, GENL_HDRLEN, CTRL_ATTR_FAMILY_NAME);
		id = nlmsg_find_attr(hdr, GENL_HDRLEN, CTRL_ATTR_FAMILY_ID);
		if (name && !nla_strcmp(name, SLUICE_GENL_NAME) && id)
			controller_module_changed(n->controller, genl->cmd == CTRL_CMD_NEWFAMILY,
						  nla_get_u16(id));
	}
}

static int join(struct nl_sock *sock, int group, struct sluice_err *err)
{
	int ret = nl_socket_add_membership(sock, group);

	return ret ? sluice_err_set(err, EIO, "netlink notices: %s", nl_geterror(ret)) : 0;
}

int notices_init(struct notices *n, struct controller *c, struct sluice_err *err)
{
	int ret, group;

	*n = (struct notices){ .controller = c };
	n->settle.expired = settle;
	n->route = nl_socket_alloc();
	n->genl = nl_socket_alloc();
	if (!n->route || !n->genl || nl_connect(n->route, NETLINK_ROUTE) || genl_connect(n->genl)) {
		ret = sluice_err_set(err, EIO, "netlink sockets: %s", strerror(errno));
		goto exit;
	}
	ret = join(n->route, RTNLGRP_LINK, err);
	if (!ret)
		ret = join(n->route, RTNLGRP_IPV4_IFADDR, err);
	if (!ret)
		ret = join(n->route, RTNLGRP_IPV6_IFADDR, err);
	if (!ret && !c->options->n_uplinks) {
		ret = join(n->route, RTNLGRP_IPV4_ROUTE, err);
		if (!ret)
			ret = join(n->route, RTNLGRP_IPV6_ROUTE, err);
	}
	if (ret)
		goto exit;
	group = genl_ctrl_resolve_grp(n->genl, "nlctrl", "notify");
	if (group < 0) {
		ret = sluice_err_set(err, EIO, "notices of generic netlink: %s",
				     nl_geterror(group));
		goto exit;
	}
	ret = join(n->genl, group, err);
	if (ret)
		goto exit;

	n->route_watch = (struct watch){ nl_socket_get_fd(n->route), on_route };
	n->genl_watch = (struct watch){ nl_socket_get_fd(n->genl), on_family };
	ret = loop_add(c->loop, &n->route_watch, EPOLLIN, err);
	if (!ret)
		ret = loop_add(c->loop, &n->genl_watch, EPOLLIN, err);
	if (ret)
		goto exit;
	/* Once more: something may have changed before we listened. */
	loop_arm(c->loop, &n->settle, 0);
	return 0;

exit:
	notices_exit(n);
	return ret;
}

void notices_exit(struct notices *n)
{
	loop_disarm(n->controller->loop, &n->settle);
	if (n->route)
		nl_socket_free(n->route);
	if (n->genl)
		nl_socket_free(n->genl);
}
