// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/sluiced/log.h"

#define AGAIN_MS 5000

bool http_parse_address(const char *text, struct sockaddr_storage *out)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN];
	unsigned long port;
	char *end;
	size_t n;

	memset(out, 0, sizeof(*out));
	if (!colon || colon[1] < '0' || colon[1] > '9')
		return false;
	port = strtoul(colon + 1, &end, 10);
	if (*end || !port || port > 65535)
		return false;
	n = colon - text;
	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
	} else {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
	}
	if (n >= sizeof(host))
		return false;
	memcpy(host, text, n);
	host[n] = '\0';
	return inet_pton(out->ss_family, host,
			 out->ss_family == AF_INET6 ? (void *)&in6->sin6_addr :
						      (void *)&in->sin_addr) == 1;
}

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct http_reply *reply)
{
	struct MHD_Response *response;
	enum MHD_Result ret;

	response = MHD_create_response_from_buffer(reply->len, reply->body, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(reply->body);
		return MHD_NO;
	}
	MHD_add_response_header(response, "Content-Type", reply->type);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (reply->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	ret = MHD_queue_response(connection, reply->status, response);
	MHD_destroy_response(response);
	return ret;
}

static void say(struct http_reply *reply, unsigned int status, const char *text)
{
	reply->status = status;
	reply->body = sluice_strdup(text);
	reply->len = strlen(text);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *data,
				  size_t *data_len, void **state)
{
	static int begun;
	struct http_reply reply = { .status = MHD_HTTP_OK, .type = "text/plain; charset=utf-8" };
	const struct http_route *route;
	struct http_server *s = arg;

	(void)version;
	(void)data;
	/* Called once when the headers are there, and again when all is. A body is thrown away. */
	if (!*state) {
		*state = &begun;
		return MHD_YES;
	}
	if (*data_len) {
		*data_len = 0;
		return MHD_YES;
	}
	for (route = s->routes; route->path && strcmp(route->path, path);)
		route++;
	if (!route->path)
		say(&reply, MHD_HTTP_NOT_FOUND, "no such path\n");
	else if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		say(&reply, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	else
		route->answer(s->arg, &reply);
	return send_reply(connection, &reply);
}

static void on_message(void *arg, const char *fmt, va_list ap)
{
	struct http_server *s = arg;
	char text[256];

	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("HTTP", "address", s->address, "message", text);
}

/* Lets the library do what waits, and asks when it wants to be called without an event. */
static void run(struct http_server *s)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(s->daemon);
	if (MHD_get_timeout(s->daemon, &ms) == MHD_YES)
		loop_arm(s->loop, &s->due, ms < 60000 ? (int64_t)ms : 60000);
	else
		loop_disarm(s->loop, &s->due);
}

static void on_ready(struct watch *watch, uint32_t events)
{
	(void)events;
	run(container_of(watch, struct http_server, watch));
}

static void on_due(struct timer *timer)
{
	run(container_of(timer, struct http_server, due));
}

static void stop(struct http_server *s)
{
	loop_remove(s->loop, &s->watch);
	loop_disarm(s->loop, &s->due);
	MHD_stop_daemon(s->daemon);
	s->daemon = NULL;
}

/* A socket of our own: the library would not say why it has none. */
static int make_socket(const struct http_server *s, struct sluice_err *err)
{
	socklen_t len = s->sockaddr.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) :
							    sizeof(struct sockaddr_in);
	int fd, one = 1, zero = 0;

	fd = socket(s->sockaddr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return sluice_err_errno(err, errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (s->sockaddr.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (!bind(fd, (const struct sockaddr *)&s->sockaddr, len) && !listen(fd, 64))
		return fd;
	one = sluice_err_errno(err, errno, "listen");
	close(fd);
	return one;
}

static int start(struct http_server *s, struct sluice_err *err)
{
	int fd, ret;

	fd = make_socket(s, err);
	if (fd < 0)
		return fd;
	s->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
				     s, MHD_OPTION_EXTERNAL_LOGGER, on_message, s,
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_TIMEOUT,
				     10U, MHD_OPTION_CONNECTION_LIMIT, 64U,
				     MHD_OPTION_PER_IP_CONNECTION_LIMIT, 8U,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)4096,
				     MHD_OPTION_END);
	if (!s->daemon) {
		close(fd);
		return sluice_err_set(err, EIO, "libmicrohttpd does not start");
	}
	s->watch =
		(struct watch){ MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
				on_ready };
	ret = loop_add(s->loop, &s->watch, EPOLLIN, err);
	if (ret) {
		MHD_stop_daemon(s->daemon);
		s->daemon = NULL;
	}
	return ret;
}

static void try_to_listen(struct http_server *s)
{
	SLUICE_ERR(err);

	if (!start(s, &err)) {
		log_info("listening", "address", s->address);
		return;
	}
	if (!s->told)
		log_error("cannot listen, and will try again", "address", s->address, "error",
			  sluice_err_msg(&err));
	s->told = true;
	loop_arm(s->loop, &s->again, AGAIN_MS);
}

static void on_again(struct timer *timer)
{
	try_to_listen(container_of(timer, struct http_server, again));
}

int http_init(struct http_server *s, struct loop *loop, const char *address,
	      const struct http_route *routes, void *arg, struct sluice_err *err)
{
	*s = (struct http_server){ .loop = loop, .address = address, .routes = routes, .arg = arg };
	if (!http_parse_address(address, &s->sockaddr))
		return sluice_err_set(err, EINVAL, "%s: not an address and a port", address);
	s->due.expired = on_due;
	s->again.expired = on_again;
	try_to_listen(s);
	return 0;
}

void http_exit(struct http_server *s)
{
	if (!s->loop)
		return;
	if (s->daemon)
		stop(s);
	loop_disarm(s->loop, &s->again);
	s->loop = NULL;
}
