// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/nl_object.h"
#include "ctl/sluicectl/get.h"

static int take_ruleset(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct sluice_nl_ruleset o;
	struct get *get = arg;
	char size[32];
	json_t *ids;
	int ret;

	if (!attrs[SLUICE_A_RULESET])
		return 0;
	ret = sluice_nl_parse_ruleset(attrs[SLUICE_A_RULESET], &o, err);
	if (ret)
		return ret;
	if (get->json) {
		ids = json_array();
		for (uint32_t i = 0; i < o.n_rule_ids; i++)
			json_array_append_new(ids, json_integer(sluice_nl_rule_id(&o, i)));
		json_list_add(&get->list,
			      json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:I}", "id",
					(json_int_t)o.id, "rules", (json_int_t)o.rules, "classes",
					(json_int_t)o.classes, "endpoints", (json_int_t)o.endpoints,
					"bytes", (json_int_t)o.size, "ruleIDs", ids, "revision",
					(json_int_t)o.revision));
		return 0;
	}
	table_add(&get->table, "%u", o.id);
	table_add(&get->table, "%u", o.rules);
	table_add(&get->table, "%u", o.classes);
	table_add(&get->table, "%u", o.endpoints);
	table_add(&get->table, "%s", bytes_text(size, o.size));
	return 0;
}

int run_get_rulesets(const struct invocation *inv, struct sluice_err *err)
{
	struct get get;

	table_begin(&get.table, "ID", "RULES", "CLASSES", "ENDPOINTS", "SIZE");
	return get_objects(inv, SLUICE_CMD_GET_RULESET, take_ruleset, &get, err);
}
