# qvl: `make demo` and `make check` are all a newcomer needs; `make help` lists the rest.
#
# Rooms are found by wildcard; a kernel file gets the -m flags that its name asks for (…_avx2.c), nothing else
# does. SAN=address,undefined (or thread) builds into a folder of its own.

CC ?= gcc
BUILD ?= build$(if $(SAN),/$(subst $(comma),-,$(SAN)))
comma := ,
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
UNITDIR ?= $(PREFIX)/lib/systemd/system
DESTDIR ?=
PKG_CONFIG ?= pkg-config
Q ?= @

VERSION := 0.1.0

OPT ?= -O2
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wmissing-prototypes -Wvla -Wstrict-prototypes
HARDEN := -fstack-protector-strong -fPIC $(if $(SAN),,-D_FORTIFY_SOURCE=2)
CFLAGS_ALL = -std=c11 -D_GNU_SOURCE $(OPT) -g $(WARN) $(HARDEN) -ffp-contract=off -fvisibility=hidden -pthread \
	-Iinclude -Isrc $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined) $(CFLAGS)
LDFLAGS_ALL = -pthread -Wl,-z,relro,-z,now,-z,noexecstack $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

LIBS := -ljansson -lnettle -lm
SERVER_LIBS := -lmicrohttpd -lcurl
CLI_LIBS := -ledit $(SERVER_LIBS)
MEDIA_LIBS := -ljpeg -lpng -lwebp -lseccomp -ldl
AV_LIBS := -lavformat -lavcodec -lswscale -lavutil -lheif

ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)

# ---- sources -------------------------------------------------------------------------------------
KERNEL_SRC := $(wildcard src/kernel/*.c)
ifneq ($(ARCH),x86_64)
KERNEL_SRC := $(filter-out %_avx2.c %_avx2_vnni.c %_avx512.c %_avx512_bf16.c %_avx512_vnni.c %_amx.c,$(KERNEL_SRC))
endif
ifneq ($(ARCH),aarch64)
KERNEL_SRC := $(filter-out %_neon.c %_neon_dotprod.c %_neon_i8mm.c,$(KERNEL_SRC))
endif
LIB_SRC := $(wildcard src/base/*.c) $(KERNEL_SRC) \
	$(foreach room,load text media model engine chat,$(wildcard src/$(room)/*.c))
SERVER_SRC := $(wildcard src/server/*.c)
HUB_SRC := $(wildcard src/hub/*.c)
CLI_SRC := $(wildcard src/cli/*.c)
HELPER_SRC := $(filter-out src/media/helper/av_%.c,$(wildcard src/media/helper/*.c))
AV_SRC := $(wildcard src/media/helper/av_*.c)
TEST_SRC := $(wildcard tests/unit/*/test_*.c tests/kernel/test_*.c tests/golden/test_*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRC := $(wildcard bench/*.c)

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIB_OBJ := $(call objects,$(LIB_SRC))
PROGRAMS := $(BUILD)/qvl $(BUILD)/qvl-media $(BUILD)/qvl-media-av.so $(BUILD)/libqvl.a $(BUILD)/libqvl.so
TESTS := $(patsubst %.c,$(BUILD)/%,$(TEST_SRC))
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(BENCH_SRC))

.PHONY: all page deb tarball demo demo-scores check tests bench install uninstall clean help deps reference fuzz lint
.SECONDARY:
.DELETE_ON_ERROR:

all: $(PROGRAMS)

help:
	@echo "make            build qvl, qvl-media, libqvl"
	@echo "make page       build the web page with npm; the next make puts it into qvl"
	@echo "make demo       install what is missing, build, ask the built-in demo model about pictures and clips"
	@echo "make demo-scores  score the demo model through qvl and Hugging Face transformers, into its card (slow)"
	@echo "make check      install what is missing, build, run all tests (no Python needed)"
	@echo "make reference  regenerate golden vectors with Hugging Face transformers and compare live (slow)"
	@echo "make bench      build the benchmarks into $(BUILD)/bench"
	@echo "make fuzz       build the fuzz targets with clang into build/fuzz"
	@echo "make lint       layer check, source check, cppcheck, clang-tidy"
	@echo "make install    PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)"
	@echo "make deb        Debian packages into build/deb"
	@echo "make tarball    a qvl that runs where it is unpacked, with its libraries, into build/"

deps:
	$(Q)tools/install-deps.sh

# ---- compile -------------------------------------------------------------------------------------
%_avx2.o: ISA_FLAGS := -mavx2 -mfma -mf16c
%_avx2_vnni.o: ISA_FLAGS := -mavx2 -mfma -mf16c -mavxvnni
%_avx512.o: ISA_FLAGS := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c
%_avx512_vnni.o: ISA_FLAGS := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c
%_avx512_bf16.o: ISA_FLAGS := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 -mavx2 -mfma -mf16c
%_amx.o: ISA_FLAGS := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 -mamx-tile -mamx-bf16 -mamx-int8 -mavx2 -mfma -mf16c
# Tuned so that GCC leaves the order of loads in the tiles as it is written: else it spills accumulators.
NEON_FLAGS := $(if $(findstring clang,$(CC)),,-mtune=neoverse-n1 -fno-schedule-insns)
%_neon.o: ISA_FLAGS := $(NEON_FLAGS)
%_neon_dotprod.o: ISA_FLAGS := -march=armv8.2-a+dotprod $(NEON_FLAGS)
%_neon_i8mm.o: ISA_FLAGS := -march=armv8.2-a+dotprod+i8mm $(NEON_FLAGS)
# (Sanitizers make the unrolled tiles minutes of work for the optimiser.)
$(BUILD)/src/kernel/%.o: OPT := $(if $(SAN),-O1 -DQVL_NO_UNROLL,-O3)
# Loops over every weight of a model.
$(BUILD)/src/load/ggml_blocks.o $(BUILD)/src/load/foreign_rows.o $(BUILD)/src/load/quantize.o: OPT := $(if $(SAN),-O1,-O3)
# Conversions are checked where bytes from outside are read; kernels are dense with deliberate ones.
$(filter-out $(BUILD)/src/kernel/%,$(LIB_OBJ) $(call objects,$(SERVER_SRC) $(HUB_SRC) $(CLI_SRC) $(HELPER_SRC) $(AV_SRC))): WARN += -Wconversion

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(ISA_FLAGS) -MMD -MP -c $< -o $@

# Kernels in matrix tiles once more, with the tiles in plain C: for tests, on any machine.
$(BUILD)/tiles_in_c/%.o: OPT := $(if $(SAN),-O1 -DQVL_NO_UNROLL,-O3)
$(BUILD)/tiles_in_c/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(ISA_FLAGS) -DQVL_TILES_IN_C -MMD -MP -c $< -o $@

# Kernels in AVX-VNNI once more, with its instruction in parts: for tests, on any machine with avx2.
$(BUILD)/dpbusd_in_parts/%.o: OPT := $(if $(SAN),-O1 -DQVL_NO_UNROLL,-O3)
$(BUILD)/dpbusd_in_parts/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(ISA_FLAGS) -mno-avxvnni -DQVL_DPBUSD_IN_PARTS -MMD -MP -c $< -o $@

# The same rooms with the switches of model/mistake.h, for the test and the scores that show each one is caught.
$(BUILD)/mistakes/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -DQVL_MISTAKES -MMD -MP -c $< -o $@

# ---- link ----------------------------------------------------------------------------------------
$(BUILD)/libqvl.a: $(LIB_OBJ)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/libqvl.so: $(LIB_OBJ)
	$(Q)$(CC) -shared -Wl,-soname,libqvl.so.0 $(LDFLAGS_ALL) $^ $(LIBS) -o $@

# The web page: built by `make page` (npm), put into the program where it was built.
PAGE := build/page
page: web/node_modules/.package-lock.json
	$(Q)cd web && npm run --silent build
web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	$(Q)cd web && npm ci --no-progress
# (With `make page all` the page is there only after the first of the two.)
$(BUILD)/page_files.c: tools/embed-page.sh $(wildcard $(PAGE)/index.html) $(filter page,$(MAKECMDGOALS))
	$(Q)tools/embed-page.sh $(PAGE) $@
$(BUILD)/page_files.o: $(BUILD)/page_files.c
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# The server's room, for the program and for tests; not part of the library.
$(BUILD)/libqvl-server.a: $(call objects,$(SERVER_SRC)) $(BUILD)/page_files.o
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The room of hubs, as well.
$(BUILD)/libqvl-hub.a: $(call objects,$(HUB_SRC))
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/qvl: $(call objects,$(CLI_SRC)) $(BUILD)/libqvl-server.a $(BUILD)/libqvl-hub.a $(BUILD)/libqvl.a
	$(Q)$(CC) $(LDFLAGS_ALL) -pie $^ $(LIBS) $(CLI_LIBS) -o $@

$(BUILD)/qvl-media: $(call objects,$(HELPER_SRC)) $(BUILD)/libqvl.a
	$(Q)$(CC) $(LDFLAGS_ALL) -pie $^ $(MEDIA_LIBS) -o $@

$(BUILD)/qvl-media-av.so: $(call objects,$(AV_SRC))
	$(Q)$(CC) -shared $(LDFLAGS_ALL) $(if $(SAN),,-Wl,-z,defs) $^ -Wl,--as-needed $(AV_LIBS) -lm -o $@

# qvl-media without its main: decoders, sandbox and module, for the tests and fuzz targets of that room.
$(BUILD)/libqvl-media.a: $(call objects,$(filter-out %/main.c,$(HELPER_SRC)) $(AV_SRC))
	$(Q)rm -f $@ && $(AR) rcs $@ $^
MEDIA_TEST_LIBS = -Wl,--as-needed $(MEDIA_LIBS) $(AV_LIBS) $(LIBS)

# ---- tests ---------------------------------------------------------------------------------------
# Each tests/*/test_x.c is a program of its own; helper files in the same folder (not test_*) and tests/lib are
# linked in.
TEST_LIB := $(call objects,$(wildcard tests/lib/*.c)) \
	$(patsubst %.c,$(BUILD)/tiles_in_c/%.o,$(filter %_amx.c,$(KERNEL_SRC))) \
	$(patsubst %.c,$(BUILD)/dpbusd_in_parts/%.o,$(filter %_avx2_vnni.c,$(KERNEL_SRC)))
define TEST_RULE
$(BUILD)/$(1:.c=): $(BUILD)/$(1:.c=.o) $(call objects,$(filter-out $(dir $(1))test_%,$(wildcard $(dir $(1))*.c))) $(TEST_LIB) \
		$(BUILD)/libqvl.a
	$(Q)$(CC) $(LDFLAGS_ALL) $$^ -lcmocka $(LIBS) $$(EXTRA_LIBS) -o $$@
endef
$(foreach t,$(TEST_SRC),$(eval $(call TEST_RULE,$(t))))
MEDIA_TESTS := $(filter $(BUILD)/tests/unit/media/%,$(TESTS))
$(filter $(BUILD)/tests/unit/engine/%,$(TESTS)): | $(BUILD)/qvl-media $(BUILD)/qvl-media-av.so
$(MEDIA_TESTS): $(BUILD)/libqvl-media.a | $(BUILD)/qvl-media $(BUILD)/qvl-media-av.so
$(MEDIA_TESTS): EXTRA_LIBS = $(BUILD)/libqvl-media.a $(BUILD)/libqvl.a $(MEDIA_TEST_LIBS)
SERVER_TESTS := $(filter $(BUILD)/tests/unit/server/%,$(TESTS))
$(SERVER_TESTS): $(BUILD)/libqvl-server.a | $(BUILD)/qvl-media $(BUILD)/qvl-media-av.so
$(SERVER_TESTS): EXTRA_LIBS = $(BUILD)/libqvl-server.a $(BUILD)/libqvl.a $(LIBS) $(SERVER_LIBS)
HUB_TESTS := $(filter $(BUILD)/tests/unit/hub/%,$(TESTS))
$(HUB_TESTS): $(BUILD)/libqvl-hub.a
$(HUB_TESTS): EXTRA_LIBS = $(BUILD)/libqvl-hub.a $(BUILD)/libqvl.a $(LIBS) -lcurl

# The golden models in real checkpoint folders, for the demo and the end-to-end tests.
$(BUILD)/make_golden: $(call objects,tests/golden/tool/make_golden.c tests/golden/golden_model.c)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -ljansson -lm -o $@

# A terminal for the programs that the end-to-end tests type into.
$(BUILD)/pty: $(call objects,tests/e2e/tool/pty.c)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -lutil -o $@

# A hub of models on this machine, with every fault that a test asks for.
$(BUILD)/fake_hub: $(call objects,$(wildcard tests/e2e/tool/fake_hub/*.c))
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -lmicrohttpd -lnettle -lz -o $@

# This test and this program link the model and engine rooms with the switches of model/mistake.h in place of the
# library's.
mistake_objects = $(patsubst %.c,$(BUILD)/mistakes/%.o,$(wildcard src/model/*.c src/engine/*.c) $(1))
MISTAKE_TEST := $(BUILD)/tests/golden/mistakes/test_mistakes
$(MISTAKE_TEST): $(call mistake_objects,$(wildcard tests/golden/mistakes/*.c) \
		$(filter-out tests/golden/test_%,$(wildcard tests/golden/*.c))) $(TEST_LIB) $(BUILD)/libqvl.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -lcmocka $(LIBS) -o $@
TESTS += $(MISTAKE_TEST)

$(BUILD)/qvl-mistaken: $(call mistake_objects,tests/e2e/tool/mistaken.c) $(call objects,$(CLI_SRC)) \
		$(BUILD)/libqvl-server.a $(BUILD)/libqvl-hub.a $(BUILD)/libqvl.a
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) $(CLI_LIBS) -o $@

tests: all $(TESTS) $(BUILD)/make_golden $(BUILD)/pty $(BUILD)/fake_hub $(BUILD)/bench/make_checkpoint $(BUILD)/qvl-mistaken replay

check: deps
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) tests
	$(Q)tools/run-tests.sh $(BUILD)

demo: deps
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all
	$(Q)tools/demo.sh $(BUILD)

demo-scores: deps
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all $(BUILD)/qvl-mistaken
	$(Q)reference/demo_scores.sh $(BUILD) $(SCORE)

reference:
	$(Q)reference/run.sh

lint:
	$(Q)tools/check-layers.sh && tools/check-source.sh

bench: $(BENCHES)
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libqvl.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) -o $@

# Fuzz targets define LLVMFuzzerTestOneInput. clang builds them with libFuzzer; without clang,
# tests/fuzz/replay.c gives them a main that runs a corpus once (`make check` does that).
FUZZ_CC ?= clang-14
fuzz:
	$(Q)$(MAKE) --no-print-directory CC=$(FUZZ_CC) BUILD=build/fuzz SAN=fuzzer-no-link,address,undefined fuzz-programs
fuzz-programs: $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(FUZZ_SRC))
# Of the library the rooms that read bytes from outside: the kernels are minutes of work for a sanitizing compiler.
$(BUILD)/libqvl-input.a: $(call objects,$(filter src/base/% src/load/% src/text/% src/media/% src/chat/% %/feature_file.c,$(LIB_SRC)))
	$(Q)rm -f $@ && $(AR) rcs $@ $^
$(BUILD)/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/libqvl-server.a $(BUILD)/libqvl-hub.a $(BUILD)/libqvl-media.a \
		$(BUILD)/libqvl-input.a
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $^ $(MEDIA_TEST_LIBS) $(SERVER_LIBS) -o $@
replay: $(patsubst tests/fuzz/%.c,$(BUILD)/replay/%,$(FUZZ_SRC))
$(BUILD)/replay/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/libqvl-server.a \
		$(BUILD)/libqvl-hub.a $(BUILD)/libqvl-media.a $(BUILD)/libqvl.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(MEDIA_TEST_LIBS) $(SERVER_LIBS) -o $@

# ---- install -------------------------------------------------------------------------------------
# The manual page and the completion of shells take the options from the program's own table.
$(BUILD)/qvl.1: docs/qvl.1.in $(BUILD)/qvl
	$(Q)$(BUILD)/qvl help man >$@.options
	$(Q)sed -e 's|@VERSION@|$(VERSION)|' -e '/^@OPTIONS@$$/{r $@.options' -e 'd;}' $< >$@
$(BUILD)/qvl.bash $(BUILD)/qvl.zsh $(BUILD)/qvl.fish: $(BUILD)/qvl.%: $(BUILD)/qvl
	$(Q)$(BUILD)/qvl help $* >$@

# A file of the build, its mode, its place.
define installed
$(BUILD)/qvl 755 $(PREFIX)/bin/qvl
$(BUILD)/qvl-media 755 $(PREFIX)/libexec/qvl/qvl-media
$(BUILD)/qvl-media-av.so 755 $(PREFIX)/libexec/qvl/qvl-media-av.so
$(BUILD)/libqvl.a 644 $(LIBDIR)/libqvl.a
$(BUILD)/libqvl.so 755 $(LIBDIR)/libqvl.so.0
include/qvl.h 644 $(PREFIX)/include/qvl.h
$(BUILD)/qvl.1 644 $(PREFIX)/share/man/man1/qvl.1
$(BUILD)/qvl.bash 644 $(PREFIX)/share/bash-completion/completions/qvl
$(BUILD)/qvl.zsh 644 $(PREFIX)/share/zsh/vendor-completions/_qvl
$(BUILD)/qvl.fish 644 $(PREFIX)/share/fish/vendor_completions.d/qvl.fish
$(foreach f,$(wildcard demo/model/*),$(f) 644 $(PREFIX)/share/qvl/demo-model/$(notdir $(f))
)
endef
export installed

install: all $(BUILD)/qvl.1 $(BUILD)/qvl.bash $(BUILD)/qvl.zsh $(BUILD)/qvl.fish
	$(Q)echo "$$installed" | while read -r from mode to; do \
		[ -z "$$from" ] || install -D -m "$$mode" "$$from" "$(DESTDIR)$$to" || exit 1; done
	$(Q)ln -sf libqvl.so.0 $(DESTDIR)$(LIBDIR)/libqvl.so
	$(Q)install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(UNITDIR)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' tools/qvl.pc.in \
		> $(DESTDIR)$(LIBDIR)/pkgconfig/qvl.pc
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' docs/qvl.service.in > $(DESTDIR)$(UNITDIR)/qvl.service

uninstall:
	$(Q)echo "$$installed" | while read -r from mode to; do rm -f "$(DESTDIR)$$to"; done
	$(Q)rm -f $(DESTDIR)$(LIBDIR)/libqvl.so $(DESTDIR)$(LIBDIR)/pkgconfig/qvl.pc $(DESTDIR)$(UNITDIR)/qvl.service
	$(Q)rm -rf $(DESTDIR)$(PREFIX)/libexec/qvl $(DESTDIR)$(PREFIX)/share/qvl

# Of what is committed, into build/deb.
deb:
	$(Q)tools/deb.sh $(VERSION)
# Into build/; for any Linux that is as new as this one, wherever it is unpacked.
tarball: deps
	$(Q)tools/tarball.sh $(VERSION)

clean:
	$(Q)rm -rf build

-include $(shell find $(BUILD) -name '*.d' -type f 2>/dev/null)
