// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/attachment.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"

static void free_attachment(struct attachment *a)
{
	free(a->ifname);
	free(a->container);
	free(a->ns);
	free(a->pod);
	free(a->addrs);
	free(a);
}

struct attachment *attachments_add(struct attachments *table, const struct attachment *a)
{
	struct attachment *copy = sluice_zalloc(sizeof(*copy));

	copy->ifindex = a->ifindex;
	copy->ifname = sluice_strdup(a->ifname);
	copy->container = sluice_strdup(a->container);
	copy->ns = sluice_strdup(a->ns);
	copy->pod = sluice_strdup(a->pod);
	copy->addrs = sluice_memdup(a->addrs, a->n_addrs * sizeof(*a->addrs));
	copy->n_addrs = a->n_addrs;
	sluice_grow(table->v, table->n, table->cap);
	table->v[table->n++] = copy;
	return copy;
}

void attachments_remove(struct attachments *table, struct attachment *a)
{
	for (size_t i = 0; i < table->n; i++) {
		if (table->v[i] == a) {
			table->v[i] = table->v[--table->n];
			free_attachment(a);
			return;
		}
	}
}

void attachments_clear(struct attachments *table)
{
	for (size_t i = 0; i < table->n; i++)
		free_attachment(table->v[i]);
	free(table->v);
	*table = (struct attachments){ 0 };
}

struct attachment *attachments_by_container(const struct attachments *table, const char *container)
{
	for (size_t i = 0; i < table->n; i++)
		if (!strcmp(table->v[i]->container, container))
			return table->v[i];
	return NULL;
}

struct attachment *attachments_by_ifindex(const struct attachments *table, uint32_t ifindex)
{
	for (size_t i = 0; i < table->n; i++)
		if (table->v[i]->ifindex == ifindex)
			return table->v[i];
	return NULL;
}

struct attachment *attachments_by_addr(const struct attachments *table,
				       const struct sluice_dp_addr *addr)
{
	for (size_t i = 0; i < table->n; i++)
		for (size_t j = 0; j < table->v[i]->n_addrs; j++)
			if (table->v[i]->addrs[j].family == addr->family &&
			    sluice_addr_equal(&table->v[i]->addrs[j].addr, &addr->addr))
				return table->v[i];
	return NULL;
}
