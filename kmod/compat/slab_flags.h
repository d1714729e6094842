/* SPDX-License-Identifier: GPL-2.0-only */
/* Before 6.6 nobody can ask for a slab cache of one's own; it is shared with others of its size then. */
#ifndef SLUICE_COMPAT_SLAB_FLAGS_H
#define SLUICE_COMPAT_SLAB_FLAGS_H

#include <linux/slab.h>

#ifndef SLAB_NO_MERGE
#define SLAB_NO_MERGE 0
#endif

#endif
