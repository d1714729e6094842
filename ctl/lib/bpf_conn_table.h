/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The connections of one family in the eBPF variant's maps, as this process has them in its memory; bpf/layout.h
 * is their theory of operation. Whoever opens them for writing is one more of those that insert and mark; it
 * never unlinks. Segments are mapped when they are first asked for.
 */
#ifndef SLUICE_CTL_LIB_BPF_CONN_TABLE_H
#define SLUICE_CTL_LIB_BPF_CONN_TABLE_H

#include "ctl/lib/bpf_answer_internal.h"

struct sluice_bpf_conn_table {
	struct sluice_bpf_answerer *a;
	uint8_t family;
	bool write;
	size_t size; /* of an object */
	struct sluice_bpf_control *control;
	struct sluice_bpf_table *table; /* in control */
	uint32_t *heads; /* of the chains; for writing alone */
	void *segments[SLUICE_BPF_SEGMENTS];
};

/* 0, or a negative errno. */
int sluice_bpf_conn_table_open(struct sluice_bpf_conn_table *t, struct sluice_bpf_answerer *a,
			       uint8_t family, bool write, struct sluice_err *err);
void sluice_bpf_conn_table_close(struct sluice_bpf_conn_table *t);

/* How many objects there are, free ones too. */
uint32_t sluice_bpf_conn_table_capacity(const struct sluice_bpf_conn_table *t);

/* NULL with err set: its segment is not there. */
struct sluice_bpf_conn *sluice_bpf_conn_table_at(struct sluice_bpf_conn_table *t, uint32_t index,
						 struct sluice_err *err);

/* The tuples of both directions, as packets arrive. */
void sluice_bpf_conn_table_tuples(const struct sluice_bpf_conn_table *t,
				  const struct sluice_bpf_conn *c, struct sluice_tuple tuple[2]);

/* Marks it, so that the sweeper takes it down. False: it was no connection any more. */
bool sluice_bpf_conn_table_kill(struct sluice_bpf_conn_table *t, struct sluice_bpf_conn *c);

/*
 * Makes a connection: in holds all but next[], last_seen and LIVE. -EEXIST: one of its tuples is another's.
 * -ENOSPC: the budget or the table is full. Others with err set.
 */
int sluice_bpf_conn_table_add(struct sluice_bpf_conn_table *t, const struct sluice_bpf_conn *in,
			      const struct sluice_tuple tuple[2], struct sluice_err *err);

#endif
