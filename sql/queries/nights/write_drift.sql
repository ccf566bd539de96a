-- The first findings of a run stay: windows read again later would hold images of other nights too.
insert into cxr.drift (run_id, model_version, kind, measure, statistic, value, p_value, threshold, drifted,
                       reference_images, current_images)
values (%(run_id)s, %(model_version)s, %(kind)s, %(measure)s, %(statistic)s, %(value)s, %(p_value)s, %(threshold)s,
        %(drifted)s, %(reference_images)s, %(current_images)s)
on conflict (run_id, measure) do nothing
