select
    id::integer as customer_id,
    lower(trim(email)) as email,
    trim(first_name) as first_name,
    trim(last_name) as last_name
from {{ source('raw', 'customers') }}
where email like '%@%'
