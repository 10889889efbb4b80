-- title: The course of the search for gates of KV heads, step by step
-- needs: duo
WITH look AS (
-- part: look
)
SELECT c.step, c.test AS prompt, c.loss, c.mean_gate, c.n_open, c.rate
FROM look AS l
CROSS JOIN duo_course AS c ON c.prompt_id = l.prompt_id AND c.analysis_run_id = l.analysis_run_id
WHERE l.analysis = 'duo'
ORDER BY c.step
