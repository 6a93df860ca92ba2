-- One row a person: customers who share an e-mail address are one.
with customers as (
    select distinct on (email) *
    from {{ ref('stg_customers') }}
    order by email, customer_id desc
),
orders as (
    select
        customers.email,
        count(*) as orders,
        sum(orders.amount) as lifetime_value,
        max(orders.ordered_on) as last_order_on
    from {{ ref('stg_orders') }} as orders
    inner join {{ ref('stg_customers') }} as customers using (customer_id)
    group by customers.email
)
select
    customers.customer_id,
    customers.email,
    customers.first_name,
    customers.last_name,
    coalesce(orders.orders, 0) as orders,
    coalesce(orders.lifetime_value, 0) as lifetime_value,
    orders.last_order_on,
    consents.has_consented
from customers
left join orders using (email)
left join {{ ref('stg_consents') }} as consents using (customer_id)
