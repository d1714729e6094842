// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/bpf_object.h"
#include "ctl/sluicectl/command.h"
#include "ctl/sluicectl/output.h"

int run_bpf_remove(const struct invocation *inv, struct sluice_err *err)
{
	struct sluice_bpf_removed removed;
	int ret = sluice_bpf_remove(&removed, err);

	if (ret)
		return ret;
	if (inv->json)
		json_print(json_pack("{s:i, s:i, s:i}", "attachments", (int)removed.attachments,
				     "programs", (int)removed.programs, "maps", (int)removed.maps));
	else if (removed.attachments || removed.programs || removed.maps)
		printf("%u attachments, %u programs and %u maps removed\n", removed.attachments,
		       removed.programs, removed.maps);
	else
		puts("nothing to remove in this network namespace");
	return 0;
}
