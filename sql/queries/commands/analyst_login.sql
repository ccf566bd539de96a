-- Gives the local database a login for analysts. The password is set each time, so that it is always the state
-- folder's.
do $$
begin
    if not exists (select from pg_roles where rolname = 'analyst') then
        create role analyst login in role cxr_analyst;
    end if;
end $$;

alter role analyst password %(password)s
