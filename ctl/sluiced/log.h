/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Structured lines on stderr, one event a line, as key=value:
 *
 *	time=2026-01-02T03:04:05.678Z level=info msg="state is in the kernel" revision=7 sent=12
 *
 *	log_info("state is in the kernel", "revision", LOG_NUM(7), "sent", LOG_NUM(12));
 *
 * Keys and values are strings in pairs; a value of NULL leaves its pair out. Values
 * are quoted where they hold anything that would break the line.
 */
#ifndef SLUICED_LOG_H
#define SLUICED_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

/* False: there is no level of that name. */
bool log_set_level(const char *name);

#define log_write(level, ...) log_write_pairs(level, __VA_ARGS__, (char *)NULL)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

/* What the macros call: the pairs are ended by NULL. */
void log_write_pairs(enum log_level level, const char *msg, ...) __attribute__((sentinel));

/* A number as a value; lives until the end of the block. */
const char *log_number(char buf[24], long long value);
#define LOG_NUM(value) log_number((char[24]){ 0 }, (long long)(value))

#endif
