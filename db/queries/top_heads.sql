-- title: The heads with the highest mean of a metric
-- param: metric = previous : which metric (see the query metrics)
-- param: top = 10 : how many
-- needs: :metric
WITH newest AS (
  SELECT m.layer, m.head, m.value, max(m.analysis_run_id)
  FROM prompt AS p CROSS JOIN head_metric AS m ON m.prompt_id = p.id
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt) AND m.metric = :metric
  GROUP BY m.prompt_id, m.layer, m.head
)
SELECT 'L' || layer || 'H' || head AS name, layer, head, avg(value) AS value
FROM newest
GROUP BY layer, head
HAVING count(value) > 0
ORDER BY value DESC, layer, head
LIMIT :top
