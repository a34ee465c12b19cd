# Included by the Makefile.  `make fault` runs the experiments of tests/fault
# (its README has the table), `make fault-quick` each in at most 20 s, ONLY=r01
# one of them, or several; FAULT_SECONDS=20 shortens the loads of the full
# ones, FAULT_USER=nobody starts nginx as that user.

ONLY          =
FAULT_SECONDS =
FAULT_USER    =

fault_run = FAAS_BUILD=$(BUILD) \
            $(if $(FAULT_SECONDS),FAULT_SECONDS=$(FAULT_SECONDS)) \
            /usr/bin/python3 tests/fault/run.py --only "$(ONLY)" \
            $(if $(FAULT_USER),--user $(FAULT_USER))

.PHONY: fault fault-quick
fault: all
	@$(fault_run) </dev/null

fault-quick: all
	@$(fault_run) --quick </dev/null
