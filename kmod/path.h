/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A packet's way through Sluice, in named steps.
 *
 *     parse -> known?  --yes--> check generations -> advance -> translate -> deliver
 *                 \--no--> decide (service, policy) -> create -> translate -> deliver
 *
 * Steps return enum sluice_act; hooks.c alone turns it into a netfilter verdict.
 */
#ifndef SLUICE_KMOD_PATH_H
#define SLUICE_KMOD_PATH_H

#include <linux/skbuff.h>

#include "conn.h"
#include "fast.h"

struct sluice_backend;
struct sluice_endpoint;
struct sluice_service;

enum sluice_act {
	SLUICE_ACT_STACK, /* the stack has it as it is: not ours, or for the node, where others may translate it */
	SLUICE_ACT_HANDLED, /* judged and translated: the stack carries it on, untracked */
	SLUICE_ACT_STOLEN, /* delivered, or freed with its reason counted */
	SLUICE_ACT_ERROR, /* rerouting failed with x->error: the stack's own senders want to know */
};

/* Where a packet comes from. */
enum sluice_from {
	SLUICE_FROM_POD, /* one of our pods' interfaces */
	SLUICE_FROM_OUTSIDE, /* an uplink, or any other interface that is not a pod's */
	SLUICE_FROM_NODE, /* the node's own sockets */
};

/* Where we met it. */
enum sluice_hook {
	SLUICE_AT_INGRESS, /* netdev ingress: may deliver directly */
	SLUICE_AT_PRE_ROUTING, /* a fragment, or from an interface that is not ours */
	SLUICE_AT_LOCAL_OUT,
	SLUICE_AT_POST_ROUTING, /* on its way to a pod, which it was not when we met it before */
};

/*
 * For a local that is written before it is read: kernels that zero every local at its declaration
 * (CONFIG_INIT_STACK_ALL_ZERO) would spend 20 to 60 instructions on each of the large ones here.
 */
#if __has_attribute(uninitialized)
#define SLUICE_UNINIT __attribute__((uninitialized))
#else
#define SLUICE_UNINIT
#endif

/* One packet under way. Lives on the stack of the hook; nothing points to it afterwards. */
struct sluice_ctx {
	struct sluice_net *sn;
	struct sk_buff *skb;
	struct sluice_device *dev; /* FROM_POD: the pod's; else NULL or the uplink's */
	const struct nf_hook_state *state; /* everywhere but AT_INGRESS */
	int error;
	struct sluice_known known; /* AT_INGRESS: what the fast way found */
	u8 family;
	u8 from;
	u8 at;
	struct sluice_packet pkt;
};

enum sluice_act sluice_path(struct sluice_ctx *x);

/* Is the packet for one of our pods? Under RCU. */
bool sluice_concerns_pod(struct sluice_net *sn, const struct sluice_tuple *t);

/* Frees the packet and counts why. */
enum sluice_act sluice_drop(struct sluice_ctx *x, u8 reason);

/* What a first packet asks for. */
struct sluice_query {
	const struct sluice_tuple *tuple;
	struct sluice_device *dev; /* FROM_POD: its device */
	u32 random;
	u16 port; /* sluice_port_key() of the tuple's destination */
	u8 from;
	bool answer; /* sluice_tcp_answers() */
	bool remember; /* bottom halves are off: this CPU's verdicts (verdicts.h) may be used */
};

/* What it gets. Pointers are valid in the RCU section of the call. */
struct sluice_decision {
	struct sluice_judgement judgement;
	struct sluice_service *service;
	struct sluice_endpoint *dst_ep; /* the destination after NAT, if it is one of our pods */
	struct sluice_tuple reply; /* the reply tuple wanted; snat not yet applied */
	u32 backend;
	u32 backend_gen;
	u32 policy_gen;
	bool foreign; /* nothing of ours is concerned */
	bool dst_node;
	bool self;
	bool swapped; /* the packet is an answer: the connection's original tuple is its inverse */
};

/* Services and policy for a first packet; no side effect. Under RCU. */
void sluice_decide(struct sluice_net *sn, const struct sluice_query *q, struct sluice_decision *d);

/* translate.c: rewrites the packet from the tuple it has to "to". 0 or -ENOMEM. */
int sluice_translate(struct sk_buff *skb, const struct sluice_packet *pkt,
		     const struct sluice_tuple *to);

/* deliver.c: straight to where a side is. false: the stack must, for a reason of its own. */
bool sluice_deliver_pod(struct sluice_ctx *x, struct sluice_device *pod);
bool sluice_deliver_route(struct sluice_ctx *x, struct dst_entry *dst);
/* Finds the uplink route towards the given side and keeps it in the connection. */
unsigned long sluice_resolve_route(struct sluice_ctx *x, struct sluice_conn *c, u8 side,
				   const struct sluice_tuple *to);

/*
 * fragment.c: takes a fragment in. true: x->skb is the whole packet now, or one that cannot be queued;
 * either way it is to be parsed again. false: it is gone.
 */
bool sluice_reassemble(struct sluice_ctx *x);

/* reject.c: answers with a TCP reset or an ICMP port unreachable, then drops. */
enum sluice_act sluice_reject(struct sluice_ctx *x, u8 reason);

/* icmp.c: an ICMP error, by the connection that its embedded packet belongs to. */
enum sluice_act sluice_icmp_error(struct sluice_ctx *x);

/* path.c: hands a translated packet on towards one side of its connection. */
enum sluice_act sluice_output(struct sluice_ctx *x, struct sluice_conn *c, u8 side,
			      const struct sluice_tuple *to, bool dst_changed);

#endif
