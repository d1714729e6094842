// SPDX-License-Identifier: GPL-2.0-only
/* Help, the manual page and tab completion: all of it made from the table of commands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/sluicectl/command.h"

#define WIDTH 80

/* Prints text in lines of at most WIDTH; the first one has been printed up to column "at". */
static void print_wrapped(const char *text, int indent, int at)
{
	while (*text) {
		int len = (int)strcspn(text, " ");

		if (at + 1 + len > WIDTH && at > indent) {
			printf("\n%*s", indent, "");
			at = indent;
		} else if (at > indent) {
			putchar(' ');
			at++;
		}
		printf("%.*s", len, text);
		at += len;
		text += len + strspn(text + len, " ");
	}
	putchar('\n');
}

static void print_option(const struct option_spec *o)
{
	int len = printf("  --%s%s%s", o->name, o->value ? " " : "", o->value ?: "");

	if (len > 22) {
		putchar('\n');
		len = 0;
	}
	printf("%*s", 24 - len, "");
	print_wrapped(o->help, 24, 24);
}

void print_overview(void)
{
	puts("usage: sluicectl COMMAND [OPTION]...\n"
	     "\n"
	     "Shows what Sluice does on this node, and explains it.\n");
	for (const struct command *c = commands; c->name; c++)
		printf("  %-14s %-12s %s\n", c->name, c->args, c->summary);
	puts("\nAll commands take -o json and --help. Manual: sluicectl(8)");
}

void print_help(const struct command *command)
{
	printf("usage: sluicectl %s [OPTION]...%s%s\n\n", command->name, *command->args ? " " : "",
	       command->args);
	print_wrapped(command->text, 0, 0);
	putchar('\n');
	for (const struct option_spec *o = command->options; o && o->name; o++)
		print_option(o);
	for (const struct option_spec *o = common_options; o->name; o++)
		print_option(o);
}

/* Text for roff: a backslash, and a dot or quote at the beginning of a line, mean something. */
static void print_roff(const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", stdout);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", stdout);
		else if (*text == '-')
			fputs("\\-", stdout);
		else
			putchar(*text);
	}
}

static void print_roff_option(const struct option_spec *o, bool optional)
{
	printf(optional ? " [\\fB" : ".TP\n\\fB");
	print_roff("--");
	print_roff(o->name);
	printf("\\fR");
	if (o->value)
		printf(" \\fI%s\\fR", o->value);
	printf(optional ? "]" : "\n");
	if (optional)
		return;
	print_roff(o->help);
	putchar('\n');
}

void print_manual(void)
{
	puts(".\\\" SPDX-License-Identifier: GPL-2.0-only\n"
	     ".\\\" Made by: sluicectl help --man\n"
	     ".TH SLUICECTL 8 \"\" \"Sluice\" \"Sluice\"\n"
	     ".SH NAME\n"
	     "sluicectl \\- show and explain what Sluice does on this node\n"
	     ".SH SYNOPSIS\n"
	     ".B sluicectl\n"
	     ".I COMMAND\n"
	     ".RI [ OPTION ]...\n"
	     ".SH DESCRIPTION\n"
	     "Sluice enforces Kubernetes network policy and does Kubernetes service NAT inside the\n"
	     "Linux kernel. This command shows its state: what the controller, sluiced(8), knows, and\n"
	     "what the data plane does, be it the kernel module or the eBPF variant. Most commands\n"
	     "need root in the initial user namespace.\n"
	     "They speak of the network namespace that they run in.\n"
	     ".SH COMMANDS");
	for (const struct command *c = commands; c->name; c++) {
		printf(".SS \"%s%s%s\"\n", c->name, *c->args ? " " : "", c->args);
		print_roff(c->text);
		putchar('\n');
		for (const struct option_spec *o = c->options; o && o->name; o++)
			print_roff_option(o, false);
	}
	puts(".SH OPTIONS\n"
	     "All commands take these.");
	for (const struct option_spec *o = common_options; o->name; o++)
		print_roff_option(o, false);
	puts(".SH OUTPUT\n"
	     "Text is for people and may change. JSON is for programs: fields may be added, and are\n"
	     "never renamed. A list is one array with one object for each item.\n"
	     ".SH EXIT STATUS\n"
	     ".TP\n"
	     "0\n"
	     "It worked.\n"
	     ".TP\n"
	     "1\n"
	     "It did not; standard error says why.\n"
	     ".TP\n"
	     "2\n"
	     "The command line is wrong.\n"
	     ".SH ENVIRONMENT\n"
	     ".TP\n"
	     "SLUICE_SOCKET\n"
	     "The unix socket of sluiced, where\n"
	     ".B \\-\\-socket\n"
	     "names none.\n"
	     ".SH FILES\n"
	     ".TP\n"
	     "/run/sluice/sluiced.sock\n"
	     "The unix socket of sluiced.\n"
	     ".TP\n"
	     "/proc/net/sluice/\n"
	     "The module's tables as text.\n"
	     ".TP\n"
	     "/sys/fs/bpf/sluice/net-*/\n"
	     "The maps of the eBPF variant, one directory a network namespace.\n"
	     ".SH EXAMPLES\n"
	     "Which rule drops my packets?\n"
	     ".PP\n"
	     ".RS\n"
	     ".nf\n"
	     "sluicectl monitor \\-\\-type denied\n"
	     "sluicectl trace \\-\\-from shop/frontend \\-\\-to svc:shop/api \\-\\-port 80\n"
	     ".fi\n"
	     ".RE\n"
	     ".PP\n"
	     "Reload the module and keep the connections:\n"
	     ".PP\n"
	     ".RS\n"
	     ".nf\n"
	     "sluicectl ct save /run/sluice/connections\n"
	     "rmmod sluice && modprobe sluice\n"
	     "until sluicectl status; do sleep 0.1; done\n"
	     "sluicectl ct restore /run/sluice/connections\n"
	     ".fi\n"
	     ".RE\n"
	     ".SH SEE ALSO\n"
	     ".BR sluiced (8),\n"
	     ".BR sluice\\-cni (8)");
}

/* Completion ******************************************************************************/

static void offer(const char *word, size_t len, const char *typed)
{
	if (len >= strlen(typed) && !strncmp(word, typed, strlen(typed)))
		printf("%.*s\n", (int)len, word);
}

static void offer_words(const char *words, const char *typed)
{
	for (size_t len; *words; words += len + strspn(words + len, " ")) {
		len = strcspn(words, " ");
		offer(words, len, typed);
	}
}

static const struct option_spec *find_spec(const struct command *command, const char *name)
{
	for (const struct option_spec *o = command->options; o && o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	for (const struct option_spec *o = common_options; o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

static void offer_options(const struct option_spec *o, const char *typed)
{
	for (; o && o->name; o++) {
		char *word;

		if (asprintf(&word, "--%s", o->name) < 0)
			sluice_alloc_check(NULL);
		offer(word, strlen(word), typed);
		free(word);
	}
}

/* The word of a command's name after these; NULL: its name has other words, or is complete. */
static const char *next_word(const struct command *command, char **words, size_t n)
{
	const char *at = command->name;

	for (size_t i = 0; i < n; i++) {
		size_t len = strcspn(at, " ");

		if (strlen(words[i]) != len || strncmp(words[i], at, len))
			return NULL;
		at += len + strspn(at + len, " ");
	}
	return *at ? at : NULL;
}

static const struct command *find_complete(char **words, size_t n)
{
	for (const struct command *c = commands; c->name; c++) {
		size_t parts = strchr(c->name, ' ') ? 2 : 1;

		if (n < parts)
			continue;
		if (parts == 1 ? !strcmp(words[0], c->name) :
				 !strncmp(c->name, words[0], strlen(words[0])) &&
					 c->name[strlen(words[0])] == ' ' &&
					 !strcmp(c->name + strlen(words[0]) + 1, words[1]))
			return c;
	}
	return NULL;
}

void print_completion(char **words, size_t n)
{
	const char *typed = n ? words[n - 1] : "", *before = n > 1 ? words[n - 2] : "";
	const struct command *command = n > 1 ? find_complete(words, n - 1) : NULL;
	const struct option_spec *spec = NULL;
	const char *last = "";

	if (command) {
		if (!strcmp(before, "-o"))
			spec = find_spec(command, "output");
		else if (!strncmp(before, "--", 2))
			spec = find_spec(command, before + 2);
		if (spec && spec->value) {
			if (spec->words)
				offer_words(spec->words, typed);
			return;
		}
		offer_options(command->options, typed);
		offer_options(common_options, typed);
		return;
	}
	for (const struct command *c = commands; c->name; c++) {
		const char *word = next_word(c, words, n ? n - 1 : 0);
		size_t len = word ? strcspn(word, " ") : 0;

		/* Once, though many commands begin with "get". */
		if (!word || (strlen(last) >= len && !strncmp(last, word, len)))
			continue;
		offer(word, len, typed);
		last = word;
	}
}

int run_help(const struct invocation *inv, struct sluice_err *err)
{
	const struct command *command;

	if (option_given(inv, "man")) {
		print_manual();
		return 0;
	}
	if (!inv->n_args) {
		print_overview();
		return 0;
	}
	command = find_complete(inv->args, inv->n_args);
	if (!command) {
		sluice_err_set(err, EINVAL, "there is no command \"%s%s%s\"", inv->args[0],
			       inv->n_args > 1 ? " " : "", inv->n_args > 1 ? inv->args[1] : "");
		return USAGE;
	}
	print_help(command);
	return 0;
}
