/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The connection table.
 *
 * Theory of operation
 * -------------------
 * One object a connection. It holds two entries, one for each direction's tuple as packets of that
 * direction arrive, and both stand in the same hash table: one look-up finds the connection from
 * either side, and says which. IPv4 and IPv6 have a table and a slab cache each, so that an IPv4
 * connection does not pay for the longer addresses.
 *
 * Worked example: pod 10.1.0.1 asks service 10.96.0.1:80, whose backend is 10.1.0.2:9000.
 *     entry 0 (original)  10.1.0.1:1000 -> 10.96.0.1:80
 *     entry 1 (reply)     10.1.0.2:9000 -> 10.1.0.1:1000
 * A packet found by entry 0 leaves as the inverse of entry 1, 10.1.0.1:1000 -> 10.1.0.2:9000; one
 * found by entry 1 leaves as the inverse of entry 0, 10.96.0.1:80 -> 10.1.0.1:1000. Where the
 * inverse of one is the other, there is nothing to translate.
 *
 * The hash tables are the kernel's rhashtable: RCU readers, a bit lock a bucket for writers, growth
 * and shrinking online by a worker while both the old and the new array are searched.
 *
 * Life: created by the first packet (sluice_conn_create), found under RCU, killed by exactly one
 * of expiry, eviction, flush, reuse or a policy change (whoever sets SLUICE_CONN_DYING first),
 * freed after a grace period, many at a time, by a worker: a thousand deaths on one CPU, or a second, call
 * it. There is no reference count: nobody keeps a connection outside an RCU read section.
 *
 * Memory: an IPv4 connection is 192 bytes, 195 with what a slab page leaves over, and two entries take 21 to 43
 * bytes of buckets (75 to 37.5 % load): 231 measured at a million of them, everything included, where
 * nf_conntrack without counters takes 284 (bench/table conn-bytes).
 *
 * Expiry: see wheel.h. Budget: bytes of objects and buckets. At the budget, a new connection takes
 * the place of the one that is cheapest to lose (core/conntrack.h: closing, then unreplied, then
 * idle); when only established ones are left it is refused, with reason table-full.
 */
#ifndef SLUICE_KMOD_CONN_H
#define SLUICE_KMOD_CONN_H

#include <linux/llist.h>
#include <linux/netdevice.h>
#include <linux/rhashtable-types.h>
#include <linux/workqueue.h>
#include <net/dst.h>

#include "core/conntrack.h"
#include "core/judge.h"
#include "core/packet.h"
#include "core/tuple.h"
#include "device.h"

struct sluice_net;
struct sluice_wheel;
struct sluice_conn_view;

/*
 * What an entry is found by. dir stands behind the key proper and takes no part in it. The wide views
 * are for hashing and comparing.
 */
struct sluice_key4 {
	union {
		struct {
			__be32 src;
			__be32 dst;
		};
		u64 addrs;
	};
	union {
		struct {
			__be16 sport;
			__be16 dport;
		};
		u32 ports;
	};
	u8 proto;
	u8 dir;
	u16 pad;
};

struct sluice_key6 {
	union {
		struct {
			__be32 src[4];
			__be32 dst[4];
		};
		u64 addrs[4];
	};
	union {
		struct {
			__be16 sport;
			__be16 dport;
		};
		u32 ports;
	};
	u8 proto;
	u8 dir;
	u16 pad;
};

struct sluice_entry4 {
	struct rhash_head node;
	struct sluice_key4 key;
};

struct sluice_entry6 {
	struct rhash_head node;
	struct sluice_key6 key;
	u32 cookie; /* of the route towards this entry's side: see rt6_get_cookie() */
};

/* Bits of conn->bits, set and tested atomically. */
enum {
	SLUICE_CONN_BIT_DYING, /* somebody is taking it down; set once, never cleared */
	SLUICE_CONN_BIT_SERVICE, /* goes to a service: its backend's generation counts */
	SLUICE_CONN_BIT_DENIED, /* a negative entry: packets are dropped; entry 0 alone is hashed */
	SLUICE_CONN_BIT_NODE, /* one end is the node itself */
	SLUICE_CONN_BIT_REMAPPED, /* its source port was changed */
	SLUICE_CONN_BIT_NAT, /* the two entries are not each other's inverse */
	SLUICE_CONN_BIT_SELF, /* a pod that reached itself through a service */
	SLUICE_CONN_BIT_VIA_STACK, /* others translate its original direction: the stack must see both */
};

/*
 * Where the packets towards one side go: a tagged pointer. A device is one of our pods and is
 * held by a reference (device.h). A route is held by a reference and belongs to an uplink.
 */
#define SLUICE_SIDE_UNKNOWN 0UL /* not resolved yet */
#define SLUICE_SIDE_POD 1UL /* struct sluice_device * */
#define SLUICE_SIDE_ROUTE 2UL /* struct dst_entry * */
#define SLUICE_SIDE_STACK 3UL /* no pointer: the node itself, or a route that is not an uplink's */
#define SLUICE_SIDE_MASK 3UL

/*
 * Fields written per packet come first. Except where said, any CPU that handles a packet of the
 * connection writes them without a lock: a lost update costs one count, or is repaired by the next
 * packet.
 */
struct sluice_conn {
	u32 last_seen; /* jiffies, low 32 bits */
	u32 policy_gen; /* generation that judged it; see sluice_policy_generation() */
	u32 backend; /* id and generation of the backend; written at creation */
	u32 backend_gen;
	u64 packets[2];
	u64 bytes[2]; /* layer 3 */
	unsigned long side[2]; /* of the originator, of the responder; set by cmpxchg from UNKNOWN */
	unsigned long bits;
	struct sluice_tcp_dir tcp[2]; /* state changes under sluice_conns.state_lock */
	u8 state; /* likewise */
	u8 family; /* written at creation, as all below unless said */
	u8 verdict; /* written by whoever judges, as reason, staged_verdict and the rules */
	u8 reason;
	u8 staged_verdict;
	u8 wheel_class; /* under its wheel's lock, as wheel_slot and wheel */
	u16 wheel_slot;
	u32 rule[2]; /* ids: egress, ingress */
	u32 staged_rule[2];
	u32 created; /* jiffies, low 32 bits */
	u32 wheel_cpu; /* whose wheel */
	union {
		struct hlist_node wheel; /* while alive */
		struct llist_node dead; /* in its grave: off its wheel, not yet freed */
	};
	union {
		DECLARE_FLEX_ARRAY(struct sluice_entry4, e4);
		DECLARE_FLEX_ARRAY(struct sluice_entry6, e6);
	};
};

#define SLUICE_CONN_SIZE4 (offsetof(struct sluice_conn, e4) + 2 * sizeof(struct sluice_entry4))
#define SLUICE_CONN_SIZE6 (offsetof(struct sluice_conn, e6) + 2 * sizeof(struct sluice_entry6))
static_assert(SLUICE_CONN_SIZE4 <= 192, "an IPv4 connection is at most 192 bytes");
static_assert(SLUICE_CONN_SIZE6 <= 256, "an IPv6 connection is at most 256 bytes");

/* So many dead of one CPU are freed at once, without waiting for the second to end. */
#define SLUICE_GRAVE_FULL 1024

/* One a CPU: connections that wait for a grace period to be freed. */
struct sluice_grave {
	struct llist_head dead; /* whoever buries one adds; the undertaker takes all */
	struct llist_node *taken; /* by the undertaker, who alone reads and writes it */
	u32 count; /* ever buried here; written by this CPU alone */
};

#define SLUICE_STATE_LOCKS 256

/* The connections of one network namespace. */
struct sluice_conns {
	struct rhashtable ht[2]; /* IPv4, IPv6 */
	struct sluice_wheel **wheels; /* [nr_cpu_ids], NULL for CPUs that cannot be */
	struct sluice_grave __percpu *graves;
	struct work_struct undertaker; /* frees what lies in the graves, a grace period later */
	struct delayed_work worker; /* every second: expiry, then what is over the budget */
	struct delayed_work reaper; /* after an interface went: connections that used it */
	struct sluice_net *sn;
	atomic_long_t bytes; /* of objects */
	atomic_t count;
	u64 budget; /* bytes, objects and buckets; written by netlink, read by everybody */
	spinlock_t state_lock[SLUICE_STATE_LOCKS]; /* serialises changes of tcp[] flags and state */
};

static inline int sluice_family_index(u8 family)
{
	return family == SLUICE_IPV6;
}

static inline struct sluice_conn *sluice_conn_of4(const struct sluice_entry4 *e)
{
	return (void *)((char *)(e - e->key.dir) - offsetof(struct sluice_conn, e4));
}

static inline struct sluice_conn *sluice_conn_of6(const struct sluice_entry6 *e)
{
	return (void *)((char *)(e - e->key.dir) - offsetof(struct sluice_conn, e6));
}

static inline u8 sluice_conn_proto(const struct sluice_conn *c)
{
	return c->family == SLUICE_IPV4 ? c->e4[0].key.proto : c->e6[0].key.proto;
}

/* Does a TCP segment with these flags change no state, but only what has been sent? */
static inline bool sluice_conn_only_records(const struct sluice_conn *c, u8 state, u8 dir, u8 flags)
{
	return state == SLUICE_STATE_TCP_ESTABLISHED &&
	       !(flags & (SLUICE_TCP_SYN | SLUICE_TCP_FIN | SLUICE_TCP_RST)) &&
	       (c->tcp[dir].flags & SLUICE_TCPDIR_SEEN);
}

/* The tuple of one direction, as packets of it arrive. */
void sluice_conn_tuple(const struct sluice_conn *c, u8 dir, struct sluice_tuple *t);

/* How packets that arrive in direction dir leave: the inverse of the other direction's tuple. */
void sluice_conn_target(const struct sluice_conn *c, u8 dir, struct sluice_tuple *t);

/* Under RCU. Returns NULL, or the connection with *dir set. A dying one may be returned. */
struct sluice_conn *sluice_conn_find(struct sluice_conns *cs, const struct sluice_tuple *t,
				     u8 *dir);

/* What a new connection starts with. */
struct sluice_conn_init {
	struct sluice_tuple original;
	struct sluice_tuple reply; /* wanted; dport may be remapped unless denied */
	const struct sluice_l4 *l4; /* of its first packet; NULL without one */
	const struct sluice_judgement *judgement;
	unsigned long side[2]; /* references are taken over, also on failure */
	unsigned long bits; /* 1UL << SLUICE_CONN_BIT_* */
	u32 policy_gen;
	u32 backend;
	u32 backend_gen;
	u8 state;
	u8 dir; /* of its first packet */
	bool remap; /* the source port may change: the protocol has ports, or an echo identifier */
};

/*
 * Makes a connection and its entries visible. Softirq or process context with bottom halves off,
 * under RCU. Returns the connection, or the one that another CPU made from the same original
 * tuple (*raced), or ERR_PTR: -ENOMEM, -ENOSPC (budget), -EADDRINUSE (no free source port).
 */
struct sluice_conn *sluice_conn_create(struct sluice_conns *cs, const struct sluice_conn_init *in,
				       bool *raced);

/* Stores a new judgement in a connection that lives on. */
void sluice_conn_rejudged(struct sluice_conn *c, const struct sluice_judgement *j, u32 policy_gen);

/* Takes it down, unless somebody else does. Under RCU. */
void sluice_conn_kill(struct sluice_conns *cs, struct sluice_conn *c);

/* Takes in one packet of a known connection: state, expiry. */
void sluice_conn_advance(struct sluice_conns *cs, struct sluice_conn *c, u8 dir,
			 const struct sluice_l4 *l4);

/* Turns a connection that policy no longer allows into a negative entry. */
void sluice_conn_deny(struct sluice_conns *cs, struct sluice_conn *c);

/* Drops what one side holds. */
void sluice_side_put(unsigned long side);

/*
 * A device is gone: connections that use it will be, soon. A look at all of them takes a second where there
 * are millions, too long for the one who takes the interface away, who holds RTNL; a packet that finds
 * such a connection does not wait for it (sluice_side_gone()).
 */
void sluice_conns_device_gone(struct sluice_net *sn);

/* Under RCU. Is this side a pod whose interface is no more? */
static inline bool sluice_side_gone(unsigned long side)
{
	return (side & SLUICE_SIDE_MASK) == SLUICE_SIDE_POD &&
	       !READ_ONCE(((const struct sluice_device *)(side & ~SLUICE_SIDE_MASK))->dev);
}

/* path.c: finds the sides and the backend of a connection that is put back. Under RCU. */
void sluice_restore_sides(struct sluice_net *sn, const struct sluice_conn_view *v,
			  struct sluice_conn_init *in);

void sluice_conn_view(const struct sluice_conn *c, struct sluice_conn_view *v);

/* Bytes that count against the budget: objects and buckets. */
u64 sluice_conns_bytes(struct sluice_conns *cs);
u32 sluice_conns_buckets(struct sluice_conns *cs);

int sluice_conns_init(struct sluice_net *sn);
void sluice_conns_exit(struct sluice_net *sn);
int sluice_conns_module_init(void);
void sluice_conns_module_exit(void);

#endif
