/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The objects of uapi/sluice.h as C structs: each is parsed from its nested attribute, and put into a
 * message: requests, and the answers that the eBPF variant's maps give (bpf_answer.h).
 *
 * Parsing: text and arrays of a parsed object point into the message and live as long as it does
 * (in a handler of nl.h: during the call). Text is never NULL; "" where the kernel sent none. Ports
 * are in host byte order, addresses as struct sluice_addr. Every attribute's length is checked; an
 * unknown attribute is skipped, so that an older sluicectl reads a newer module. Errors: EPROTO, the
 * message names the attribute.
 *
 * Putting: returns false when the message has no room left, which leaves it as it was; or when the
 * object is too large for any (a service whose attributes take more than 64 KiB). Text that is too
 * long is cut.
 */
#ifndef SLUICE_CTL_LIB_NL_OBJECT_H
#define SLUICE_CTL_LIB_NL_OBJECT_H

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/conntrack.h"
#include "core/tuple.h"
#include "core/verdict.h"
#include "ctl/lib/dataplane.h"
#include "ctl/lib/err.h"
#include "uapi/sluice.h"

struct sluice_nl_info {
	const char *version;
	uint32_t revision;
	uint32_t services;
	uint32_t backends;
	uint32_t peers;
	uint32_t rules;
	uint32_t rulesets;
	uint32_t endpoints;
	uint32_t uplinks;
	uint32_t conns;
	uint64_t conn_bytes;
	uint64_t conn_budget;
	uint32_t buckets;
	uint32_t conn_size4;
	uint32_t conn_size6;
};

struct sluice_nl_service {
	struct sluice_addr addr;
	uint16_t port;
	uint8_t proto;
	uint8_t family;
	const char *name;
	uint32_t flags;
	const void *backends; /* see sluice_nl_backend() */
	uint32_t n_backends;
	uint32_t revision;
};

struct sluice_nl_peer {
	struct sluice_addr addr;
	uint8_t plen;
	uint8_t family;
	uint32_t class;
	const char *name;
	uint32_t revision;
};

struct sluice_nl_rule {
	uint32_t id;
	const char *policy;
	const char *rule;
	uint32_t revision;
};

struct sluice_nl_ruleset {
	uint32_t id;
	uint32_t size;
	uint32_t rules;
	uint32_t classes;
	uint32_t endpoints;
	const void *rule_ids; /* n_rule_ids times u32, maybe unaligned; see sluice_nl_rule_id() */
	uint32_t n_rule_ids;
	uint32_t revision;
};

struct sluice_nl_endpoint {
	uint32_t ifindex;
	const char *ifname;
	const char *name;
	const char *container;
	struct sluice_dp_addr addrs[SLUICE_MAX_ENDPOINT_ADDRS];
	uint32_t n_addrs;
	uint32_t ingress;
	uint32_t egress;
	uint32_t flags; /* SLUICE_ENDPOINT_* */
	uint32_t revision;
};

struct sluice_nl_uplink {
	uint32_t ifindex;
	const char *ifname;
	uint32_t revision;
};

/* Attributes of a connection that were there, or that shall be put: 1 << SLUICE_CONN_A_*. */
#define SLUICE_NL_HAS(attr) (1U << (attr))

/* A tuple of which parts may be missing, as filters have them: 1 << SLUICE_TUPLE_A_*. */
struct sluice_nl_tuple {
	struct sluice_tuple
		t; /* ports in network byte order, as core/ has them; unlike all else here */
	uint32_t has;
};

struct sluice_nl_conn {
	uint32_t has;
	struct sluice_nl_tuple original;
	struct sluice_nl_tuple reply;
	uint8_t state;
	uint8_t verdict;
	uint8_t reason;
	uint8_t staged_verdict;
	uint32_t flags; /* SLUICE_CONN_* */
	uint32_t timeout; /* seconds left */
	uint32_t age; /* seconds */
	uint32_t rule[2]; /* egress, ingress */
	uint32_t staged_rule[2];
	uint64_t packets[2]; /* original, reply */
	uint64_t bytes[2];
	struct sluice_tcp_dir tcp[2];
};

struct sluice_nl_stats {
	uint64_t drops[SLUICE_REASON_COUNT];
	uint64_t drops_unknown; /* by reasons that this build has no name for, summed */
	uint64_t hits;
	uint64_t misses;
	uint64_t created;
	uint64_t expired;
	uint64_t evicted[SLUICE_EVICT_COUNT];
	uint64_t rejudged;
	uint64_t cut;
	uint64_t remapped;
	uint64_t fast_pod;
	uint64_t fast_uplink;
	uint64_t stack;
	uint64_t foreign;
	uint64_t fragments;
	uint64_t events_lost;
};

struct sluice_nl_trace {
	uint8_t verdict;
	uint8_t reason;
	uint8_t staged_verdict;
	struct {
		bool judged;
		uint8_t verdict;
		uint8_t reason;
		uint32_t rule;
	} dir[2]; /* egress, ingress */
	const char *service; /* NULL: none */
	bool has_backend;
	struct sluice_addr backend;
	uint16_t backend_port;
	uint8_t family;
};

struct sluice_nl_event {
	uint8_t type; /* enum sluice_event_type */
	uint32_t sequence;
	uint64_t time; /* nanoseconds of CLOCK_REALTIME */
	struct sluice_nl_conn conn;
};

int sluice_nl_parse_info(struct nlattr *nest, struct sluice_nl_info *o, struct sluice_err *err);
int sluice_nl_parse_service(struct nlattr *nest, struct sluice_nl_service *o,
			    struct sluice_err *err);
int sluice_nl_parse_peer(struct nlattr *nest, struct sluice_nl_peer *o, struct sluice_err *err);
int sluice_nl_parse_rule(struct nlattr *nest, struct sluice_nl_rule *o, struct sluice_err *err);
int sluice_nl_parse_ruleset(struct nlattr *nest, struct sluice_nl_ruleset *o,
			    struct sluice_err *err);
int sluice_nl_parse_endpoint(struct nlattr *nest, struct sluice_nl_endpoint *o,
			     struct sluice_err *err);
int sluice_nl_parse_uplink(struct nlattr *nest, struct sluice_nl_uplink *o, struct sluice_err *err);
int sluice_nl_parse_tuple(struct nlattr *nest, struct sluice_nl_tuple *o, struct sluice_err *err);
int sluice_nl_parse_conn(struct nlattr *nest, struct sluice_nl_conn *o, struct sluice_err *err);
/* The same, but any attribute may be missing. */
int sluice_nl_parse_conn_filter(struct nlattr *nest, struct sluice_nl_conn *o,
				struct sluice_err *err);
int sluice_nl_parse_stats(struct nlattr *nest, struct sluice_nl_stats *o, struct sluice_err *err);
int sluice_nl_parse_trace(struct nlattr *nest, struct sluice_nl_trace *o, struct sluice_err *err);
int sluice_nl_parse_event(struct nlattr *nest, struct sluice_nl_event *o, struct sluice_err *err);

/* Does a connection have the tuple, state and verdict that a filter asks for? */
bool sluice_nl_conn_matches(const struct sluice_nl_conn *conn, const struct sluice_nl_conn *filter);

/* The i-th backend, i < n_backends. */
struct sluice_dp_backend sluice_nl_backend(const struct sluice_nl_service *o, uint32_t i);
uint32_t sluice_nl_rule_id(const struct sluice_nl_ruleset *o, uint32_t i);

/* key_only: what DELETE reads. */
bool sluice_nl_put_service(struct nl_msg *msg, const struct sluice_dp_service *o, bool key_only);
bool sluice_nl_put_peer(struct nl_msg *msg, const struct sluice_dp_peer *o, bool key_only);
bool sluice_nl_put_rule(struct nl_msg *msg, const struct sluice_dp_rule *o, bool key_only);
bool sluice_nl_put_endpoint(struct nl_msg *msg, const struct sluice_dp_endpoint *o, bool key_only);
bool sluice_nl_put_uplink(struct nl_msg *msg, const struct sluice_dp_uplink *o);
/* One piece of a ruleset; len 0: the key alone. */
bool sluice_nl_put_ruleset(struct nl_msg *msg, uint32_t id, uint32_t size, uint32_t offset,
			   const void *data, uint32_t len);
/* The attributes in o->has; as a connection to restore, or as a filter. */
bool sluice_nl_put_conn(struct nl_msg *msg, const struct sluice_nl_conn *o);
/* The question of a trace. */
bool sluice_nl_put_trace(struct nl_msg *msg, const struct sluice_tuple *t);
bool sluice_nl_put_conn_budget(struct nl_msg *msg, uint64_t bytes);

/* Answers: an object, and what a dump says of it beyond what a request does. */
bool sluice_nl_put_dumped_service(struct nl_msg *msg, const struct sluice_dp_service *o,
				  uint32_t revision);
bool sluice_nl_put_dumped_peer(struct nl_msg *msg, const struct sluice_dp_peer *o,
			       uint32_t revision);
bool sluice_nl_put_dumped_rule(struct nl_msg *msg, const struct sluice_dp_rule *o,
			       uint32_t revision);
bool sluice_nl_put_dumped_ruleset(struct nl_msg *msg, const struct sluice_nl_ruleset *o);
bool sluice_nl_put_dumped_endpoint(struct nl_msg *msg, const struct sluice_dp_endpoint *o,
				   const char *ifname, uint32_t revision);
bool sluice_nl_put_dumped_uplink(struct nl_msg *msg, const struct sluice_nl_uplink *o);
bool sluice_nl_put_info(struct nl_msg *msg, const struct sluice_nl_info *o);
bool sluice_nl_put_stats(struct nl_msg *msg, const struct sluice_nl_stats *o);
/* t: what was asked. */
bool sluice_nl_put_traced(struct nl_msg *msg, const struct sluice_tuple *t,
			  const struct sluice_nl_trace *o);
bool sluice_nl_put_event(struct nl_msg *msg, const struct sluice_nl_event *o);

/* Room for "service namespace/name:port". */
#define SLUICE_NL_OBJECT_TEXT 512

/* "service shop/api:80", "rule 17", ... of a top-level attribute; false if it names no object. */
bool sluice_nl_object_text(const struct nlattr *nla, char *text);

/*
 * Names of attributes, for errors. A nest is the number of the top-level attribute that opens it,
 * 0 for the top level itself, or one of its own for tuples.
 */
const char *sluice_nl_attr_name(int nest, int type);
/* The nest that an attribute opens; -1: it has no attributes inside. */
int sluice_nl_attr_nest(int nest, int type);

#endif
