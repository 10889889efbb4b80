-- title: Retrieval scores of every head on every needle test
-- needs: retrieve
WITH look AS (
-- part: look
),
score AS (
  SELECT l.ord AS prompt, m.layer, m.head, m.metric, m.value
  FROM look AS l
  CROSS JOIN head_metric AS m ON m.prompt_id = l.prompt_id
    AND m.analysis_run_id = l.analysis_run_id
  WHERE l.analysis = 'retrieve'
)
SELECT prompt, layer, head,
  max(value) FILTER (WHERE metric = 'retrieval') AS retrieval,
  max(value) FILTER (WHERE metric = 'retrieval_tf') AS retrieval_tf,
  max(value) FILTER (WHERE metric = 'retrieval_soft') AS retrieval_soft
FROM score
GROUP BY prompt, layer, head
ORDER BY prompt, layer, head
