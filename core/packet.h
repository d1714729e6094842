/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Reading a packet's headers.
 *
 * The platform hands in a window: the first len bytes from the network header on, linear. The parser
 * reads inside it alone and answers MORE, with the length it needs, when the window is too small
 * but the packet is not. It trusts nothing: every length is checked against the packet's own
 * (wire), so whatever it calls OK has all headers that translation will touch.
 */
#ifndef SLUICE_CORE_PACKET_H
#define SLUICE_CORE_PACKET_H

#include "conntrack.h"

enum sluice_parse {
	SLUICE_PARSE_OK,
	SLUICE_PARSE_MORE, /* again with at least pkt->need bytes */
	SLUICE_PARSE_MALFORMED,
	SLUICE_PARSE_BAD_CHECKSUM, /* IPv4 header */
	SLUICE_PARSE_FRAGMENT, /* tuple holds addresses and family alone */
	SLUICE_PARSE_UNSUPPORTED, /* a chain of IPv6 headers longer than eight */
};

#define SLUICE_PACKET_PORTS 0x01 /* the tuple's ports are ports (TCP, UDP, SCTP) */
#define SLUICE_PACKET_ECHO 0x02 /* ICMP echo; one of the tuple's ports is its identifier */
#define SLUICE_PACKET_ICMP_ERROR 0x04 /* inner is filled in */
#define SLUICE_PACKET_LINK_CONTROL \
	0x08 /* ICMPv6 neighbour discovery or MLD: never leaves its link */
#define SLUICE_PACKET_REPLY_ONLY 0x10 /* an answer by its type (echo reply): opens nothing */

struct sluice_packet {
	struct sluice_tuple tuple; /* as the packet arrived */
	struct sluice_l4 l4;
	__u32 need; /* with MORE: bytes of window */
	__u16 l4_off; /* from the network header */
	__u16 port; /* policy's view of the destination port, sluice_port_key() */
	__u8 flags; /* SLUICE_PACKET_* */
	__u8 ttl;
	__u16 inner_off; /* ICMP errors: of the embedded IP header */
	__u16 inner_l4_off; /* ICMP errors: of the embedded transport header */
	__u16 inner_len; /* ICMP errors: embedded bytes, as much as 65535 */
	struct sluice_tuple inner; /* ICMP errors: the tuple of the packet complained about */
};

static __always_inline __u16 sluice_load16(const __u8 *p)
{
	__be16 v;

	sluice_copy(&v, p, 2);
	return sluice_ntohs(v);
}

static __always_inline __u32 sluice_load32(const __u8 *p)
{
	__be32 v;

	sluice_copy(&v, p, 4);
	return sluice_ntohl(v);
}

/* Folds an IPv4 header of words 32-bit words; a right one gives 0xffff. */
static __always_inline __u16 sluice_ip4_sum(const __u8 *p, __u32 words)
{
	__u64 sum = 0;
	__u32 i, w;

	for (i = 0; i < words && i < 15; i++) {
		sluice_copy(&w, p + 4 * i, 4);
		sum += w;
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

/* The same for a header without options. */
static __always_inline __u16 sluice_ip4_sum20(const __u8 *p)
{
	__u64 a, b;
	__u32 c;

	sluice_copy(&a, p, 8);
	sluice_copy(&b, p + 8, 8);
	sluice_copy(&c, p + 16, 4);
	a += b;
	a += a < b;
	a += c;
	a += a < c;
	a = (a & 0xffffffff) + (a >> 32);
	a = (a & 0xffff) + (a >> 16);
	a = (a & 0xffff) + (a >> 16);
	return (__u16)((a & 0xffff) + (a >> 16));
}

/*
 * Window scale from a SYN's options, 0 if there is none. h: the TCP header, of n bytes with them. Byte by byte: a walk
 * from option to option has BPF's verifier follow each way through them.
 */
static __always_inline __u8 sluice_tcp_wscale(const __u8 *h, __u32 n)
{
	__u32 i, skip = 0;

	for (i = 20; i < 60 && i < n; i++) {
		if (skip) {
			skip--;
			continue;
		}
		if (h[i] == 0)
			break;
		if (h[i] == 1)
			continue;
		if (i + 2 > n)
			break;
		skip = h[i + 1];
		if (skip < 2 || i + skip > n)
			break;
		if (h[i] == 3 && skip == 3)
			return h[i + 2];
		skip--;
	}
	return 0;
}

/* Does one of n bytes at off lie behind the first len? Also where off + n is more than a number holds. */
static __always_inline bool sluice_is_behind(__u32 off, __u32 n, __u32 len)
{
	return off > len || off + n > len;
}

/*
 * Walks IPv6 extension headers from *at on. On return *proto is the transport protocol and *at its offset; with
 * MORE, *at is the length needed. at: in memory, of the packet's description.
 */
static __always_inline int sluice_ip6_chain(const __u8 *p, __u32 len, __u32 wire, __u32 *at,
					    __u8 *proto)
{
	__u32 i;

	for (i = 0; i < 8; i++) {
		__u32 off, n;

		switch (*proto) {
		case 44: /* fragment */
			return SLUICE_PARSE_FRAGMENT;
		case 0: /* hop-by-hop */
		case 43: /* routing */
		case 60: /* destination options */
		case 51: /* authentication */
			break;
		default:
			return SLUICE_PARSE_OK;
		}
		sluice_forget();
		off = *at;
		if (off + 8 > wire)
			return SLUICE_PARSE_MALFORMED;
		if (sluice_is_behind(off, 8, len)) {
			*at = off + 8;
			return SLUICE_PARSE_MORE;
		}
		sluice_settle(off);
		n = *proto == 51 ? (p[off + 1] + 2u) * 4 : (p[off + 1] + 1u) * 8;
		*proto = p[off];
		*at = off + n;
		if (off + n > wire)
			return SLUICE_PARSE_MALFORMED;
	}
	return SLUICE_PARSE_UNSUPPORTED;
}

static __always_inline bool sluice_icmp_is_error(__u8 proto, __u8 type)
{
	if (proto == SLUICE_PROTO_ICMPV6)
		return type < 128;
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/*
 * What stands for ports in the tuple of an ICMP message that is no error; h: its first 8 bytes, t: with
 * proto set and both ports 0. Returns SLUICE_PACKET_* flags.
 */
static __always_inline __u8 sluice_icmp_ports(const __u8 *h, struct sluice_tuple *t)
{
	bool v4 = t->proto == SLUICE_PROTO_ICMP;

	if (h[0] == (v4 ? 8 : 128)) {
		sluice_copy(&t->sport, h + 4, 2);
		return SLUICE_PACKET_ECHO;
	}
	if (h[0] == (v4 ? 0 : 129)) {
		sluice_copy(&t->dport, h + 4, 2);
		return SLUICE_PACKET_ECHO | SLUICE_PACKET_REPLY_ONLY;
	}
	if (!v4 && ((h[0] >= 130 && h[0] <= 137) || h[0] == 143))
		return SLUICE_PACKET_LINK_CONTROL;
	/* Other queries have no identifier that all agree on: a flow for each type and code. */
	sluice_copy(&t->dport, h, 2);
	return 0;
}

static __always_inline void sluice_tuple_addrs4(struct sluice_tuple *t, const __u8 *p)
{
	memset(&t->src, 0, sizeof(t->src));
	memset(&t->dst, 0, sizeof(t->dst));
	sluice_copy(&t->src.w[0], p + 12, 4);
	sluice_copy(&t->dst.w[0], p + 16, 4);
	t->family = SLUICE_IPV4;
	t->pad = 0;
	t->sport = 0;
	t->dport = 0;
}

static __always_inline void sluice_tuple_addrs6(struct sluice_tuple *t, const __u8 *p)
{
	sluice_copy(&t->src, p + 8, 16);
	sluice_copy(&t->dst, p + 24, 16);
	t->family = SLUICE_IPV6;
	t->pad = 0;
	t->sport = 0;
	t->dport = 0;
}

/*
 * The packet embedded in an ICMP error: its IP header and at least 8 bytes of transport (RFC 792,
 * RFC 4443). It may be cut, so its own lengths are not checked against it. It may be a fragment; only
 * the first has ports, the others get a tuple with both zero, which is no connection's.
 */
static __always_inline int sluice_parse_inner(const __u8 *p, __u32 len, __u32 wire, __u32 off,
					      struct sluice_packet *pkt)
{
	struct sluice_tuple *t = &pkt->inner;
	__u16 fragment = 0; /* its offset */
	__u8 proto, version;
	__u32 l4;
	int ret;

	pkt->need = off + (pkt->tuple.family == SLUICE_IPV4 ? 20 : 40);
	if (pkt->need > wire)
		return SLUICE_PARSE_MALFORMED;
	if (pkt->need > len)
		return SLUICE_PARSE_MORE;
	sluice_settle(off);
	version = p[off] >> 4;
	if (version != pkt->tuple.family)
		return SLUICE_PARSE_MALFORMED;
	if (version == SLUICE_IPV4) {
		if ((p[off] & 15) < 5)
			return SLUICE_PARSE_MALFORMED;
		l4 = off + (p[off] & 15) * 4u;
		proto = p[off + 9];
		sluice_tuple_addrs4(t, p + off);
		fragment = sluice_load16(p + off + 6) & 0x1fff;
	} else {
		proto = p[off + 6];
		sluice_tuple_addrs6(t, p + off);
		pkt->need = off + 40;
		ret = sluice_ip6_chain(p, len, wire, &pkt->need, &proto);
		sluice_forget();
		l4 = pkt->need;
		if (ret == SLUICE_PARSE_FRAGMENT) {
			pkt->need = l4 + 8;
			if (pkt->need > wire)
				return SLUICE_PARSE_MALFORMED;
			if (sluice_is_behind(l4, 8, len))
				return SLUICE_PARSE_MORE;
			sluice_settle(l4);
			fragment = sluice_load16(p + l4 + 2) & 0xfff8;
			proto = p[l4];
			l4 += 8;
			ret = SLUICE_PARSE_OK;
		}
		if (ret != SLUICE_PARSE_OK)
			return ret;
	}
	t->proto = proto;
	pkt->inner_off = (__u16)off;
	pkt->inner_l4_off = (__u16)l4;
	pkt->inner_len = (__u16)(wire - off);
	pkt->need = l4 + 8;
	if (pkt->need > wire)
		return SLUICE_PARSE_MALFORMED;
	if (sluice_is_behind(l4, 8, len))
		return SLUICE_PARSE_MORE;
	sluice_settle(l4);
	if (fragment)
		return SLUICE_PARSE_OK;
	switch (proto) {
	case SLUICE_PROTO_TCP:
	case SLUICE_PROTO_UDP:
	case SLUICE_PROTO_SCTP:
		sluice_copy(&t->sport, p + l4, 2);
		sluice_copy(&t->dport, p + l4 + 2, 2);
		break;
	case SLUICE_PROTO_ICMP:
	case SLUICE_PROTO_ICMPV6:
		if (sluice_icmp_is_error(proto, p[l4]))
			return SLUICE_PARSE_MALFORMED; /* an error about an error (RFC 1122) */
		sluice_icmp_ports(p + l4, t);
		break;
	}
	return SLUICE_PARSE_OK;
}

/* The transport header at off; total: bytes of the packet by its IP header. */
static __always_inline int sluice_parse_l4(const __u8 *p, __u32 len, __u32 total, __u32 off,
					   struct sluice_packet *pkt)
{
	struct sluice_tuple *t = &pkt->tuple;
	const __u8 *h;
	__u32 n;

	pkt->l4_off = (__u16)off;
	if (off > len) {
		pkt->need = off;
		return SLUICE_PARSE_MORE;
	}
	sluice_settle(off);
	h = p + off;
	switch (t->proto) {
	case SLUICE_PROTO_TCP:
		pkt->need = off + 20;
		if (pkt->need > total)
			return SLUICE_PARSE_MALFORMED;
		if (pkt->need > len)
			return SLUICE_PARSE_MORE;
		n = (h[12] >> 4) * 4u;
		if (n < 20 || off + n > total)
			return SLUICE_PARSE_MALFORMED;
		sluice_copy(&t->sport, h, 2);
		sluice_copy(&t->dport, h + 2, 2);
		pkt->l4.seq = sluice_load32(h + 4);
		pkt->l4.ack = sluice_load32(h + 8);
		pkt->l4.win = sluice_load16(h + 14);
		pkt->l4.flags = h[13];
		pkt->l4.wscale = 0;
		pkt->l4.len = total - off - n;
		if (h[13] & SLUICE_TCP_SYN) {
			pkt->need = off + n;
			if (pkt->need > len)
				return SLUICE_PARSE_MORE;
			pkt->l4.wscale = sluice_tcp_wscale(h, n);
		}
		pkt->flags = SLUICE_PACKET_PORTS;
		pkt->port = sluice_ntohs(t->dport);
		return SLUICE_PARSE_OK;
	case SLUICE_PROTO_UDP:
		pkt->need = off + 8;
		if (pkt->need > total)
			return SLUICE_PARSE_MALFORMED;
		if (pkt->need > len)
			return SLUICE_PARSE_MORE;
		n = sluice_load16(h + 4);
		/* The length counts the header; a GSO packet's is that of its first segment. */
		if (n < 8 || off + n > total)
			return SLUICE_PARSE_MALFORMED;
		sluice_copy(&t->sport, h, 2);
		sluice_copy(&t->dport, h + 2, 2);
		pkt->l4.flags = 0;
		pkt->flags = SLUICE_PACKET_PORTS;
		pkt->port = sluice_ntohs(t->dport);
		return SLUICE_PARSE_OK;
	case SLUICE_PROTO_SCTP:
		pkt->need = off + 16; /* common header and the first chunk's */
		if (pkt->need > total)
			return SLUICE_PARSE_MALFORMED;
		if (pkt->need > len)
			return SLUICE_PARSE_MORE;
		sluice_copy(&t->sport, h, 2);
		sluice_copy(&t->dport, h + 2, 2);
		pkt->l4.flags = h[12];
		pkt->flags = SLUICE_PACKET_PORTS;
		pkt->port = sluice_ntohs(t->dport);
		return SLUICE_PARSE_OK;
	case SLUICE_PROTO_ICMP:
	case SLUICE_PROTO_ICMPV6:
		pkt->need = off + 8;
		if (pkt->need > total)
			return SLUICE_PARSE_MALFORMED;
		if (pkt->need > len)
			return SLUICE_PARSE_MORE;
		pkt->l4.flags = h[0];
		pkt->flags = 0;
		pkt->port = (__u16)(h[0] << 8 | h[1]);
		if (sluice_icmp_is_error(t->proto, h[0])) {
			pkt->flags = SLUICE_PACKET_ICMP_ERROR;
			return sluice_parse_inner(p, len, total, off + 8, pkt);
		}
		pkt->flags = sluice_icmp_ports(h, t);
		return SLUICE_PARSE_OK;
	}
	pkt->l4.flags = 0;
	pkt->flags = 0;
	pkt->port = 0;
	return SLUICE_PARSE_OK;
}

static __always_inline int sluice_parse_ip4(const __u8 *p, __u32 len, __u32 wire,
					    struct sluice_packet *pkt)
{
	__u32 ihl, total;

	pkt->need = 20;
	if (wire < 20)
		return SLUICE_PARSE_MALFORMED;
	if (len < 20)
		return SLUICE_PARSE_MORE;
	ihl = (p[0] & 15) * 4u;
	if (p[0] >> 4 != 4 || ihl < 20 || ihl > wire)
		return SLUICE_PARSE_MALFORMED;
	if (ihl > len) {
		pkt->need = ihl;
		return SLUICE_PARSE_MORE;
	}
	total = sluice_load16(p + 2);
	if (!total && wire > 65535) /* BIG TCP: a length that the field cannot hold */
		total = wire;
	if (total > wire || total < ihl)
		return SLUICE_PARSE_MALFORMED;
	if ((ihl == 20 ? sluice_ip4_sum20(p) : sluice_ip4_sum(p, ihl / 4)) != 0xffff)
		return SLUICE_PARSE_BAD_CHECKSUM;
	sluice_tuple_addrs4(&pkt->tuple, p);
	pkt->tuple.proto = p[9];
	pkt->ttl = p[8];
	if (sluice_load16(p + 6) & 0x3fff)
		return SLUICE_PARSE_FRAGMENT;
	return sluice_parse_l4(p, len, total, ihl, pkt);
}

static __always_inline int sluice_parse_ip6(const __u8 *p, __u32 len, __u32 wire,
					    struct sluice_packet *pkt)
{
	__u32 total;
	__u8 proto;
	int ret;

	pkt->need = 40;
	if (wire < 40)
		return SLUICE_PARSE_MALFORMED;
	if (len < 40)
		return SLUICE_PARSE_MORE;
	if (p[0] >> 4 != 6)
		return SLUICE_PARSE_MALFORMED;
	total = 40u + sluice_load16(p + 4);
	if (total > wire)
		return SLUICE_PARSE_MALFORMED;
	/* A BIG TCP packet has payload length 0 and a jumbo option (RFC 2675); wire has its length. */
	if (total == 40 && wire > 65535)
		total = wire;
	sluice_tuple_addrs6(&pkt->tuple, p);
	proto = p[6];
	pkt->ttl = p[7];
	ret = sluice_ip6_chain(p, len, total, &pkt->need, &proto);
	pkt->tuple.proto = proto;
	if (ret != SLUICE_PARSE_OK)
		return ret;
	sluice_forget();
	return sluice_parse_l4(p, len, total, pkt->need, pkt);
}

/*
 * data: len readable bytes from the network header on; wire: bytes of the whole packet from there on. Where len is
 * more than wire, what is behind the packet is not looked at. Returns enum sluice_parse.
 */
static __always_inline int sluice_packet_parse(const void *data, __u32 len, __u32 wire, __u8 family,
					       struct sluice_packet *pkt)
{
	if (family == SLUICE_IPV4)
		return sluice_parse_ip4(data, len, wire, pkt);
	return sluice_parse_ip6(data, len, wire, pkt);
}

#endif
