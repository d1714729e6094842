/* SPDX-License-Identifier: GPL-2.0-only */
/* Where packets are met. This pair of files alone speaks netfilter's verdicts. */
#ifndef SLUICE_KMOD_HOOKS_H
#define SLUICE_KMOD_HOOKS_H

#include <linux/netfilter.h>

struct sluice_net;

/* netdev ingress of pods and uplinks; priv: struct sluice_device *, alive while registered. */
unsigned int sluice_hook_ingress(void *priv, struct sk_buff *skb,
				 const struct nf_hook_state *state);

/* PRE_ROUTING and LOCAL_OUT of a namespace, and reassembly in front of them. Process context. */
int sluice_hooks_register(struct sluice_net *sn);
void sluice_hooks_unregister(struct sluice_net *sn);

#endif
