/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections as text and as JSON, and the filter that `ct` and `monitor` share. */
#ifndef SLUICECTL_CONN_H
#define SLUICECTL_CONN_H

#include <jansson.h>
#include <stdio.h>

#include "core/conntrack.h"
#include "ctl/lib/nl_object.h"
#include "ctl/sluicectl/command.h"
#include "ctl/sluicectl/rule_names.h"

/* For the tables of options. They speak of the original direction: of the first packet. */
#define CONN_FILTER_OPTIONS                                                                \
	{ "src", "ADDRESS", "the source address", NULL },                                  \
		{ "dst", "ADDRESS", "the destination address, before translation", NULL }, \
		{ "proto", "PROTOCOL", "TCP, UDP, SCTP, ICMP, ICMPv6, or a number",        \
		  "TCP UDP SCTP ICMP ICMPv6" },                                            \
		{ "sport", "PORT", "the source port", NULL },                              \
		{ "port", "PORT", "the destination port", NULL },                          \
	{                                                                                  \
		"state", "STATE", "the state, such as established", CONN_STATES            \
	}

/* The data plane knows how to narrow by all but this. */
#define CONN_VERDICT_OPTION { "verdict", "VERDICT", "allow, deny or reject", "allow deny reject" }

/* The names of all states, from the one list, without the leading space. */
#define CONN_STATE_WORD(sym, name, timeout, class) " " name
#define CONN_STATES (&SLUICE_STATES(CONN_STATE_WORD)[1])

/* The options as a filter: o->has tells which attributes count. 0, or USAGE with err set. */
int conn_filter(const struct invocation *inv, struct sluice_nl_conn *filter,
		struct sluice_err *err);

/* One line, without its line feed. */
void conn_print(FILE *out, const struct sluice_nl_conn *conn, const struct rule_names *names);

json_t *conn_json(const struct sluice_nl_conn *conn, const struct rule_names *names);
/*
 * The other way, for restore: o->has tells what was there. Rules are found by name: their ids are
 * not the same in another life of the module. Errors: EINVAL, names the field.
 */
int conn_from_json(const json_t *json, const struct rule_names *names, struct sluice_nl_conn *conn,
		   struct sluice_err *err);

#endif
