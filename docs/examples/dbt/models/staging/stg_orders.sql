select
    id::integer as order_id,
    customer_id::integer as customer_id,
    ordered_on::date as ordered_on,
    amount::numeric(12, 2) as amount
from {{ source('raw', 'orders') }}
