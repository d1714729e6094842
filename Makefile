# SPDX-License-Identifier: GPL-2.0-only
# A table of contents: each verb says where its work is done. `make help` prints the lines with ##.
.DEFAULT_GOAL := help
MAKEFLAGS += -j2 --no-print-directory
.PHONY: help deps build tests demo check check-quick check-scale check-e2e bench bench-quick bench-scale lint unit kunit fuzz soak install dkms dkms-remove clean

DEMO_IN_module := tests/integration/vm --kernel 6.12
DEMO_IN_bpf := tests/integration/native
DEMO_IN = $(or $(DEMO_IN_$(or $(DATAPLANE),module)),$(error DATAPLANE=$(DATAPLANE): not module or bpf))

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

deps: ## install the Debian packages that are missing (as root)
	@tools/deps

build: deps ## BPF programs, sluiced, sluicectl, sluice-cni, the module for Debian's 6.1 and 6.12 kernels, into build/
	$(MAKE) -C bpf
	$(MAKE) -C ctl
	$(MAKE) -C cni
	$(MAKE) -C kmod

tests: build ## the programs of the tests, without running them
	$(MAKE) -C tests/fuzz
	$(MAKE) -C tests/unit
	$(MAKE) -C tests/bpf_answer
	$(MAKE) -C tests/differential
	$(MAKE) -C tests/loader
	$(MAKE) -C tests/integration
	$(MAKE) -C bench/tools
	$(MAKE) -C cni faults

demo: build ## two nodes, a web shop and its policies in a guest (Debian's 6.12); DATAPLANE=bpf: in namespaces, without a guest
	@$(MAKE) -s -C tests/integration
	@$(DEMO_IN) -- examples/shop/demo

check: tests ## every test there is; tests/run SUITE runs one, tests/run --list names them
	@tests/run

check-quick: tests ## the tests that need no guest
	@tests/run --group quick

check-e2e: build ## Kubernetes' own tests of services and policies on two real nodes (first: builds kubelet and the like, 15 minutes); DATAPLANE=module: some, in a guest
	@tests/e2e/run $(if $(DATAPLANE),--dataplane $(DATAPLANE))

check-scale: build ## a node's share of a cluster of 300 nodes on a real API server, and of 5,000 replayed, against its bars (6 minutes)
	@tests/kube/scale

bench: build ## what packets, connections, rules and updates cost, beside iptables, nftables and IPVS (40 minutes)
	@$(MAKE) -s -C tests/integration
	@$(MAKE) -s -C bench/tools
	@$(MAKE) -s -C bench/transaction
	@bench/run

bench-quick: build ## instruction counts against bench/reference.json (5 minutes)
	@$(MAKE) -s -C tests/integration
	@$(MAKE) -s -C bench/tools
	@bench/run --quick

bench-scale: build ## the real kube-proxy beside sluiced on a real API server, 1,000, 10,000 and 25,000 services (20 minutes)
	@tests/kube/scale beside

lint: deps ## clang-format, sparse, checkpatch, cppcheck, shellcheck, python, paths
	@tools/lint

unit: deps ## the unit tests of core and of the userspace libraries
	@tests/unit/run

kunit: deps ## the kernel's unit tests, in the debug kernel (built once, about 10 minutes on 2 cores)
	@tests/kunit/run

fuzz: deps ## all fuzzers, FUZZ_SECONDS each (default 60)
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} tests/fuzz/run

soak: tests ## traffic, updates and module reloads on the debug kernel, SOAK_SECONDS long (default 1800)
	@tools/kmod-build debug
	@tests/integration/vm --kernel debug --parallel --timeout $$(($${SOAK_SECONDS:-1800} + 1200)) \
		--env SOAK_SECONDS=$${SOAK_SECONDS:-1800} -- tests/integration/soak

install: build ## programs, man pages, units and completion into DESTDIR, default /
	@tools/install

dkms: deps ## register, build and install the module with DKMS for the running kernel
	@tools/dkms install

dkms-remove: ## undo `make dkms`
	@tools/dkms remove

clean: ## remove build/ (the debug kernel stays in its cache)
	rm -rf build
