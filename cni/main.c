// SPDX-License-Identifier: GPL-2.0-only
/*
 * sluice-cni: the CNI plugin that attaches pods to Sluice. A container runtime starts it once for
 * each command; request.h lists the configuration keys, layout.h shows what it makes.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cni/command.h"
#include "cni/result.h"

static void about(void)
{
	fprintf(stderr, "CNI plugin sluice-cni: attaches pods to the Sluice data plane\n"
			"CNI protocol versions supported:");
	for (const char *const *v = cni_supported_versions; *v; v++)
		fprintf(stderr, "%s %s", v == cni_supported_versions ? "" : ",", *v);
	fputc('\n', stderr);
}

static int run(struct cni_request *req, struct cni_failure *failure)
{
	if (cni_request_environment(req, failure))
		return -1;
	if (req->command == CNI_VERSION) /* without reading stdin: it may be left open */
		return cni_version(failure);
	if (cni_request_read(req, STDIN_FILENO, failure) || cni_request_config(req, failure))
		return -1;
	switch (req->command) {
	case CNI_ADD:
		return cni_add(req, failure);
	case CNI_DEL:
		return cni_del(req, failure);
	case CNI_CHECK:
		return cni_check(req, failure);
	case CNI_GC:
		return cni_gc(req, failure);
	case CNI_STATUS:
		return cni_status(req, failure);
	case CNI_VERSION:
		break;
	}
	return cni_fail(failure, CNI_INTERNAL, "unknown command");
}

/* The version to answer errors in: the request's when it is one of ours. */
static const char *answer_version(const struct cni_request *req)
{
	for (const char *const *v = cni_supported_versions; req->version && *v; v++)
		if (!strcmp(*v, req->version))
			return *v;
	return CNI_NEWEST_VERSION;
}

int main(void)
{
	const char *command = getenv("CNI_COMMAND");
	struct cni_failure failure = { 0 };
	struct cni_request req = { 0 };
	int ret;

	if (!command || !*command) {
		about();
		return EXIT_SUCCESS;
	}
	/* A runtime that is gone must be an error of write(): ADD then takes everything back. */
	signal(SIGPIPE, SIG_IGN);

	ret = run(&req, &failure);
	if (ret) {
		char *line = cni_result_error(answer_version(&req), &failure);

		if (!line || fputs(line, stdout) < 0 || fflush(stdout))
			cni_log("%s", failure.msg ? failure.msg : "out of memory");
		free(line);
	}
	cni_failure_clear(&failure);
	cni_request_clear(&req);
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
