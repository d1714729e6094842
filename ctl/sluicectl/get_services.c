// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/address.h"
#include "ctl/lib/nl_object.h"
#include "ctl/sluicectl/get.h"

/* A service may have thousands: -o json lists all of them. */
#define BACKENDS_SHOWN 4

static json_t *service_json(const struct sluice_nl_service *o)
{
	json_t *backends = json_array();
	char text[SLUICE_ADDR_TEXT];

	for (uint32_t i = 0; i < o->n_backends; i++) {
		struct sluice_dp_backend b = sluice_nl_backend(o, i);

		json_array_append_new(backends,
				      json_pack("{s:s, s:i}", "address",
						sluice_address_format(&b.addr, o->family, text),
						"port", b.port));
	}
	return json_pack("{s:s, s:s, s:i, s:s, s:o, s:I}", "name", o->name, "address",
			 sluice_address_format(&o->addr, o->family, text), "port", o->port,
			 "protocol", sluice_protocol_name(o->proto), "backends", backends,
			 "revision", (json_int_t)o->revision);
}

static int take_service(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	char text[SLUICE_ADDR_TEXT], backends[(BACKENDS_SHOWN + 1) * (SLUICE_ADDR_TEXT + 2)] = "-";
	struct sluice_nl_service o;
	struct get *get = arg;
	int ret, len = 0;

	if (!attrs[SLUICE_A_SERVICE])
		return 0;
	ret = sluice_nl_parse_service(attrs[SLUICE_A_SERVICE], &o, err);
	if (ret)
		return ret;
	if (get->json) {
		json_list_add(&get->list, service_json(&o));
		return 0;
	}
	for (uint32_t i = 0; i < o.n_backends && i < BACKENDS_SHOWN; i++) {
		struct sluice_dp_backend b = sluice_nl_backend(&o, i);

		len += snprintf(backends + len, sizeof(backends) - len, "%s%s", i ? " " : "",
				sluice_address_port_format(&b.addr, o.family, b.port, text));
	}
	if (o.n_backends > BACKENDS_SHOWN)
		snprintf(backends + len, sizeof(backends) - len, " ...");
	table_add(&get->table, "%s", o.name);
	table_add(&get->table, "%s", sluice_address_port_format(&o.addr, o.family, o.port, text));
	table_add(&get->table, "%s", sluice_protocol_name(o.proto));
	table_add(&get->table, "%u", o.n_backends);
	table_add(&get->table, "%s", backends);
	return 0;
}

int run_get_services(const struct invocation *inv, struct sluice_err *err)
{
	struct get get;

	table_begin(&get.table, "SERVICE", "ADDRESS", "PROTOCOL", "COUNT", "BACKENDS");
	return get_objects(inv, SLUICE_CMD_GET_SERVICE, take_service, &get, err);
}
