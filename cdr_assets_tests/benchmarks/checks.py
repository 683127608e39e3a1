"""What "Execute all" on the checks does in the UI: every check, on every day. Its settings are in the environment."""

import dagster as dg

from cdr_assets.definitions import defs


def main() -> None:
    everything = defs.resolve_asset_graph().asset_check_keys
    job = defs.resolve_implicit_global_asset_job_def()
    checks = job.get_subset(asset_selection=set(), asset_check_selection=set(everything))
    with dg.DagsterInstance.ephemeral() as instance:
        result = checks.execute_in_process(instance=instance)
    red = [each.check_name for each in result.get_asset_check_evaluations() if not each.passed]
    assert not red, f"not passed: {red}"


if __name__ == "__main__":
    main()
