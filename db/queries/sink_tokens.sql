-- title: The strongest sinks: head, position, its token and mean attention (one prompt)
-- param: top = 10 : how many
-- param: first = 0 : first position that counts; 1 leaves the first token out
-- param: min_rows = 8 : positions that fewer rows see are left out
-- needs: sinks|hidden_sinks
WITH newest AS (
  SELECT s.prompt_id, s.layer, s.head, s.n, s.data, max(s.analysis_run_id)
  FROM (SELECT id FROM prompt
        WHERE run_id = :run AND (:prompt IS NULL OR id = :prompt) ORDER BY ord LIMIT 1) AS p
  CROSS JOIN series AS s ON s.prompt_id = p.id
  WHERE s.name = 'column_mean' AND s.head IS NOT NULL
  GROUP BY s.layer, s.head
)
SELECT 'L' || newest.layer || 'H' || newest.head AS name, newest.layer, newest.head,
  e.pos AS position, t.text AS token, e.value AS column_mean
FROM newest JOIN att_each(newest.data) AS e
LEFT JOIN token AS t ON t.prompt_id = newest.prompt_id AND t.pos = e.pos
WHERE e.pos >= :first AND (newest.n - e.pos >= :min_rows OR e.pos = 0)
ORDER BY e.value DESC, newest.layer, newest.head, e.pos
LIMIT :top
