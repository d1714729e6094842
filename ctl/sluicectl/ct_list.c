// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/nl.h"
#include "ctl/sluicectl/conn.h"
#include "ctl/sluicectl/output.h"

struct listing {
	struct rule_names names;
	struct sluice_nl_conn filter;
	struct json_list list;
	bool json;
};

static int take_conn(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct listing *listing = arg;
	struct sluice_nl_conn conn;
	int ret;

	if (!attrs[SLUICE_A_CONN])
		return 0;
	ret = sluice_nl_parse_conn(attrs[SLUICE_A_CONN], &conn, err);
	if (ret)
		return ret;
	if (!sluice_nl_conn_matches(&conn, &listing->filter))
		return 0;
	if (listing->json) {
		json_list_add(&listing->list, conn_json(&conn, &listing->names));
	} else {
		conn_print(stdout, &conn, &listing->names);
		putchar('\n');
	}
	return 0;
}

int run_ct_list(const struct invocation *inv, struct sluice_err *err)
{
	struct listing listing = { .json = inv->json };
	struct nl_msg *msg;
	struct sluice_nl nl;
	int ret;

	ret = conn_filter(inv, &listing.filter, err);
	if (ret)
		return ret;
	ret = sluice_nl_open(&nl, err);
	if (ret)
		return ret;
	ret = rule_names_load(&listing.names, &nl, err);
	if (ret)
		goto close;
	if (inv->json)
		json_list_begin(&listing.list, stdout);
	msg = sluice_nl_message(&nl, SLUICE_CMD_GET_CONN, 0, err);
	if (msg) {
		/* What the data plane can tell by itself does not have to be copied here. */
		struct sluice_nl_conn filter = listing.filter;

		filter.has &= ~SLUICE_NL_HAS(SLUICE_CONN_A_VERDICT);
		if (filter.has)
			sluice_nl_put_conn(msg, &filter);
	}
	ret = sluice_nl_stream(&nl, msg, take_conn, &listing, err);
	if (!ret && inv->json)
		json_list_end(&listing.list);
close:
	rule_names_clear(&listing.names);
	sluice_nl_close(&nl);
	return ret;
}
