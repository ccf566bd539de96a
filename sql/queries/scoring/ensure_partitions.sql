select cxr.ensure_partitions(%(months_ahead)s) as created
