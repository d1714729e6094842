// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/uplink.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/interfaces.h"
#include "ctl/sluiced/controller.h"

size_t uplinks_find(const struct options *options, uint32_t **indexes, char **problem)
{
	struct sluice_interfaces list = { 0 };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	sluice_alloc_check(out);
	for (size_t i = 0; i < options->n_uplinks; i++) {
		uint32_t ifindex = if_nametoindex(options->uplinks[i]);

		if (ifindex)
			sluice_interfaces_add(&list, ifindex);
		else
			fprintf(out, "%suplink %s: there is no such interface", len ? "; " : "",
				options->uplinks[i]);
		fflush(out);
	}
	if (!options->n_uplinks && options->dataplane != PLANE_MEMORY) {
		if (!sluice_interfaces_of_default_routes(&list))
			fputs("the routes cannot be read, so that no uplink is known", out);
		else if (!list.n)
			fputs("there is no default route, and no --uplink is given", out);
	}
	fclose(out);
	if (!*text) {
		free(text);
		text = NULL;
	}
	*problem = text;
	*indexes = list.v;
	return list.n;
}

/* An address that other nodes may answer to; the kernel lists an interface's first one first. */
static bool take_address(const struct ifaddrs *i, struct sluice_addr masquerade[2])
{
	const struct sockaddr_in6 *in6 = (const void *)i->ifa_addr;
	const struct sockaddr_in *in = (const void *)i->ifa_addr;
	struct sluice_addr addr = { 0 };
	bool ipv6 = i->ifa_addr->sa_family == AF_INET6;

	if (ipv6)
		memcpy(&addr, &in6->sin6_addr, sizeof(in6->sin6_addr));
	else
		memcpy(&addr, &in->sin_addr, sizeof(in->sin_addr));
	if (sluice_addr_link_local(&addr, ipv6 ? SLUICE_IPV6 : SLUICE_IPV4))
		return false;
	masquerade[ipv6] = addr;
	return true;
}

void uplinks_addresses(const uint32_t *indexes, size_t n, struct sluice_addr masquerade[2])
{
	bool has[2] = { false, false };
	struct ifaddrs *all;

	memset(masquerade, 0, 2 * sizeof(*masquerade));
	if (getifaddrs(&all))
		return;
	for (size_t k = 0; k < n; k++) {
		for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
			int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
			bool *known = &has[family == AF_INET6];

			if ((family == AF_INET || family == AF_INET6) && !*known &&
			    if_nametoindex(i->ifa_name) == indexes[k])
				*known = take_address(i, masquerade);
		}
	}
	freeifaddrs(all);
}
