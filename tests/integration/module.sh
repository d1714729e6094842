# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The module in a guest of tests/integration/vm. Sourced.

module_load() {
	# Its symbols come from the kernel and from these; insmod loads nothing by itself.
	local modules
	IFS=, read -r -a modules < <(modinfo -F depends "$SLUICE_KO")
	[ ${#modules[@]} = 0 ] || modprobe -a "${modules[@]}"
	insmod "$SLUICE_KO"
}
