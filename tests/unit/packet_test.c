// SPDX-License-Identifier: GPL-2.0-only
/*
 * core/packet.h: packets are built here from what they shall mean, so the builder is the oracle. Each
 * is parsed through every window and every truncation, in memory of exactly the window's size.
 */
#include <arpa/inet.h>

#include "core/plain.h"
#include "tap.h"

#define MAX_BYTES 1024

/* A packet under construction, and what a parser must find in it. */
struct built {
	uint8_t data[MAX_BYTES];
	uint32_t n;
	struct sluice_tuple tuple;
	struct sluice_l4 l4;
	uint32_t l4_off;
	uint16_t port;
	uint8_t flags;
	uint8_t ttl;
	int want; /* enum sluice_parse */
};

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = (uint8_t)v;
}

static void random_bytes(uint8_t *p, uint32_t n)
{
	while (n--)
		*p++ = (uint8_t)tap_random();
}

static void ip4_check(uint8_t *h)
{
	uint32_t sum = 0, i;

	h[10] = h[11] = 0;
	for (i = 0; i < (h[0] & 15) * 4U; i += 2)
		sum += h[i] << 8 | h[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(h + 10, ~sum);
}

/* Makes the lengths right, and an IPv4 header's checksum; it is no fragment. */
static void finish(struct built *b)
{
	if (b->tuple.family == SLUICE_IPV6) {
		put16(b->data + 4, b->n - 40);
	} else {
		put16(b->data + 2, b->n);
		put16(b->data + 6, 0);
		ip4_check(b->data);
	}
}

/* Extension headers of random kinds and lengths; returns the first one's number. */
static uint8_t add_extensions(struct built *b, uint8_t proto, uint32_t count)
{
	static const uint8_t kinds[] = { 0, 43, 60, 51 };
	uint32_t i, at[9];
	uint8_t first = proto, kind[9];

	for (i = 0; i < count; i++) {
		uint32_t units = tap_below(3);
		uint32_t n;

		kind[i] = kinds[tap_below(4)];
		n = kind[i] == 51 ? (units + 2) * 4 : (units + 1) * 8;
		at[i] = b->n;
		random_bytes(b->data + b->n, n);
		b->data[b->n + 1] = (uint8_t)units;
		b->n += n;
	}
	for (i = 0; i < count; i++)
		b->data[at[i]] = i + 1 < count ? kind[i + 1] : proto;
	return count ? kind[0] : first;
}

static void add_transport(struct built *b)
{
	uint8_t *h = b->data + b->n;
	uint32_t payload = tap_below(60), header = 8, i;
	bool v4 = b->tuple.family == SLUICE_IPV4;

	random_bytes(h, 64 + payload);
	b->l4_off = b->n;
	b->l4.flags = 0;
	b->tuple.sport = b->tuple.dport = 0;
	switch (b->tuple.proto) {
	case SLUICE_PROTO_TCP:
		header = 20 + 4 * tap_below(11);
		h[12] = (uint8_t)(header / 4 << 4);
		h[13] = (uint8_t)tap_random();
		b->l4.flags = h[13];
		for (i = 20; i < header; i++)
			h[i] = 1; /* NOP */
		b->l4.wscale = 0;
		if (header >= 32 && tap_one_in(2)) {
			/* MSS, then the window scale behind it, anywhere. */
			uint32_t at = 24 + tap_below(header - 24 - 2);

			memcpy(h + 20, "\2\4\5\264", 4);
			memcpy(h + at, "\3\3\7", 3);
			b->l4.wscale = h[13] & SLUICE_TCP_SYN ? 7 : 0;
		} else if (header >= 28 && tap_one_in(3)) {
			memcpy(h + 20, "\0\3\3\7", 4); /* behind the end of the list: none */
		}
		memcpy(&b->l4.seq, h + 4, 4);
		memcpy(&b->l4.ack, h + 8, 4);
		memcpy(&b->l4.win, h + 14, 2);
		b->l4.seq = ntohl(b->l4.seq);
		b->l4.ack = ntohl(b->l4.ack);
		b->l4.win = ntohs(b->l4.win);
		b->l4.len = payload;
		break;
	case SLUICE_PROTO_UDP:
		put16(h + 4, 8 + payload);
		break;
	case SLUICE_PROTO_SCTP:
		header = 16;
		b->l4.flags = h[12];
		break;
	case SLUICE_PROTO_ICMP:
	case SLUICE_PROTO_ICMPV6:
		do
			h[0] = tap_one_in(2) ? (tap_one_in(2) ? (v4 ? 8 : 128) : (v4 ? 0 : 129)) :
					       (uint8_t)tap_random();
		while (v4 ? h[0] == 3 || h[0] == 4 || h[0] == 5 || h[0] == 11 || h[0] == 12 :
			    h[0] < 128);
		b->l4.flags = h[0];
		break;
	default:
		header = 0;
	}
	b->n += header + payload;

	b->flags = 0;
	b->port = 0;
	switch (b->tuple.proto) {
	case SLUICE_PROTO_TCP:
	case SLUICE_PROTO_UDP:
	case SLUICE_PROTO_SCTP:
		b->flags = SLUICE_PACKET_PORTS;
		memcpy(&b->tuple.sport, h, 2);
		memcpy(&b->tuple.dport, h + 2, 2);
		b->port = ntohs(b->tuple.dport);
		break;
	case SLUICE_PROTO_ICMP:
	case SLUICE_PROTO_ICMPV6:
		b->port = (uint16_t)(h[0] << 8 | h[1]);
		if (h[0] == (v4 ? 8 : 128)) {
			b->flags = SLUICE_PACKET_ECHO;
			memcpy(&b->tuple.sport, h + 4, 2);
		} else if (h[0] == (v4 ? 0 : 129)) {
			b->flags = SLUICE_PACKET_ECHO | SLUICE_PACKET_REPLY_ONLY;
			memcpy(&b->tuple.dport, h + 4, 2);
		} else if (!v4 && ((h[0] >= 130 && h[0] <= 137) || h[0] == 143)) {
			b->flags = SLUICE_PACKET_LINK_CONTROL;
		} else {
			b->tuple.dport = htons(b->port);
		}
	}
}

static void build(struct built *b, uint8_t family, uint8_t proto, uint32_t extensions)
{
	memset(b, 0, sizeof(*b));
	b->want = SLUICE_PARSE_OK;
	b->tuple.family = family;
	b->tuple.proto = proto;
	b->ttl = (uint8_t)tap_random();
	if (family == SLUICE_IPV4) {
		uint32_t ihl = 20 + (tap_one_in(4) ? 4 * tap_below(11) : 0);

		random_bytes(b->data, ihl);
		b->n = ihl;
		b->data[0] = (uint8_t)(0x40 | ihl / 4);
		put16(b->data + 6, tap_one_in(2) ? 0x4000 : 0); /* don't fragment */
		b->data[8] = b->ttl;
		b->data[9] = proto;
		memcpy(&b->tuple.src, b->data + 12, 4);
		memcpy(&b->tuple.dst, b->data + 16, 4);
		add_transport(b);
		put16(b->data + 2, b->n);
		ip4_check(b->data);
	} else {
		random_bytes(b->data, 40);
		b->n = 40;
		b->data[0] = 0x60 | (b->data[0] & 15);
		b->data[7] = b->ttl;
		memcpy(&b->tuple.src, b->data + 8, 16);
		memcpy(&b->tuple.dst, b->data + 24, 16);
		b->data[6] = add_extensions(b, proto, extensions);
		add_transport(b);
		put16(b->data + 4, b->n - 40);
	}
}

/* Through one window, in memory of its size. */
static int parse(const uint8_t *data, uint32_t len, uint32_t wire, uint8_t family,
		 struct sluice_packet *pkt)
{
	uint8_t *window = malloc(len ? len : 1);
	int ret;

	memcpy(window, data, len);
	memset(pkt, 0xaa, sizeof(*pkt));
	ret = sluice_packet_parse(window, len, wire, family, pkt);
	free(window);
	return ret;
}

static bool same(const struct sluice_packet *a, const struct built *b)
{
	bool tcp = b->tuple.proto == SLUICE_PROTO_TCP;

	return !memcmp(&a->tuple, &b->tuple, sizeof(b->tuple)) && a->l4_off == b->l4_off &&
	       a->port == b->port && a->flags == b->flags && a->ttl == b->ttl &&
	       a->l4.flags == b->l4.flags &&
	       (!tcp ||
		(a->l4.seq == b->l4.seq && a->l4.ack == b->l4.ack && a->l4.win == b->l4.win &&
		 a->l4.len == b->l4.len && a->l4.wscale == b->l4.wscale));
}

/* Every window either has it all, or asks for more of what there is. */
static void check_windows(const struct built *b, uint32_t wire)
{
	struct sluice_packet pkt;
	uint32_t len;
	int ret;

	for (len = 0; len <= b->n; len++) {
		ret = parse(b->data, len, wire, b->tuple.family, &pkt);
		if (ret == SLUICE_PARSE_MORE)
			check(pkt.need > len && pkt.need <= b->n,
			      "IPv%u proto %u: with %u of %u it needs %u", b->tuple.family,
			      b->tuple.proto, len, b->n, pkt.need);
		else
			check(ret == b->want && (ret != SLUICE_PARSE_OK || same(&pkt, b)),
			      "IPv%u proto %u: a window of %u of %u gives %d", b->tuple.family,
			      b->tuple.proto, len, b->n, ret);
	}
	check(ret != SLUICE_PARSE_MORE, "the whole packet is not enough");
}

static const uint8_t protos[2][5] = { { 6, 17, 132, 1, 47 }, { 6, 17, 132, 58, 47 } };

static void test_windows(void)
{
	uint32_t i;

	for (i = 0; i < 3000; i++) {
		uint8_t family = i & 1 ? SLUICE_IPV4 : SLUICE_IPV6;
		struct built b;

		build(&b, family, protos[family == SLUICE_IPV6][tap_below(5)], tap_below(8));
		check_windows(&b, b.n);
		check_windows(&b, b.n + tap_below(20)); /* Ethernet's padding behind it */
	}
	ok_checks("packets are read as they were built, through every window");
}

/* The header says more than there is: cut at every byte. */
static void test_truncated(void)
{
	uint32_t i, n;

	for (i = 0; i < 1000; i++) {
		uint8_t family = i & 1 ? SLUICE_IPV4 : SLUICE_IPV6;
		struct sluice_packet pkt;
		struct built b;

		build(&b, family, protos[family == SLUICE_IPV6][tap_below(5)], tap_below(4));
		for (n = 0; n < b.n; n++) {
			int ret = parse(b.data, n, n, family, &pkt);

			check(ret == SLUICE_PARSE_MALFORMED, "IPv%u proto %u: %u of %u bytes: %d",
			      family, b.tuple.proto, n, b.n, ret);
		}
	}
	ok_checks("a truncated packet is malformed, wherever it was cut");
}

/* The lengths inside agree with a cut packet: only where a header was cut is it malformed. */
static void test_short_headers(void)
{
	uint32_t i, n;

	for (i = 0; i < 1000; i++) {
		uint8_t family = i & 1 ? SLUICE_IPV4 : SLUICE_IPV6;
		static const uint8_t least[] = { [6] = 20, [17] = 8, [132] = 16, [1] = 8, [58] = 8 };
		struct sluice_packet pkt;
		struct built b;

		build(&b, family, protos[family == SLUICE_IPV6][tap_below(4)], tap_below(4));
		for (n = b.l4_off; n < b.l4_off + least[b.tuple.proto]; n++) {
			if (family == SLUICE_IPV4) {
				put16(b.data + 2, n);
				ip4_check(b.data);
			} else {
				put16(b.data + 4, n - 40);
			}
			check(parse(b.data, n, n, family, &pkt) == SLUICE_PARSE_MALFORMED,
			      "IPv%u proto %u with %u bytes of it", family, b.tuple.proto,
			      n - b.l4_off);
		}
	}
	ok_checks("a transport header that is not all there is malformed");
}

static void test_broken_fields(void)
{
	struct sluice_packet pkt;
	struct built b, good;
	uint32_t i;

	for (i = 0; i < 500; i++) {
		build(&good, SLUICE_IPV4, 6, 0);
		b = good;
		b.data[10 + tap_below(2)] ^= 1U << tap_below(8);
		check(parse(b.data, b.n, b.n, 4, &pkt) == SLUICE_PARSE_BAD_CHECKSUM, "checksum");
		b = good;
		b.data[tap_one_in(2) ? 8 : 12 + tap_below(8)] ^= 1U << tap_below(8);
		check(parse(b.data, b.n, b.n, 4, &pkt) == SLUICE_PARSE_BAD_CHECKSUM,
		      "a flipped bit");
		b = good;
		b.data[0] = 0x40 | tap_below(5);
		check(parse(b.data, b.n, b.n, 4, &pkt) == SLUICE_PARSE_MALFORMED,
		      "header below 20");
		b = good;
		b.data[0] = (b.data[0] & 15) | 0x60;
		check(parse(b.data, b.n, b.n, 4, &pkt) == SLUICE_PARSE_MALFORMED,
		      "version 6 in IPv4");
		b = good;
		put16(b.data + 2, (b.data[0] & 15) * 4 - 1);
		ip4_check(b.data);
		check(parse(b.data, b.n, b.n, 4, &pkt) == SLUICE_PARSE_MALFORMED,
		      "total below header");
		b = good;
		b.data[b.l4_off + 12] = (uint8_t)(tap_below(5) << 4);
		check(parse(b.data, b.n, b.n, 4, &pkt) == SLUICE_PARSE_MALFORMED, "TCP below 20");
		b = good;
		put16(b.data + 6, 1U << tap_below(14));
		ip4_check(b.data);
		check(parse(b.data, b.n, b.n, 4, &pkt) == SLUICE_PARSE_FRAGMENT,
		      "an IPv4 fragment");
		check(!memcmp(&pkt.tuple.src, &b.tuple.src, 32), "keeps its addresses");

		build(&b, SLUICE_IPV4, 17, 0);
		put16(b.data + b.l4_off + 4, tap_below(8));
		check(parse(b.data, b.n, b.n, 4, &pkt) == SLUICE_PARSE_MALFORMED, "UDP below 8");
		put16(b.data + b.l4_off + 4, b.n - b.l4_off + 1);
		check(parse(b.data, b.n, b.n, 4, &pkt) == SLUICE_PARSE_MALFORMED, "UDP too long");

		build(&b, SLUICE_IPV6, 6, 0);
		b.data[6] = 44;
		check(parse(b.data, b.n, b.n, 6, &pkt) == SLUICE_PARSE_FRAGMENT,
		      "an IPv6 fragment");
		check(!memcmp(&pkt.tuple.src, &b.tuple.src, 32), "keeps its addresses");
		b.data[0] = (b.data[0] & 15) | 0x40;
		check(parse(b.data, b.n, b.n, 6, &pkt) == SLUICE_PARSE_MALFORMED,
		      "version 4 in IPv6");

		build(&b, SLUICE_IPV6, 17, 9);
		check(parse(b.data, b.n, b.n, 6, &pkt) == SLUICE_PARSE_UNSUPPORTED,
		      "nine extensions");
		build(&b, SLUICE_IPV6, 17, 1);
		b.data[41] = 255; /* an extension that leaves the packet */
		check(parse(b.data, b.n, b.n, 6, &pkt) == SLUICE_PARSE_MALFORMED, "long extension");
	}
	ok_checks("broken fields are called by their name");
}

/*
 * An ICMP error embeds a packet: its tuple must be the one that the packet had when it was parsed
 * by itself, or the error would not find its connection. 8 bytes of its transport are enough.
 */
static void test_icmp_errors(void)
{
	static const uint8_t types[2][5] = { { 3, 4, 5, 11, 12 }, { 1, 2, 3, 4, 127 } };
	uint32_t i;

	for (i = 0; i < 3000; i++) {
		uint8_t family = i & 1 ? SLUICE_IPV4 : SLUICE_IPV6;
		bool v6 = family == SLUICE_IPV6;
		uint32_t l3 = v6 ? 40 : 20, embedded;
		struct sluice_packet pkt;
		struct built in, out;
		uint8_t *h;
		int ret;

		build(&in, family, protos[v6][tap_below(4)], tap_below(4));
		build(&out, family, v6 ? 58 : 1, 0);
		if (!v6) {
			out.data[0] = 0x45;
			out.l4_off = 20;
		}
		h = out.data + l3;
		random_bytes(h, 8);
		h[0] = types[v6][tap_below(5)];
		embedded = in.l4_off + 8 + tap_below(in.n - in.l4_off - 8 + 1);
		memcpy(h + 8, in.data, embedded);
		out.n = l3 + 8 + embedded;
		finish(&out);
		ret = parse(out.data, out.n, out.n, family, &pkt);
		check(ret == SLUICE_PARSE_OK && pkt.flags == SLUICE_PACKET_ICMP_ERROR,
		      "IPv%u: an error of type %u gives %d", family, h[0], ret);
		if (ret != SLUICE_PARSE_OK)
			continue;
		check(!memcmp(&pkt.inner, &in.tuple, sizeof(in.tuple)),
		      "IPv%u proto %u: the embedded tuple is another (ports %04x %04x, not %04x %04x)",
		      family, in.tuple.proto, ntohs(pkt.inner.sport), ntohs(pkt.inner.dport),
		      ntohs(in.tuple.sport), ntohs(in.tuple.dport));
		check(pkt.inner_off == l3 + 8 && pkt.inner_l4_off == l3 + 8 + in.l4_off &&
			      pkt.inner_len == embedded,
		      "offsets %u %u %u", pkt.inner_off, pkt.inner_l4_off, pkt.inner_len);

		/* Cut below 8 bytes of transport, with lengths that agree. */
		out.n = l3 + 8 + in.l4_off + tap_below(8);
		if (v6) {
			put16(out.data + 4, out.n - 40);
		} else {
			put16(out.data + 2, out.n);
			ip4_check(out.data);
		}
		check(parse(out.data, out.n, out.n, family, &pkt) == SLUICE_PARSE_MALFORMED,
		      "IPv%u: %u bytes of the embedded transport", family,
		      out.n - l3 - 8 - in.l4_off);
	}
	ok_checks("ICMP errors name the connection they are about");
}

/* What is plain is OK, and says the same; what is OK and looks plain is plain. */
static void check_plain(const uint8_t *data, uint32_t len, uint32_t wire, uint8_t family)
{
	uint32_t l3 = family == SLUICE_IPV4 ? 20 : 40;
	struct sluice_packet pkt, same;
	struct sluice_plain pl = { 0 };
	uint8_t *window = malloc(len ? len : 1);
	bool plain, looks;
	int ret;

	memcpy(window, data, len);
	plain = family == SLUICE_IPV4 ? sluice_plain4(window, len, wire, &pl) :
					sluice_plain6(window, len, wire, &pl);
	ret = parse(data, len, wire, family, &pkt);
	looks = ret == SLUICE_PARSE_OK && pkt.l4_off == l3 &&
		(pkt.tuple.proto == SLUICE_PROTO_UDP ||
		 (pkt.tuple.proto == SLUICE_PROTO_TCP && (pkt.l4.flags & 0x16) == SLUICE_TCP_ACK));
	check(plain == looks, "IPv%u, protocol %u, %u of %u bytes: plain %d, parser %d", family,
	      data[family == SLUICE_IPV4 ? 9 : 6], len, wire, plain, ret);
	free(window);
	if (!plain || !looks)
		return;
	memset(&same, 0xaa, sizeof(same)); /* as parse() does */
	sluice_plain_packet(data, family, &pl, &same);
	same.need = pkt.need; /* says how far the parser had to look */
	check(!memcmp(&same, &pkt, sizeof(same)), "plain and parser differ");
}

static void test_plain(void)
{
	static const uint8_t protos[] = { SLUICE_PROTO_UDP, SLUICE_PROTO_TCP, SLUICE_PROTO_SCTP };
	uint32_t i, j, plain = 0;

	for (i = 0; i < 20000; i++) {
		uint8_t family = i & 1 ? SLUICE_IPV4 : SLUICE_IPV6;
		uint32_t flags = tap_below(4);
		struct built b;

		build(&b, family, protos[tap_below(3)], tap_below(8) ? 0 : 1);
		if (b.tuple.proto == SLUICE_PROTO_TCP && flags)
			b.data[b.l4_off + 13] = flags == 1 ? 0x10 : flags == 2 ? 0x18 : 0x11;
		check_plain(b.data, b.n, b.n, family);
		plain += b.tuple.proto != SLUICE_PROTO_SCTP;
		for (j = tap_below(4); j; j--)
			b.data[tap_below(b.n)] ^= (uint8_t)(1u << tap_below(8));
		if (family == SLUICE_IPV4 && (b.data[0] & 15) * 4U <= b.n && tap_below(4))
			ip4_check(b.data);
		check_plain(b.data, b.n, b.n, family);
		check_plain(b.data, tap_below(b.n + 1), b.n, family);
	}
	check(plain > 5000, "only %u", plain);
	ok_checks("the plain packet is what the parser says");
}

/*
 * A router may complain about a fragment; the first one has the ports, the others must not be taken
 * for a connection's.
 */
static void test_icmp_errors_about_fragments(void)
{
	uint32_t i;

	for (i = 0; i < 1000; i++) {
		uint8_t family = i & 1 ? SLUICE_IPV4 : SLUICE_IPV6;
		bool v6 = family == SLUICE_IPV6;
		uint32_t l3 = v6 ? 40 : 20, embedded, l4;
		struct sluice_packet pkt;
		struct built in, out;
		uint8_t *h;
		int ret;

		build(&in, family, protos[v6][tap_below(4)], 0);
		build(&out, family, v6 ? 58 : 1, 0);
		if (!v6) {
			out.data[0] = 0x45;
			out.l4_off = 20;
		}
		h = out.data + l3;
		random_bytes(h, 8);
		h[0] = v6 ? 2 : 3;
		l4 = 8 + in.l4_off;
		memcpy(h + 8, in.data, in.l4_off);
		if (v6) {
			h[8 + 6] = 44;
			random_bytes(h + l4, 8);
			h[l4] = in.tuple.proto;
			put16(h + l4 + 2, 1); /* offset 0, more follow */
			l4 += 8;
		} else {
			put16(h + 8 + 6, 0x2000);
		}
		embedded = 8 + tap_below(in.n - in.l4_off - 8 + 1);
		memcpy(h + l4, in.data + in.l4_off, embedded);
		out.n = l3 + l4 + embedded;
		finish(&out);
		ret = parse(out.data, out.n, out.n, family, &pkt);
		check(ret == SLUICE_PARSE_OK && pkt.flags == SLUICE_PACKET_ICMP_ERROR &&
			      !memcmp(&pkt.inner, &in.tuple, sizeof(in.tuple)) &&
			      pkt.inner_l4_off == l3 + l4,
		      "IPv%u proto %u: an error about a first fragment gives %d", family,
		      in.tuple.proto, ret);
		put16(h + (v6 ? l4 - 6 : 8 + 6), v6 ? 1600 : 200);
		ret = parse(out.data, out.n, out.n, family, &pkt);
		check(ret == SLUICE_PARSE_OK && !pkt.inner.sport && !pkt.inner.dport &&
			      pkt.inner.proto == in.tuple.proto,
		      "IPv%u: about a later one gives %d", family, ret);
		out.n = l3 + l4 - tap_below(8);
		put16(out.data + (v6 ? 4 : 2), v6 ? out.n - 40 : out.n);
		if (!v6)
			ip4_check(out.data);
		ret = parse(out.data, out.n, out.n, family, &pkt);
		check(ret == SLUICE_PARSE_MALFORMED, "IPv%u: cut, it gives %d", family, ret);
	}
	ok_checks("ICMP errors about fragments name the connection if they can");
}

/* Anything: no read outside the window (the sanitizer sees), and OK means all headers are there. */
static void test_noise(void)
{
	uint32_t i, j;

	for (i = 0; i < 20000; i++) {
		uint8_t family = i & 1 ? SLUICE_IPV4 : SLUICE_IPV6;
		struct sluice_packet pkt;
		struct built b;
		uint32_t len;
		int ret;

		build(&b, family, protos[family == SLUICE_IPV6][tap_below(5)], tap_below(4));
		for (j = tap_below(6); j; j--)
			b.data[tap_below(b.n)] = (uint8_t)tap_random();
		if (family == SLUICE_IPV4 && (b.data[0] & 15) * 4U <= b.n)
			ip4_check(b.data);
		len = tap_below(b.n + 1);
		ret = parse(b.data, len, b.n, family, &pkt);
		check(ret >= SLUICE_PARSE_OK && ret <= SLUICE_PARSE_UNSUPPORTED, "returned %d",
		      ret);
		if (ret == SLUICE_PARSE_OK)
			check(pkt.l4_off <= b.n && pkt.l4_off >= (family == SLUICE_IPV4 ? 20 : 40),
			      "transport at %u of %u", pkt.l4_off, b.n);
		if (ret == SLUICE_PARSE_MORE)
			check(pkt.need > len && pkt.need <= b.n, "needs %u of %u", pkt.need, b.n);
	}
	ok_checks("noise is parsed inside its window");
}

int main(void)
{
	tap_seed();
	test_windows();
	test_truncated();
	test_short_headers();
	test_broken_fields();
	test_icmp_errors();
	test_plain();
	test_icmp_errors_about_fragments();
	test_noise();
	return done_testing();
}
