select * from {{ ref('unified_profiles') }} where last_order_on < date '2026-06-01'
