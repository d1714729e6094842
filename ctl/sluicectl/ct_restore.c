// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads an array of connections object by object, so that a file of four million of them (3 GB) takes
 * no memory, and sends them in batches. Nothing is sent of a batch with a malformed object in it.
 */
#include <ctype.h>
#include <string.h>

#include "ctl/lib/nl.h"
#include "ctl/sluicectl/conn.h"
#include "ctl/sluicectl/output.h"

struct restoring {
	struct sluice_nl nl;
	struct rule_names names;
	struct nl_msg *msg; /* the batch, or NULL */
	uint32_t restored;
	uint64_t read;
};

static int take_count(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	uint32_t *count = arg;

	(void)err;
	if (attrs[SLUICE_A_COUNT] && nla_len(attrs[SLUICE_A_COUNT]) == sizeof(*count))
		*count += nla_get_u32(attrs[SLUICE_A_COUNT]);
	return 0;
}

static int flush(struct restoring *r, struct sluice_err *err)
{
	struct nl_msg *msg = r->msg;

	r->msg = NULL;
	return msg ? sluice_nl_call(&r->nl, msg, take_count, &r->restored, err) : 0;
}

static int add(struct restoring *r, const json_t *json, struct sluice_err *err)
{
	struct sluice_nl_conn conn;
	int ret;

	ret = conn_from_json(json, &r->names, &conn, err);
	if (ret)
		return ret;
	if (r->msg && sluice_nl_put_conn(r->msg, &conn))
		return 0;
	ret = flush(r, err);
	if (ret)
		return ret;
	r->msg = sluice_nl_message(&r->nl, SLUICE_CMD_SET_CONN, SLUICE_NL_MESSAGE_BYTES, err);
	if (!r->msg)
		return -ENOMEM;
	sluice_nl_put_conn(r->msg, &conn);
	return 0;
}

static int next_char(FILE *in)
{
	int c;

	do {
		c = getc(in);
	} while (isspace(c));
	return c;
}

static int read_all(struct restoring *r, FILE *in, struct sluice_err *err)
{
	json_error_t why;
	json_t *json;
	int ret, c;

	if (next_char(in) != '[')
		return sluice_err_set(err, EINVAL, "not a JSON array");
	c = next_char(in);
	if (c == ']')
		return 0;
	ungetc(c, in);
	do {
		json = json_loadf(in, JSON_DISABLE_EOF_CHECK, &why);
		if (!json)
			return sluice_err_set(err, EINVAL, "connection %llu: %s",
					      (unsigned long long)r->read, why.text);
		ret = add(r, json, err);
		json_decref(json);
		if (ret)
			return sluice_err_prefix(err, "connection %llu",
						 (unsigned long long)r->read);
		r->read++;
		c = next_char(in);
	} while (c == ',');
	if (c != ']')
		return sluice_err_set(err, EINVAL, "the array does not end after connection %llu",
				      (unsigned long long)r->read - 1);
	return flush(r, err);
}

int run_ct_restore(const struct invocation *inv, struct sluice_err *err)
{
	const char *path = inv->n_args && strcmp(inv->args[0], "-") ? inv->args[0] : NULL;
	FILE *in = path ? fopen(path, "re") : stdin;
	struct restoring r = { 0 };
	int ret;

	if (!in)
		return sluice_err_errno(err, errno, "%s", path);
	ret = sluice_nl_open(&r.nl, err);
	if (ret)
		goto close;
	ret = rule_names_load(&r.names, &r.nl, err);
	if (!ret) {
		ret = read_all(&r, in, err);
		if (ret)
			sluice_err_prefix(err, "%s", path ? path : "stdin");
	}
	nlmsg_free(r.msg);
	rule_names_clear(&r.names);
	sluice_nl_close(&r.nl);
close:
	if (path)
		fclose(in);
	if (ret)
		return ret;
	if (inv->json)
		json_print(json_pack("{s:I, s:I}", "restored", (json_int_t)r.restored, "skipped",
				     (json_int_t)(r.read - r.restored)));
	else
		printf("%u connections restored, %llu skipped\n", r.restored,
		       (unsigned long long)(r.read - r.restored));
	return 0;
}
