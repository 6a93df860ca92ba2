"""Dagster: keep a list in ActiveCampaign equal to a segment, every two hours."""

import os
import subprocess

import dagster as dg

COMMAND = (
    "meltano --environment=prod run --timeout 7200 tap-warehouse-postgres target-activecampaign"
)


@dg.asset(
    group_name="activecampaign",
    retry_policy=dg.RetryPolicy(max_retries=2, delay=600),
)
def newsletter_list(context: dg.AssetExecutionContext) -> None:
    """The list 'Newsletter', equal to the segment in the warehouse."""
    # The log goes to the run's own. An exit code other than 0 fails the asset.
    subprocess.run(COMMAND.split(), cwd=os.environ["MELTANO_PROJECT_ROOT"], check=True)
    context.log.info("The list is up to date.")


export = dg.define_asset_job(
    "export_newsletter",
    selection=[newsletter_list],
    # Not two runs at once: the ledger refuses a second run of the same stream.
    tags={"dagster/concurrency_key": "activecampaign_newsletter"},
)

defs = dg.Definitions(
    assets=[newsletter_list],
    jobs=[export],
    schedules=[dg.ScheduleDefinition(job=export, cron_schedule="0 */2 * * *")],
)
