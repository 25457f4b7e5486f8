# The front door of the project. `make help` lists the targets.

SWIFT_BUILD := swift build -c release
BINARY := .build/release/minimind
# Test data that is not in the repository; tests that need it are skipped without it.
export MINIMIND_SHARED ?= $(abspath ../shared)

.DEFAULT_GOAL := help
.PHONY: help setup build test interop peers demo demo-vision bench soak sanitize gpu gpu-plan format lint

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: ## install the Debian packages that are missing
	@scripts/setup.sh

build: setup ## build .build/release/minimind
	$(SWIFT_BUILD) --product minimind

test: setup ## every test that needs no heavy package
	$(SWIFT_BUILD) --build-tests
	@$(MAKE) --no-print-directory lint
	swift test -c release --skip-build
	scripts/python_environment.sh .venv scripts/requirements-test.txt
	scripts/schema_suite.sh .venv
	MINIMIND=$(abspath $(BINARY)) .venv/bin/python -m pytest -q -p no:cacheprovider -m "not heavy and not peers" Tests/Interop

interop: build ## the tests against PyTorch and transformers, and of the web page in Chromium
	@scripts/setup.sh chromium
	$(SWIFT_BUILD) --build-tests
	scripts/python_environment.sh .venv-interop scripts/requirements-interop.txt --torch
	scripts/python_environment.sh .venv-plugin scripts/requirements-plugin.txt --no-deps
	scripts/python_environment.sh .venv-gpu-plan scripts/requirements-gpu-plan.txt --no-deps
	scripts/llama_cpp_source.sh .venv-interop chat-templates 5 '*/vendor/llama.cpp/models/templates/*.jinja'
	MINIMIND=$(abspath $(BINARY)) .venv-interop/bin/python -m pytest -q -p no:cacheprovider -m heavy Tests/Interop
	scripts/python_environment.sh .venv-clients scripts/requirements-clients.txt
	MINIMIND=$(abspath $(BINARY)) .venv-clients/bin/python -m pytest -q -p no:cacheprovider -m clients Tests/Interop/test_autogen.py Tests/Interop/test_instructor.py

peers: build ## compile llama.cpp, which takes many minutes, and compare it with ours
	@scripts/setup.sh g++ cmake
	scripts/llama_cpp.sh .venv-peers
	MINIMIND=$(abspath $(BINARY)) .venv-peers/bin/python -m pytest -q -p no:cacheprovider -m peers Tests/Interop/test_llama_cpp.py Tests/Interop/test_sight_llama_cpp.py

demo: build ## from installed text to a chat model that answers, once built in 4 minutes, or 23 without AVX-512
	scripts/demo.sh

demo-vision: build ## from nothing to a model that answers questions about pictures, once built in 12 minutes with AVX-512
	scripts/demo_vision.sh

bench: build ## race training against PyTorch, inference against llama.cpp, the tokenizer against tiktoken (an hour or two)
	@scripts/setup.sh g++ cmake
	scripts/python_environment.sh .venv-interop scripts/requirements-interop.txt --torch
	.venv-interop/bin/python scripts/bench_train.py
	.venv-interop/bin/python scripts/bench_tokenizer.py
	scripts/llama_cpp.sh .venv-peers
	.venv-peers/bin/python scripts/bench_inference.py

gpu: build ## fetch NVIDIA's plugin and libraries (GiB; it says how many first), and try them
	scripts/gpu_setup.sh

gpu-plan: build ## compile training for GPUs that are not here, and write what it takes into docs/gpu.md
	scripts/python_environment.sh .venv-gpu-plan scripts/requirements-gpu-plan.txt --no-deps
	scripts/gpu_plan.py

soak: build ## two hours of kills, full and slow disks for a training run, which must end as if nothing had been
	scripts/soak.py

sanitize: setup ## tests of unsafe code, files from outside and threads under two sanitizers, in builds of their own
	scripts/sanitize.sh address
	scripts/sanitize.sh thread

format: ## rewrite the Swift sources in the project's format
	swift format -i -p -r Sources Tests Package.swift

lint: ## check format, that the documents name files and options that exist, and what rooms import
	swift format lint --strict -p -r Sources Tests Package.swift
	scripts/check_docs.sh
	scripts/check_rooms.py
