// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/timestamp.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECOND 1000000000LL

int64_t sluice_timestamp_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec;
}

/* A number of so many digits at *p, which is moved behind it; -1: there are none. */
static int digits(const char **p, int n)
{
	int value = 0;

	for (; n; n--, ++*p) {
		if (**p < '0' || **p > '9')
			return -1;
		value = value * 10 + (**p - '0');
	}
	return value;
}

static bool literal(const char **p, const char *one_of)
{
	if (!**p || !strchr(one_of, **p))
		return false;
	++*p;
	return true;
}

/* Digits beyond the ninth are nothing to an int64. */
static bool fraction(const char **p, int64_t *ns)
{
	int64_t unit = SECOND / 10;
	const char *begin = *p;

	for (*ns = 0; **p >= '0' && **p <= '9'; ++*p, unit /= 10)
		*ns += (**p - '0') * unit;
	return *p != begin;
}

/* Seconds east of UTC. */
static bool offset(const char **p, int *seconds)
{
	int sign = **p == '-' ? -1 : 1, hours, minutes;

	*seconds = 0;
	if (literal(p, "Zz"))
		return true;
	if (!literal(p, "+-"))
		return false;
	hours = digits(p, 2);
	if (hours < 0 || hours > 23 || !literal(p, ":"))
		return false;
	minutes = digits(p, 2);
	*seconds = sign * (hours * 3600 + minutes * 60);
	return minutes >= 0 && minutes <= 59;
}

bool sluice_timestamp_parse(const char *text, int64_t *ns)
{
	const char *p = text;
	struct tm tm = { 0 };
	int64_t part = 0, seconds;
	int east;

	tm.tm_year = digits(&p, 4) - 1900;
	if (tm.tm_year < 70 || tm.tm_year > 300 || !literal(&p, "-"))
		return false;
	tm.tm_mon = digits(&p, 2) - 1;
	if (tm.tm_mon < 0 || tm.tm_mon > 11 || !literal(&p, "-"))
		return false;
	tm.tm_mday = digits(&p, 2);
	if (tm.tm_mday < 1 || tm.tm_mday > 31 || !literal(&p, "Tt"))
		return false;
	tm.tm_hour = digits(&p, 2);
	if (tm.tm_hour < 0 || tm.tm_hour > 23 || !literal(&p, ":"))
		return false;
	tm.tm_min = digits(&p, 2);
	if (tm.tm_min < 0 || tm.tm_min > 59 || !literal(&p, ":"))
		return false;
	tm.tm_sec = digits(&p, 2);
	if (tm.tm_sec < 0 || tm.tm_sec > 60)
		return false;
	if (literal(&p, ".") && !fraction(&p, &part))
		return false;
	if (!offset(&p, &east) || *p)
		return false;
	seconds = timegm(&tm) - east;
	*ns = seconds * SECOND + part;
	return seconds >= 0;
}

const char *sluice_timestamp_format(int64_t ns, char buf[SLUICE_TIMESTAMP_TEXT])
{
	time_t seconds = ns / SECOND;
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(buf, SLUICE_TIMESTAMP_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, SLUICE_TIMESTAMP_TEXT - n, ".%06dZ", (int)(ns % SECOND / 1000));
	return buf;
}
