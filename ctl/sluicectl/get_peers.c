// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/address.h"
#include "ctl/lib/nl_object.h"
#include "ctl/sluicectl/get.h"

static int take_peer(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	char text[SLUICE_ADDR_TEXT];
	struct sluice_cidr prefix;
	struct get *get = arg;
	struct sluice_nl_peer o;
	int ret;

	if (!attrs[SLUICE_A_PEER])
		return 0;
	ret = sluice_nl_parse_peer(attrs[SLUICE_A_PEER], &o, err);
	if (ret)
		return ret;
	prefix = (struct sluice_cidr){ o.addr, o.plen, o.family };
	sluice_cidr_format(&prefix, text);
	if (get->json) {
		json_list_add(&get->list, json_pack("{s:s, s:I, s:s, s:I}", "prefix", text, "class",
						    (json_int_t)o.class, "name", o.name, "revision",
						    (json_int_t)o.revision));
		return 0;
	}
	table_add(&get->table, "%s", text);
	table_add(&get->table, "%u", o.class);
	table_add(&get->table, "%s", *o.name ? o.name : "-");
	return 0;
}

int run_get_peers(const struct invocation *inv, struct sluice_err *err)
{
	struct get get;

	table_begin(&get.table, "PREFIX", "CLASS", "NAME");
	return get_objects(inv, SLUICE_CMD_GET_PEER, take_peer, &get, err);
}
