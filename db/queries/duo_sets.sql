-- title: Loss and recall while sets of KV heads stream, set by set
-- needs: duo
-- Means over the prompts. There is no recall where the model passes no test without streaming, where
-- passed is 0: tests are passed that more than half of the answer's words were said in.
WITH look AS (
-- part: look
),
rows_of AS (
  SELECT c.* FROM look AS l
  CROSS JOIN duo_curve AS c ON c.prompt_id = l.prompt_id AND c.analysis_run_id = l.analysis_run_id
  WHERE l.analysis = 'duo'
),
plain AS (
  SELECT count(recall) AS tests, coalesce(sum(recall > 0.5), 0) AS passed FROM rows_of
  WHERE share = 0 AND ranking = 'lowest'
)
SELECT r.share, r.streaming, r.ranking, CASE r.ranking WHEN 'random' THEN r.draw END AS draw,
  avg(r.nll) AS nll, CASE WHEN p.passed > 0 THEN avg(r.recall) END AS recall, p.tests, p.passed
FROM plain AS p CROSS JOIN rows_of AS r
GROUP BY r.share, r.ranking, r.draw
ORDER BY r.share, instr('lowest highest lowest_gate highest_gate random', r.ranking), r.draw
