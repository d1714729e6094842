// SPDX-License-Identifier: GPL-2.0-only
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <net/sock.h>

#include "conn_view.h"
#include "net.h"
#include "netlink.h"
#include "netlink_conn.h"

/* A full connection is about 420 bytes; 64 more are the headers of its message. */
#define EVENT_BYTES 640

static const struct nla_policy tuple_policy[SLUICE_TUPLE_A_MAX + 1] = {
	[SLUICE_TUPLE_A_SRC] = NLA_POLICY_RANGE(NLA_BINARY, 4, 16),
	[SLUICE_TUPLE_A_DST] = NLA_POLICY_RANGE(NLA_BINARY, 4, 16),
	[SLUICE_TUPLE_A_SPORT] = { .type = NLA_U16 },
	[SLUICE_TUPLE_A_DPORT] = { .type = NLA_U16 },
	[SLUICE_TUPLE_A_PROTO] = { .type = NLA_U8 },
};

const struct nla_policy sluice_conn_policy[SLUICE_CONN_A_MAX + 1] = {
	[SLUICE_CONN_A_ORIGINAL] = NLA_POLICY_NESTED(tuple_policy),
	[SLUICE_CONN_A_REPLY] = NLA_POLICY_NESTED(tuple_policy),
	[SLUICE_CONN_A_STATE] = NLA_POLICY_MAX(NLA_U8, SLUICE_STATE_COUNT - 1),
	[SLUICE_CONN_A_FLAGS] = NLA_POLICY_MASK(
		NLA_U32, SLUICE_CONN_SERVICE | SLUICE_CONN_DENIED | SLUICE_CONN_NODE |
				 SLUICE_CONN_PORT_REMAPPED | SLUICE_CONN_VIA_STACK),
	[SLUICE_CONN_A_TIMEOUT] = { .type = NLA_U32 },
	[SLUICE_CONN_A_VERDICT] = NLA_POLICY_MAX(NLA_U8, SLUICE_VERDICT_COUNT - 1),
	[SLUICE_CONN_A_REASON] = NLA_POLICY_MAX(NLA_U8, SLUICE_REASON_COUNT - 1),
	[SLUICE_CONN_A_STAGED_VERDICT] = NLA_POLICY_MAX(NLA_U8, SLUICE_VERDICT_COUNT - 1),
	[SLUICE_CONN_A_EGRESS_RULE] = { .type = NLA_U32 },
	[SLUICE_CONN_A_INGRESS_RULE] = { .type = NLA_U32 },
	[SLUICE_CONN_A_STAGED_EGRESS_RULE] = { .type = NLA_U32 },
	[SLUICE_CONN_A_STAGED_INGRESS_RULE] = { .type = NLA_U32 },
	[SLUICE_CONN_A_PACKETS_ORIGINAL] = { .type = NLA_U64 },
	[SLUICE_CONN_A_PACKETS_REPLY] = { .type = NLA_U64 },
	[SLUICE_CONN_A_BYTES_ORIGINAL] = { .type = NLA_U64 },
	[SLUICE_CONN_A_BYTES_REPLY] = { .type = NLA_U64 },
	[SLUICE_CONN_A_TCP] = NLA_POLICY_EXACT_LEN(2 * sizeof(struct sluice_tcp_dir)),
	[SLUICE_CONN_A_AGE] = { .type = NLA_U32 },
	/* Padding in front of 64-bit numbers; what a dump gave may be sent back as it is. */
	[SLUICE_CONN_A_PAD] = { .type = NLA_BINARY },
};

const struct nla_policy sluice_trace_policy[SLUICE_TRACE_A_MAX + 1] = {
	[SLUICE_TRACE_A_TUPLE] = NLA_POLICY_NESTED(tuple_policy),
};

int sluice_refuse(struct netlink_ext_ack *extack, const struct nlattr *attr, const char *why,
		  int err)
{
	if (extack) {
		extack->_msg = why;
		extack->bad_attr = attr;
	}
	return err;
}

struct sluice_net *sluice_net_of_skb(const struct sk_buff *skb)
{
	return sluice_net_get(sock_net(skb->sk));
}

int sluice_get_addr(const struct nlattr *attr, struct sluice_addr *addr, u8 *family,
		    struct netlink_ext_ack *extack)
{
	int len = nla_len(attr);

	if (len != 4 && len != 16)
		return sluice_refuse(extack, attr, "an address has 4 or 16 bytes", -EINVAL);
	memset(addr, 0, sizeof(*addr));
	memcpy(addr->w, nla_data(attr), len);
	*family = len == 4 ? SLUICE_IPV4 : SLUICE_IPV6;
	return 0;
}

int sluice_put_addr(struct sk_buff *skb, int type, const struct sluice_addr *addr, u8 family)
{
	return nla_put(skb, type, family == SLUICE_IPV4 ? 4 : 16, addr->w);
}

/* The attributes of a tuple that are there; the others are zero. */
static int get_tuple(const struct nlattr *attr, struct nlattr **tb, struct sluice_tuple *t,
		     struct netlink_ext_ack *extack)
{
	u8 family = 0;
	int err;

	memset(t, 0, sizeof(*t));
	err = nla_parse_nested(tb, SLUICE_TUPLE_A_MAX, attr, tuple_policy, extack);
	if (err)
		return err;
	if (tb[SLUICE_TUPLE_A_SRC]) {
		err = sluice_get_addr(tb[SLUICE_TUPLE_A_SRC], &t->src, &t->family, extack);
		if (err)
			return err;
	}
	if (tb[SLUICE_TUPLE_A_DST]) {
		err = sluice_get_addr(tb[SLUICE_TUPLE_A_DST], &t->dst, &family, extack);
		if (err)
			return err;
		if (t->family && t->family != family)
			return sluice_refuse(extack, tb[SLUICE_TUPLE_A_DST],
					     "source and destination have different families",
					     -EINVAL);
		t->family = family;
	}
	if (tb[SLUICE_TUPLE_A_SPORT])
		t->sport = nla_get_be16(tb[SLUICE_TUPLE_A_SPORT]);
	if (tb[SLUICE_TUPLE_A_DPORT])
		t->dport = nla_get_be16(tb[SLUICE_TUPLE_A_DPORT]);
	if (tb[SLUICE_TUPLE_A_PROTO])
		t->proto = nla_get_u8(tb[SLUICE_TUPLE_A_PROTO]);
	return 0;
}

/* A tuple that names a packet: both addresses and the protocol. */
static int get_whole_tuple(const struct nlattr *attr, struct sluice_tuple *t,
			   struct netlink_ext_ack *extack)
{
	struct nlattr *tb[SLUICE_TUPLE_A_MAX + 1];
	int err = get_tuple(attr, tb, t, extack);

	if (err)
		return err;
	if (NL_REQ_ATTR_CHECK(extack, attr, tb, SLUICE_TUPLE_A_SRC) ||
	    NL_REQ_ATTR_CHECK(extack, attr, tb, SLUICE_TUPLE_A_DST) ||
	    NL_REQ_ATTR_CHECK(extack, attr, tb, SLUICE_TUPLE_A_PROTO))
		return sluice_refuse(extack, attr, "a tuple needs addresses and a protocol",
				     -EINVAL);
	return 0;
}

static int put_tuple(struct sk_buff *skb, int type, const struct sluice_tuple *t)
{
	struct nlattr *nest = nla_nest_start(skb, type);

	if (!nest || sluice_put_addr(skb, SLUICE_TUPLE_A_SRC, &t->src, t->family) ||
	    sluice_put_addr(skb, SLUICE_TUPLE_A_DST, &t->dst, t->family) ||
	    nla_put_be16(skb, SLUICE_TUPLE_A_SPORT, t->sport) ||
	    nla_put_be16(skb, SLUICE_TUPLE_A_DPORT, t->dport) ||
	    nla_put_u8(skb, SLUICE_TUPLE_A_PROTO, t->proto))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int put_u64(struct sk_buff *skb, int type, u64 value)
{
	return nla_put_u64_64bit(skb, type, value, SLUICE_CONN_A_PAD);
}

int sluice_put_conn(struct sk_buff *skb, int type, const struct sluice_conn_view *v)
{
	struct nlattr *nest = nla_nest_start(skb, type);

	if (!nest)
		return -EMSGSIZE;
	if (put_tuple(skb, SLUICE_CONN_A_ORIGINAL, &v->original) ||
	    put_tuple(skb, SLUICE_CONN_A_REPLY, &v->reply) ||
	    nla_put_u8(skb, SLUICE_CONN_A_STATE, v->state) ||
	    nla_put_u32(skb, SLUICE_CONN_A_FLAGS, v->flags) ||
	    nla_put_u32(skb, SLUICE_CONN_A_TIMEOUT, v->timeout) ||
	    nla_put_u8(skb, SLUICE_CONN_A_VERDICT, v->verdict) ||
	    nla_put_u8(skb, SLUICE_CONN_A_REASON, v->reason) ||
	    nla_put_u8(skb, SLUICE_CONN_A_STAGED_VERDICT, v->staged_verdict) ||
	    nla_put_u32(skb, SLUICE_CONN_A_EGRESS_RULE, v->egress_rule) ||
	    nla_put_u32(skb, SLUICE_CONN_A_INGRESS_RULE, v->ingress_rule) ||
	    nla_put_u32(skb, SLUICE_CONN_A_STAGED_EGRESS_RULE, v->staged_egress_rule) ||
	    nla_put_u32(skb, SLUICE_CONN_A_STAGED_INGRESS_RULE, v->staged_ingress_rule) ||
	    put_u64(skb, SLUICE_CONN_A_PACKETS_ORIGINAL, v->packets[SLUICE_DIR_ORIGINAL]) ||
	    put_u64(skb, SLUICE_CONN_A_PACKETS_REPLY, v->packets[SLUICE_DIR_REPLY]) ||
	    put_u64(skb, SLUICE_CONN_A_BYTES_ORIGINAL, v->bytes[SLUICE_DIR_ORIGINAL]) ||
	    put_u64(skb, SLUICE_CONN_A_BYTES_REPLY, v->bytes[SLUICE_DIR_REPLY]) ||
	    nla_put_u32(skb, SLUICE_CONN_A_AGE, v->age))
		goto cancel;
	if (v->original.proto == SLUICE_PROTO_TCP &&
	    nla_put(skb, SLUICE_CONN_A_TCP, sizeof(v->tcp), v->tcp))
		goto cancel;
	nla_nest_end(skb, nest);
	return 0;

cancel:
	nla_nest_cancel(skb, nest);
	return -EMSGSIZE;
}

static u32 get_u32_or_0(const struct nlattr *attr)
{
	return attr ? nla_get_u32(attr) : 0;
}

static u64 get_u64_or_0(const struct nlattr *attr)
{
	return attr ? nla_get_u64(attr) : 0;
}

static u8 get_u8_or_0(const struct nlattr *attr)
{
	return attr ? nla_get_u8(attr) : 0;
}

static int get_conn(const struct nlattr *attr, struct sluice_conn_view *v,
		    struct netlink_ext_ack *extack)
{
	struct nlattr *tb[SLUICE_CONN_A_MAX + 1];
	int err;

	memset(v, 0, sizeof(*v));
	err = nla_parse_nested(tb, SLUICE_CONN_A_MAX, attr, sluice_conn_policy, extack);
	if (err)
		return err;
	if (NL_REQ_ATTR_CHECK(extack, attr, tb, SLUICE_CONN_A_ORIGINAL) ||
	    NL_REQ_ATTR_CHECK(extack, attr, tb, SLUICE_CONN_A_REPLY) ||
	    NL_REQ_ATTR_CHECK(extack, attr, tb, SLUICE_CONN_A_STATE))
		return sluice_refuse(extack, attr, "a connection needs two tuples and a state",
				     -EINVAL);
	err = get_whole_tuple(tb[SLUICE_CONN_A_ORIGINAL], &v->original, extack);
	if (err)
		return err;
	err = get_whole_tuple(tb[SLUICE_CONN_A_REPLY], &v->reply, extack);
	if (err)
		return err;
	v->state = nla_get_u8(tb[SLUICE_CONN_A_STATE]);
	v->flags = get_u32_or_0(tb[SLUICE_CONN_A_FLAGS]);
	v->timeout = get_u32_or_0(tb[SLUICE_CONN_A_TIMEOUT]);
	v->verdict = get_u8_or_0(tb[SLUICE_CONN_A_VERDICT]);
	v->reason = get_u8_or_0(tb[SLUICE_CONN_A_REASON]);
	v->staged_verdict = get_u8_or_0(tb[SLUICE_CONN_A_STAGED_VERDICT]);
	v->egress_rule = get_u32_or_0(tb[SLUICE_CONN_A_EGRESS_RULE]);
	v->ingress_rule = get_u32_or_0(tb[SLUICE_CONN_A_INGRESS_RULE]);
	v->staged_egress_rule = get_u32_or_0(tb[SLUICE_CONN_A_STAGED_EGRESS_RULE]);
	v->staged_ingress_rule = get_u32_or_0(tb[SLUICE_CONN_A_STAGED_INGRESS_RULE]);
	v->packets[SLUICE_DIR_ORIGINAL] = get_u64_or_0(tb[SLUICE_CONN_A_PACKETS_ORIGINAL]);
	v->packets[SLUICE_DIR_REPLY] = get_u64_or_0(tb[SLUICE_CONN_A_PACKETS_REPLY]);
	v->bytes[SLUICE_DIR_ORIGINAL] = get_u64_or_0(tb[SLUICE_CONN_A_BYTES_ORIGINAL]);
	v->bytes[SLUICE_DIR_REPLY] = get_u64_or_0(tb[SLUICE_CONN_A_BYTES_REPLY]);
	v->age = get_u32_or_0(tb[SLUICE_CONN_A_AGE]);
	if (tb[SLUICE_CONN_A_TCP])
		memcpy(v->tcp, nla_data(tb[SLUICE_CONN_A_TCP]), sizeof(v->tcp));
	return 0;
}

/* attr: may be NULL. What a filter cannot narrow by is refused, so that nobody flushes too much. */
static int get_filter(const struct nlattr *attr, struct sluice_conn_filter *f,
		      struct netlink_ext_ack *extack)
{
	struct nlattr *tb[SLUICE_CONN_A_MAX + 1], *tuple[SLUICE_TUPLE_A_MAX + 1];
	int err, i;

	memset(f, 0, sizeof(*f));
	if (!attr)
		return 0;
	err = nla_parse_nested(tb, SLUICE_CONN_A_MAX, attr, sluice_conn_policy, extack);
	if (err)
		return err;
	for (i = 1; i <= SLUICE_CONN_A_MAX; i++)
		if (tb[i] && i != SLUICE_CONN_A_ORIGINAL && i != SLUICE_CONN_A_STATE)
			return sluice_refuse(extack, tb[i],
					     "a filter knows the original tuple and the state",
					     -EOPNOTSUPP);
	if (tb[SLUICE_CONN_A_STATE]) {
		f->has_state = true;
		f->state = nla_get_u8(tb[SLUICE_CONN_A_STATE]);
	}
	if (!tb[SLUICE_CONN_A_ORIGINAL])
		return 0;
	err = get_tuple(tb[SLUICE_CONN_A_ORIGINAL], tuple, &f->tuple, extack);
	if (err)
		return err;
	f->has_src = tuple[SLUICE_TUPLE_A_SRC];
	f->has_dst = tuple[SLUICE_TUPLE_A_DST];
	f->has_sport = tuple[SLUICE_TUPLE_A_SPORT];
	f->has_dport = tuple[SLUICE_TUPLE_A_DPORT];
	f->has_proto = tuple[SLUICE_TUPLE_A_PROTO];
	return 0;
}

int sluice_cmd_flush_conn(struct sk_buff *skb, struct genl_info *info)
{
	struct sluice_net *sn = sluice_net_get(genl_info_net(info));
	struct sluice_conn_filter filter;
	u32 count = 0;
	int err;

	err = get_filter(info->attrs[SLUICE_A_CONN], &filter, info->extack);
	if (err)
		return err;
	if (sluice_net_active(sn))
		count = sluice_conns_flush(sn, &filter);
	return sluice_reply_u32(info, SLUICE_A_COUNT, count);
}

/* All are read before the first is put back: one that cannot be read leaves nothing behind. */
int sluice_cmd_set_conn(struct sk_buff *skb, struct genl_info *info)
{
	struct sluice_net *sn = sluice_net_get(genl_info_net(info));
	struct sluice_conn_view v;
	struct nlattr *attr;
	u32 count = 0;
	int err, rem;

	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		err = get_conn(attr, &v, info->extack);
		if (err)
			return err;
	}
	mutex_lock(&sn->mutex);
	err = sluice_net_activate(sn);
	mutex_unlock(&sn->mutex);
	if (err)
		return err;
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		get_conn(attr, &v, info->extack);
		err = sluice_conns_restore(sn, &v);
		if (!err)
			count++;
		else if (err != -EEXIST)
			return sluice_refuse(info->extack, attr,
					     "this connection cannot be put back", err);
		cond_resched();
	}
	return sluice_reply_u32(info, SLUICE_A_COUNT, count);
}

/* One direction's part of a trace; nothing if it was not judged here. */
static int put_side(struct sk_buff *skb, const struct sluice_judge_side *side, int verdict,
		    int reason, int rule)
{
	if (side->verdict == SLUICE_VERDICT_NONE)
		return 0;
	if (nla_put_u8(skb, verdict, side->verdict) || nla_put_u8(skb, reason, side->reason) ||
	    nla_put_u32(skb, rule, side->rule))
		return -EMSGSIZE;
	return 0;
}

static int put_trace(struct sk_buff *skb, const struct sluice_tuple *t,
		     const struct sluice_trace_result *r)
{
	const struct sluice_judgement *j = &r->judgement;
	struct nlattr *nest, *backend;

	nest = nla_nest_start(skb, SLUICE_A_TRACE);
	if (!nest || put_tuple(skb, SLUICE_TRACE_A_TUPLE, t) ||
	    nla_put_u8(skb, SLUICE_TRACE_A_VERDICT, j->verdict) ||
	    nla_put_u8(skb, SLUICE_TRACE_A_REASON, j->reason) ||
	    nla_put_u8(skb, SLUICE_TRACE_A_STAGED_VERDICT, j->staged_verdict) ||
	    put_side(skb, &j->egress, SLUICE_TRACE_A_EGRESS_VERDICT, SLUICE_TRACE_A_EGRESS_REASON,
		     SLUICE_TRACE_A_EGRESS_RULE) ||
	    put_side(skb, &j->ingress, SLUICE_TRACE_A_INGRESS_VERDICT,
		     SLUICE_TRACE_A_INGRESS_REASON, SLUICE_TRACE_A_INGRESS_RULE))
		return -EMSGSIZE;
	if (r->service && nla_put_string(skb, SLUICE_TRACE_A_SERVICE, r->service))
		return -EMSGSIZE;
	if (r->service && j->reason != SLUICE_REASON_NO_ENDPOINTS) {
		backend = nla_nest_start(skb, SLUICE_TRACE_A_BACKEND);
		if (!backend || sluice_put_addr(skb, SLUICE_TUPLE_A_DST, &r->backend, t->family) ||
		    nla_put_be16(skb, SLUICE_TUPLE_A_DPORT, r->backend_port))
			return -EMSGSIZE;
		nla_nest_end(skb, backend);
	}
	nla_nest_end(skb, nest);
	return 0;
}

int sluice_cmd_trace(struct sk_buff *skb, struct genl_info *info)
{
	struct sluice_net *sn = sluice_net_get(genl_info_net(info));
	struct nlattr *attr = info->attrs[SLUICE_A_TRACE];
	struct nlattr *tb[SLUICE_TRACE_A_MAX + 1];
	struct sluice_trace_result result;
	struct sluice_tuple tuple;
	struct sk_buff *reply;
	void *hdr;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, SLUICE_A_TRACE))
		return sluice_refuse(info->extack, NULL, "a trace needs a tuple", -EINVAL);
	err = nla_parse_nested(tb, SLUICE_TRACE_A_MAX, attr, sluice_trace_policy, info->extack);
	if (err)
		return err;
	if (NL_REQ_ATTR_CHECK(info->extack, attr, tb, SLUICE_TRACE_A_TUPLE))
		return sluice_refuse(info->extack, attr, "a trace needs a tuple", -EINVAL);
	err = get_whole_tuple(tb[SLUICE_TRACE_A_TUPLE], &tuple, info->extack);
	if (err)
		return err;
	if (!sluice_net_active(sn))
		return sluice_refuse(info->extack, NULL,
				     "nothing has been committed in this namespace", -ENOENT);

	reply = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	if (!reply)
		return -ENOMEM;
	hdr = genlmsg_put_reply(reply, info, &sluice_genl_family, 0, info->genlhdr->cmd);
	if (!hdr) {
		nlmsg_free(reply);
		return -EMSGSIZE;
	}
	rcu_read_lock();
	sluice_trace(sn, &tuple, &result);
	err = put_trace(reply, &tuple, &result);
	rcu_read_unlock();
	if (err) {
		nlmsg_free(reply);
		return err;
	}
	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

/* A dump of connections between two of its messages. */
struct conn_dump {
	struct sluice_conns_walk walk;
	struct sluice_conn_filter filter;
	struct sluice_net *sn;
	bool active;
	/* While a message is being filled: */
	struct sk_buff *skb;
	struct netlink_callback *cb;
};

static struct conn_dump **conn_dump_of(struct netlink_callback *cb)
{
	return (struct conn_dump **)cb->ctx;
}

static const struct nla_policy conn_dump_policy[SLUICE_A_MAX + 1] = {
	[SLUICE_A_CONN] = NLA_POLICY_NESTED(sluice_conn_policy),
};

int sluice_dump_conn_start(struct netlink_callback *cb)
{
	struct nlattr *tb[SLUICE_A_MAX + 1];
	struct conn_dump *d;
	int err;

	err = nlmsg_parse(cb->nlh, GENL_HDRLEN, tb, SLUICE_A_MAX, conn_dump_policy, cb->extack);
	if (err)
		return err;
	d = kzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return -ENOMEM;
	err = get_filter(tb[SLUICE_A_CONN], &d->filter, cb->extack);
	if (err) {
		kfree(d);
		return err;
	}
	d->sn = sluice_net_of_skb(cb->skb);
	d->active = sluice_net_active(d->sn);
	if (d->active)
		sluice_conns_walk_start(d->sn, &d->walk);
	*conn_dump_of(cb) = d;
	return 0;
}

static int dump_one_conn(const struct sluice_conn_view *v, void *arg)
{
	struct conn_dump *d = arg;
	void *hdr;

	hdr = genlmsg_put(d->skb, NETLINK_CB(d->cb->skb).portid, d->cb->nlh->nlmsg_seq,
			  &sluice_genl_family, NLM_F_MULTI, SLUICE_CMD_GET_CONN);
	if (!hdr)
		return -EMSGSIZE;
	if (sluice_put_conn(d->skb, SLUICE_A_CONN, v)) {
		genlmsg_cancel(d->skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(d->skb, hdr);
	return 0;
}

int sluice_dump_conn(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct conn_dump *d = *conn_dump_of(cb);
	int err = 0;

	d->skb = skb;
	d->cb = cb;
	if (d->active)
		err = sluice_conns_walk(d->sn, &d->walk, &d->filter, dump_one_conn, d);
	return skb->len ? skb->len : err;
}

int sluice_dump_conn_done(struct netlink_callback *cb)
{
	struct conn_dump *d = *conn_dump_of(cb);

	if (d->active)
		sluice_conns_walk_stop(&d->walk);
	kfree(d);
	return 0;
}

bool sluice_events_wanted(struct sluice_net *sn)
{
	return !READ_ONCE(sn->dying) &&
	       genl_has_listeners(&sluice_genl_family, sluice_net_of(sn), 0);
}

void sluice_event_send(struct sluice_net *sn, u8 type, const struct sluice_conn_view *v)
{
	struct nlattr *nest;
	struct sk_buff *skb;
	u32 sequence;
	void *hdr;

	if (!sluice_events_wanted(sn))
		return;
	/* Counted before anything can fail: listeners see the gap. */
	sequence = atomic_inc_return(&sn->event_sequence);
	skb = genlmsg_new(EVENT_BYTES, GFP_ATOMIC);
	if (!skb)
		goto lost;
	hdr = genlmsg_put(skb, 0, 0, &sluice_genl_family, 0, SLUICE_CMD_EVENT);
	if (!hdr)
		goto free;
	nest = nla_nest_start(skb, SLUICE_A_EVENT);
	if (!nest || nla_put_u8(skb, SLUICE_EVENT_A_TYPE, type) ||
	    nla_put_u32(skb, SLUICE_EVENT_A_SEQUENCE, sequence) ||
	    nla_put_u64_64bit(skb, SLUICE_EVENT_A_TIME, ktime_get_real_ns(), SLUICE_EVENT_A_PAD) ||
	    sluice_put_conn(skb, SLUICE_EVENT_A_CONN, v))
		goto free;
	nla_nest_end(skb, nest);
	genlmsg_end(skb, hdr);
	/* -ESRCH: the last listener has just gone; nobody lost anything. */
	if (genlmsg_multicast_netns(&sluice_genl_family, sluice_net_of(sn), skb, 0, 0,
				    GFP_ATOMIC) == -ENOBUFS)
		goto lost;
	return;

free:
	nlmsg_free(skb);
lost:
	sluice_count(sn, events_lost);
}
