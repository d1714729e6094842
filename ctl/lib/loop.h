/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The event loop: file descriptors, timers, and one thing to do when nothing else is waiting.
 *
 * Watches and timers are embedded in what they serve, and belong to it. All callbacks run in the
 * loop's one thread; they may add and remove watches and timers, their own included, and free what
 * holds them.
 */
#ifndef SLUICE_CTL_LIB_LOOP_H
#define SLUICE_CTL_LIB_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "ctl/lib/err.h"

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

struct watch {
	int fd;
	void (*ready)(struct watch *watch, uint32_t events); /* EPOLL* */
};

struct timer {
	int64_t at; /* loop_now(); 0: not armed */
	void (*expired)(struct timer *timer);
	struct timer *next;
};

struct loop {
	int fd;
	bool stopped;
	struct timer *timers; /* armed ones, soonest first: there are few */
	/*
	 * Called when no event waits (at the latest after 64 events), before the loop sleeps: what
	 * many events ask for is done once. Returns whether it did anything, and is then called
	 * again.
	 */
	bool (*idle)(void *arg);
	void *idle_arg;
};

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t loop_now(void);

int loop_init(struct loop *loop, struct sluice_err *err);
void loop_exit(struct loop *loop);
/* Returns after loop->stopped was set. */
int loop_run(struct loop *loop, struct sluice_err *err);

int loop_add(struct loop *loop, struct watch *watch, uint32_t events, struct sluice_err *err);
void loop_change(struct loop *loop, struct watch *watch, uint32_t events);
void loop_remove(struct loop *loop, struct watch *watch);

/* Arms it to expire once, in so many milliseconds; one that is armed is set anew. */
void loop_arm(struct loop *loop, struct timer *timer, int64_t ms);
void loop_disarm(struct loop *loop, struct timer *timer);

#endif
