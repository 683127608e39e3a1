from cdr_assets_tests.scale import WITHOUT_SERVERS

# Without the servers their clients are not installed either, so the modules cannot be imported.
collect_ignore_glob = ["test_*.py"] if WITHOUT_SERVERS else []
