# SPDX-License-Identifier: GPL-2.0-only
"""What the suites in Python claim, as TAP on stdout; tests/unit/tap.h is the same for C."""

count = failed = 0


def ok(good, name, why=""):
    global count, failed
    count += 1
    print(f"{'ok' if good else 'not ok'} {count} - {name}", flush=True)
    if not good:
        failed += 1
        print("\n".join(f"# {line}" for line in str(why).splitlines()), flush=True)
    return good


def difference(got, want):
    return f"got:  {got}\nwant: {want}"


def equal(got, want, name):
    return ok(got == want, name, difference(got, want))


def skip(name, why):
    global count
    count += 1
    print(f"ok {count} - {name} # SKIP {why}", flush=True)


def tests_of(names, pattern):
    """(name, function) of those among a module's globals() whose name begins with test_ and contains the pattern."""
    return [(name, test) for name, test in names.items() if name.startswith("test_") and pattern in name]


def attempt(name, test, *arguments, more=lambda: ""):
    """Runs it. One that breaks is one that fails, and not the end of the others; more: what is told of it then."""
    print(f"# {name}", flush=True)
    try:
        test(*arguments)
    except Exception as error:
        ok(False, f"{name} runs to its end", f"{type(error).__name__}: {error}\n{more()}")


class Claims:
    """What one of several tests that run side by side claims: kept until it has ended, and told then."""

    def __init__(self):
        self.claims = []

    def ok(self, good, name, why=""):
        self.claims.append((bool(good), name, why))
        return good

    def equal(self, got, want, name):
        return self.ok(got == want, name, difference(got, want))

    def tell(self, name):
        print(f"# {name}", flush=True)
        for claim in self.claims:
            ok(*claim)


def end():
    """The plan; returns the exit code. No claim at all is a failure."""
    print(f"1..{count}")
    return 1 if failed or not count else 0
