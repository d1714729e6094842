// SPDX-License-Identifier: GPL-2.0-only
#include "cni/failure.h"

#include <stdio.h>
#include <stdlib.h>

static char *format(const char *fmt, va_list ap)
{
	char *text;

	return vasprintf(&text, fmt, ap) < 0 ? NULL : text;
}

static void set(struct cni_failure *failure, int code, char *msg, char *details)
{
	cni_failure_clear(failure);
	failure->code = code;
	failure->msg = msg;
	failure->details = details;
}

int cni_fail(struct cni_failure *failure, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set(failure, code, format(fmt, ap), NULL);
	va_end(ap);
	return -1;
}

int cni_fail_because(struct cni_failure *failure, int code, const struct sluice_err *err,
		     const char *fmt, ...)
{
	char *details;
	va_list ap;

	if (asprintf(&details, "%s", sluice_err_msg(err)) < 0)
		details = NULL;
	va_start(ap, fmt);
	set(failure, code, format(fmt, ap), details);
	va_end(ap);
	return -1;
}

void cni_failure_add(struct cni_failure *failure, const char *fmt, ...)
{
	char *more, *both;
	va_list ap;

	va_start(ap, fmt);
	more = format(fmt, ap);
	va_end(ap);
	if (!more)
		return;
	if (!failure->details) {
		failure->details = more;
		return;
	}
	if (asprintf(&both, "%s; %s", failure->details, more) >= 0) {
		free(failure->details);
		failure->details = both;
	}
	free(more);
}

void cni_failure_clear(struct cni_failure *failure)
{
	free(failure->msg);
	free(failure->details);
	*failure = (struct cni_failure){ 0 };
}

void cni_log(const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = format(fmt, ap);
	va_end(ap);
	fprintf(stderr, "sluice-cni: %s\n", text ? text : "out of memory");
	free(text);
}
