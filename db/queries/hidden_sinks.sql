-- title: Positions after the first that receive more than their share, head by head (ACT)
-- param: rule = alphaN|abs : alphaN: column mean > alpha / T; abs: column mean > thr
-- param: alpha = 5 : factor of the rule alphaN
-- param: thr = 0.1 : threshold of the rule abs
-- param: min_rows = 1 : positions that fewer rows see are left out
-- needs: sinks|hidden_sinks
-- Found in any of the prompts.
WITH newest AS (
  SELECT s.layer, s.head, s.n, s.data, max(s.analysis_run_id)
  FROM prompt AS p CROSS JOIN series AS s ON s.prompt_id = p.id
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
    AND s.name = 'column_mean' AND s.head IS NOT NULL
  GROUP BY s.prompt_id, s.layer, s.head
)
SELECT DISTINCT newest.layer, newest.head, e.pos AS position
FROM newest JOIN att_each(newest.data) AS e
WHERE e.pos >= 1 AND newest.n - e.pos >= :min_rows
  AND e.value > CASE :rule WHEN 'abs' THEN :thr ELSE 1.0 * :alpha / newest.n END
ORDER BY newest.layer, newest.head, e.pos
