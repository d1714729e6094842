// SPDX-License-Identifier: GPL-2.0-only
/*
 * put: writes its input to a file at once.
 *
 *	put FILE
 *
 * Whoever reads FILE sees what was there before or all of the new, never a part.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char buf[1 << 16];
	char name[4096];
	const char *slash;
	ssize_t n;
	int fd;

	if (argc != 2)
		return 2;
	/* Beside it, so that it can be renamed; hidden, so that nobody takes it for one of theirs. */
	slash = strrchr(argv[1], '/');
	slash = slash ? slash + 1 : argv[1];
	snprintf(name, sizeof(name), "%.*s.%s.new", (int)(slash - argv[1]), argv[1], slash);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		goto fail;
	while ((n = read(0, buf, sizeof(buf))) > 0)
		if (write(fd, buf, n) != n)
			goto fail;
	if (n < 0 || close(fd) || rename(name, argv[1]))
		goto fail;
	return 0;
fail:
	fprintf(stderr, "put: %s: %s\n", argv[1], strerror(errno));
	return 1;
}
