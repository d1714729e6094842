/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model: the Kubernetes objects that matter here, stripped to what is needed.
 *
 * Objects are decoded and validated from values (sluice_object_decode), immutable from then on, and
 * reference counted. The store finds them by kind, namespace and name, and tells its listeners of
 * every change, one object at a time. Neither is thread-safe: one thread owns a model.
 *
 * Words: an empty namespace ("") is that of cluster-scoped kinds. Ports are in host byte order,
 * addresses as struct sluice_addr.
 */
#ifndef SLUICE_CTL_LIB_MODEL_H
#define SLUICE_CTL_LIB_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ruleset.h"
#include "ctl/lib/address.h"
#include "ctl/lib/dataplane.h"
#include "ctl/lib/err.h"
#include "ctl/lib/selector.h"
#include "ctl/lib/value.h"

/* X(symbol, kind, apiVersion, namespaced, word for status) */
#define SLUICE_KINDS(X)                                                                        \
	X(NAMESPACE, "Namespace", "v1", false, "namespaces")                                   \
	X(NODE, "Node", "v1", false, "nodes")                                                  \
	X(POD, "Pod", "v1", true, "pods")                                                      \
	X(SERVICE, "Service", "v1", true, "services")                                          \
	X(ENDPOINTS, "Endpoints", "v1", true, "endpoints")                                     \
	X(ENDPOINT_SLICE, "EndpointSlice", "discovery.k8s.io/v1", true, "endpointslices")      \
	X(NETWORK_POLICY, "NetworkPolicy", "networking.k8s.io/v1", true, "networkpolicies")    \
	X(CLUSTER_NETWORK_POLICY, "ClusterNetworkPolicy", "policy.networking.k8s.io/v1alpha2", \
	  false, "clusternetworkpolicies")

enum sluice_kind {
#define X(sym, kind, api, namespaced, word) SLUICE_KIND_##sym,
	SLUICE_KINDS(X)
#undef X
		SLUICE_KIND_COUNT
};

const char *sluice_kind_name(enum sluice_kind kind); /* "NetworkPolicy" */
const char *sluice_kind_word(enum sluice_kind kind); /* "networkpolicies" */
const char *sluice_kind_api(enum sluice_kind kind); /* "networking.k8s.io/v1" */
bool sluice_kind_namespaced(enum sluice_kind kind);

/* Every object begins with this. */
struct sluice_object {
	enum sluice_kind kind;
	unsigned int refs;
	char *ns;
	char *name;
	struct sluice_labels labels;
	char *created; /* RFC 3339, sorts as text; "" when not known */
	char *file; /* where it stands, or NULL; the line is 0 when not known */
	unsigned int line;
	uint64_t hash; /* of everything that was read: equal means nothing changed */
};

struct sluice_namespace {
	struct sluice_object o; /* labels hold kubernetes.io/metadata.name, given or not */
};

struct sluice_node {
	struct sluice_object o;
	struct sluice_dp_addr *addrs; /* status.addresses, InternalIP and ExternalIP */
	size_t n_addrs;
	struct sluice_cidr *pod_cidrs; /* spec.podCIDRs, else spec.podCIDR */
	size_t n_pod_cidrs;
};

struct sluice_pod_port {
	char *name; /* "" when it has none */
	uint16_t port;
	uint8_t proto;
};

struct sluice_pod {
	struct sluice_object o;
	char *node; /* spec.nodeName or "" */
	bool host_network;
	bool terminating; /* has a deletionTimestamp */
	bool finished; /* phase Succeeded or Failed: its addresses are free for others */
	bool ready; /* Running (or no phase given), and not condition Ready other than True */
	struct sluice_dp_addr *ips;
	size_t n_ips;
	struct sluice_pod_port *ports; /* of all containers, in order */
	size_t n_ports;
};

struct sluice_service_port {
	char *name; /* "" when it has none */
	uint16_t port;
	uint8_t proto;
	uint16_t target; /* number; 0 when target_name is set */
	char *target_name; /* NULL unless targetPort is a name */
};

struct sluice_service {
	struct sluice_object o;
	bool ignored; /* headless, ExternalName, or of another proxy: nothing to program */
	bool publish_not_ready;
	bool local_only; /* internalTrafficPolicy: Local */
	bool affinity; /* sessionAffinity: ClientIP */
	bool has_selector;
	struct sluice_selector selector;
	struct sluice_dp_addr *ips; /* clusterIPs */
	size_t n_ips;
	struct sluice_service_port *ports;
	size_t n_ports;
};

struct sluice_slice_port {
	char *name; /* "" when it has none */
	uint16_t port;
	uint8_t proto;
};

struct sluice_slice_address {
	struct sluice_dp_addr addr;
	bool ready;
	bool serving;
	bool terminating;
	char *node; /* or "" */
};

/* One EndpointSlice, or one subset of an Endpoints object. */
struct sluice_slice_group {
	struct sluice_slice_address *addrs;
	size_t n_addrs;
	struct sluice_slice_port *ports;
	size_t n_ports;
};

/* EndpointSlice and Endpoints. */
struct sluice_slice {
	struct sluice_object o;
	char *service; /* its name; "" for a slice that belongs to none */
	struct sluice_slice_group *groups;
	size_t n_groups;
	int64_t triggered; /* when what it tells of happened, sluice_timestamp_now(); 0: not known */
};

struct sluice_policy_port {
	uint8_t proto;
	bool any; /* no port given: every port of the protocol */
	char *name; /* a named port, else NULL */
	uint16_t lo;
	uint16_t hi;
};

struct sluice_policy_peer {
	bool is_block;
	struct sluice_cidr cidr; /* is_block */
	struct sluice_cidr *except;
	size_t n_except;
	bool is_nodes; /* the addresses of the nodes that this selector finds */
	struct sluice_selector nodes;
	bool has_pods; /* otherwise: all pods of the namespaces */
	bool has_namespaces; /* otherwise: the policy's own namespace */
	struct sluice_selector pods;
	struct sluice_selector namespaces;
};

struct sluice_policy_rule {
	struct sluice_policy_peer *peers; /* none: everybody */
	size_t n_peers;
	struct sluice_policy_port *ports; /* none: every port of every protocol */
	size_t n_ports;
	unsigned int line; /* in o.file; 0 when not known */
	uint8_t action; /* enum sluice_action; of a NetworkPolicy always allow */
	char *name; /* given by its author, else NULL */
	/*
	 * Of a ClusterNetworkPolicy: what of it is not supported, else NULL. The rule fails closed, as its API asks
	 * for: an Accept matches nothing, a Deny or Pass has become a Deny of everything.
	 */
	char *unsupported;
	bool matches_nothing;
};

#define SLUICE_INGRESS 0
#define SLUICE_EGRESS 1

/* NetworkPolicy and ClusterNetworkPolicy. */
struct sluice_policy {
	struct sluice_object o;
	uint8_t tier; /* enum sluice_tier */
	uint16_t priority; /* in its tier: less is earlier; of a NetworkPolicy 0 */
	struct sluice_selector
		namespaces; /* of its subject; of a NetworkPolicy: unused, it is its own */
	struct sluice_selector pods; /* of its subject */
	/* SLUICE_INGRESS, SLUICE_EGRESS: policyTypes after defaulting; of a ClusterNetworkPolicy: it has rules */
	bool applies[2];
	struct sluice_policy_rule *rules[2];
	size_t n_rules[2];
};

static inline bool sluice_kind_is_policy(enum sluice_kind kind)
{
	return kind == SLUICE_KIND_NETWORK_POLICY || kind == SLUICE_KIND_CLUSTER_NETWORK_POLICY;
}

/*
 * Decodes and validates one object as the API server would. file: where it stands, or NULL; it is
 * copied. On success *out is an object with one reference. Errors: EINVAL, the message names the object
 * and the path of the field, and err_line (if not NULL) gets the line of that field. ENOTSUP: a kind that
 * is not handled here.
 */
int sluice_object_decode(const struct sluice_value *value, const char *file,
			 struct sluice_object **out, unsigned int *err_line,
			 struct sluice_err *err);

struct sluice_object *sluice_object_get(struct sluice_object *o);
void sluice_object_put(struct sluice_object *o);

#define SLUICE_OBJECT_CAST(type, sym)                                                             \
	static inline const struct sluice_##type *sluice_to_##type(const struct sluice_object *o) \
	{                                                                                         \
		return (const struct sluice_##type *)o;                                           \
	}
SLUICE_OBJECT_CAST(namespace, NAMESPACE)
SLUICE_OBJECT_CAST(node, NODE)
SLUICE_OBJECT_CAST(pod, POD)
SLUICE_OBJECT_CAST(service, SERVICE)
SLUICE_OBJECT_CAST(slice, ENDPOINT_SLICE)
SLUICE_OBJECT_CAST(policy, NETWORK_POLICY)

/* The number of a container port by name; false when the pod has none of that protocol. */
bool sluice_pod_port_number(const struct sluice_pod *pod, const char *name, uint8_t proto,
			    uint16_t *port);

/*
 * Two addresses (IPv4, IPv6) for a service whose manifest leaves clusterIP to the API server, for
 * answers about a cluster that does not run: a hash of its name in 240.0.0.0/4 and in 100::/64, which
 * no packet has.
 */
void sluice_service_made_up_ips(const struct sluice_service *svc, struct sluice_dp_addr out[2]);

struct sluice_model;

/*
 * before is NULL for a new object, after is NULL for a deleted one. The store already holds the
 * state after the change. Both are valid during the call; take a reference to keep one.
 */
typedef void (*sluice_model_listener)(void *ctx, const struct sluice_object *before,
				      const struct sluice_object *after);

struct sluice_model *sluice_model_new(void);
void sluice_model_free(struct sluice_model *model);
/* Listeners are called in the order in which they came. */
void sluice_model_listen(struct sluice_model *model, sluice_model_listener fn, void *ctx);
void sluice_model_unlisten(struct sluice_model *model, sluice_model_listener fn, void *ctx);

/* Takes its own reference. Returns whether anything changed; if not, nobody is told. */
bool sluice_model_apply(struct sluice_model *model, struct sluice_object *o);
/* Returns whether it was there. */
bool sluice_model_delete(struct sluice_model *model, enum sluice_kind kind, const char *ns,
			 const char *name);

/* Lookups return what the model owns. */
const struct sluice_object *sluice_model_find(const struct sluice_model *model,
					      enum sluice_kind kind, const char *ns,
					      const char *name);
const struct sluice_pod *sluice_model_pod(const struct sluice_model *model, const char *ns,
					  const char *name);
/*
 * The labels of a namespace. One without a Namespace object exists as far as policy is concerned
 * and has the label that the API server gives to all: kubernetes.io/metadata.name.
 */
const struct sluice_labels *sluice_model_namespace_labels(struct sluice_model *model,
							  const char *ns);
size_t sluice_model_count(const struct sluice_model *model, enum sluice_kind kind);
/* All objects of one kind in one namespace (ns NULL: in all), in no particular order. fn returning
 * false ends the walk. The model must not change during it. */
void sluice_model_each(const struct sluice_model *model, enum sluice_kind kind, const char *ns,
		       bool (*fn)(void *ctx, const struct sluice_object *o), void *ctx);
/* The EndpointSlices of one service. */
void sluice_model_each_slice(const struct sluice_model *model, const char *ns, const char *service,
			     bool (*fn)(void *ctx, const struct sluice_object *o), void *ctx);

#endif
