// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/nl_object.h"
#include "ctl/sluicectl/get.h"

static int take_uplink(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct sluice_nl_uplink o;
	struct get *get = arg;
	int ret;

	if (!attrs[SLUICE_A_UPLINK])
		return 0;
	ret = sluice_nl_parse_uplink(attrs[SLUICE_A_UPLINK], &o, err);
	if (ret)
		return ret;
	if (get->json) {
		json_list_add(&get->list,
			      json_pack("{s:s, s:I, s:I}", "interface", o.ifname, "ifindex",
					(json_int_t)o.ifindex, "revision", (json_int_t)o.revision));
		return 0;
	}
	table_add(&get->table, "%s", o.ifname);
	table_add(&get->table, "%u", o.ifindex);
	return 0;
}

int run_get_uplinks(const struct invocation *inv, struct sluice_err *err)
{
	struct get get;

	table_begin(&get.table, "INTERFACE", "IFINDEX");
	return get_objects(inv, SLUICE_CMD_GET_UPLINK, take_uplink, &get, err);
}
