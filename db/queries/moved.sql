-- title: Where attention went from one run to another: what each position receives, and received
-- param: other = 0 : the run to compare with; 0: the one before
-- param: layer = -1 : of this layer's heads; -1: of all layers'
-- param: head = -1 : of this head; -1: of all
-- needs: :other
-- needs: sinks|hidden_sinks
-- Means over the heads of the column means, of one prompt (the first unless another is asked for)
-- that both runs have with the same tokens. before: of the other run; share: of all weight that the
-- prompt's rows give out, those of before and now.
WITH pair AS MATERIALIZED (
  SELECT a.id AS mine, b.id AS theirs
  FROM prompt AS a
  JOIN prompt AS b ON b.label = a.label AND b.run_id = CASE WHEN :other > 0 THEN :other
    ELSE (SELECT max(id) FROM run WHERE id < :run) END
  WHERE a.run_id = :run AND (:prompt IS NULL OR a.id = :prompt)
    AND NOT EXISTS (SELECT pos, token_id FROM token WHERE prompt_id = a.id
                    EXCEPT SELECT pos, token_id FROM token WHERE prompt_id = b.id)
  ORDER BY a.ord LIMIT 1
), newest AS MATERIALIZED (
  SELECT s.prompt_id, s.layer, s.head, s.n, s.data, max(s.analysis_run_id)
  FROM pair CROSS JOIN series AS s ON s.prompt_id IN (pair.mine, pair.theirs)
  WHERE s.name = 'column_mean' AND s.head IS NOT NULL
    AND :layer IN (-1, s.layer) AND :head IN (-1, s.head)
  GROUP BY s.prompt_id, s.layer, s.head
), mean AS (
  SELECT n.prompt_id, e.pos, avg(e.value) AS value, avg(e.value) * (n.n - e.pos) / n.n AS share
  FROM newest AS n JOIN att_each(n.data) AS e
  GROUP BY n.prompt_id, e.pos
)
SELECT a.pos AS position, t.text AS token, b.value AS before, a.value AS value,
  a.value - b.value AS change, b.share AS share_before, a.share AS share,
  a.share - b.share AS share_change
FROM pair JOIN mean AS a ON a.prompt_id = pair.mine
JOIN mean AS b ON b.prompt_id = pair.theirs AND b.pos = a.pos
LEFT JOIN token AS t ON t.prompt_id = pair.mine AND t.pos = a.pos
ORDER BY a.pos
