// SPDX-License-Identifier: GPL-2.0-only
/* Connections: to be seen, forgotten, and put back. */
#include "ctl/lib/alloc.h"
#include "ctl/lib/bpf_conn_table.h"
#include "ctl/lib/nl_object.h"

static const uint8_t families[2] = { SLUICE_IPV4, SLUICE_IPV6 };

/* Ticks since a moment; one that another processor has stamped just now may lie a tick ahead. */
static uint32_t ticks_since(uint32_t then, uint32_t now)
{
	return (int32_t)(now - then) > 0 ? now - then : 0;
}

void sluice_bpf_conn_view(const struct sluice_bpf_conn *c, const struct sluice_tuple tuple[2],
			  uint32_t now, struct sluice_nl_conn *o)
{
	uint64_t silent = sluice_bpf_tick_seconds(ticks_since(c->last_seen, now));
	uint32_t timeout = sluice_state_timeout(c->state);

	*o = (struct sluice_nl_conn){
		.has = ~0U,
		.original = { .t = tuple[0], .has = ~0U },
		.reply = { .t = tuple[1], .has = ~0U },
		.state = c->state,
		.verdict = c->verdict,
		.reason = c->reason,
		.staged_verdict = c->staged_verdict,
		.flags = (c->bits & SLUICE_BPF_SERVICE ? SLUICE_CONN_SERVICE : 0) |
			 (c->bits & SLUICE_BPF_DENIED ? SLUICE_CONN_DENIED : 0) |
			 (c->bits & SLUICE_BPF_NODE ? SLUICE_CONN_NODE : 0) |
			 (c->bits & SLUICE_BPF_REMAPPED ? SLUICE_CONN_PORT_REMAPPED : 0) |
			 (c->bits & SLUICE_BPF_VIA_STACK ? SLUICE_CONN_VIA_STACK : 0),
		.timeout = silent < timeout ? timeout - (uint32_t)silent : 0,
		.age = (uint32_t)sluice_bpf_tick_seconds(now - c->created),
		.rule = { c->rule[0], c->rule[1] },
		.staged_rule = { c->staged_rule[0], c->staged_rule[1] },
		.packets = { c->packets[0], c->packets[1] },
		.bytes = { c->bytes[0], c->bytes[1] },
		.tcp = { c->tcp[0], c->tcp[1] },
	};
	if (tuple[0].proto != SLUICE_PROTO_TCP)
		o->has &= ~SLUICE_NL_HAS(SLUICE_CONN_A_TCP);
}

/* Seeing ********************************************************************************/

/*
 * A copy of an object, if it is a connection that has not expired. What is taken down stays DYING or in
 * LIMBO for a second before it may become another: one that was alive before the copy and is alive after, with the
 * same birth, is one and the same throughout.
 */
static bool copy_conn(const struct sluice_bpf_conn_table *t, const struct sluice_bpf_conn *c,
		      uint32_t now, struct sluice_bpf_conn6 *copy)
{
	const uint32_t life = SLUICE_BPF_LIVE | SLUICE_BPF_DYING | SLUICE_BPF_LIMBO;

	if ((__atomic_load_n(&c->bits, __ATOMIC_ACQUIRE) & life) != SLUICE_BPF_LIVE)
		return false;
	memcpy(copy, c, t->size);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return (__atomic_load_n(&c->bits, __ATOMIC_RELAXED) & life) == SLUICE_BPF_LIVE &&
	       __atomic_load_n(&c->created, __ATOMIC_RELAXED) == copy->c.created &&
	       copy->c.state < SLUICE_STATE_COUNT &&
	       ticks_since(copy->c.last_seen, now) <= t->control->timeouts[copy->c.state];
}

/* Calls each() with every connection that the filter matches, until it returns non-zero. */
static int each_conn(struct sluice_bpf_request *r, bool write, const struct sluice_nl_conn *filter,
		     int (*each)(struct sluice_bpf_request *r, struct sluice_bpf_conn_table *t,
				 struct sluice_bpf_conn *c, const struct sluice_nl_conn *view,
				 void *arg),
		     void *arg)
{
	struct sluice_bpf_conn_table *t = sluice_zalloc(sizeof(*t));
	int ret = 0;

	for (int i = 0; i < 2 && !ret; i++) {
		uint32_t now = sluice_bpf_answer_now(), capacity;

		ret = sluice_bpf_conn_table_open(t, r->a, families[i], write, r->err);
		if (ret)
			break;
		capacity = sluice_bpf_conn_table_capacity(t);
		for (uint32_t index = 0; index < capacity && !ret; index++) {
			struct sluice_bpf_conn *c = sluice_bpf_conn_table_at(t, index, r->err);
			struct sluice_tuple tuple[2];
			struct sluice_bpf_conn6 copy;
			struct sluice_nl_conn view;

			if (!c) {
				ret = -EPROTO;
				break;
			}
			if (!copy_conn(t, c, now, &copy))
				continue;
			sluice_bpf_conn_table_tuples(t, &copy.c, tuple);
			sluice_bpf_conn_view(&copy.c, tuple, now, &view);
			if (sluice_nl_conn_matches(&view, filter))
				ret = each(r, t, c, &view, arg);
		}
		sluice_bpf_conn_table_close(t);
	}
	free(t);
	return ret;
}

/* The kernel's own words for numbers that its policies do not let through. */
static int check_ranges(struct sluice_bpf_request *r, const struct nlattr *nest)
{
	static const uint8_t most[SLUICE_CONN_A_MAX + 1] = {
		[SLUICE_CONN_A_STATE] = SLUICE_STATE_COUNT - 1,
		[SLUICE_CONN_A_VERDICT] = SLUICE_VERDICT_COUNT - 1,
		[SLUICE_CONN_A_REASON] = SLUICE_REASON_COUNT - 1,
		[SLUICE_CONN_A_STAGED_VERDICT] = SLUICE_VERDICT_COUNT - 1,
	};
	const uint32_t flags = SLUICE_CONN_SERVICE | SLUICE_CONN_DENIED | SLUICE_CONN_NODE |
			       SLUICE_CONN_PORT_REMAPPED | SLUICE_CONN_VIA_STACK;
	struct nlattr *attr;
	int left;

	nla_for_each_nested(attr, (struct nlattr *)nest, left) {
		int type = nla_type(attr);

		if (type > SLUICE_CONN_A_MAX)
			continue;
		if (most[type] && nla_len(attr) == 1 && nla_get_u8(attr) > most[type])
			return sluice_bpf_answer_refuse(r, attr, ERANGE, "integer out of range");
		if (type == SLUICE_CONN_A_FLAGS && nla_len(attr) == 4 && nla_get_u32(attr) & ~flags)
			return sluice_bpf_answer_refuse(r, attr, EINVAL, "reserved bit set");
	}
	return 0;
}

/* What a filter cannot narrow by is refused, so that nobody flushes too much. */
static int get_filter(struct sluice_bpf_request *r, struct sluice_nl_conn *filter)
{
	struct nlattr *nest = r->attrs[SLUICE_A_CONN], *attr;
	int left, ret;

	*filter = (struct sluice_nl_conn){ 0 };
	if (!nest)
		return 0;
	nla_for_each_nested(attr, nest, left)
		if (nla_type(attr) != SLUICE_CONN_A_ORIGINAL &&
		    nla_type(attr) != SLUICE_CONN_A_STATE)
			return sluice_bpf_answer_refuse(
				r, attr, EOPNOTSUPP,
				"a filter knows the original tuple and the state");
	ret = check_ranges(r, nest);
	return ret ? ret : sluice_nl_parse_conn_filter(nest, filter, r->err);
}

static int put_conn(struct sluice_bpf_request *r, struct sluice_bpf_conn_table *t,
		    struct sluice_bpf_conn *c, const struct sluice_nl_conn *view, void *arg)
{
	(void)t;
	(void)c;
	(void)arg;
	return sluice_bpf_answer_send(r, sluice_nl_put_conn(sluice_bpf_answer_start(r->a), view));
}

int sluice_bpf_answer_conns(struct sluice_bpf_request *r)
{
	struct sluice_nl_conn filter;
	int ret = get_filter(r, &filter);

	return ret ? ret : each_conn(r, false, &filter, put_conn, NULL);
}

/* Forgetting *****************************************************************************/

static int answer_count(struct sluice_bpf_request *r, uint32_t count)
{
	return sluice_bpf_answer_send(r, !nla_put_u32(sluice_bpf_answer_start(r->a), SLUICE_A_COUNT,
						      count));
}

static int kill_conn(struct sluice_bpf_request *r, struct sluice_bpf_conn_table *t,
		     struct sluice_bpf_conn *c, const struct sluice_nl_conn *view, void *arg)
{
	(void)r;
	(void)view;
	*(uint32_t *)arg += sluice_bpf_conn_table_kill(t, c);
	return 0;
}

int sluice_bpf_answer_flush(struct sluice_bpf_request *r)
{
	struct sluice_nl_conn filter;
	uint32_t count = 0;
	int ret = get_filter(r, &filter);

	if (!ret)
		ret = each_conn(r, true, &filter, kill_conn, &count);
	return ret ? ret : answer_count(r, count);
}

/* Putting back ***************************************************************************/

static struct nlattr *find_nested(const struct nlattr *nest, int type)
{
	return nla_find(nla_data(nest), nla_len(nest), type);
}

int sluice_bpf_answer_tuple(struct sluice_bpf_request *r, struct nlattr *attr,
			    struct sluice_tuple *t)
{
	const uint32_t whole = SLUICE_NL_HAS(SLUICE_TUPLE_A_SRC) |
			       SLUICE_NL_HAS(SLUICE_TUPLE_A_DST) |
			       SLUICE_NL_HAS(SLUICE_TUPLE_A_PROTO);
	struct sluice_nl_tuple tuple;
	int ret = sluice_nl_parse_tuple(attr, &tuple, r->err);

	if (ret)
		return ret;
	if ((tuple.has & whole) != whole)
		return sluice_bpf_answer_refuse(r, attr, EINVAL,
						"a tuple needs addresses and a protocol");
	*t = tuple.t;
	return 0;
}

static int get_conn(struct sluice_bpf_request *r, struct nlattr *attr, struct sluice_nl_conn *o)
{
	struct nlattr *original = find_nested(attr, SLUICE_CONN_A_ORIGINAL);
	struct nlattr *reply = find_nested(attr, SLUICE_CONN_A_REPLY);
	struct sluice_tuple tuple;
	int ret;

	ret = check_ranges(r, attr);
	if (ret)
		return ret;
	if (!original || !reply || !find_nested(attr, SLUICE_CONN_A_STATE))
		return sluice_bpf_answer_refuse(r, attr, EINVAL,
						"a connection needs two tuples and a state");
	ret = sluice_bpf_answer_tuple(r, original, &tuple);
	if (!ret)
		ret = sluice_bpf_answer_tuple(r, reply, &tuple);
	return ret ? ret : sluice_nl_parse_conn(attr, o, r->err);
}

/* What is found out once for all connections of a request. */
struct restoring {
	struct sluice_bpf_node_addrs node;
	uint32_t count;
};

/* Where packets to one end go: to a pod of this node, to the node itself; or a packet finds out. */
static int restore_side(struct sluice_bpf_request *r, const struct restoring *s,
			const struct sluice_addr *addr, uint8_t family, uint32_t *side)
{
	uint32_t ifindex;
	int ret = sluice_bpf_answer_number(r, SLUICE_BPF_MAP_ADDRS, addr, family, &ifindex);

	if (ret)
		return ret;
	*side = SLUICE_BPF_SIDE_UNKNOWN << SLUICE_BPF_SIDE_SHIFT;
	if (ifindex != SLUICE_BPF_ABSENT)
		*side = SLUICE_BPF_SIDE_POD << SLUICE_BPF_SIDE_SHIFT | ifindex;
	else if (sluice_bpf_node_has(&s->node, addr, family))
		*side = SLUICE_BPF_SIDE_STACK << SLUICE_BPF_SIDE_SHIFT;
	return 0;
}

static bool is_pod(uint32_t side)
{
	return side >> SLUICE_BPF_SIDE_SHIFT == SLUICE_BPF_SIDE_POD;
}

/* Its backend, if the service still has it; else the connection just runs on. */
static int restore_service(struct sluice_bpf_request *r, const struct sluice_nl_conn *o,
			   struct sluice_bpf_conn *c)
{
	const struct sluice_tuple *original = &o->original.t, *reply = &o->reply.t;
	struct sluice_bpf_backend_ref ref = {
		.service = { .addr = original->dst,
			     .port = original->dport,
			     .proto = original->proto,
			     .family = original->family },
		.addr = reply->src,
		.port = reply->sport,
	};
	uint32_t there;
	int ret;

	if (!(o->flags & SLUICE_CONN_SERVICE))
		return 0;
	/* The epoch first: if the backend leaves in between, the connection is found to be of an older one. */
	c->backend_epoch = __atomic_load_n(&r->a->control->backend_epoch, __ATOMIC_ACQUIRE);
	ret = sluice_bpf_answer_find(r->a, SLUICE_BPF_MAP_BACKEND_REFS, &ref, &there, r->err);
	if (!ret)
		c->bits |= SLUICE_BPF_SERVICE;
	return ret == -ENOENT ? 0 : ret;
}

static int restore_conn(struct sluice_bpf_request *r, struct restoring *s,
			const struct sluice_nl_conn *o)
{
	const struct sluice_tuple tuple[2] = { o->original.t, o->reply.t };
	const struct sluice_bpf_control *control = r->a->control;
	struct sluice_bpf_conn c = {
		.created =
			sluice_bpf_answer_now() - (uint32_t)(((uint64_t)o->age * 1000000000) >> 20),
		/* Judged at its next packet: the policy of now counts, not that of then. */
		.policy_gen = __atomic_load_n(&control->policy_gen, __ATOMIC_ACQUIRE) - 1,
		.packets = { o->packets[0], o->packets[1] },
		.bytes = { o->bytes[0], o->bytes[1] },
		.tcp = { o->tcp[0], o->tcp[1] },
		.state = o->state,
		.verdict = o->verdict,
		.reason = o->reason,
		.staged_verdict = o->staged_verdict,
	};
	struct sluice_tuple inverse;
	int ret;

	if (o->state == SLUICE_STATE_NONE || o->state == SLUICE_STATE_DENIED ||
	    (o->flags & SLUICE_CONN_DENIED) || tuple[0].family != tuple[1].family ||
	    tuple[0].proto != tuple[1].proto)
		return -EINVAL;
	sluice_tuple_invert(&inverse, &tuple[0]);
	if (!sluice_tuple_equal(&inverse, &tuple[1]))
		c.bits |= SLUICE_BPF_NAT;
	if (o->flags & SLUICE_CONN_NODE)
		c.bits |= SLUICE_BPF_NODE;
	if (o->flags & SLUICE_CONN_PORT_REMAPPED)
		c.bits |= SLUICE_BPF_REMAPPED;
	if (o->flags & SLUICE_CONN_VIA_STACK)
		c.bits |= SLUICE_BPF_VIA_STACK;
	for (int i = 0; i < 2; i++) {
		ret = restore_side(r, s, &tuple[i].src, tuple[i].family, &c.side[i]);
		if (ret)
			return ret;
	}
	if (o->flags & SLUICE_CONN_VIA_STACK)
		c.side[0] = SLUICE_BPF_SIDE_STACK << SLUICE_BPF_SIDE_SHIFT;
	if (is_pod(c.side[0]) && c.side[0] == c.side[1])
		c.bits |= SLUICE_BPF_SELF;
	ret = restore_service(r, o, &c);
	if (ret)
		return ret;
	return sluice_bpf_conn_table_add(r->a->tables[tuple[0].family == SLUICE_IPV6], &c, tuple,
					 r->err);
}

static int restore_conns(struct sluice_bpf_request *r, struct restoring *s)
{
	struct sluice_nl_conn o;
	struct nlattr *attr;
	int left, ret;

	/* All are read before the first is put back: one that cannot be read leaves nothing behind. */
	nlmsg_for_each_attr(attr, (struct nlmsghdr *)r->hdr, GENL_HDRLEN, left) {
		ret = get_conn(r, attr, &o);
		if (ret)
			return ret;
	}
	nlmsg_for_each_attr(attr, (struct nlmsghdr *)r->hdr, GENL_HDRLEN, left) {
		get_conn(r, attr, &o);
		ret = restore_conn(r, s, &o);
		if (!ret)
			s->count++;
		else if (ret != -EEXIST)
			return sluice_bpf_answer_refuse(r, attr, -ret,
							"this connection cannot be put back");
	}
	return answer_count(r, s->count);
}

/*
 * The tables stay open for the next request: a restore of a million connections is 8,000 requests, and each may look
 * at every segment.
 */
static int open_tables(struct sluice_bpf_request *r)
{
	for (int i = 0; i < 2; i++) {
		struct sluice_bpf_conn_table *t = r->a->tables[i];
		int ret;

		if (t)
			continue;
		t = sluice_zalloc(sizeof(*t));
		ret = sluice_bpf_conn_table_open(t, r->a, families[i], true, r->err);
		if (ret) {
			free(t);
			return ret;
		}
		r->a->tables[i] = t;
	}
	return 0;
}

void sluice_bpf_answer_close_tables(struct sluice_bpf_answerer *a)
{
	for (int i = 0; i < 2; i++) {
		if (a->tables[i])
			sluice_bpf_conn_table_close(a->tables[i]);
		free(a->tables[i]);
		a->tables[i] = NULL;
	}
}

int sluice_bpf_answer_restore(struct sluice_bpf_request *r)
{
	struct restoring s = { 0 };
	int ret = open_tables(r);

	if (!ret)
		ret = sluice_bpf_node_addrs_load(&s.node, r->err);
	if (!ret)
		ret = restore_conns(r, &s);
	sluice_bpf_node_addrs_clear(&s.node);
	return ret;
}
