-- title: The runs of the file, latest last
SELECT r.id AS run, r.label, m.name AS model, r.status,
  count(p.id) FILTER (WHERE p.n_token > 0) AS prompts, coalesce(sum(p.n_token + p.n_decoded), 0) AS tokens,
  r.created_at, r.tool_version
FROM run AS r
JOIN model AS m ON m.id = r.model_id
LEFT JOIN prompt AS p ON p.run_id = r.id
GROUP BY r.id
ORDER BY r.id
