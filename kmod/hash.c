// SPDX-License-Identifier: GPL-2.0-only
#include <linux/cpumask.h>
#include <linux/random.h>

#include "hash.h"

u64 sluice_hash_secret[2] __read_mostly;
DEFINE_PER_CPU(u64, sluice_random_state);

void sluice_hash_module_init(void)
{
	int cpu;

	get_random_bytes(sluice_hash_secret, sizeof(sluice_hash_secret));
	sluice_hash_secret[0] |= 1;
	sluice_hash_secret[1] |= 1;
	for_each_possible_cpu(cpu)
		per_cpu(sluice_random_state, cpu) = get_random_u64();
}
