-- title: Tokens through the layers: rank, logit and probability of those that lens --track follows
-- param: position = all : only this one
-- needs: lens
WITH look AS (
  SELECT p.id AS prompt_id, p.ord, p.label, max(r.id) AS analysis_run_id
  FROM prompt AS p
  JOIN analysis_run AS r ON r.prompt_id = p.id
  JOIN analysis AS a ON a.id = r.analysis_id AND a.name = 'lens'
  WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
  GROUP BY p.id
)
SELECT l.ord AS prompt, l.label AS id, r.position, r.token, r.text, r.layer, r.rank, r.logit, r.prob
FROM look AS l
CROSS JOIN lens_track AS r ON r.prompt_id = l.prompt_id AND r.analysis_run_id = l.analysis_run_id
WHERE :position IN ('all', CAST(r.position AS TEXT))
ORDER BY l.ord, r.position, r.token, r.layer
