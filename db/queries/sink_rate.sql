-- title: Share of heads whose mean attention to a position exceeds eps (Gu et al.'s Sink_k)
-- param: eps = 0.3 : threshold of the column mean, strict
-- needs: sinks|hidden_sinks
-- Over all heads of all prompts that reach the position. Both observers store the same column means;
-- the newest of a head counts.
WITH newest AS (
  SELECT s.data, max(s.analysis_run_id)
  FROM prompt AS p CROSS JOIN series AS s ON s.prompt_id = p.id
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
    AND s.name = 'column_mean' AND s.head IS NOT NULL
  GROUP BY s.prompt_id, s.layer, s.head
)
SELECT e.pos AS position, avg(e.value > :eps) AS rate
FROM newest JOIN att_each(newest.data) AS e
GROUP BY e.pos
ORDER BY e.pos
