// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/address.h"
#include "ctl/lib/nl_object.h"
#include "ctl/sluicectl/get.h"

static json_t *ruleset_json(uint32_t id)
{
	return id ? json_integer(id) : json_null();
}

static json_t *endpoint_json(const struct sluice_nl_endpoint *o)
{
	json_t *addresses = json_array();
	char text[SLUICE_ADDR_TEXT];

	for (uint32_t i = 0; i < o->n_addrs; i++)
		json_array_append_new(addresses,
				      json_string(sluice_address_format(&o->addrs[i].addr,
									o->addrs[i].family, text)));
	return json_pack("{s:s, s:s, s:I, s:s, s:o, s:b, s:o, s:o, s:I}", "name", o->name,
			 "interface", o->ifname, "ifindex", (json_int_t)o->ifindex, "container",
			 o->container, "addresses", addresses, "open",
			 !!(o->flags & SLUICE_ENDPOINT_OPEN), "ingressRuleset",
			 ruleset_json(o->ingress), "egressRuleset", ruleset_json(o->egress),
			 "revision", (json_int_t)o->revision);
}

static void add_ruleset(struct table *table, uint32_t id)
{
	if (id)
		table_add(table, "%u", id);
	else
		table_add(table, "-");
}

static int take_endpoint(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	char text[SLUICE_ADDR_TEXT], addresses[SLUICE_MAX_ENDPOINT_ADDRS * SLUICE_ADDR_TEXT] = "-";
	struct sluice_nl_endpoint o;
	struct get *get = arg;
	int ret, len = 0;

	if (!attrs[SLUICE_A_ENDPOINT])
		return 0;
	ret = sluice_nl_parse_endpoint(attrs[SLUICE_A_ENDPOINT], &o, err);
	if (ret)
		return ret;
	if (get->json) {
		json_list_add(&get->list, endpoint_json(&o));
		return 0;
	}
	for (uint32_t i = 0; i < o.n_addrs; i++)
		len += snprintf(addresses + len, sizeof(addresses) - len, "%s%s", i ? "," : "",
				sluice_address_format(&o.addrs[i].addr, o.addrs[i].family, text));
	table_add(&get->table, "%s", *o.name ? o.name : "-");
	table_add(&get->table, "%s", o.ifname);
	table_add(&get->table, "%s", addresses);
	table_add(&get->table, "%s", o.flags & SLUICE_ENDPOINT_OPEN ? "open" : "closed");
	add_ruleset(&get->table, o.ingress);
	add_ruleset(&get->table, o.egress);
	table_add(&get->table, "%s", *o.container ? o.container : "-");
	return 0;
}

int run_get_endpoints(const struct invocation *inv, struct sluice_err *err)
{
	struct get get;

	table_begin(&get.table, "POD", "INTERFACE", "ADDRESSES", "STATE", "INGRESS", "EGRESS",
		    "CONTAINER");
	return get_objects(inv, SLUICE_CMD_GET_ENDPOINT, take_endpoint, &get, err);
}
