// SPDX-License-Identifier: GPL-2.0-only
/* core/tuple.h against bit by bit oracles, and against the RFCs' own prefixes. */
#include <arpa/inet.h>

#include "core/tuple.h"
#include "tap.h"

static struct sluice_addr addr(const char *text)
{
	struct sluice_addr a = { { 0 } };

	if (inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, &a) != 1)
		abort();
	return a;
}

static uint8_t family_of(const char *text)
{
	return strchr(text, ':') ? SLUICE_IPV6 : SLUICE_IPV4;
}

static void random_addr(struct sluice_addr *a, uint8_t family)
{
	uint32_t i;

	memset(a, 0, sizeof(*a));
	for (i = 0; i < (family == SLUICE_IPV4 ? 1U : 4U); i++)
		a->w[i] = (uint32_t)tap_random();
}

static void random_tuple(struct sluice_tuple *t)
{
	memset(t, 0, sizeof(*t));
	t->family = tap_one_in(2) ? SLUICE_IPV4 : SLUICE_IPV6;
	random_addr(&t->src, t->family);
	random_addr(&t->dst, t->family);
	t->sport = (uint16_t)tap_random();
	t->dport = (uint16_t)tap_random();
	t->proto = (uint8_t)tap_random();
}

static void test_invert(void)
{
	uint32_t i;

	for (i = 0; i < 10000; i++) {
		struct sluice_tuple t, inv, back;

		random_tuple(&t);
		memset(&inv, 0xff, sizeof(inv));
		memset(&back, 0xff, sizeof(back));
		sluice_tuple_invert(&inv, &t);
		check(!memcmp(&inv.src, &t.dst, 16) && !memcmp(&inv.dst, &t.src, 16),
		      "addresses are not swapped");
		check(inv.sport == t.dport && inv.dport == t.sport, "ports are not swapped");
		check(inv.proto == t.proto && inv.family == t.family, "the protocol changed");
		sluice_tuple_invert(&back, &inv);
		check(!memcmp(&back, &t, sizeof(t)), "inverting twice is not the identity");
	}
	ok_checks("invert swaps the ends, twice is nothing, and no byte stays unset");
}

/* Equality is that of the bytes: any single bit that differs (padding apart) is seen. */
static void test_equal(void)
{
	uint32_t i, bit;

	for (i = 0; i < 50; i++) {
		struct sluice_tuple a, b;

		random_tuple(&a);
		b = a;
		check(sluice_tuple_equal(&a, &b), "a copy is not equal");
		for (bit = 0; bit < 8 * offsetof(struct sluice_tuple, pad); bit++) {
			((uint8_t *)&b)[bit / 8] ^= 1U << (bit % 8);
			check(!sluice_tuple_equal(&a, &b), "bit %u is not compared", bit);
			if (bit < 128)
				check(!sluice_addr_equal(&a.src, &b.src), "bit %u of addr", bit);
			b = a;
		}
	}
	ok_checks("equal compares every bit");
}

static void test_mask(void)
{
	uint32_t i, plen, bit;

	for (i = 0; i < 40; i++) {
		uint8_t family = i & 1 ? SLUICE_IPV4 : SLUICE_IPV6;
		struct sluice_addr a;

		random_addr(&a, family);
		for (plen = 0; plen <= sluice_family_bits(family); plen++) {
			struct sluice_addr want = a, got = a;

			for (bit = plen; bit < 128; bit++)
				((uint8_t *)&want)[bit / 8] &= ~(0x80 >> (bit % 8));
			sluice_addr_mask(&got, plen);
			check(!memcmp(&want, &got, sizeof(got)), "/%u of an IPv%u address", plen,
			      family);
		}
	}
	ok_checks("mask clears exactly the bits behind the prefix, /0 to /32 and /128");
	is_u64(sluice_family_bits(SLUICE_IPV4), 32, "IPv4 has 32 bits");
	is_u64(sluice_family_bits(SLUICE_IPV6), 128, "IPv6 has 128 bits");
}

struct prefix {
	const char *addr;
	uint32_t plen;
};

/* The oracle of the three predicates: is the address in one of these prefixes? */
static bool in_prefixes(const struct sluice_addr *a, uint8_t family, const struct prefix *p,
			uint32_t n)
{
	uint32_t i, bit;

	for (i = 0; i < n; i++) {
		struct sluice_addr want = addr(p[i].addr);

		if (family_of(p[i].addr) != family)
			continue;
		for (bit = 0; bit < p[i].plen; bit++)
			if ((((uint8_t *)a)[bit / 8] ^ ((uint8_t *)&want)[bit / 8]) &
			    (0x80 >> (bit % 8)))
				break;
		if (bit == p[i].plen)
			return true;
	}
	return false;
}

static const struct prefix martian[] = {
	{ "0.0.0.0", 8 }, { "127.0.0.0", 8 }, { "224.0.0.0", 4 }, { "240.0.0.0", 4 },
	{ "::", 128 },	  { "::1", 128 },     { "ff00::", 8 },
};
static const struct prefix multicast[] = {
	{ "224.0.0.0", 4 },
	{ "255.255.255.255", 32 },
	{ "ff00::", 8 },
};
static const struct prefix link_local[] = { { "169.254.0.0", 16 }, { "fe80::", 10 } };

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void compare(const struct sluice_addr *a, uint8_t family)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(family == SLUICE_IPV4 ? AF_INET : AF_INET6, a, text, sizeof(text));
	check(sluice_addr_martian_source(a, family) ==
		      in_prefixes(a, family, martian, COUNT(martian)),
	      "%s: martian", text);
	check(sluice_addr_multicast(a, family) ==
		      in_prefixes(a, family, multicast, COUNT(multicast)),
	      "%s: multicast", text);
	check(sluice_addr_link_local(a, family) ==
		      in_prefixes(a, family, link_local, COUNT(link_local)),
	      "%s: link local", text);
}

/* The first and last address of each prefix and the ones just outside, then random ones. */
static void test_predicates(const struct prefix *p, uint32_t n)
{
	uint32_t i, j, bit;

	for (i = 0; i < n; i++) {
		uint8_t family = family_of(p[i].addr);
		uint32_t bits = sluice_family_bits(family);
		struct sluice_addr first = addr(p[i].addr), last = first;

		for (bit = p[i].plen; bit < bits; bit++)
			((uint8_t *)&last)[bit / 8] |= 0x80 >> (bit % 8);
		compare(&first, family);
		compare(&last, family);
		for (j = 0; j < bits; j++) { /* each neighbour by one bit */
			struct sluice_addr x = first, y = last;

			((uint8_t *)&x)[j / 8] ^= 0x80 >> (j % 8);
			((uint8_t *)&y)[j / 8] ^= 0x80 >> (j % 8);
			compare(&x, family);
			compare(&y, family);
		}
	}
}

int main(void)
{
	uint32_t i, first;

	tap_seed();
	test_invert();
	test_equal();
	test_mask();
	test_predicates(martian, COUNT(martian));
	test_predicates(multicast, COUNT(multicast));
	test_predicates(link_local, COUNT(link_local));
	for (first = 0; first < 65536; first++) { /* all that the first 16 bits decide */
		struct sluice_addr a;

		random_addr(&a, SLUICE_IPV4);
		a.w[0] = (a.w[0] & htonl(0xffff)) | htonl(first << 16);
		compare(&a, SLUICE_IPV4);
		random_addr(&a, SLUICE_IPV6);
		a.w[0] = (a.w[0] & htonl(0xffff)) | htonl(first << 16);
		compare(&a, SLUICE_IPV6);
	}
	for (i = 0; i < 1000; i++) { /* only the last word set: around :: and ::1 */
		struct sluice_addr a = { { 0, 0, 0, htonl(tap_below(4)) } };

		a.w[tap_below(4)] |= tap_one_in(2) ? htonl(1U << tap_below(32)) : 0;
		compare(&a, SLUICE_IPV6);
	}
	ok_checks("martian, multicast and link local are their RFCs' prefixes, exactly");
	return done_testing();
}
