// SPDX-License-Identifier: GPL-2.0-only
/* What can be set: the memory that connections may take. */
#include <sys/mman.h>

#include "ctl/lib/bpf_answer_internal.h"
#include "ctl/lib/bpf_conns.h"

static int set_budget(struct sluice_bpf_request *r, uint64_t bytes)
{
	struct sluice_bpf_control *control;
	int ret;

	control = sluice_bpf_answer_memory(r->a, SLUICE_BPF_MAP_CONTROL, sizeof(*control), true,
					   r->err);
	if (!control)
		return -EPROTO;
	ret = sluice_bpf_set_budget(control, bytes, r->err);
	munmap(control, sluice_bpf_map_pages(sizeof(*control)));
	return ret;
}

int sluice_bpf_answer_config(struct sluice_bpf_request *r)
{
	struct nlattr *attr = r->attrs[SLUICE_A_CONFIG];

	if (!attr)
		return sluice_bpf_answer_refuse(r, NULL, EINVAL, "SLUICE_A_CONFIG is missing");
	attr = nla_find(nla_data(attr), nla_len(attr), SLUICE_CONFIG_A_CONN_BUDGET);
	if (!attr)
		return 0;
	if (nla_len(attr) != sizeof(uint64_t))
		return sluice_bpf_answer_refuse(r, attr, ERANGE,
						"Attribute failed policy validation");
	if (!nla_get_u64(attr))
		return sluice_bpf_answer_refuse(r, attr, EINVAL, "a budget of nothing");
	return set_budget(r, nla_get_u64(attr));
}
