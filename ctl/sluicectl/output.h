/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Output: aligned tables for people, JSON for programs.
 *
 * A list in JSON is one array with one object a line, written as it comes.
 */
#ifndef SLUICECTL_OUTPUT_H
#define SLUICECTL_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS 8

struct table {
	size_t n_columns;
	char **cells; /* row by row, the headings first */
	size_t n_cells;
	size_t cap;
};

/* table_begin(&table, "NAME", "SIZE"): the headings. */
#define table_begin(table, ...) table_begin_headings(table, __VA_ARGS__, (char *)NULL)
void table_begin_headings(struct table *table, ...) __attribute__((sentinel));
/* One cell after the other, of row after row. */
void table_add(struct table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints and frees it. The last column is not padded. */
void table_end(struct table *table);

struct json_list {
	FILE *out;
	bool any;
};

void json_list_begin(struct json_list *list, FILE *out);
void json_list_add(struct json_list *list, json_t *item); /* takes over the reference */
void json_list_end(struct json_list *list);

/* One object, indented. Takes over the reference. */
void json_print(json_t *json);

/* "3.2 GiB". */
const char *bytes_text(char buf[32], unsigned long long bytes);
/* "1h23m", "45s". */
const char *seconds_text(char buf[32], unsigned long long seconds);

#endif
