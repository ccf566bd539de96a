-- What each column of the analysts' views holds, said once for all views. Where a view says more of a column beside its
-- own definition, that stays.
comment on schema analysis is 'For analysts: views on images, predictions and runs. Research use, not for diagnosis.';
comment on schema cxr is 'What the flows remember; analysts read schema analysis instead.';
do $$
declare
    spot record;
begin
    for spot in
        select v.relname as view_name, a.attname as column_name, g.meaning
        from (values
            ('image_id', 'Number of the object version (bucket, key, etag); logs and reports name images by it.'),
            ('bucket', 'Bucket in which the radiograph lies.'),
            ('object_key', 'Where the radiograph lies in the bucket. May contain identifiers: handle as patient data.'),
            ('etag', 'Version of the object, as the object store names it.'),
            ('content_sha256', 'Sha256 of the file''s bytes; the same content has the same prediction.'),
            ('last_modified', 'When the object was written, by the object store''s clock.'),
            ('size_bytes', 'Size of the file.'),
            ('state', 'The one state in which it ended.'),
            ('predicted_class', 'The class with the highest probability.'),
            ('top_probability', 'Probability of the predicted class, 0 to 1.'),
            ('probability_covid_19', 'Probability of COVID-19, null where the model version does not know the class.'),
            ('probability_normal', 'Probability of NORMAL, null where the model version does not know the class.'),
            ('probability_pneumonia', 'Probability of PNEUMONIA, null where the model version does not know the class.'),
            ('class', 'A class that the model version knows.'),
            ('probability', 'Its probability, 0 to 1; those of one prediction add up to 1.'),
            ('predicted', 'It is the predicted class.'),
            ('classes', 'The classes that the model version knows, in the order of probabilities.'),
            ('probabilities', 'One probability for each class, in the order of classes.'),
            ('model_version', 'The model version that scored.'),
            ('model_versions', 'The model versions that scored in this night.'),
            ('model_made_data', 'The model was trained on made data: its word on a real radiograph means nothing.'),
            ('night', 'The date that the run was about, in the schedule''s time zone.'),
            ('scored_at', 'When the prediction was written.'),
            ('run_id', 'The run that decided; its Prefect flow run has the same id.'),
            ('preprocessing_hash', 'Hash of the preprocessing that was used; equal hashes, equal preprocessing.'),
            ('code_version', 'Version of the code that ran.'),
            ('runtime', 'What computed the predictions, such as openvino-f32.'),
            ('duplicate_of', 'image_id of the first image with the same content, which was scored.'),
            ('made', 'Made data (a phantom), not a patient.'),
            ('failed_expectations', 'Names of the expectations that it failed, in the order of the checklist.'),
            ('reason', 'Why it has no prediction, in words.'),
            ('format', 'Format told by the content, whatever the name says.'),
            ('width', 'Pixels, as displayed.'),
            ('height', 'Pixels, as displayed.'),
            ('bit_depth', 'Bits per channel in the file.'),
            ('channels', 'Channels in the file: 1 grey, 3 RGB, 4 RGBA.'),
            ('mean', 'Mean grey value, 0 black to 1 white.'),
            ('std', 'Standard deviation of the grey values, in units of the grey range.'),
            ('contrast', 'Distance between the 5th and the 95th percentile of grey, 0 to 1.'),
            ('attempts', 'How many runs ended with it failed.'),
            ('decided_at', 'When its state was decided.'),
            ('flow', 'What ran.'),
            ('flow_run_id', 'Its flow run in Prefect.'),
            ('started_at', 'When it started.'),
            ('finished_at', 'When it ended; null while it runs.'),
            ('duration', 'From start to end.'),
            ('published_at', 'When its predictions became visible in the other views; null: they are not.'),
            ('discovered', 'Images that it had to decide on: scored + quarantined + failed + duplicate.'),
            ('images', 'Images of the night.'),
            ('scored', 'Images that got a prediction.'),
            ('quarantined', 'Images that failed an expectation.'),
            ('failed', 'Images that could not be fetched or scored; tried again on the coming nights.'),
            ('duplicate', 'Images whose content had been scored under another key.'),
            ('skipped', 'Listed objects that are no images by their suffix; not part of discovered.'),
            ('message', 'What happened, in a sentence.'),
            ('resumed_by', 'The run that took over what this one had left.'),
            ('released_by', 'Who published it although it was held.'),
            ('release_reason', 'Why, in the words of that person.'),
            ('report_key', 'Key of its report in the bucket.'),
            ('data_docs_key', 'Key of its Data Docs in the bucket.'),
            ('predicted_covid_19', 'Published predictions of COVID-19.'),
            ('predicted_normal', 'Published predictions of NORMAL.'),
            ('predicted_pneumonia', 'Published predictions of PNEUMONIA.'),
            ('mean_top_probability', 'Mean probability of the predicted class over the published predictions.'),
            ('runs', 'Runs that decided on images of the night.')
        ) as g (column_name, meaning)
        join pg_attribute a on a.attname = g.column_name
        join pg_class v on v.oid = a.attrelid and v.relkind = 'v' and v.relnamespace = 'analysis'::regnamespace
        where col_description(v.oid, a.attnum) is null
    loop
        execute format('comment on column analysis.%I.%I is %L', spot.view_name, spot.column_name, spot.meaning);
    end loop;
end $$;
