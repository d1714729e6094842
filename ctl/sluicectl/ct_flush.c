// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/nl.h"
#include "ctl/sluicectl/conn.h"
#include "ctl/sluicectl/output.h"

static int take_count(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	uint32_t *count = arg;

	(void)err;
	if (attrs[SLUICE_A_COUNT] && nla_len(attrs[SLUICE_A_COUNT]) == sizeof(*count))
		*count += nla_get_u32(attrs[SLUICE_A_COUNT]);
	return 0;
}

int run_ct_flush(const struct invocation *inv, struct sluice_err *err)
{
	struct sluice_nl_conn filter;
	uint32_t count = 0;
	struct nl_msg *msg;
	struct sluice_nl nl;
	int ret;

	ret = conn_filter(inv, &filter, err);
	if (ret)
		return ret;
	ret = sluice_nl_open(&nl, err);
	if (ret)
		return ret;
	msg = sluice_nl_message(&nl, SLUICE_CMD_FLUSH_CONN, 0, err);
	if (msg && filter.has)
		sluice_nl_put_conn(msg, &filter);
	ret = sluice_nl_call(&nl, msg, take_count, &count, err);
	sluice_nl_close(&nl);
	if (ret)
		return ret;
	if (inv->json)
		json_print(json_pack("{s:I}", "flushed", (json_int_t)count));
	else
		printf("%u connections flushed\n", count);
	return 0;
}
