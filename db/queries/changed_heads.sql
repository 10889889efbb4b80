-- title: The heads that changed most between two runs: a metric, over the prompts of the same id
-- param: metric = entropy_nats : which metric (see the query metrics)
-- param: other = 0 : the run to compare with; 0: the one before
-- param: top = 10 : how many
-- needs: :other
-- needs: :metric
-- before: of the other run; change: value - before.
WITH pair AS MATERIALIZED (
  SELECT a.id AS mine, b.id AS theirs
  FROM prompt AS a
  JOIN prompt AS b ON b.label = a.label AND b.run_id = CASE WHEN :other > 0 THEN :other
    ELSE (SELECT max(id) FROM run WHERE id < :run) END
  WHERE a.run_id = :run AND (:prompt IS NULL OR a.id = :prompt)
), mine AS MATERIALIZED (
  SELECT pair.theirs, m.layer, m.head, m.value, max(m.analysis_run_id)
  FROM pair CROSS JOIN head_metric AS m ON m.prompt_id = pair.mine AND m.metric = :metric
  GROUP BY m.prompt_id, m.layer, m.head
), theirs AS MATERIALIZED (
  SELECT m.prompt_id, m.layer, m.head, m.value, max(m.analysis_run_id)
  FROM pair CROSS JOIN head_metric AS m ON m.prompt_id = pair.theirs AND m.metric = :metric
  GROUP BY m.prompt_id, m.layer, m.head
)
SELECT 'L' || a.layer || 'H' || a.head AS name, a.layer, a.head, avg(b.value) AS before,
  avg(a.value) AS value, avg(a.value - b.value) AS change, count(*) AS prompts
FROM mine AS a
JOIN theirs AS b ON b.prompt_id = a.theirs AND b.layer = a.layer AND b.head = a.head
WHERE a.value IS NOT NULL AND b.value IS NOT NULL
GROUP BY a.layer, a.head
ORDER BY abs(change) DESC, a.layer, a.head
LIMIT :top
