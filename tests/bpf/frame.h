/* SPDX-License-Identifier: GPL-2.0-only */
/* Frames as a test states them, and what is in those that come back. Checksums are summed anew, by no code of ours. */
#ifndef SLUICE_TESTS_FRAME_H
#define SLUICE_TESTS_FRAME_H

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/packet.h"

#define FRAME_L3 14

struct frame {
	uint8_t b[4096];
	uint32_t len;
};

/* What a frame is made of; all that is 0 or NULL is as usual. */
struct spec {
	const char *src, *dst; /* addresses: their form says the family */
	uint16_t sport, dport; /* for echo: sport is the identifier */
	uint8_t proto;
	uint8_t ttl; /* 64 */
	uint8_t flags; /* of TCP */
	uint8_t type, code; /* of ICMP */
	uint32_t seq, ack;
	uint16_t window; /* 1000 */
	uint32_t payload; /* bytes */
	bool no_sum; /* UDP: checksum 0 */
	const struct frame *inner; /* of an ICMP error */
	uint32_t inner_len; /* bytes of it; all */
};

static uint32_t frame_sum(uint32_t sum, const void *data, uint32_t len)
{
	const uint8_t *p = data;
	uint32_t i;

	for (i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static bool frame_is4(const struct frame *f)
{
	return f->b[FRAME_L3] >> 4 == 4;
}

static uint32_t frame_l4(const struct frame *f)
{
	return FRAME_L3 + (frame_is4(f) ? (f->b[FRAME_L3] & 15u) * 4 : 40);
}

static uint8_t frame_proto(const struct frame *f)
{
	return frame_is4(f) ? f->b[FRAME_L3 + 9] : f->b[FRAME_L3 + 6];
}

static uint8_t frame_ttl(const struct frame *f)
{
	return frame_is4(f) ? f->b[FRAME_L3 + 8] : f->b[FRAME_L3 + 7];
}

/* Of the transport header and all behind it, pseudo-header included where the protocol has one. */
static uint32_t frame_l4_sum(const struct frame *f)
{
	uint32_t l4 = frame_l4(f), len = f->len - l4, sum = 0;
	uint8_t proto = frame_proto(f);

	if (proto != IPPROTO_ICMP) {
		sum = frame_is4(f) ? frame_sum(0, f->b + FRAME_L3 + 12, 8) :
				     frame_sum(0, f->b + FRAME_L3 + 8, 32);
		sum += proto + len;
	}
	return frame_sum(sum, f->b + l4, len);
}

static uint32_t frame_check_off(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	}
	return 2;
}

/* Are all its checksums right? A UDP checksum of 0 is none. */
static bool frame_sums_right(const struct frame *f)
{
	uint8_t proto = frame_proto(f);

	if (frame_is4(f) && frame_sum(0, f->b + FRAME_L3, frame_l4(f) - FRAME_L3) != 0xffff)
		return false;
	if (proto == IPPROTO_SCTP)
		return true;
	if (proto == IPPROTO_UDP && !f->b[frame_l4(f) + 6] && !f->b[frame_l4(f) + 7])
		return true;
	return frame_l4_sum(f) == 0xffff;
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* Sums an IPv4 header and the transport anew. */
static void frame_finish(struct frame *f)
{
	uint32_t l4 = frame_l4(f), check = l4 + frame_check_off(frame_proto(f));

	if (frame_is4(f)) {
		put16(f->b + FRAME_L3 + 2, f->len - FRAME_L3);
		put16(f->b + FRAME_L3 + 10, 0);
		put16(f->b + FRAME_L3 + 10, ~frame_sum(0, f->b + FRAME_L3, l4 - FRAME_L3));
	} else {
		put16(f->b + FRAME_L3 + 4, f->len - l4);
	}
	if (frame_proto(f) == IPPROTO_SCTP)
		return;
	put16(f->b + check, 0);
	put16(f->b + check, ~frame_l4_sum(f));
}

static struct frame frame_make(const struct spec *s)
{
	bool v4 = !strchr(s->src, ':');
	struct frame f = {};
	uint8_t *p, *l4;
	uint32_t i, n;

	memset(f.b, 2, 12); /* both ends' hardware addresses; whoever sends it sets the first */
	put16(f.b + 12, v4 ? ETHERTYPE_IP : ETHERTYPE_IPV6);
	p = f.b + FRAME_L3;
	if (v4) {
		p[0] = 0x45;
		put16(p + 4, 1);
		p[8] = s->ttl ? s->ttl : 64;
		p[9] = s->proto;
		inet_pton(AF_INET, s->src, p + 12);
		inet_pton(AF_INET, s->dst, p + 16);
		l4 = p + 20;
	} else {
		p[0] = 0x60;
		p[6] = s->proto;
		p[7] = s->ttl ? s->ttl : 64;
		inet_pton(AF_INET6, s->src, p + 8);
		inet_pton(AF_INET6, s->dst, p + 24);
		l4 = p + 40;
	}
	switch (s->proto) {
	case IPPROTO_TCP:
		n = 20;
		put16(l4, s->sport);
		put16(l4 + 2, s->dport);
		put32(l4 + 4, s->seq);
		put32(l4 + 8, s->ack);
		l4[12] = 5 << 4;
		l4[13] = s->flags;
		put16(l4 + 14, s->window ? s->window : 1000);
		break;
	case IPPROTO_UDP:
		n = 8;
		put16(l4, s->sport);
		put16(l4 + 2, s->dport);
		put16(l4 + 4, 8 + s->payload);
		break;
	case IPPROTO_SCTP:
		n = 16;
		put16(l4, s->sport);
		put16(l4 + 2, s->dport);
		l4[12] = s->flags;
		put16(l4 + 14, 4);
		break;
	default:
		n = 8;
		l4[0] = s->type;
		l4[1] = s->code;
		if (!s->inner)
			put16(l4 + 4, s->sport);
	}
	if (s->inner) {
		uint32_t bytes = s->inner_len ? s->inner_len : s->inner->len - FRAME_L3;

		memcpy(l4 + n, s->inner->b + FRAME_L3, bytes);
		n += bytes;
	}
	for (i = 0; i < s->payload; i++)
		l4[n + i] = (uint8_t)(i * 7 + 1);
	f.len = (uint32_t)(l4 - f.b) + n + s->payload;
	frame_finish(&f);
	if (s->no_sum)
		put16(l4 + 6, 0);
	return f;
}

/* Is it from there to there? Ports are those of TCP, UDP and SCTP. */
static bool frame_is(const struct frame *f, const char *src, uint16_t sport, const char *dst,
		     uint16_t dport)
{
	uint8_t a[16], b[16];
	const uint8_t *p = f->b + FRAME_L3, *l4 = f->b + frame_l4(f);

	if (frame_is4(f)) {
		if (inet_pton(AF_INET, src, a) != 1 || inet_pton(AF_INET, dst, b) != 1 ||
		    memcmp(a, p + 12, 4) || memcmp(b, p + 16, 4))
			return false;
	} else {
		if (inet_pton(AF_INET6, src, a) != 1 || inet_pton(AF_INET6, dst, b) != 1 ||
		    memcmp(a, p + 8, 16) || memcmp(b, p + 24, 16))
			return false;
	}
	if (frame_proto(f) == IPPROTO_ICMP || frame_proto(f) == IPPROTO_ICMPV6)
		return true;
	return get16(l4) == sport && get16(l4 + 2) == dport;
}

static struct sluice_addr addr_of(const char *text, uint8_t *family)
{
	struct sluice_addr a = {};

	*family = strchr(text, ':') ? SLUICE_IPV6 : SLUICE_IPV4;
	inet_pton(*family == SLUICE_IPV4 ? AF_INET : AF_INET6, text, &a);
	return a;
}

#endif
