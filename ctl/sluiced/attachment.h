/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pods that are attached to this node: sluiced's own copy of the kernel's endpoints.
 *
 * It is learned from the kernel at the start (attached pods survive a restart of sluiced), and kept
 * so that the kernel can be told all of it again (endpoints do not survive a reload of the module).
 * attachment_file.h is for those who do both at once.
 */
#ifndef SLUICED_ATTACHMENT_H
#define SLUICED_ATTACHMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/lib/dataplane.h"

struct attachment {
	uint32_t ifindex; /* of the host end; unique */
	char *ifname; /* of the host end, when it was attached */
	char *container; /* "containerID/ifname"; unique */
	char *ns; /* "" with pod "": no pod is known behind it */
	char *pod;
	struct sluice_dp_addr *addrs;
	size_t n_addrs;
};

/* All zero is an empty table. */
struct attachments {
	struct attachment **v;
	size_t n;
	size_t cap;
};

/* Copies what it is given. Neither its ifindex nor its container may be there. */
struct attachment *attachments_add(struct attachments *table, const struct attachment *a);
void attachments_remove(struct attachments *table, struct attachment *a); /* and frees it */
void attachments_clear(struct attachments *table);

/* Each returns NULL if there is none. A node has some hundred pods: a walk is fast enough. */
struct attachment *attachments_by_container(const struct attachments *table, const char *container);
struct attachment *attachments_by_ifindex(const struct attachments *table, uint32_t ifindex);
struct attachment *attachments_by_addr(const struct attachments *table,
				       const struct sluice_dp_addr *addr);

#endif
