/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The commands of sluicectl. One table (command.c) holds everything about them: parsing, help, the
 * words of tab completion and the manual page are made from it.
 */
#ifndef SLUICECTL_COMMAND_H
#define SLUICECTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/lib/err.h"

#define EXIT_USAGE 2

/* What run() returns, with err set, when the value of an option is wrong. */
#define USAGE 1

struct option_spec {
	const char *name; /* without its dashes; NULL ends a list */
	const char *value; /* what its value is called; NULL: it takes none */
	const char *help;
	const char *words; /* values for tab completion, separated by blanks; or NULL */
};

/* One use of an option. */
struct option_use {
	const struct option_spec *spec;
	const char *value; /* "" for one without */
};

struct invocation {
	const struct command *command;
	bool json; /* -o json */
	struct option_use *uses; /* in their order */
	size_t n_uses;
	char **args;
	size_t n_args;
};

struct command {
	const char *name; /* "ct list" */
	const char *args; /* "[FILE]"; "" if it takes none */
	size_t min_args;
	size_t max_args;
	const char *summary; /* one line */
	const char *text; /* for the manual and --help; paragraphs separated by an empty line */
	const struct option_spec *options; /* besides -o and --help, which all have; or NULL */
	/* 0; a negative errno, or USAGE, with err set. */
	int (*run)(const struct invocation *inv, struct sluice_err *err);
};

extern const struct command commands[]; /* ended by name NULL */
extern const struct option_spec common_options[];

/* The value of an option, the last one if it is repeated; NULL: not given. */
const char *option_value(const struct invocation *inv, const char *name);
static inline bool option_given(const struct invocation *inv, const char *name)
{
	return option_value(inv, name);
}

/* help.c */
void print_overview(void);
void print_help(const struct command *command);
void print_manual(void);
/* Words that may follow these; the last one is being typed. */
void print_completion(char **words, size_t n);
int run_help(const struct invocation *inv, struct sluice_err *err);

/* One file each. */
int run_status(const struct invocation *inv, struct sluice_err *err);
int run_get_services(const struct invocation *inv, struct sluice_err *err);
int run_get_endpoints(const struct invocation *inv, struct sluice_err *err);
int run_get_policies(const struct invocation *inv, struct sluice_err *err);
int run_get_peers(const struct invocation *inv, struct sluice_err *err);
int run_get_rules(const struct invocation *inv, struct sluice_err *err);
int run_get_rulesets(const struct invocation *inv, struct sluice_err *err);
int run_get_uplinks(const struct invocation *inv, struct sluice_err *err);
int run_ct_list(const struct invocation *inv, struct sluice_err *err);
int run_ct_flush(const struct invocation *inv, struct sluice_err *err);
int run_ct_stats(const struct invocation *inv, struct sluice_err *err);
int run_ct_save(const struct invocation *inv, struct sluice_err *err);
int run_ct_restore(const struct invocation *inv, struct sluice_err *err);
int run_stats(const struct invocation *inv, struct sluice_err *err);
int run_monitor(const struct invocation *inv, struct sluice_err *err);
int run_doctor(const struct invocation *inv, struct sluice_err *err);
int run_bpf_remove(const struct invocation *inv, struct sluice_err *err);

#endif
