-- title: What masking each set of heads costs, over all texts: those asked for and random ones
-- needs: influence
WITH look AS (
-- part: look
)
SELECT t.kind, t.draw, avg(t.score) AS score, avg(t.nll_masked - t.nll_base) AS delta_nll,
  count(t.score) AS texts, t.n_head, t.heads
FROM look AS l
CROSS JOIN influence_text AS t ON t.prompt_id = l.prompt_id
  AND t.analysis_run_id = l.analysis_run_id
GROUP BY t.kind, t.draw
ORDER BY t.kind = 'top' DESC, t.kind = 'random' DESC, t.draw
