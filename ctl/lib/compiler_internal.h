/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the compiler share; compiler.c says how it works as a whole.
 */
#ifndef SLUICE_CTL_LIB_COMPILER_INTERNAL_H
#define SLUICE_CTL_LIB_COMPILER_INTERNAL_H

#include "ctl/lib/alloc.h"
#include "ctl/lib/compiler.h"
#include "ctl/lib/map.h"
#include "ctl/lib/name_key.h"

/* A set of pointers; the flag that keeps each in it once lives in what it points to. */
struct list {
	void **v;
	size_t n, cap;
};

static inline void list_add(struct list *l, void *p)
{
	sluice_grow(l->v, l->n, l->cap);
	l->v[l->n++] = p;
}

static inline void list_remove(struct list *l, const void *p)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (l->v[i] != p)
			continue;
		l->v[i] = l->v[--l->n];
		return;
	}
}

static inline void list_clear(struct list *l)
{
	free(l->v);
	memset(l, 0, sizeof(*l));
}

/* ---- what policy can see of an address ---- */

enum atom_type {
	ATOM_SELECTOR, /* pods of namespaces, by labels */
	ATOM_BLOCK, /* an ipBlock */
	ATOM_NODES, /* addresses of nodes, by labels */
	ATOM_PORT, /* to which number a pod resolves a named port; egress only */
};

/*
 * One question about an address that some rule in use asks. Shared by all rules that ask the same.
 * Its classes are those whose members all say yes; all members of a class say the same.
 */
struct atom {
	enum atom_type type;
	unsigned int refs; /* rules that use it */
	bool fresh; /* nobody was asked yet; is in compiler.fresh_atoms */
	bool loose; /* is in compiler.loose_atoms */
	bool changed; /* classes is not what it was after the last sync; is in compiler.changed_atoms */
	uint64_t serial; /* orders signatures; never reused */
	uint64_t hash; /* of its text: the same after a restart */
	char *text; /* key in compiler.atoms */
	char *ns; /* ATOM_SELECTOR: the one namespace, or NULL: by selector */
	struct sluice_selector namespaces;
	struct sluice_selector pods;
	struct sluice_cidr cidr; /* ATOM_BLOCK */
	struct sluice_cidr *except;
	size_t n_except;
	struct sluice_selector nodes; /* ATOM_NODES */
	struct sluice_cidr *node_addrs; /* those that it stands for now, each a peer */
	size_t n_node_addrs, cap_node_addrs;
	char *port_name; /* ATOM_PORT */
	uint8_t proto;
	uint64_t bucket; /* ATOM_SELECTOR: where it is in compiler.selector_index */
	struct atom_class {
		struct class *class;
		uint32_t value; /* ATOM_PORT: the number; else 0 */
	} *classes;
	size_t n_classes, cap_classes;
	uint64_t yes, no; /* scratch of one question round */
};

struct answer {
	struct atom *atom;
	uint32_t value;
};

/* A peer class: one set of answers. */
struct class {
	uint32_t id;
	struct answer *answers; /* sorted by serial */
	size_t n_answers;
	struct peer *members; /* doubly linked through peer.next_member */
	size_t n_members;
	bool maybe_dead; /* is in compiler.dead_classes */
};

/* A prefix that the data plane shall know: a pod's address, or one that ipBlocks are made of. */
struct peer {
	struct sluice_cidr prefix; /* key in compiler.peers */
	struct pod **pods; /* who has this address now; more than one while an address moves on */
	size_t n_pods;
	struct block_use {
		struct atom *atom;
		bool except;
	} *blocks; /* ipBlocks with this very prefix as cidr or except */
	size_t n_blocks;
	struct class *class; /* NULL: class 0 */
	struct peer *next_member, *prev_member;
	bool unclassified; /* is in compiler.stale_peers */
	bool dirty; /* is in compiler.dirty_peers */
	bool sent;
	uint64_t sent_hash; /* of class and name */
};

/* A pod, in the model or attached, or both. */
struct pod {
	char *ns, *name;
	const struct sluice_pod *o; /* with a reference; NULL: attached only */
	struct list endpoints; /* its attachments */
	struct peer **peers; /* the addresses that it claims */
	size_t n_peers;
};

/* ---- policy ---- */

struct rule_name {
	uint32_t id;
	unsigned int refs; /* rulesets */
	char *policy, *rule;
	bool dirty, sent;
};

struct compiled_rule {
	struct atom **atoms; /* any of them */
	size_t n_atoms;
	bool any_peer;
	struct atom *
		*port_atoms; /* one for each port of the policy's rule, NULL unless named egress */
	const struct sluice_policy_rule *source;
	char name[128]; /* "ingress[12]", "ingress[12] its-own-name" */
};

/* A policy that selects at least one endpoint here; ns is "" for a ClusterNetworkPolicy. */
struct policy {
	char *ns, *name;
	const struct sluice_policy *o; /* with a reference */
	unsigned int refs; /* rulesets */
	bool stale; /* o is not what the model has now */
	bool changed; /* compiled anew in this sync; is in compiler.changed_policies */
	struct compiled_rule *rules[2];
	size_t n_rules[2];
};

struct port_resolution {
	const char *name; /* owned by the ruleset */
	uint8_t proto;
	uint16_t port; /* 0: the pod has no such port */
};

struct ruleset {
	uint32_t id;
	unsigned int refs; /* endpoints; at 0 only what del needs is kept until it was sent */
	int dir;
	char *key; /* in compiler.rulesets */
	size_t key_len;
	struct policy **policies; /* sorted by tier, priority and name */
	size_t n_policies;
	struct port_resolution *ports; /* ingress: the named ports of its subject */
	size_t n_ports;
	struct sluice_ruleset *blob; /* NULL before the first build */
	struct list names; /* struct rule_name, each with a reference, of blob */
	char *problem; /* why blob denies everything */
	bool build; /* blob is not what the policies say */
	bool dirty, sent;
};

struct endpoint {
	uint32_t ifindex;
	struct pod *pod; /* NULL: none is known behind it */
	char *container;
	struct sluice_dp_addr *addrs;
	size_t n_addrs;
	struct ruleset *rulesets[2];
	bool open;
	bool stale; /* rulesets are to be looked up again; is in compiler.stale_endpoints */
	bool gone;
	bool dirty, sent;
};

/* ---- services ---- */

/* One (address, port, protocol) and the services that want it. */
struct vip {
	struct sluice_dp_service key; /* the key fields alone */
	struct vip_claim **claims; /* sorted; the first has it */
	size_t n_claims;
	uint64_t hash; /* of what was sent */
	size_t counted; /* backends that compiler.stats has of it */
	bool dirty, sent;
};

struct vip_claim {
	struct vip *vip;
	struct service *service;
	char *name; /* "namespace/name:port" */
	struct sluice_dp_backend *backends;
	size_t n_backends;
};

struct service {
	char *ns, *name;
	char *created;
	struct vip_claim **claims;
	size_t n_claims;
	char *problem;
	bool stale; /* is in compiler.stale_services */
};

struct sluice_compiler {
	struct sluice_model *model;
	char *node;
	bool all; /* every pod is attached */
	bool need_full;
	uint32_t next_ifindex; /* for attach_all */
	uint64_t next_serial;
	uint64_t round; /* of questions, see struct atom */

	struct sluice_map pods; /* "ns\0name" -> struct pod */
	struct sluice_map peers; /* struct sluice_cidr -> struct peer */
	struct sluice_map classes; /* answers -> struct class */
	struct sluice_map class_ids; /* u32 -> struct class */
	struct sluice_map atoms; /* text -> struct atom */
	struct sluice_map selector_index; /* u64 -> struct list of atoms */
	struct sluice_map port_index; /* "proto name" -> struct atom */
	unsigned int prefix_lengths[2][129]; /* how many peers with blocks have this length */
	struct list node_atoms; /* indexed ATOM_NODES */
	struct list fresh_atoms, loose_atoms, changed_atoms;
	struct list dead_classes, stale_peers, dirty_peers;

	struct sluice_map policies; /* "ns\0name" -> struct policy */
	struct sluice_map rulesets; /* key -> struct ruleset */
	struct sluice_map ruleset_ids; /* u32 -> struct ruleset */
	struct sluice_map names; /* "policy\0rule" -> struct rule_name */
	struct sluice_map name_ids; /* u32 -> struct rule_name */
	struct list dirty_names, dirty_rulesets, stale_policies, changed_policies;

	struct sluice_map endpoints; /* u32 -> struct endpoint */
	struct sluice_map endpoint_addrs; /* address and family -> struct list of endpoints */
	struct list stale_endpoints, dirty_endpoints;

	struct sluice_map services; /* "ns\0name" -> struct service */
	struct sluice_map vips; /* struct sluice_service_key -> struct vip */
	struct list stale_services, dirty_vips;
	bool services_compiled; /* once; until then all services are stale */

	uint32_t *uplinks;
	size_t n_uplinks;
	uint32_t *sent_uplinks;
	size_t n_sent_uplinks;
	bool uplinks_dirty;

	bool complaints; /* some problem came, went or changed: problems is to be made anew */
	struct sluice_compiler_problem *problems;
	size_t n_problems, cap_problems;
	unsigned long problems_version;
	struct sluice_compiler_stats stats;
};

/* compiler.c */
/* The addresses that are this pod's now, no duplicates; to be freed. */
struct sluice_dp_addr *compiler_pod_addrs(const struct sluice_compiler *c, const struct pod *pod,
					  size_t *n);
/* Which of two pods has an address that both claim: > 0 for a, < 0 for b. */
int compiler_compare_pods(const struct pod *a, const struct pod *b);
struct pod *compiler_find_pod(const struct sluice_compiler *c, const char *ns, const char *name);

void compiler_endpoint_stale(struct sluice_compiler *c, struct endpoint *e);

/* compiler_peer.c */
struct atom *compiler_atom_get(struct sluice_compiler *c, const struct atom *like);
void compiler_atom_put(struct sluice_compiler *c, struct atom *atom);
void compiler_peer_pod(struct sluice_compiler *c, struct pod *pod);
void compiler_peer_namespace(struct sluice_compiler *c, const char *ns);
/* A Node came, went or changed. */
void compiler_peer_nodes(struct sluice_compiler *c);
/* Classifies what is stale; afterwards atoms tell their classes. */
void compiler_peer_update(struct sluice_compiler *c);
int compiler_peer_send(struct sluice_compiler *c, struct sluice_dataplane *dp, bool full,
		       struct sluice_err *err);
void compiler_peer_sent(struct sluice_compiler *c);
void compiler_peer_free(struct sluice_compiler *c);

/* compiler_policy.c */
void compiler_policy_changed(struct sluice_compiler *c, const struct sluice_object *before,
			     const struct sluice_object *after);
/* The labels of a namespace have changed. */
void compiler_policy_namespace(struct sluice_compiler *c, const char *ns);
/* What of a policy cannot be done is a problem of its own: whether there is such. */
bool compiler_policy_unsupported(const struct sluice_policy *o);
/* Compiles stale policies, finds the rulesets of stale endpoints, drops what nobody uses. */
void compiler_policy_update(struct sluice_compiler *c);
/* After compiler_peer_update(): builds the blobs that have changed. */
void compiler_policy_build(struct sluice_compiler *c);
int compiler_policy_send(struct sluice_compiler *c, struct sluice_dataplane *dp, bool full,
			 struct sluice_err *err);
void compiler_policy_sent(struct sluice_compiler *c);
void compiler_ruleset_put(struct sluice_compiler *c, struct ruleset *rs);
void compiler_policy_free(struct sluice_compiler *c);

/* compiler_service.c */
void compiler_service_stale(struct sluice_compiler *c, const char *ns, const char *name);
/* Services whose endpoints may come from this pod; either may be NULL. */
void compiler_service_pod(struct sluice_compiler *c, const struct sluice_pod *before,
			  const struct sluice_pod *after);
void compiler_service_update(struct sluice_compiler *c);
int compiler_service_send(struct sluice_compiler *c, struct sluice_dataplane *dp, bool full,
			  struct sluice_err *err);
void compiler_service_sent(struct sluice_compiler *c);
void compiler_service_free(struct sluice_compiler *c);

#endif
