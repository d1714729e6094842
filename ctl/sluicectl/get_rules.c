// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/nl_object.h"
#include "ctl/sluicectl/get.h"

static int take_rule(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct sluice_nl_rule o;
	struct get *get = arg;
	int ret;

	if (!attrs[SLUICE_A_RULE])
		return 0;
	ret = sluice_nl_parse_rule(attrs[SLUICE_A_RULE], &o, err);
	if (ret)
		return ret;
	if (get->json) {
		json_list_add(&get->list, json_pack("{s:I, s:s, s:s, s:I}", "id", (json_int_t)o.id,
						    "policy", o.policy, "rule", o.rule, "revision",
						    (json_int_t)o.revision));
		return 0;
	}
	table_add(&get->table, "%u", o.id);
	table_add(&get->table, "%s", o.policy);
	table_add(&get->table, "%s", o.rule);
	return 0;
}

int run_get_rules(const struct invocation *inv, struct sluice_err *err)
{
	struct get get;

	table_begin(&get.table, "ID", "POLICY", "RULE");
	return get_objects(inv, SLUICE_CMD_GET_RULE, take_rule, &get, err);
}
