// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/lib/nl.h"
#include "ctl/sluicectl/conn.h"
#include "ctl/sluicectl/output.h"

static const char *const types[] = { "new", "denied", "closed" };

#define N_TYPES (sizeof(types) / sizeof(types[0]))

struct monitor {
	struct sluice_nl events;
	struct sluice_nl queries; /* events come on the other one at any time */
	struct rule_names names;
	struct sluice_nl_conn filter;
	int type; /* that alone; -1: all */
	bool json;
	bool started;
	uint32_t next; /* sequence number that should come */
	unsigned long left; /* events to print; 0: no end */
	bool done;
};

/* A rule that is not known is newer than the names: they are read again. */
static int learn_names(struct monitor *m, const struct sluice_nl_conn *conn, struct sluice_err *err)
{
	const uint32_t ids[] = { conn->rule[0], conn->rule[1], conn->staged_rule[0],
				 conn->staged_rule[1] };

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		if (ids[i] && !rule_names_find(&m->names, ids[i]))
			return rule_names_load(&m->names, &m->queries, err);
	return 0;
}

static void print(struct monitor *m, const struct sluice_nl_event *event)
{
	const char *type = event->type < N_TYPES ? types[event->type] : "unknown";
	time_t seconds = event->time / 1000000000;
	unsigned int micros = event->time % 1000000000 / 1000;
	char when[32], text[64];
	struct tm tm;

	if (m->json) {
		json_t *json = json_pack("{s:s, s:I, s:o}", "type", type, "sequence",
					 (json_int_t)event->sequence, "connection",
					 conn_json(&event->conn, &m->names));

		gmtime_r(&seconds, &tm);
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
		snprintf(text, sizeof(text), "%s.%06uZ", when, micros);
		json_object_set_new(json, "time", json_string(text));
		json_dumpf(json, stdout, JSON_COMPACT);
		json_decref(json);
	} else {
		localtime_r(&seconds, &tm);
		strftime(when, sizeof(when), "%H:%M:%S", &tm);
		printf("%s.%06u %-6s ", when, micros, type);
		conn_print(stdout, &event->conn, &m->names);
	}
	putchar('\n');
	fflush(stdout);
}

static int take_event(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct sluice_nl_event event;
	struct monitor *m = arg;
	int ret;

	if (!attrs[SLUICE_A_EVENT] || m->done)
		return 0;
	ret = sluice_nl_parse_event(attrs[SLUICE_A_EVENT], &event, err);
	if (ret)
		return ret;
	/*
	 * Numbers are given out and events sent by several CPUs at once: one that overtakes another is
	 * no gap, and of those that come late none is missing.
	 */
	if (m->started && (int32_t)(event.sequence - m->next) > 0)
		fprintf(stderr, "sluicectl: %u events missed or late\n", event.sequence - m->next);
	if (!m->started || (int32_t)(event.sequence - m->next) >= 0)
		m->next = event.sequence + 1;
	m->started = true;
	if ((m->type >= 0 && event.type != m->type) ||
	    !sluice_nl_conn_matches(&event.conn, &m->filter))
		return 0;
	ret = learn_names(m, &event.conn, err);
	if (ret)
		return ret;
	print(m, &event);
	if (m->left && !--m->left)
		m->done = true;
	return 0;
}

static int read_options(const struct invocation *inv, struct monitor *m, struct sluice_err *err)
{
	const char *text = option_value(inv, "type");
	char *end;
	size_t i;

	m->type = -1;
	for (i = 0; text && i < N_TYPES; i++)
		if (!strcmp(text, types[i]))
			m->type = (int)i;
	if (text && m->type < 0) {
		sluice_err_set(err, EINVAL, "--type %s: not new, denied or closed", text);
		return USAGE;
	}
	text = option_value(inv, "count");
	if (text) {
		errno = 0;
		m->left = strtoul(text, &end, 10);
		if (errno || *end || !m->left || *text == '-') {
			sluice_err_set(err, EINVAL, "--count %s: not a number", text);
			return USAGE;
		}
	}
	return conn_filter(inv, &m->filter, err);
}

int run_monitor(const struct invocation *inv, struct sluice_err *err)
{
	struct monitor m = { .json = inv->json };
	int ret;

	ret = read_options(inv, &m, err);
	if (ret)
		return ret;
	ret = sluice_nl_open(&m.queries, err);
	if (ret)
		return ret;
	ret = sluice_nl_open(&m.events, err);
	if (ret)
		goto close_queries;
	ret = sluice_nl_subscribe(&m.events, err);
	if (!ret)
		ret = rule_names_load(&m.names, &m.queries, err);
	while (!ret && !m.done) {
		ret = sluice_nl_receive(&m.events, take_event, &m, err);
		/* The next event's number tells how many it were. */
		if (ret == -ENOBUFS)
			ret = 0;
	}
	rule_names_clear(&m.names);
	sluice_nl_close(&m.events);
close_queries:
	sluice_nl_close(&m.queries);
	return ret;
}
