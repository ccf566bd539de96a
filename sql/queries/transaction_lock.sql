-- Waits for an advisory lock and holds it until the transaction ends. A statement of its own: the next one sees what
-- the previous holder has committed.
select pg_advisory_xact_lock(hashtextextended(%(lock)s, 0))
