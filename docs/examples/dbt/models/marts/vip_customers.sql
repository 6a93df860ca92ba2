select * from {{ ref('unified_profiles') }} where lifetime_value >= 500
