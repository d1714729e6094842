# SPDX-License-Identifier: GPL-2.0-only
# Tab completion of sluicectl for bash; installed as /usr/share/bash-completion/completions/sluicectl.
# The words come from sluicectl itself, so that they always are those of the version installed.

_sluicectl() {
	local words
	mapfile -t words < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
	COMPREPLY=("${words[@]}")
	# Nothing to offer: perhaps a file.
	[ ${#words[@]} -gt 0 ] || compopt -o default
}

complete -F _sluicectl sluicectl
