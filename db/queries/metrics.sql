-- title: The metrics that a run has
SELECT h.metric, m.unit, m.diverging, a.name AS analysis, count(DISTINCT h.prompt_id) AS prompts,
  m.about
FROM prompt AS p
JOIN head_metric AS h ON h.prompt_id = p.id
LEFT JOIN metric AS m ON m.name = h.metric AND m.kind = 'metric'
LEFT JOIN analysis AS a ON a.id = m.analysis_id
WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
GROUP BY h.metric
ORDER BY min(h.analysis_run_id), h.metric
