/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The plain packet: what nearly all packets are, and what can be read in a few steps. IPv4 without
 * options, or IPv6 without extension headers; whole, not a fragment; UDP, or TCP with ACK and neither
 * SYN nor RST. Whatever is called plain here, the parser (packet.h) calls OK, and reads the same from it;
 * whatever is not is the parser's, which also says what is wrong with it.
 */
#ifndef SLUICE_CORE_PLAIN_H
#define SLUICE_CORE_PLAIN_H

#include "packet.h"

struct sluice_plain {
	struct sluice_l4 l4; /* of TCP alone; wscale is not set */
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 ttl;
};

/* h: the transport header; room: linear bytes from there on; bytes: those that belong to the packet. */
static __always_inline bool sluice_plain_l4(const __u8 *h, __u32 room, __u32 bytes,
					    struct sluice_plain *pl)
{
	__u32 n;

	if (room < 8)
		return false;
	sluice_copy(&pl->sport, h, 2);
	sluice_copy(&pl->dport, h + 2, 2);
	if (pl->proto == SLUICE_PROTO_UDP) {
		n = sluice_load16(h + 4);
		return n >= 8 && n <= bytes;
	}
	if (pl->proto != SLUICE_PROTO_TCP || room < 20)
		return false;
	n = (h[12] >> 4) * 4u;
	pl->l4.flags = h[13];
	if (n < 20 || n > bytes ||
	    (pl->l4.flags & (SLUICE_TCP_SYN | SLUICE_TCP_RST | SLUICE_TCP_ACK)) != SLUICE_TCP_ACK)
		return false;
	pl->l4.seq = sluice_load32(h + 4);
	pl->l4.ack = sluice_load32(h + 8);
	pl->l4.win = sluice_load16(h + 14);
	pl->l4.len = bytes - n;
	return true;
}

/* p: the network header, len linear bytes of wire; see sluice_packet_parse(). */
static __always_inline bool sluice_plain4(const __u8 *p, __u32 len, __u32 wire,
					  struct sluice_plain *pl)
{
	__u32 total;

	if (len < 28 || p[0] != 0x45)
		return false;
	total = sluice_load16(p + 2);
	if (sluice_ip4_sum20(p) != 0xffff || (sluice_load16(p + 6) & 0x3fff) || total < 28 ||
	    total > wire)
		return false;
	pl->proto = p[9];
	pl->ttl = p[8];
	return sluice_plain_l4(p + 20, len - 20, total - 20, pl);
}

static __always_inline bool sluice_plain6(const __u8 *p, __u32 len, __u32 wire,
					  struct sluice_plain *pl)
{
	__u32 payload;

	if (len < 48 || p[0] >> 4 != 6)
		return false;
	payload = sluice_load16(p + 4);
	if (payload < 8 || payload + 40 > wire)
		return false;
	pl->proto = p[6];
	pl->ttl = p[7];
	return sluice_plain_l4(p + 40, len - 40, payload, pl);
}

/* Of a plain packet: all that sluice_packet_parse() would have said. */
static __always_inline void sluice_plain_packet(const __u8 *p, __u8 family,
						const struct sluice_plain *pl,
						struct sluice_packet *pkt)
{
	if (family == SLUICE_IPV4) {
		sluice_tuple_addrs4(&pkt->tuple, p);
		pkt->l4_off = 20;
	} else {
		sluice_tuple_addrs6(&pkt->tuple, p);
		pkt->l4_off = 40;
	}
	pkt->tuple.sport = pl->sport;
	pkt->tuple.dport = pl->dport;
	pkt->tuple.proto = pl->proto;
	pkt->port = sluice_ntohs(pl->dport);
	pkt->flags = SLUICE_PACKET_PORTS;
	pkt->ttl = pl->ttl;
	if (pl->proto == SLUICE_PROTO_TCP) {
		pkt->l4 = pl->l4;
		pkt->l4.wscale = 0;
	} else {
		pkt->l4.flags = 0;
	}
}

#endif
