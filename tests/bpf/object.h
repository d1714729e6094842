/* SPDX-License-Identifier: GPL-2.0-only */
/* A loaded BPF object of a test: its maps, its programs. What fails here ends the test. */
#ifndef SLUICE_TESTS_BPF_OBJECT_H
#define SLUICE_TESTS_BPF_OBJECT_H

#include <errno.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "tests/unit/tap.h"

static struct bpf_object *object;

__attribute__((format(printf, 1, 2), noreturn, unused)) static void bail(const char *fmt, ...)
{
	va_list ap;

	printf("Bail out! ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

__attribute__((unused)) static void object_open(const char *path)
{
	object = bpf_object__open_file(path, NULL);
	if (!object)
		bail("%s does not open: %s", path, strerror(errno));
}

__attribute__((unused)) static void object_load(void)
{
	if (bpf_object__load(object))
		bail("%s does not load: %s", bpf_object__name(object), strerror(errno));
}

__attribute__((unused)) static struct bpf_map *object_map(const char *name)
{
	struct bpf_map *m = bpf_object__find_map_by_name(object, name);

	if (!m)
		bail("there is no map %s", name);
	return m;
}

__attribute__((unused)) static int map(const char *name)
{
	return bpf_map__fd(object_map(name));
}

__attribute__((unused)) static int program(const char *name)
{
	struct bpf_program *p = bpf_object__find_program_by_name(object, name);

	if (!p)
		bail("there is no program %s", name);
	return bpf_program__fd(p);
}

__attribute__((unused)) static void put(const char *name, const void *key, const void *value)
{
	if (bpf_map_update_elem(map(name), key, value, 0))
		bail("writing to %s: %s", name, strerror(errno));
}

/* Runs a tc program on a packet of zeros; what it returns. *ns: what a run took, on the average. */
__attribute__((unused)) static int run(int fd, __u32 repeat, __u32 *ns)
{
	char packet[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = repeat);

	if (bpf_prog_test_run_opts(fd, &opts))
		bail("running a program: %s", strerror(errno));
	if (ns)
		*ns = opts.duration;
	return (int)opts.retval;
}

#endif
