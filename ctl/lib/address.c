// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sluice_address_parse(const char *text, struct sluice_dp_addr *out)
{
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &out->addr) == 1) {
		out->family = SLUICE_IPV4;
		return true;
	}
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET6, text, &out->addr) != 1)
		return false;
	if (!out->addr.w[0] && !out->addr.w[1] && out->addr.w[2] == sluice_htonl(0xffff))
		return false;
	out->family = SLUICE_IPV6;
	return true;
}

bool sluice_cidr_parse(const char *text, struct sluice_cidr *out)
{
	const char *slash = strchr(text, '/');
	char buf[SLUICE_ADDR_TEXT];
	struct sluice_dp_addr a;
	unsigned long plen;
	char *end;

	if (!slash || (size_t)(slash - text) >= sizeof(buf) || slash[1] < '0' || slash[1] > '9')
		return false;
	if (slash[1] == '0' && slash[2])
		return false;
	memcpy(buf, text, slash - text);
	buf[slash - text] = 0;
	if (!sluice_address_parse(buf, &a))
		return false;
	plen = strtoul(slash + 1, &end, 10);
	if (*end || plen > sluice_family_bits(a.family))
		return false;
	memset(out, 0, sizeof(*out));
	out->addr = a.addr;
	out->family = a.family;
	out->plen = plen;
	sluice_addr_mask(&out->addr, plen);
	return true;
}

const char *sluice_address_format(const struct sluice_addr *addr, uint8_t family, char *buf)
{
	if (!inet_ntop(family == SLUICE_IPV4 ? AF_INET : AF_INET6, addr, buf, SLUICE_ADDR_TEXT))
		strcpy(buf, "?");
	return buf;
}

const char *sluice_address_port_format(const struct sluice_addr *addr, uint8_t family,
				       uint16_t port, char *buf)
{
	char a[SLUICE_ADDR_TEXT];

	sluice_address_format(addr, family, a);
	snprintf(buf, SLUICE_ADDR_TEXT, family == SLUICE_IPV4 ? "%.45s:%u" : "[%.45s]:%u", a, port);
	return buf;
}

const char *sluice_cidr_format(const struct sluice_cidr *cidr, char *buf)
{
	char a[SLUICE_ADDR_TEXT];

	sluice_address_format(&cidr->addr, cidr->family, a);
	snprintf(buf, SLUICE_ADDR_TEXT, "%.45s/%u", a, cidr->plen);
	return buf;
}

bool sluice_cidr_contains(const struct sluice_cidr *cidr, const struct sluice_addr *addr,
			  uint8_t family)
{
	struct sluice_addr a = *addr;

	if (family != cidr->family)
		return false;
	sluice_addr_mask(&a, cidr->plen);
	return sluice_addr_equal(&a, &cidr->addr);
}

int sluice_address_compare(const struct sluice_dp_addr *a, const struct sluice_dp_addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(&a->addr, &b->addr, sizeof(a->addr));
}

uint8_t sluice_protocol_parse(const char *name)
{
	if (!strcmp(name, "TCP"))
		return SLUICE_PROTO_TCP;
	if (!strcmp(name, "UDP"))
		return SLUICE_PROTO_UDP;
	if (!strcmp(name, "SCTP"))
		return SLUICE_PROTO_SCTP;
	return 0;
}

const char *sluice_protocol_name(uint8_t proto)
{
	switch (proto) {
	case SLUICE_PROTO_TCP:
		return "TCP";
	case SLUICE_PROTO_UDP:
		return "UDP";
	case SLUICE_PROTO_SCTP:
		return "SCTP";
	case SLUICE_PROTO_ICMP:
		return "ICMP";
	case SLUICE_PROTO_ICMPV6:
		return "ICMPv6";
	}
	return "?";
}
