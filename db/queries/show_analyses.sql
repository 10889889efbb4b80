-- title: The analyses of a run, with their parameters
SELECT a.name AS analysis, r.source, r.params_json AS params, r.map_dtype, count(*) AS prompts,
  a.title
FROM prompt AS p
JOIN analysis_run AS r ON r.prompt_id = p.id
JOIN analysis AS a ON a.id = r.analysis_id
WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
GROUP BY a.id, r.source, r.params_json, r.map_dtype
ORDER BY min(r.id)
