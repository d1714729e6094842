/* SPDX-License-Identifier: GPL-2.0-only */
/* Read by cppcheck alone, which is not given the libraries' headers: macros that it cannot guess. */
#define json_array_foreach(array, i, value) for (i = 0; (value = json_array_get(array, i)); i++)
#define json_object_foreach(object, key, value) \
	for (key = json_key(object); (value = json_object_get(object, key)); key = json_key(object))
#define nla_for_each_nested(pos, nla, rem) \
	for (pos = nla_data(nla), rem = nla_len(nla); nla_ok(pos, rem); pos = nla_next(pos, &(rem)))
#define nlmsg_for_each_attr(pos, nlh, hdrlen, rem) \
	for (pos = nlmsg_attrdata(nlh, hdrlen); nla_ok(pos, rem); pos = nla_next(pos, &(rem)))
#define LIBBPF_OPTS(type, name, ...) struct type name = { .sz = sizeof(struct type), __VA_ARGS__ }
