// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluicectl/output.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"

static void add_cell(struct table *table, char *text)
{
	sluice_grow(table->cells, table->n_cells, table->cap);
	table->cells[table->n_cells++] = sluice_alloc_check(text);
}

void table_begin_headings(struct table *table, ...)
{
	const char *heading;
	va_list ap;

	*table = (struct table){ 0 };
	va_start(ap, table);
	while ((heading = va_arg(ap, const char *))) {
		add_cell(table, strdup(heading));
		table->n_columns++;
	}
	va_end(ap);
}

void table_add(struct table *table, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	add_cell(table, text);
}

void table_end(struct table *table)
{
	size_t n = table->n_columns, widths[TABLE_COLUMNS] = { 0 };

	for (size_t i = 0; i < table->n_cells; i++) {
		size_t len = strlen(table->cells[i]);

		if (len > widths[i % n])
			widths[i % n] = len;
	}
	for (size_t i = 0; i < table->n_cells; i++) {
		bool last = i % n == n - 1;

		printf("%-*s%s", last ? 0 : (int)widths[i % n], table->cells[i],
		       last ? "\n" : "  ");
		free(table->cells[i]);
	}
	free(table->cells);
	*table = (struct table){ 0 };
}

void json_list_begin(struct json_list *list, FILE *out)
{
	*list = (struct json_list){ .out = out };
	fputc('[', out);
}

void json_list_add(struct json_list *list, json_t *item)
{
	fputs(list->any ? ",\n" : "\n", list->out);
	json_dumpf(sluice_alloc_check(item), list->out, JSON_COMPACT);
	json_decref(item);
	list->any = true;
}

void json_list_end(struct json_list *list)
{
	fputs(list->any ? "\n]\n" : "]\n", list->out);
}

void json_print(json_t *json)
{
	json_dumpf(sluice_alloc_check(json), stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(json);
}

const char *bytes_text(char buf[32], unsigned long long bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double value = bytes;
	int unit = -1;

	while (value >= 1024 && unit < 3) {
		value /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(buf, 32, "%llu B", bytes);
	else
		snprintf(buf, 32, "%.1f %s", value, units[unit]);
	return buf;
}

const char *seconds_text(char buf[32], unsigned long long seconds)
{
	if (seconds < 60)
		snprintf(buf, 32, "%llus", seconds);
	else if (seconds < 3600)
		snprintf(buf, 32, "%llum%02llus", seconds / 60, seconds % 60);
	else
		snprintf(buf, 32, "%lluh%02llum", seconds / 3600, seconds / 60 % 60);
	return buf;
}
