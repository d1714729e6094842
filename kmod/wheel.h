/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * When a connection is next looked at.
 *
 * Theory of operation
 * -------------------
 * A packet only stamps its connection (last_seen). Nothing moves. Each CPU that creates connections
 * owns a wheel of 256 slots, one a second; a connection hangs in the slot of the second in which
 * it would expire if nothing more came, at most 255 s ahead. Once a second a worker empties the
 * slot that has come due: a connection whose silence has lasted long enough is killed, any other is
 * hung into the slot of its new deadline. A busy UDP flow (120 s) is thus looked at every two
 * minutes, an established TCP connection every 255 s: 4 million of them are 16,000 looks a second of
 * 140 instructions each, some 1 ms of one CPU, whatever else the table holds (bench/table table-ops
 * measures). The work never depends on how many connections there are, only on how many deadlines a
 * second brings.
 *
 * Worked example, at second 1000: a UDP packet opens a flow, unreplied, 30 s: slot 1030 % 256 = 6.
 * Its answer at 1001 makes it "replied", 120 s: nothing is moved. At 1030 the worker finds it in
 * slot 6, last seen at 1029, deadline 1149: it moves to slot 125. Silence. At 1149 it is killed.
 *
 * A state change that shortens the life (FIN, reset) re-hangs at once.
 *
 * Each slot is kept apart by eviction class, so that a full table finds its cheapest victim, the
 * one nearest to its end, in the first slot in use of the first class: one bit search.
 */
#ifndef SLUICE_KMOD_WHEEL_H
#define SLUICE_KMOD_WHEEL_H

#include <linux/list.h>
#include <linux/spinlock.h>

#include "core/conntrack.h"

#define SLUICE_WHEEL_SLOTS 256

/* What the worker does at a stretch, with the lock or bottom halves off. */
#define SLUICE_WHEEL_BATCH 64

/*
 * wheel_slot of a connection that does not hang yet, or is off its wheel for good. Its wheel field may
 * by now link a list of the worker's, or a grave, while a packet that found
 * it before still tries to re-hang it: this, under the lock, is how that packet knows.
 */
#define SLUICE_WHEEL_NOWHERE 0xffff

struct sluice_conn;

struct sluice_wheel {
	spinlock_t lock; /* all below, and the wheel fields of the connections that hang here */
	u32 now; /* second up to which slots have been emptied */
	DECLARE_BITMAP(used[SLUICE_EVICT_COUNT], SLUICE_WHEEL_SLOTS);
	struct hlist_head slot[SLUICE_EVICT_COUNT][SLUICE_WHEEL_SLOTS];
};

/* Seconds of the clock that wheels turn by. */
u32 sluice_wheel_clock(void);

struct sluice_wheel *sluice_wheel_alloc(int cpu);

/* Hangs a connection that hangs nowhere into the slot "seconds" from now. Takes the lock. */
void sluice_wheel_add(struct sluice_wheel *w, struct sluice_conn *c, u32 seconds);

/* Unhangs it; false if it hung nowhere. Takes the lock. */
bool sluice_wheel_del(struct sluice_wheel *w, struct sluice_conn *c);

/* Re-hangs it if its class became cheaper or its deadline nearer. Takes the lock. */
void sluice_wheel_shorten(struct sluice_wheel *w, struct sluice_conn *c, u8 evict, u32 seconds);

/*
 * Takes up to n connections out of due slots: those that are over go to "dead" (linked by their
 * wheel field), others are hung anew. Returns how many it looked at: less than n means that the
 * wheel is up to date.
 */
unsigned int sluice_wheel_turn(struct sluice_wheel *w, unsigned int n, struct hlist_head *dead);

/* The cheapest connection of a class, unhung, or NULL. */
struct sluice_conn *sluice_wheel_victim(struct sluice_wheel *w, u8 evict);

#endif
