-- title: Loss and recall as more and more KV heads stream
-- needs: duo
-- Means over the prompts; of random sets the mean over the draws, and their range.
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
),
sets AS (
  SELECT r.share, r.streaming, r.ranking, avg(r.nll) AS nll,
    CASE WHEN p.passed > 0 THEN avg(r.recall) END AS recall
  FROM plain AS p CROSS JOIN rows_of AS r
  GROUP BY r.share, r.ranking, r.draw
)
SELECT s.share, s.streaming, s.ranking, avg(s.nll) AS nll, min(s.nll) AS nll_low,
  max(s.nll) AS nll_high, avg(s.recall) AS recall, min(s.recall) AS recall_low,
  max(s.recall) AS recall_high, count(*) AS draws, p.tests, p.passed
FROM plain AS p CROSS JOIN sets AS s
GROUP BY s.share, s.ranking
ORDER BY instr('lowest highest lowest_gate highest_gate random', s.ranking), s.share
