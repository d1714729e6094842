/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * NAT: what to rewrite, by how much a checksum changes, and which source port to try next.
 *
 * A packet that arrives with one direction's tuple leaves as the inverse of the other direction's
 * tuple: original packets of client:sport -> VIP:port leave as the inverse of the reply tuple
 * backend:bport -> client:sport', that is client:sport' -> backend:bport.
 *
 * Checksums (RFC 1624): HC' = ~(~HC + ~m + m'). A delta is the one's complement sum of ~m + m' over
 * all 16-bit words that change, so one delta serves any number of fields, and a field pair.
 */
#ifndef SLUICE_CORE_NAT_H
#define SLUICE_CORE_NAT_H

#include "tuple.h"

struct sluice_nat_delta {
	__u32 addr; /* change of both addresses: IPv4 header and pseudo-header */
	__u32 port; /* change of both ports: the TCP, UDP or ICMP checksum alone */
};

static __always_inline __u32 sluice_csum_add(__u32 a, __u32 b)
{
	a += b;
	return a + (a < b);
}

/* The sum of up to 2^32 words, added up without their carries. */
static __always_inline __u32 sluice_csum_carry(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)sum + (__u32)(sum >> 32);
}

/* from, to: words as they stand in the packet; 16-bit ones in the low half. */
static __always_inline __u32 sluice_csum_replace(__u32 delta, __u32 from, __u32 to)
{
	return sluice_csum_add(sluice_csum_add(delta, ~from), to);
}

static __always_inline __u16 sluice_csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* check: as it stands in the packet. */
static __always_inline __u16 sluice_csum_apply(__u16 check, __u32 delta)
{
	return (__u16)~sluice_csum_fold(sluice_csum_add((__u16)~check, delta));
}

/* What a change of both ports does to a checksum. */
static __always_inline __u32 sluice_nat_port_delta(__be16 from_sport, __be16 from_dport,
						   __be16 to_sport, __be16 to_dport)
{
	__u64 sum = (__u64)(__u32) ~(__u32)(__force __u16)from_sport + (__force __u16)to_sport;

	sum += (__u64)(__u32) ~(__u32)(__force __u16)from_dport + (__force __u16)to_dport;
	return sluice_csum_carry(sum);
}

/* What a change of one address (or n words of it) does. */
static __always_inline __u64 sluice_nat_addr_sum(const __be32 *from, const __be32 *to, __u32 n)
{
	__u64 sum = 0;
	__u32 i;

	for (i = 0; i < 4 && i < n; i++)
		sum += (__u64)(__u32) ~(__force __u32)from[i] + (__force __u32)to[i];
	return sum;
}

/* Deltas of a packet that looks like "from" and shall look like "to". Same family. */
static __always_inline void sluice_nat_delta(const struct sluice_tuple *from,
					     const struct sluice_tuple *to,
					     struct sluice_nat_delta *d)
{
	__u32 n = from->family == SLUICE_IPV4 ? 1 : 4;

	d->addr = sluice_csum_carry(sluice_nat_addr_sum(from->src.w, to->src.w, n) +
				    sluice_nat_addr_sum(from->dst.w, to->dst.w, n));
	d->port = sluice_nat_port_delta(from->sport, from->dport, to->sport, to->dport);
}

/*
 * Source ports to try when the wanted one would share a reply tuple with another connection.
 *
 * The range keeps the class of the wanted port (a server that trusts ports below 1024 keeps its
 * meaning): below 512, 512..1023, or 1024..65535. attempt 0 is the wanted port itself, the others
 * walk the range from a random start, so that clients that collide once do not keep colliding.
 * Worked example: wanted 40000, random 5000: tries 40000, then 6025, 6026, 6027, ...
 */
#define SLUICE_PORT_ATTEMPTS 128

static __always_inline __u16 sluice_nat_port(__u16 wanted, __u32 random, __u32 attempt)
{
	__u32 lo, n;

	if (!attempt)
		return wanted;
	if (wanted < 512) {
		lo = 1;
		n = 511;
	} else if (wanted < 1024) {
		lo = 512;
		n = 512;
	} else {
		lo = 1024;
		n = 64512;
	}
	return (__u16)(lo + (random % n + attempt) % n);
}

#endif
