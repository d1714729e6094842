/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The node's own connections to services: which backend is decided where the socket is, before there is a packet.
 *
 * Theory of operation
 * -------------------
 * A program of the node connects to, or sends to, the address of a service; the cgroup hooks put a backend's
 * address in its place, and when the program asks who the other end is, the service's (map "sockets"). Packets
 * carry the backend's address from the start: nothing translates them. Sockets of other network namespaces, pods
 * among them, are left alone: theirs is the packet's path.
 *
 * connect()		picks a backend, anew each time
 * sendto() and the like, not connected: keeps to the backend that this socket sent to last, while the service has
 *			it; picks another when not. As a connection of the module does, but for its timeout: the
 *			oldest is forgotten when there are more than the map holds
 *
 * A service without backends, and an address of services with a port that none has, refuse: ECONNREFUSED, what
 * a program sees after kube-proxy's ICMP or reset; with UDP one call earlier. Counted as no-endpoints and
 * service-port.
 *
 * What cannot be done here: a connected UDP socket sends without asking again. When its backend leaves the service,
 * it goes on to send there. Only a program on each packet of the node would see that, or whoever takes
 * the backend away: it finds the socket by the backend's address in "sockets" and ends it with SOCK_DESTROY
 * (sock_diag(7), CONFIG_INET_DIAG_DESTROY); the program then sees ECONNABORTED and connects anew. TCP runs to its end,
 * as with kube-proxy. SCTP does not call these hooks: it reaches backends by their own addresses alone.
 *
 * These programs can be interrupted by others of their kind: all that they need is on their stacks.
 */
#ifndef SLUICE_BPF_NODE_H
#define SLUICE_BPF_NODE_H

#include "bpf/context.h"
#include "core/service.h"

#define SLUICE_NODE_REFUSED 111 /* ECONNREFUSED, the same on all machines that have BPF's JIT */

struct sluice_node_request {
	struct sluice_addr addr; /* of the other end; in and out */
	__be16 port;
	__u8 proto;
	__u8 family;
	__u32 keep; /* to the backend of last time */
	__u64 cookie; /* of the socket */
};

/* What was asked for. */
#define SLUICE_NODE_AS_IT_IS 0
#define SLUICE_NODE_CHANGED 1
#define SLUICE_NODE_REFUSE 2

static __always_inline void sluice_node_key(struct sluice_bpf_socket_key *k,
					    const struct sluice_node_request *q)
{
	k->cookie = q->cookie;
	k->addr = q->addr;
	k->port = q->port;
	k->family = q->family;
	k->proto = q->proto;
	k->pad = 0;
}

static __always_inline int sluice_node_refuse(__u32 reason)
{
	struct sluice_bpf_stats *s = sluice_stats();

	if (s)
		__sync_fetch_and_add(&s->drops[reason], 1);
	return SLUICE_NODE_REFUSE;
}

/* Is the address one of services, though this port is not? */
static __always_inline bool sluice_node_vip(const struct sluice_node_request *q, __u32 revision)
{
	struct sluice_bpf_addr_key k = { .addr = q->addr, .family = q->family };
	const struct sluice_bpf_number *n = bpf_map_lookup_elem(&vips, &k);
	__u32 v;

	return n && sluice_version(&n->since, revision, &v) && n->v[v] != SLUICE_BPF_ABSENT;
}

/* The backend of last time, if the service still has it. */
static __always_inline bool sluice_node_kept(const struct sluice_bpf_socket_key *service,
					     struct sluice_bpf_socket *backend)
{
	const struct sluice_bpf_socket *last = bpf_map_lookup_elem(&sockets, service);
	struct sluice_bpf_backend_ref ref = {
		.service = { .addr = service->addr,
			     .port = service->port,
			     .proto = service->proto,
			     .family = service->family },
	};

	if (!last)
		return false;
	ref.addr = last->addr;
	ref.port = last->port;
	*backend = *last;
	return bpf_map_lookup_elem(&backend_refs, &ref);
}

static __always_inline bool sluice_node_pick(const struct sluice_bpf_service *s, __u32 v,
					     struct sluice_bpf_socket *backend)
{
	struct sluice_bpf_backend_key k = {
		.set = s->v[v].set,
		.index = sluice_service_pick(bpf_get_prandom_u32(), s->v[v].n),
	};
	const struct sluice_bpf_backend *b = bpf_map_lookup_elem(&backends, &k);

	if (!b)
		return false;
	backend->addr = b->addr;
	backend->port = b->port;
	backend->pad = 0;
	return true;
}

/* Towards whom? SLUICE_NODE_*; with CHANGED the request names a backend. */
SLUICE_GLOBAL int sluice_node_towards(struct sluice_node_request *q)
{
	struct sluice_bpf_control *ctl = sluice_control();
	struct sluice_service_key k = {};
	struct sluice_bpf_socket_key asked SLUICE_ALIGNED, answer SLUICE_ALIGNED;
	struct sluice_bpf_socket service = {}, backend = {};
	const struct sluice_bpf_service *s;
	__u32 revision, v;

	if (!q || !ctl)
		return SLUICE_NODE_AS_IT_IS;
	revision = SLUICE_ONCE(ctl->revision);
	k.addr = q->addr;
	k.port = q->port;
	k.proto = q->proto;
	k.family = q->family;
	s = bpf_map_lookup_elem(&services, &k);
	if (!s || !sluice_version(&s->since, revision, &v) || s->v[v].n == SLUICE_BPF_ABSENT)
		return sluice_node_vip(q, revision) ?
			       sluice_node_refuse(SLUICE_REASON_SERVICE_PORT) :
			       SLUICE_NODE_AS_IT_IS;
	sluice_node_key(&asked, q);
	if (!q->keep || !sluice_node_kept(&asked, &backend)) {
		if (!s->v[v].n || !sluice_node_pick(s, v, &backend))
			return sluice_node_refuse(SLUICE_REASON_NO_ENDPOINTS);
		if (q->keep)
			bpf_map_update_elem(&sockets, &asked, &backend, BPF_ANY);
	}
	service.addr = q->addr;
	service.port = q->port;
	q->addr = backend.addr;
	q->port = backend.port;
	sluice_node_key(&answer, q);
	bpf_map_update_elem(&sockets, &answer, &service, BPF_ANY);
	return SLUICE_NODE_CHANGED;
}

/* From whom? SLUICE_NODE_AS_IT_IS, or CHANGED: the request names a service. */
SLUICE_GLOBAL int sluice_node_from(struct sluice_node_request *q)
{
	struct sluice_bpf_socket_key k SLUICE_ALIGNED;
	const struct sluice_bpf_socket *service;

	if (!q)
		return SLUICE_NODE_AS_IT_IS;
	sluice_node_key(&k, q);
	service = bpf_map_lookup_elem(&sockets, &k);
	if (!service)
		return SLUICE_NODE_AS_IT_IS;
	q->addr = service->addr;
	q->port = service->port;
	return SLUICE_NODE_CHANGED;
}

static __always_inline bool sluice_node_ours(struct bpf_sock_addr *ctx)
{
	struct sluice_bpf_control *ctl = sluice_control();

	return ctl && ctl->netns_cookie == bpf_get_netns_cookie(ctx);
}

#define SLUICE_NODE_TOWARDS 0 /* connect() */
#define SLUICE_NODE_TOWARDS_KEPT 1 /* sendto() */
#define SLUICE_NODE_FROM 2 /* recvfrom(), getpeername() */

static __always_inline int sluice_node_ask(struct sluice_node_request *q, __u32 what)
{
	q->keep = what == SLUICE_NODE_TOWARDS_KEPT;
	return what == SLUICE_NODE_FROM ? sluice_node_from(q) : sluice_node_towards(q);
}

/* What a cgroup program returns: 1, the call goes on; 0, it fails. */
static __always_inline int sluice_node_end(int answer)
{
	if (answer != SLUICE_NODE_REFUSE)
		return 1;
	bpf_set_retval(-SLUICE_NODE_REFUSED);
	return 0;
}

static __always_inline int sluice_node4(struct bpf_sock_addr *ctx, __u32 what)
{
	struct sluice_node_request q = {};
	int answer;

	if (!sluice_node_ours(ctx))
		return 1;
	q.cookie = bpf_get_socket_cookie(ctx);
	q.addr.w[0] = ctx->user_ip4;
	q.port = (__be16)ctx->user_port;
	q.proto = ctx->protocol;
	q.family = SLUICE_IPV4;
	answer = sluice_node_ask(&q, what);
	if (answer == SLUICE_NODE_CHANGED) {
		ctx->user_ip4 = q.addr.w[0];
		ctx->user_port = q.port;
	}
	return what == SLUICE_NODE_FROM ? 1 : sluice_node_end(answer);
}

/* ::ffff:10.0.0.1 is 10.0.0.1: the socket is IPv6's, its packets are not. */
static __always_inline int sluice_node6(struct bpf_sock_addr *ctx, __u32 what)
{
	struct sluice_node_request q = {};
	bool mapped;
	int answer;

	if (!sluice_node_ours(ctx))
		return 1;
	q.cookie = bpf_get_socket_cookie(ctx);
	q.addr.w[0] = ctx->user_ip6[0];
	q.addr.w[1] = ctx->user_ip6[1];
	q.addr.w[2] = ctx->user_ip6[2];
	q.addr.w[3] = ctx->user_ip6[3];
	q.port = (__be16)ctx->user_port;
	q.proto = ctx->protocol;
	mapped = !q.addr.w[0] && !q.addr.w[1] && q.addr.w[2] == sluice_htonl(0xffff);
	if (mapped) {
		q.addr.w[0] = q.addr.w[3];
		q.addr.w[2] = 0;
		q.addr.w[3] = 0;
		q.family = SLUICE_IPV4;
	} else {
		q.family = SLUICE_IPV6;
	}
	answer = sluice_node_ask(&q, what);
	if (answer == SLUICE_NODE_CHANGED && mapped) {
		ctx->user_ip6[3] = q.addr.w[0];
		ctx->user_port = q.port;
	} else if (answer == SLUICE_NODE_CHANGED) {
		ctx->user_ip6[0] = q.addr.w[0];
		ctx->user_ip6[1] = q.addr.w[1];
		ctx->user_ip6[2] = q.addr.w[2];
		ctx->user_ip6[3] = q.addr.w[3];
		ctx->user_port = q.port;
	}
	return what == SLUICE_NODE_FROM ? 1 : sluice_node_end(answer);
}

#endif
