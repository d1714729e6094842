// SPDX-License-Identifier: GPL-2.0-only
/* sluicectl: finds the command, reads its options by the table, runs it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/sluicectl/command.h"

__attribute__((noreturn, format(printf, 1, 2))) static void refuse(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("sluicectl: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(EXIT_USAGE);
}

/* "get", with the name of a command that begins with it; NULL: none does. */
static const char *group_member(const char *word)
{
	for (const struct command *c = commands; c->name; c++)
		if (!strncmp(c->name, word, strlen(word)) && c->name[strlen(word)] == ' ')
			return c->name;
	return NULL;
}

/* The command, and how many words its name has taken. */
static const struct command *find_command(int argc, char **argv, int *words)
{
	if (argc < 2)
		refuse("a command is missing (sluicectl --help)");
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) {
		print_overview();
		exit(EXIT_SUCCESS);
	}
	for (const struct command *c = commands; c->name; c++) {
		const char *second = strchr(c->name, ' ');
		size_t len = second ? (size_t)(second - c->name) : strlen(c->name);

		if (strlen(argv[1]) != len || strncmp(argv[1], c->name, len))
			continue;
		if (!second) {
			*words = 1;
			return c;
		}
		if (argc > 2 && !strcmp(argv[2], second + 1)) {
			*words = 2;
			return c;
		}
	}
	if (!group_member(argv[1]))
		refuse("unknown command \"%s\" (sluicectl --help)", argv[1]);
	if (argc == 2)
		refuse("\"%s\" what? Such as \"%s\" (sluicectl --help)", argv[1],
		       group_member(argv[1]));
	if (!strcmp(argv[2], "-h") || !strcmp(argv[2], "--help")) {
		print_overview();
		exit(EXIT_SUCCESS);
	}
	refuse("unknown command \"%s %s\" (sluicectl --help)", argv[1], argv[2]);
}

static size_t count_options(const struct option_spec *o)
{
	size_t n = 0;

	while (o && o[n].name)
		n++;
	return n;
}

static void use(struct invocation *inv, const struct option_spec *spec, const char *value)
{
	inv->uses = sluice_realloc(inv->uses, inv->n_uses + 1, sizeof(*inv->uses));
	inv->uses[inv->n_uses++] = (struct option_use){ spec, value ? value : "" };
}

/* An option whose value is called "PATH..." takes all words up to the next option. */
static bool takes_many(const struct option_spec *spec)
{
	return spec->value && strstr(spec->value, "...");
}

static void parse(struct invocation *inv, int argc, char **argv)
{
	const struct command *command = inv->command;
	size_t n_own = count_options(command->options), n_common = count_options(common_options);
	struct option *longs = sluice_zalloc((n_own + n_common + 1) * sizeof(*longs));
	const struct option_spec **specs = sluice_zalloc((n_own + n_common) * sizeof(*specs));
	const struct option_spec *many = NULL;
	int opt, index;

	for (size_t i = 0; i < n_own + n_common; i++) {
		specs[i] = i < n_own ? &command->options[i] : &common_options[i - n_own];
		longs[i].name = specs[i]->name;
		longs[i].has_arg = specs[i]->value ? required_argument : no_argument;
	}
	inv->args = sluice_zalloc((argc + 1) * sizeof(*inv->args));
	opterr = 0;
	for (;;) {
		const char *word = optind < argc ? argv[optind] : "";

		index = -1;
		opt = getopt_long(argc, argv, "-:o:h", longs, &index);
		if (opt == -1)
			break;
		if (opt == 1) {
			if (many)
				use(inv, many, optarg);
			else
				inv->args[inv->n_args++] = optarg;
			continue;
		}
		many = NULL;
		if (opt == ':')
			refuse("%s: %s needs a value (sluicectl %s --help)", command->name, word,
			       command->name);
		if (opt == '?')
			refuse("%s: unknown option \"%s\" (sluicectl %s --help)", command->name,
			       word, command->name);
		if (opt == 'h' || (!opt && !strcmp(specs[index]->name, "help"))) {
			print_help(command);
			exit(EXIT_SUCCESS);
		}
		if (opt == 'o' || (!opt && !strcmp(specs[index]->name, "output"))) {
			inv->json = !strcmp(optarg, "json");
			if (!inv->json && strcmp(optarg, "text"))
				refuse("%s: -o %s: not text or json", command->name, optarg);
			continue;
		}
		use(inv, specs[index], optarg);
		if (takes_many(specs[index]))
			many = specs[index];
	}
	for (; optind < argc; optind++) /* behind "--" */
		inv->args[inv->n_args++] = argv[optind];
	if (inv->n_args > command->max_args)
		refuse("%s: unexpected argument \"%s\" (sluicectl %s --help)", command->name,
		       inv->args[command->max_args], command->name);
	if (inv->n_args < command->min_args)
		refuse("%s: %s is missing (sluicectl %s --help)", command->name, command->args,
		       command->name);
	free(longs);
	free(specs);
}

int main(int argc, char **argv)
{
	struct invocation inv = { 0 };
	int words, ret;
	SLUICE_ERR(err);

	/* For the shell's completion script; not a command for people. */
	if (argc > 1 && !strcmp(argv[1], "__complete")) {
		print_completion(argv + 2, argc - 2);
		return EXIT_SUCCESS;
	}
	inv.command = find_command(argc, argv, &words);
	/* getopt skips the first word, as if the last word of the name were the program. */
	parse(&inv, argc - words, argv + words);
	ret = inv.command->run(&inv, &err);
	/* A broken pipe or a full disk shows here. */
	if (fflush(stdout) && !ret)
		ret = sluice_err_errno(&err, errno, "stdout");
	if (ret)
		fprintf(stderr, "sluicectl: %s\n", sluice_err_msg(&err));
	free(inv.uses);
	free(inv.args);
	return ret == USAGE ? EXIT_USAGE : ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
