
# Fuzzers (tests/fuzz): each runs for FUZZ_SECONDS, JOBS of them at once.
# FUZZ="routes elf" picks; what crashes one is left in build/fuzz/NAME.crash-*

FUZZ         := $(patsubst tests/fuzz/fuzz_%.c,%,\
                           $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS := 60
PACKAGES_FUZZ := clang libclang-rt-14-dev

fuzz_says = $(shell sed -n '1,8s|.*/\* $(2): *\(.*[^ ]\) *\*/.*|\1|p' \
                        tests/fuzz/fuzz_$(1).c)

define fuzz_rule
$(BUILD)/fuzz/$(1): tests/fuzz/fuzz_$(1).c tests/fuzz/fuzz.h \
                    $(call fuzz_says,$(1),objects)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)clang -std=gnu11 -D_GNU_SOURCE -O1 -g \
	    -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined -Iscoreboard -Ibase -Ibaas \
	    -Iworker -Iworker/include -Ingx_faas_module -o $$@ \
	    $$(filter %.c,$$^) $(call fuzz_says,$(1),libs)
endef

$(foreach name,$(FUZZ),$(eval $(call fuzz_rule,$(name))))

.PHONY: fuzz
fuzz:
	@sh conf/deps.sh $(PACKAGES_TEST) $(PACKAGES_FUZZ)
	@$(MAKE) --no-print-directory -j$(JOBS) $(FUZZ:%=$(BUILD)/fuzz/%)
	@sh tests/fuzz/run.sh $(BUILD)/fuzz $(FUZZ_SECONDS) $(JOBS) $(FUZZ)
