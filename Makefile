# make figures   both papers' figures end to end, from simulated jets       make test        all checks
# make smoke     the same chain with tiny samples, in minutes               make validation  simulation against JetClass
# make cluster   like figures, on a cluster with Slurm (docs/cluster.md); after a kill: make resume
# make help      this list
#
# CORES=4            cores to use (default: all)
# STUDY=simplex      one study only: latent or simplex (default: both)
# PRESET=paper       settings of workflow/presets/<PRESET>.yaml on top of config.yaml; of several: PRESET="paper public_data"
# PROFILE=slurm      another profile than profiles/slurm for cluster and resume
# PYTHON=python3.11  interpreter to build the environment with
# CONSTRAINTS=       build it with the newest versions that pyproject.toml allows, not those of envs/constraints.txt

CORES   ?= all
PYTHON  ?= python3
PROFILE ?= profiles/slurm
VENV    := .venv
CONSTRAINTS ?= envs/constraints.txt
RUN     := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
PRESETS = $(if $(PRESET),--configfile $(PRESET:%=workflow/presets/%.yaml))
FLOW    = $(RUN) snakemake --cores $(CORES) $(STUDY) $(PRESETS)
CLUSTER = --profile $(PROFILE) $(STUDY) $(PRESETS)

.PHONY: help figures cluster resume smoke validation test lint format schema constraints clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

figures: $(VENV)/installed
	$(FLOW)

cluster: $(VENV)/installed
	$(RUN) snakemake $(CLUSTER)

resume: $(VENV)/installed
	$(RUN) python -m otcal.cluster resume $(CLUSTER)

smoke: $(VENV)/installed
	$(FLOW) --configfile workflow/presets/smoke.yaml

validation: $(VENV)/installed
	$(RUN) snakemake --cores $(CORES) validation $(PRESETS)

test: $(VENV)/installed lint
	$(RUN) OMP_NUM_THREADS=1 pytest -n auto --dist loadfile --no-loadscope-reorder --hypothesis-profile=ci

lint: $(VENV)/installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) snakemake --lint

format: $(VENV)/installed
	$(RUN) ruff check --fix .
	$(RUN) ruff format .
	$(RUN) snakefmt Snakefile workflow

schema: $(VENV)/installed
	$(RUN) python -m otcal.config.schema workflow/schemas/config.schema.json
	$(RUN) python -m otcal.config.reference docs/configuration.md

constraints: $(VENV)/installed
	$(VENV)/bin/python -m pip list --format=freeze --exclude-editable --exclude pip --exclude setuptools --exclude wheel \
	  > $(VENV)/versions
	sed -i '/^[^#]/d' envs/constraints.txt
	sed 's/+.*//' $(VENV)/versions >> envs/constraints.txt

clean:
	rm -rf results/latent results/simplex results/smoke results/slurm_logs results/summary.json .snakemake

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet $(CONSTRAINTS:%=--constraint %) --editable ".[dev]"
	@touch $@
