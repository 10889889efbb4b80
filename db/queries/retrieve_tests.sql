-- title: Needle tests and questions one by one: what was said, and how much of the answer that is
-- needs: retrieve
WITH look AS (
-- part: look
)
SELECT l.ord AS prompt, l.label AS id, l.n_token AS tokens, t.kind, t.passed, t.recall, t.f1,
  t.needle_from, t.needle_to, t.n_said, t.said, t.answer
FROM look AS l
CROSS JOIN retrieve_test AS t ON t.prompt_id = l.prompt_id
  AND t.analysis_run_id = l.analysis_run_id
ORDER BY l.ord
