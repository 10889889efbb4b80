-- title: The pruning curve of a sweep: a metric as more and more units are edited together
-- param: metric = all : which one: nll, kl, jsd, logit_diff, prob, prob_diff, accuracy or an own expression
-- needs: sweep
-- Means over the prompts; of random orders the mean over the draws, and their range.
WITH look AS (
-- part: look
),
drawn AS (
  SELECT c.metric, c.ranking, c.draw, c.removed, avg(c.value) AS value, count(c.value) AS n
  FROM look AS l
  CROSS JOIN sweep_curve AS c ON c.prompt_id = l.prompt_id
    AND c.analysis_run_id = l.analysis_run_id
  WHERE :metric IN ('all', c.metric)
  GROUP BY c.metric, c.ranking, c.draw, c.removed
)
SELECT metric, ranking, removed, avg(value) AS value, min(value) AS low, max(value) AS high,
  count(*) AS draws, min(n) AS n
FROM drawn
GROUP BY metric, ranking, removed
ORDER BY metric, ranking, removed
