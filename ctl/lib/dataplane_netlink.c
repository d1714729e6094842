// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/dataplane_netlink.h"

#include <linux/genetlink.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/nl.h"
#include "ctl/lib/nl_object.h"

/* A ruleset's piece fits a message beside others. */
#define PIECE_BYTES (32U << 10)

/* The longest single object: an attribute of 64 KiB and its headers. */
#define LARGE_BYTES (68U << 10)

struct netlink_dataplane {
	struct sluice_dataplane dp;
	struct sluice_nl nl; /* nl.sock is NULL while there is none */
	struct nl_msg *msg; /* being filled, or NULL */
	uint8_t cmd; /* its command */
	uint32_t revision;
};

static struct netlink_dataplane *self_of(struct sluice_dataplane *dp)
{
	return (struct netlink_dataplane *)dp;
}

static void drop_message(struct netlink_dataplane *self)
{
	nlmsg_free(self->msg);
	self->msg = NULL;
}

/*
 * Sends what is collected and waits for the ack. Nothing would be won by sending the next message
 * before: the kernel works a message off inside of sendmsg(), and its ack is there on return.
 */
static int flush(struct netlink_dataplane *self, struct sluice_err *err)
{
	struct nl_msg *msg = self->msg;

	if (!msg)
		return 0;
	self->msg = NULL;
	return sluice_nl_call(&self->nl, msg, NULL, NULL, err);
}

/* Makes sure that there is a message of that command with some room. */
static int prepare(struct netlink_dataplane *self, uint8_t cmd, size_t room, struct sluice_err *err)
{
	int ret;

	if (self->msg && self->cmd == cmd)
		return 0;
	ret = flush(self, err);
	if (ret)
		return ret;
	self->msg = sluice_nl_message(&self->nl, cmd, room, err);
	self->cmd = cmd;
	return self->msg ? 0 : -ENOMEM;
}

/* A ruleset travels in these. */
struct piece {
	uint32_t id;
	uint32_t size; /* of the whole blob */
	uint32_t offset;
	const void *data;
	uint32_t len; /* 0: the key alone */
};

static bool put_object(struct nl_msg *msg, int type, const void *o, bool key_only)
{
	const struct piece *piece = o;

	switch (type) {
	case SLUICE_A_SERVICE:
		return sluice_nl_put_service(msg, o, key_only);
	case SLUICE_A_PEER:
		return sluice_nl_put_peer(msg, o, key_only);
	case SLUICE_A_RULE:
		return sluice_nl_put_rule(msg, o, key_only);
	case SLUICE_A_RULESET:
		return sluice_nl_put_ruleset(msg, piece->id, piece->size, piece->offset,
					     piece->data, piece->len);
	case SLUICE_A_ENDPOINT:
		return sluice_nl_put_endpoint(msg, o, key_only);
	case SLUICE_A_UPLINK:
		return sluice_nl_put_uplink(msg, o);
	}
	return false;
}

/*
 * Into the message at hand, else into the next one, else into one that is larger than usual. -EMSGSIZE,
 * with err not set, if it is too large for that too.
 */
static int put(struct netlink_dataplane *self, uint8_t cmd, int type, const void *o,
	       struct sluice_err *err)
{
	static const size_t rooms[] = { SLUICE_NL_MESSAGE_BYTES, SLUICE_NL_MESSAGE_BYTES,
					LARGE_BYTES };
	int ret;

	for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		ret = prepare(self, cmd, rooms[i], err);
		if (ret)
			return ret;
		if (put_object(self->msg, type, o, cmd == SLUICE_CMD_DELETE))
			return 0;
		if (nlmsg_datalen(nlmsg_hdr(self->msg)) <= (int)GENL_HDRLEN)
			drop_message(self);
		ret = flush(self, err);
		if (ret)
			return ret;
	}
	return -EMSGSIZE;
}

static int take_revision(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	uint32_t *revision = arg;

	(void)err;
	if (attrs[SLUICE_A_REVISION] && nla_len(attrs[SLUICE_A_REVISION]) == sizeof(*revision))
		*revision = nla_get_u32(attrs[SLUICE_A_REVISION]);
	return 0;
}

static int netlink_begin(struct sluice_dataplane *dp, struct sluice_err *err)
{
	struct netlink_dataplane *self = self_of(dp);
	uint32_t revision;
	int ret;

	if (!self->nl.sock) {
		ret = sluice_nl_open_module(&self->nl, err);
		if (ret)
			return ret;
	}
	ret = sluice_nl_call(&self->nl, sluice_nl_message(&self->nl, SLUICE_CMD_BEGIN, 0, err),
			     take_revision, &revision, err);
	if (ret == -ENOPROTOOPT) {
		sluice_nl_close(&self->nl);
		return ret;
	}
	return ret ? sluice_err_prefix(err, "begin") : 0;
}

static void netlink_abort(struct sluice_dataplane *dp)
{
	struct netlink_dataplane *self = self_of(dp);

	drop_message(self);
	/* The kernel may have ended it already; and closing the socket would do the same. */
	if (self->nl.sock)
		sluice_nl_call(&self->nl, sluice_nl_message(&self->nl, SLUICE_CMD_ABORT, 0, NULL),
			       NULL, NULL, NULL);
}

static int netlink_commit(struct sluice_dataplane *dp, bool sweep, struct sluice_err *err)
{
	struct netlink_dataplane *self = self_of(dp);
	struct nl_msg *msg;
	int ret;

	ret = flush(self, err);
	if (ret)
		return ret;
	msg = sluice_nl_message(&self->nl, SLUICE_CMD_COMMIT, 0, err);
	if (!msg)
		return -ENOMEM;
	nla_put_u32(msg, SLUICE_A_FLAGS, sweep ? SLUICE_COMMIT_SWEEP : 0);
	ret = sluice_nl_call(&self->nl, msg, take_revision, &self->revision, err);
	return ret ? sluice_err_prefix(err, "commit") : 0;
}

static int netlink_set_service(struct sluice_dataplane *dp, const struct sluice_dp_service *o,
			       struct sluice_err *err)
{
	int ret = put(self_of(dp), SLUICE_CMD_UPDATE, SLUICE_A_SERVICE, o, err);

	/* The one object that may be too large: the others are small, or travel in pieces. */
	if (ret == -EMSGSIZE)
		return sluice_err_set(
			err, EMSGSIZE,
			"service %s: its %u backends are too many for a netlink message", o->name,
			o->n_backends);
	return ret;
}

static int netlink_set_ruleset(struct sluice_dataplane *dp, const struct sluice_dp_ruleset *o,
			       struct sluice_err *err)
{
	struct piece piece = { .id = o->id, .size = o->blob->size };
	int ret = 0;

	for (; !ret && piece.offset < piece.size; piece.offset += piece.len) {
		piece.data = (const char *)o->blob + piece.offset;
		piece.len = piece.size - piece.offset;
		if (piece.len > PIECE_BYTES)
			piece.len = PIECE_BYTES;
		ret = put(self_of(dp), SLUICE_CMD_UPDATE, SLUICE_A_RULESET, &piece, err);
	}
	return ret;
}

static int netlink_del_ruleset(struct sluice_dataplane *dp, const struct sluice_dp_ruleset *o,
			       struct sluice_err *err)
{
	struct piece piece = { .id = o->id };

	return put(self_of(dp), SLUICE_CMD_DELETE, SLUICE_A_RULESET, &piece, err);
}

#define SET(noun, attr)                                                                         \
	static int netlink_set_##noun(struct sluice_dataplane *dp,                              \
				      const struct sluice_dp_##noun *o, struct sluice_err *err) \
	{                                                                                       \
		return put(self_of(dp), SLUICE_CMD_UPDATE, attr, o, err);                       \
	}
#define DEL(noun, attr)                                                                         \
	static int netlink_del_##noun(struct sluice_dataplane *dp,                              \
				      const struct sluice_dp_##noun *o, struct sluice_err *err) \
	{                                                                                       \
		return put(self_of(dp), SLUICE_CMD_DELETE, attr, o, err);                       \
	}
DEL(service, SLUICE_A_SERVICE)
SET(peer, SLUICE_A_PEER)
DEL(peer, SLUICE_A_PEER)
SET(rule, SLUICE_A_RULE)
DEL(rule, SLUICE_A_RULE)
SET(endpoint, SLUICE_A_ENDPOINT)
DEL(endpoint, SLUICE_A_ENDPOINT)
SET(uplink, SLUICE_A_UPLINK)
DEL(uplink, SLUICE_A_UPLINK)
#undef DEL
#undef SET

static void netlink_close(struct sluice_dataplane *dp)
{
	struct netlink_dataplane *self = self_of(dp);

	drop_message(self);
	sluice_nl_close(&self->nl);
	free(self);
}

static const struct sluice_dataplane_ops netlink_ops = {
	.name = "netlink",
	.begin = netlink_begin,
	.commit = netlink_commit,
	.abort = netlink_abort,
	.set_service = netlink_set_service,
	.del_service = netlink_del_service,
	.set_peer = netlink_set_peer,
	.del_peer = netlink_del_peer,
	.set_rule = netlink_set_rule,
	.del_rule = netlink_del_rule,
	.set_ruleset = netlink_set_ruleset,
	.del_ruleset = netlink_del_ruleset,
	.set_endpoint = netlink_set_endpoint,
	.del_endpoint = netlink_del_endpoint,
	.set_uplink = netlink_set_uplink,
	.del_uplink = netlink_del_uplink,
	.close = netlink_close,
};

struct sluice_dataplane *sluice_dataplane_netlink_new(void)
{
	struct netlink_dataplane *self = sluice_zalloc(sizeof(*self));

	self->dp.ops = &netlink_ops;
	return &self->dp;
}

uint32_t sluice_dataplane_netlink_revision(const struct sluice_dataplane *dp)
{
	return ((const struct netlink_dataplane *)dp)->revision;
}

int sluice_dataplane_netlink_family(const struct sluice_dataplane *dp)
{
	return ((const struct netlink_dataplane *)dp)->nl.family;
}
