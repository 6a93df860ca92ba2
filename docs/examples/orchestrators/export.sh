#!/usr/bin/env bash
# Prints nothing unless the export fails, so that cron mails only then.
set -uo pipefail
set -a && . ./.env && set +a
meltano --environment=prod run --timeout 7200 tap-warehouse-postgres target-activecampaign \
  > run.log 2>&1 || { code=$?; tail -n 20 run.log; exit "$code"; }
