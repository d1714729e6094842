// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/sluiced/controller.h"
#include "ctl/sluiced/log.h"
#include "ctl/sluiced/request.h"

struct client {
	struct server *server;
	struct client *next;
	struct watch watch;
	struct timer timer; /* of waiting */
	struct waiting *waiting; /* the request whose answer is put off, or NULL */
	char *in;
	size_t in_len;
	size_t in_cap;
	char *out;
	size_t out_len;
	size_t out_cap;
	size_t out_sent;
	bool eof; /* it sends no more requests */
	bool broken; /* to be closed once what is in out has been sent */
};

static void close_client(struct client *client)
{
	struct server *s = client->server;
	struct client **at = &s->clients;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	s->n_clients--;
	loop_disarm(s->controller->loop, &client->timer);
	if (client->waiting) {
		client->waiting->cancel(client, client->waiting);
		free(client->waiting);
	}
	close(client->watch.fd);
	free(client->in);
	free(client->out);
	free(client);
}

/* The events it waits for now; EPOLLHUP always comes. */
static void update_events(struct client *client)
{
	uint32_t events = 0;

	if (!client->eof && !client->broken && !client->waiting)
		events |= EPOLLIN;
	if (client->out_sent < client->out_len)
		events |= EPOLLOUT;
	loop_change(client->server->controller->loop, &client->watch, events);
}

/* False: the client is gone. */
static bool send_out(struct client *client)
{
	while (client->out_sent < client->out_len) {
		ssize_t n = send(client->watch.fd, client->out + client->out_sent,
				 client->out_len - client->out_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		client->out_sent += n;
	}
	client->out_sent = client->out_len = 0;
	return true;
}

void client_answer(struct client *client, json_t *answer)
{
	char *line = sluice_alloc_check(json_dumps(answer, JSON_COMPACT));
	size_t len = strlen(line) + 1;

	json_decref(answer);
	line[len - 1] = '\n';
	if (client->out_len + len > client->out_cap) {
		client->out_cap = client->out_len + len;
		client->out = sluice_realloc(client->out, client->out_cap, 1);
	}
	memcpy(client->out + client->out_len, line, len);
	client->out_len += len;
	free(line);
}

void client_refuse(struct client *client, const char *code, const char *fmt, ...)
{
	char *message;
	json_t *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&message, fmt, ap) < 0)
		sluice_alloc_check(NULL);
	va_end(ap);
	text = json_string(message);
	/* What a request held may not be UTF-8. */
	if (!text)
		text = json_string("the request is refused, and why cannot be said in UTF-8");
	log_debug("request refused", "code", code, "message", message);
	client_answer(client, json_pack("{s:b, s:{s:s, s:o}}", "ok", 0, "error", "code", code,
					"message", text));
	free(message);
}

void client_wait(struct client *client, struct waiting *waiting, int64_t ms)
{
	client->waiting = waiting;
	if (ms)
		loop_arm(client->server->controller->loop, &client->timer, ms);
}

struct controller *client_controller(struct client *client)
{
	return client->server->controller;
}

/* Handles the requests that are there, as far as none has to wait. */
static void handle_lines(struct client *client)
{
	size_t done = 0;
	char *end;

	while (!client->waiting && !client->broken && client->in_len > done &&
	       (end = memchr(client->in + done, '\n', client->in_len - done))) {
		size_t len = end - (client->in + done);

		request_handle(client, client->in + done, len);
		done += len + 1;
	}
	client->in_len -= done;
	if (done && client->in_len)
		memmove(client->in, client->in + done, client->in_len);
	if (client->waiting || client->broken)
		return;
	if (client->in_len > SERVER_LINE_MAX) {
		client_refuse(client, "bad-request", "the request is longer than %u bytes",
			      SERVER_LINE_MAX);
		client->broken = true;
	} else if (client->eof && client->in_len) {
		client_refuse(client, "bad-request", "the request does not end with a line feed");
		client->broken = true;
	}
}

/* Goes on with a client after anything happened to it; it may be gone afterwards. */
static void advance(struct client *client)
{
	handle_lines(client);
	if (!send_out(client) ||
	    ((client->eof || client->broken) && !client->waiting && !client->out_len))
		close_client(client);
	else
		update_events(client);
}

static void try_again(struct client *client, bool expired)
{
	struct waiting *waiting = client->waiting;
	size_t before = client->out_len;

	client->waiting = NULL;
	waiting->again(client, waiting, expired);
	if (client->out_len == before && !client->waiting) {
		client->waiting = waiting;
		return;
	}
	loop_disarm(client->server->controller->loop, &client->timer);
	free(waiting);
	advance(client);
}

static void on_timeout(struct timer *timer)
{
	try_again(container_of(timer, struct client, timer), true);
}

static void on_client(struct watch *watch, uint32_t events)
{
	struct client *client = container_of(watch, struct client, watch);

	/* Both directions are closed: nobody is there to answer. A half-closed one still listens. */
	if (events & (EPOLLHUP | EPOLLERR)) {
		if (client->waiting || !(events & EPOLLIN)) {
			close_client(client);
			return;
		}
	}
	if (events & EPOLLIN) {
		ssize_t n;

		if (client->in_cap - client->in_len < 4096) {
			client->in_cap = client->in_cap ? client->in_cap * 2 : 8192;
			client->in = sluice_realloc(client->in, client->in_cap, 1);
		}
		n = recv(watch->fd, client->in + client->in_len, client->in_cap - client->in_len,
			 0);
		if (n > 0) {
			client->in_len += n;
		} else if (!n) {
			client->eof = true;
		} else if (errno != EAGAIN && errno != EINTR) {
			close_client(client);
			return;
		}
	}
	advance(client);
}

static void on_connection(struct watch *watch, uint32_t events)
{
	static const char full[] = "{\"ok\":false,\"error\":{\"code\":\"not-ready\","
				   "\"message\":\"too many connections\"}}\n";
	struct server *s = container_of(watch, struct server, watch);
	struct client *client;
	int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	SLUICE_ERR(err);

	(void)events;
	if (fd < 0)
		return;
	if (s->n_clients == SERVER_CLIENTS_MAX) {
		if (send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL) < 0) {
			/* It has gone by itself. */
		}
		close(fd);
		return;
	}
	client = sluice_zalloc(sizeof(*client));
	client->server = s;
	client->timer.expired = on_timeout;
	client->watch = (struct watch){ fd, on_client };
	if (loop_add(s->controller->loop, &client->watch, EPOLLIN, &err)) {
		log_error("cannot serve a client", "error", sluice_err_msg(&err));
		close(fd);
		free(client);
		return;
	}
	client->next = s->clients;
	s->clients = client;
	s->n_clients++;
}

void server_settled(struct server *s)
{
	struct client *client, **list = sluice_zalloc(s->n_clients * sizeof(*list));
	size_t n = 0;

	/* A copy: an answer may close its client, and only its own. */
	for (client = s->clients; client; client = client->next)
		if (client->waiting)
			list[n++] = client;
	for (size_t i = 0; i < n; i++)
		try_again(list[i], false);
	free(list);
}

/* Is there somebody behind this socket file? */
static bool somebody_listens(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes;

	if (fd < 0)
		return false;
	yes = !connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) || errno == EAGAIN;
	close(fd);
	return yes;
}

/* /run/sluice, if that is where the socket goes and it is not there. */
static void make_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir;

	if (!slash || slash == path)
		return;
	dir = sluice_alloc_check(strndup(path, slash - path));
	if (mkdir(dir, 0755) && errno != EEXIST)
		log_debug("cannot make the directory of the socket", "directory", dir, "error",
			  strerror(errno));
	free(dir);
}

int server_init(struct server *s, struct controller *c, const char *path, struct sluice_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int fd, ret;

	*s = (struct server){ .controller = c, .path = path };
	if (strlen(path) >= sizeof(addr.sun_path))
		return sluice_err_set(err, EINVAL, "--socket %s: longer than %zu bytes", path,
				      sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	make_directory(path);
	if (somebody_listens(&addr))
		return sluice_err_set(err, EADDRINUSE, "another sluiced listens on %s", path);
	if (!lstat(path, &st) && !S_ISSOCK(st.st_mode))
		return sluice_err_set(err, EEXIST, "%s exists and is not a socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return sluice_err_errno(err, errno, "socket");
	unlink(path);
	/* 0600 from its first moment on. */
	mask = umask(0177);
	ret = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	umask(mask);
	if (ret || listen(fd, SERVER_CLIENTS_MAX)) {
		ret = sluice_err_errno(err, errno, "listen on %s", path);
		close(fd);
		return ret;
	}
	s->watch = (struct watch){ fd, on_connection };
	ret = loop_add(c->loop, &s->watch, EPOLLIN, err);
	if (ret)
		close(fd);
	return ret;
}

void server_exit(struct server *s)
{
	while (s->clients)
		close_client(s->clients);
	close(s->watch.fd);
	unlink(s->path);
}
