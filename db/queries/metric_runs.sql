-- title: The runs that have a metric, newest first
-- param: metric = entropy_nats : which metric (see the query metrics)
SELECT r.id AS run, r.label, m.name AS model, r.status, r.created_at
FROM run AS r
JOIN model AS m ON m.id = r.model_id
WHERE EXISTS (
  SELECT 1 FROM prompt AS p CROSS JOIN head_metric AS h ON h.prompt_id = p.id
  WHERE p.run_id = r.id AND h.metric = :metric AND h.value IS NOT NULL
)
ORDER BY r.id DESC
