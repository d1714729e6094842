// SPDX-License-Identifier: GPL-2.0-only
/*
 * core/nat.h: real packets, whose checksums are computed in full by a plain loop (RFC 1071), are
 * rewritten with the deltas and computed in full again.
 */
#include <arpa/inet.h>

#include "core/nat.h"
#include "tap.h"

#define MAX_PAYLOAD 64

/* A packet from layer 3 on; big enough for IPv6, TCP and the payload. */
struct packet {
	uint8_t data[40 + 20 + MAX_PAYLOAD];
	uint32_t l3; /* bytes of the IP header */
	uint32_t l4; /* bytes behind it */
	uint32_t check; /* offset of the layer 4 checksum; 0: none */
};

static uint32_t sum_words(uint32_t sum, const uint8_t *p, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i += 2) {
		sum += (uint32_t)p[i] << 8 | (i + 1 < n ? p[i + 1] : 0);
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static uint16_t full_ip_check(const struct packet *p)
{
	uint8_t h[20];

	memcpy(h, p->data, 20);
	h[10] = h[11] = 0;
	return ~sum_words(0, h, 20);
}

static uint8_t proto_of(const struct packet *p)
{
	return p->l3 == 20 ? p->data[9] : p->data[6];
}

/* The checksum a sender computes, before UDP replaces 0 by 0xffff. */
static uint16_t full_l4_check(const struct packet *p)
{
	uint8_t l4[20 + MAX_PAYLOAD];
	uint32_t sum = 0;

	memcpy(l4, p->data + p->l3, p->l4);
	l4[p->check - p->l3] = l4[p->check - p->l3 + 1] = 0;
	if (proto_of(p) != SLUICE_PROTO_ICMP) { /* the pseudo-header */
		sum = sum_words(sum, p->l3 == 20 ? p->data + 12 : p->data + 8,
				p->l3 == 20 ? 8 : 32);
		sum += p->l4 + proto_of(p);
	}
	return ~sum_words((sum & 0xffff) + (sum >> 16), l4, p->l4);
}

static uint16_t get16(const struct packet *p, uint32_t at)
{
	return (uint16_t)(p->data[at] << 8 | p->data[at + 1]);
}

static void put16(struct packet *p, uint32_t at, uint16_t v)
{
	p->data[at] = v >> 8;
	p->data[at + 1] = (uint8_t)v;
}

static void put_addrs_and_ports(struct packet *p, const struct sluice_tuple *t)
{
	uint32_t n = t->family == SLUICE_IPV4 ? 4 : 16;
	uint8_t *at = p->data + (n == 4 ? 12 : 8);

	memcpy(at, &t->src, n);
	memcpy(at + n, &t->dst, n);
	if (t->proto == SLUICE_PROTO_ICMP || t->proto == SLUICE_PROTO_ICMPV6) {
		memcpy(p->data + p->l3 + 4, t->sport ? &t->sport : &t->dport, 2);
	} else {
		memcpy(p->data + p->l3, &t->sport, 2);
		memcpy(p->data + p->l3 + 2, &t->dport, 2);
	}
}

/* payload: bytes; fill: all of them this, or random if negative. */
static void build(struct packet *p, const struct sluice_tuple *t, uint32_t payload, int fill)
{
	uint32_t header = t->proto == SLUICE_PROTO_TCP ? 20 : 8, i;

	memset(p, 0, sizeof(*p));
	p->l3 = t->family == SLUICE_IPV4 ? 20 : 40;
	p->l4 = header + payload;
	for (i = 0; i < p->l4; i++)
		p->data[p->l3 + i] = fill < 0 ? (uint8_t)tap_random() : (uint8_t)fill;
	if (t->family == SLUICE_IPV4) {
		p->data[0] = 0x45;
		put16(p, 2, p->l3 + p->l4);
		p->data[8] = 64;
		p->data[9] = t->proto;
	} else {
		p->data[0] = 0x60;
		put16(p, 4, p->l4);
		p->data[6] = t->proto;
		p->data[7] = 64;
	}
	put_addrs_and_ports(p, t);
	switch (t->proto) {
	case SLUICE_PROTO_TCP:
		p->check = p->l3 + 16;
		break;
	case SLUICE_PROTO_UDP:
		p->check = p->l3 + 6;
		put16(p, p->l3 + 4, p->l4);
		break;
	default:
		p->check = p->l3 + 2;
		p->data[p->l3] = t->proto == SLUICE_PROTO_ICMP ? 8 : 128;
		p->data[p->l3 + 1] = 0;
	}
	put16(p, p->check, full_l4_check(p));
	if (t->family == SLUICE_IPV4)
		put16(p, 10, full_ip_check(p));
}

/* 0, 0xffff and their neighbours make the corner cases of one's complement. */
static uint16_t random_port(void)
{
	static const uint16_t corners[] = { 0x0001, 0xffff, 0xfffe, 0x0100, 0x00ff, 0x8000 };

	return tap_one_in(2) ? corners[tap_below(6)] : (uint16_t)(1 + tap_below(65535));
}

static void random_addr(struct sluice_addr *a, uint8_t family)
{
	static const uint32_t corners[] = { 0, ~0U, 0xffff, 0xffff0000, 1, 0x80000000 };
	uint32_t i;

	memset(a, 0, sizeof(*a));
	for (i = 0; i < (family == SLUICE_IPV4 ? 1U : 4U); i++)
		a->w[i] = tap_one_in(2) ? corners[tap_below(6)] : (uint32_t)tap_random();
}

/*
 * Two values of one's complement zero are the same number. A full computation over a packet that
 * is not all zero never yields ~0 = 0xffff; nor may the delta, or a receiver that compares
 * instead of summing up would refuse the packet. (For UDP the platform then sends 0xffff for 0.)
 */
static void check_rewrite(uint8_t family, uint8_t proto, int fill)
{
	struct sluice_tuple from = { .family = family, .proto = proto }, to = from;
	struct sluice_nat_delta d;
	struct packet p;
	uint16_t l4, ip;
	bool icmp = proto == SLUICE_PROTO_ICMP || proto == SLUICE_PROTO_ICMPV6;

	random_addr(&from.src, family);
	random_addr(&from.dst, family);
	random_addr(&to.src, family);
	random_addr(&to.dst, family);
	if (tap_one_in(2))
		to.src = from.src; /* destination NAT alone */
	from.sport = htons(random_port());
	to.sport = tap_one_in(2) ? from.sport : htons(random_port());
	if (!icmp) { /* an echo request has its identifier in sport, and 0 in dport */
		from.dport = htons(random_port());
		to.dport = htons(random_port());
	}
	build(&p, &from, tap_below(MAX_PAYLOAD), fill);
	sluice_nat_delta(&from, &to, &d);

	l4 = htons(get16(&p, p.check));
	l4 = sluice_csum_apply(l4, d.port);
	if (proto != SLUICE_PROTO_ICMP)
		l4 = sluice_csum_apply(l4, d.addr);
	ip = htons(get16(&p, 10));
	ip = sluice_csum_apply(ip, d.addr);

	put_addrs_and_ports(&p, &to);
	check(ntohs(l4) == full_l4_check(&p), "IPv%u proto %u: got %04x, in full %04x", family,
	      proto, ntohs(l4), full_l4_check(&p));
	if (family == SLUICE_IPV4)
		check(ntohs(ip) == full_ip_check(&p), "IPv4 header: got %04x, in full %04x",
		      ntohs(ip), full_ip_check(&p));

	/* Both deltas in one go, as for TCP and UDP. */
	if (proto != SLUICE_PROTO_ICMP) {
		struct packet q;

		build(&q, &from, 10, fill);
		l4 = sluice_csum_apply(htons(get16(&q, q.check)), sluice_csum_add(d.addr, d.port));
		put_addrs_and_ports(&q, &to);
		check(ntohs(l4) == full_l4_check(&q), "deltas added: got %04x, in full %04x",
		      ntohs(l4), full_l4_check(&q));
	}
}

static void test_rewrites(uint8_t family, uint8_t proto, const char *name)
{
	uint32_t i;

	for (i = 0; i < 20000; i++)
		check_rewrite(family, proto, i % 4 == 0 ? 0 : i % 4 == 1 ? 0xff : -1);
	ok_checks("%s: deltas equal a full computation", name);
}

/* Every checksum with every 16-bit change of one word would be 2^48 cases; one in each row. */
static void test_apply_corners(void)
{
	static const uint16_t words[] = { 0, 1, 0x00ff, 0x7fff, 0x8000, 0xff00, 0xfffe, 0xffff };
	uint32_t check_, i, j;

	/* Not 0xffff: that is the sum of nothing but zeros, whose two forms, 0 and -0, are one value. */
	for (check_ = 0; check_ < 65535; check_ += 1 + tap_below(7)) {
		for (i = 0; i < 8; i++) {
			for (j = 0; j < 8; j++) {
				/* RFC 1624 by 16-bit words: HC' = ~(~HC + ~m + m') */
				uint32_t sum = (uint16_t)~check_ + (uint16_t)~words[i] + words[j];
				uint16_t got, want;

				sum = (sum & 0xffff) + (sum >> 16);
				sum = (sum & 0xffff) + (sum >> 16);
				want = (uint16_t)~sum;
				got = sluice_csum_apply((uint16_t)check_,
							sluice_csum_replace(0, words[i], words[j]));
				check(got == want, "check %04x, %04x becomes %04x: %04x, not %04x",
				      check_, words[i], words[j], got, want);
			}
		}
	}
	ok_checks("apply is RFC 1624's equation 3, 0x0000 and 0xffff included");

	for (i = 0; i < 100000; i++) {
		uint16_t hc = (uint16_t)tap_random();
		uint32_t a = (uint32_t)tap_random(), b = (uint32_t)tap_random();
		uint32_t there = sluice_csum_replace(0, a, b);
		uint32_t back = sluice_csum_replace(0, b, a);
		uint16_t out = sluice_csum_apply(sluice_csum_apply(hc, there), back);

		check(out == hc || (out == 0 && hc == 0xffff) || (out == 0xffff && hc == 0),
		      "%04x comes back as %04x", hc, out);
	}
	ok_checks("a rewrite and its reverse give the checksum back");
}

static uint32_t port_class(uint32_t port)
{
	return port < 512 ? 0 : port < 1024 ? 1 : 2;
}

static void test_ports(void)
{
	static const uint16_t wanted[] = { 1, 80, 511, 512, 513, 1023, 1024, 40000, 65535 };
	static const uint32_t randoms[] = { 0, 1, 510, 511, 64511, 64512, 0x7fffffff, ~0U };
	uint32_t i, r, a;

	for (i = 0; i < 9; i++) {
		for (r = 0; r < 200; r++) {
			uint32_t random = r < 8 ? randoms[r] : (uint32_t)tap_random();
			bool seen[65536] = { false };

			check(sluice_nat_port(wanted[i], random, 0) == wanted[i],
			      "attempt 0 is not the wanted port");
			for (a = 1; a < SLUICE_PORT_ATTEMPTS; a++) {
				uint32_t port = sluice_nat_port(wanted[i], random, a);

				check(port && port_class(port) == port_class(wanted[i]),
				      "wanted %u, random %u, attempt %u: %u leaves its class",
				      wanted[i], random, a, port);
				check(!seen[port], "wanted %u: %u comes twice", wanted[i], port);
				seen[port] = true;
			}
		}
	}
	ok_checks("ports stay in their class, never 0, none twice");
	is_u64(sluice_nat_port(40000, 5000, 1), 6025, "the worked example: first 6025");
	is_u64(sluice_nat_port(40000, 5000, 2), 6026, "then 6026");

	/* Over all starts, each port of a class is some first try. */
	{
		static bool first[65536];
		uint32_t n = 0;

		for (r = 0; r < 64512; r++) {
			uint32_t port = sluice_nat_port(2000, r, 1);

			n += !first[port];
			first[port] = true;
		}
		is_u64(n, 64512, "the whole range is in use");
	}
}

int main(void)
{
	tap_seed();
	test_rewrites(SLUICE_IPV4, SLUICE_PROTO_TCP, "TCP over IPv4");
	test_rewrites(SLUICE_IPV4, SLUICE_PROTO_UDP, "UDP over IPv4");
	test_rewrites(SLUICE_IPV4, SLUICE_PROTO_ICMP, "ICMP echo");
	test_rewrites(SLUICE_IPV6, SLUICE_PROTO_TCP, "TCP over IPv6");
	test_rewrites(SLUICE_IPV6, SLUICE_PROTO_UDP, "UDP over IPv6");
	test_rewrites(SLUICE_IPV6, SLUICE_PROTO_ICMPV6, "ICMPv6 echo");
	test_apply_corners();
	test_ports();
	return done_testing();
}
