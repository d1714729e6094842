/* SPDX-License-Identifier: GPL-2.0-only */
/* Found only where the kernel has no such header: before 6.5, linux/skbuff.h declares its content. */
#ifndef SLUICE_COMPAT_NET_GSO_H
#define SLUICE_COMPAT_NET_GSO_H

#include <linux/skbuff.h>

#endif
