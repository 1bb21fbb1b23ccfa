# Aliases for developers; `python3 run.py` does the work and make is never needed.
# Arguments: make test ARGS="-m sqlite -k archive"
RUN := python3 run.py

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check bench lint fmt types imports migrate docs lock

help: ## 列出全部目标 this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## 准备开发环境 .venv with the locked dependencies
	$(RUN) setup

demo: ## 演示医院 seeded hospital with simulated HIS traffic
	$(RUN) demo $(ARGS)

test: ## 全部测试 the whole suite, SQLite and PostgreSQL
	$(RUN) test $(ARGS)

test-fast: ## 快速测试 without PostgreSQL and Chromium
	$(RUN) test -m "sqlite and not browser" $(ARGS)

check: ## CI 所做的全部 lint, types, imports, then the tests
	$(RUN) check $(ARGS)

bench: ## 性能对比 rates beside other servers
	$(RUN) bench $(ARGS)

lint: ## 代码规范 ruff: rules and format
	$(RUN) lint

fmt: ## 自动整理 ruff: fix and format
	$(RUN) fmt

types: ## 类型检查 mypy
	$(RUN) types

imports: ## 分层检查 import contracts
	$(RUN) imports

migrate: ## 建库或升级 create or migrate the database named by HCRM_DB__URL
	$(RUN) hcrm init $(ARGS)

docs: ## 文档检查 does every setting, command and event stand in docs/
	$(RUN) test tests/test_docs.py $(ARGS)

lock: ## 重新锁定依赖 compile the hash-locked lists from pyproject.toml
	$(RUN) lock
