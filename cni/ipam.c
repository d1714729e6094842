// SPDX-License-Identifier: GPL-2.0-only
#include "cni/ipam.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cni/result.h"

#define ANSWER_MAX (1u << 20)

static char *find_plugin(const char *path, const char *type)
{
	while (*path) {
		size_t len = strcspn(path, ":");
		struct stat st;
		char *file;

		if (len && asprintf(&file, "%.*s/%s", (int)len, path, type) >= 0) {
			if (!stat(file, &st) && S_ISREG(st.st_mode) && !access(file, X_OK))
				return file;
			free(file);
		}
		path += len;
		path += *path == ':';
	}
	return NULL;
}

/* A file in memory that holds stdin: unlike a pipe it can be filled before anyone reads. */
static int stdin_copy(const struct cni_request *req)
{
	int fd = memfd_create("stdin", MFD_CLOEXEC);
	size_t done = 0;

	while (fd >= 0 && done < req->stdin_len) {
		ssize_t n = write(fd, req->stdin_data + done, req->stdin_len - done);

		if (n > 0) {
			done += n;
		} else if (errno != EINTR) {
			close(fd);
			return -1;
		}
	}
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

/* Everything until the end of file, at most ANSWER_MAX; NULL with errno set on failure. */
static char *read_all(int fd, size_t *len)
{
	char *text = malloc(ANSWER_MAX);

	*len = 0;
	while (text) {
		ssize_t n = read(fd, text + *len, ANSWER_MAX - *len);

		if (n > 0)
			*len += n;
		else if (n == 0 && *len < ANSWER_MAX)
			return text;
		else if (n == 0 || errno != EINTR) {
			if (n == 0)
				errno = EFBIG;
			free(text);
			return NULL;
		}
	}
	return NULL;
}

static void run_child(const char *file, const char *command, int in, int out)
{
	char *argv[] = { (char *)file, NULL };

	/* main() ignores it, and an ignored signal stays ignored over exec. */
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    setenv("CNI_COMMAND", command, 1))
		_exit(127);
	execv(file, argv);
	fprintf(stderr, "sluice-cni: run %s: %s\n", file, strerror(errno));
	_exit(127);
}

int cni_ipam_run(const struct cni_request *req, const char *command, char **answer, size_t *len,
		 struct cni_failure *failure)
{
	const char *type = req->ipam_type;
	int out[2] = { -1, -1 }, in = -1, status = 0, ret = -1, saved;
	char *file, *text = NULL;
	size_t n = 0;
	pid_t pid;

	file = find_plugin(req->path, type);
	if (!file)
		return cni_fail(failure, CNI_BAD_CONFIG,
				"failed to find plugin \"%s\" in path [%s]", type, req->path);
	in = stdin_copy(req);
	if (in < 0 || pipe2(out, O_CLOEXEC)) {
		cni_fail(failure, CNI_IPAM, "IPAM plugin %s: %s", type, strerror(errno));
		goto out;
	}
	pid = fork();
	if (pid < 0) {
		cni_fail(failure, CNI_IPAM, "IPAM plugin %s: fork: %s", type, strerror(errno));
		goto out;
	}
	if (!pid)
		run_child(file, command, in, out[1]);
	close(out[1]);
	out[1] = -1;
	text = read_all(out[0], &n);
	saved = errno;
	/* Closed before waiting: a plugin that prints without end then gets SIGPIPE. */
	close(out[0]);
	out[0] = -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!text) {
		cni_fail(failure, CNI_IPAM, "IPAM plugin %s: read its answer: %s", type,
			 strerror(saved));
	} else if (WIFEXITED(status) && !WEXITSTATUS(status)) {
		ret = 0;
	} else if (!cni_result_read_error(text, n, failure)) {
		if (WIFSIGNALED(status))
			cni_fail(failure, CNI_IPAM, "IPAM plugin %s ended by signal %d", type,
				 WTERMSIG(status));
		else
			cni_fail(failure, CNI_IPAM,
				 "IPAM plugin %s failed with status %d and no error object", type,
				 WEXITSTATUS(status));
	}
	if (!ret && answer) {
		*answer = text;
		*len = n;
		text = NULL;
	}
out:
	for (int i = 0; i < 2; i++)
		if (out[i] >= 0)
			close(out[i]);
	if (in >= 0)
		close(in);
	free(text);
	free(file);
	return ret;
}
