// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin of QEMU's emulation: how often each guest instruction ran between two marks (mark.h).
 *
 *	qemu-system-x86_64 -plugin .../profile.so,out=FILE
 *
 * Each translated block has a counter, which its translation increments inline; an instruction ran as
 * often as its block. (A block that an exception leaves early counts in full: rare enough.) At the
 * first mark the counters are remembered, at the second their differences are; what is written
 * when QEMU ends is the last pair of marks, a line a block: its address, how often it ran, and the
 * lengths of its instructions. bench/profile reads that. One processor only.
 *
 * The declarations are those of QEMU's plugin interface, version 1, which Debian does not package.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mark.h"

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   void (*cb)(qemu_plugin_id_t id,
						      struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, enum qemu_plugin_op op,
					      void *ptr, uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int vcpu, void *data),
					    enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id,
				    void (*cb)(qemu_plugin_id_t id, void *data), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

struct block {
	struct block *next;
	uint64_t count; /* incremented by the translated code */
	uint64_t before; /* count at the first mark */
	uint64_t between; /* times it ran between the last pair of marks */
	uint64_t address;
	size_t n;
	uint8_t sizes[];
};

static struct block *blocks;
static const char *out;
static bool inside;

static void begin(unsigned int vcpu, void *data)
{
	(void)vcpu, (void)data;
	for (struct block *b = blocks; b; b = b->next)
		b->before = b->count;
	inside = true;
}

static void end(unsigned int vcpu, void *data)
{
	(void)vcpu, (void)data;
	for (struct block *b = blocks; b; b = b->next)
		b->between = inside ? b->count - b->before : 0;
	inside = false;
}

static void look_for_mark(struct qemu_plugin_insn *insn)
{
	static const unsigned char nop[] = { 0x0f, 0x1f, 0x84, 0x00 };
	const unsigned char *bytes = qemu_plugin_insn_data(insn);
	uint32_t displacement;

	if (qemu_plugin_insn_size(insn) != sizeof(nop) + sizeof(displacement) ||
	    memcmp(bytes, nop, sizeof(nop)))
		return;
	memcpy(&displacement, bytes + sizeof(nop), sizeof(displacement));
	if (displacement == MARK_BEGIN)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, QEMU_PLUGIN_CB_NO_REGS, NULL);
	else if (displacement == MARK_END)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, end, QEMU_PLUGIN_CB_NO_REGS, NULL);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	struct block *b = calloc(1, sizeof(*b) + n);

	(void)id;
	if (!b)
		abort();
	b->address = qemu_plugin_tb_vaddr(tb);
	b->n = n;
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		b->sizes[i] = qemu_plugin_insn_size(insn);
		look_for_mark(insn);
	}
	b->next = blocks;
	blocks = b;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &b->count, 1);
}

static void write_out(qemu_plugin_id_t id, void *data)
{
	FILE *file = fopen(out, "w");

	(void)id, (void)data;
	if (!file) {
		perror(out);
		return;
	}
	for (struct block *b = blocks; b; b = b->next) {
		if (!b->between)
			continue;
		fprintf(file, "%llx %llu", (unsigned long long)b->address,
			(unsigned long long)b->between);
		for (size_t i = 0; i < b->n; i++)
			fprintf(file, " %u", b->sizes[i]);
		fputc('\n', file);
	}
	fclose(file);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4)) {
		fprintf(stderr, "profile: want out=FILE\n");
		return -1;
	}
	out = strdup(argv[0] + 4);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, write_out, NULL);
	return 0;
}
