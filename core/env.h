/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The platform under core/. These four files hold the only #ifdefs of the folder.
 *
 * Each env file provides: the fixed-width types (__u8 .. __u64, __be16, __be32), bool, NULL,
 * __always_inline, sluice_outline, byte swaps, memcpy/memset/memcmp of constant size, sluice_ctz64(),
 * sluice_popcount64(); sluice_copy(d, s, n) of 2, 4, 8 or 16 bytes, which need not be aligned in the packet.
 *
 * Two words mean something to BPF's verifier alone, which follows each way through a program with all it knows of each
 * register. sluice_settle(x): what is computed from x comes after this line, when x has been compared.
 * sluice_forget(): what stands in memory is read anew, and is anything: ways that differ in it alone are one from here.
 */
#ifndef SLUICE_CORE_ENV_H
#define SLUICE_CORE_ENV_H

#if defined(__KERNEL__)
#include "env/kernel.h"
#elif defined(__bpf__)
#include "env/bpf.h"
#else
#include "env/user.h"
#endif

#define SLUICE_ASSERT_SIZE(type, size) \
	_Static_assert(sizeof(type) == (size), #type " has holes or grew")

#endif
