/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A test program's way to say what it found, in TAP 13.
 *
 * Why not a library: libcmocka leaves a failed test by longjmp, past the cleanup attributes that
 * this code base uses (the leak checker then reports what no bug has leaked), and it catches
 * SIGSEGV and SIGABRT, which hides the address sanitizer's report of the very failures that these
 * tests look for. What is left to write is this file.
 *
 * One line of output is one claim. A claim about one value is ok(), is_u64() or is_str(). A claim
 * about many random values is check() in a loop, closed by ok_checks(): one line for all of them,
 * which fails if any check failed, or if none ran.
 *
 * Random numbers come from tap_random(). The seed is printed; SEED=n in the environment repeats a
 * run. A program is one thread and includes this file once: the state is static.
 */
#ifndef SLUICE_TESTS_TAP_H
#define SLUICE_TESTS_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Failed checks that are printed under one claim; a broken loop would print millions. */
#define TAP_MAX_DIAGNOSTICS 10

static struct {
	unsigned int count; /* lines so far */
	unsigned int failed;
	uint64_t checks; /* since the last ok_checks() */
	uint64_t checks_failed;
	uint64_t seed;
	uint64_t random;
} tap;

__attribute__((format(printf, 1, 2), unused)) static void diag(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
}

__attribute__((format(printf, 4, 5), unused)) static bool tap_ok(bool good, const char *file,
								 int line, const char *fmt, ...)
{
	va_list ap;

	tap.count++;
	printf("%sok %u - ", good ? "" : "not ", tap.count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	if (!good) {
		tap.failed++;
		diag("at %s:%d", file, line);
	}
	fflush(stdout);
	return good;
}

#define ok(good, ...) tap_ok((good), __FILE__, __LINE__, __VA_ARGS__)

__attribute__((format(printf, 5, 6), unused)) static bool
tap_is_u64(uint64_t got, uint64_t want, const char *file, int line, const char *fmt, ...)
{
	char name[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	if (tap_ok(got == want, file, line, "%s", name))
		return true;
	diag("     got %" PRIu64 " (0x%" PRIx64 ")", got, got);
	diag("expected %" PRIu64 " (0x%" PRIx64 ")", want, want);
	return false;
}

#define is_u64(got, want, ...) tap_is_u64((got), (want), __FILE__, __LINE__, __VA_ARGS__)

__attribute__((format(printf, 5, 6), unused)) static bool
tap_is_str(const char *got, const char *want, const char *file, int line, const char *fmt, ...)
{
	bool same = got == want || (got && want && !strcmp(got, want));
	char name[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	if (tap_ok(same, file, line, "%s", name))
		return true;
	diag("     got %s", got ? got : "(null)");
	diag("expected %s", want ? want : "(null)");
	return false;
}

/* Either may be NULL. */
#define is_str(got, want, ...) tap_is_str((got), (want), __FILE__, __LINE__, __VA_ARGS__)

__attribute__((format(printf, 4, 5), unused)) static bool tap_check(bool good, const char *file,
								    int line, const char *fmt, ...)
{
	va_list ap;

	tap.checks++;
	if (good)
		return true;
	if (tap.checks_failed++ < TAP_MAX_DIAGNOSTICS) {
		printf("# %s:%d: ", file, line);
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
		printf("\n");
	}
	return false;
}

/* A part of the claim that the next ok_checks() makes; the text says what went wrong. */
#define check(good, ...) tap_check((good), __FILE__, __LINE__, __VA_ARGS__)

#define ok_checks(...)                                                                      \
	do {                                                                                \
		bool good_ = tap.checks && !tap.checks_failed;                              \
                                                                                            \
		if (!tap.checks)                                                            \
			diag("no check has run");                                           \
		else if (tap.checks_failed)                                                 \
			diag("%" PRIu64 " of %" PRIu64 " checks failed", tap.checks_failed, \
			     tap.checks);                                                   \
		else                                                                        \
			diag("%" PRIu64 " checks", tap.checks);                             \
		tap.checks = tap.checks_failed = 0;                                         \
		tap_ok(good_, __FILE__, __LINE__, __VA_ARGS__);                             \
	} while (0)

/* splitmix64 (Steele, Lea, Flood 2014): any seed is good, and the same on every machine. */
__attribute__((unused)) static uint64_t tap_random(void)
{
	uint64_t z = (tap.random += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* In [0, n); n is not 0. */
__attribute__((unused)) static uint32_t tap_below(uint32_t n)
{
	return (uint32_t)(tap_random() % n);
}

/* True one time in n. */
__attribute__((unused)) static bool tap_one_in(uint32_t n)
{
	return !tap_below(n);
}

/* To be called first by a program that uses random numbers. */
__attribute__((unused)) static void tap_seed(void)
{
	const char *env = getenv("SEED");

	if (env)
		tap.seed = strtoull(env, NULL, 0);
	else
		tap.seed = (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
	tap.random = tap.seed;
	diag("SEED=%" PRIu64, tap.seed);
}

/* return done_testing(); at the end of main. */
__attribute__((unused)) static int done_testing(void)
{
	if (tap.checks)
		ok_checks("checks that no ok_checks() closed");
	if (!tap.count)
		ok(false, "no claim was made");
	printf("1..%u\n", tap.count);
	return tap.failed ? 1 : 0;
}

#endif
