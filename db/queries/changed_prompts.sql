-- title: The prompts that differ most between two runs: mean |change| of a metric over the heads
-- param: metric = entropy_nats : which metric (see the query metrics)
-- param: other = 0 : the run to compare with; 0: the one before
-- param: top = 10 : how many
-- needs: :other
-- needs: :metric
-- same_tokens: 1 when both have the same ids; name and change: of the head that changed most.
WITH pair AS MATERIALIZED (
  SELECT a.id AS mine, b.id AS theirs, a.ord, a.label
  FROM prompt AS a
  JOIN prompt AS b ON b.label = a.label AND b.run_id = CASE WHEN :other > 0 THEN :other
    ELSE (SELECT max(id) FROM run WHERE id < :run) END
  WHERE a.run_id = :run AND (:prompt IS NULL OR a.id = :prompt)
), mine AS MATERIALIZED (
  SELECT m.prompt_id, pair.theirs, m.layer, m.head, m.value, max(m.analysis_run_id)
  FROM pair CROSS JOIN head_metric AS m ON m.prompt_id = pair.mine AND m.metric = :metric
  GROUP BY m.prompt_id, m.layer, m.head
), theirs AS MATERIALIZED (
  SELECT m.prompt_id, m.layer, m.head, m.value, max(m.analysis_run_id)
  FROM pair CROSS JOIN head_metric AS m ON m.prompt_id = pair.theirs AND m.metric = :metric
  GROUP BY m.prompt_id, m.layer, m.head
), gap AS (
  SELECT a.prompt_id, a.layer, a.head, a.value - b.value AS change, avg(abs(a.value - b.value))
    AS mean_change, max(abs(a.value - b.value))
  FROM mine AS a
  JOIN theirs AS b ON b.prompt_id = a.theirs AND b.layer = a.layer AND b.head = a.head
  WHERE a.value IS NOT NULL AND b.value IS NOT NULL
  GROUP BY a.prompt_id
)
SELECT pair.ord AS prompt, pair.label AS id, gap.mean_change, 'L' || gap.layer || 'H' || gap.head
  AS name, gap.layer, gap.head, gap.change,
  NOT EXISTS (SELECT pos, token_id FROM token WHERE prompt_id = pair.mine
              EXCEPT SELECT pos, token_id FROM token WHERE prompt_id = pair.theirs) AND
  NOT EXISTS (SELECT pos, token_id FROM token WHERE prompt_id = pair.theirs
              EXCEPT SELECT pos, token_id FROM token WHERE prompt_id = pair.mine) AS same_tokens
FROM gap JOIN pair ON pair.mine = gap.prompt_id
ORDER BY gap.mean_change DESC, pair.ord
LIMIT :top
