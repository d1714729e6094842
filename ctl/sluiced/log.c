// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[] = { "debug", "info", "warning", "error" };
static enum log_level threshold = LOG_INFO;

bool log_set_level(const char *name)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(names[i], name)) {
			threshold = i;
			return true;
		}
	}
	return false;
}

const char *log_number(char buf[24], long long value)
{
	snprintf(buf, 24, "%lld", value);
	return buf;
}

static bool plain(const char *value)
{
	if (!*value)
		return false;
	for (; *value; value++)
		if (*value <= ' ' || *value == '"' || *value == '=' || *value == '\\' ||
		    *value == 0x7f)
			return false;
	return true;
}

static void put_value(FILE *out, const char *value)
{
	if (plain(value)) {
		fputs(value, out);
		return;
	}
	fputc('"', out);
	for (; *value; value++) {
		unsigned char c = *value;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c == '\n')
			fputs("\\n", out);
		else if (c < ' ' || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

void log_write_pairs(enum log_level level, const char *msg, ...)
{
	char *line = NULL, when[32];
	const char *key, *value;
	struct timespec now;
	size_t len = 0;
	struct tm tm;
	va_list ap;
	FILE *out;

	if (level < threshold)
		return;
	out = open_memstream(&line, &len);
	if (!out)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	fprintf(out, "time=%s.%03ldZ level=%s msg=", when, now.tv_nsec / 1000000, names[level]);
	put_value(out, msg);
	va_start(ap, msg);
	while ((key = va_arg(ap, const char *))) {
		value = va_arg(ap, const char *);
		if (!value)
			continue;
		fprintf(out, " %s=", key);
		put_value(out, value);
	}
	va_end(ap);
	fputc('\n', out);
	/* One write a line: lines of this process and of others that share stderr do not mix. */
	if (!fclose(out) && write(STDERR_FILENO, line, len) < 0) {
		/* There is nobody left to tell. */
	}
	free(line);
}
