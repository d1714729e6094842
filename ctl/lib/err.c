// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes ownership of msg, which may be NULL (out of memory: the code alone must do). */
static int store(struct sluice_err *err, int code, char *msg)
{
	free(err->msg);
	err->code = code;
	err->msg = msg;
	return -code;
}

int sluice_err_vset(struct sluice_err *err, int code, const char *fmt, va_list ap)
{
	char *msg;

	if (code <= 0)
		code = code < 0 ? -code : EINVAL;
	if (!err)
		return -code;
	/* Formatted before the old message is freed: an argument may be that message. */
	if (vasprintf(&msg, fmt, ap) < 0)
		msg = NULL;
	return store(err, code, msg);
}

int sluice_err_set(struct sluice_err *err, int code, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = sluice_err_vset(err, code, fmt, ap);
	va_end(ap);
	return ret;
}

int sluice_err_errno(struct sluice_err *err, int code, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = sluice_err_vset(err, code, fmt, ap);
	va_end(ap);
	if (err && err->msg) {
		char *msg;

		if (asprintf(&msg, "%s: %s", err->msg, strerror(-ret)) >= 0)
			store(err, -ret, msg);
	}
	return ret;
}

int sluice_err_prefix(struct sluice_err *err, const char *fmt, ...)
{
	char *prefix, *msg;
	va_list ap;
	int n;

	if (!err)
		return -EINVAL;
	va_start(ap, fmt);
	n = vasprintf(&prefix, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -err->code;
	if (asprintf(&msg, "%s: %s", prefix, sluice_err_msg(err)) >= 0)
		store(err, err->code, msg);
	free(prefix);
	return -err->code;
}

int sluice_err_move(struct sluice_err *dst, struct sluice_err *src)
{
	int code = src->code;

	if (!dst)
		sluice_err_clear(src);
	else
		store(dst, src->code, src->msg);
	src->code = 0;
	src->msg = NULL;
	return -code;
}

void sluice_err_clear(struct sluice_err *err)
{
	if (!err)
		return;
	free(err->msg);
	err->msg = NULL;
	err->code = 0;
}

const char *sluice_err_msg(const struct sluice_err *err)
{
	if (!err || !err->code)
		return "no error";
	return err->msg ? err->msg : strerror(err->code);
}
