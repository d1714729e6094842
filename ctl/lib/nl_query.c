// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/nl_query.h"

#include <stdio.h>

struct answer {
	bool came;
	void *to;
};

static int take_info(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct answer *answer = arg;
	struct sluice_nl_kernel *info = answer->to;
	int ret;

	if (!attrs[SLUICE_A_INFO])
		return 0;
	ret = sluice_nl_parse_info(attrs[SLUICE_A_INFO], &info->info, err);
	if (ret)
		return ret;
	snprintf(info->version, sizeof(info->version), "%s", info->info.version);
	info->info.version = info->version;
	answer->came = true;
	return 0;
}

static int take_stats(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct answer *answer = arg;

	if (!attrs[SLUICE_A_STATS])
		return 0;
	answer->came = true;
	return sluice_nl_parse_stats(attrs[SLUICE_A_STATS], answer->to, err);
}

static int ask(struct sluice_nl *nl, uint8_t cmd, sluice_nl_handler handle, void *to,
	       struct sluice_err *err)
{
	struct answer answer = { .to = to };
	int ret = sluice_nl_call(nl, sluice_nl_message(nl, cmd, 0, err), handle, &answer, err);

	if (!ret && !answer.came)
		ret = sluice_err_set(err, EPROTO, "the kernel sent no answer");
	return ret;
}

int sluice_nl_query_info(struct sluice_nl *nl, struct sluice_nl_kernel *info,
			 struct sluice_err *err)
{
	info->dataplane = sluice_nl_dataplane(nl);
	return ask(nl, SLUICE_CMD_GET_INFO, take_info, info, err);
}

int sluice_nl_query_stats(struct sluice_nl *nl, struct sluice_nl_stats *stats,
			  struct sluice_err *err)
{
	return ask(nl, SLUICE_CMD_GET_STATS, take_stats, stats, err);
}
