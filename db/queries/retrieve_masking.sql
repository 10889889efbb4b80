-- title: Needle recall with the top retrieval heads masked, and with as many others
-- needs: retrieve
-- random_sd is the standard deviation over the random sets of their means over the tests; passed:
-- the share of tests that more than half of the answer's words were said in.
WITH look AS (
-- part: look
),
sets AS (
  SELECT m.k, m.ranking, m.draw, avg(m.recall) AS recall, avg(m.recall > 0.5) AS passed,
    count(*) AS tests
  FROM look AS l
  CROSS JOIN retrieve_masked AS m ON m.prompt_id = l.prompt_id
    AND m.analysis_run_id = l.analysis_run_id
  GROUP BY m.k, m.ranking, m.draw
),
means AS (
  SELECT k, ranking, avg(recall) AS recall, avg(passed) AS passed, min(recall) AS low,
    max(recall) AS high, count(*) AS draws, min(tests) AS tests
  FROM sets GROUP BY k, ranking
),
spread AS (
  SELECT s.k, sqrt(sum((s.recall - m.recall) * (s.recall - m.recall)) / (count(*) - 1)) AS sd
  FROM sets AS s JOIN means AS m ON m.k = s.k AND m.ranking = s.ranking
  WHERE s.ranking = 'random' GROUP BY s.k
)
SELECT t.k, t.recall AS top, r.recall AS random_mean, s.sd AS random_sd, r.low AS random_low,
  r.high AS random_high, t.passed AS top_passed, r.passed AS random_passed, r.draws, t.tests
FROM means AS t
JOIN means AS r ON r.k = t.k AND r.ranking = 'random'
JOIN spread AS s ON s.k = t.k
WHERE t.ranking = 'top'
ORDER BY t.k
