// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/loop.h"

#include <time.h>
#include <unistd.h>

#define EVENTS_BETWEEN_IDLES 64

int64_t loop_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

int loop_init(struct loop *loop, struct sluice_err *err)
{
	loop->fd = epoll_create1(EPOLL_CLOEXEC);
	return loop->fd < 0 ? sluice_err_errno(err, errno, "epoll") : 0;
}

void loop_exit(struct loop *loop)
{
	if (loop->fd >= 0)
		close(loop->fd);
	loop->fd = -1;
}

int loop_add(struct loop *loop, struct watch *watch, uint32_t events, struct sluice_err *err)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	if (epoll_ctl(loop->fd, EPOLL_CTL_ADD, watch->fd, &event))
		return sluice_err_errno(err, errno, "epoll");
	return 0;
}

void loop_change(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	epoll_ctl(loop->fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void loop_remove(struct loop *loop, struct watch *watch)
{
	epoll_ctl(loop->fd, EPOLL_CTL_DEL, watch->fd, NULL);
}

void loop_disarm(struct loop *loop, struct timer *timer)
{
	struct timer **at = &loop->timers;

	while (*at && *at != timer)
		at = &(*at)->next;
	if (*at)
		*at = timer->next;
	timer->at = 0;
}

void loop_arm(struct loop *loop, struct timer *timer, int64_t ms)
{
	struct timer **at = &loop->timers;

	loop_disarm(loop, timer);
	timer->at = loop_now() + ms;
	while (*at && (*at)->at <= timer->at)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
}

static bool expire(struct loop *loop)
{
	int64_t now = loop_now();
	bool any = false;

	while (loop->timers && loop->timers->at <= now) {
		struct timer *timer = loop->timers;

		loop_disarm(loop, timer);
		timer->expired(timer);
		any = true;
	}
	return any;
}

static int time_to_sleep(const struct loop *loop)
{
	int64_t left;

	if (!loop->timers)
		return -1;
	left = loop->timers->at - loop_now();
	if (left <= 0)
		return 0;
	return left > 60000 ? 60000 : (int)left;
}

int loop_run(struct loop *loop, struct sluice_err *err)
{
	struct epoll_event event;
	bool idle = false; /* idle() has run since the last event */
	int busy = 0; /* events since idle() ran */
	int n;

	while (!loop->stopped) {
		/*
		 * One event at a time: a callback may free the watch of another event that waits,
		 * which is no harm while that has not been fetched.
		 */
		n = epoll_wait(loop->fd, &event, 1, idle ? time_to_sleep(loop) : 0);
		if (n < 0 && errno != EINTR)
			return sluice_err_errno(err, errno, "epoll");
		if (n > 0) {
			struct watch *watch = event.data.ptr;

			watch->ready(watch, event.events);
			busy++;
		}
		/* What a timer asks for counts as an event. */
		if (expire(loop))
			n = 1;
		idle = n <= 0 || busy >= EVENTS_BETWEEN_IDLES;
		if (idle && !loop->stopped) {
			busy = 0;
			idle = !loop->idle(loop->idle_arg);
		}
	}
	return 0;
}
