# headscope: one non-recursive Makefile. `make help` lists the targets.
#
# Sources come from wildcards, objects mirror the tree under $(BUILD), dependencies from -MMD.
# Adding a family, observer, data set, intervention, query or command is adding a file: the
# registries in $(BUILD)/gen are written from the file list.

BUILD  ?= build
CC     ?= cc
AR     ?= ar
PREFIX ?= /usr/local
SAN    ?=
WERROR ?= 1

PKGS      := sqlite3 libpng zlib libcjson libpcre2-8 libutf8proc libzstd fontconfig cairo pangocairo lapacke
TEST_PKGS := cmocka

OPT    ?= -O2 -g
WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith \
          -Wcast-qual -Wwrite-strings -Wundef $(if $(filter 1,$(WERROR)),-Werror)
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
# Asked for at first use and then kept: `make help` and `make deps` work before the packages are there.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $$(PKGS) 2>/dev/null | sed 's/-I/-isystem /g'))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell pkg-config --libs $$(PKGS) 2>/dev/null))$(PKG_LIBS)
TEST_LIBS  = $(eval TEST_LIBS := $$(shell pkg-config --libs $$(TEST_PKGS) 2>/dev/null))$(TEST_LIBS)
CPPFLAGS += -D_GNU_SOURCE -I. -I$(BUILD)
HS_CFLAGS = -std=c17 $(OPT) $(WARN) $(SANFLAGS) -pthread -ffp-contract=off $(CFLAGS)
HS_LDFLAGS = $(SANFLAGS) -pthread $(LDFLAGS)
LDLIBS   = $(PKG_LIBS) -lm

# V=1 shows whole commands; otherwise a short line each.
say = $(if $(V),,@echo "  $(1) $(patsubst $(BUILD)/%,%,$(2))";)

# ---- sources ------------------------------------------------------------------------------------

# Every folder in a room of analyses or of the command line is one of its rooms.
rooms_in = $(1) $(patsubst %/,%,$(wildcard $(1)/*/))
ROOMS    := model/core model model/arch model/cpu model/ref hooks $(call rooms_in,analyses) db viz
LIB_SRC  := $(filter-out model/cpu/kern.c,$(foreach r,$(ROOMS),$(wildcard $(r)/*.c)))
CLI_ROOMS := $(call rooms_in,cli)
CLI_SRC  := $(foreach r,$(CLI_ROOMS),$(wildcard $(r)/*.c))
TEST_SRC := $(wildcard tests/unit/test_*.c tests/laws/test_*.c tests/golden/test_*.c)
TLIB_SRC := $(wildcard tests/lib/*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_LIB := tests/fuzz/cli.c tests/fuzz/damage.c

# One kernel source, one object per instruction set, chosen at run time.
X86      := $(filter x86_64%,$(shell $(CC) -dumpmachine))
ISAS     := generic $(if $(X86),avx2 avx512 avx512bf16)
ISA_generic :=
ISA_avx2    := -mavx2 -mfma -mf16c
ISA_avx512  := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c
ISA_avx512bf16 := $(ISA_avx512) -mavx512bf16
KERN_FLAGS  := -O3 -fno-math-errno -fno-trapping-math

LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o) \
            $(if $(wildcard model/cpu/kern.c),$(ISAS:%=$(BUILD)/model/cpu/kern.%.o))
CLI_OBJ  := $(filter-out $(BUILD)/cli/main.o,$(CLI_SRC:%.c=$(BUILD)/%.o))
TLIB_OBJ := $(TLIB_SRC:%.c=$(BUILD)/%.o)
TESTS    := $(TEST_SRC:%.c=$(BUILD)/%)
OOM      := $(BUILD)/tests/cli/oom.so
REPLAYS  := $(FUZZ_SRC:tests/fuzz/%.c=$(BUILD)/tests/fuzz/%.replay)
LIB      := $(BUILD)/libheadscope.a
CLI_LIB  := $(BUILD)/libcli.a# all of the command line but main(), for tests
BIN      := $(BUILD)/headscope

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all demo test check asan tsan fuzz install uninstall clean help deps test-deps FORCE

all: $(BIN)

# ---- packages -----------------------------------------------------------------------------------

# Stops a plain build early, naming what is missing, rather than at the first #include.
APT_DEPS := libsqlite3-dev libpng-dev zlib1g-dev libcjson-dev libpcre2-dev libutf8proc-dev \
            libzstd-dev libfontconfig-dev libcairo2-dev libpango1.0-dev \
            liblapacke-dev
$(BUILD)/.have-libs: Makefile
	@command -v pkg-config >/dev/null || { \
	  echo "headscope: pkg-config is missing: run 'make deps', or install pkg-config" >&2; exit 1; }
	@missing=; for p in $(PKGS); do pkg-config --exists $$p || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "headscope: missing libraries:$$missing" >&2; \
	  echo "  run 'make deps', or install: $(APT_DEPS)" >&2; exit 1; fi
	@mkdir -p $(@D) && touch $@

deps:
	@sh tests/lib/deps.sh build
test-deps:
	@sh tests/lib/deps.sh test

# ---- generated files ----------------------------------------------------------------------------

GEN := $(BUILD)/gen
# $(call names,FOLDER,PREFIX): the C names of FOLDER/PREFIX*.c, sorted.
names = $(sort $(patsubst $(1)/$(2)%.c,%,$(wildcard $(1)/$(2)*.c)))
REGISTRIES := archs interventions observers experiments calibrations datasets commands figures
LIST_archs         := $(call names,model/arch,)
LIST_interventions := $(call names,hooks,iv_)
LIST_observers     := $(call names,analyses/observers,)
LIST_experiments   := $(call names,analyses/experiments,)
LIST_calibrations  := $(call names,analyses/calibrations,)
LIST_datasets      := $(call names,analyses/datasets,)
LIST_commands      := $(call names,cli,cmd_)
LIST_figures       := $(call names,cli/figures,figure_)
GENERATED := $(REGISTRIES:%=$(GEN)/%.inc) $(GEN)/queries.inc $(GEN)/completion.inc $(GEN)/version.h

# Rewritten only when the list of files changed, so that an unchanged list rebuilds nothing.
$(REGISTRIES:%=$(GEN)/%.inc): $(GEN)/%.inc: FORCE
	@mkdir -p $(@D); { for n in $(LIST_$*); do echo "HS_ENTRY($$n)"; done; } > $@.new; \
	cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# Texts as C strings: HS_QUERY(name, "text") a named query, HS_SCRIPT(shell, "text") a completion
# script.
# In one, a line "-- part: NAME" stands for a SELECT that several have: db/queries/parts/NAME.sql,
# which may have parts of its own.
QUERIES := $(sort $(wildcard db/queries/*.sql))
PARTS := $(sort $(wildcard db/queries/parts/*.sql))
SCRIPTS := $(foreach s,bash zsh fish,cli/help/completion.$(s))
$(GEN)/queries.inc: MACRO := HS_QUERY
$(GEN)/queries.inc: TEXTS := $(QUERIES)
$(GEN)/queries.inc: JOIN := $(foreach p,$(PARTS),-e '/^-- part: $(basename $(notdir $p))$$/r $p') -e '/^-- part: /d'
$(GEN)/queries.inc: $(QUERIES) $(PARTS)
$(GEN)/completion.inc: MACRO := HS_SCRIPT
$(GEN)/completion.inc: TEXTS := $(SCRIPTS)
$(GEN)/completion.inc: $(SCRIPTS)
$(GEN)/queries.inc $(GEN)/completion.inc: FORCE
	@mkdir -p $(@D); for t in $(TEXTS); do n=$${t##*/}; n=$${n%.sql}; \
	printf '$(MACRO)(%s,\n' "$${n#completion.}"; \
	sed $(JOIN) -e '' $$t | sed $(JOIN) -e '' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$/\\n"/'; echo ')'; done > $@.new; \
	cmp -s $@.new $@ && rm $@.new || mv $@.new $@

VERSION := 0.1.0
$(GEN)/version.h: FORCE
	@mkdir -p $(@D); git=$$(git describe --always --dirty 2>/dev/null || echo release); \
	printf '#define HS_VERSION "%s"\n#define HS_GIT "%s"\n#define HS_CC "%s"\n' "$(VERSION)" "$$git" \
	  "$$($(CC) --version | head -n 1 | tr -d '"')" > $@.new; \
	cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# ---- objects ------------------------------------------------------------------------------------

$(BUILD)/%.o: %.c $(BUILD)/.have-libs | $(GENERATED)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CPPFLAGS) $(HS_CFLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(ISAS:%=$(BUILD)/model/cpu/kern.%.o): $(BUILD)/model/cpu/kern.%.o: model/cpu/kern.c $(BUILD)/.have-libs
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(CPPFLAGS) $(HS_CFLAGS) $(KERN_FLAGS) $(ISA_$*) -DHS_ISA=$* -DHS_ISA_$* -MMD -MP -c -o $@ $<

$(BUILD)/tests/%.o $(BUILD)/tests/unit/%: HS_CFLAGS += -Wno-missing-prototypes

# Archives made anew, so that a removed source leaves them.
$(LIB): $(LIB_OBJ)
$(CLI_LIB): $(CLI_OBJ)
$(LIB) $(CLI_LIB):
	@rm -f $@
	$(call say,AR,$@)$(AR) rcs $@ $^

$(BIN): $(BUILD)/cli/main.o $(CLI_LIB) $(LIB)
	$(call say,LD,$@)$(CC) $(HS_LDFLAGS) -o $@ $^ $(LDLIBS)

# ---- tests --------------------------------------------------------------------------------------

# What tests run the whole command line with: the program's main is there under another name.
$(BUILD)/tests/fuzz/main.o: cli/main.c $(BUILD)/.have-libs | $(GENERATED)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(CPPFLAGS) -Dmain=headscope_main $(HS_CFLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/libfuzz.a: $(FUZZ_LIB:%.c=$(BUILD)/%.o) $(BUILD)/tests/fuzz/main.o
	@rm -f $@
	$(call say,AR,$@)$(AR) rcs $@ $^

TEST_NEEDS := $(BUILD)/libfuzz.a $(TLIB_OBJ) $(CLI_LIB) $(LIB)
$(TESTS): $(BUILD)/%: $(BUILD)/%.o $(TEST_NEEDS)
	$(call say,LD,$@)$(CC) $(HS_LDFLAGS) -o $@ $^ $(TEST_LIBS) $(LDLIBS)

# A fuzz target with an ordinary main that feeds it every file of its corpus.
$(REPLAYS): $(BUILD)/tests/fuzz/%.replay: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/replay.o $(TEST_NEEDS)
	$(call say,LD,$@)$(CC) $(HS_LDFLAGS) -o $@ $^ $(TEST_LIBS) $(LDLIBS)

.SECONDARY:
.PHONY: build-tests
build-tests: $(BIN) $(TESTS) $(REPLAYS) $(OOM)

# A shim that lets allocations fail; without sanitizers, which have their own allocators.
$(OOM): tests/cli/oom.c
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -std=c17 -O1 -g $(WARN) -D_GNU_SOURCE -Wno-missing-prototypes -shared -fPIC -o $@ $<

MODEL := $(BUILD)/models/SmolLM2-135M-Instruct.Q4_1.gguf
$(MODEL):
	@sh tests/lib/fetch.sh $(BUILD)/models

# In two steps: the second make reads pkg-config after the packages are there.
test: deps test-deps
	@$(MAKE) --no-print-directory build-tests
	@$(MAKE) --no-print-directory $(MODEL)
	@sh tests/run.sh $(BUILD)

demo: deps
	@$(MAKE) --no-print-directory $(BIN)
	@$(MAKE) --no-print-directory $(MODEL)
	@sh cli/demo.sh $(BUILD)

# Every kind of figure, drawn anew into docs/: look at them before committing.
.PHONY: gallery
gallery: deps
	@$(MAKE) --no-print-directory $(BIN)
	@$(MAKE) --no-print-directory $(MODEL)
	@sh cli/gallery.sh $(BUILD) docs

# What docs/tour.md says its commands print, written anew; read the difference before it is kept.
.PHONY: tour
tour: $(BIN) $(MODEL)
	@WRITE=1 BUILD=$(abspath $(BUILD)) sh tests/cli/tour.t

# ---- checks -------------------------------------------------------------------------------------

ALL_SRC = $(wildcard $(ROOMS:%=%/*.[ch]) $(CLI_ROOMS:%=%/*.[ch]) tests/*/*.[ch])

# Lint, include arrows, format, headers that compile alone with both compilers.
check: $(GENERATED) $(BUILD)/.have-libs
	@python3 tests/lint/arrows.py
	@python3 tests/lint/docs.py
	@for h in $(filter %.h,$(filter-out model/cpu/% tests/%,$(ALL_SRC))); do for cc in gcc clang; do \
	  command -v $$cc >/dev/null || continue; \
	  printf '#include "%s"\n' $$h | $$cc -std=c17 $(CPPFLAGS) $(WARN) $(PKG_CFLAGS) -fsyntax-only -x c - || exit 1; \
	done; done; echo "headers: each compiles alone"
	@clang-format --dry-run -Werror $(ALL_SRC) && echo "format: clean"
	@cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -I. -I$(BUILD) \
	  --enable=warning,portability --suppress=missingIncludeSystem --suppress=missingInclude \
	  $(filter %.c,$(filter-out tests/% model/cpu/%,$(ALL_SRC))) && echo "cppcheck: clean"

format:
	clang-format -i $(ALL_SRC)

# The tests under sanitizers, each in a build folder of its own.
asan:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan SAN=address,undefined OPT="-O1 -g" build-tests
	@HS_SANITIZED=1 sh tests/run.sh $(BUILD)/asan
tsan:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/tsan SAN=thread OPT="-O1 -g" build-tests
	@HS_SANITIZED=1 sh tests/run.sh $(BUILD)/tsan

# What `make test` samples, in full: every allocation of small runs refused, a thousand recordings and
# outputs killed.
.PHONY: oom kill
oom: build-tests
	@OOM_STEP=1 BUILD=$(abspath $(BUILD)) sh tests/cli/oom.t
kill: build-tests
	@KILLS=1000 BUILD=$(abspath $(BUILD)) sh tests/cli/kill.t

# libFuzzer on every parser, FUZZ_SECONDS each; new inputs land in build/fuzz/corpus. FUZZ picks
# some of them: make fuzz FUZZ="db sql".
FUZZ_SECONDS ?= 60
FUZZ ?= $(FUZZ_SRC:tests/fuzz/fuzz_%.c=%)
FUZZ_RUN := -timeout=10 -rss_limit_mb=2048 -max_len=16384 -verbosity=0 -print_final_stats=1
fuzz:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang OPT="-O1 -g" \
	  SAN=fuzzer-no-link,address,undefined run-fuzz FUZZ_SECONDS=$(FUZZ_SECONDS)
.PHONY: run-fuzz fuzz-coverage format
run-fuzz: export TMPDIR ?= $(if $(wildcard /dev/shm),/dev/shm,/tmp)
run-fuzz: export LSAN_OPTIONS = suppressions=$(CURDIR)/tests/lib/lsan.supp:print_suppressions=0
run-fuzz: $(FUZZ:%=$(BUILD)/tests/fuzz/fuzz_%.fuzzer)
	@for f in $(FUZZ); do mkdir -p $(BUILD)/corpus/fuzz_$$f; echo "== $$f"; \
	  dict=tests/fuzz/dict/$$f.dict; [ -f $$dict ] && dict=-dict=$$dict || dict=; \
	  $(BUILD)/tests/fuzz/fuzz_$$f.fuzzer -max_total_time=$(FUZZ_SECONDS) $(FUZZ_RUN) $$dict \
	  -artifact_prefix=$(BUILD)/$$f- $(BUILD)/corpus/fuzz_$$f tests/fuzz/corpus/$$f || exit 1; done
$(BUILD)/tests/fuzz/%.fuzzer: $(BUILD)/tests/fuzz/%.o $(TEST_NEEDS)
	$(call say,LD,$@)$(CC) -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ $(TEST_LIBS) $(LDLIBS)

# Lines and branches that the fuzzers' corpora reach, a line for each file that a target is for.
COVERAGE := -fprofile-instr-generate -fcoverage-mapping
fuzz-coverage:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz/coverage CC=clang OPT="-O1 -g $(COVERAGE)" \
	  LDFLAGS="$(COVERAGE)" build-replays
	@sh tests/fuzz/coverage.sh $(BUILD)/fuzz/coverage
.PHONY: build-replays
build-replays: $(REPLAYS)

# The machine's ceilings and what the default model's work reaches of them; tests/bench/SPEED.md
# keeps the figures.
.PHONY: bench
bench: $(BIN) $(MODEL)
	@$(BIN) bench $(MODEL) --dir $(BUILD)

# ---- install ------------------------------------------------------------------------------------

# The program writes its own manual pages and completion scripts.
MAN := $(BUILD)/man
.PHONY: man
man: $(BIN)
	@rm -rf $(MAN) && $(BIN) man -q -o $(MAN) && echo "manual pages: $(MAN)"

SHARE = $(DESTDIR)$(PREFIX)/share
BASH_COMPLETION = $(SHARE)/bash-completion/completions/headscope
ZSH_COMPLETION  = $(SHARE)/zsh/site-functions/_headscope
FISH_COMPLETION = $(SHARE)/fish/vendor_completions.d/headscope.fish

install: $(BIN) man
	install -d $(DESTDIR)$(PREFIX)/bin $(foreach s,1 5 7,$(SHARE)/man/man$(s)) \
	  $(dir $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION))
	install -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/headscope
	@for s in 1 5 7; do install -m 644 $(MAN)/*.$$s $(SHARE)/man/man$$s || exit 1; done
	install -m 644 cli/help/completion.bash $(BASH_COMPLETION)
	install -m 644 cli/help/completion.zsh $(ZSH_COMPLETION)
	install -m 644 cli/help/completion.fish $(FISH_COMPLETION)
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/headscope $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION)
	rm -f $(foreach s,1 5 7,$(SHARE)/man/man$(s)/headscope.$(s) $(SHARE)/man/man$(s)/headscope-*.$(s))

clean:
	rm -rf $(filter-out $(BUILD)/models,$(wildcard $(BUILD)/* $(BUILD)/.have-libs))

help:
	@echo "make              build $(BIN) (installs nothing; names missing packages)"
	@echo "make demo         install what is missing, build, fetch the default model, record, draw"
	@echo "make gallery      draw every kind of figure into docs/gallery"
	@echo "make test         install what is missing, build, run every test"
	@echo "make tour         write anew what the commands of docs/tour.md print"
	@echo "make deps         install the Debian packages the build needs"
	@echo "make check        lint, include arrows, format, headers that compile alone"
	@echo "make asan, tsan   the tests under sanitizers"
	@echo "make oom, kill    every allocation refused, a thousand kills (make test has a sample of each)"
	@echo "make fuzz         libFuzzer on every parser (FUZZ_SECONDS=60 each, FUZZ=names)"
	@echo "make fuzz-coverage  what the fuzzers' inputs reach of each parser"
	@echo "make bench        speed, as a share of what the machine can do"
	@echo "make man          the manual pages, into $(BUILD)/man"
	@echo "make install      program, manual pages and completions into PREFIX (/usr/local), under"
	@echo "                  DESTDIR; make uninstall undoes it"
	@echo "make format       clang-format every source"
	@echo "make clean        remove $(BUILD), but for the fetched models"
	@echo "Variables: V=1, CC, OPT, SAN, WERROR, BUILD, PREFIX, DESTDIR"

-include $(shell [ -d $(BUILD) ] && find $(BUILD) -name '*.d')
