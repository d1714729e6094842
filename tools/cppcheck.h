/* SPDX-License-Identifier: GPL-2.0-only */
/* Read by cppcheck alone, which is not given the libraries' headers: macros that it cannot guess. */
#define json_array_foreach(array, i, value) for (i = 0; (value = json_array_get(array, i)); i++)
#define json_object_foreach(object, key, value) \
	for (key = json_key(object); (value = json_object_get(object, key)); key = json_key(object))
