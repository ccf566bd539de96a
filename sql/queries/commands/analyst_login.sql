-- A login for analysts in the local database. Its password is set each time: the state folder may be a new one.
do $$
begin
    if not exists (select from pg_roles where rolname = 'analyst') then
        create role analyst login in role cxr_analyst;
    end if;
end $$;

alter role analyst password %(password)s
