// SPDX-License-Identifier: GPL-2.0-only
#include <linux/string.h>

#include "net.h"
#include "stats.h"

void sluice_stats_sum(struct sluice_net *sn, struct sluice_stats *sum)
{
	int cpu;

	memset(sum, 0, sizeof(*sum));
	if (!sluice_net_active(sn))
		return;
	for_each_possible_cpu(cpu) {
		const u64 *from = (const u64 *)per_cpu_ptr(sn->stats, cpu);
		u64 *to = (u64 *)sum;
		size_t i;

		for (i = 0; i < sizeof(*sum) / sizeof(u64); i++)
			to[i] += READ_ONCE(from[i]);
	}
}

int sluice_stats_init(struct sluice_net *sn)
{
	sn->stats = alloc_percpu(struct sluice_stats);
	return sn->stats ? 0 : -ENOMEM;
}

void sluice_stats_exit(struct sluice_net *sn)
{
	free_percpu(sn->stats);
	sn->stats = NULL;
}
