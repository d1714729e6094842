// SPDX-License-Identifier: GPL-2.0-only
#include "cni/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cni_address_bytes(const struct cni_address *a)
{
	return a->family == AF_INET ? 4 : 16;
}

int cni_address_bits(const struct cni_address *a)
{
	return cni_address_bytes(a) * 8;
}

int cni_address_parse(struct cni_address *a, const char *text, struct sluice_err *err)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char host[INET6_ADDRSTRLEN];
	int bits = 0;

	memset(a, 0, sizeof(*a));
	if (len >= sizeof(host))
		return sluice_err_set(err, EINVAL, "\"%s\" is not an address", text);
	memcpy(host, text, len);
	host[len] = '\0';
	a->family = strchr(host, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(a->family, host, a->bytes) != 1)
		return sluice_err_set(err, EINVAL, "\"%s\" is not an address", text);
	a->prefix = cni_address_bits(a);
	if (!slash)
		return 0;

	/* Digits only, no leading zero: strtol would take "+8", " 8" and "010". */
	for (const char *p = slash + 1; *p || p == slash + 1; p++) {
		if (*p < '0' || *p > '9' || (p == slash + 1 && *p == '0' && p[1]))
			return sluice_err_set(err, EINVAL, "\"%s\" has a bad prefix length", text);
		bits = bits * 10 + *p - '0';
		if (bits > cni_address_bits(a))
			return sluice_err_set(err, EINVAL, "\"%s\" has a prefix longer than %d",
					      text, cni_address_bits(a));
	}
	a->prefix = bits;
	return 0;
}

const char *cni_address_text(const struct cni_address *a, char buf[CNI_ADDRESS_TEXT])
{
	inet_ntop(a->family, a->bytes, buf, CNI_ADDRESS_TEXT);
	return buf;
}

const char *cni_address_cidr(const struct cni_address *a, char buf[CNI_ADDRESS_TEXT])
{
	size_t len;

	cni_address_text(a, buf);
	len = strlen(buf);
	snprintf(buf + len, CNI_ADDRESS_TEXT - len, "/%u", a->prefix);
	return buf;
}

struct cni_address cni_address_host(const struct cni_address *a)
{
	struct cni_address host = *a;

	host.prefix = cni_address_bits(a);
	return host;
}

int cni_address_compare(const struct cni_address *a, const struct cni_address *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool cni_address_equal(const struct cni_address *a, const struct cni_address *b)
{
	return a->family == b->family && !cni_address_compare(a, b);
}

/* The bits of byte i that belong to the prefix. */
static uint8_t mask_byte(const struct cni_address *cidr, int i)
{
	int bits = cidr->prefix - i * 8;

	return bits >= 8 ? 0xff : bits <= 0 ? 0 : (uint8_t)(0xff << (8 - bits));
}

bool cni_address_within(const struct cni_address *a, const struct cni_address *cidr)
{
	if (a->family != cidr->family)
		return false;
	for (int i = 0; i < cni_address_bytes(a); i++)
		if ((a->bytes[i] ^ cidr->bytes[i]) & mask_byte(cidr, i))
			return false;
	return true;
}

bool cni_address_has_host_bits(const struct cni_address *cidr)
{
	for (int i = 0; i < cni_address_bytes(cidr); i++)
		if (cidr->bytes[i] & (uint8_t)~mask_byte(cidr, i))
			return true;
	return false;
}

void cni_address_increment(struct cni_address *a)
{
	for (int i = cni_address_bytes(a) - 1; i >= 0; i--)
		if (++a->bytes[i])
			return;
}

void cni_address_usable(const struct cni_address *cidr, struct cni_address *first,
			struct cni_address *last)
{
	int n = cni_address_bytes(cidr);

	*first = *last = cni_address_host(cidr);
	for (int i = 0; i < n; i++) {
		first->bytes[i] &= mask_byte(cidr, i);
		last->bytes[i] |= (uint8_t)~mask_byte(cidr, i);
	}
	if (cidr->prefix >= cni_address_bits(cidr) - 1)
		return;
	first->bytes[n - 1] += 2; /* at least two host bits are zero: no carry */
	if (cidr->family == AF_INET)
		last->bytes[n - 1] -= 1; /* the host bits are all ones: no borrow */
}
