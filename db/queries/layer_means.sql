-- title: One metric layer by layer: mean, lowest and highest of its heads
-- param: metric = entropy_nats : which metric (see the query metrics)
-- needs: :metric
WITH newest AS (
  SELECT m.layer, m.head, m.value, max(m.analysis_run_id)
  FROM prompt AS p CROSS JOIN head_metric AS m ON m.prompt_id = p.id
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt) AND m.metric = :metric
  GROUP BY m.prompt_id, m.layer, m.head
), mean AS (
  SELECT layer, head, avg(value) AS value FROM newest GROUP BY layer, head
), ranked AS (
  SELECT *, row_number() OVER (PARTITION BY layer ORDER BY value, head) AS low,
    row_number() OVER (PARTITION BY layer ORDER BY value DESC, head) AS high
  FROM mean WHERE value IS NOT NULL
)
SELECT layer, avg(value) AS mean, min(value) AS lowest, max(CASE low WHEN 1 THEN head END)
  AS lowest_head, max(value) AS highest, max(CASE high WHEN 1 THEN head END) AS highest_head,
  count(*) AS heads
FROM ranked
GROUP BY layer
ORDER BY layer
