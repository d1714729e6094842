// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the running kernel's verifier says of an object's programs, as TAP: each is loaded and thrown away, and
 * what that took is printed. A program that would take more than a quarter of the verifier's limit has failed,
 * too: other kernels take other ways.
 *
 * usage: verify OBJECT [PROGRAM]
 *        verify --any
 *
 * With a program's name, what the verifier says while it looks at that one, instead. --any: may programs be
 * loaded here at all? Says so by its exit code.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define LOG_BYTES (256u << 20)
#define LOG_STATS 4 /* of bpf(2)'s log_level */
#define LOG_STEPS 2
#define MOST 250000 /* instructions looked at; the verifier's limit is a million */
#define LINES 40

static char *text;

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* The log's last lines, as TAP's comments. */
static void print_tail(const char *log)
{
	const char *line = log + strlen(log);
	int n = 0;

	while (line > log && n <= LINES)
		if (*--line == '\n')
			n++;
	for (; *line; line++) {
		if (line == log || line[-1] == '\n')
			fputs("# ", stdout);
		putchar(*line);
	}
}

/* Instructions looked at to accept it; negative: it was not. */
static long verify(const char *path, const char *name, int level)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *p;
	const char *processed;
	long n = -1;

	if (!object)
		return -1;
	bpf_object__for_each_program(p, object)
	{
		bool mine = !strcmp(bpf_program__name(p), name);

		bpf_program__set_autoload(p, mine);
		if (mine) {
			bpf_program__set_log_level(p, level);
			bpf_program__set_log_buf(p, text, LOG_BYTES);
		}
	}
	*text = 0;
	if (!bpf_object__load(object)) {
		processed = strstr(text, "processed ");
		n = processed ? atol(processed + strlen("processed ")) : 0;
	} else {
		printf("# %s: %s\n", name, strerror(errno));
	}
	bpf_object__close(object);
	return n;
}

static int load_any(void)
{
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "nothing", "GPL", nothing, 2, NULL);
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	struct bpf_program *p;
	int count = 0, failed = 0;

	text = malloc(LOG_BYTES);
	if (argc < 2 || argc > 3 || !text) {
		fprintf(stderr, "usage: verify OBJECT [PROGRAM]\n");
		return 2;
	}
	libbpf_set_print(quiet);
	if (!strcmp(argv[1], "--any"))
		return load_any() < 0;
	if (argc == 3) {
		long n = verify(argv[1], argv[2], LOG_STEPS | LOG_STATS);

		fputs(text, stdout);
		return n < 0;
	}
	object = bpf_object__open_file(argv[1], NULL);
	if (!object) {
		fprintf(stderr, "verify: %s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	bpf_object__for_each_program(p, object)
	{
		const char *name = bpf_program__name(p);
		long n = verify(argv[1], name, LOG_STATS);
		bool good = n >= 0 && n <= MOST;

		if (n < 0)
			print_tail(text);
		else
			printf("# %s: %ld instructions looked at\n", name, n);
		printf("%sok %d - the verifier accepts %s\n", good ? "" : "not ", ++count, name);
		fflush(stdout);
		failed |= !good;
	}
	bpf_object__close(object);
	printf("1..%d\n", count);
	return failed || !count;
}
