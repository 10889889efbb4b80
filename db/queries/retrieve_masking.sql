-- title: Needle recall and answers' F1 with the top retrieval heads masked, and with as many others
-- needs: retrieve
-- random_sd is the standard deviation over the random sets of their means over the tests; passed and
-- answered: the share of tests whose recall, of questions whose F1, is above a half.
WITH look AS (
-- part: look
),
marks AS (
  SELECT m.kind, m.k, m.ranking, m.draw,
    CASE m.kind WHEN 'needle' THEN m.recall ELSE m.f1 END AS mark
  FROM look AS l
  CROSS JOIN retrieve_masked AS m ON m.prompt_id = l.prompt_id
    AND m.analysis_run_id = l.analysis_run_id
),
sets AS (
  SELECT kind, k, ranking, draw, avg(mark) AS mark, avg(mark > 0.5) AS passed, count(*) AS n
  FROM marks GROUP BY kind, k, ranking, draw
),
means AS (
  SELECT kind, k, ranking, avg(mark) AS mark, avg(passed) AS passed, min(mark) AS low,
    max(mark) AS high, count(*) AS draws, min(n) AS n
  FROM sets GROUP BY kind, k, ranking
),
spread AS (
  SELECT s.kind, s.k, sqrt(sum((s.mark - m.mark) * (s.mark - m.mark)) / (count(*) - 1)) AS sd
  FROM sets AS s JOIN means AS m ON m.kind = s.kind AND m.k = s.k AND m.ranking = s.ranking
  WHERE s.ranking = 'random' GROUP BY s.kind, s.k
),
both AS (
  SELECT t.kind, t.k, t.mark AS top, r.mark AS mean, s.sd, r.low, r.high, t.passed AS top_passed,
    r.passed, r.draws, t.n
  FROM means AS t
  JOIN means AS r ON r.kind = t.kind AND r.k = t.k AND r.ranking = 'random'
  JOIN spread AS s ON s.kind = t.kind AND s.k = t.k
  WHERE t.ranking = 'top'
)
SELECT a.k, a.top, a.mean AS random_mean, a.sd AS random_sd, a.low AS random_low,
  a.high AS random_high, a.top_passed, a.passed AS random_passed, a.draws, a.n AS tests,
  q.top AS top_f1, q.mean AS random_f1_mean, q.sd AS random_f1_sd, q.low AS random_f1_low,
  q.high AS random_f1_high, q.top_passed AS top_answered, q.passed AS random_answered,
  coalesce(q.n, 0) AS questions
FROM both AS a
LEFT JOIN both AS q ON q.kind = 'question' AND q.k = a.k
WHERE a.kind = 'needle'
ORDER BY a.k
