// SPDX-License-Identifier: GPL-2.0-only
/*
 * raw: packets that no stack would send.
 *
 *	raw NETNS DEVICE MAC SHAPE[,SHAPE...] SRC DST [sport=N] [dport=N] [flags=N] [seq=N]
 *		[ack=N] [count=N] [sweep=1] [vlan=N] [pad=N]
 *
 * With sweep each of count packets has the next source port: as many connections. With vlan each has a tag. With pad
 * N bytes, not zero, follow each, which are not of the packet.
 * Sent from DEVICE to the Ethernet address MAC, past the sender's own IP stack. Addresses of one
 * family; every shape exists for both unless said. Prints how many packets went out.
 */
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "netns.h"
#include "wire.h"

struct packet {
	unsigned char bytes[2048];
	size_t len; /* as sent */
	size_t l4; /* offset of the transport header */
	int family;
	union address src, dst;
	uint8_t proto;
};

struct options {
	unsigned int sport, dport, flags, seq, ack, count, sweep, ident, vlan, pad;
};

/* IPv4 header checksum over the bytes as they are. */
static void seal_ip(struct packet *p)
{
	size_t ihl = (p->bytes[0] & 15) * 4u;

	if (p->family != AF_INET)
		return;
	put16(p->bytes + 10, 0);
	put16(p->bytes + 10, ~sum_fold(sum_add(0, p->bytes, ihl)));
}

/* Transport checksum of n bytes at p->l4, its field at offset at. */
static void seal_l4(struct packet *p, size_t n, size_t at)
{
	uint32_t sum = p->proto + n;

	if (p->proto != IPPROTO_ICMP) {
		if (p->family == AF_INET)
			sum = sum_add(sum, p->bytes + 12, 8);
		else
			sum = sum_add(sum, p->bytes + 8, 32);
	} else {
		sum = 0;
	}
	put16(p->bytes + p->l4 + at, 0);
	put16(p->bytes + p->l4 + at, ~sum_fold(sum_add(sum, p->bytes + p->l4, n)));
}

/* An IP header for n bytes of protocol proto. */
static void start_ip(struct packet *p, uint8_t proto, size_t n)
{
	memset(p->bytes, 0, sizeof(p->bytes));
	p->proto = proto;
	if (p->family == AF_INET) {
		p->bytes[0] = 0x45;
		put16(p->bytes + 2, 20 + n);
		put16(p->bytes + 4, 0x1234);
		p->bytes[8] = 64;
		p->bytes[9] = proto;
		memcpy(p->bytes + 12, &p->src.in.sin_addr, 4);
		memcpy(p->bytes + 16, &p->dst.in.sin_addr, 4);
		p->l4 = 20;
	} else {
		p->bytes[0] = 0x60;
		put16(p->bytes + 4, n);
		p->bytes[6] = proto;
		p->bytes[7] = 64;
		memcpy(p->bytes + 8, &p->src.in6.sin6_addr, 16);
		memcpy(p->bytes + 24, &p->dst.in6.sin6_addr, 16);
		p->l4 = 40;
	}
	p->len = p->l4 + n;
	seal_ip(p);
}

static void make_udp(struct packet *p, const struct options *o, size_t payload)
{
	start_ip(p, IPPROTO_UDP, 8 + payload);
	put16(p->bytes + p->l4, o->sport);
	put16(p->bytes + p->l4 + 2, o->dport);
	put16(p->bytes + p->l4 + 4, 8 + payload);
	memset(p->bytes + p->l4 + 8, 'x', payload);
	seal_l4(p, 8 + payload, 6);
}

static void make_tcp(struct packet *p, const struct options *o, unsigned int flags, size_t payload)
{
	unsigned char *t;

	start_ip(p, IPPROTO_TCP, 20 + payload);
	t = p->bytes + p->l4;
	put16(t, o->sport);
	put16(t + 2, o->dport);
	put32(t + 4, o->seq);
	put32(t + 8, o->ack);
	t[12] = 5 << 4;
	t[13] = flags;
	put16(t + 14, 1024);
	memset(t + 20, 'x', payload);
	seal_l4(p, 20 + payload, 16);
}

/* An ICMP port unreachable about a UDP packet dst:dport -> src:sport that was never sent. */
static void make_icmp_error(struct packet *p, const struct options *o)
{
	size_t ip = p->family == AF_INET ? 20 : 40;
	struct packet inner = *p;

	inner.src = p->dst;
	inner.dst = p->src;
	make_udp(&inner, o, 8);
	start_ip(p, p->family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6, 8 + ip + 16);
	p->bytes[p->l4] = p->family == AF_INET ? 3 : 1;
	p->bytes[p->l4 + 1] = p->family == AF_INET ? 3 : 4;
	memcpy(p->bytes + p->l4 + 8, inner.bytes, ip + 16);
	seal_l4(p, 8 + ip + 16, 2);
}

/* n bytes of payload at an offset, as a fragment. */
static void make_fragment(struct packet *p, const struct options *o, unsigned int offset, bool more,
			  size_t n)
{
	if (p->family == AF_INET) {
		start_ip(p, IPPROTO_UDP, n);
		put16(p->bytes + 4, o->ident);
		put16(p->bytes + 6, (more ? 0x2000 : 0) | offset / 8);
		seal_ip(p);
	} else {
		start_ip(p, 44, 8 + n);
		p->bytes[40] = IPPROTO_UDP;
		put16(p->bytes + 42, offset | more);
		put32(p->bytes + 44, o->ident);
		p->l4 = 48;
	}
	memset(p->bytes + p->l4, 'x', n);
	if (!offset && n >= 8) {
		put16(p->bytes + p->l4, o->sport);
		put16(p->bytes + p->l4 + 2, o->dport);
		put16(p->bytes + p->l4 + 4, 1024);
		put16(p->bytes + p->l4 + 6, 0);
	}
}

/* Options headers of 8 bytes, one behind the other, then UDP. */
static void make_header_chain(struct packet *p, const struct options *o, size_t n)
{
	make_udp(p, o, 8);
	memmove(p->bytes + 40 + 8 * n, p->bytes + 40, 16);
	for (size_t i = 0; i < n; i++) {
		unsigned char *h = p->bytes + 40 + 8 * i;

		memset(h, 0, 8);
		h[0] = i + 1 < n ? 60 : IPPROTO_UDP;
		h[2] = 1; /* PadN over the rest */
		h[3] = 4;
	}
	p->bytes[6] = 60;
	put16(p->bytes + 4, 16 + 8 * n);
	p->len = 40 + 8 * n + 16;
}

static int out_fd;
static struct sockaddr_ll out_to;
static unsigned char out_tag[4]; /* of a VLAN: its number, and the type of what follows */
static unsigned char out_pad[64];
static unsigned int out_pad_bytes;
static unsigned int sent;

static void put(const struct packet *p)
{
	struct iovec parts[] = {
		{ out_tag, out_to.sll_protocol == htons(ETH_P_8021Q) ? sizeof(out_tag) : 0 },
		{ (void *)p->bytes, p->len },
		{ out_pad, out_pad_bytes },
	};
	struct msghdr msg = { .msg_name = &out_to,
			      .msg_namelen = sizeof(out_to),
			      .msg_iov = parts,
			      .msg_iovlen = 3 };

	if (sendmsg(out_fd, &msg, 0) < 0)
		die("raw: send %zu bytes: %s", p->len, strerror(errno));
	sent++;
}

static bool put_shape(const char *shape, struct packet *p, const struct options *o)
{
	bool v4 = p->family == AF_INET;

	if (!strcmp(shape, "udp")) { /* a good one: for spoofed and martian addresses */
		make_udp(p, o, 16);
	} else if (!strcmp(shape, "udp-unsummed")) { /* a good one without a checksum (IPv4) */
		make_udp(p, o, 16);
		put16(p->bytes + p->l4 + 6, 0);
	} else if (!strcmp(shape, "tcp")) { /* flags, seq and ack as given */
		make_tcp(p, o, o->flags, 0);
	} else if (!strcmp(shape, "tcp-data")) {
		make_tcp(p, o, o->flags, 64);
	} else if (!strcmp(shape, "ip-short")) { /* less than an IP header */
		make_udp(p, o, 16);
		p->len = 12;
	} else if (!strcmp(shape, "ip-truncated")) { /* the header promises more than there is */
		make_udp(p, o, 200);
		p->len -= 100;
	} else if (!strcmp(shape, "ip-length")) { /* total length below the header's (IPv4) */
		make_udp(p, o, 16);
		put16(p->bytes + 2, 16);
		seal_ip(p);
	} else if (!strcmp(shape, "ip-ihl")) { /* a header of 16 bytes (IPv4) */
		make_udp(p, o, 16);
		p->bytes[0] = 0x44;
		seal_ip(p);
	} else if (!strcmp(shape, "ip-version")) {
		make_udp(p, o, 16);
		p->bytes[0] = v4 ? 0x75 : 0x70;
		seal_ip(p);
	} else if (!strcmp(shape, "ip-checksum")) { /* IPv4 */
		make_udp(p, o, 16);
		p->bytes[10] ^= 0x55;
	} else if (!strcmp(shape, "tcp-short")) { /* 12 of 20 bytes of TCP */
		make_tcp(p, o, 2, 0);
		p->len -= 8;
		put16(p->bytes + (v4 ? 2 : 4), v4 ? 32 : 12);
		seal_ip(p);
	} else if (!strcmp(shape, "tcp-offset")) { /* data offset behind the end */
		make_tcp(p, o, 2, 0);
		p->bytes[p->l4 + 12] = 15 << 4;
		seal_l4(p, 20, 16);
	} else if (!strcmp(shape, "udp-length")) { /* UDP length behind the end */
		make_udp(p, o, 16);
		put16(p->bytes + p->l4 + 4, 400);
	} else if (!strcmp(shape, "udp-short")) { /* UDP length below 8 */
		make_udp(p, o, 16);
		put16(p->bytes + p->l4 + 4, 4);
	} else if (!strcmp(shape, "icmp-error")) {
		make_icmp_error(p, o);
	} else if (!strcmp(shape, "header-chain")) { /* nine extension headers (IPv6) */
		make_header_chain(p, o, 9);
	} else if (!strcmp(shape, "fragment-overlap")) {
		make_fragment(p, o, 0, true, 512);
		put(p);
		make_fragment(p, o, 256, true, 512);
		put(p);
		make_fragment(p, o, 768, false, 256);
	} else if (!strcmp(shape, "fragment-tiny")) { /* the first has no ports */
		make_fragment(p, o, 0, true, 8);
		p->len = p->l4 + 4;
		put16(p->bytes + (v4 ? 2 : 4), v4 ? 24 : 12);
		seal_ip(p);
	} else if (!strcmp(shape,
			   "fragment-odd")) { /* more follow it, but it ends on no 8 bytes (IPv6) */
		make_fragment(p, o, 64, true, 60);
	} else if (!strcmp(shape, "fragment-lonely")) { /* a last one without the others */
		make_fragment(p, o, 1024, false, 64);
	} else if (!strcmp(shape, "fragment-long")) { /* ends behind 65535 */
		make_fragment(p, o, 65528, false, 512);
	} else {
		return false;
	}
	put(p);
	return true;
}

int main(int argc, char **argv)
{
	struct options o = { .sport = 4000, .dport = 80, .flags = 2, .count = 1 };
	struct packet p = { 0 };
	unsigned int mac[6];

	if (argc < 7)
		die("raw: want NETNS DEVICE MAC SHAPE SRC DST");
	netns_enter(argv[1]);
	address_parse(&p.src, argv[5], 0);
	address_parse(&p.dst, argv[6], 0);
	p.family = p.src.sa.sa_family;
	for (int i = 7; i < argc; i++) {
		char key[16];
		unsigned int value;

		if (sscanf(argv[i], "%15[a-z]=%u", key, &value) != 2)
			die("raw: \"%s\" is not KEY=NUMBER", argv[i]);
		if (!strcmp(key, "sport"))
			o.sport = value;
		else if (!strcmp(key, "dport"))
			o.dport = value;
		else if (!strcmp(key, "flags"))
			o.flags = value;
		else if (!strcmp(key, "seq"))
			o.seq = value;
		else if (!strcmp(key, "ack"))
			o.ack = value;
		else if (!strcmp(key, "sweep"))
			o.sweep = value;
		else if (!strcmp(key, "count"))
			o.count = value;
		else if (!strcmp(key, "vlan"))
			o.vlan = value;
		else if (!strcmp(key, "pad"))
			o.pad = value;
		else
			die("raw: unknown key \"%s\"", key);
	}
	out_fd = socket(AF_PACKET, SOCK_DGRAM, 0);
	if (out_fd < 0)
		die("raw: socket: %s", strerror(errno));
	out_to.sll_family = AF_PACKET;
	out_to.sll_protocol = htons(p.family == AF_INET ? ETH_P_IP : ETH_P_IPV6);
	if (o.vlan) {
		put16(out_tag, o.vlan);
		put16(out_tag + 2, ntohs(out_to.sll_protocol));
		out_to.sll_protocol = htons(ETH_P_8021Q);
	}
	out_to.sll_ifindex = if_nametoindex(argv[2]);
	out_to.sll_halen = 6;
	if (!out_to.sll_ifindex)
		die("raw: no device \"%s\"", argv[2]);
	if (sscanf(argv[3], "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
		   &mac[5]) != 6)
		die("raw: \"%s\" is no Ethernet address", argv[3]);
	for (int i = 0; i < 6; i++)
		out_to.sll_addr[i] = mac[i];
	if (o.pad > sizeof(out_pad))
		die("raw: pad is at most %zu", sizeof(out_pad));
	memset(out_pad, 'p', o.pad);
	out_pad_bytes = o.pad;
	o.ident = getpid() * 64;
	for (char *shape = strtok(argv[4], ","); shape; shape = strtok(NULL, ",")) {
		for (unsigned int i = 0; i < o.count; i++) {
			o.ident++;
			if (i)
				o.sport += o.sweep;
			if (!put_shape(shape, &p, &o))
				die("raw: unknown shape \"%s\"", shape);
		}
	}
	printf("%u\n", sent);
	return 0;
}
