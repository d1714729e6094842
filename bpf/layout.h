/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The eBPF variant's maps: what the programs (bpf/) and userspace (ctl/lib) both see.
 *
 * Theory of operation
 * -------------------
 * All state is in maps that are pinned under SLUICE_BPF_DIR/net-<cookie of the network namespace>, one
 * directory a namespace, so that nothing on the wire depends on a process. Programs are replaceable, maps
 * are kept; SLUICE_BPF_LAYOUT says which programs and maps go together.
 *
 * Control state. Userspace alone writes it, one process at a time, which holds a lock; programs read. Every
 * value that a packet may meet has two versions and the revisions from which on they count (struct
 * sluice_bpf_since). A program loads control.revision once and takes, of each value, the version that
 * was the last to begin by then. A transaction towards revision r + 1 writes only versions that no packet
 * of revision r looks at, with since = r + 1; storing r + 1 is the commit. The next transaction may
 * write over the versions of r - 1, so before it begins it waits until no program of then is still running
 * (writing to a map of maps returns after a grace period). Versions that say "absent" are removed from their
 * maps then, too. A transaction that was cut short leaves versions of r + 1 behind: whoever takes the lock
 * next sets them to SLUICE_BPF_NEVER first.
 *
 * Worked example, revision 7: service {since 3, 7; backends A, B}: packets take B. Transaction 8 writes
 * {since 8, 7; backends C, B}: packets of 7 still take B. Stored 8: they take C.
 *
 * In place. Values of hash maps hold a spin lock and are updated with BPF_F_LOCK: the kernel then copies
 * into the element that is there, where a plain update would put a new element in its place and may use
 * the old one's memory for another key at once, under the eyes of a program that reads it.
 *
 * Connections. One object a connection, in arrays of SLUICE_BPF_SEGMENT objects (an array of maps leads to
 * them), so that the table grows by a further array and nothing moves. Two hash entries an object, one for
 * each direction's tuple, both in one table of chains: a bucket holds a reference to the first entry, each entry
 * one to the next. A reference is (index << 1 | direction) + 1; 0 is the end.
 *
 * Chains are lock-free. Anybody may insert, at the head alone, by compare and swap of the bucket, having
 * searched the chain from that head: a swap that fails means somebody else inserted, so search again. One
 * alone removes: the sweeper, a timer's callback (or userspace while no program of ours is attached). A packet
 * that wants a connection gone sets SLUICE_BPF_DYING, and whoever searches skips it. The sweeper unlinks it,
 * waits a second, in which all programs that may stand on it end, and puts it on the free list: a stack of
 * indexes linked through next[0], whose head holds a count beside the index so that a swap by somebody who
 * slept over a pop and a push fails.
 *
 * Why not hash maps: a NATed connection would be two elements with 48 bytes of the kernel's own each, their
 * keys padded, and 16 bytes of bucket each: 280 bytes. This takes 144 and 4 to 8 for its buckets.
 *
 * Times are ticks of 2^20 ns (1.05 ms) of CLOCK_MONOTONIC_COARSE, low 32 bits: sluice_bpf_ticks(). Addresses and ports
 * of tuples are in network byte order, all else in host byte order.
 */
#ifndef SLUICE_BPF_LAYOUT_H
#define SLUICE_BPF_LAYOUT_H

#include <linux/bpf.h>

#include "core/conntrack.h"
#include "core/judge.h"
#include "core/service.h"
#include "core/tuple.h"
#include "core/verdict.h"

/* Changes with anything in this file that old programs or an old controller would misread. */
#define SLUICE_BPF_LAYOUT 1

#define SLUICE_BPF_DIR "/sys/fs/bpf/sluice"

/*
 * Bit of skb->mark on packets that were judged and translated, and that the stack carries on. It is cleared
 * by the kernel when a packet enters another network namespace, so that no pod can set it.
 */
#define SLUICE_BPF_MARK 0x00200000U
/* Likewise, on what we answer ourselves (resets, ICMP errors): no connection knows of it. */
#define SLUICE_BPF_MARK_ANSWER 0x00400000U

/* Control state ***************************************************************************/

#define SLUICE_BPF_NEVER 0xffffffffU /* a revision that does not come */
#define SLUICE_BPF_ABSENT \
	0xffffffffU /* a class, or a number of backends: this version is "not there" */

/* First member of every versioned value. */
struct sluice_bpf_since {
	__u32 since[2];
};

/* Which version counts at a revision: 0, 1, or -1: none. */
static __always_inline int sluice_bpf_version(const struct sluice_bpf_since *s, __u32 revision)
{
	__u32 a = s->since[0], b = s->since[1];
	bool has_a = a <= revision, has_b = b <= revision;

	if (has_a && (!has_b || a > b))
		return 0;
	return has_b ? 1 : -1;
}

/* Value of "control", an array of one; userspace maps it into its memory. */
struct sluice_bpf_control {
	__u32 layout; /* SLUICE_BPF_LAYOUT */
	__u32 revision; /* the last one committed; the commit is the store */
	__u32 policy_gen; /* grows with each commit that changes policy, after the revision */
	__u32 backend_epoch; /* grows with each commit that takes a backend away, after backend_refs */
	__u64 netns_cookie; /* of the namespace: cgroup programs leave others alone */
	__u64 secret[2]; /* of the hash; odd; written once */
	__u32 timeouts[32]; /* ticks, by enum sluice_state; written once */
	__u32 monitor_until; /* ticks: events are wanted until then; see struct sluice_bpf_monitor */
	__u32 event_seq; /* of the next event; programs add */
	struct sluice_bpf_table {
		__u64 free; /* count << 32 | reference of the first free object, (index << 1) + 1; 0: none */
		__u32 capacity; /* objects in the segments that are there; userspace adds */
		__u32 limit; /* objects that the budget allows; userspace writes */
		__u32 used; /* objects taken from the free list and not yet back; programs add */
		__u32 alive; /* of these, the ones that are connections (or negative entries), not dying */
		__u32 bucket_mask; /* number of buckets - 1; written once */
		__u32 hand; /* the sweeper's next object; by the sweeper alone */
	} table[2]; /* IPv4, IPv6 */
	__u64 budget; /* bytes; what limit follows from; for people to read */
	/*
	 * By family, IPv4 and IPv6: the node's address towards other nodes, all zero without one. It stands in
	 * for a source that the answer would not find back through us. Userspace keeps it current.
	 */
	struct sluice_addr masquerade[2];
};

/* Map "services": struct sluice_service_key -> this. */
struct sluice_bpf_service {
	struct sluice_bpf_since since;
	struct {
		__u32 set; /* of backends, see below; another one for each version */
		__u32 n; /* of backends, or SLUICE_BPF_ABSENT */
	} v[2];
	struct bpf_spin_lock lock; /* for updates in place; no program takes it */
	__u32 pad;
};

/* Map "backends": one backend of one version of a service. Never changes. */
struct sluice_bpf_backend_key {
	__u32 set;
	__u32 index;
};

struct sluice_bpf_backend {
	struct sluice_addr addr;
	__be16 port;
	__u16 pad;
};

/*
 * Map "backend_refs": is there, value 1, while the service has that backend. Added before the commit that
 * brings it, removed after the one that takes it, and before backend_epoch says so: a connection that was
 * made, or looked, in another epoch looks here.
 */
struct sluice_bpf_backend_ref {
	struct sluice_service_key service;
	struct sluice_addr addr;
	__be16 port;
	__u16 pad;
};
SLUICE_ASSERT_SIZE(struct sluice_bpf_backend_ref, 40);

/* Key of "vips", "addrs" and "hosts". */
struct sluice_bpf_addr_key {
	struct sluice_addr addr;
	__u32 family;
};

/*
 * Values of
 *	vips	addresses that services have: 1, or SLUICE_BPF_ABSENT
 *	addrs	addresses of our pods: the ifindex of the pod's interface, or SLUICE_BPF_ABSENT
 *	hosts	peers with a whole address (/32, /128): their class, or SLUICE_BPF_ABSENT: ask the prefixes
 */
struct sluice_bpf_number {
	struct sluice_bpf_since since;
	__u32 v[2];
	struct bpf_spin_lock lock; /* for updates in place; no program takes it */
	__u32 pad;
};

/*
 * Maps "prefixes4" and "prefixes6", longest prefix match. Each version holds the class that an address has for
 * which this is the longest prefix in the map, also where the prefix itself is absent in that version: the
 * class of the next shorter one that is there, 0 without any. Without a lock: these maps have no updates in place,
 * and do not use the memory of an element again before a grace period.
 */
struct sluice_bpf_prefix4 {
	__u32 plen;
	__be32 addr;
};

struct sluice_bpf_prefix6 {
	__u32 plen;
	__be32 addr[4];
};

struct sluice_bpf_class {
	struct sluice_bpf_since since;
	__u32 v[2];
};

/* Map "endpoints": ifindex of the host side of a pod's interface -> this. */
#define SLUICE_BPF_ENDPOINT_PRESENT 0x01
#define SLUICE_BPF_ENDPOINT_OPEN 0x02

struct sluice_bpf_endpoint {
	struct sluice_bpf_since since;
	struct {
		__u32 flags; /* SLUICE_BPF_ENDPOINT_* */
		__u32 ingress; /* slots in "rulesets"; 0: not isolated */
		__u32 egress;
	} v[2];
	struct bpf_spin_lock lock; /* for updates in place; no program takes it */
	__u32 pad;
};

/*
 * Map "rulesets": an array of maps, by slot. Each is the blob of core/ruleset.h, cut into pieces of
 * SLUICE_BLOB_PIECE bytes, one an element; what is behind the blob in its last piece is zero. A ruleset that changes
 * gets another slot, and the endpoints that obey it another version.
 *
 * Why pieces: an element that is at hand is read by a load, another one by a call of 20 instructions. A ruleset of
 * 100 rules takes 6 KiB and is read in 30 places, 20 of which are in its first piece.
 */
#define SLUICE_BPF_RULESETS 65536

/* Map "uplinks": ifindex -> 1. Not versioned: an uplink is a fact, not policy. */

/* For people alone; no program reads them. Text is closed by NUL. ****************************/

struct sluice_bpf_service_info { /* map "service_info": struct sluice_service_key -> this */
	char name[384];
	__u32 revision; /* that last wrote it; so below */
};

struct sluice_bpf_peer_key { /* map "peer_info": this -> struct sluice_bpf_peer_info */
	struct sluice_addr addr;
	__u8 plen;
	__u8 family;
	__u16 pad;
};

struct sluice_bpf_peer_info {
	__u32 class;
	__u32 revision;
	char name[384];
};

struct sluice_bpf_rule_info { /* map "rule_info": id -> this */
	char policy[384];
	char rule[64];
	__u32 revision;
};

struct sluice_bpf_ruleset_info { /* map "ruleset_info": id -> this */
	__u32 slot;
	__u32 size; /* bytes of the blob */
	__u32 revision;
};

#define SLUICE_BPF_ENDPOINT_ADDRS 8

struct sluice_bpf_endpoint_info { /* map "endpoint_info": ifindex -> this */
	char name[384];
	char container[384];
	struct sluice_bpf_addr_key addrs[SLUICE_BPF_ENDPOINT_ADDRS];
	__u32 n_addrs;
	__u32 ingress; /* ids of rulesets, 0: none */
	__u32 egress;
	__u32 revision;
};

/* Connections *****************************************************************************/

#define SLUICE_BPF_SEGMENT_BITS 14
#define SLUICE_BPF_SEGMENT (1U << SLUICE_BPF_SEGMENT_BITS) /* objects */
#define SLUICE_BPF_SEGMENTS 1024 /* at most: 16.7 million connections a family */

/* Heads of chains, 16 together: an array's elements take whole multiples of 8 bytes. */
#define SLUICE_BPF_HEADS 16
struct sluice_bpf_buckets { /* maps "buckets4", "buckets6" */
	__u32 head[SLUICE_BPF_HEADS];
};

/* A direction of a connection, as packets of it arrive. What entries are hashed and compared by. */
struct sluice_bpf_key4 {
	__be32 src;
	__be32 dst;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};

struct sluice_bpf_key6 {
	__be32 src[4];
	__be32 dst[4];
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};

/* conn.bits; changed by atomic operations once the connection can be found. */
#define SLUICE_BPF_LIVE 0x01 /* it is one: hashed, or about to be */
#define SLUICE_BPF_DYING 0x02 /* to be unlinked: nobody counts on it any more */
#define SLUICE_BPF_LIMBO 0x04 /* unlinked, at last_seen; nothing else is valid */
#define SLUICE_BPF_SERVICE 0x08 /* goes to a service */
#define SLUICE_BPF_DENIED 0x10 /* a negative entry: its original entry alone is hashed */
#define SLUICE_BPF_NODE 0x20 /* one end is the node itself */
#define SLUICE_BPF_REMAPPED 0x40 /* its source port was changed */
#define SLUICE_BPF_NAT 0x80 /* the two keys are not each other's inverse */
#define SLUICE_BPF_SELF 0x100 /* a pod that reached itself through a service */
#define SLUICE_BPF_VIA_STACK \
	0x200 /* others translate it, or may: the stack must see both directions */

/* conn.side: where packets towards that side go. kind << 30 | ifindex. */
#define SLUICE_BPF_SIDE_UNKNOWN 0U
#define SLUICE_BPF_SIDE_POD 1U /* the ifindex is that of the host side */
#define SLUICE_BPF_SIDE_ROUTE 2U /* an uplink, by the route of the moment */
#define SLUICE_BPF_SIDE_STACK 3U /* the node itself, or a route that is not an uplink's */
#define SLUICE_BPF_SIDE_SHIFT 30
#define SLUICE_BPF_SIDE_IFINDEX 0x3fffffffU

/*
 * Fields are written as in the module (kmod/conn.h): by whoever handles a packet, without a lock; a lost
 * update costs one count or is repaired by the next packet. All zero: free.
 */
struct sluice_bpf_conn {
	__u32 last_seen; /* ticks; this and the next eight bytes are all that the sweeper looks at */
	__u8 state;
	__u8 verdict;
	__u8 reason;
	__u8 staged_verdict;
	__u32 bits;
	__u32 created;
	__u32 policy_gen;
	__u32 backend_epoch;
	__u64 packets[2];
	__u64 bytes[2]; /* layer 3 */
	__u32 side[2];
	struct sluice_tcp_dir tcp[2];
	__u32 rule[2]; /* ids: egress, ingress */
	__u32 staged_rule[2];
	__u32 next[2]; /* references */
};
SLUICE_ASSERT_SIZE(struct sluice_bpf_conn, 112);

struct sluice_bpf_conn4 { /* inner maps of "conns4" */
	struct sluice_bpf_conn c;
	struct sluice_bpf_key4 key[2]; /* original, reply */
};
SLUICE_ASSERT_SIZE(struct sluice_bpf_conn4, 144);

struct sluice_bpf_conn6 { /* inner maps of "conns6" */
	struct sluice_bpf_conn c;
	struct sluice_bpf_key6 key[2];
};
SLUICE_ASSERT_SIZE(struct sluice_bpf_conn6, 192);

static __always_inline __u32 sluice_bpf_ref(__u32 index, __u32 dir)
{
	return (index << 1 | dir) + 1;
}

static __always_inline __u32 sluice_bpf_ref_index(__u32 ref)
{
	return (ref - 1) >> 1;
}

static __always_inline __u32 sluice_bpf_ref_dir(__u32 ref)
{
	return (ref - 1) & 1;
}

/* kmod/hash.h's step: wyhash's product of 64 x 64 bits, folded; here without the high half, shifted instead. */
static __always_inline __u64 sluice_bpf_mix(__u64 a, __u64 b)
{
	__u64 h = a * (b | 1);

	h ^= h >> 32;
	h *= 0x9fb21c651e98df25ULL;
	return h ^ h >> 29;
}

/* Of a key and the secret; the bucket is hash & bucket_mask. Words are as they stand in memory. */
static __always_inline __u32 sluice_bpf_hash4(const struct sluice_bpf_key4 *k,
					      const __u64 secret[2])
{
	__u64 addrs = (__u64)(__force __u32)k->dst << 32 | (__force __u32)k->src;
	__u64 rest = (__u64)k->proto << 32 | (__u32)(__force __u16)k->dport << 16 |
		     (__force __u16)k->sport;

	return (__u32)sluice_bpf_mix(sluice_bpf_mix(addrs ^ secret[0], secret[1]) ^ rest,
				     secret[0]);
}

static __always_inline __u32 sluice_bpf_hash6(const struct sluice_bpf_key6 *k,
					      const __u64 secret[2])
{
	__u64 rest = (__u64)k->proto << 32 | (__u32)(__force __u16)k->dport << 16 |
		     (__force __u16)k->sport;
	__u64 h = secret[0];
	__u32 i;

	for (i = 0; i < 4; i++)
		h = sluice_bpf_mix(h ^ ((__u64)(__force __u32)k->dst[i] << 32 |
					(__force __u32)k->src[i]),
				   secret[1]);
	return (__u32)sluice_bpf_mix(h ^ rest, secret[0]);
}

/* Map "timers", an array of one: the sweeper's (bpf/sweep.h), who alone reads and writes all but the timer. */
struct sluice_bpf_sweeper {
	struct bpf_timer timer;
	struct sluice_bpf_sweep {
		__u32 counting[SLUICE_EVICT_COUNT]; /* by class, since the hand was at 0 */
		__u32 counted[SLUICE_EVICT_COUNT]; /* the round before, less those that went since */
		__u32 whole; /* this round has been counted since its start */
		__u32 known; /* "counted" is of a whole round */
	} table[2];
};

/* Statistics ******************************************************************************/

/* Map "stats", one element a CPU. Names are those of uapi/sluice.h. */
struct sluice_bpf_stats {
	__u64 drops[SLUICE_REASON_COUNT];
	__u64 hits;
	__u64 misses;
	__u64 created;
	__u64 expired;
	__u64 evicted[SLUICE_EVICT_COUNT];
	__u64 rejudged;
	__u64 cut;
	__u64 remapped;
	__u64 fast_pod;
	__u64 fast_uplink;
	__u64 stack;
	__u64 foreign;
	__u64 fragments;
	__u64 events_lost;
};

/* Events **********************************************************************************/

/*
 * Map "monitors": an array of maps; who wants events puts a ring buffer of its own into a free place, and
 * says in "monitor_until" of that place, and in control.monitor_until, until when it is surely there; it
 * renews both each second. So one that was killed costs nothing after two.
 */
#define SLUICE_BPF_MONITORS 4
#define SLUICE_BPF_MONITOR_BYTES (1U << 20)
#define SLUICE_BPF_MONITOR_AHEAD \
	65536U /* ticks, 69 s: what is further ahead than this is long past */

struct sluice_bpf_monitor { /* map "monitor_until", by place */
	__u32 until; /* ticks; past: the place is free */
	__u32 lost; /* events that found the ring full; programs add */
};

struct sluice_bpf_event {
	__u32 sequence;
	__u8 type; /* enum sluice_event_type */
	__u8 family;
	__u16 pad;
	__u64 time; /* nanoseconds of CLOCK_MONOTONIC */
	struct sluice_bpf_conn conn;
	struct sluice_tuple tuple[2]; /* original, reply */
};

/* The node's own connections to services *****************************************************/

/*
 * Map "sockets", both ways: socket cookie and backend -> the service that the program asked for, so that recvmsg()
 * and getpeername() say so; socket cookie and service -> the backend that a socket which is not connected sent to
 * last. The oldest goes when it is full. Who takes a backend away finds here which sockets are connected to it.
 */
struct sluice_bpf_socket_key {
	__u64 cookie;
	struct sluice_addr addr; /* of the backend; of the service */
	__be16 port;
	__u8 family;
	__u8 proto;
	__u32 pad;
};
SLUICE_ASSERT_SIZE(struct sluice_bpf_socket_key, 32);

struct sluice_bpf_socket {
	struct sluice_addr addr; /* of the service; of the backend */
	__be16 port;
	__u16 pad;
};

#endif
