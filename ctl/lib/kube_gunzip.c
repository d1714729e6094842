// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/kube_gunzip.h"

#include <zlib.h>

#include "ctl/lib/alloc.h"

#define PIECE 16384
#define GZIP_ALONE (15 + 16) /* windowBits: no zlib header, nor a bare stream */

struct kube_gunzip {
	z_stream z;
	bool ended; /* a member; another may follow */
};

struct kube_gunzip *kube_gunzip_new(void)
{
	struct kube_gunzip *g = sluice_zalloc(sizeof(*g));

	if (inflateInit2(&g->z, GZIP_ALONE) != Z_OK)
		sluice_alloc_check(NULL);
	return g;
}

void kube_gunzip_free(struct kube_gunzip *g)
{
	if (!g)
		return;
	inflateEnd(&g->z);
	free(g);
}

int kube_gunzip_feed(struct kube_gunzip *g, const char *data, size_t len,
		     bool (*out)(void *ctx, const char *data, size_t len), void *ctx,
		     struct sluice_err *err)
{
	char piece[PIECE];
	int ret;

	g->z.next_in = (unsigned char *)data;
	g->z.avail_in = len;
	do {
		if (g->ended && !g->z.avail_in)
			return 0;
		if (g->ended)
			inflateReset(&g->z);
		g->z.next_out = (unsigned char *)piece;
		g->z.avail_out = sizeof(piece);
		ret = inflate(&g->z, Z_SYNC_FLUSH);
		if (ret != Z_OK && ret != Z_STREAM_END && ret != Z_BUF_ERROR)
			return sluice_err_set(err, EINVAL, "what should be gzip is not: %s",
					      g->z.msg ?: "no dictionary");
		g->ended = ret == Z_STREAM_END;
		if (g->z.avail_out < sizeof(piece) &&
		    !out(ctx, piece, sizeof(piece) - g->z.avail_out))
			return sluice_err_set(err, ECANCELED, "cancelled");
		/* A piece that is not full has all that can be had of these bytes. */
	} while (g->z.avail_in || !g->z.avail_out);
	return 0;
}
