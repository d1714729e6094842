// SPDX-License-Identifier: GPL-2.0-only
#include <linux/jiffies.h>
#include <linux/slab.h>

#include "conn.h"
#include "wheel.h"

u32 sluice_wheel_clock(void)
{
	/* 64 bits: the low word of jiffies wraps after five minutes of uptime. */
	return (u32)div_u64(get_jiffies_64(), HZ);
}

struct sluice_wheel *sluice_wheel_alloc(int cpu)
{
	struct sluice_wheel *w = kzalloc_node(sizeof(*w), GFP_KERNEL, cpu_to_node(cpu));

	if (!w)
		return NULL;
	spin_lock_init(&w->lock);
	w->now = sluice_wheel_clock();
	return w;
}

/* Under the wheel's lock. */
static bool hangs(const struct sluice_conn *c)
{
	return !hlist_unhashed(&c->wheel) && c->wheel_slot != SLUICE_WHEEL_NOWHERE;
}

static void hang(struct sluice_wheel *w, struct sluice_conn *c, u8 evict, u32 seconds)
{
	u32 slot;

	/* Never into the slot that is being emptied, nor so far that it would come due early. */
	seconds = clamp_t(u32, seconds, 1, SLUICE_WHEEL_SLOTS - 1);
	slot = (w->now + seconds) % SLUICE_WHEEL_SLOTS;
	c->wheel_class = evict;
	c->wheel_slot = slot;
	hlist_add_head(&c->wheel, &w->slot[evict][slot]);
	__set_bit(slot, w->used[evict]);
}

static void unhang(struct sluice_wheel *w, struct sluice_conn *c)
{
	hlist_del_init(&c->wheel);
	if (hlist_empty(&w->slot[c->wheel_class][c->wheel_slot]))
		__clear_bit(c->wheel_slot, w->used[c->wheel_class]);
}

void sluice_wheel_add(struct sluice_wheel *w, struct sluice_conn *c, u32 seconds)
{
	spin_lock_bh(&w->lock);
	hang(w, c, sluice_state_class(c->state), seconds);
	spin_unlock_bh(&w->lock);
}

bool sluice_wheel_del(struct sluice_wheel *w, struct sluice_conn *c)
{
	bool hung;

	spin_lock_bh(&w->lock);
	hung = hangs(c);
	if (hung) {
		unhang(w, c);
		c->wheel_slot = SLUICE_WHEEL_NOWHERE;
	}
	spin_unlock_bh(&w->lock);
	return hung;
}

void sluice_wheel_shorten(struct sluice_wheel *w, struct sluice_conn *c, u8 evict, u32 seconds)
{
	spin_lock_bh(&w->lock);
	if (hangs(c)) {
		u32 left = (c->wheel_slot - w->now) % SLUICE_WHEEL_SLOTS;

		if (evict < c->wheel_class || seconds < left) {
			unhang(w, c);
			hang(w, c, evict, min(seconds, left));
		}
	}
	spin_unlock_bh(&w->lock);
}

/* Seconds until the connection expires if nothing more comes; 0: it is over. */
static u32 time_left(const struct sluice_conn *c)
{
	u32 timeout = sluice_state_timeout(READ_ONCE(c->state));
	u32 silent = ((u32)jiffies - READ_ONCE(c->last_seen)) / HZ;

	/*
	 * last_seen may be a moment ahead of this CPU's jiffies. A silence of more than 2^31 jiffies
	 * (24 days at 1000 Hz) is not one: every state's timeout is far below.
	 */
	if ((s32)((u32)jiffies - READ_ONCE(c->last_seen)) < 0)
		silent = 0;
	return silent < timeout ? timeout - silent : 0;
}

unsigned int sluice_wheel_turn(struct sluice_wheel *w, unsigned int n, struct hlist_head *dead)
{
	u32 clock = sluice_wheel_clock();
	unsigned int looked = 0;
	u8 evict;

	spin_lock_bh(&w->lock);
	while (looked < n && (s32)(clock - w->now) > 0) {
		u32 due = (w->now + 1) % SLUICE_WHEEL_SLOTS;
		bool more = false;

		for (evict = 0; evict < SLUICE_EVICT_COUNT; evict++) {
			struct hlist_head *head = &w->slot[evict][due];

			while (looked < n && !hlist_empty(head)) {
				struct sluice_conn *c =
					hlist_entry(head->first, struct sluice_conn, wheel);
				u32 left = time_left(c);

				looked++;
				unhang(w, c);
				if (!left) {
					c->wheel_slot = SLUICE_WHEEL_NOWHERE;
					hlist_add_head(&c->wheel, dead);
					continue;
				}
				/*
				 * now still names the second before: + 1, or the longest
				 * wait would come round to the slot that is being emptied.
				 */
				hang(w, c, sluice_state_class(READ_ONCE(c->state)),
				     min_t(u32, left + 1, SLUICE_WHEEL_SLOTS - 1));
			}
			more |= !hlist_empty(head);
		}
		if (!more)
			w->now++;
	}
	spin_unlock_bh(&w->lock);
	return looked;
}

struct sluice_conn *sluice_wheel_victim(struct sluice_wheel *w, u8 evict)
{
	struct sluice_conn *c = NULL;
	unsigned int tries;

	/*
	 * Every CPU that creates at the budget asks the wheels of all others, class by class: without the
	 * lock where there is nothing. One that is just being hung is missed, and found the next time.
	 */
	if (bitmap_empty(w->used[evict], SLUICE_WHEEL_SLOTS))
		return NULL;
	spin_lock_bh(&w->lock);
	for (tries = 0; tries < 32; tries++) {
		u32 from = (w->now + 1) % SLUICE_WHEEL_SLOTS;
		u32 slot = find_next_bit(w->used[evict], SLUICE_WHEEL_SLOTS, from);
		u8 real;

		if (slot >= SLUICE_WHEEL_SLOTS)
			slot = find_first_bit(w->used[evict], SLUICE_WHEEL_SLOTS);
		if (slot >= SLUICE_WHEEL_SLOTS)
			break;
		c = hlist_entry(w->slot[evict][slot].first, struct sluice_conn, wheel);
		unhang(w, c);
		real = sluice_state_class(READ_ONCE(c->state));
		if (real <= evict) {
			c->wheel_slot = SLUICE_WHEEL_NOWHERE;
			break;
		}
		/* It was promoted since it was hung here: to its own class, not out. */
		hang(w, c, real, time_left(c));
		c = NULL;
	}
	spin_unlock_bh(&w->lock);
	return c;
}
