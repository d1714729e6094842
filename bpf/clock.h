/* SPDX-License-Identifier: GPL-2.0-only */
/* The clock of connections and monitors; layout.h says what a tick is. */
#ifndef SLUICE_BPF_CLOCK_H
#define SLUICE_BPF_CLOCK_H

#include <bpf/bpf_helpers.h>

#include "bpf/layout.h"

/* The coarse clock moves with the kernel's tick, 1 to 10 ms, and costs a tenth of the fine one. */
static __always_inline __u32 sluice_bpf_ticks(void)
{
	return (__u32)(bpf_ktime_get_coarse_ns() >> 20);
}

#endif
