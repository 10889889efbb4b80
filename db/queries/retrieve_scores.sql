-- title: Retrieval scores of every head on every needle test
-- needs: retrieve
WITH look AS (
  SELECT p.id AS prompt_id, p.ord, p.label, p.n_token, max(r.id) AS analysis_run_id
  FROM prompt AS p
  JOIN analysis_run AS r ON r.prompt_id = p.id
  JOIN analysis AS a ON a.id = r.analysis_id AND a.name = 'retrieve'
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
  GROUP BY p.id
),
score AS (
  SELECT l.ord AS prompt, m.layer, m.head, m.metric, m.value
  FROM look AS l
  CROSS JOIN head_metric AS m ON m.prompt_id = l.prompt_id
    AND m.analysis_run_id = l.analysis_run_id
)
SELECT prompt, layer, head,
  max(value) FILTER (WHERE metric = 'retrieval') AS retrieval,
  max(value) FILTER (WHERE metric = 'retrieval_tf') AS retrieval_tf,
  max(value) FILTER (WHERE metric = 'retrieval_soft') AS retrieval_soft
FROM score
GROUP BY prompt, layer, head
ORDER BY prompt, layer, head
