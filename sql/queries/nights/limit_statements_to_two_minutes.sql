-- For what a night can do without: it takes 0.1 s with a million images, and must never hold up the end of a night.
set local statement_timeout = '2min'
