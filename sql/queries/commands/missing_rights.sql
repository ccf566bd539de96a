-- The rights that the login lacks: of these rights on tables, and of the right to create partitions.
select privilege || ' on ' || relation as missing
from unnest(%(relations)s::text[], %(privileges)s::text[]) as needed (relation, privilege)
where not has_table_privilege(relation, privilege)
union all
select 'execute on cxr.ensure_partitions(integer)'
where not has_function_privilege('cxr.ensure_partitions(integer)', 'execute')
