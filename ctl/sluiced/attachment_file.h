/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The attachments as a file beside the socket, "<socket>.attachments".
 *
 * The kernel's endpoints survive a restart of sluiced, and sluiced survives a reload of the module.
 * The file is for both at once: without it, a sluiced that starts on a fresh module would know of no
 * pod, and the pods of the node would run unenforced. It is a JSON array of
 *
 *	{ "namespace": "shop", "pod": "web", "containerID": "c1", "ifname": "eth0",
 *	  "hostIfname": "sl1", "ifindex": 7, "ips": ["10.1.0.2"] }
 */
#ifndef SLUICED_ATTACHMENT_FILE_H
#define SLUICED_ATTACHMENT_FILE_H

#include "ctl/lib/err.h"
#include "ctl/sluiced/attachment.h"

/* Replaces the file in one step: a reader, and a kill at any time, sees the old or the new one. */
int attachments_save(const struct attachments *table, const char *path, struct sluice_err *err);
/*
 * Adds all that the file holds to an empty table, whether or not their interfaces are still there.
 * A file that is not there holds none. A damaged one adds none: its error names the fault.
 */
int attachments_load(struct attachments *table, const char *path, struct sluice_err *err);

#endif
