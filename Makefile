# The front door. `make help` lists what there is; CMake does the work, one folder a preset under build/.
.DEFAULT_GOAL := help
.PHONY: help run build release test quick asan tsan e2e failover fuzz bench interop lint fmt docs install hooks range clean \
        deps test-deps lint-deps

T ?= 60
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
CMAKE_BUILD = cmake --preset $(1) >build/$(1).configure.log 2>&1 || { cat build/$(1).configure.log; exit 1; }; \
              cmake --build build/$(1) -j $(JOBS)

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: deps release ## install what is missing, build, start the gateway on port 4000
	build/release/weir serve $(ARGS)

build: | build-dir ## debug build in build/dev
	@$(call CMAKE_BUILD,dev)

release: | build-dir ## the optimised program in build/release; units are built by the other presets
	@$(call CMAKE_BUILD,release) --target weir

test: test-deps build release ## everything: units and corpora plain, under ASan+UBSan and TSan; end to end
	@scripts/dev/run-ctest dev
	@$(MAKE) --no-print-directory asan tsan e2e

quick: build ## unit tests only
	@scripts/dev/run-ctest dev

asan: test-deps | build-dir ## units, corpora and end-to-end tests under AddressSanitizer and UBSan
	@$(call CMAKE_BUILD,asan)
	@scripts/dev/run-ctest asan
	@scripts/dev/run-e2e asan

tsan: test-deps | build-dir ## units, corpora and end-to-end tests under ThreadSanitizer
	@$(call CMAKE_BUILD,tsan)
	@scripts/dev/run-ctest tsan
	@scripts/dev/run-e2e tsan

e2e: test-deps release ## end-to-end tests of the release build: raw sockets, SDKs, llama.cpp, SIGKILL
	@scripts/dev/run-e2e release

failover: test-deps release ## every fault of a provider against single and grouped deployments: callers, attempts, log (docs/failover.md)
	@scripts/dev/failover

fuzz: test-deps | build-dir ## every fuzzer for T seconds (T=60)
	@$(call CMAKE_BUILD,fuzz)
	scripts/dev/fuzz $(T)

bench: deps release ## weir against nginx, HAProxy, DuckDB, wrk and others; results in bench/results
	@cmake --build build/release -j $(JOBS) --target bench_tools
	scripts/dev/bench-deps
	python3 bench/run.py
	python3 bench/reading.py --week --write
	python3 bench/follow.py
	python3 bench/features.py --write
	python3 bench/measuring.py --write
	python3 bench/metrics.py --write

interop: test-deps release ## against real LiteLLM, llama-cpp-python, Locust, VictoriaLogs, and k6 where there is one
	scripts/dev/interop

lint: lint-deps ## format, clang-tidy, layers, style, warnings of gcc and clang, docs drift, shell
	scripts/dev/lint

fmt: ## format the C sources
	@scripts/dev/c-files | xargs clang-format -i

docs: build ## write docs/{config,log,metrics,errors,cli,measuring}.md from the tables in the program
	scripts/dev/check_docs --write

install: release ## put weir, its tools' names and manual pages into PREFIX (/usr/local)
	cmake --install build/release --prefix $(PREFIX)

hooks: ## check style and units before each commit
	git config core.hooksPath .githooks

range: ## build and test every commit of BASE..HEAD (BASE=origin/main)
	scripts/dev/range $(or $(BASE),origin/main)

clean: ## remove what was built
	rm -rf build
build-dir: ; @mkdir -p build
deps: ; @scripts/dev/install-deps build
test-deps: ; @scripts/dev/install-deps build test
lint-deps: ; @scripts/dev/install-deps build test lint
