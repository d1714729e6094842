// SPDX-License-Identifier: GPL-2.0-only
#include "cni/layout.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

const uint8_t cni_host_mac[6] = { 0xee, 0xee, 0xee, 0xee, 0xee, 0xee };

struct cni_address cni_gateway(int family)
{
	return family == AF_INET ?
		       (struct cni_address){ AF_INET, { 169, 254, 1, 1 }, 32 } :
		       (struct cni_address){ AF_INET6, { [0] = 0xfe, [1] = 0x80, [15] = 1 }, 128 };
}

struct cni_address cni_default_route(int family)
{
	return (struct cni_address){ family, { 0 }, 0 };
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3ull;
	return hash;
}

void cni_host_name(const struct cni_attachment *a, char name[IFNAMSIZ])
{
	uint64_t hash = 0xcbf29ce484222325ull;

	hash = hash_text(hash, a->container_id);
	hash = hash_text(hash, "/"); /* neither name can hold one: "a","bc" is not "ab","c" */
	hash = hash_text(hash, a->ifname);
	hash ^= hash >> 44; /* fold the bits that are cut off */
	snprintf(name, IFNAMSIZ, "sl%011llx", (unsigned long long)(hash & 0xfffffffffffull));
}

bool cni_is_host_end(const struct cni_link *link)
{
	return strlen(link->name) == 13 && !strncmp(link->name, "sl", 2) &&
	       strspn(link->name + 2, "0123456789abcdef") == 11 && !strcmp(link->kind, "veth") &&
	       !memcmp(link->mac, cni_host_mac, sizeof(link->mac));
}

int cni_alias_write(const char *network, const struct cni_attachment *a,
		    char alias[CNI_ALIAS_MAX + 1], struct sluice_err *err)
{
	if (snprintf(alias, CNI_ALIAS_MAX + 1, "sluice %s %s %s", network, a->container_id,
		     a->ifname) <= CNI_ALIAS_MAX)
		return 0;
	return sluice_err_set(err, ENAMETOOLONG,
			      "network name and container id are together longer than %zu bytes",
			      CNI_ALIAS_MAX - strlen("sluice   ") - strlen(a->ifname));
}

bool cni_alias_read(char *alias, const char **network, struct cni_attachment *a)
{
	char *rest = alias;

	if (strcmp(strsep(&rest, " "), "sluice"))
		return false;
	*network = strsep(&rest, " ");
	a->container_id = strsep(&rest, " ");
	a->ifname = strsep(&rest, " ");
	return *network && a->container_id && a->ifname && !rest;
}
