-- Each migration drops the views and creates them again: `create or replace` can neither remove nor move a column.
drop view if exists analysis.prediction_history, analysis.latest_prediction, analysis.class_probabilities,
    analysis.night_summary, analysis.quarantine, analysis.runs;
drop view if exists analysis.champions, analysis.decisions, analysis.model_versions, analysis.shadow_comparison,
    analysis.shadow_summary, analysis.shadows, analysis.drift;
drop view if exists cxr.published_predictions, cxr.shadow, cxr.champion;
drop view if exists analysis.label_conflicts, analysis.waiting_labels, cxr.current_labels;
