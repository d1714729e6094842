/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Addresses and connection tuples.
 *
 * An address is 16 bytes in network byte order. An IPv4 address stands in the first word, the
 * others are zero, so that two addresses of one family compare by their bytes.
 *
 * A tuple says how a packet of one direction looks on the wire as it arrives. For ICMP and ICMPv6
 * echo the identifier is the source port of the request and the destination port of the reply; the
 * other port is zero. Protocols without ports have both zero.
 */
#ifndef SLUICE_CORE_TUPLE_H
#define SLUICE_CORE_TUPLE_H

#include "env.h"

/* Families by their on-wire version number: no platform's AF_INET6 differs from another's. */
#define SLUICE_IPV4 4
#define SLUICE_IPV6 6

/* Protocol numbers (IANA), named here because no one header has them on all platforms. */
#define SLUICE_PROTO_ICMP 1
#define SLUICE_PROTO_TCP 6
#define SLUICE_PROTO_UDP 17
#define SLUICE_PROTO_ICMPV6 58
#define SLUICE_PROTO_SCTP 132

struct sluice_addr {
	__be32 w[4];
};
SLUICE_ASSERT_SIZE(struct sluice_addr, 16);

struct sluice_tuple {
	struct sluice_addr src;
	struct sluice_addr dst;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 family; /* SLUICE_IPV4 or SLUICE_IPV6 */
	__u16 pad; /* zero */
};
SLUICE_ASSERT_SIZE(struct sluice_tuple, 40);

static __always_inline bool sluice_addr_equal(const struct sluice_addr *a,
					      const struct sluice_addr *b)
{
	return !((a->w[0] ^ b->w[0]) | (a->w[1] ^ b->w[1]) | (a->w[2] ^ b->w[2]) |
		 (a->w[3] ^ b->w[3]));
}

static __always_inline bool sluice_tuple_equal(const struct sluice_tuple *a,
					       const struct sluice_tuple *b)
{
	return sluice_addr_equal(&a->src, &b->src) && sluice_addr_equal(&a->dst, &b->dst) &&
	       a->sport == b->sport && a->dport == b->dport && a->proto == b->proto &&
	       a->family == b->family;
}

/* The tuple of the answer to a packet with this tuple. */
static __always_inline void sluice_tuple_invert(struct sluice_tuple *inv,
						const struct sluice_tuple *t)
{
	inv->src = t->dst;
	inv->dst = t->src;
	inv->sport = t->dport;
	inv->dport = t->sport;
	inv->proto = t->proto;
	inv->family = t->family;
	inv->pad = 0;
}

/* Bits [plen, 128) (or [plen, 32) for IPv4) of the address become zero. */
static __always_inline void sluice_addr_mask(struct sluice_addr *a, __u32 plen)
{
	__u32 i;

	for (i = 0; i < 4; i++) {
		if (plen >= 32) {
			plen -= 32;
		} else {
			a->w[i] &= plen ? sluice_htonl(0xffffffffU << (32 - plen)) : 0;
			plen = 0;
		}
	}
}

/* Does a packet of this protocol have ports? An echo's identifier is none. */
static __always_inline bool sluice_has_ports(__u8 proto)
{
	return proto == SLUICE_PROTO_TCP || proto == SLUICE_PROTO_UDP || proto == SLUICE_PROTO_SCTP;
}

static __always_inline __u32 sluice_family_bits(__u8 family)
{
	return family == SLUICE_IPV4 ? 32 : 128;
}

/* 127/8, 0/8, 224/4 and 240/4 never are the source of a forwarded packet (RFC 1122, RFC 6890). */
static __always_inline bool sluice_addr_martian_source(const struct sluice_addr *a, __u8 family)
{
	__u32 w = sluice_ntohl(a->w[0]);

	if (family == SLUICE_IPV4)
		return (w >> 24) == 0 || (w >> 24) == 127 || (w >> 28) >= 14;
	if ((w >> 24) == 0xff)
		return true; /* multicast */
	return !a->w[0] && !a->w[1] && !a->w[2] && sluice_ntohl(a->w[3]) <= 1; /* :: and ::1 */
}

static __always_inline bool sluice_addr_multicast(const struct sluice_addr *a, __u8 family)
{
	__u32 w = sluice_ntohl(a->w[0]);

	if (family == SLUICE_IPV4)
		return (w >> 28) == 14 || w == 0xffffffffU;
	return (w >> 24) == 0xff;
}

/* fe80::/10 and 169.254/16 never leave their link (RFC 4291, RFC 3927). */
static __always_inline bool sluice_addr_link_local(const struct sluice_addr *a, __u8 family)
{
	__u32 w = sluice_ntohl(a->w[0]);

	if (family == SLUICE_IPV4)
		return (w >> 16) == 0xa9fe;
	return (w >> 22) == 0x3fa;
}

#endif
