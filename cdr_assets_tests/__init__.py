import os

# Coverage measures the processes that get these variables. Most tests start some that must not be slowed down, so
# only the tests of the commands pass them on.
MEASURED = {name: os.environ.pop(name) for name in ("COVERAGE_PROCESS_CONFIG",) if name in os.environ}
