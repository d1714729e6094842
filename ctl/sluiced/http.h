/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * HTTP for people's tools: GET and HEAD of a few paths, each answered by a function, by libmicrohttpd in the loop's
 * one thread.
 *
 * It must never be in the way of what sluiced is for. An address that cannot be had (kube-proxy may still
 * listen there) is logged, and tried again every five seconds. A client has 10 seconds for a request, an address
 * 8 connections, all together 64, 4 KB of headers each.
 */
#ifndef SLUICED_HTTP_H
#define SLUICED_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "ctl/lib/err.h"
#include "ctl/lib/loop.h"

struct http_reply {
	unsigned int status; /* 200 unless set */
	const char *type; /* "text/plain; charset=utf-8" unless set */
	char *body; /* of malloc(); taken over */
	size_t len;
};

struct http_route {
	const char *path; /* NULL ends a list of them */
	void (*answer)(void *arg, struct http_reply *reply);
};

struct http_server {
	struct loop *loop;
	const char *address;
	const struct http_route *routes;
	void *arg;
	struct sockaddr_storage sockaddr;
	struct MHD_Daemon *daemon; /* NULL: it does not listen */
	struct watch watch;
	struct timer due; /* the library asks to be called */
	struct timer again; /* to listen */
	bool told; /* that it cannot listen */
};

/* "127.0.0.1:10249", "[::]:10256": an address as a number, with its port. */
bool http_parse_address(const char *text, struct sockaddr_storage *out);

/* Everything given must outlive the server. Errors: the address is none. */
int http_init(struct http_server *s, struct loop *loop, const char *address,
	      const struct http_route *routes, void *arg, struct sluice_err *err);
void http_exit(struct http_server *s); /* also of one that is zeroed */

#endif
