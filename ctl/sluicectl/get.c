// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluicectl/get.h"

int get_objects(const struct invocation *inv, uint8_t cmd, sluice_nl_handler handle,
		struct get *get, struct sluice_err *err)
{
	struct sluice_nl nl;
	int ret;

	ret = sluice_nl_open(&nl, err);
	if (ret)
		return ret;
	get->json = inv->json;
	if (inv->json)
		json_list_begin(&get->list, stdout);
	ret = sluice_nl_dump(&nl, sluice_nl_message(&nl, cmd, 0, err), handle, get, err);
	/* In JSON an array that ends too early is not taken for the whole. */
	if (!ret && inv->json)
		json_list_end(&get->list);
	else if (!ret)
		table_end(&get->table);
	sluice_nl_close(&nl);
	return ret;
}
