// SPDX-License-Identifier: GPL-2.0-only
#include <linux/inetdevice.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/addrconf.h>
#include <net/ip6_route.h>
#include <net/route.h>

#include "core/service.h"
#include "conn.h"
#include "conn_view.h"
#include "deliver.h"
#include "device.h"
#include "endpoint.h"
#include "hash.h"
#include "net.h"
#include "netlink.h"
#include "path.h"
#include "peer.h"
#include "ruleset.h"
#include "service.h"
#include "stats.h"
#include "verdicts.h"

enum sluice_act sluice_drop(struct sluice_ctx *x, u8 reason)
{
	sluice_count_drop(x->sn, reason);
	kfree_skb(x->skb);
	return SLUICE_ACT_STOLEN;
}

static bool addr_is_node(struct net *net, const struct sluice_addr *a, u8 family)
{
	if (family == SLUICE_IPV4)
		return inet_addr_type(net, a->w[0]) == RTN_LOCAL;
	return ipv6_chk_addr(net, (const struct in6_addr *)a, NULL, 0);
}

static bool endpoint_has_addr(const struct sluice_endpoint *ep, const struct sluice_addr *a,
			      u8 family)
{
	u32 i;

	for (i = 0; i < ep->n_addrs; i++)
		if (ep->addrs[i].family == family && sluice_addr_equal(&ep->addrs[i].addr, a))
			return true;
	return false;
}

bool sluice_concerns_pod(struct sluice_net *sn, const struct sluice_tuple *t)
{
	return sluice_endpoint_find_addr(sn, sluice_revision(sn), &t->dst, t->family);
}

static void decide_fixed(struct sluice_decision *d, u8 verdict, u8 reason)
{
	d->judgement = (struct sluice_judgement){
		.verdict = verdict,
		.staged_verdict = verdict,
		.reason = reason,
	};
}

/*
 * Policy alone, given both ends, as of a generation and a revision. Classes are looked up only where a
 * ruleset will ask for them. remember: bottom halves are off, this CPU's verdicts may be used.
 */
static void judge(struct sluice_net *sn, u32 gen, u32 rev, const struct sluice_tuple *t,
		  const struct sluice_addr *dst, u16 port, u32 flags,
		  const struct sluice_endpoint *src_ep, const struct sluice_endpoint *dst_ep,
		  bool remember, struct sluice_judgement *j)
{
	struct sluice_judge_in in SLUICE_UNINIT;
	struct sluice_verdict_key k = {
		.generation = gen,
		.port = port,
		.proto = t->proto,
	};
	struct sluice_kept_verdict *v = NULL;

	if (src_ep) {
		flags |= SLUICE_JUDGE_SRC_LOCAL;
		if (!src_ep->open)
			flags |= SLUICE_JUDGE_SRC_CLOSED;
		k.egress = src_ep->egress;
		if (k.egress)
			k.dst_class = sluice_peer_class(sn, rev, dst, t->family);
	}
	if (dst_ep) {
		flags |= SLUICE_JUDGE_DST_LOCAL;
		if (!dst_ep->open)
			flags |= SLUICE_JUDGE_DST_CLOSED;
		k.ingress = dst_ep->ingress;
		if (k.ingress)
			k.src_class = sluice_peer_class(sn, rev, &t->src, t->family);
	}
	k.flags = flags | SLUICE_VERDICT_VALID;
	if (likely(remember)) {
		v = sluice_verdict_slot(sn->verdicts, &k);
		if (likely(sluice_verdict_is(v, &k))) {
			*j = v->judgement;
			return;
		}
	}

	in = (struct sluice_judge_in){
		.src_class = k.src_class,
		.dst_class = k.dst_class,
		.flags = flags,
		.port = port,
		.proto = t->proto,
	};
	/* A commit checks that they exist; if one does not, nothing may pass. */
	if (k.egress) {
		in.egress = sluice_ruleset_find(sn, rev, k.egress);
		if (!in.egress)
			in.flags |= SLUICE_JUDGE_SRC_CLOSED;
	}
	if (k.ingress) {
		in.ingress = sluice_ruleset_find(sn, rev, k.ingress);
		if (!in.ingress)
			in.flags |= SLUICE_JUDGE_DST_CLOSED;
	}
	sluice_judge(&in, j);
	if (v) {
		v->key = k;
		v->judgement = *j;
	}
}

void sluice_decide(struct sluice_net *sn, const struct sluice_query *q, struct sluice_decision *d)
{
	const struct sluice_tuple *t = q->tuple;
	const struct sluice_endpoint *src_ep = NULL;
	/* The generation is read first: if a commit comes between, the judgement is done again. */
	u32 gen = sluice_policy_generation(sn), rev = sluice_revision(sn);
	u16 port = q->port;
	u32 flags = 0;

	decide_fixed(d, SLUICE_VERDICT_NONE, SLUICE_REASON_NONE);
	d->service = NULL;
	d->dst_ep = NULL;
	d->backend = 0;
	d->backend_gen = 0;
	d->policy_gen = gen;
	d->foreign = false;
	d->dst_node = false;
	d->self = false;
	d->swapped = false;
	sluice_tuple_invert(&d->reply, t);

	if (q->from == SLUICE_FROM_POD) {
		src_ep = sluice_device_endpoint(q->dev, rev);
		if (!src_ep || !src_ep->open) {
			decide_fixed(d, SLUICE_VERDICT_DENY, SLUICE_REASON_ENDPOINT_CLOSED);
			return;
		}
		if (!endpoint_has_addr(src_ep, &t->src, t->family)) {
			decide_fixed(d, SLUICE_VERDICT_DENY, SLUICE_REASON_SPOOFED_SOURCE);
			return;
		}
		if (sluice_addr_martian_source(&t->dst, t->family)) {
			decide_fixed(d, SLUICE_VERDICT_DENY, SLUICE_REASON_MARTIAN);
			return;
		}
	}

	if (sluice_has_ports(t->proto)) {
		struct sluice_service_key key = {
			.addr = t->dst,
			.port = t->dport,
			.proto = t->proto,
			.family = t->family,
		};

		d->service = sluice_service_find(sn, rev, &key);
	}
	if (d->service) {
		const struct sluice_backend *b;

		if (!d->service->n_backends) {
			decide_fixed(d, SLUICE_VERDICT_REJECT, SLUICE_REASON_NO_ENDPOINTS);
			return;
		}
		d->backend = d->service->backend_ids[sluice_service_pick(q->random,
									 d->service->n_backends)];
		b = sluice_backend_get(sn, d->backend);
		d->backend_gen = READ_ONCE(b->gen);
		d->reply.src = b->addr;
		d->reply.sport = b->port;
		port = ntohs(b->port);
	} else if (q->from != SLUICE_FROM_OUTSIDE &&
		   sluice_service_addr_known(sn, rev, &t->dst, t->family)) {
		decide_fixed(d, SLUICE_VERDICT_REJECT, SLUICE_REASON_SERVICE_PORT);
		return;
	}

	d->dst_ep = sluice_endpoint_find_addr(sn, rev, &d->reply.src, t->family);
	if (!d->dst_ep && !d->service && q->from != SLUICE_FROM_POD) {
		d->foreign = true;
		return;
	}
	if (q->from == SLUICE_FROM_OUTSIDE) {
		if (sluice_addr_martian_source(&t->src, t->family)) {
			decide_fixed(d, SLUICE_VERDICT_DENY, SLUICE_REASON_MARTIAN);
			return;
		}
		if (sluice_endpoint_find_addr(sn, rev, &t->src, t->family)) {
			decide_fixed(d, SLUICE_VERDICT_DENY, SLUICE_REASON_SPOOFED_SOURCE);
			return;
		}
	}

	if (q->from == SLUICE_FROM_NODE)
		flags |= SLUICE_JUDGE_SRC_NODE;
	if (!d->dst_ep && addr_is_node(sluice_net_of(sn), &d->reply.src, t->family)) {
		flags |= SLUICE_JUDGE_DST_NODE;
		d->dst_node = true;
	}
	if (src_ep && src_ep == d->dst_ep) {
		flags |= SLUICE_JUDGE_SELF;
		d->self = true;
	}
	judge(sn, gen, rev, t, &d->reply.src, port, flags, src_ep, d->dst_ep, q->remember,
	      &d->judgement);
	if (!q->answer || d->service || d->judgement.verdict != SLUICE_VERDICT_ALLOW)
		return;
	/* Nobody may claim to answer where it could not have been asked. */
	d->swapped = true;
	judge(sn, gen, rev, &d->reply, &t->src, ntohs(t->sport), flags, d->dst_ep, src_ep,
	      q->remember, &d->judgement);
}

/* Apart: the common case, nobody listening, does not pay for the view. */
static noinline void build_event(struct sluice_ctx *x, const struct sluice_conn *c, u8 type)
{
	struct sluice_conn_view v;

	sluice_conn_view(c, &v);
	sluice_event_send(x->sn, type, &v);
}

static void send_event(struct sluice_ctx *x, const struct sluice_conn *c, u8 type)
{
	if (unlikely(sluice_events_wanted(x->sn)))
		build_event(x, c, type);
}

/*
 * An address of the node that answers from the far end come back to: for a pod that reaches itself
 * through a service (its own address as the source of a packet from elsewhere would be dropped),
 * and for a client from outside whose backend is on another node (the answer would bypass us).
 */
static bool masquerade_addr(struct sluice_ctx *x, const struct sluice_addr *towards,
			    struct sluice_addr *a)
{
	struct net *net = sluice_net_of(x->sn);

	memset(a, 0, sizeof(*a));
	if (x->family == SLUICE_IPV4) {
		a->w[0] = inet_select_addr(x->skb->dev, towards->w[0], RT_SCOPE_UNIVERSE);
		return a->w[0];
	}
	return !ipv6_dev_get_saddr(net, NULL, (const struct in6_addr *)towards, 0,
				   (struct in6_addr *)a);
}

static unsigned long pod_side(struct sluice_device *d)
{
	return (unsigned long)sluice_device_get(d) | SLUICE_SIDE_POD;
}

/*
 * Policy changed since the connection was judged. ALLOW; or DENY, then it is a negative entry now; or
 * NONE: one of our pods has come to an end that was elsewhere, or nowhere, when the connection was
 * made. Nothing that it knows of that end holds; the packet is a first one.
 */
static enum sluice_verdict rejudge(struct sluice_ctx *x, struct sluice_conn *c)
{
	struct sluice_net *sn = x->sn;
	const struct sluice_endpoint *ep[2] = { NULL, NULL };
	u32 gen = sluice_policy_generation(sn), rev = sluice_revision(sn);
	struct sluice_tuple orig, reply;
	struct sluice_judgement j;
	u32 flags = 0;
	int i;

	sluice_conn_tuple(c, SLUICE_DIR_ORIGINAL, &orig);
	sluice_conn_tuple(c, SLUICE_DIR_REPLY, &reply);
	for (i = 0; i < 2; i++) {
		unsigned long side = READ_ONCE(c->side[i]);

		if ((side & SLUICE_SIDE_MASK) != SLUICE_SIDE_POD) {
			ep[i] = sluice_endpoint_find_addr(sn, rev, i ? &reply.src : &orig.src,
							  orig.family);
			if (ep[i] && !(side == SLUICE_SIDE_STACK &&
				       test_bit(SLUICE_CONN_BIT_VIA_STACK, &c->bits)))
				return SLUICE_VERDICT_NONE;
			continue;
		}
		ep[i] = sluice_device_endpoint((void *)(side & ~SLUICE_SIDE_MASK), rev);
		if (!ep[i]) /* the pod is gone from the state, though not yet from the node */
			flags |= i ? SLUICE_JUDGE_DST_CLOSED : SLUICE_JUDGE_SRC_CLOSED;
	}
	if (test_bit(SLUICE_CONN_BIT_NODE, &c->bits))
		flags |= SLUICE_JUDGE_SRC_NODE;
	if (test_bit(SLUICE_CONN_BIT_SELF, &c->bits))
		flags |= SLUICE_JUDGE_SELF;
	judge(sn, gen, rev, &orig, &reply.src, sluice_judge_port(&orig, &reply), flags, ep[0],
	      ep[1], x->at == SLUICE_AT_INGRESS, &j);
	sluice_count(sn, rejudged);
	sluice_conn_rejudged(c, &j, gen);
	if (j.verdict == SLUICE_VERDICT_ALLOW)
		return SLUICE_VERDICT_ALLOW;
	sluice_conn_deny(sn->conns, c);
	sluice_count(sn, cut);
	send_event(x, c, SLUICE_EVENT_DENIED);
	return SLUICE_VERDICT_DENY;
}

/*
 * A translated packet that the stack carries on is routed by who sent it, as if it were translated
 * behind routing: our own address as its source, or one that strict reverse path filtering looks
 * for elsewhere (a service's), the stack would take for forged. IPv6 has no such check. On failure the
 * stack tries itself, and says why not.
 */
static void route_by_sender(struct sluice_ctx *x)
{
	const struct iphdr *iph = ip_hdr(x->skb);

	if (x->family == SLUICE_IPV4 && iph->saddr != x->pkt.tuple.src.w[0])
		ip_route_input_noref(x->skb, iph->daddr, x->pkt.tuple.src.w[0], iph->tos,
				     x->skb->dev);
}

/*
 * The stack carries it on, tracked where others may translate it: netfilter's DNAT in front of a pod, as the plugin
 * portmap makes it for host ports, asks nf_conntrack, and must see both directions.
 *
 * Worked example: pod A asks node:8000, which leads to pod B:8080. A -> node:8000 is for the node by all that we know:
 * judged so at A's interface and tracked. Netfilter makes it A -> B:8080, which is judged at POST_ROUTING; its connection's
 * originator is the stack, wherever A is. B:8080 -> A therefore goes to the stack, becomes node:8000 -> A there, and meets
 * the first connection on its way to A, at POST_ROUTING again.
 */
static enum sluice_act to_stack(struct sluice_ctx *x, const struct sluice_conn *c)
{
	unsigned long bits = READ_ONCE(c->bits);

	sluice_count(x->sn, stack);
	if (bits & BIT(SLUICE_CONN_BIT_VIA_STACK))
		return SLUICE_ACT_STACK;
	if ((bits & BIT(SLUICE_CONN_BIT_NODE)) && !(bits & BIT(SLUICE_CONN_BIT_NAT)))
		return SLUICE_ACT_STACK;
	return SLUICE_ACT_HANDLED;
}

enum sluice_act sluice_output(struct sluice_ctx *x, struct sluice_conn *c, u8 side,
			      const struct sluice_tuple *to, bool dst_changed)
{
	unsigned long value;

	if (unlikely(x->at != SLUICE_AT_INGRESS)) {
		if (x->at == SLUICE_AT_LOCAL_OUT && dst_changed) {
			struct net *net = sluice_net_of(x->sn);
			int err =
				x->family == SLUICE_IPV4 ?
					ip_route_me_harder(net, x->state->sk, x->skb, RTN_UNSPEC) :
					ip6_route_me_harder(net, x->state->sk, x->skb);

			if (err < 0) {
				sluice_count_drop(x->sn, SLUICE_REASON_NO_ROUTE);
				x->error = err;
				return SLUICE_ACT_ERROR;
			}
		}
		if (x->at == SLUICE_AT_PRE_ROUTING)
			route_by_sender(x);
		return to_stack(x, c);
	}

	value = READ_ONCE(c->side[side]);
	if (value == SLUICE_SIDE_UNKNOWN && to)
		value = sluice_resolve_route(x, c, side, to);
	switch (value & SLUICE_SIDE_MASK) {
	case SLUICE_SIDE_POD:
		if (sluice_deliver_pod(x, (void *)(value & ~SLUICE_SIDE_MASK)))
			return SLUICE_ACT_STOLEN;
		break;
	case SLUICE_SIDE_ROUTE: {
		struct dst_entry *dst = sluice_side_route(c, x->family, side, value);

		if (dst && sluice_deliver_route(x, dst))
			return SLUICE_ACT_STOLEN;
		break;
	}
	}
	route_by_sender(x);
	return to_stack(x, c);
}

/* A packet of a connection that may pass: count, translate, hand on. */
static enum sluice_act forward(struct sluice_ctx *x, struct sluice_conn *c, u8 dir)
{
	struct sluice_tuple to;
	bool dst_changed;

	c->packets[dir]++;
	c->bytes[dir] += x->skb->len;

	if (test_bit(SLUICE_CONN_BIT_NAT, &c->bits)) {
		sluice_conn_target(c, dir, &to);
		dst_changed = !sluice_addr_equal(&to.dst, &x->pkt.tuple.dst);
		if (sluice_translate(x->skb, &x->pkt, &to))
			return sluice_drop(x, SLUICE_REASON_NO_MEMORY);
		return sluice_output(x, c, !dir, &to, dst_changed);
	}
	return sluice_output(x, c, !dir, &x->pkt.tuple, false);
}

static enum sluice_act first(struct sluice_ctx *x);

static bool backend_stale(struct sluice_net *sn, const struct sluice_conn *c)
{
	return READ_ONCE(sluice_backend_get(sn, c->backend)->gen) != c->backend_gen;
}

/*
 * A connection whose backend left its service. An established TCP or SCTP connection goes on to its
 * end, as with kube-proxy: the pod may be terminating gracefully. Anything else starts over, and so
 * does a client that opens another connection from the same port: the old one may have an hour to
 * live, and nobody at its other end.
 */
static bool starts_over(struct sluice_net *sn, const struct sluice_conn *c, u8 proto, u8 flags)
{
	if (!backend_stale(sn, c))
		return false;
	if (proto == SLUICE_PROTO_TCP)
		return c->state == SLUICE_STATE_TCP_SYN_SENT || sluice_tcp_opens(flags);
	if (proto == SLUICE_PROTO_SCTP)
		return c->state == SLUICE_STATE_SCTP_INIT || flags == SLUICE_SCTP_INIT;
	return true;
}

static enum sluice_act known(struct sluice_ctx *x, struct sluice_conn *c, u8 dir)
{
	struct sluice_conns *cs = x->sn->conns;
	unsigned long side = READ_ONCE(c->side[dir]);
	unsigned long bits = READ_ONCE(c->bits);
	u8 proto = x->pkt.tuple.proto;

	sluice_count(x->sn, hits);
	if (unlikely(bits & (BIT(SLUICE_CONN_BIT_DENIED) | BIT(SLUICE_CONN_BIT_DYING)))) {
		/* A negative entry speaks for the policy that made it, and for nobody else. */
		if (!(bits & BIT(SLUICE_CONN_BIT_DYING)) &&
		    c->policy_gen == sluice_policy_generation(x->sn))
			return sluice_drop(x, c->reason);
		sluice_conn_kill(cs, c);
		return first(x);
	}
	/* Where it went nobody is any more: who has its address, or its service, now? */
	if (unlikely(sluice_side_gone(READ_ONCE(c->side[!dir])))) {
		sluice_conn_kill(cs, c);
		return first(x);
	}

	/* The tuple is right, but does it come from where that side is? */
	if (unlikely(x->at == SLUICE_AT_POST_ROUTING)) {
		/* It came from where it came from, and has been translated since. */
	} else if (x->from == SLUICE_FROM_POD) {
		if (unlikely(side != ((unsigned long)x->dev | SLUICE_SIDE_POD)))
			return sluice_drop(x, SLUICE_REASON_SPOOFED_SOURCE);
	} else if (unlikely((side & SLUICE_SIDE_MASK) == SLUICE_SIDE_POD)) {
		if (x->from == SLUICE_FROM_NODE)
			return SLUICE_ACT_STACK;
		return sluice_drop(x, SLUICE_REASON_SPOOFED_SOURCE);
	}

	if (unlikely(c->policy_gen != sluice_policy_generation(x->sn))) {
		switch (rejudge(x, c)) {
		case SLUICE_VERDICT_ALLOW:
			break;
		case SLUICE_VERDICT_NONE:
			sluice_conn_kill(cs, c);
			return first(x);
		default:
			return sluice_drop(x, c->reason);
		}
	}

	if (proto == SLUICE_PROTO_TCP) {
		if (unlikely(!sluice_tcp_flags_valid(x->pkt.l4.flags)))
			return sluice_drop(x, SLUICE_REASON_TCP_FLAGS);
		if (unlikely(sluice_tcp_reopens(READ_ONCE(c->state), x->pkt.l4.flags))) {
			sluice_conn_kill(cs, c);
			return first(x);
		}
	}
	if ((bits & BIT(SLUICE_CONN_BIT_SERVICE)) && dir == SLUICE_DIR_ORIGINAL &&
	    unlikely(starts_over(x->sn, c, proto, x->pkt.l4.flags))) {
		sluice_conn_kill(cs, c);
		return first(x);
	}
	sluice_conn_advance(cs, c, dir, &x->pkt.l4);
	return forward(x, c, dir);
}

/* Remembers that this flow is denied, so that the rest of it costs one look-up a packet. */
static void remember_denied(struct sluice_ctx *x, const struct sluice_decision *d)
{
	struct sluice_conn_init in = {
		.original = x->pkt.tuple,
		.reply = d->reply,
		.judgement = &d->judgement,
		.bits = BIT(SLUICE_CONN_BIT_DENIED),
		.policy_gen = d->policy_gen,
		.state = SLUICE_STATE_DENIED,
	};
	struct sluice_conn *c;
	bool raced;

	c = sluice_conn_create(x->sn->conns, &in, &raced);
	if (!IS_ERR(c) && !raced)
		send_event(x, c, SLUICE_EVENT_DENIED);
}

/* A packet that others have translated: is it still from the pod that sent it? */
static bool is_from_pod(const struct sluice_ctx *x)
{
	const struct sluice_endpoint *ep;

	if (!x->dev || x->dev->uplink)
		return false;
	ep = sluice_device_endpoint(x->dev, sluice_revision(x->sn));
	return ep && endpoint_has_addr(ep, &x->pkt.tuple.src, x->family);
}

static enum sluice_act first(struct sluice_ctx *x)
{
	struct sluice_query q = {
		.tuple = &x->pkt.tuple,
		.dev = x->dev,
		.random = sluice_random_u32(),
		.port = x->pkt.port,
		.answer = sluice_tcp_answers(&x->pkt.tuple, x->pkt.l4.flags),
		.remember = x->at == SLUICE_AT_INGRESS,
	};
	u8 proto = x->pkt.tuple.proto;
	struct sluice_decision d SLUICE_UNINIT;
	struct sluice_conn_init in SLUICE_UNINIT;
	struct sluice_tcp_dir unused[2];
	struct sluice_conn *c;
	bool raced;
	u8 dir;

	if (unlikely(x->at == SLUICE_AT_POST_ROUTING) && is_from_pod(x))
		x->from = SLUICE_FROM_POD;
	q.from = x->from;
	sluice_decide(x->sn, &q, &d);
	if (d.foreign) {
		sluice_count(x->sn, foreign);
		return SLUICE_ACT_STACK;
	}
	sluice_count(x->sn, misses);
	if (d.judgement.verdict == SLUICE_VERDICT_REJECT)
		return sluice_reject(x, d.judgement.reason);
	if (proto == SLUICE_PROTO_TCP && !sluice_tcp_flags_valid(x->pkt.l4.flags))
		return sluice_drop(x, SLUICE_REASON_TCP_FLAGS);
	if (d.judgement.verdict != SLUICE_VERDICT_ALLOW) {
		switch (d.judgement.reason) {
		case SLUICE_REASON_SPOOFED_SOURCE:
		case SLUICE_REASON_MARTIAN:
			break; /* not the flow's own packet: it must not speak for the flow */
		default:
			remember_denied(x, &d);
		}
		return sluice_drop(x, d.judgement.reason);
	}
	if (x->pkt.flags & SLUICE_PACKET_REPLY_ONLY)
		return sluice_drop(x, SLUICE_REASON_NO_CONNECTION);

	in.state = sluice_state_first(proto, &x->pkt.l4, unused);
	if (in.state == SLUICE_STATE_NONE)
		return sluice_drop(x, SLUICE_REASON_NO_CONNECTION);
	/* Which backend a stray packet belonged to is lost: say so, or the client waits for ever. */
	if (d.service && proto == SLUICE_PROTO_TCP && in.state != SLUICE_STATE_TCP_SYN_SENT)
		return sluice_reject(x, SLUICE_REASON_NO_CONNECTION);

	in.original = d.swapped ? d.reply : x->pkt.tuple;
	in.reply = d.swapped ? x->pkt.tuple : d.reply;
	in.dir = d.swapped ? SLUICE_DIR_REPLY : SLUICE_DIR_ORIGINAL;
	in.l4 = &x->pkt.l4;
	in.judgement = &d.judgement;
	in.side[0] = SLUICE_SIDE_UNKNOWN;
	in.side[1] = SLUICE_SIDE_UNKNOWN;
	in.bits = 0;
	in.policy_gen = d.policy_gen;
	in.backend = d.backend;
	in.backend_gen = d.backend_gen;
	in.remap = !in.dir && (x->pkt.flags & (SLUICE_PACKET_PORTS | SLUICE_PACKET_ECHO));
	if (d.service)
		in.bits |= BIT(SLUICE_CONN_BIT_SERVICE) | BIT(SLUICE_CONN_BIT_NAT);
	if (x->from == SLUICE_FROM_NODE || d.dst_node)
		in.bits |= BIT(SLUICE_CONN_BIT_NODE);
	if (d.self)
		in.bits |= BIT(SLUICE_CONN_BIT_SELF);
	if (d.service && (d.self || (x->from == SLUICE_FROM_OUTSIDE && !d.dst_ep && !d.dst_node)))
		if (!masquerade_addr(x, &d.reply.src, &in.reply.dst))
			return sluice_drop(x, SLUICE_REASON_NO_ROUTE);
	if (x->at == SLUICE_AT_POST_ROUTING) {
		in.bits |= BIT(SLUICE_CONN_BIT_VIA_STACK);
		in.side[in.dir] = SLUICE_SIDE_STACK;
	} else if (x->from == SLUICE_FROM_POD) {
		in.side[in.dir] = pod_side(x->dev);
	} else if (x->from == SLUICE_FROM_NODE) {
		in.side[in.dir] = SLUICE_SIDE_STACK;
	}
	if (d.dst_ep)
		in.side[!in.dir] = pod_side(d.dst_ep->device);
	else if (d.dst_node)
		in.side[!in.dir] = SLUICE_SIDE_STACK;

	c = sluice_conn_create(x->sn->conns, &in, &raced);
	if (IS_ERR(c))
		return sluice_drop(x, PTR_ERR(c) == -ENOSPC	? SLUICE_REASON_TABLE_FULL :
				      PTR_ERR(c) == -EADDRINUSE ? SLUICE_REASON_NO_PORTS :
								  SLUICE_REASON_NO_MEMORY);
	if (raced) {
		/* The winner may be dying already; its killer is at work, the sender repeats. */
		c = sluice_conn_find(x->sn->conns, &x->pkt.tuple, &dir);
		if (!c || test_bit(SLUICE_CONN_BIT_DYING, &c->bits) ||
		    test_bit(SLUICE_CONN_BIT_DENIED, &c->bits))
			return sluice_drop(x, SLUICE_REASON_NO_CONNECTION);
		return forward(x, c, dir);
	}
	send_event(x, c, SLUICE_EVENT_NEW);
	x->known.conn = c;
	if (x->known.plain && !in.dir && sluice_fast_first(x->dev, x->skb, x->family, &x->known))
		return SLUICE_ACT_STOLEN;
	return forward(x, c, in.dir);
}

/* Packets that stay on their link are the stack's: neighbour discovery, multicast, DHCP. */
static bool stays_on_link(const struct sluice_ctx *x)
{
	const struct sluice_tuple *t = &x->pkt.tuple;

	if (x->pkt.flags & SLUICE_PACKET_LINK_CONTROL)
		return true;
	if (sluice_addr_multicast(&t->dst, t->family))
		return true;
	return t->family == SLUICE_IPV6 && sluice_addr_link_local(&t->dst, t->family);
}

static int parse(struct sluice_ctx *x)
{
	struct sk_buff *skb = x->skb;
	int off = skb_network_offset(skb), ret, i;

	for (i = 0; i < 8; i++) {
		ret = sluice_packet_parse(skb_network_header(skb), skb_headlen(skb) - off,
					  skb->len - off, x->family, &x->pkt);
		if (ret != SLUICE_PARSE_MORE)
			return ret;
		if (!pskb_may_pull(skb, off + x->pkt.need))
			return SLUICE_PARSE_MALFORMED;
	}
	return SLUICE_PARSE_UNSUPPORTED;
}

enum sluice_act sluice_path(struct sluice_ctx *x)
{
	struct sluice_conn *c;
	int ret;
	u8 dir;

	if (x->known.plain) {
		sluice_plain_packet(x->skb->data, x->family, &x->known.pl, &x->pkt);
		c = x->known.conn;
		if (c)
			return known(x, c, x->known.dir);
		goto unknown;
	}
	ret = parse(x);
	if (unlikely(ret == SLUICE_PARSE_FRAGMENT) && x->at != SLUICE_AT_INGRESS) {
		if (!sluice_reassemble(x))
			return SLUICE_ACT_STOLEN;
		ret = parse(x);
	} else if (x->at == SLUICE_AT_PRE_ROUTING && x->dev) {
		return SLUICE_ACT_STACK; /* its other headers were taken for a fragment's; ingress has judged it */
	}
	switch (ret) {
	case SLUICE_PARSE_OK:
		break;
	case SLUICE_PARSE_FRAGMENT:
		/* Still one: its headers are cut, or it says that more follow and does not end on 8 bytes. */
		if (x->at != SLUICE_AT_INGRESS)
			return sluice_drop(x, SLUICE_REASON_FRAGMENT);
		sluice_count(x->sn, fragments);
		return SLUICE_ACT_STACK;
	case SLUICE_PARSE_BAD_CHECKSUM:
		return sluice_drop(x, SLUICE_REASON_BAD_CHECKSUM);
	case SLUICE_PARSE_UNSUPPORTED:
		return sluice_drop(x, SLUICE_REASON_UNSUPPORTED);
	default:
		return sluice_drop(x, SLUICE_REASON_MALFORMED);
	}

	if (x->pkt.flags & SLUICE_PACKET_ICMP_ERROR)
		return sluice_icmp_error(x);
	c = sluice_conn_find(x->sn->conns, &x->pkt.tuple, &dir);
	if (c)
		return known(x, c, dir);
unknown:
	if (stays_on_link(x)) {
		/* A closed pod may find its neighbours, and that is all. */
		if (x->from == SLUICE_FROM_POD && !(x->pkt.flags & SLUICE_PACKET_LINK_CONTROL)) {
			struct sluice_endpoint *ep =
				sluice_device_endpoint(x->dev, sluice_revision(x->sn));

			if (!ep || !ep->open)
				return sluice_drop(x, SLUICE_REASON_ENDPOINT_CLOSED);
		}
		sluice_count(x->sn, foreign);
		return SLUICE_ACT_STACK;
	}
	return first(x);
}

void sluice_restore_sides(struct sluice_net *sn, const struct sluice_conn_view *v,
			  struct sluice_conn_init *in)
{
	const struct sluice_addr *addr[2] = { &v->original.src, &v->reply.src };
	u32 rev = sluice_revision(sn);
	struct sluice_endpoint *ep[2];
	int i;

	for (i = 0; i < 2; i++) {
		ep[i] = sluice_endpoint_find_addr(sn, rev, addr[i], v->original.family);
		if (ep[i])
			in->side[i] = pod_side(ep[i]->device);
		else if (addr_is_node(sluice_net_of(sn), addr[i], v->original.family))
			in->side[i] = SLUICE_SIDE_STACK;
	}
	if (v->flags & SLUICE_CONN_VIA_STACK)
		in->side[0] = SLUICE_SIDE_STACK;
	if (ep[0] && ep[0] == ep[1])
		in->bits |= BIT(SLUICE_CONN_BIT_SELF);
	if (v->flags & SLUICE_CONN_SERVICE) {
		struct sluice_service_key key = {
			.addr = v->original.dst,
			.port = v->original.dport,
			.proto = v->original.proto,
			.family = v->original.family,
		};
		const struct sluice_service *s = sluice_service_find(sn, rev, &key);
		u32 n;

		/* Its backend, if the service still has it; else the connection just runs on. */
		for (n = 0; s && n < s->n_backends; n++) {
			const struct sluice_backend *b = sluice_backend_get(sn, s->backend_ids[n]);

			if (b->port != v->reply.sport ||
			    !sluice_addr_equal(&b->addr, &v->reply.src))
				continue;
			in->backend = s->backend_ids[n];
			in->backend_gen = READ_ONCE(b->gen);
			in->bits |= BIT(SLUICE_CONN_BIT_SERVICE);
			break;
		}
	}
}

void sluice_trace(struct sluice_net *sn, const struct sluice_tuple *t,
		  struct sluice_trace_result *r)
{
	struct sluice_query q = {
		.tuple = t,
		.random = sluice_random_u32(),
		.port = ntohs(t->dport),
		.from = SLUICE_FROM_OUTSIDE,
	};
	struct sluice_decision d;
	struct sluice_endpoint *ep;

	memset(r, 0, sizeof(*r));
	ep = sluice_endpoint_find_addr(sn, sluice_revision(sn), &t->src, t->family);
	if (ep) {
		q.from = SLUICE_FROM_POD;
		q.dev = ep->device;
	} else if (addr_is_node(sluice_net_of(sn), &t->src, t->family)) {
		q.from = SLUICE_FROM_NODE;
	}
	sluice_decide(sn, &q, &d);
	r->judgement = d.judgement;
	if (d.service) {
		r->service = d.service->name;
		r->backend = d.reply.src;
		r->backend_port = d.reply.sport;
	}
}
