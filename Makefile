# `make` prints the targets. Each sets up what it needs first: nothing is installed twice.

VENV := .venv
CHECKOV := .venv-checkov
PYTHON := $(VENV)/bin/python
LAB := $(wildcard tests/lab tests/netns tests/terraform)
BUILD := build/engine

# Where the lab, the demo and the benchmark find the program as it is installed (tests/installed.py).
export ENGINE_BUILD = $(BUILD)

# Override to run a part: make test-unit ARGS="-k annotation"
ARGS :=

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z-]+:.* ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.* ## (.*)/  make \1\t\2/' | expand -t 18

.PHONY: setup
setup: packages $(VENV)/.ready ## install what this machine lacks: system packages, and .venv

.PHONY: packages
packages:
	@tests/setup.sh packages

$(VENV)/.ready: pyproject.toml requirements-dev.txt tests/setup.sh | packages
	@tests/setup.sh venv $(VENV)
	@touch $@

$(BUILD)/.ready: setup.py pyproject.toml $(shell find appliance -type f -not -name '*.pyc') | setup
	@echo "compiling the engine into $(BUILD)"
	@rm -rf $(BUILD)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target $(BUILD) .
	@touch $@

.PHONY: build
build: setup $(BUILD)/.ready ## the program as it is installed, its engine compiled, in build/engine

# Terraform's providers, before the tests enter an enclosure without Internet; says so where there is no Terraform.
.PHONY: plugins
plugins: setup
	@$(PYTHON) -m tests.terraform.plugins

# Debian 13's programs, 1.1 GB, before the tests enter an enclosure without Internet; says why where it cannot make them.
.PHONY: clients
clients: setup
	@$(PYTHON) -m tests.lab.programs $(MIRROR)

.PHONY: demo
demo: build ## a VPC in network namespaces, the appliance in it, and what it lets through
	@$(PYTHON) -m tests.demo $(ARGS)

.PHONY: demo-terraform
demo-terraform: build plugins ## the same, with VPC, groups and appliances made by `terraform apply`
	@$(PYTHON) -m tests.demo --terraform $(ARGS)

.PHONY: test
test: build clients ## everything but Terraform: lint, unit, property, lab; 20 minutes on two processors at most
	@$(PYTHON) -m pytest --ignore=tests/terraform $(ARGS)

.PHONY: test-unit
test-unit: setup ## all but the lab: no root, no namespaces
	@$(PYTHON) -m pytest $(addprefix --ignore=,$(LAB)) $(ARGS)

.PHONY: test-lab
test-lab: build clients ## the lab alone: the real program, real packets
	@$(PYTHON) -m pytest $(filter-out tests/terraform,$(LAB)) $(ARGS)

.PHONY: test-attacks
test-attacks: build ## the stories of the catalogue of attacks: hostile clients, the running appliance, real servers
	@$(PYTHON) -m pytest $$($(PYTHON) -m tests.attacks stories) $(ARGS)

.PHONY: test-clients
test-clients: build clients ## real clients alone, curl to Chromium; as root. MIRROR=... names Debian's archive on an Ubuntu
	@STRICT_TESTS=1 $(PYTHON) -m pytest tests/lab/test_clients.py tests/lab/test_page.py $(ARGS)

.PHONY: test-terraform
test-terraform: build plugins $(CHECKOV)/.ready ## the Terraform module: checkov, plans, and the real provider against the emulator
	@$(PYTHON) -m pytest tests/terraform $(ARGS)

.PHONY: lint
lint: setup ## ruff and mypy, as `make test` runs them
	@$(VENV)/bin/ruff check --quiet
	@$(VENV)/bin/ruff format --quiet --check
	@$(VENV)/bin/mypy --no-error-summary

.PHONY: checkov
checkov: $(CHECKOV)/.ready ## checkov over the Terraform module, as `make test-terraform` runs it
	@$(CHECKOV)/bin/checkov -d terraform --framework terraform --quiet --compact --skip-download

$(CHECKOV)/.ready: tests/setup.sh | packages
	@tests/setup.sh checkov $(CHECKOV)
	@touch $@

.PHONY: bench
bench: build ## connections per second and throughput, beside plain NAT, HAProxy and Squid
	@tests/setup.sh packages bench
	@$(PYTHON) -m tests.bench $(ARGS)

.PHONY: image
image: setup ## bake the disk image into build/; ARCH=arm64 for the other architecture, ARGS=--renew-lock for new packages
	@tests/setup.sh packages image
	@$(PYTHON) -m image build $(if $(ARCH),--arch $(ARCH)) $(ARGS)

.PHONY: image-check
image-check: setup ## prove each promise of the image in build/, without booting it; ARGS=FILE for another
	@$(PYTHON) -m image check $(ARGS)
	@$(PYTHON) -m pytest -q tests/image/test_disk_file.py

# Debian 13's QEMU, before the tests enter an enclosure without Internet.
QEMU := $(PYTHON) -c 'from image.tools import tools; tools("boot"), tools("bake")'

.PHONY: image-test
image-test: setup ## boot the image in build/ beside the lab, by UEFI and by BIOS, and filter through it; as root
	@tests/setup.sh packages image
	@$(QEMU)
	@$(PYTHON) -m pytest -v tests/image/boot $(ARGS)

.PHONY: image-test-arm64
image-test-arm64: setup ## the same for the arm64 image, emulated: it boots and filters
	@tests/setup.sh packages image
	@$(QEMU)
	@$(PYTHON) -m pytest -v tests/image/boot/test_arm64.py $(ARGS)

.PHONY: image-twice
image-twice: setup ## bake the image a second time, as Packer's builder does, and compare every bit
	@$(PYTHON) -m tests.image.twice $(ARGS)

# How long each harness runs, in seconds; how many run at a time; which, of those in tests/fuzz/harnesses.
SECONDS := 60
JOBS := 1
HARNESS :=

.PHONY: fuzz
fuzz: setup ## fuzz parsers, engine and annotations for SECONDS=60 each; HARNESS="ssh http" for some, JOBS=2 at a time
	@$(PYTHON) -m tests.fuzz --seconds $(SECONDS) --jobs $(JOBS) $(HARNESS)

.PHONY: clean
clean: ## remove what make made; system packages stay
	@rm -rf $(VENV) $(CHECKOV) build .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
