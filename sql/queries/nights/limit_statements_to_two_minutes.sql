-- For steps that a night can do without. They take 0.1 s with a million images and must never delay the end of a night.
set local statement_timeout = '2min'
