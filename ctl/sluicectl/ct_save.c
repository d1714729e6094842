// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>
#include <unistd.h>

#include "ctl/lib/nl.h"
#include "ctl/sluicectl/conn.h"
#include "ctl/sluicectl/output.h"

struct saving {
	struct rule_names names;
	struct json_list list;
};

static int take_conn(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct saving *saving = arg;
	struct sluice_nl_conn conn;
	int ret;

	if (!attrs[SLUICE_A_CONN])
		return 0;
	ret = sluice_nl_parse_conn(attrs[SLUICE_A_CONN], &conn, err);
	/* A negative entry lives for 5 seconds and is made again by the next packet. */
	if (!ret && conn.state != SLUICE_STATE_DENIED)
		json_list_add(&saving->list, conn_json(&conn, &saving->names));
	return ret;
}

static int save(FILE *out, struct sluice_err *err)
{
	struct saving saving = { 0 };
	struct sluice_nl nl;
	int ret;

	ret = sluice_nl_open(&nl, err);
	if (ret)
		return ret;
	ret = rule_names_load(&saving.names, &nl, err);
	if (!ret) {
		json_list_begin(&saving.list, out);
		ret = sluice_nl_stream(&nl, sluice_nl_message(&nl, SLUICE_CMD_GET_CONN, 0, err),
				       take_conn, &saving, err);
	}
	if (!ret)
		json_list_end(&saving.list);
	rule_names_clear(&saving.names);
	sluice_nl_close(&nl);
	return ret;
}

int run_ct_save(const struct invocation *inv, struct sluice_err *err)
{
	const char *path = inv->n_args ? inv->args[0] : "-";
	FILE *out;
	int ret;

	if (!strcmp(path, "-"))
		return save(stdout, err);
	out = fopen(path, "we");
	if (!out)
		return sluice_err_errno(err, errno, "%s", path);
	ret = save(out, err);
	if (fclose(out) && !ret)
		ret = sluice_err_errno(err, errno, "%s", path);
	/* Half a table is nothing to restore from. */
	if (ret)
		unlink(path);
	return ret;
}
