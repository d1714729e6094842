/* SPDX-License-Identifier: ((GPL-2.0-only WITH Linux-syscall-note) OR BSD-3-Clause) */
/*
 * Sluice's generic netlink family: the wire contract between the kernel and everybody else.
 *
 * General
 * -------
 * Family "sluice", version 1. State is per network namespace: a socket speaks for the namespace it
 * was opened in. Every command needs CAP_NET_ADMIN in the initial user namespace. Input is
 * validated strictly; an extended ack names the attribute and the reason. Addresses and ports are
 * in network byte order, everything else is in host byte order. IPv4 addresses are 4 bytes long,
 * IPv6 addresses 16: the length tells the family.
 *
 * Transactions
 * ------------
 * BEGIN opens the namespace's one transaction, owned by the socket that sent it, and answers with
 * its revision; -EBUSY while another socket holds one. UPDATE and DELETE carry any number of
 * objects, in any order, and only work inside it. COMMIT makes all of it visible to packets at
 * once; ABORT, an error in COMMIT, or the closing of the socket drops all of it. A packet is
 * judged by the state before or after a commit, never by a mixture.
 *
 * An error in UPDATE or DELETE leaves out that message's object in question and fails the whole
 * transaction: a later COMMIT answers -ECANCELED and changes nothing.
 *
 * Every object remembers the revision of the last transaction that wrote it, also when the write
 * changed nothing. COMMIT with SLUICE_COMMIT_SWEEP also removes whatever this transaction did not
 * write: that is a full resync. Connections live through all of this; after a commit that changed
 * policy they are judged again, each on its next packet, and cut if no longer allowed.
 *
 * Objects
 * -------
 * service   (address, port, protocol) -> backends. Replaced as a whole.
 * peer      prefix -> class. The class of an address is that of the longest prefix that holds it;
 *           0 where none does. Classes are numbers of the controller's choosing.
 * rule      id -> name ("namespace/policy" and the rule's place in it), for people to read.
 * ruleset   id -> blob, core/ruleset.h. Sent in pieces: the pieces of one ruleset go in order of
 *           their offset within one transaction, and the last one completes it.
 * endpoint  ifindex of the host side of a pod's interface -> its addresses and its two rulesets. It
 *           is closed (nothing passes) unless SLUICE_ENDPOINT_OPEN is set. It vanishes with its
 *           interface.
 * uplink    ifindex of an interface towards other nodes.
 *
 * Dumps
 * -----
 * GET_SERVICE, GET_PEER, GET_RULE, GET_RULESET (without its blob), GET_ENDPOINT, GET_UPLINK and
 * GET_CONN with NLM_F_DUMP answer one message an object, holding the nested attribute of that
 * object. A dump of connections may be narrowed by a SLUICE_A_CONN with FILTER semantics: the
 * attributes given must be equal. FLUSH_CONN takes the same filter. SET_CONN puts one or many
 * connections back (they answer -EEXIST one by one by being skipped; the ack's count says how many).
 *
 * Events
 * ------
 * Multicast group "events": SLUICE_CMD_EVENT messages, each one SLUICE_A_EVENT. Nothing is built
 * while nobody listens. Delivery is lossy under pressure like all netlink multicast: the sequence
 * number in each event shows a gap.
 */
#ifndef _UAPI_SLUICE_H
#define _UAPI_SLUICE_H

#include <linux/types.h>

#define SLUICE_GENL_NAME "sluice"
#define SLUICE_GENL_VERSION 1
#define SLUICE_GENL_GROUP_EVENTS "events"

/* Lengths of names, with their closing NUL. Kubernetes' own limits: 63 + 1 + 253 characters. */
#define SLUICE_NAME_LEN 384

/*
 * Bytes of backends of one service: what fits, with its name and all else, into the 65,535 bytes of a
 * netlink attribute, both ways. 8,064 IPv4 or 3,225 IPv6 backends.
 */
#define SLUICE_MAX_BACKENDS_BYTES 64512
#define SLUICE_MAX_ENDPOINT_ADDRS 8

enum {
	SLUICE_CMD_UNSPEC,
	SLUICE_CMD_GET_INFO, /* do: -> A_INFO */
	SLUICE_CMD_BEGIN, /* do: -> A_REVISION */
	SLUICE_CMD_UPDATE, /* do: A_SERVICE*, A_PEER*, A_RULE*, A_RULESET*, A_ENDPOINT*, A_UPLINK* */
	SLUICE_CMD_DELETE, /* do: the same objects, their keys alone are read */
	SLUICE_CMD_COMMIT, /* do: A_FLAGS (SLUICE_COMMIT_*) -> A_REVISION */
	SLUICE_CMD_ABORT, /* do */
	SLUICE_CMD_GET_SERVICE, /* dump: A_SERVICE */
	SLUICE_CMD_GET_PEER, /* dump: A_PEER */
	SLUICE_CMD_GET_RULE, /* dump: A_RULE */
	SLUICE_CMD_GET_RULESET, /* dump: A_RULESET, without DATA */
	SLUICE_CMD_GET_ENDPOINT, /* dump: A_ENDPOINT */
	SLUICE_CMD_GET_UPLINK, /* dump: A_UPLINK */
	SLUICE_CMD_GET_CONN, /* dump: A_CONN as filter -> A_CONN */
	SLUICE_CMD_FLUSH_CONN, /* do: A_CONN as filter -> A_COUNT */
	SLUICE_CMD_SET_CONN, /* do: A_CONN* -> A_COUNT */
	SLUICE_CMD_GET_STATS, /* do: -> A_STATS */
	SLUICE_CMD_SET_CONFIG, /* do: A_CONFIG */
	SLUICE_CMD_TRACE, /* do: A_TRACE (tuple) -> A_TRACE (with the answer) */
	SLUICE_CMD_EVENT, /* multicast: A_EVENT */
	__SLUICE_CMD_MAX
};
#define SLUICE_CMD_MAX (__SLUICE_CMD_MAX - 1)

/* Top level. */
enum {
	SLUICE_A_UNSPEC,
	SLUICE_A_REVISION, /* u32: the transaction's */
	SLUICE_A_FLAGS, /* u32: depends on the command */
	SLUICE_A_COUNT, /* u32: connections flushed or restored */
	SLUICE_A_INFO, /* nest: SLUICE_INFO_A_* */
	SLUICE_A_SERVICE, /* nest: SLUICE_SERVICE_A_* */
	SLUICE_A_PEER, /* nest: SLUICE_PEER_A_* */
	SLUICE_A_RULE, /* nest: SLUICE_RULE_A_* */
	SLUICE_A_RULESET, /* nest: SLUICE_RULESET_A_* */
	SLUICE_A_ENDPOINT, /* nest: SLUICE_ENDPOINT_A_* */
	SLUICE_A_UPLINK, /* nest: SLUICE_UPLINK_A_* */
	SLUICE_A_CONN, /* nest: SLUICE_CONN_A_* */
	SLUICE_A_STATS, /* nest: SLUICE_STATS_A_* */
	SLUICE_A_CONFIG, /* nest: SLUICE_CONFIG_A_* */
	SLUICE_A_TRACE, /* nest: SLUICE_TRACE_A_* */
	SLUICE_A_EVENT, /* nest: SLUICE_EVENT_A_* */
	__SLUICE_A_MAX
};
#define SLUICE_A_MAX (__SLUICE_A_MAX - 1)

/* SLUICE_A_FLAGS of COMMIT */
#define SLUICE_COMMIT_SWEEP (1U << 0)

enum {
	SLUICE_INFO_A_UNSPEC,
	SLUICE_INFO_A_VERSION, /* string: of the module */
	SLUICE_INFO_A_REVISION, /* u32: last committed */
	SLUICE_INFO_A_SERVICES, /* u32: how many there are, and so on */
	SLUICE_INFO_A_BACKENDS, /* u32 */
	SLUICE_INFO_A_PEERS, /* u32 */
	SLUICE_INFO_A_RULES, /* u32 */
	SLUICE_INFO_A_RULESETS, /* u32 */
	SLUICE_INFO_A_ENDPOINTS, /* u32 */
	SLUICE_INFO_A_UPLINKS, /* u32 */
	SLUICE_INFO_A_CONNS, /* u32 */
	SLUICE_INFO_A_CONN_BYTES, /* u64: memory of the connections, objects and buckets */
	SLUICE_INFO_A_CONN_BUDGET, /* u64: bytes */
	SLUICE_INFO_A_BUCKETS, /* u32: of the connection table */
	SLUICE_INFO_A_CONN_SIZE4, /* u32: bytes of an IPv4 connection object */
	SLUICE_INFO_A_CONN_SIZE6, /* u32: bytes of an IPv6 connection object */
	__SLUICE_INFO_A_MAX
};
#define SLUICE_INFO_A_MAX (__SLUICE_INFO_A_MAX - 1)

enum {
	SLUICE_SERVICE_A_UNSPEC,
	SLUICE_SERVICE_A_ADDR, /* binary 4 or 16; key */
	SLUICE_SERVICE_A_PORT, /* be16; key */
	SLUICE_SERVICE_A_PROTO, /* u8: 6, 17 or 132; key */
	SLUICE_SERVICE_A_NAME, /* string: "namespace/name:port" */
	SLUICE_SERVICE_A_FLAGS, /* u32: none defined yet */
	SLUICE_SERVICE_A_BACKENDS, /* binary: array of struct sluice_backend4 or 6; may be empty */
	SLUICE_SERVICE_A_REVISION, /* u32: dumps only */
	__SLUICE_SERVICE_A_MAX
};
#define SLUICE_SERVICE_A_MAX (__SLUICE_SERVICE_A_MAX - 1)

/* Backends have their service's family. No duplicates of (addr, port) within one service. */
struct sluice_backend4 {
	__be32 addr;
	__be16 port;
	__u16 flags; /* zero */
};

struct sluice_backend6 {
	__be32 addr[4];
	__be16 port;
	__u16 flags; /* zero */
};

enum {
	SLUICE_PEER_A_UNSPEC,
	SLUICE_PEER_A_ADDR, /* binary 4 or 16; key; bits behind the prefix are zero */
	SLUICE_PEER_A_PLEN, /* u8; key */
	SLUICE_PEER_A_CLASS, /* u32 */
	SLUICE_PEER_A_NAME, /* string: "namespace/pod" or the CIDR's origin, for people; optional */
	SLUICE_PEER_A_REVISION, /* u32: dumps only */
	__SLUICE_PEER_A_MAX
};
#define SLUICE_PEER_A_MAX (__SLUICE_PEER_A_MAX - 1)

enum {
	SLUICE_RULE_A_UNSPEC,
	SLUICE_RULE_A_ID, /* u32, not 0; key */
	SLUICE_RULE_A_POLICY, /* string: "namespace/policy", "policy" (joined by ',' for a default deny) */
	SLUICE_RULE_A_RULE, /* string: "ingress[0]", "egress[2]:its-name", "default-deny" */
	SLUICE_RULE_A_REVISION, /* u32: dumps only */
	__SLUICE_RULE_A_MAX
};
#define SLUICE_RULE_A_MAX (__SLUICE_RULE_A_MAX - 1)

enum {
	SLUICE_RULESET_A_UNSPEC,
	SLUICE_RULESET_A_ID, /* u32, not 0; key */
	SLUICE_RULESET_A_SIZE, /* u32: bytes of the whole blob */
	SLUICE_RULESET_A_OFFSET, /* u32: where DATA goes; 0 when absent */
	SLUICE_RULESET_A_DATA, /* binary: a piece of the blob */
	SLUICE_RULESET_A_RULES, /* u32: dumps only */
	SLUICE_RULESET_A_CLASSES, /* u32: dumps only */
	SLUICE_RULESET_A_ENDPOINTS, /* u32: dumps only: endpoints that use it */
	SLUICE_RULESET_A_RULE_IDS, /* binary: u32 ids in order; dumps only; cut at 8192 */
	SLUICE_RULESET_A_REVISION, /* u32: dumps only */
	__SLUICE_RULESET_A_MAX
};
#define SLUICE_RULESET_A_MAX (__SLUICE_RULESET_A_MAX - 1)

#define SLUICE_ENDPOINT_OPEN (1U << 0) /* its rulesets are in place */
#define SLUICE_ENDPOINT_INGRESS (1U << 1) /* dumps: it has an ingress ruleset */
#define SLUICE_ENDPOINT_EGRESS (1U << 2)

enum {
	SLUICE_ENDPOINT_A_UNSPEC,
	SLUICE_ENDPOINT_A_IFINDEX, /* u32; key */
	SLUICE_ENDPOINT_A_IFNAME, /* string: dumps only */
	SLUICE_ENDPOINT_A_NAME, /* string: "namespace/pod" */
	SLUICE_ENDPOINT_A_CONTAINER, /* string: "containerID/ifname", whatever the controller wants back */
	SLUICE_ENDPOINT_A_ADDR, /* binary 4 or 16; repeated, up to SLUICE_MAX_ENDPOINT_ADDRS */
	SLUICE_ENDPOINT_A_INGRESS, /* u32: ruleset id; 0 or absent: not isolated */
	SLUICE_ENDPOINT_A_EGRESS, /* u32: ruleset id; 0 or absent: not isolated */
	SLUICE_ENDPOINT_A_FLAGS, /* u32: SLUICE_ENDPOINT_OPEN */
	SLUICE_ENDPOINT_A_REVISION, /* u32: dumps only */
	__SLUICE_ENDPOINT_A_MAX
};
#define SLUICE_ENDPOINT_A_MAX (__SLUICE_ENDPOINT_A_MAX - 1)

enum {
	SLUICE_UPLINK_A_UNSPEC,
	SLUICE_UPLINK_A_IFINDEX, /* u32; key */
	SLUICE_UPLINK_A_IFNAME, /* string: dumps only */
	SLUICE_UPLINK_A_REVISION, /* u32: dumps only */
	__SLUICE_UPLINK_A_MAX
};
#define SLUICE_UPLINK_A_MAX (__SLUICE_UPLINK_A_MAX - 1)

/* One direction of a connection: an address pair as on the wire. */
enum {
	SLUICE_TUPLE_A_UNSPEC,
	SLUICE_TUPLE_A_SRC, /* binary 4 or 16 */
	SLUICE_TUPLE_A_DST, /* binary 4 or 16 */
	SLUICE_TUPLE_A_SPORT, /* be16 */
	SLUICE_TUPLE_A_DPORT, /* be16 */
	SLUICE_TUPLE_A_PROTO, /* u8 */
	__SLUICE_TUPLE_A_MAX
};
#define SLUICE_TUPLE_A_MAX (__SLUICE_TUPLE_A_MAX - 1)

#define SLUICE_CONN_SERVICE (1U << 0) /* goes to a service */
#define SLUICE_CONN_DENIED (1U << 1) /* a negative entry */
#define SLUICE_CONN_NODE (1U << 2) /* one end is the node itself */
#define SLUICE_CONN_PORT_REMAPPED (1U << 3)
#define SLUICE_CONN_VIA_STACK (1U << 4) /* others translate it, as netfilter does for host ports */

enum {
	SLUICE_CONN_A_UNSPEC,
	SLUICE_CONN_A_ORIGINAL, /* nest: SLUICE_TUPLE_A_* */
	SLUICE_CONN_A_REPLY, /* nest: SLUICE_TUPLE_A_*; what the answer looks like before it is un-NATed */
	SLUICE_CONN_A_STATE, /* u8: enum sluice_state */
	SLUICE_CONN_A_FLAGS, /* u32: SLUICE_CONN_* */
	SLUICE_CONN_A_TIMEOUT, /* u32: seconds left */
	SLUICE_CONN_A_VERDICT, /* u8 */
	SLUICE_CONN_A_REASON, /* u8 */
	SLUICE_CONN_A_STAGED_VERDICT, /* u8 */
	SLUICE_CONN_A_EGRESS_RULE, /* u32: id of the rule that decided, 0: none */
	SLUICE_CONN_A_INGRESS_RULE, /* u32 */
	SLUICE_CONN_A_STAGED_EGRESS_RULE, /* u32 */
	SLUICE_CONN_A_STAGED_INGRESS_RULE, /* u32 */
	SLUICE_CONN_A_PACKETS_ORIGINAL, /* u64 */
	SLUICE_CONN_A_PACKETS_REPLY, /* u64 */
	SLUICE_CONN_A_BYTES_ORIGINAL, /* u64: bytes of layer 3 */
	SLUICE_CONN_A_BYTES_REPLY, /* u64 */
	SLUICE_CONN_A_TCP, /* binary: struct sluice_tcp_dir[2]; for save and restore */
	SLUICE_CONN_A_AGE, /* u32: seconds since its first packet */
	SLUICE_CONN_A_PAD,
	__SLUICE_CONN_A_MAX
};
#define SLUICE_CONN_A_MAX (__SLUICE_CONN_A_MAX - 1)

enum {
	SLUICE_STATS_A_UNSPEC,
	SLUICE_STATS_A_DROPS, /* binary: u64 by enum sluice_reason */
	SLUICE_STATS_A_HITS, /* u64: packets of known connections */
	SLUICE_STATS_A_MISSES, /* u64: first packets */
	SLUICE_STATS_A_CREATED, /* u64: connections */
	SLUICE_STATS_A_EXPIRED, /* u64 */
	SLUICE_STATS_A_EVICTED, /* binary: u64 by enum sluice_evict_class */
	SLUICE_STATS_A_REJUDGED, /* u64: connections judged again after a policy change */
	SLUICE_STATS_A_CUT, /* u64: of these, no longer allowed */
	SLUICE_STATS_A_REMAPPED, /* u64: source ports remapped */
	SLUICE_STATS_A_FAST_POD, /* u64: packets delivered straight into a pod */
	SLUICE_STATS_A_FAST_UPLINK, /* u64: packets sent by the cached route */
	SLUICE_STATS_A_STACK, /* u64: packets handed to the stack, handled */
	SLUICE_STATS_A_FOREIGN, /* u64: packets handed to the stack untouched: not ours */
	SLUICE_STATS_A_FRAGMENTS, /* u64: fragments sent to reassembly */
	SLUICE_STATS_A_EVENTS_LOST, /* u64: events that could not be built or sent */
	SLUICE_STATS_A_PAD,
	__SLUICE_STATS_A_MAX
};
#define SLUICE_STATS_A_MAX (__SLUICE_STATS_A_MAX - 1)

enum {
	SLUICE_CONFIG_A_UNSPEC,
	SLUICE_CONFIG_A_CONN_BUDGET, /* u64: bytes */
	__SLUICE_CONFIG_A_MAX
};
#define SLUICE_CONFIG_A_MAX (__SLUICE_CONFIG_A_MAX - 1)

enum {
	SLUICE_TRACE_A_UNSPEC,
	SLUICE_TRACE_A_TUPLE, /* nest: SLUICE_TUPLE_A_*; asked; for ICMP, DPORT = type << 8 | code */
	SLUICE_TRACE_A_VERDICT, /* u8: answered, and all below */
	SLUICE_TRACE_A_REASON, /* u8 */
	SLUICE_TRACE_A_STAGED_VERDICT, /* u8 */
	SLUICE_TRACE_A_EGRESS_VERDICT, /* u8; absent where egress is not judged on this node */
	SLUICE_TRACE_A_EGRESS_REASON, /* u8 */
	SLUICE_TRACE_A_EGRESS_RULE, /* u32 */
	SLUICE_TRACE_A_INGRESS_VERDICT, /* u8; absent where ingress is not judged on this node */
	SLUICE_TRACE_A_INGRESS_REASON, /* u8 */
	SLUICE_TRACE_A_INGRESS_RULE, /* u32 */
	SLUICE_TRACE_A_SERVICE, /* string: name of the service; absent if none */
	SLUICE_TRACE_A_BACKEND, /* nest: SLUICE_TUPLE_A_DST and _DPORT of the backend chosen */
	__SLUICE_TRACE_A_MAX
};
#define SLUICE_TRACE_A_MAX (__SLUICE_TRACE_A_MAX - 1)

enum sluice_event_type {
	SLUICE_EVENT_NEW,
	SLUICE_EVENT_DENIED,
	SLUICE_EVENT_CLOSED,
};

enum {
	SLUICE_EVENT_A_UNSPEC,
	SLUICE_EVENT_A_TYPE, /* u8: enum sluice_event_type */
	SLUICE_EVENT_A_SEQUENCE, /* u32: counts up by one an event in a namespace */
	SLUICE_EVENT_A_TIME, /* u64: nanoseconds of CLOCK_REALTIME */
	SLUICE_EVENT_A_CONN, /* nest: SLUICE_CONN_A_* */
	SLUICE_EVENT_A_PAD,
	__SLUICE_EVENT_A_MAX
};
#define SLUICE_EVENT_A_MAX (__SLUICE_EVENT_A_MAX - 1)

#endif
