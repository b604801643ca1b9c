# Every target sets up .venv by itself from requirements.txt. Modules are compiled as they are first imported: compiling all
# of them, as pip does, takes longer than downloading them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo flickr8k table1 ladder seeds captions starter study family video questions kaggle test slow lint bench docs notebooks

help:  ## list the targets
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(READY): requirements.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("clipknight needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --no-compile --quiet --disable-pip-version-check -r requirements.txt
	touch $@

demo: $(READY)  ## everything on a synthetic sample, captions of real photographs: outputs/report.html, outputs/submission.csv
	$(BIN)/python src/pipeline.py configs/sample.yaml

flickr8k: $(READY)  ## the first table of docs/results.md, from input/flickr8k (an hour on 2 cores; goes on after a kill)
	$(BIN)/python src/pipeline.py configs/flickr8k.yaml

table1: $(READY)  ## Table 1 of Che et al. on Flickr8k, three seeds, with ablations: outputs/table1/table.md (an hour on 2 cores)
	$(BIN)/python src/pipeline.py configs/table1/systems.yaml configs/table1/ablations.yaml

ladder: $(READY)  ## the best ensemble of docs/results.md, after make flickr8k and make captions (minutes on a GPU, hours on 2 cores)
	$(BIN)/python src/pipeline.py configs/flickr8k_ladder.yaml

seeds: $(READY)  ## the ladder's last row with three seeds, after make ladder: outputs/flickr8k/ladder_seeds.md (as long as make ladder, twice)
	$(BIN)/python src/pipeline.py configs/ladder_seeds/training.yaml

captions: $(READY)  ## the caption table of docs/results.md, from input/flickr8k and the runs of make flickr8k (40 minutes on 2 cores)
	$(BIN)/python src/pipeline.py configs/flickr8k_captions.yaml

starter: $(READY)  ## the starter weights anew, after make flickr8k, captions and ladder: outputs/starter/pack
	$(BIN)/python src/pipeline.py configs/starter.yaml

study: $(READY)  ## what matters in Knight: outputs/study/table.md, after make flickr8k (an hour on 2 cores)
	$(BIN)/python src/pipeline.py configs/captions_study.yaml

family: $(READY)  ## every way to caption side by side: outputs/family/table.md, after make flickr8k and make study
	$(BIN)/python src/pipeline.py configs/captions_family.yaml

video: $(READY)  ## the same on clips in input/msvd_clips: outputs/family_video/table.md, after make flickr8k
	$(BIN)/python src/pipeline.py configs/captions_family_video.yaml

questions: $(READY)  ## questions about the sample's drawings, answered: outputs/sample/questions, after make demo
	$(BIN)/python src/pipeline.py configs/questions.yaml

kaggle: $(READY)  ## outputs/kaggle: the run RUN (ensemble) as a Kaggle dataset and a notebook without internet, see docs/kaggle.md
	$(BIN)/python src/kaggle_kit.py --run $(or $(RUN),ensemble) $(if $(KAGGLE_USER),--user $(KAGGLE_USER))

test: $(READY)  ## the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

slow: $(READY)  ## the tests that make test leaves out: notebooks, several processes, kills at random instants
	KILLS=$(or $(KILLS),5) $(BIN)/python -m pytest -m slow -n auto --maxprocesses 4 --dist loadfile

lint: $(READY)  ## ruff: errors and formatting; import-linter: which package may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=src $(BIN)/lint-imports

bench: $(READY)  ## speed: each stage beside what one would write and the machine's limit, into benchmarks/README.md (QUICK=1: less of everything)
	$(BIN)/python benchmarks/bench.py --write $(if $(QUICK),--quick)

docs: $(READY)  ## the documents as a site: outputs/site/index.html
	$(BIN)/mkdocs build --strict --quiet

notebooks: $(READY)  ## execute the notebooks in place, on a small sample that they draw
	$(BIN)/python notebooks/execute.py
