-- title: Retrieval scores of the heads, best first
-- param: top = 1000000 : how many
-- needs: retrieve
-- Decoded scores are means over the tests that were passed, teacher-forced ones over all. echo and
-- echo_induction are RazorAttention's, on the prompt of repeated tokens.
WITH look AS (
-- part: look
),
echo AS (
  SELECT m.layer, m.head, m.metric, avg(m.value) AS value
  FROM prompt AS p CROSS JOIN head_metric AS m ON m.prompt_id = p.id
  WHERE p.run_id = :run AND m.metric IN ('echo', 'echo_induction')
  GROUP BY m.layer, m.head, m.metric
)
SELECT 'L' || m.layer || 'H' || m.head AS name, m.layer, m.head,
  avg(m.value) FILTER (WHERE m.metric = 'retrieval') AS retrieval,
  avg(m.value) FILTER (WHERE m.metric = 'retrieval_tf') AS retrieval_tf,
  avg(m.value) FILTER (WHERE m.metric = 'retrieval_soft') AS retrieval_soft,
  avg(m.value) FILTER (WHERE m.metric = 'activation_frequency') AS activation_frequency,
  (SELECT e.value FROM echo AS e WHERE e.layer = m.layer AND e.head = m.head
    AND e.metric = 'echo') AS echo,
  (SELECT e.value FROM echo AS e WHERE e.layer = m.layer AND e.head = m.head
    AND e.metric = 'echo_induction') AS echo_induction,
  count(m.value) FILTER (WHERE m.metric = 'retrieval') AS passed,
  count(m.value) FILTER (WHERE m.metric = 'retrieval_tf') AS tests
FROM look AS l
CROSS JOIN head_metric AS m ON m.prompt_id = l.prompt_id AND m.analysis_run_id = l.analysis_run_id
WHERE l.analysis = 'retrieve'
GROUP BY m.layer, m.head
ORDER BY retrieval DESC NULLS LAST, CASE WHEN passed = 0 THEN retrieval_tf END DESC, m.layer, m.head
LIMIT :top
