"""Airflow: keep a list in ActiveCampaign equal to a segment, every two hours."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG(
    dag_id="activecampaign_newsletter",
    schedule="0 */2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,  # each run brings the whole segment, so missed ones need not be made up for
    max_active_runs=1,  # the ledger refuses a second run of the same stream
) as dag:
    BashOperator(
        task_id="export",
        cwd="{{ var.value.meltano_project }}",
        bash_command=(
            "meltano --environment=prod run --timeout 7200 "
            "tap-warehouse-postgres target-activecampaign"
        ),
        env={
            "ACTIVECAMPAIGN_API_URL": "{{ conn.activecampaign.host }}",
            "ACTIVECAMPAIGN_API_KEY": "{{ conn.activecampaign.password }}",
            "WAREHOUSE_URL": "{{ var.value.warehouse_url }}",
        },
        append_env=True,
        retries=2,
        retry_delay=timedelta(minutes=10),
        execution_timeout=timedelta(hours=2, minutes=10),
    )
