-- Rows of the curve of streaming heads, of the looks in the CTE look. There is recall to compare where
-- the model passes tests without streaming: tests counts those that were made, passed those of which
-- more than half of the answer's words were said.
SELECT c.*,
  count(c.recall) FILTER (WHERE c.share = 0 AND c.ranking = 'lowest') OVER () AS tests,
  count(*) FILTER (WHERE c.share = 0 AND c.ranking = 'lowest' AND c.recall > 0.5) OVER () AS passed
FROM look AS l
CROSS JOIN duo_curve AS c ON c.prompt_id = l.prompt_id AND c.analysis_run_id = l.analysis_run_id
WHERE l.analysis = 'duo'
