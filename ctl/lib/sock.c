// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/sock.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* Wait until the socket can do what is asked, at most until the deadline. */
static int wait_for(int fd, short events, long long deadline, struct sluice_err *err)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	for (;;) {
		long long left = deadline - now();
		int n = poll(&pfd, 1, left > 0 ? (int)left : 0);

		if (n > 0)
			return 0;
		if (n == 0)
			return sluice_err_set(err, ETIMEDOUT, "sluiced did not answer in time");
		if (errno != EINTR)
			return sluice_err_errno(err, errno, "poll");
	}
}

const char *sluice_sock_path(const char *given)
{
	const char *env = getenv(SLUICE_SOCK_ENV);

	if (given && *given)
		return given;
	return env && *env ? env : SLUICE_SOCK_DEFAULT;
}

int sluice_sock_connect(struct sluice_sock *sock, const char *path, int timeout,
			struct sluice_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	long long deadline = now() + timeout;
	int fd;

	*sock = (struct sluice_sock)SLUICE_SOCK_INIT;
	if (strlen(path) >= sizeof(addr.sun_path))
		return sluice_err_set(err, EINVAL, "socket path %s is longer than %zu bytes", path,
				      sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return sluice_err_errno(err, errno, "socket");
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		/* EAGAIN: the listen queue is full; a unix socket gives no event to wait for. */
		if ((errno == EAGAIN || errno == EINTR) && now() < deadline) {
			nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
			continue;
		}
		sluice_err_set(err, ECONNREFUSED, "connect to sluiced at %s: %s", path,
			       strerror(errno));
		close(fd);
		return -ECONNREFUSED;
	}
	sock->fd = fd;
	return 0;
}

void sluice_sock_close(struct sluice_sock *sock)
{
	if (sock->fd >= 0)
		close(sock->fd);
	free(sock->buf);
	*sock = (struct sluice_sock)SLUICE_SOCK_INIT;
}

int sluice_sock_send(struct sluice_sock *sock, const json_t *request, int timeout,
		     struct sluice_err *err)
{
	/* Compact output escapes control characters: a request never holds a line feed. */
	char *line = json_dumps(request, JSON_COMPACT);
	long long deadline = now() + timeout;
	size_t done = 0, len;
	int ret = 0;

	if (!line)
		return sluice_err_set(err, EINVAL, "the request cannot be written as JSON");
	len = strlen(line);
	line[len++] = '\n'; /* in place of the terminator */
	while (done < len) {
		ssize_t n = send(sock->fd, line + done, len - done, MSG_NOSIGNAL);

		if (n >= 0) {
			done += n;
		} else if (errno == EAGAIN) {
			ret = wait_for(sock->fd, POLLOUT, deadline, err);
			if (ret)
				break;
		} else if (errno != EINTR) {
			ret = sluice_err_errno(err, errno, "send to sluiced");
			break;
		}
	}
	free(line);
	return ret;
}

static int make_room(struct sluice_sock *sock, struct sluice_err *err)
{
	size_t cap = sock->cap ? sock->cap * 2 : 4096;
	char *buf;

	if (sock->len < sock->cap)
		return 0;
	if (cap > SLUICE_SOCK_LINE_MAX)
		return sluice_err_set(err, EPROTO, "sluiced's answer is longer than %u bytes",
				      SLUICE_SOCK_LINE_MAX);
	buf = realloc(sock->buf, cap);
	if (!buf)
		return sluice_err_set(err, ENOMEM, "out of memory");
	sock->buf = buf;
	sock->cap = cap;
	return 0;
}

int sluice_sock_receive(struct sluice_sock *sock, json_t **answer, int timeout,
			struct sluice_err *err)
{
	long long deadline = now() + timeout;
	json_error_t why;
	size_t seen = 0;
	json_t *json;
	char *end;
	int ret;

	for (;;) {
		ssize_t n;

		end = sock->len > seen ? memchr(sock->buf + seen, '\n', sock->len - seen) : NULL;
		if (end)
			break;

		seen = sock->len;
		ret = make_room(sock, err);
		if (ret)
			return ret;
		n = recv(sock->fd, sock->buf + sock->len, sock->cap - sock->len, 0);
		if (n > 0) {
			sock->len += n;
		} else if (n == 0) {
			return sluice_err_set(err, ECONNRESET, "sluiced closed the connection");
		} else if (errno == EAGAIN) {
			ret = wait_for(sock->fd, POLLIN, deadline, err);
			if (ret)
				return ret;
		} else if (errno != EINTR) {
			return sluice_err_errno(err, errno, "receive from sluiced");
		}
	}

	json = json_loadb(sock->buf, end - sock->buf, JSON_REJECT_DUPLICATES, &why);
	sock->len -= end + 1 - sock->buf;
	memmove(sock->buf, end + 1, sock->len);
	if (!json)
		return sluice_err_set(err, EPROTO, "sluiced's answer is not JSON: %s", why.text);
	if (!json_is_object(json)) {
		json_decref(json);
		return sluice_err_set(err, EPROTO, "sluiced's answer is not a JSON object");
	}
	*answer = json;
	return 0;
}

static int errno_of_word(const char *word)
{
	static const struct {
		const char *word;
		int code;
	} words[] = {
		{ "bad-request", EINVAL }, { "not-ready", EAGAIN },  { "timeout", ETIMEDOUT },
		{ "not-found", ENOENT },   { "unknown-pod", ESRCH }, { "kernel", EIO },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(word, words[i].word))
			return words[i].code;
	return EIO;
}

int sluice_sock_ask(struct sluice_sock *sock, const json_t *request, json_t **answer, int timeout,
		    struct sluice_err *err)
{
	const char *word = NULL, *message = NULL;
	long long deadline = now() + timeout;
	json_t *json, *ok;
	int ret;

	ret = sluice_sock_send(sock, request, timeout, err);
	if (ret)
		return ret;
	ret = sluice_sock_receive(sock, &json, (int)(deadline - now()), err);
	if (ret)
		return ret;

	ok = json_object_get(json, "ok");
	if (json_is_true(ok)) {
		if (answer)
			*answer = json;
		else
			json_decref(json);
		return 0;
	}
	if (json_is_false(ok) &&
	    !json_unpack(json, "{s:{s:s,s:s}}", "error", "code", &word, "message", &message))
		ret = sluice_err_set(err, errno_of_word(word), "sluiced: %s: %s", word, message);
	else
		ret = sluice_err_set(err, EPROTO, "sluiced's answer has no \"ok\" or no \"error\"");
	json_decref(json);
	return ret;
}

int sluice_sock_call(const char *path, const json_t *request, json_t **answer, int timeout,
		     struct sluice_err *err)
{
	struct sluice_sock sock;
	int ret;

	ret = sluice_sock_connect(&sock, path, timeout, err);
	if (ret)
		return ret;
	ret = sluice_sock_ask(&sock, request, answer, timeout, err);
	sluice_sock_close(&sock);
	return ret;
}
