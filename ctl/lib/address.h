/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Text and addresses, as Kubernetes writes them. Addresses are struct sluice_addr: network byte
 * order, an IPv4 address in the first word.
 */
#ifndef SLUICE_CTL_LIB_ADDRESS_H
#define SLUICE_CTL_LIB_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/tuple.h"
#include "ctl/lib/dataplane.h"

/* Longest text of an address with port: "[" + 45 + "]:65535" + NUL. */
#define SLUICE_ADDR_TEXT 64

struct sluice_cidr {
	struct sluice_addr addr; /* bits behind the prefix are zero */
	uint8_t plen;
	uint8_t family;
};

/* IPv4-mapped IPv6 addresses are refused: the API server refuses them in new objects too. */
bool sluice_address_parse(const char *text, struct sluice_dp_addr *out);
/* Host bits are accepted and cleared, as the API server accepts them. */
bool sluice_cidr_parse(const char *text, struct sluice_cidr *out);

/* All write into buf (SLUICE_ADDR_TEXT bytes) and return it. */
const char *sluice_address_format(const struct sluice_addr *addr, uint8_t family, char *buf);
const char *sluice_address_port_format(const struct sluice_addr *addr, uint8_t family,
				       uint16_t port, char *buf);
const char *sluice_cidr_format(const struct sluice_cidr *cidr, char *buf);

bool sluice_cidr_contains(const struct sluice_cidr *cidr, const struct sluice_addr *addr,
			  uint8_t family);
int sluice_address_compare(const struct sluice_dp_addr *a, const struct sluice_dp_addr *b);

/* 0 for a protocol that Kubernetes does not name. */
uint8_t sluice_protocol_parse(const char *name);
/* "TCP", "UDP", "SCTP", "ICMP", "ICMPv6", else "?". */
const char *sluice_protocol_name(uint8_t proto);

#endif
