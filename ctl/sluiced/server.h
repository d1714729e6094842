/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The unix socket: one line of JSON in, one line of JSON out, any number of pairs on a connection,
 * answered in order. A request that has to wait (attach) holds up the requests behind it on the same
 * connection and nobody else.
 */
#ifndef SLUICED_SERVER_H
#define SLUICED_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "ctl/lib/err.h"
#include "ctl/lib/loop.h"

struct controller;

/* A gc that keeps 5,000 attachments has 600 KB. */
#define SERVER_LINE_MAX (1U << 20)
#define SERVER_CLIENTS_MAX 1024

struct server {
	struct controller *controller;
	const char *path;
	struct watch watch;
	struct client *clients;
	size_t n_clients;
};

/* Answers, and whether a request can wait: what a request is given of its client. */
struct client;

void client_answer(struct client *client, json_t *answer); /* takes over the reference */
void client_refuse(struct client *client, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Puts the answer off. again() is called after each attempt at a transaction, and when the time (ms;
 * 0: no limit) is over: it answers, or returns without. cancel() is called instead when the client
 * went away. Both get the waiting object, which is freed afterwards.
 */
struct waiting {
	void (*again)(struct client *client, struct waiting *waiting, bool expired);
	void (*cancel)(struct client *client, struct waiting *waiting);
};
void client_wait(struct client *client, struct waiting *waiting, int64_t ms);
struct controller *client_controller(struct client *client);

/* Errors: another sluiced listens there, or the socket cannot be made. */
int server_init(struct server *s, struct controller *c, const char *path, struct sluice_err *err);
void server_exit(struct server *s);

/* To be called after each attempt at a transaction. */
void server_settled(struct server *s);

#endif
