-- title: One metric of every head, averaged over the prompts
-- param: metric = entropy_nats : which metric (see the query metrics)
-- needs: :metric
-- The newest analysis of a prompt counts: with max(), SQLite takes the row that has it.
WITH newest AS (
  SELECT m.layer, m.head, m.value, m.reason, max(m.analysis_run_id)
  FROM prompt AS p CROSS JOIN head_metric AS m ON m.prompt_id = p.id
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt) AND m.metric = :metric
  GROUP BY m.prompt_id, m.layer, m.head
)
SELECT layer, head, 'L' || layer || 'H' || head AS name, avg(value) AS value,
  count(value) AS prompts, CASE WHEN count(value) = 0 THEN min(reason) END AS reason
FROM newest
GROUP BY layer, head
ORDER BY layer, head
