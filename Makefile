# A fresh machine needs git, make and some python3. Everything else is set up here.
SHELL := /bin/bash
.DEFAULT_GOAL := help

STATE ?= .local
PYTHON := .venv/bin/python
export UV := $(or $(shell command -v uv 2>/dev/null),$(CURDIR)/.tools/uv/bin/uv)
LOCAL_AWS := .tools/localaws
SAM := .tools/sam
export SLUICE_STATE := $(STATE)
export BUNDLE_PLATFORM ?= aarch64-manylinux2014
export SAM_CLI_TELEMETRY := 0
# Where it is set, every start of SAM, of the tests and of the local system compiles their packages anew: seconds each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup environments setup-to-run environments-to-run up down demo test test-stack test-browser test-package test-unit test-thorough test-frameworks try-clients second-opinion lint logs deploy key pause resume redrive status sam-local sam-invoke policy audit settings-page try-traces try-real-model docs limits-page check-deploy pins clean

help:
	@grep -hE '^[a-z-]+:.*##$(if $(ALL),?) ' Makefile | awk -F ':.*##? ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo "  (what maintainers need besides: make help ALL=1; benchmarks: make -C benchmarks)"

# ---- set-up: each environment is made again when its pins change

# An environment without a pip of its own is made in a third of the time; where the machine's pip is missing or too old, with.
# The next checkout finds it in the user's cache.
KEPT_UV := $(or $(SLUICE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sluice)/uv
$(CURDIR)/.tools/uv/bin/uv:
	@if "$(KEPT_UV)" --version >/dev/null 2>&1; then mkdir -p $(@D); ln -sf "$(abspath $(KEPT_UV))" $@; exit; fi; \
	echo "setting up: uv"; \
	{ python3 -m venv --without-pip .tools/uv && \
	  python3 -m pip --python .tools/uv/bin/python install --quiet --disable-pip-version-check --no-compile uv; } >/dev/null 2>&1 || \
	{ rm -rf .tools/uv; python3 -m venv .tools/uv || { rm -rf .tools/uv; \
	  echo "error: this python3 cannot make environments: install its venv module (python3-venv on Debian), or uv"; exit 1; } >&2; \
	  .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv || exit 1; }; \
	{ mkdir -p "$(dir $(KEPT_UV))" && cp $@ "$(KEPT_UV).$$$$" && mv "$(KEPT_UV).$$$$" "$(KEPT_UV)"; } 2>/dev/null || :

# Made once for all checkouts of a user that pin the same, in the user's cache (SLUICE_CACHE names another folder).
define environment
	@$(UV) run --quiet --no-project --python 3.13 -m sluice.environments $(1) $(2)
	@touch $@
endef

.venv/.ready: requirements/dev.txt | $(UV)
	$(call environment,.venv,$<)
$(LOCAL_AWS)/.ready: requirements/localaws.txt | $(UV)
	$(call environment,$(LOCAL_AWS),$<)
$(SAM)/.ready: requirements/sam.txt | $(UV)
	$(call environment,$(SAM),$<)

.tools/checkov/.ready: requirements/policy.txt | $(UV)
	$(call environment,.tools/checkov,$<)
.tools/audit/.ready: requirements/audit.txt | $(UV)
	$(call environment,.tools/audit,$<)
.tools/runtime/.ready: requirements/runtime.txt | $(UV)
	$(call environment,.tools/runtime,$<)
.tools/frameworks/.ready: requirements/frameworks.txt | $(UV)
	$(call environment,.tools/frameworks,$<)
.tools/awscli/.ready: requirements/awscli.txt | $(UV)
	$(call environment,.tools/awscli,$<)
.tools/docs/.ready: requirements/docs.txt | $(UV)
	$(call environment,.tools/docs,$<)

setup: | $(UV)
	@$(MAKE) --no-print-directory -j4 environments
environments: environments-to-run $(SAM)/.ready .tools/runtime/.ready .tools/awscli/.ready
	@:
# What runs and deploys the system; the others are for tests and for Docker.
setup-to-run: | $(UV)
	@$(MAKE) --no-print-directory -j4 environments-to-run
environments-to-run: .venv/.ready $(LOCAL_AWS)/.ready
	@:

# ---- the main job

up: setup-to-run ## Start the whole system on this machine
	@$(PYTHON) -m localstack up
down: ## Stop what `make up` started
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m localstack down; fi
demo: .venv/.ready ## Submit five requests and follow them (QUOTA=3 shows refusals)
	@$(PYTHON) -m localstack.demo
deploy: setup-to-run ## Build and deploy the code as it is now (PARAMS="Name=value …")
	@$(PYTHON) -m localstack deploy
status: .venv/.ready ## Say what runs
	@$(PYTHON) -m localstack status
logs: .venv/.ready ## Follow the logs (RUN=task_…, LEVEL=DEBUG; or FUNCTION=worker: what it wrote)
	@$(PYTHON) -m localstack logs $(FUNCTION) $(if $(RUN),--run $(RUN)) $(if $(LEVEL),--level $(LEVEL))
key: .venv/.ready ## Keys: ARGS="create USER --tier vip" | "list" | "rotate PREFIX" | "revoke PREFIX"
	@$(PYTHON) -m localstack key $(ARGS)
pause: .venv/.ready ## Stop a lane (LANE=normal); its tasks wait
	@$(PYTHON) -m localstack pause $(LANE)
resume: .venv/.ready ## Start a lane again (LANE=normal)
	@$(PYTHON) -m localstack resume $(LANE)
redrive: .venv/.ready ## Run dead-lettered tasks again
	@$(PYTHON) -m localstack redrive

sam-local: setup ## Serve the API in Lambda's base image, beside what `make up` started (PORT=3000; needs Docker)
	@$(PYTHON) -m localstack.sam_local api --port $(or $(PORT),3000)
sam-invoke: setup # Call a function in that image with an event (EVENT=events/worker.json)
	@$(PYTHON) -m localstack.sam_local invoke $(or $(EVENT),events/worker.json)

# ---- quality

test: setup ## Every test, from a fresh clone
	@$(MAKE) --no-print-directory -j4 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) \
	  test-stack test-browser test-package test-unit lint
# Four at once: more of them on two processors only make each other slower. The shortest is begun when the first has ended.
# The deployed system mostly waits: its tests run beside the others, in three copies that share a system.
test-stack: setup
	@$(PYTHON) -m pytest tests/stack --ignore $(OF_THE_PACKAGE) -p tests.copies --copies $(or $(JOBS),3) $(PYTEST_ARGS)
# Hypothesis' plugin loads all of it at the end, where no test is one of properties: a second.
NO_PROPERTIES := -p no:hypothesispytest
test-browser: setup
	@$(PYTHON) -m pytest tests/e2e $(NO_PROPERTIES) -p tests.copies --copies $(or $(JOBS),3) $(PYTEST_ARGS)
# A project from the wheel, with a system of its own.
OF_THE_PACKAGE := tests/stack/test_package.py
test-package: setup
	@$(PYTHON) -m pytest $(OF_THE_PACKAGE) $(NO_PROPERTIES) $(PYTEST_ARGS)
# More copies than processors: many tests wait, and six copies alone left a third of two processors idle. A further copy
# costs next to nothing.
test-unit: setup
	@$(PYTHON) -m pytest tests/unit -p tests.copies --copies $(or $(JOBS),10) $(PYTEST_ARGS)
test-thorough: setup # Properties with all of their examples, and the core on an AWS that is slow: minutes of them
	@HYPOTHESIS_PROFILE=thorough $(PYTHON) -m pytest $(shell grep -rlF "from tests.examples import" tests/unit) tests/unit/fuzz -n 2 $(PYTEST_ARGS)
	@$(PYTHON) -m pytest $(CORE) -p tests.slow_aws -p tests.copies --copies 20 $(PYTEST_ARGS)
# What takes tasks on, runs and ends them, with calls of AWS and Valkey that take far longer than those of stand-ins.
CORE := $(addprefix tests/unit/,worker tasks schedules sweeper dead_letter webhook limits)
second-opinion: setup # Tests of tasks and lanes against LocalEmu, a third emulator
	@$(PYTHON) -m localstack.second_opinion
# Examples on other people's frameworks, in an environment that has them.
WITH_FRAMEWORKS := tests/unit/examples/test_frameworks.py tests/unit/examples/test_framework_approvals.py tests/unit/examples/test_sub_agents.py tests/unit/examples/test_framework_money.py tests/unit/examples/test_framework_failures.py
test-frameworks: .tools/frameworks/.ready # Tests of the examples with Pydantic AI and the Agents SDK
	@nice -n 5 .tools/frameworks/bin/python -m pytest $(WITH_FRAMEWORKS) $(PYTEST_ARGS)
try-clients: .venv/.ready # Real clients of OpenAI's protocol against what `make up` started (docs/clients.md; ARGS="npm llm")
	@tests/clients/try_all.sh $(ARGS)
# Of each of AWS's partitions, and one that is not the first.
REGIONS := us-east-1 eu-central-1 cn-north-1 us-gov-west-1
# All that SAM and cfn-lint look at: six seconds of a processor, so not again for the same texts, in another checkout either.
OF_THE_LINT := template.yaml samconfig.toml .cfnlintrc .cfnlintrc.yaml .cfnlintrc.yml requirements/sam.txt deploy/template_lint.py
lint: setup ## ruff, mypy, cfn-lint, sam validate
	@$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
	@nice -n 5 $(PYTHON) -m deploy.typecheck functions shared sluice
	@nice -n 5 $(PYTHON) -m deploy.unchanged $(OF_THE_LINT) -- $(SAM)/bin/python -P deploy/template_lint.py template.yaml $(REGIONS) \
	  > >(grep -v 'is a valid SAM Template') 2> >(grep -v 'not available in Feature Toggle Config' >&2)
policy: .tools/checkov/.ready # Hold the template against checkov's rules, offline
	@.tools/checkov/bin/checkov --config-file .checkov.yaml && echo "policy: nothing to complain about"
check-deploy: .venv/.ready # What a deployment would make and cost, and what the account refuses (ARGS="--profile small")
	@$(PYTHON) -m deploy.check $(ARGS)
audit: .venv/.ready .tools/audit/.ready # Known vulnerabilities of the pinned packages (asks PyPI's advisory service)
	@$(PYTHON) -m deploy.audit .tools/audit/bin/pip-audit

docs: .venv/.ready .tools/docs/.ready # The documentation as a site, its links checked: .build/site/site/index.html
	@$(PYTHON) -m deploy.site $(CURDIR)/.tools/docs/bin/zensical
limits-page: .venv/.ready # Write docs/aws-limits.md anew
	@$(PYTHON) -m localstack.strict.page
.tools/phoenix/.ready: requirements/phoenix.in | $(UV)
	@echo "setting up: .tools/phoenix, which takes minutes"
	@$(UV) venv --quiet --clear --python 3.13 .tools/phoenix
	@$(UV) pip install --quiet --python .tools/phoenix/bin/python -r $<
	@touch $@
try-traces: .venv/.ready .tools/phoenix/.ready # Show a run in Arize Phoenix, and hold its costs against ours (docs/traces.md)
	@$(PYTHON) -m pytest tests/phoenix -q -s $(PYTEST_ARGS)
try-real-model: .venv/.ready # Call a real llama_cpp.server and a LiteLLM proxy (builds both)
	@$(PYTHON) -m localstack.real_model

settings-page: .venv/.ready # Write docs/settings.md anew
	@$(PYTHON) -m deploy.settings_page

include benchmarks/Makefile

UPGRADE := --upgrade
pins: $(UV) ## Pin the newest versions (UPGRADE= keeps what is pinned and adds what is new)
	@for name in dev api worker base webhook project localaws sam audit policy peers peers-arq frameworks runtime docs awscli; do \
	  $(UV) pip compile --quiet $(UPGRADE) --universal --python-version 3.13 --generate-hashes --no-header --no-annotate \
	    $$(case $$name in dev|localaws|sam|audit|policy|peers*|frameworks|runtime|docs|awscli) ;; *) echo --constraint requirements/dev.txt;; esac) \
	    requirements/$$name.in -o requirements/$$name.txt; done

clean: down ## Remove everything that was built or set up
	@rm -rf .venv .tools .build .aws-sam $(STATE)

# ---- called by `sam build`, once a function
build-%: .venv/.ready
	@$(PYTHON) -m deploy.bundle $* $(ARTIFACTS_DIR)
