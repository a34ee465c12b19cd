
# The model: real sources, run in all orders that there are (tests/model).
# MODEL_ARGS="'worker dies'" picks scenarios and mutants.

.PHONY: model
model: $(BUILD)/nginx/objs/Makefile
	@sh conf/deps.sh $(PACKAGES_TEST)
	@/usr/bin/python3 tests/model/run.py $(BUILD)/model $(BUILD)/nginx \
	    "$(CC)" $(MODEL_ARGS)
