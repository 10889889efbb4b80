-- title: One head across the prompts: a metric of each, largest first
-- param: layer = 0 : layer
-- param: head = 0 : query head
-- param: metric = entropy_nats : which metric (see the query metrics)
-- needs: :metric
WITH newest AS (
  SELECT p.ord, p.label, p.n_token, p.text, m.value, m.reason, max(m.analysis_run_id)
  FROM prompt AS p
  CROSS JOIN head_metric AS m ON m.prompt_id = p.id AND m.metric = :metric AND m.layer = :layer
    AND m.head = :head
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
  GROUP BY p.id
)
SELECT ord AS prompt, label AS id, n_token AS tokens, value, reason, substr(text, 1, 40) AS text
FROM newest
ORDER BY value DESC NULLS LAST, ord
