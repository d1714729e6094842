// SPDX-License-Identifier: GPL-2.0-only
/*
 * What would happen to a first packet. Everything is looked up as a packet looks it up, in the maps that
 * packets meet, and judged by the same core; the steps are those of sluice_decide() and sluice_trace() in
 * kmod/path.c.
 *
 * Why not a copy of all state in memory (dataplane_memory.h): a question costs ten look-ups this way, in a
 * cluster of any size; and where the maps say something else than what was written, packets obey the maps.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/random.h>

#include "core/judge.h"
#include "ctl/lib/bpf_answer_internal.h"

#define ATTEMPTS 10 /* to answer as of one revision */

/* An end of the packet that may be a pod of this node. */
struct end {
	bool pod;
	bool open;
	uint32_t ifindex;
	uint32_t slots[2]; /* rulesets: egress, ingress; 0: not isolated */
};

/* What is found out; the service's name is the answer's. */
struct decision {
	struct sluice_judgement judgement;
	bool service;
	struct sluice_bpf_service_info info;
	struct sluice_dp_backend backend; /* of the service; or where the packet goes anyway */
};

static void decide_fixed(struct decision *d, uint8_t verdict, uint8_t reason)
{
	d->judgement = (struct sluice_judgement){
		.verdict = verdict,
		.staged_verdict = verdict,
		.reason = reason,
	};
}

static int find_end(struct sluice_bpf_request *r, const struct sluice_addr *addr, uint8_t family,
		    struct end *end)
{
	uint32_t flags;
	int ret;

	*end = (struct end){ 0 };
	ret = sluice_bpf_answer_number(r, SLUICE_BPF_MAP_ADDRS, addr, family, &end->ifindex);
	if (ret || end->ifindex == SLUICE_BPF_ABSENT)
		return ret;
	end->pod = true;
	ret = sluice_bpf_endpoint_flags(r, end->ifindex, &flags, end->slots);
	end->open = (flags & SLUICE_BPF_ENDPOINT_PRESENT) && (flags & SLUICE_BPF_ENDPOINT_OPEN);
	return ret;
}

static int judge(struct sluice_bpf_request *r, const struct sluice_tuple *t,
		 const struct decision *d, uint32_t flags, const struct end *src,
		 const struct end *dst, struct sluice_judgement *j)
{
	struct sluice_judge_in in = { .flags = flags, .port = d->backend.port, .proto = t->proto };
	struct sluice_ruleset *egress = NULL, *ingress = NULL;
	int ret = 0;

	if (src->pod) {
		in.flags |= SLUICE_JUDGE_SRC_LOCAL | (src->open ? 0 : SLUICE_JUDGE_SRC_CLOSED);
		if (src->slots[0]) {
			ret = sluice_bpf_peer_class(r, &d->backend.addr, t->family, &in.dst_class);
			if (!ret)
				ret = sluice_bpf_ruleset(r, src->slots[0], &egress);
			if (!egress) /* nothing may pass */
				in.flags |= SLUICE_JUDGE_SRC_CLOSED;
		}
	}
	if (!ret && dst->pod) {
		in.flags |= SLUICE_JUDGE_DST_LOCAL | (dst->open ? 0 : SLUICE_JUDGE_DST_CLOSED);
		if (dst->slots[1]) {
			ret = sluice_bpf_peer_class(r, &t->src, t->family, &in.src_class);
			if (!ret)
				ret = sluice_bpf_ruleset(r, dst->slots[1], &ingress);
			if (!ingress)
				in.flags |= SLUICE_JUDGE_DST_CLOSED;
		}
	}
	in.egress = egress;
	in.ingress = ingress;
	if (!ret)
		sluice_judge(&in, j);
	free(egress);
	free(ingress);
	return ret;
}

/* The service, if the destination is one, and its backend. 1: it has none, the packet is refused. */
static int choose_backend(struct sluice_bpf_request *r, const struct sluice_tuple *t,
			  struct decision *d)
{
	struct sluice_service_key key = {
		.addr = t->dst, .port = t->dport, .proto = t->proto, .family = t->family
	};
	struct sluice_bpf_service s;
	uint32_t random;
	int version, ret;

	if (t->proto != SLUICE_PROTO_TCP && t->proto != SLUICE_PROTO_UDP &&
	    t->proto != SLUICE_PROTO_SCTP)
		return 0;
	ret = sluice_bpf_answer_find(r->a, SLUICE_BPF_MAP_SERVICES, &key, &s, r->err);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	version = sluice_bpf_version(&s.since, r->revision);
	if (version < 0 || s.v[version].n == SLUICE_BPF_ABSENT)
		return 0;
	d->service = true;
	ret = sluice_bpf_service_info(r, &key, &d->info);
	if (ret)
		return ret;
	if (!s.v[version].n) {
		decide_fixed(d, SLUICE_VERDICT_REJECT, SLUICE_REASON_NO_ENDPOINTS);
		return 0;
	}
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return sluice_err_errno(r->err, errno, "a random number");
	return sluice_bpf_service_backend(r, s.v[version].set,
					  sluice_service_pick(random, s.v[version].n), &d->backend);
}

static int decide(struct sluice_bpf_request *r, const struct sluice_tuple *t,
		  const struct sluice_bpf_node_addrs *node, struct decision *d)
{
	bool from_node, outside;
	struct end src, dst;
	uint32_t flags = 0, vip;
	int ret;

	*d = (struct decision){ .backend = { t->dst, ntohs(t->dport) } };
	ret = find_end(r, &t->src, t->family, &src);
	if (ret)
		return ret;
	from_node = !src.pod && sluice_bpf_node_has(node, &t->src, t->family);
	outside = !src.pod && !from_node;
	if (src.pod && !src.open) {
		decide_fixed(d, SLUICE_VERDICT_DENY, SLUICE_REASON_ENDPOINT_CLOSED);
		return 0;
	}
	if (src.pod && sluice_addr_martian_source(&t->dst, t->family)) {
		decide_fixed(d, SLUICE_VERDICT_DENY, SLUICE_REASON_MARTIAN);
		return 0;
	}

	ret = choose_backend(r, t, d);
	if (ret || d->judgement.verdict != SLUICE_VERDICT_NONE)
		return ret;
	if (!d->service && !outside) {
		ret = sluice_bpf_answer_number(r, SLUICE_BPF_MAP_VIPS, &t->dst, t->family, &vip);
		if (!ret && vip != SLUICE_BPF_ABSENT)
			decide_fixed(d, SLUICE_VERDICT_REJECT, SLUICE_REASON_SERVICE_PORT);
		if (ret || d->judgement.verdict != SLUICE_VERDICT_NONE)
			return ret;
	}

	ret = find_end(r, &d->backend.addr, t->family, &dst);
	if (ret)
		return ret;
	if (!dst.pod && !d->service && !src.pod)
		return 0; /* not ours: the stack has it untouched */
	if (outside && sluice_addr_martian_source(&t->src, t->family)) {
		decide_fixed(d, SLUICE_VERDICT_DENY, SLUICE_REASON_MARTIAN);
		return 0;
	}
	if (from_node)
		flags |= SLUICE_JUDGE_SRC_NODE;
	if (!dst.pod && sluice_bpf_node_has(node, &d->backend.addr, t->family))
		flags |= SLUICE_JUDGE_DST_NODE;
	if (src.pod && dst.pod && src.ifindex == dst.ifindex)
		flags |= SLUICE_JUDGE_SELF;
	return judge(r, t, d, flags, &src, &dst, &d->judgement);
}

static int put_decision(struct sluice_bpf_request *r, const struct sluice_tuple *t,
			const struct decision *d)
{
	const struct sluice_judgement *j = &d->judgement;
	const struct sluice_judge_side *sides[2] = { &j->egress, &j->ingress };
	struct sluice_nl_trace o = {
		.verdict = j->verdict,
		.reason = j->reason,
		.staged_verdict = j->staged_verdict,
		.service = d->service ? d->info.name : NULL,
		.has_backend = d->service && j->reason != SLUICE_REASON_NO_ENDPOINTS,
		.backend = d->backend.addr,
		.backend_port = d->backend.port,
		.family = t->family,
	};

	for (int i = 0; i < 2; i++) {
		o.dir[i].judged = sides[i]->verdict != SLUICE_VERDICT_NONE;
		o.dir[i].verdict = sides[i]->verdict;
		o.dir[i].reason = sides[i]->reason;
		o.dir[i].rule = sides[i]->rule;
	}
	return sluice_bpf_answer_send(r,
				      sluice_nl_put_traced(sluice_bpf_answer_start(r->a), t, &o));
}

int sluice_bpf_answer_trace(struct sluice_bpf_request *r)
{
	struct nlattr *attr = r->attrs[SLUICE_A_TRACE], *asked;
	struct sluice_bpf_node_addrs node;
	struct sluice_tuple t;
	struct decision d;
	int ret;

	if (!attr)
		return sluice_bpf_answer_refuse(r, NULL, EINVAL, "a trace needs a tuple");
	asked = nla_find(nla_data(attr), nla_len(attr), SLUICE_TRACE_A_TUPLE);
	if (!asked)
		return sluice_bpf_answer_refuse(r, attr, EINVAL, "a trace needs a tuple");
	ret = sluice_bpf_answer_tuple(r, asked, &t);
	if (ret)
		return ret;
	if (!r->revision)
		return sluice_bpf_answer_refuse(r, NULL, ENOENT,
						"nothing has been committed in this namespace");
	ret = sluice_bpf_node_addrs_load(&node, r->err);
	if (ret)
		return ret;
	for (int i = 0; i < ATTEMPTS; i++) {
		ret = decide(r, &t, &node, &d);
		if (ret < 0 || !sluice_bpf_answer_outdated(r))
			break;
		r->revision = __atomic_load_n(&r->a->control->revision, __ATOMIC_ACQUIRE);
	}
	sluice_bpf_node_addrs_clear(&node);
	if (ret > 0)
		return sluice_err_set(r->err, EAGAIN,
				      "the state changed each time that it was asked, %d times",
				      ATTEMPTS);
	return ret ? ret : put_decision(r, &t, &d);
}
