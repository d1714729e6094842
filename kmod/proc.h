/* SPDX-License-Identifier: GPL-2.0-only */
/* /proc/net/sluice: tables for people, one header line, one object a line. */
#ifndef SLUICE_KMOD_PROC_H
#define SLUICE_KMOD_PROC_H

struct sluice_net;

int sluice_proc_init(struct sluice_net *sn);
/* Waits for whoever reads, and closes what is open. */
void sluice_proc_exit(struct sluice_net *sn);

#endif
