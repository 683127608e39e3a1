import os

# Coverage measures the processes that get these variables. Most tests start some that must not be slowed down, so
# only the tests of the commands pass them on.
MEASURED = {name: os.environ.pop(name) for name in ("COVERAGE_PROCESS_CONFIG",) if name in os.environ}

# Seconds to wait for what must come. It is a guard against hanging, and no measure: a busy machine may need minutes.
PATIENCE_S = 900
