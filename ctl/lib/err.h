/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The error object of Sluice's userspace.
 *
 * A function that can fail takes a "struct sluice_err *err" as its last argument and returns a
 * negative errno. The setters return that number, so a failing path is one line:
 *
 *	if (port > 65535)
 *		return sluice_err_set(err, EINVAL, "port %ld is above 65535", port);
 *	...
 *	ret = load_manifest(path, err);
 *	if (ret)
 *		return sluice_err_prefix(err, "%s", path);	// "shop.yaml: port 70000 is ..."
 *
 * and the outermost caller owns the object:
 *
 *	SLUICE_ERR(err);			// declared, empty, freed when it leaves scope
 *
 *	if (load_all(&err))
 *		log_error("%s", sluice_err_msg(&err));
 *
 * Ownership: the object owns its message; it must start as SLUICE_ERR_INIT and end with
 * sluice_err_clear() (SLUICE_ERR() does both). Setting an object that already holds an error
 * replaces it. Every function accepts err == NULL, for callers that want only the number.
 * Not thread-safe: an object belongs to one thread.
 */
#ifndef SLUICE_CTL_LIB_ERR_H
#define SLUICE_CTL_LIB_ERR_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>

struct sluice_err {
	int code; /* positive errno; 0: no error */
	char *msg; /* heap; NULL when code is 0, or when memory ran out */
};

#define SLUICE_ERR_INIT { 0, NULL }
#define SLUICE_ERR(name) \
	__attribute__((cleanup(sluice_err_clear))) struct sluice_err name = SLUICE_ERR_INIT

/* Set the error; returns -code. A code of 0 is a bug of the caller and becomes EINVAL. */
int sluice_err_set(struct sluice_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int sluice_err_vset(struct sluice_err *err, int code, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

/* The same, with ": " and the text of that errno appended: "open /x: No such file or directory". */
int sluice_err_errno(struct sluice_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Put "<fmt>: " before the message that is there; returns -err->code. With err == NULL there is
 * nothing to prefix and nothing to tell, so it returns -EINVAL.
 */
int sluice_err_prefix(struct sluice_err *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Move the error of src into dst (replacing dst's) and empty src; returns -code, or 0. */
int sluice_err_move(struct sluice_err *dst, struct sluice_err *src);

/* Free the message and make the object empty again. */
void sluice_err_clear(struct sluice_err *err);

static inline bool sluice_err_is_set(const struct sluice_err *err)
{
	return err && err->code;
}

/* Never NULL; valid until the object changes. */
const char *sluice_err_msg(const struct sluice_err *err);

#endif
