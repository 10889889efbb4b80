-- title: The interventions of a run, in order
SELECT ord, kind, spec FROM intervention WHERE run_id = :run ORDER BY ord
