-- title: The tokens that receive most attention: mean over the later rows and all heads
-- param: top = 10 : how many
-- param: first = 0 : first position that counts; 1 leaves the first token out
-- param: min_rows = 8 : positions that fewer rows see are left out
-- param: eps = 0.3 : a head sinks at the token when its column mean exceeds this
-- needs: sinks|hidden_sinks
-- name and max_column_mean: of the head that gives it most.
WITH newest AS MATERIALIZED (
  SELECT s.prompt_id, p.ord, s.layer, s.head, s.n, s.data, max(s.analysis_run_id)
  FROM prompt AS p CROSS JOIN series AS s ON s.prompt_id = p.id
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
    AND s.name = 'column_mean' AND s.head IS NOT NULL
  GROUP BY s.prompt_id, s.layer, s.head
), best AS (
  SELECT newest.prompt_id, newest.ord, e.pos, newest.layer, newest.head, avg(e.value) AS mean,
    sum(e.value > :eps) AS sinks, max(e.value) AS most
  FROM newest JOIN att_each(newest.data) AS e
  WHERE e.pos >= :first AND (newest.n - e.pos >= :min_rows OR e.pos = 0)
  GROUP BY newest.prompt_id, e.pos
  ORDER BY mean DESC, newest.ord, e.pos
  LIMIT :top
)
SELECT best.ord AS prompt, best.pos AS position, t.text AS token, best.mean AS column_mean,
  best.sinks AS sink_heads, 'L' || best.layer || 'H' || best.head AS name,
  best.most AS max_column_mean
FROM best LEFT JOIN token AS t ON t.prompt_id = best.prompt_id AND t.pos = best.pos
ORDER BY best.mean DESC, best.ord, best.pos
