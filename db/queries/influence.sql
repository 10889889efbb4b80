-- title: How much the loss of each text grows when heads are masked
-- param: order = prompt : prompt, or score, largest first
-- needs: influence
-- random and others are medians over the random sets: of all heads, and of those that are neither
-- masked nor spared. The newest look at a text counts.
WITH look AS (
-- part: look
),
score AS (
  SELECT l.prompt_id, t.kind, t.score,
    row_number() OVER (PARTITION BY l.prompt_id, t.kind ORDER BY t.score) AS i,
    count(*) OVER (PARTITION BY l.prompt_id, t.kind) AS n
  FROM look AS l
  CROSS JOIN influence_text AS t ON t.prompt_id = l.prompt_id
    AND t.analysis_run_id = l.analysis_run_id
  WHERE t.score IS NOT NULL
),
middle AS (
  SELECT prompt_id, kind, avg(score) AS score
  FROM score WHERE i IN ((n + 1) / 2, (n + 2) / 2) GROUP BY prompt_id, kind
)
SELECT l.ord AS prompt, l.label AS id, l.n_token AS tokens, t.nll_base, t.nll_masked, t.score,
  r.score AS random, o.score AS others, t.reason
FROM look AS l
CROSS JOIN influence_text AS t ON t.prompt_id = l.prompt_id
  AND t.analysis_run_id = l.analysis_run_id AND t.kind = 'top'
LEFT JOIN middle AS r ON r.prompt_id = l.prompt_id AND r.kind = 'random'
LEFT JOIN middle AS o ON o.prompt_id = l.prompt_id AND o.kind = 'others'
ORDER BY CASE WHEN :order = 'score' THEN t.score END DESC NULLS LAST, l.ord
