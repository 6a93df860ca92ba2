-- The latest word of each customer counts.
select distinct on (customer_id::integer)
    customer_id::integer as customer_id,
    (given = 'yes') as has_consented
from {{ source('raw', 'consents') }}
order by customer_id::integer, said_on::timestamp desc
