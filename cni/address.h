/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An IPv4 or IPv6 address with a prefix length: a CIDR, or one address (32 or 128 bits).
 * Bytes are in network order; an IPv4 address uses the first four, the rest are zero, so that two
 * of them compare with memcmp.
 */
#ifndef SLUICE_CNI_ADDRESS_H
#define SLUICE_CNI_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/lib/err.h"

struct cni_address {
	int family; /* AF_INET or AF_INET6 */
	uint8_t bytes[16];
	uint8_t prefix; /* bits */
};

/* Room for "ffff:...:255.255.255.255/128" and its terminator. */
#define CNI_ADDRESS_TEXT 52

/* Bytes and bits of an address of that family. */
int cni_address_bytes(const struct cni_address *a);
int cni_address_bits(const struct cni_address *a);

/* "10.1.0.5" or "10.1.0.0/16"; without a length it is one address. */
int cni_address_parse(struct cni_address *a, const char *text, struct sluice_err *err);

/* Write "10.1.0.5", or with its prefix length; both return buf. */
const char *cni_address_text(const struct cni_address *a, char buf[CNI_ADDRESS_TEXT]);
const char *cni_address_cidr(const struct cni_address *a, char buf[CNI_ADDRESS_TEXT]);

/* The same address alone, with the full prefix length. */
struct cni_address cni_address_host(const struct cni_address *a);

bool cni_address_equal(const struct cni_address *a, const struct cni_address *b);
bool cni_address_within(const struct cni_address *a, const struct cni_address *cidr);
bool cni_address_has_host_bits(const struct cni_address *cidr);

/* Order of two addresses of one family, as memcmp. */
int cni_address_compare(const struct cni_address *a, const struct cni_address *b);

/* a + 1, wrapping to all zeroes. */
void cni_address_increment(struct cni_address *a);

/*
 * First and last address of a CIDR that pods may have. Not among them: the all-zero host (network
 * address, subnet-router anycast), the one after it (the node's own, by custom), and the IPv4
 * broadcast address. Ranges of one or two addresses (/31, /32, /127, /128) are used whole.
 * 10.1.0.0/30 gives 10.1.0.2 .. 10.1.0.2; fd00::/126 gives fd00::2 .. fd00::3.
 */
void cni_address_usable(const struct cni_address *cidr, struct cni_address *first,
			struct cni_address *last);

#endif
